//! Where clients are listened for: addresses, for connections or datagrams, and Unix sockets.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use refrain_wire::{GroupId, IpRange};

use super::tasks::{self, Hears};
use super::{FrontEnd, datagrams};
use crate::nat::HeardAt;
use crate::net::{Listener, SocketOptions};

/// How clients are listened for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenOptions {
    /// What the sockets are told; of these, `dual_stack` alone concerns datagrams.
    pub socket: SocketOptions,
    /// Connections from these ranges are of proxies, and have to begin with a PROXY protocol header: the client is the
    /// source that it names. Not for datagrams.
    pub proxy_protocol_from: Vec<IpRange>,
}

impl FrontEnd {
    /// Listens for clients of a guest's port and returns the address. Port 0 takes any free one. Connections wait in the
    /// backlog until the first epoch begins; after an epoch was lost they are reset at once, until the next.
    pub fn listen(
        &self,
        addr: SocketAddr,
        group: GroupId,
        port: u16,
        options: &ListenOptions,
    ) -> io::Result<SocketAddr> {
        let listener = self.shell.net.bind_with(addr, options.socket)?;
        let addr = listener.local_addr()?;
        let proxies = options.proxy_protocol_from.clone();
        self.accept(listener, Hears { group, port, proxies, is_local: false });
        Ok(addr)
    }

    /// As [`FrontEnd::listen`], at a path of at most 107 bytes: for clients on this machine, which the guest is shown as
    /// 127.0.0.1 with port 0, and which have no limit of one client. Of the options the trusted ranges alone count: if
    /// 127.0.0.1 is in them, all begin with a header. The owner and the group may connect. The file of a dead server is
    /// replaced, and it is removed by [`FrontEnd::drain`] or when the `LocalSet` ends.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] when a server listens there, [`io::ErrorKind::AlreadyExists`] when there is
    /// something else than a socket.
    pub fn listen_unix(&self, path: &Path, group: GroupId, port: u16, options: &ListenOptions) -> io::Result<()> {
        let listener = self.shell.net.bind_unix(path)?;
        let proxies = options.proxy_protocol_from.clone();
        self.accept(listener, Hears { group, port, proxies, is_local: true });
        Ok(())
    }

    fn accept(&self, listener: Box<dyn Listener>, hears: Hears) {
        let task = tasks::accept(Rc::clone(&self.shell), listener, hears);
        self.shell.listeners.borrow_mut().push(tokio::task::spawn_local(task));
    }

    /// Hears datagrams for a guest's port and returns the address. Each peer is an association, which counts as one of
    /// its connections; without an epoch datagrams are dropped. Answers of a socket at the unspecified address have the
    /// source that the system's routes give them.
    pub fn listen_udp(
        &self,
        addr: SocketAddr,
        group: GroupId,
        port: u16,
        options: &ListenOptions,
    ) -> io::Result<SocketAddr> {
        let socket = self.shell.net.bind_datagrams(addr, options.socket.dual_stack)?;
        let addr = socket.local_addr()?;
        let at = HeardAt { socket: self.shell.datagram_sockets.get(), group, port };
        self.shell.datagram_sockets.set(at.socket + 1);
        let task = datagrams::hear_clients(Rc::downgrade(&self.shell), socket, at);
        self.shell.listeners.borrow_mut().push(tokio::task::spawn_local(task));
        Ok(addr)
    }
}
