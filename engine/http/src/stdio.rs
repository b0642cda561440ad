//! What guests write to standard output and error: lines, of bounded length and number, for a sink of the owner's.
//!
//! A line that is too long is cut, and lines beyond the number of a request are counted and dropped. Bytes that are no
//! UTF-8 are replaced. Writing never blocks a guest and never fails.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

use crate::counters::count;
use crate::service::Inner;

/// Bytes that a guest may write in one go.
const WRITE_BYTES: usize = 16 * 1024;

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The host itself, about lines that it dropped.
    Host,
}

/// One line of a guest's log.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The service's name.
    pub service: &'a str,
    /// Where the guest wrote it.
    pub output: Output,
    /// Without its line break.
    pub text: &'a str,
}

/// Takes the lines of all guests. Called on the threads that run guests: it must be quick and must not block.
pub type LogSink = Arc<dyn Fn(&Line<'_>) + Send + Sync>;

/// The log of one instance, shared by its two streams.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Lines>>);

struct Lines {
    service: Arc<Inner>,
    /// Lines begun and not ended, of standard output and error.
    open: [Vec<u8>; 2],
    /// Lines that the request may still log.
    left: usize,
    dropped: u64,
}

impl Log {
    pub(crate) fn new(service: Arc<Inner>) -> Self {
        let left = service.limits.log_lines;
        Self(Arc::new(Mutex::new(Lines { service, open: [Vec::new(), Vec::new()], left, dropped: 0 })))
    }

    /// A request begins in an idle instance.
    pub(crate) fn reset(&self) {
        let mut lines = self.0.lock();
        lines.tell_dropped();
        lines.left = lines.service.limits.log_lines;
    }

    /// A request joins others, so that there are `active`. What those before it left over is not heaped up.
    pub(crate) fn join(&self, active: u32) {
        let mut lines = self.0.lock();
        lines.tell_dropped();
        let limit = lines.service.limits.log_lines;
        let most = limit.saturating_mul(active as usize);
        lines.left = lines.left.saturating_add(limit).min(most);
    }

    pub(crate) fn stream(&self, output: Output) -> Stream {
        Stream { log: self.clone(), output }
    }
}

impl Lines {
    fn write(&mut self, output: Output, mut bytes: &[u8]) {
        let limit = self.service.limits.log_line_bytes;
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            append(self.open(output), &bytes[..end], limit);
            self.end(output);
            bytes = &bytes[end + 1..];
        }
        append(self.open(output), bytes, limit);
    }

    fn open(&mut self, output: Output) -> &mut Vec<u8> {
        &mut self.open[usize::from(output == Output::Stderr)]
    }

    fn end(&mut self, output: Output) {
        let line = std::mem::take(self.open(output));
        if self.left == 0 {
            self.dropped += 1;
            return;
        }
        self.left -= 1;
        count(&self.service.counters.log_lines);
        self.service.log(output, &String::from_utf8_lossy(&line));
    }

    fn tell_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let text = format!("{dropped} lines beyond {} per request were dropped", self.service.limits.log_lines);
            self.service.log(Output::Host, &text);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        for output in [Output::Stdout, Output::Stderr] {
            if !self.open(output).is_empty() {
                self.end(output);
            }
        }
        self.tell_dropped();
    }
}

fn append(line: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let room = limit.saturating_sub(line.len()).min(bytes.len());
    line.extend_from_slice(&bytes[..room]);
}

/// One of the two streams of an instance.
pub(crate) struct Stream {
    log: Log,
    output: Output,
}

impl Stream {
    fn put(&self, bytes: &[u8]) {
        self.log.0.lock().write(self.output, bytes);
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.log.stream(self.output))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.log.stream(self.output))
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(WRITE_BYTES)
    }
}

#[async_trait::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.put(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
