//! The bytes of a client's connection on their way to hyper: watched for doubtful framing, and timed.
//!
//! The guard keeps no timer. When it has to wait it says in the pulse by when something must have happened, and the
//! driver of the connection, which is the same task, ends the connection if it has not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::linger::{LINGER, LINGER_BYTES};
use super::pulse::{Late, Pulse};
use super::stream::Stream;
use crate::answer::Fault;
use crate::edge::Framing;
use crate::settings::ConnectionLimits;

pub(crate) struct Guard {
    stream: Stream,
    /// Read already, while it was found out which protocol this is.
    begun: Bytes,
    /// None for HTTP/2, whose framing has no such doubts.
    framing: Option<Framing>,
    /// The bytes end in the middle of a message that others might read otherwise.
    is_broken: bool,
    pulse: Arc<Pulse>,
    write_idle: Duration,
    head_since: Option<Instant>,
    blocked_since: Option<Instant>,
    linger: Option<usize>,
    /// Our words instead of hyper's answer to what is no request, as far as they are not written.
    farewell: Bytes,
    /// They were said. Whoever serves the connection tells of it, and then listens on.
    said_farewell: bool,
    /// How many requests had begun when everything was written and none was open.
    settled: Option<u32>,
}

impl Guard {
    pub(crate) fn new(
        stream: Stream,
        begun: Bytes,
        is_http2: bool,
        pulse: Arc<Pulse>,
        limits: &ConnectionLimits,
    ) -> Self {
        Self {
            stream,
            begun,
            framing: (!is_http2).then(|| Framing::new(limits.head_bytes)),
            is_broken: false,
            pulse,
            write_idle: limits.write_idle,
            head_since: None,
            blocked_since: None,
            linger: None,
            farewell: Bytes::new(),
            said_farewell: false,
            settled: Some(0),
        }
    }

    /// Whether bytes of HTTP/1.1 that are to be written are hyper's own answer to what is no request: no request is open,
    /// and none has begun since the last answer was written.
    fn is_own_answer(&self) -> bool {
        self.framing.is_some()
            && self.pulse.last_of_quiet().is_some_and(|begun| self.settled == Some(begun))
            && !self.pulse.is_upgraded()
    }

