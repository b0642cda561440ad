//! A connection to an upstream: the name is resolved, each address checked, and one of the checked ones connected to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use wasmtime_wasi_http::{Error, WasiBody};

use super::Outgoing;
use super::address::is_within;
use super::target::Target;
use crate::admission::acquire;
use crate::permissions::Grant;
use crate::service::Inner;

/// Addresses of a name that are tried.
const ADDRESSES: usize = 8;
/// The least that hyper takes for a buffer.
const LEAST_BUFFER_BYTES: usize = 8192;

/// A connection that requests can be sent on, one after another. It ends when this is dropped, whatever is still sent.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<WasiBody>,
    /// What reads and writes.
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outgoing {
    /// Opens a connection.
    pub(crate) async fn connect(&self, service: &Inner, target: &Target, grant: Grant) -> Result<Connection, Error> {
        let header_bytes = service.limits.header_bytes;
        let addresses = self.resolve(service, target, grant).await?;
        let stream = open(&addresses, target.port).await?;
        // Requests are written whole or in pieces that are worth a packet.
        let _ = stream.set_nodelay(true);
        if !target.tls {
            return self.speak(stream, header_bytes).await;
        }
        let stream = self.tls.connect(&target.host, stream).await?;
        self.speak(stream, header_bytes).await
    }

    /// The addresses that the service may connect to.
    async fn resolve(&self, service: &Inner, target: &Target, grant: Grant) -> Result<Vec<IpAddr>, Error> {
        let found = match target.address() {
            Some(address) => vec![address],
            None => self.look_up(service, target.host.clone()).await?,
        };
        if found.is_empty() {
            return Err(Error::DestinationNotFound);
        }
        let allowed = found.into_iter().filter(|address| is_within(*address, grant));
        let allowed: Vec<_> = allowed.take(ADDRESSES).collect();
        if allowed.is_empty() { Err(Error::DestinationIpProhibited) } else { Ok(allowed) }
    }

    /// Asks the resolver, in turn with the service's other look-ups. One whose caller is gone goes on and keeps its
    /// permit until it is over, as the system's cannot be stopped.
    async fn look_up(&self, service: &Inner, name: String) -> Result<Vec<IpAddr>, Error> {
        let failed = Error::DnsError { rcode: None, info_code: None };
        let permit = acquire(Arc::clone(&service.lookups), 1).await;
        let found = (self.resolver)(name);
        let looked_up = self.spawn(async move {
            let _permit = permit;
            found.await
        });
        match looked_up {
            Some(looked_up) => looked_up.await.ok().and_then(Result::ok).ok_or(failed),
            None => Err(failed),
        }
    }

    async fn speak<S>(&self, stream: S, header_bytes: usize) -> Result<Connection, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut client = http1::Builder::new();
        client.max_buf_size(header_bytes.max(LEAST_BUFFER_BYTES));
        let (sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(Error::Hyper)?;
        // Whatever goes wrong is told to whoever waits for a response.
        let task = self.spawn(async move {
            let _ = connection.await;
        });
        let task = task.ok_or(Error::ConnectionTerminated)?.abort_handle();
        Ok(Connection { sender, task })
    }
}

async fn open(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationNotFound;
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(*address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => last = Error::ConnectionRefused,
            Err(_) => last = Error::DestinationUnavailable,
        }
    }
    Err(last)
}
