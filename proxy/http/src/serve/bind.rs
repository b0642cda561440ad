//! Sockets at the addresses of the settings, one for each loop.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::unix::{self, SocketFile};
use crate::settings::{Listen, ListenAt};

/// Connections that the kernel keeps for a loop that is busy.
const BACKLOG: i32 = 1024;

/// Why a listener is not there.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address.
    #[error("cannot listen on {0}")]
    Tcp(SocketAddr, #[source] io::Error),
    /// A Unix socket.
    #[error("cannot listen on {}", .0.display())]
    Unix(PathBuf, #[source] io::Error),
}

/// A listener with its sockets.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) at: ListenAt,
    pub(crate) is_tls: bool,
    /// One for each loop.
    pub(crate) sockets: Vec<Listening>,
}

#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(std::net::TcpListener),
    /// Its file is there until the last of them is gone.
    Unix(UnixListener, Arc<SocketFile>),
}

pub(crate) fn bind(listen: &Listen, loops: usize) -> Result<Bound, BindError> {
    match &listen.at {
        ListenAt::Tcp(address) => {
            let (address, sockets) = bind_tcp(*address, loops).map_err(|error| BindError::Tcp(*address, error))?;
            Ok(Bound { at: ListenAt::Tcp(address), is_tls: listen.is_tls, sockets })
        }
        ListenAt::Unix(path) => {
            let sockets = bind_unix(path, loops).map_err(|error| BindError::Unix(path.clone(), error))?;
            Ok(Bound { at: listen.at.clone(), is_tls: listen.is_tls, sockets })
        }
    }
}

fn bind_tcp(address: SocketAddr, loops: usize) -> io::Result<(SocketAddr, Vec<Listening>)> {
    // With SO_REUSEPORT another server of the same user would share the address unseen: ask without it first.
    drop(open_tcp(address, false)?);
    let first = open_tcp(address, true)?;
    let address = first.local_addr()?;
    let mut sockets = vec![Listening::Tcp(first)];
    for _ in 1..loops {
        sockets.push(Listening::Tcp(open_tcp(address, true)?));
    }
    Ok((address, sockets))
}

fn open_tcp(address: SocketAddr, is_shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path, loops: usize) -> io::Result<Vec<Listening>> {
    let (first, file) = unix::listen(path, BACKLOG)?;
    let more = (1..loops).map(|_| Ok(Listening::Unix(first.try_clone()?, Arc::clone(&file))));
    let more = more.collect::<io::Result<Vec<_>>>()?;
    Ok([Listening::Unix(first, file)].into_iter().chain(more).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(at: ListenAt) -> Listen {
        Listen { at, is_tls: false }
    }

    #[test]
    fn every_loop_has_a_socket_at_the_same_address() {
        let bound = bind(&listen(ListenAt::Tcp("127.0.0.1:0".parse().unwrap())), 3).unwrap();
        let addresses = bound.sockets.iter().map(|socket| match socket {
            Listening::Tcp(socket) => socket.local_addr().unwrap(),
            Listening::Unix(..) => panic!("not a Unix socket"),
        });
        assert!(
            addresses.clone().count() == 3 && addresses.into_iter().all(|address| bound.at == ListenAt::Tcp(address))
        );
    }

    #[test]
    fn an_address_that_is_taken_is_refused_even_to_the_same_user() {
        let bound = bind(&listen(ListenAt::Tcp("127.0.0.1:0".parse().unwrap())), 1).unwrap();
        assert!(matches!(bind(&listen(bound.at.clone()), 1), Err(BindError::Tcp(..))));
    }
}
