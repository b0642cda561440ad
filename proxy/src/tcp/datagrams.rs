//! Datagrams: the sockets that hear them, and the associations that answer.
//!
//! What cannot be passed on, in either direction, is dropped and counted; where there are very many at once they wait a
//! moment. An error of a socket ends nobody: it tells of one datagram, or of one peer that is gone.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use refrain_wire::Serial;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::dial::failure_of;
use super::pace::{Turn, WHILE};
use super::shell::Shell;
use crate::nat::{Heard, HeardAt};
use crate::net::Datagrams;

/// Datagrams of one socket before others get their turn.
const DATAGRAMS_PER_POLL: usize = 32;
/// How long a socket that fails is left alone.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// How an association is answered.
pub(super) struct Association {
    socket: Rc<dyn Datagrams>,
    /// The client; none for a socket that reaches one peer alone.
    client: Option<SocketAddr>,
    /// What hears the socket of an association that a guest opened.
    hearing: Option<AbortHandle>,
}

impl Association {
    pub(super) fn end(self) {
        if let Some(hearing) = self.hearing {
            hearing.abort();
        }
    }
}

/// Whose datagrams a socket hears.
#[derive(Clone, Copy)]
enum Hearer {
    Port(HeardAt),
    Call(Serial),
}

impl Shell {
    /// Makes the socket of an association that a guest opened.
    pub(super) fn bind(&self, key: Serial, peer: SocketAddr) {
        let socket = match self.net.connect_datagrams(peer) {
            Ok(socket) => socket,
            Err(error) => return self.call_failed(key, failure_of(&error)),
        };
        self.counters.add_call();
        let hearing = hear(self.me.clone(), Rc::clone(&socket), Hearer::Call(key));
        let hearing = Some(tokio::task::spawn_local(hearing).abort_handle());
        self.associations.borrow_mut().insert(key, Association { socket, client: None, hearing });
        self.sweep_idle();
    }

    /// Sends a datagram at once, in its turn, or never.
    pub(super) fn send_in_turn(&self, key: Serial, bytes: &Bytes) {
        let turn = self.pace.borrow_mut().offer(key, bytes, self.now());
        match turn {
            Turn::Now => self.send_datagram(key, bytes),
            Turn::Waits { first: true } => drop(tokio::task::spawn_local(send_waiting(self.me.clone()))),
            Turn::Waits { first: false } => {}
            Turn::Never => self.counters.add_datagrams_dropped(1),
        }
    }

    /// Sends those whose turn has come. Whether any still waits.
    fn send_some(&self) -> bool {
        let now = self.now();
        let next = || self.pace.borrow_mut().next(now);
        while let Some((key, bytes)) = next() {
            self.send_datagram(key, &bytes);
        }
        self.pace.borrow().waits()
    }

    /// Nothing goes outward without a lease.
    fn send_datagram(&self, key: Serial, bytes: &Bytes) {
        let associations = self.associations.borrow();
        let Some(association) = associations.get(&key) else {
            return;
        };
        let may_go = association.client.is_some() || self.upstream.may_go_outward();
        match may_go.then(|| association.socket.try_send(bytes, association.client)) {
            Some(Ok(())) => {
                self.counters.add_datagram_out(bytes.len());
                self.with_nat(|nat| nat.datagram_sent(key, bytes.len()));
            }
            Some(Err(error)) => {
                tracing::debug!(serial = key.0, %error, "datagram not sent");
                self.counters.add_datagrams_dropped(1);
            }
            None => self.counters.add_datagrams_dropped(1),
        }
    }

    /// The association is over.
    pub(super) fn end_association(&self, key: Serial) {
        let association = self.associations.borrow_mut().remove(&key);
        if let Some(association) = association {
            association.end();
            self.gone(key);
            self.progress.notify_waiters();
        }
    }

    fn heard(&self, hearer: Hearer, socket: &Rc<dyn Datagrams>, peer: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        let heard = self.with_nat(|nat| match hearer {
            Hearer::Port(at) => nat.hear_client(at, peer, bytes, now),
            Hearer::Call(key) => nat.hear_server(key, bytes, now),
        });
        match heard.unwrap_or(Heard::Dropped) {
            Heard::Dropped => return self.counters.add_datagrams_dropped(1),
            Heard::Known(_) => {}
            Heard::New(serial) => {
                let association = Association { socket: Rc::clone(socket), client: Some(peer), hearing: None };
                self.associations.borrow_mut().insert(serial, association);
                self.counters.add_accepted();
                self.sweep_idle();
            }
        }
        self.counters.add_datagram_in(bytes.len());
        if let Hearer::Port(HeardAt { group, .. }) = hearer {
            if matches!(heard, Some(Heard::New(_))) {
                self.upstream.accepted(group);
            }
            self.upstream.received(group, bytes.len(), self.instant(now));
        }
        self.submit_if_due();
    }

    /// Takes what the socket has. Ready when it failed in a way that is worth a pause.
    fn poll_datagrams(&self, socket: &Rc<dyn Datagrams>, hearer: Hearer, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut scratch = self.scratch.borrow_mut();
        for _ in 0..DATAGRAMS_PER_POLL {
            match socket.poll_recv(cx, &mut scratch) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok((count, peer))) => self.heard(hearer, socket, peer, &scratch[..count]),
                // An answer to a datagram that was sent: its peer does not listen.
                Poll::Ready(Err(error)) if is_of_a_peer(&error) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn is_of_a_peer(error: &io::Error) -> bool {
    use ErrorKind as K;
    matches!(error.kind(), K::ConnectionRefused | K::ConnectionReset | K::HostUnreachable | K::NetworkUnreachable)
}

/// Hears the clients of a guest's port, until it is aborted.
pub(super) async fn hear_clients(shell: Weak<Shell>, socket: Rc<dyn Datagrams>, at: HeardAt) {
    hear(shell, socket, Hearer::Port(at)).await;
}

/// Sends what waits, until nothing does.
async fn send_waiting(shell: Weak<Shell>) {
    loop {
        sleep(WHILE).await;
        if !shell.upgrade().is_some_and(|shell| shell.send_some()) {
            return;
        }
    }
}

async fn hear(shell: Weak<Shell>, socket: Rc<dyn Datagrams>, hearer: Hearer) {
    loop {
        let failed = poll_fn(|cx| match shell.upgrade() {
            Some(shell) => shell.poll_datagrams(&socket, hearer, cx).map(Some),
            None => Poll::Ready(None),
        });
        let Some(error) = failed.await else {
            return;
        };
        tracing::warn!(%error, "datagrams cannot be heard now");
        sleep(ERROR_PAUSE).await;
    }
}
