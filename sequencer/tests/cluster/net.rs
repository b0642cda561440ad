//! A network in memory that can be cut: what goes through a cut never arrives, and nobody is told.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use refrain_sequencer::net::{BoxFuture, BoxStream, Listener, Net};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

const WIRE_BYTES: usize = 256 * 1024;

type Accepted = (BoxStream, String);

#[derive(Default)]
struct State {
    listeners: BTreeMap<String, mpsc::UnboundedSender<Accepted>>,
    isolated: BTreeSet<String>,
    wires: Vec<(String, String, Arc<AtomicBool>)>,
}

/// The network; clones share it.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<State>>);

impl Network {
    /// The network as the host with that address sees it.
    pub fn host(&self, address: &str) -> Arc<dyn Net> {
        Arc::new(Host { network: self.clone(), address: address.to_owned() })
    }

    /// Cuts all wires of a host, and lets it open none.
    pub fn isolate(&self, address: &str) {
        let mut state = self.0.lock();
        state.isolated.insert(address.to_owned());
        for (from, to, cut) in &state.wires {
            if from == address || to == address {
                cut.store(true, Ordering::SeqCst);
            }
        }
    }

    /// A host may open wires again.
    pub fn heal(&self, address: &str) {
        self.0.lock().isolated.remove(address);
    }

    /// A wire to whoever listens there, from nowhere in particular.
    pub async fn dial(&self, address: &str) -> io::Result<BoxStream> {
        self.host("nobody").connect(address).await
    }
}

struct Host {
    network: Network,
    address: String,
}

impl Host {
    fn open(&self, to: &str) -> Option<io::Result<BoxStream>> {
        let mut state = self.network.0.lock();
        if state.isolated.contains(to) || state.isolated.contains(&self.address) {
            return None;
        }
        let cut = Arc::new(AtomicBool::new(false));
        let (here, there) = tokio::io::duplex(WIRE_BYTES);
        let there = Box::new(Wire { stream: there, cut: cut.clone() });
        let listener = state.listeners.get(to);
        if listener.is_none_or(|listener| listener.send((there, self.address.clone())).is_err()) {
            return Some(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        state.wires.push((self.address.clone(), to.to_owned(), cut.clone()));
        Some(Ok(Box::new(Wire { stream: here, cut })))
    }
}

impl Net for Host {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            match self.open(address) {
                Some(opened) => opened,
                None => std::future::pending().await,
            }
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.network.0.lock().listeners.insert(address.to_owned(), sender);
        let listener = Bound { address: address.to_owned(), receiver };
        Box::pin(std::future::ready(Ok(Box::new(listener) as Box<dyn Listener>)))
    }
}

struct Bound {
    address: String,
    receiver: mpsc::UnboundedReceiver<Accepted>,
}

impl Listener for Bound {
    fn local_address(&self) -> io::Result<String> {
        Ok(self.address.clone())
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async move { self.receiver.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into()) })
    }
}

struct Wire {
    stream: DuplexStream,
    cut: Arc<AtomicBool>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.cut.load(Ordering::SeqCst) { Poll::Pending } else { read }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cut.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
