//! Standard streams and signals of a program that runs by itself.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use refrain_kernel::Kernel;
use refrain_kernel::stdio::OutputStream;
use tokio::signal::unix::{SignalKind, signal};

use super::{Event, Events, RunError, spawn, system};

/// The most bytes of standard input that are read ahead of the program.
const CHUNK_BYTES: usize = 64 * 1024;

/// Which of the standard streams are terminals.
pub(super) fn terminals() -> [bool; 3] {
    [std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), std::io::stderr().is_terminal()]
}

/// Standard input. Nothing is read before the program wants some, so that whoever shares it keeps what is not wanted.
pub(super) struct Input {
    events: Events,
    asking: Option<SyncSender<()>>,
    asked: bool,
}

impl Input {
    pub(super) fn new(events: Events) -> Self {
        Self { events, asking: None, asked: false }
    }

    /// Has one chunk read.
    pub(super) fn ask(&mut self) {
        if self.asked {
            return;
        }
        self.asked = true;
        let asking = self.asking.get_or_insert_with(|| {
            let (asking, asks) = sync_channel(1);
            let events = self.events.clone();
            if spawn("stdin", move || read_when_asked(&asks, &events)).is_err() {
                // Without the thread the program waits for input that never comes; a signal ends it.
                tracing::error!("no thread can be started to read standard input");
            }
            asking
        });
        // The thread is gone only after the end, which it told.
        let _ = asking.try_send(());
    }

    /// Whether a chunk is on its way.
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// The chunk came.
    pub(super) fn came(&mut self) {
        self.asked = false;
    }
}

fn read_when_asked(asks: &Receiver<()>, events: &Events) {
    // Not through the standard library's handle: that one reads ahead.
    let Ok(stdin) = std::io::stdin().as_fd().try_clone_to_owned() else {
        let _ = events.send(Event::Input(Vec::new()));
        return;
    };
    let mut stdin = File::from(stdin);
    let mut chunk = vec![0; CHUNK_BYTES];
    while asks.recv().is_ok() {
        // A failure is an end: the program learns no more than from a closed pipe.
        let read = read_once(&mut stdin, &mut chunk).unwrap_or(0);
        if events.send(Event::Input(chunk[..read].to_vec())).is_err() || read == 0 {
            return;
        }
    }
}

fn read_once(stdin: &mut File, chunk: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stdin.read(chunk) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Standard output and error.
#[derive(Default)]
pub(super) struct Output {
    told: bool,
}

impl Output {
    /// Writes what the program wrote, as it wrote it. A stream that takes nothing more fails the program's next write.
    pub(super) fn pass(&mut self, kernel: &mut Kernel) {
        let Some(solo) = kernel.solo() else { return };
        for (stream, bytes) in solo.take_output() {
            let written = match stream {
                OutputStream::Out => write(&mut std::io::stdout().lock(), &bytes),
                OutputStream::Err => write(&mut std::io::stderr().lock(), &bytes),
            };
            if let Err(error) = written {
                solo.close_output(stream);
                if error.kind() != std::io::ErrorKind::BrokenPipe && !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(%error, "a standard stream cannot be written");
                }
            }
        }
    }
}

fn write(to: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// Has SIGINT and SIGTERM end the run instead of the process, so that folders are written back. A second one ends the
/// process.
pub(super) fn watch_signals(events: Events, stop: Arc<AtomicBool>) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(system("cannot watch for signals"))?;
    let (interrupt, terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    };
    let mut interrupt = interrupt.map_err(system("cannot watch for SIGINT"))?;
    let mut terminate = terminate.map_err(system("cannot watch for SIGTERM"))?;
    spawn("signals", move || {
        runtime.block_on(async move {
            let mut seen = false;
            loop {
                let number = tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
                    _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
                };
                if std::mem::replace(&mut seen, true) {
                    // The folders are being written, or the host hangs: the operator insists.
                    std::process::abort();
                }
                stop.store(true, Ordering::Relaxed);
                let _ = events.send(Event::Signal(number));
            }
        });
    })
}
