//! Lines that guests of components write, on their way to the node's log and to who asks for them: by a queue and a thread of
//! their own, as a log that is slow to be written must not hold up the threads that serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use refrain_api::GuestLine;
use refrain_http_host::{Line, LogSink, Output};

use crate::lines::Lines;

/// Most lines that wait; more are dropped and counted.
const MAX_WAITING: usize = 4_096;
/// How long the thread lets lines gather once it has written some: to wake it for each costs the threads that serve more
/// than the lines themselves.
const GATHERING: Duration = Duration::from_millis(2);

/// The newest lines of each service, by `namespace/name`.
pub(super) type Kept = Arc<Mutex<Lines<String>>>;

struct Waiting {
    /// `namespace/name@version`.
    service: String,
    time_micros: u64,
    output: Output,
    text: String,
}

/// A sink for the host of components. None when there is no thread to be had: lines are dropped then.
pub(super) fn sink(kept: Kept) -> Option<LogSink> {
    let (send, receive) = sync_channel(MAX_WAITING);
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&dropped);
    let spawned =
        std::thread::Builder::new().name("guest-lines".into()).spawn(move || write(&receive, &counted, &kept));
    if let Err(error) = spawned {
        tracing::warn!(%error, "what guests of components write is not told");
        return None;
    }
    Some(Arc::new(move |line: &Line<'_>| push(&send, &dropped, line)))
}

fn push(send: &SyncSender<Waiting>, dropped: &AtomicU64, line: &Line<'_>) {
    let time_micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    let (service, text) = (line.service.to_owned(), line.text.to_owned());
    let waiting = Waiting { service, time_micros, output: line.output, text };
    if send.try_send(waiting).is_err() {
        dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Until the last sink is gone.
fn write(receive: &Receiver<Waiting>, dropped: &AtomicU64, kept: &Kept) {
    while let Ok(first) = receive.recv() {
        tell(first, kept);
        loop {
            let lost = dropped.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!(
                    lines = lost,
                    "guests of components wrote faster than the log is written: lines are lost"
                );
            }
            std::thread::park_timeout(GATHERING);
            if receive.try_iter().take(MAX_WAITING).map(|waiting| tell(waiting, kept)).count() == 0 {
                break;
            }
        }
    }
}

fn tell(Waiting { service, time_micros, output, text }: Waiting, kept: &Kept) {
    match output {
        Output::Stdout => tracing::info!(service, "{text}"),
        Output::Stderr => tracing::info!(service, stream = "stderr", "{text}"),
        Output::Host => tracing::warn!(service, "{text}"),
    }
    keep(kept, &service, time_micros, output, text);
}

fn keep(kept: &Kept, service: &str, time_micros: u64, output: Output, line: String) {
    let stream = match output {
        Output::Stdout => "out",
        Output::Stderr => "err",
        Output::Host => "host",
    };
    let (service, version) = service.split_once('@').unwrap_or((service, ""));
    let (stream, version) = (stream.to_owned(), Some(version.to_owned()));
    kept.lock().push(service.to_owned(), GuestLine { number: 0, position: 0, time_micros, stream, version, line });
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
