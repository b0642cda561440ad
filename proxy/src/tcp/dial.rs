//! The calls of guests: connections that are opened and names that are looked up, each once, after agreement, and only
//! while the proxy may go outward.
//!
//! A call is a task until it has its answer; giving it up ends the task. A connection that was made is served as a
//! client's is.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use refrain_wire::{CallFailure, FlowId, Serial, Target};
use rustix::io::Errno;
use tokio::time::{sleep, timeout};

use super::connection::Connection;
use super::serve;
use super::shell::Shell;

use crate::net::Stream;
use crate::proxy_protocol;

/// How long a call waits before it asks again whether it may be made.
const OUTWARD_PAUSE: Duration = Duration::from_millis(10);

impl Shell {
    /// Opens a connection for a guest.
    pub(super) fn dial(&self, key: Serial, target: Target) {
        if let Some(shell) = self.me.upgrade() {
            self.start_call(key, connect(shell, key, target));
        }
    }

    /// Looks a name up for a guest.
    pub(super) fn look_up(&self, key: Serial, name: String) {
        if let Some(shell) = self.me.upgrade() {
            self.start_call(key, look_up(shell, key, name));
        }
    }

    fn start_call(&self, key: Serial, call: impl Future<Output = ()> + 'static) {
        let task = tokio::task::spawn_local(call);
        self.calls.borrow_mut().insert(key, task.abort_handle());
    }

    /// The guest wants no answer any more, or nobody may have it.
    pub(super) fn give_up_call(&self, key: Serial) {
        let call = self.calls.borrow_mut().remove(&key);
        if let Some(call) = call {
            call.abort();
            self.gone(key);
            self.progress.notify_waiters();
        }
    }

    async fn may_go_outward(&self) {
        while !self.upstream.may_go_outward() {
            sleep(OUTWARD_PAUSE).await;
        }
    }

    pub(super) fn call_failed(&self, key: Serial, failure: CallFailure) {
        if self.with_nat(|nat| nat.call_failed(key, failure)) == Some(true) {
            self.counters.add_failure(failure);
        }
        self.gone(key);
        self.submit_if_due();
        self.progress.notify_waiters();
    }

    /// The connection is there: the guest is told, and it is served like a client's.
    fn connected(&self, key: Serial, target: Target, stream: Box<dyn Stream>) {
        let local = stream.local_addr().ok();
        let header = proxy_protocol::encode(target.header, local, target.address);
        let now = self.now();
        let local = local.unwrap_or_else(|| any_of_family(target.address));
        let epoch = self.with_nat(|nat| nat.connected(key, local, now).then(|| nat.epoch())).flatten();
        let (Some(epoch), Some(shell)) = (epoch, self.me.upgrade()) else {
            return self.gone(key);
        };
        self.counters.add_call();
        let connection = Rc::new(Connection::new(FlowId { epoch, serial: key }, stream, Bytes::new()));
        self.connections.borrow_mut().insert(key, Rc::clone(&connection));
        if connection.write_header(header).is_err() {
            self.broken(&connection);
        }
        tokio::task::spawn_local(serve::serve(shell, connection));
        self.submit_if_due();
        self.sweep_idle();
    }
}

async fn connect(shell: Rc<Shell>, key: Serial, target: Target) {
    shell.may_go_outward().await;
    let made = in_time(shell.limits.connect_time, shell.net.connect(target.address)).await;
    shell.calls.borrow_mut().remove(&key);
    match made {
        Ok(stream) => shell.connected(key, target, stream),
        Err(error) => shell.call_failed(key, failure_of(&error)),
    }
}

async fn look_up(shell: Rc<Shell>, key: Serial, name: String) {
    shell.may_go_outward().await;
    let found = in_time(shell.limits.lookup_time, shell.net.resolve(&name)).await;
    shell.calls.borrow_mut().remove(&key);
    match found {
        Ok(addresses) => shell.found(key, &addresses),
        Err(error) => {
            tracing::debug!(name, %error, "look-up failed");
            shell.call_failed(key, lookup_failure_of(&error));
        }
    }
}

impl Shell {
    fn found(&self, key: Serial, addresses: &[IpAddr]) {
        match self.with_nat(|nat| nat.resolved(key, addresses)).flatten() {
            Some(failure) => self.counters.add_failure(failure),
            None => self.counters.add_lookup(),
        }
        self.submit_if_due();
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

/// The unspecified address of the same family, for a network whose connections have none.
fn any_of_family(of: SocketAddr) -> SocketAddr {
    let ip = if of.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    SocketAddr::new(ip, 0)
}

/// What a guest is told of a connection that could not be made.
pub(super) fn failure_of(error: &io::Error) -> CallFailure {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL) => CallFailure::NoRoom,
        Some(Errno::AFNOSUPPORT) => CallFailure::NetworkUnreachable,
        _ => match error.kind() {
            ErrorKind::ConnectionRefused => CallFailure::Refused,
            ErrorKind::TimedOut => CallFailure::TimedOut,
            ErrorKind::HostUnreachable => CallFailure::HostUnreachable,
            ErrorKind::NetworkUnreachable => CallFailure::NetworkUnreachable,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => CallFailure::Reset,
            ErrorKind::PermissionDenied => CallFailure::Denied,
            _ => CallFailure::Other,
        },
    }
}

fn lookup_failure_of(error: &io::Error) -> CallFailure {
    match error.kind() {
        ErrorKind::NotFound => CallFailure::NotFound,
        ErrorKind::TimedOut => CallFailure::TimedOut,
        _ => CallFailure::TemporaryFailure,
    }
}
