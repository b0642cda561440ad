//! Client connections with what sockets have beyond streams: a reset that is told apart from an end, half-closes, and
//! readiness. Both ends speak frames over a [`SimStream`]: data, an end, or a reset.
//!
//! As with TCP: an end is sent once everything before is; closing with bytes unread resets; who writes to an end that
//! closed is reset; what is lost without a word (a machine without power) leaves the other end waiting.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use refrain_proxy::net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;

use super::SimStream;

/// What fits in one direction at one end.
const BUFFER_BYTES: usize = 32 * 1024;
/// What goes into one frame.
const FRAME_BYTES: usize = 8 * 1024;
const HEADER_BYTES: usize = 3;
const DATA: u8 = 0;
const END: u8 = 1;
const RESET: u8 = 2;

#[derive(Default)]
struct State {
    input: VecDeque<u8>,
    input_ended: bool,
    output: VecDeque<u8>,
    output_ended: bool,
    /// The other end, or the network, has given the connection up.
    broken: bool,
    /// This end gives it up.
    reset: bool,
    /// The socket was dropped.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Default)]
struct Shared {
    state: RefCell<State>,
    /// There may be something to send.
    outward: Notify,
    /// There may be room for what comes.
    inward: Notify,
}

impl Shared {
    fn wake(&self) {
        let (reader, writer) = {
            let mut state = self.state.borrow_mut();
            (state.reader.take(), state.writer.take())
        };
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    fn breaks(&self) {
        self.state.borrow_mut().broken = true;
        self.wake();
    }
}

/// One end of a client's connection.
pub struct Socket(Rc<Shared>);

/// What a pump does next.
enum Next {
    Data(Vec<u8>),
    End,
    Reset,
    Wait,
    Over,
}

impl Socket {
    /// The socket on this end of a stream; needs a `LocalSet`.
    #[must_use]
    pub fn new(stream: SimStream) -> Self {
        let shared = Rc::new(Shared::default());
        let pumped = shared.clone();
        tokio::task::spawn_local(async move {
            let (from, to) = tokio::io::split(stream);
            tokio::select! {
                biased;
                _ = send(to, &pumped) => {}
                () = receive(from, &pumped) => pumped.breaks(),
            }
        });
        Self(shared)
    }

    /// What comes next; 0 bytes when the other end sends no more.
    ///
    /// # Errors
    /// When the connection was reset.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Writes everything.
    ///
    /// # Errors
    /// When the connection was reset.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => poll_fn(|cx| self.poll_writable(cx)).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Stream for Socket {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state.borrow_mut();
        if !state.input.is_empty() {
            let count = buffer.len().min(state.input.len());
            for (to, byte) in buffer.iter_mut().zip(state.input.drain(..count)) {
                *to = byte;
            }
            self.0.inward.notify_one();
            return Poll::Ready(Ok(count));
        }
        if state.input_ended {
            return Poll::Ready(Ok(0));
        }
        if state.broken {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.borrow_mut();
        if state.broken {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if state.output.len() < BUFFER_BYTES {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.borrow_mut();
        if state.broken || state.output_ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(BUFFER_BYTES - state.output.len());
        if count == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        state.output.extend(&bytes[..count]);
        self.0.outward.notify_one();
        Ok(count)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        self.0.state.borrow_mut().output_ended = true;
        self.0.outward.notify_one();
        Ok(())
    }

    fn reset_on_close(&self) -> io::Result<()> {
        self.0.state.borrow_mut().reset = true;
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.closed = true;
        state.output_ended = true;
        state.reset |= !state.input.is_empty();
        self.0.outward.notify_one();
        self.0.inward.notify_one();
    }
}

fn next(state: &mut State, end_sent: bool) -> Next {
    if state.closed && state.reset {
        return Next::Reset;
    }
    if !state.output.is_empty() {
        let count = state.output.len().min(FRAME_BYTES);
        return Next::Data(state.output.drain(..count).collect());
    }
    match (state.output_ended, end_sent) {
        (true, false) => Next::End,
        (true, true) if state.input_ended => Next::Over,
        _ => Next::Wait,
    }
}

fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend((bytes.len() as u16).to_le_bytes());
    frame.extend(bytes);
    frame
}

/// Sends what is written until both directions have ended or this end gives up.
async fn send(mut to: WriteHalf<SimStream>, shared: &Shared) -> io::Result<()> {
    let mut end_sent = false;
    loop {
        let next = next(&mut shared.state.borrow_mut(), end_sent);
        match next {
            Next::Data(bytes) => {
                let writer = shared.state.borrow_mut().writer.take();
                writer.into_iter().for_each(Waker::wake);
                to.write_all(&frame(DATA, &bytes)).await?;
            }
            Next::End => {
                end_sent = true;
                to.write_all(&frame(END, &[])).await?;
            }
            Next::Reset => {
                to.write_all(&frame(RESET, &[])).await?;
                return to.shutdown().await;
            }
            Next::Wait => shared.outward.notified().await,
            Next::Over => return to.shutdown().await,
        }
    }
}

/// Takes in what comes; returns when the connection is broken.
async fn receive(mut from: ReadHalf<SimStream>, shared: &Shared) {
    loop {
        while shared.state.borrow().input.len() >= BUFFER_BYTES {
            shared.inward.notified().await;
        }
        let mut header = [0; HEADER_BYTES];
        if from.read_exact(&mut header).await.is_err() || header[0] == RESET {
            return;
        }
        let mut bytes = vec![0; usize::from(u16::from_le_bytes([header[1], header[2]]))];
        if from.read_exact(&mut bytes).await.is_err() {
            return;
        }
        {
            let mut state = shared.state.borrow_mut();
            if header[0] == END {
                state.input_ended = true;
            } else if state.closed {
                // Nobody reads it any more.
                state.reset = true;
            } else {
                state.input.extend(bytes);
            }
        }
        shared.outward.notify_one();
        shared.wake();
    }
}
