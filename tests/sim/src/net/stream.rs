//! One simulated connection: a buffer on the user's side, turmoil's stream on the other, and two pumps in between.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, WriteHalf};
use turmoil::net::TcpStream;
use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::gates::{Gates, Host};

/// What fits between a user and the pump, in each direction.
const BUFFER_BYTES: usize = 64 * 1024;
/// What goes into one segment.
const SEGMENT_BYTES: usize = 16 * 1024;

/// A connection as its user sees it. Dropping it closes it.
pub struct SimStream {
    user: DuplexStream,
    was_reset: Arc<AtomicBool>,
}

impl SimStream {
    pub(super) fn start(stream: TcpStream, here: Host, there: Host, gates: Gates) -> Self {
        let (user, pump) = tokio::io::duplex(BUFFER_BYTES);
        let was_reset = Arc::new(AtomicBool::new(false));
        let noted = was_reset.clone();
        let before = gates.resets(here, there);
        tokio::spawn(async move {
            let (from_user, to_user) = tokio::io::split(pump);
            let (from_wire, to_wire) = stream.into_split();
            let outward = pump_out(from_user, to_wire, here, there, &gates);
            let inward = pump_in(from_wire, to_user, here, &gates);
            tokio::select! {
                biased;
                () = gates.until_reset(here, there, before) => noted.store(true, Ordering::Relaxed),
                (_, arrived) = async { tokio::join!(biased; outward, inward) } => {
                    noted.store(arrived.is_err(), Ordering::Relaxed);
                }
            }
        });
        Self { user, was_reset }
    }
}

async fn pump_out(
    mut from: ReadHalf<DuplexStream>,
    mut to: OwnedWriteHalf,
    here: Host,
    there: Host,
    gates: &Gates,
) -> io::Result<()> {
    let mut buffer = vec![0; SEGMENT_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        gates.until_open(here, there).await;
        if count == 0 {
            return to.shutdown().await;
        }
        gates.passes(here, there, &buffer[..count]);
        to.write_all(&buffer[..count]).await?;
    }
}

async fn pump_in(
    mut from: OwnedReadHalf,
    mut to: WriteHalf<DuplexStream>,
    here: Host,
    gates: &Gates,
) -> io::Result<()> {
    let mut buffer = vec![0; SEGMENT_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        gates.until_running(here).await;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

impl AsyncRead for SimStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.user).poll_read(cx, buf))?;
        if buf.filled().len() == before && buf.remaining() > 0 && self.was_reset.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.user).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.user).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.user).poll_shutdown(cx)
    }
}
