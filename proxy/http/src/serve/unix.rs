//! Unix sockets that clients connect to by a file.
//!
//! The owner and the group may connect, as at the Unix sockets of services: the web server in front is put in the group.
//! The file of a server that is dead is replaced, that of one that lives is not, and it goes away with the listener.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

/// Who may connect: the owner and the group.
const MODE: u32 = 0o660;

/// The file of a socket, which is removed with it unless another has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

/// Listens at a path of at most 107 bytes.
pub(super) fn listen(path: &Path, backlog: i32) -> io::Result<(UnixListener, Arc<SocketFile>)> {
    make_way(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Before the file is there, so that it never allows more; after that, without the mask of the process.
    fchmod(&socket, Mode::from_raw_mode(MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), inode: inode_of(&fs::symlink_metadata(path)?) };
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(backlog)?;
    Ok((socket.into(), Arc::new(file)))
}

/// Removes the file of a server that is dead.
fn make_way(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is something that is no socket"));
    }
    // A socket of another type connects to nobody, and is told whether there is one.
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => Err(error),
        _ => Err(io::Error::new(ErrorKind::AddrInUse, "a server listens there already")),
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_owner_and_the_group_may_connect_and_the_file_goes_with_the_last_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (listener, file) = listen(&path, 1).unwrap();
        assert_eq!(mode_of(&path), MODE);
        UnixStream::connect(&path).unwrap();
        let other = Arc::clone(&file);
        drop((listener, file));
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let living = listen(&path, 1).unwrap();
        assert_eq!(listen(&path, 1).unwrap_err().to_string(), "a server listens there already");
        assert!(path.exists());
        drop(living);
        fs::write(&path, "x").unwrap();
        assert_eq!(listen(&path, 1).unwrap_err().to_string(), "there is something that is no socket");
        assert_eq!(fs::read(&path).unwrap(), b"x");
    }

    #[test]
    fn the_file_of_another_server_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = listen(&path, 1).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = listen(&path, 1).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
