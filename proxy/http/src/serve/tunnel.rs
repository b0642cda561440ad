//! An upgraded connection: bytes both ways, until both sides have ended, one breaks, or nothing moves for too long.

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
        let _exchange = exchange;
        if let Ok((client, upstream)) = tokio::try_join!(client, upstream) {
            let ended = carry(TokioIo::new(client), TokioIo::new(upstream), idle).await;
            if let Err(error) = ended {
                tracing::debug!(%error, peer = %connection.peer.address, "a tunnel ended");
            }
        }
    });
}

async fn carry(client: TokioIo<Upgraded>, upstream: TokioIo<Upgraded>, idle: Duration) -> io::Result<()> {
    let (from_client, to_client) = split(client);
    let (from_upstream, to_upstream) = split(upstream);
    let moved = Notify::new();
    tokio::select! {
        ended = async {
            tokio::try_join!(copy(from_client, to_upstream, &moved), copy(from_upstream, to_client, &moved))
        } => ended.map(|_| ()),
        () = silence(&moved, idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn copy(
    mut from: ReadHalf<TokioIo<Upgraded>>,
    mut to: WriteHalf<TokioIo<Upgraded>>,
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
        moved.notify_one();
    }
}

/// Returns when nothing has moved for so long.
async fn silence(moved: &Notify, idle: Duration) {
    while timeout_at(Instant::now() + idle, moved.notified()).await.is_ok() {}
}