    /// Takes hyper's answer, and writes ours with its status.
    fn take_own_answer(&mut self, cx: &mut Context<'_>, answer: &[u8]) -> Poll<io::Result<()>> {
        let fault = match answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.first_chunk()) {
            Some(b"431") => Fault::HeadTooLarge,
            Some(b"414") => Fault::UriTooLong,
            _ => Fault::Malformed,
        };
        self.farewell = fault.farewell();
        self.said_farewell = true;
        self.poll_farewell(cx)
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.farewell.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.farewell);
            self.note_write(&written);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.farewell.advance(bytes),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Returns how many of the bytes may go on.
    fn note_read(&mut self, bytes: &[u8]) -> usize {
        let Some(framing) = &mut self.framing else { return bytes.len() };
        if self.pulse.is_upgraded() {
            return bytes.len();
        }
        let was_in_head = framing.is_in_head();
        let good = framing.read(bytes);
        if let Some((number, fault)) = framing.fault() {
            self.pulse.set_fault(number, fault);
        }
        let is_in_head = framing.is_in_head();
        self.pulse.set_within(!framing.is_between());
        if !is_in_head {
            self.head_since = None;
        } else if !was_in_head || self.head_since.is_none() {
            self.head_since = Some(Instant::now());
        }
        if was_in_head || is_in_head {
            // It may be long before anything is read again: a deadline that is met must not stay.
            self.tell();
        }
        good
    }

    fn note_write<T>(&mut self, written: &Poll<io::Result<T>>) {
        let was_blocked = self.blocked_since.is_some();
        match written {
            Poll::Ready(_) => self.blocked_since = None,
            Poll::Pending => self.blocked_since = self.blocked_since.or_else(|| Some(Instant::now())),
        }
        if was_blocked != self.blocked_since.is_some() {
            self.tell();
        }
    }

    fn tell(&self) {
        self.pulse.set_head_since(self.head_since);
        self.pulse.set_deadline(self.blocked_since.map(|since| since + self.write_idle));
    }

    /// Reads and forgets until the client stops sending. Over HTTP/1.1 it is known whether it will: in the middle of a
    /// body. Over HTTP/2 a client that still sends is one whose bytes wait already.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_waited_for = match &self.framing {
            _ if self.pulse.is_upgraded() || self.said_farewell => false,
            Some(framing) => framing.is_in_body(),
            None => true,
        };
        let is_first = self.linger.is_none();
        if is_first {
            self.linger = Some(if is_waited_for { LINGER_BYTES } else { 0 });
            self.pulse.set_deadline(Some(Instant::now() + LINGER));
        }
        let mut space = [0; 4096];
        while let Some(left) = self.linger.filter(|left| *left > 0) {
            let mut buf = ReadBuf::new(&mut space);
            let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, &mut buf) else {
                if is_first && left == LINGER_BYTES && self.framing.is_none() {
                    self.linger = Some(0);
                    return Poll::Ready(());
                }
                return Poll::Pending;
            };
            let bytes = buf.filled().len();
            let is_over = read.is_err() || bytes == 0;
            self.linger = Some(if is_over { 0 } else { left.saturating_sub(bytes) });
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Guard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if self.pulse.given_up() == Some(Late::Head) {
            self.farewell = Fault::HeadSlow.farewell();
            // What does not go out at once does not go out: there is no time left.
            if self.poll_farewell(cx).is_ready() {
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
            }
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        if self.begun.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let taken = self.begun.len().min(buf.remaining());
            buf.put_slice(&self.begun[..taken]);
            self.begun.advance(taken);
            if self.begun.is_empty() {
                // Emptied bytes still keep their memory.
                self.begun = Bytes::new();
            }
        }
        let good = self.note_read(&buf.filled()[before..]);
        if good < buf.filled().len() - before {
            self.is_broken = true;
            buf.set_filled(before + good);
            // No bytes would be the end of the connection.
            if good == 0 {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_own_answer() {
            let _ = self.take_own_answer(cx, bytes)?;
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_own_answer() {
            let answer: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let _ = self.take_own_answer(cx, &answer)?;
            return Poll::Ready(Ok(answer.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_farewell(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note_write(&flushed);
        if flushed.is_ready() {
            self.pulse.flushed();
            self.settled = self.pulse.last_of_quiet();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(self.poll_farewell(cx))?;
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::serve::stream::Plain;

    fn guard(stream: UnixStream, is_http2: bool) -> (Guard, Arc<Pulse>) {
        let limits = ConnectionLimits::default();
        let pulse = Arc::new(Pulse::new(limits.idle, limits.head));
        let stream = Stream::Plain(Plain::Unix(stream));
        (Guard::new(stream, Bytes::new(), is_http2, Arc::clone(&pulse), &limits), pulse)
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    async fn wait_for_nothing(guard: &mut Guard) {
        assert!(guard.read(&mut [0; 256]).now_or_never().is_none());
    }

    async fn take(client: &mut UnixStream, guard: &mut Guard, text: &[u8]) {
        client.write_all(text).await.unwrap();
        guard.read_exact(&mut vec![0; text.len()]).await.unwrap();
    }

    #[test]
    fn a_request_that_begins_ends_the_time_of_idling() {
        run(async {
            let (mut client, server) = UnixStream::pair().unwrap();
            let (mut guard, pulse) = guard(server, false);
            wait_for_nothing(&mut guard).await;
            assert!(pulse.deadline().is_some());
            take(&mut client, &mut guard, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").await;
            assert_eq!(pulse.deadline(), None, "the body is not read while the request waits for a place");
        });
    }

    #[test]
    fn a_head_that_has_ended_ends_its_time() {
        run(async {
            let (mut client, server) = UnixStream::pair().unwrap();
            let (mut guard, pulse) = guard(server, false);
            take(&mut client, &mut guard, b"GET / HT").await;
            wait_for_nothing(&mut guard).await;
            assert!(pulse.deadline().is_some());
            take(&mut client, &mut guard, b"TP/1.1\r\nHost: a\r\n\r\n").await;
            let _open = pulse.begin();
            assert_eq!(pulse.deadline(), None);
        });
    }

    #[test]
    fn a_head_behind_a_request_has_its_time_from_the_end_of_the_last_answer() {
        run(async {
            let (mut client, server) = UnixStream::pair().unwrap();
            let (mut guard, pulse) = guard(server, false);
            let (_, first) = pulse.begin();
            take(&mut client, &mut guard, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT").await;
            let (_, second) = pulse.begin();
            assert_eq!(pulse.deadline(), None);
            drop(first);
            assert_eq!(pulse.deadline(), None, "an answer is under way");
            let before = Instant::now();
            drop(second);
            let limits = ConnectionLimits::default();
            let due = pulse.deadline().expect("it does not wait for ever");
            assert!(due + Duration::from_millis(1) >= before + limits.head && due < before + limits.idle);
            take(&mut client, &mut guard, b"TP/1.1\r\nHost: a\r\n\r\n").await;
            let _third = pulse.begin();
            assert_eq!(pulse.deadline(), None);
        });
    }

    #[test]
    fn a_stream_of_http_2_that_begins_ends_the_time_of_idling_and_a_ping_does_not() {
        run(async {
            let (mut client, server) = UnixStream::pair().unwrap();
            let (mut guard, pulse) = guard(server, true);
            wait_for_nothing(&mut guard).await;
            let idle = pulse.deadline();
            take(&mut client, &mut guard, b"a frame").await;
            wait_for_nothing(&mut guard).await;
            assert!(idle.is_some() && pulse.deadline() == idle);
            let (_, open) = pulse.begin();
            assert_eq!(pulse.deadline(), None);
            drop(open);
            assert!(pulse.deadline().is_some());
        });
    }
}
