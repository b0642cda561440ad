//! The state behind the front end's handles, and the plain calls that work on it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use refrain_wire::limits::MAX_RECORD_BYTES;
use refrain_wire::{Epoch, GroupId, Serial};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::access;
use super::connection::{Connection, Fate};
use super::datagrams::Association;
use super::greet::NotGreeted;
use super::pace::Pace;
use super::stats::Counters;
use super::tasks;
use super::upstream::Upstream;
use crate::core::{Action, Outcome, Proxy};
use crate::nat::{Client, Closed, Ending, Limits, Nat, Submission};
use crate::net::Net;

pub(super) struct Shell {
    pub(super) core: RefCell<Proxy>,
    pub(super) connections: RefCell<BTreeMap<Serial, Rc<Connection>>>,
    /// How associations are answered.
    pub(super) associations: RefCell<BTreeMap<Serial, Association>>,
    /// What waits for a connection or an answer for a guest.
    pub(super) calls: RefCell<BTreeMap<Serial, AbortHandle>>,
    pub(super) upstream: Rc<dyn Upstream>,
    pub(super) net: Box<dyn Net>,
    pub(super) limits: Limits,
    pub(super) listeners: RefCell<Vec<JoinHandle<()>>>,
    /// Sockets that hear clients' datagrams, so far.
    pub(super) datagram_sockets: Cell<u32>,
    /// How fast datagrams leave.
    pub(super) pace: RefCell<Pace>,
    pub(super) counters: Counters,
    /// There may be something to submit.
    pub(super) submit: Notify,
    pub(super) epoch_begun: Notify,
    /// A connection or a submission is done: a drain looks again.
    pub(super) progress: Notify,
    pub(super) sweeping: Cell<bool>,
    /// Nothing is accepted any more.
    pub(super) draining: Cell<bool>,
    /// Connections whose header is being read.
    pub(super) greetings: Cell<usize>,
    /// Ports at which a connection had no header.
    without_header: RefCell<BTreeSet<(GroupId, u16)>>,
    pub(super) asking: Cell<bool>,
    pub(super) scratch: RefCell<Box<[u8]>>,
    outcome: Cell<Outcome>,
    start: Instant,
    pub(super) me: Weak<Self>,
}

impl Shell {
    pub(super) fn new(limits: Limits, upstream: Rc<dyn Upstream>, net: Box<dyn Net>) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            core: RefCell::new(Proxy::new(limits)),
            connections: RefCell::default(),
            associations: RefCell::default(),
            calls: RefCell::default(),
            upstream,
            net,
            limits,
            listeners: RefCell::default(),
            datagram_sockets: Cell::new(0),
            pace: RefCell::default(),
            counters: Counters::default(),
            submit: Notify::new(),
            epoch_begun: Notify::new(),
            progress: Notify::new(),
            sweeping: Cell::new(false),
            draining: Cell::new(false),
            greetings: Cell::new(0),
            without_header: RefCell::default(),
            asking: Cell::new(false),
            scratch: RefCell::new(vec![0; MAX_RECORD_BYTES].into_boxed_slice()),
            outcome: Cell::default(),
            start: clock(),
            me: me.clone(),
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The moment that is so long after the start.
    pub(super) fn instant(&self, now: Duration) -> std::time::Instant {
        (self.start + now).into_std()
    }

    /// Calls the core, then does and tells what it says. No borrow is held while the upstream is told.
    pub(super) fn run(&self, call: impl FnOnce(&mut Proxy, Duration, &mut Outcome)) {
        let now = self.now();
        let mut outcome = self.outcome.take();
        call(&mut self.core.borrow_mut(), now, &mut outcome);
        for action in outcome.actions.drain(..) {
            self.act(action, now);
        }
        for released in outcome.released.drain(..) {
            self.upstream.released(&released, self.instant(now));
        }
        let notices = std::mem::take(&mut outcome.notices);
        self.outcome.set(outcome);
        for (group, notice) in notices {
            self.upstream.notice(group, notice);
        }
        self.submit_if_due();
    }

    /// Calls the table of the current epoch.
    pub(super) fn with_nat<T>(&self, call: impl FnOnce(&mut Nat) -> T) -> Option<T> {
        self.core.borrow_mut().nat().map(call)
    }

    pub(super) fn submit_if_due(&self) {
        let due = self.with_nat(|nat| nat.in_flight() == 0 && nat.has_pending());
        if due == Some(true) {
            self.submit.notify_one();
        }
    }

    /// Submits what waits, unless a submission is on its way already.
    pub(super) fn submit_pending(&self) {
        let taken = self.with_nat(|nat| {
            let idle = nat.in_flight() == 0;
            let submission = if idle { nat.take_submission() } else { None };
            (submission, nat.take_resumed())
        });
        let Some((submission, resumed)) = taken else {
            return;
        };
        self.wake(resumed);
        if let Some(submission) = submission {
            self.send(submission);
        }
    }

    pub(super) fn send(&self, submission: Submission) {
        let id = submission.id;
        match self.upstream.submit(submission) {
            Ok(()) => drop(self.with_nat(|nat| nat.given(id))),
            Err(error) => {
                tracing::debug!(epoch = id.epoch.0, number = id.number, %error, "submission not taken");
            }
        }
    }

    pub(super) fn wake(&self, serials: Vec<Serial>) {
        let connections = self.connections.borrow();
        for connection in serials.iter().filter_map(|serial| connections.get(serial)) {
            connection.wake();
        }
    }

