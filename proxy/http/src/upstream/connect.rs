//! A new connection to an address that speaks HTTP/1.1.

use std::io;
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Address;
use crate::body::Body;

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
    #[error("the connection to {0} broke")]
    Http(Address, #[source] hyper::Error),
}

/// Connects, and leaves a task that moves the bytes until the connection ends.
pub(super) async fn connect(address: &Address, limit: Duration) -> Result<SendRequest<Body>, ConnectError> {
    let connected = timeout(limit, open(address)).await;
    connected.unwrap_or_else(|_| Err(ConnectError::Timeout { address: address.clone(), limit }))
}

async fn open(address: &Address) -> Result<SendRequest<Body>, ConnectError> {
    let fault = |error| ConnectError::Io(address.clone(), error);
    match address {
        Address::Tcp(socket) => {
            let stream = TcpStream::connect(socket).await.map_err(fault)?;
            stream.set_nodelay(true).map_err(fault)?;
            handshake(address, stream).await
        }
        Address::Unix(path) => handshake(address, UnixStream::connect(path).await.map_err(fault)?).await,
    }
}

async fn handshake<S>(address: &Address, stream: S) -> Result<SendRequest<Body>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    let made = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|error| ConnectError::Http(address.clone(), error))?;
    tokio::task::spawn_local(async move {
        // Whoever waits for an answer is told the error.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}
