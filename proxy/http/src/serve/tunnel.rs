//! An upgraded connection: bytes both ways, until both sides have ended, one breaks, or nothing moves for too long.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::exchange::Exchange;

/// Bytes read at once, either way.
const CHUNK_BYTES: usize = 16 * 1024;

/// Begins when hyper has sent the 101. The connection counts as open until the tunnel ends.
pub(crate) fn open(
    connection: Rc<Connection>,
    client: OnUpgrade,
    upstream: OnUpgrade,
    exchange: Exchange,
    idle: Duration,
) {
    tokio::task::spawn_local(async move {
        let mut exchange = exchange;
        if let Ok((client, upstream)) = tokio::try_join!(client, upstream) {
            let (passed, moved) = (Passed::default(), Notify::new());
            let ended = carry(TokioIo::new(client), TokioIo::new(upstream), idle, &passed, &moved).await;
            exchange.passed_in(passed.up.get());
            exchange.passed(passed.down.get(), ended.is_ok());
            if let Err(error) = ended {
                exchange.broke_off(if error.kind() == io::ErrorKind::TimedOut { IDLE } else { BROKEN });
                tracing::debug!(%error, peer = %connection.peer.address, "a tunnel ended");
            }
        }
    });
}

/// What the access log says of a tunnel in which nothing moved for too long, and of one that broke.
const IDLE: &str = "tunnel-idle";
const BROKEN: &str = "tunnel-broken";

/// Bytes that came from one side and went to the other.
#[derive(Debug, Default)]
struct Passed {
    up: Cell<usize>,
    down: Cell<usize>,
}

async fn carry(
    client: TokioIo<Upgraded>,
    upstream: TokioIo<Upgraded>,
    idle: Duration,
    passed: &Passed,
    moved: &Notify,
) -> io::Result<()> {
    let (from_client, to_client) = split(client);
    let (from_upstream, to_upstream) = split(upstream);
    let up = copy(from_client, to_upstream, &passed.up, moved);
    let down = copy(from_upstream, to_client, &passed.down, moved);
    tokio::select! {
        ended = async { tokio::try_join!(up, down) } => ended.map(|_| ()),
        () = silence(moved, idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn copy(
    mut from: ReadHalf<TokioIo<Upgraded>>,
    mut to: WriteHalf<TokioIo<Upgraded>>,
    passed: &Cell<usize>,
    moved: &Notify,
) -> io::Result<()> {
    let mut space = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut space).await?;
        moved.notify_one();
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&space[..read]).await?;
        // TLS takes bytes that the socket does not take, and keeps them until it is asked again.
        to.flush().await?;
        passed.set(passed.get() + read);
        moved.notify_one();
    }
}

/// Returns when nothing has moved for so long.
async fn silence(moved: &Notify, idle: Duration) {
    while timeout_at(Instant::now() + idle, moved.notified()).await.is_ok() {}
}