    fn connection(&self, serial: Serial) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&serial).cloned()
    }

    pub(super) fn act(&self, action: Action, now: Duration) {
        match action {
            Action::Write { serial, bytes } => self.write(serial, bytes, now),
            Action::Finish(serial) => {
                if let Some(connection) = self.connection(serial) {
                    connection.finish();
                }
            }
            Action::Reset { serial, .. } => self.end(serial, Fate::Reset),
            Action::Linger(serial) => self.end(serial, Fate::Linger),
            Action::Resume(serial) => {
                if let Some(connection) = self.connection(serial) {
                    connection.wake();
                }
            }
            Action::Dial { serial, target } => self.dial(serial, target),
            Action::Resolve { serial, name } => self.look_up(serial, name),
            Action::Bind { serial, peer } => self.bind(serial, peer),
            Action::Send { serial, bytes } => self.send_in_turn(serial, &bytes),
            Action::CallFailed(failure) => self.counters.add_failure(failure),
        }
    }

    fn end(&self, serial: Serial, fate: Fate) {
        match self.connection(serial) {
            Some(connection) => connection.end(fate),
            None => {
                self.give_up_call(serial);
                self.end_association(serial);
            }
        }
    }

    fn write(&self, serial: Serial, bytes: Bytes, now: Duration) {
        let Some(connection) = self.connection(serial) else {
            return;
        };
        match connection.write(bytes) {
            Ok(written) => self.delivered(&connection, written, now),
            Err(_) => self.broken(&connection),
        }
    }

    pub(super) fn delivered(&self, connection: &Connection, bytes: usize, now: Duration) {
        if bytes > 0 {
            self.counters.add_out(bytes);
            self.with_nat(|nat| nat.delivered(connection.flow.serial, bytes as u64, now));
        }
    }

    /// The connection broke, or the client reset it.
    pub(super) fn broken(&self, connection: &Connection) {
        self.with_nat(|nat| nat.reset(connection.flow.serial, Ending::ClientReset));
        connection.end(Fate::Reset);
        self.submit_if_due();
    }

    /// The connection's task is over: frees its place and writes the access log.
    pub(super) fn close(&self, connection: &Connection) {
        if connection.fate() == Fate::Reset {
            // A failure means that the socket is closed already.
            let _ = connection.stream.reset_on_close();
        }
        if self.core.borrow().epoch() == Some(connection.flow.epoch) {
            self.connections.borrow_mut().remove(&connection.flow.serial);
            self.gone(connection.flow.serial);
            self.submit_if_due();
        }
        self.progress.notify_waiters();
    }

    /// Frees the place of a flow of this epoch, and writes the access log.
    pub(super) fn gone(&self, serial: Serial) {
        let now = self.now();
        let closed = self.with_nat(|nat| nat.gone(serial, now).map(|closed| (nat.epoch(), closed))).flatten();
        if let Some((epoch, closed)) = closed {
            self.tell_closed(epoch, &closed);
        }
    }

    /// Looks for idle flows from now on, while there are flows.
    pub(super) fn sweep_idle(&self) {
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(tasks::sweep(self.me.clone()));
        }
    }

    /// Resets every connection of the epoch, whose flows replicas end by themselves, and gives up every call.
    pub(super) fn end_epoch(&self) {
        let Some(mut nat) = self.core.borrow_mut().end_epoch() else {
            return;
        };
        self.counters.add_datagrams_dropped(self.pace.borrow_mut().clear());
        let now = self.now();
        nat.end_epoch();
        let mut gone = |serial| {
            if let Some(closed) = nat.gone(serial, now) {
                self.tell_closed(nat.epoch(), &closed);
            }
        };
        for (serial, call) in std::mem::take(&mut *self.calls.borrow_mut()) {
            call.abort();
            gone(serial);
        }
        for (serial, association) in std::mem::take(&mut *self.associations.borrow_mut()) {
            association.end();
            gone(serial);
        }
        for (serial, connection) in std::mem::take(&mut *self.connections.borrow_mut()) {
            gone(serial);
            connection.end(Fate::Reset);
        }
    }

    fn tell_closed(&self, epoch: Epoch, closed: &Closed) {
        self.counters.add_ending(closed.ending);
        access::log(epoch, self.core.borrow().service(closed.group).unwrap_or(""), closed);
    }

    /// There is no epoch, and there was one: the client is told so at once, rather than left to wait for the next.
    pub(super) fn tell_not_accepted(&self, group: GroupId, port: u16, peer: SocketAddr) {
        self.counters.add_not_accepted();
        access::log_not_accepted(self.core.borrow().service(group).unwrap_or(""), group, port, peer);
    }

    /// A connection from where all begin with a header did not. The first at each port is a warning: it may be that the
    /// proxy in front does not know that it has to send one.
    pub(super) fn tell_no_header(&self, group: GroupId, port: u16, proxy: Client, error: &NotGreeted) {
        self.counters.add_no_header();
        if error.is_silence() {
            return;
        }
        let core = self.core.borrow();
        let service = core.service(group).unwrap_or("");
        access::log_no_header(service, group, port, proxy, error);
        if self.without_header.borrow_mut().insert((group, port)) {
            let from = if proxy == Client::Local { "a Unix socket".to_owned() } else { proxy.peer().to_string() };
            tracing::warn!(service, port, from, %error, "a connection is cut, as proxy_protocol.from wants a header there");
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        let connections = self.connections.borrow();
        connections.values().map(|connection| connection.queued_bytes()).sum()
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]
fn clock() -> Instant {
    Instant::now()
}
