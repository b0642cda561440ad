//! The tasks of the front end: accepting, submitting, and the two coarse timers, which are
//! armed only while something needs them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use refrain_wire::{FlowId, GroupId, IpRange, Position};
use tokio::time::sleep;

use super::connection::Connection;
use super::shell::Shell;
use super::{greet, serve};
use crate::core::Action;
use crate::nat::{Client, Ending, MAX_IDLE_ASSOCIATION, Refused};
use crate::net::{Listener, Stream};

/// How long nothing is accepted after the process has run out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long an agreed position waits for its speaker's list before another seat is asked; twice as long after each
/// time, as the seat that was asked may be far away, and its answer large.
const LIST_PATIENCE: Duration = Duration::from_millis(5);
/// So often is the patience doubled: to 640 ms.
const LIST_DOUBLINGS: u32 = 7;

/// Submits what waits whenever it is told to. Tasks run in the order in which they were woken, so everything that
/// connections read in one wake of the loop goes into one submission.
pub(super) async fn submit(shell: Rc<Shell>) {
    loop {
        shell.submit.notified().await;
        shell.submit_pending();
    }
}

/// Whom a listener hears.
pub(super) struct Hears {
    /// The group whose clients they are.
    pub(super) group: GroupId,
    /// The guest's port.
    pub(super) port: u16,
    /// Connections from these are proxies'.
    pub(super) proxies: Vec<IpRange>,
    /// Clients come over a Unix socket.
    pub(super) is_local: bool,
}

/// Accepts for one listener, once there is an epoch, or refuses, once there was one.
pub(super) async fn accept(shell: Rc<Shell>, listener: Box<dyn Listener>, hears: Hears) {
    let Hears { group, port, proxies, is_local } = hears;
    loop {
        loop {
            let begun = shell.epoch_begun.notified();
            if shell.core.borrow().answers() {
                break;
            }
            begun.await;
        }
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok((stream, peer)) => {
                let client = if is_local { Client::Local } else { Client::Remote(peer) };
                if proxies.iter().any(|range| range.holds(peer.ip())) {
                    greet::greet(&shell, stream, client, group, port);
                } else {
                    admit(&shell, stream, client, Bytes::new(), group, port);
                }
            }
            Err(error) => after_accept_error(&error, group).await,
        }
    }
}

/// A connection that broke before it was accepted is nothing; running out of descriptors needs patience.
async fn after_accept_error(error: &io::Error, group: GroupId) {
    let kinds = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::InvalidInput];
    if !kinds.contains(&error.kind()) {
        tracing::warn!(group = group.0, %error, "accept failed");
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Makes a flow of a connection, from which some bytes may have been read.
pub(super) fn admit(
    shell: &Rc<Shell>,
    stream: Box<dyn Stream>,
    client: Client,
    unread: Bytes,
    group: GroupId,
    port: u16,
) {
    let (peer, now) = (client.peer(), shell.now());
    let accepted = shell.core.borrow_mut().accept(group, port, client, now);
    let epoch = shell.core.borrow().epoch();
    let (Ok(serial), Some(epoch)) = (accepted, epoch) else {
        match accepted {
            Err(Refused::NoEpoch) | Ok(_) => shell.tell_not_accepted(group, port, peer),
            Err(error) => {
                tracing::debug!(group = group.0, %peer, %error, "connection refused");
                shell.counters.add_refused();
            }
        }
        // A failure means that the client is gone already.
        let _ = stream.reset_on_close();
        return;
    };
    shell.counters.add_accepted();
    shell.upstream.accepted(group);
    let connection = Rc::new(Connection::new(FlowId { epoch, serial }, stream, unread));
    shell.connections.borrow_mut().insert(serial, Rc::clone(&connection));
    tokio::task::spawn_local(serve::serve(Rc::clone(shell), connection));
    shell.submit_if_due();
    shell.sweep_idle();
}

/// Resets idle flows, while there are flows.
pub(super) async fn sweep(shell: Weak<Shell>) {
    loop {
        let Some(period) = shell.upgrade().map(|shell| sweep_period(shell.limits.idle.min(MAX_IDLE_ASSOCIATION)))
        else {
            return;
        };
        sleep(period).await;
        let Some(shell) = shell.upgrade() else {
            return;
        };
        shell.run(|core, now, outcome| {
            let expired = core.nat().map(|nat| nat.idle_expired(now)).unwrap_or_default();
            outcome.actions.extend(expired.into_iter().map(|serial| Action::Reset { serial, ending: Ending::Idle }));
        });
        if shell.connections.borrow().is_empty() && shell.associations.borrow().is_empty() {
            shell.sweeping.set(false);
            return;
        }
    }
}

/// An idle flow is found at most an eighth of the limit late, and a sweep is never frequent.
fn sweep_period(idle: Duration) -> Duration {
    (idle / 8).clamp(Duration::from_millis(5), Duration::from_secs(10))
}

/// Starts to watch for lists that do not come, unless it is done already.
pub(super) fn watch_lists(shell: &Rc<Shell>, group: GroupId) {
    let waits = |shell: &Shell| shell.core.borrow().votes(group).and_then(|votes| votes.waits_for_list());
    if waits(shell).is_some() && !shell.asking.replace(true) {
        tokio::task::spawn_local(ask(Rc::downgrade(shell)));
    }
}

async fn ask(shell: Weak<Shell>) {
    let mut waits = BTreeMap::new();
    loop {
        let Some(shell) = shell.upgrade() else {
            return;
        };
        waits = still_waiting(&shell, &waits);
        for ((group, _), wait) in &mut waits {
            if wait.is_over() {
                shell.run(|core, now, outcome| core.ask_again(*group, now, outcome));
            }
        }
        if waits.is_empty() {
            shell.asking.set(false);
            return;
        }
        drop(shell);
        sleep(LIST_PATIENCE).await;
    }
}

/// How long a position waits for its list, in units of [`LIST_PATIENCE`].
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    since_asked: u32,
    asked: u32,
}

impl Wait {
    /// One unit more has passed; says whether a seat is to be asked now.
    fn is_over(&mut self) -> bool {
        let over = self.since_asked >= 1 << self.asked.min(LIST_DOUBLINGS);
        if over {
            self.asked += 1;
            self.since_asked = 0;
        }
        self.since_asked += 1;
        over
    }
}

fn still_waiting(shell: &Shell, before: &BTreeMap<(GroupId, Position), Wait>) -> BTreeMap<(GroupId, Position), Wait> {
    let waiting = waiting_for_lists(shell).into_iter();
    waiting.map(|waits| (waits, before.get(&waits).copied().unwrap_or_default())).collect()
}

fn waiting_for_lists(shell: &Shell) -> Vec<(GroupId, Position)> {
    let core = shell.core.borrow();
    let waiting = |group| Some((group, core.votes(group)?.waits_for_list()?));
    core.groups().filter_map(waiting).collect()
}
