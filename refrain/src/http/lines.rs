//! Lines that guests of components write, on their way to the node's log: by a queue and a thread of their own, as a log
//! that is slow to be written must not hold up the threads that serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use refrain_http_host::{Line, LogSink, Output};

/// Most lines that wait; more are dropped and counted.
const MAX_WAITING: usize = 4_096;

struct Waiting {
    service: String,
    output: Output,
    text: String,
}

/// A sink for the host of components. None when there is no thread to be had: lines are dropped then.
pub(super) fn sink() -> Option<LogSink> {
    let (send, receive) = sync_channel(MAX_WAITING);
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&dropped);
    let spawned = std::thread::Builder::new().name("guest-lines".into()).spawn(move || write(&receive, &counted));
    if let Err(error) = spawned {
        tracing::warn!(%error, "what guests of components write is not told");
        return None;
    }
    Some(Arc::new(move |line: &Line<'_>| push(&send, &dropped, line)))
}

fn push(send: &SyncSender<Waiting>, dropped: &AtomicU64, line: &Line<'_>) {
    let waiting = Waiting { service: line.service.to_owned(), output: line.output, text: line.text.to_owned() };
    if send.try_send(waiting).is_err() {
        dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Until the last sink is gone.
fn write(receive: &Receiver<Waiting>, dropped: &AtomicU64) {
    while let Ok(Waiting { service, output, text }) = receive.recv() {
        match output {
            Output::Stdout => tracing::info!(service, "{text}"),
            Output::Stderr => tracing::info!(service, stream = "stderr", "{text}"),
            Output::Host => tracing::warn!(service, "{text}"),
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lines = lost, "guests of components wrote faster than the log is written: lines are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_wait_and_one_more_is_counted_as_lost() {
        let (send, receive) = sync_channel(2);
        let dropped = AtomicU64::new(0);
        let line = |text| Line { service: "a/b@1.0.0", output: Output::Stdout, text };
        ["one", "two", "three"].into_iter().for_each(|text| push(&send, &dropped, &line(text)));
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        assert_eq!(receive.try_iter().map(|waiting| waiting.text).collect::<Vec<_>>(), ["one", "two"]);
    }
}
