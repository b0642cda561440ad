//! A new connection to an upstream.

use std::future::Future;
use std::io;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Address;
use crate::body::Body;
use crate::inner::http2_client;

/// Bytes and headers of an answer's head; a longer one is an upstream that broke off.
const MAX_HEAD_BYTES: usize = 128 * 1024;
const MAX_HEADERS: usize = 256;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("cannot connect to {0}")]
    Io(Address, #[source] io::Error),
    #[error("no connection to {address} in {} ms", .limit.as_millis())]
    Timeout { address: Address, limit: Duration },
    #[error("every connection to {0} was closed at once")]
    Closed(Address),
    #[error("the connection to {0} broke")]
    Http(Address, #[source] hyper::Error),
}

/// Connects for requests one after another, and leaves a task that moves the bytes until the connection ends.
pub(super) async fn connect(address: &Address, limit: Duration) -> Result<http1::SendRequest<Body>, ConnectError> {
    within(address, limit, async {
        match open(address).await? {
            Opened::Tcp(stream) => one_by_one(address, stream).await,
            Opened::Unix(stream) => one_by_one(address, stream).await,
            Opened::Inner(stream) => one_by_one(address, stream).await,
        }
    })
    .await
}

/// Connects for many requests at once, likewise. The upstream is dead when it has been silent for `patience`.
pub(super) async fn connect_many(
    address: &Address,
    limit: Duration,
    patience: Duration,
) -> Result<http2::SendRequest<Body>, ConnectError> {
    within(address, limit, async {
        match open(address).await? {
            Opened::Tcp(stream) => many_at_once(address, stream, patience).await,
            Opened::Unix(stream) => many_at_once(address, stream, patience).await,
            Opened::Inner(stream) => many_at_once(address, stream, patience).await,
        }
    })
    .await
}

async fn within<T>(
    address: &Address,
    limit: Duration,
    connecting: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let connected = timeout(limit, connecting).await;
    connected.unwrap_or_else(|_| Err(ConnectError::Timeout { address: address.clone(), limit }))
}

enum Opened {
    Tcp(TcpStream),
    Unix(UnixStream),
    Inner(Box<dyn crate::inner::InnerStream>),
}

async fn open(address: &Address) -> Result<Opened, ConnectError> {
    let fault = |error| ConnectError::Io(address.clone(), error);
    match address {
        Address::Tcp(socket) => {
            let stream = TcpStream::connect(socket).await.map_err(fault)?;
            stream.set_nodelay(true).map_err(fault)?;
            Ok(Opened::Tcp(stream))
        }
        Address::Unix(path) => Ok(Opened::Unix(UnixStream::connect(path).await.map_err(fault)?)),
        Address::Inner(dial) => Ok(Opened::Inner(dial.dial().await.map_err(fault)?)),
    }
}

async fn one_by_one<S>(address: &Address, stream: S) -> Result<http1::SendRequest<Body>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    let made = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|error| ConnectError::Http(address.clone(), error))?;
    tokio::task::spawn_local(async move {
        // Whoever waits for an answer is told the error.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

async fn many_at_once<S>(
    address: &Address,
    stream: S,
    patience: Duration,
) -> Result<http2::SendRequest<Body>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let made = http2_client(patience).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|error| ConnectError::Http(address.clone(), error))?;
    tokio::task::spawn_local(async move {
        // Likewise.
        let _ = connection.await;
    });
    Ok(sender)
}
