//! Unix sockets, for clients on the same machine.
//!
//! The file of a server that is dead is replaced, that of one that lives is not. It may be used by the owner and the
//! group, and goes away with the listener. A Unix socket has no reset: a client whose flow is reset reads an end, or an
//! error when bytes that it sent were not read.

use std::cell::RefCell;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{UnixListener, UnixStream};

use super::socket::BACKLOG;
use super::{Listener, Stream};

/// Who may connect: the owner and the group.
const MODE: u32 = 0o660;
/// What stands for the address of a client on the same machine.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A listener and its file.
struct FileListener {
    listener: UnixListener,
    /// Dropped after the listener: nobody finds a file that no longer listens for longer than needed.
    _file: SocketFile,
}

/// The file of a socket, which is removed with it unless another has taken its place.
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

/// Listens at a path of at most 107 bytes.
pub(super) fn listen(path: &Path) -> io::Result<Box<dyn Listener>> {
    make_way(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Before the file is there, so that it never allows more; after that, without the mask of the process.
    fchmod(&socket, Mode::from_raw_mode(MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), inode: inode_of(&fs::symlink_metadata(path)?) };
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    Ok(Box::new(FileListener { listener: UnixListener::from_std(socket.into())?, _file: file }))
}

/// Removes the file of a server that is dead.
fn make_way(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, format!("{} is there and no socket", path.display())));
    }
    // A socket of another type connects to nobody, and is told whether there is one.
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => Err(error),
        _ => Err(io::Error::new(ErrorKind::AddrInUse, format!("a server listens at {} already", path.display()))),
    }
}

fn inode_of(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| inode_of(&file) == self.inode) {
            // A file that stays is taken for that of a dead server by the next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener for FileListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(LOCAL)
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        let (stream, _) = ready!(self.listener.poll_accept(cx))?;
        Poll::Ready(Ok((Box::new(RefCell::new(stream)), LOCAL)))
    }
}

/// As that of TCP.
impl Stream for RefCell<UnixStream> {
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
        Ok(())
    }
}
