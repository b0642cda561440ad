//! The network between clients and a node's proxy: the proxy's seam for sockets, over the simulated network.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use refrain_proxy::net::{Listener, Net, Stream};
use tokio::task::AbortHandle;

use super::SimNet;
use super::gates::Host;
use super::socket::Socket;

/// What clients reach a host by.
#[derive(Clone)]
pub struct ClientNet(pub Arc<SimNet>);

/// The address of a host, as others are told.
#[must_use]
pub fn ip_of(host: Host) -> Ipv4Addr {
    let [high, low] = host.0.to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

impl Net for ClientNet {
    fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let address = addr.to_string();
        let binding = pin!(self.0.bind(&address));
        let Poll::Ready(bound) = binding.poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let mut listener = bound?;
        let backlog = Rc::new(RefCell::new(Backlog::default()));
        let filled = backlog.clone();
        let accepting = tokio::task::spawn_local(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (name, port) = peer.rsplit_once(':').unwrap_or((&peer, "0"));
                let ip = Host::of_name(name).map_or(Ipv4Addr::UNSPECIFIED, ip_of);
                let peer = SocketAddr::from((ip, port.parse().unwrap_or_default()));
                let mut filled = filled.borrow_mut();
                filled.waiting.push_back((Socket::new(stream), peer));
                filled.waker.take().into_iter().for_each(Waker::wake);
            }
        });
        Ok(Box::new(ClientListener { addr, backlog, accepting: accepting.abort_handle() }))
    }
}

#[derive(Default)]
struct Backlog {
    waiting: VecDeque<(Socket, SocketAddr)>,
    waker: Option<Waker>,
}

struct ClientListener {
    addr: SocketAddr,
    backlog: Rc<RefCell<Backlog>>,
    accepting: AbortHandle,
}

impl Listener for ClientListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        let mut backlog = self.backlog.borrow_mut();
        if let Some((socket, peer)) = backlog.waiting.pop_front() {
            return Poll::Ready(Ok((Box::new(socket), peer)));
        }
        backlog.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for ClientListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
