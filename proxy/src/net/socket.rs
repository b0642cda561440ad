//! Real sockets: `socket2` to make them, tokio to wait for them.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::lookup::look_up;
use super::{Datagrams, Later, Listener, Net, Stream, datagram};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 4096;
/// After so long without a byte the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The sockets of this machine. Needs a tokio runtime with I/O.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sockets;

impl Net for Sockets {
    fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(Box::new(TcpListener::from_std(socket.into())?))
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
        stream.set_nodelay(true)?;
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
