//! The simulated network of one host: turmoil's TCP, behind gates that hold back, cut off and reset.
//!
//! turmoil carries the bytes, with a latency for each segment, and forgets what it drops. TCP does not: what a
//! partition holds back arrives when it is over, or the connection dies. So every stream has a pump at each end that
//! moves bytes while the [`gates`] between the hosts are open, and drops the connection when it is reset. What waits
//! at a closed gate is bounded like a socket's buffer, so a writer blocks behind it.

use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use refrain_sequencer::net::{BoxFuture, BoxStream, Listener, Net};
use turmoil::net::{TcpListener, TcpStream};

use crate::dice::Dice;

pub mod clients;
pub mod gates;
pub mod socket;
mod stream;

use gates::{Gates, Host};
pub use stream::SimStream;

/// How long a connection is tried before the system gives up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection whose client never learned of it stays with the server.
const ORPHAN_LIFE: Duration = Duration::from_secs(3);

/// What one host sees of the network.
pub struct SimNet {
    host: Host,
    gates: Gates,
    dice: Mutex<Dice>,
}

impl SimNet {
    /// The network as `host` sees it.
    #[must_use]
    pub fn new(host: Host, gates: Gates, dice: Dice) -> Self {
        Self { host, gates, dice: Mutex::new(dice) }
    }

    /// Connects to `address`, `name:port` or what [`clients::ip_of`] gives with a port.
    ///
    /// # Errors
    /// When nobody listens, the time is over, or the answer was lost; the other side may have a connection then.
    pub async fn connect(&self, address: &str) -> io::Result<SimStream> {
        let (to, port) = Host::of_address(address).ok_or(io::ErrorKind::InvalidInput)?;
        let open = async {
            self.gates.until_open(self.host, to).await;
            self.gates.until_open(to, self.host).await;
        };
        tokio::time::timeout(CONNECT_TIMEOUT, open).await.map_err(|_| io::ErrorKind::TimedOut)?;
        let stream = TcpStream::connect(to.address(port)).await?;
        if self.dice.lock().percent(self.gates.orphan_percent()) {
            tokio::spawn(async move {
                tokio::time::sleep(ORPHAN_LIFE).await;
                drop(stream);
            });
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(SimStream::start(stream, self.host, to, self.gates.clone()))
    }

    /// Listens on the port of `address`.
    ///
    /// # Errors
    /// When somebody listens there.
    pub async fn bind(&self, address: &str) -> io::Result<SimListener> {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let port = port.ok_or(io::ErrorKind::InvalidInput)?;
        let listener = TcpListener::bind(("0.0.0.0", port)).await?;
        Ok(SimListener { listener, host: self.host, gates: self.gates.clone() })
    }
}

impl Net for SimNet {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move { Ok(Box::new(Self::connect(self, address).await?) as BoxStream) })
    }

    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { Ok(Box::new(Self::bind(self, address).await?) as Box<dyn Listener>) })
    }
}

impl Listener for SimListener {
    fn local_address(&self) -> io::Result<String> {
        Ok(self.host.address(self.listener.local_addr()?.port()))
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(async move {
            let (stream, address) = Self::accept(self).await?;
            Ok((Box::new(stream) as BoxStream, address))
        })
    }
}

/// Accepts connections.
pub struct SimListener {
    listener: TcpListener,
    host: Host,
    gates: Gates,
}

impl SimListener {
    /// The next connection, and who opened it.
    ///
    /// # Errors
    /// Never; real listeners do.
    pub async fn accept(&mut self) -> io::Result<(SimStream, String)> {
        let (stream, peer) = self.listener.accept().await?;
        let name = turmoil::reverse_lookup(peer.ip()).unwrap_or_default();
        let from = Host::of_name(&name).ok_or(io::ErrorKind::InvalidInput)?;
        Ok((SimStream::start(stream, self.host, from, self.gates.clone()), format!("{name}:{}", peer.port())))
    }
}

#[cfg(test)]
mod tests;
