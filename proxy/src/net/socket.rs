//! Real sockets: `socket2` to make them, tokio to wait for them.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::lookup::look_up;
use super::{Datagrams, KEEPALIVE, Later, Listener, Net, SocketOptions, Stream, datagram, unix};

/// Connections that the kernel keeps until they are accepted.
pub(super) const BACKLOG: i32 = 4096;

/// The sockets of this machine. Needs a tokio runtime with I/O.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sockets;

impl Net for Sockets {
    fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        self.bind_with(addr, SocketOptions::default())
    }

    /// The connections have the options of the socket that accepts them, so nothing more has to be said for each.
    fn bind_with(&self, addr: SocketAddr, options: SocketOptions) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(listen(addr, options)?))
    }

    fn bind_unix(&self, path: &Path) -> io::Result<Box<dyn Listener>> {
        unix::listen(path)
    }

    fn connect(&self, to: SocketAddr) -> Later<Box<dyn Stream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            SockRef::from(&stream).set_tcp_keepalive(&keepalive(KEEPALIVE))?;
            let stream: Box<dyn Stream> = Box::new(RefCell::new(stream));
            Ok(stream)
        })
    }

    fn bind_datagrams(&self, addr: SocketAddr, dual_stack: bool) -> io::Result<Rc<dyn Datagrams>> {
        datagram::bind(addr, dual_stack)
    }

    fn connect_datagrams(&self, peer: SocketAddr) -> io::Result<Rc<dyn Datagrams>> {
        datagram::connect(peer)
    }

    fn resolve(&self, name: &str) -> Later<Vec<IpAddr>> {
        Box::pin(look_up(name.to_owned()))
    }
}

fn listen(addr: SocketAddr, options: SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(time) = options.keepalive {
        socket.set_tcp_keepalive(&keepalive(time))?;
    }
    if addr.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// One that does not answer is found after `time` and nine more questions.
fn keepalive(time: Duration) -> TcpKeepalive {
    TcpKeepalive::new().with_time(time).with_interval((time / 4).max(Duration::from_secs(1)))
}

impl Listener for TcpListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        let (stream, peer) = ready!(self.poll_accept(cx))?;
        Poll::Ready(Ok((Box::new(RefCell::new(stream)), peer)))
    }
}

/// The cell is borrowed only within a call, and no call makes another. `AsyncRead` needs it: its read, other than
/// `try_read`, takes a short read as the sign that nothing is left, which saves a system call a request.
impl Stream for RefCell<TcpStream> {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.borrow().local_addr()
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut *self.borrow_mut()).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.borrow().poll_write_ready(cx)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.borrow().try_write(bytes)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        SockRef::from(&*self.borrow()).shutdown(Shutdown::Write)
    }

    fn reset_on_close(&self) -> io::Result<()> {
        SockRef::from(&*self.borrow()).set_linger(Some(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn a_connection_has_the_options_of_its_listener() {
        let other = SocketOptions { nodelay: false, keepalive: None, ..SocketOptions::default() };
        let slow = SocketOptions { keepalive: Some(Duration::from_secs(7)), ..SocketOptions::default() };
        for options in [SocketOptions::default(), other, slow] {
            let listener = listen(loopback(), options).expect("loopback has a free port");
            let client = TcpStream::connect(listener.local_addr().expect("it is bound"));
            let (accepted, client) = tokio::join!(listener.accept(), client);
            let (accepted, _client) = (accepted.expect("it connects").0, client.expect("it connects"));
            let socket = SockRef::from(&accepted);
            assert_eq!(socket.tcp_nodelay().expect("it is open"), options.nodelay);
            assert_eq!(socket.keepalive().expect("it is open"), options.keepalive.is_some());
            if let Some(time) = options.keepalive {
                assert_eq!(socket.tcp_keepalive_time().expect("it is open"), time);
            }
        }
    }

    #[tokio::test]
    async fn both_families_can_be_listened_on_at_one_port() {
        let v4 = listen(SocketAddr::from(([0, 0, 0, 0], 0)), SocketOptions::default()).expect("a free port");
        let port = v4.local_addr().expect("it is bound").port();
        let v6 = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        let _v6 = listen(v6, SocketOptions::default()).expect("the other family is free");
        let dual = listen(v6, SocketOptions { dual_stack: true, ..SocketOptions::default() });
        assert_eq!(dual.expect_err("it is taken").kind(), io::ErrorKind::AddrInUse);
    }
}
