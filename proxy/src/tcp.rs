//! The front end: listeners, connections, submissions and drain, on one loop thread.
//!
//! Guarantees: a connection is read only while the table allows it, into one buffer shared by all; bytes are written
//! by a plain call when they are released, and queued (a window at most) only while the socket is full; a reset and an
//! end stay apart both ways; at most one submission is on its way, and what arrives meanwhile forms the next. There
//! are no timers but a coarse sweep for idle flows, armed only while there are flows, and one that asks for lists.
//!
//! Runs inside a `tokio::task::LocalSet` on a current-thread runtime. Handles are cheap to clone and not `Send`.

mod access;
mod connection;
mod datagrams;
mod dial;
mod greet;
mod listen;
mod pace;
mod serve;
mod shell;
mod stats;
mod tasks;
mod upstream;

use std::rc::Rc;
use std::time::Duration;

use refrain_wire::{Epoch, GroupId, Incarnation, Position, Seat, SubmissionId};
use tokio::time::timeout;

pub use listen::ListenOptions;
pub use stats::{Failures, Stats};
pub use upstream::{NotTaken, Upstream};

use crate::core::{Action, GroupConfig};
use crate::nat::{Ending, GroupLimits, Limits, Nat};
use crate::net::{Net, Sockets};
use crate::votes::CastVote;

use shell::Shell;

/// How long a drain waits for the resets at its end to be committed.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// The front end. Its tasks end with the `LocalSet`.
#[derive(Clone)]
pub struct FrontEnd {
    shell: Rc<Shell>,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Flows that were reset: those of clients because the deadline was over, associations, and those that guests opened.
    pub reset: usize,
    /// Whether every record was committed.
    pub committed: bool,
}

impl FrontEnd {
    /// A front end on real sockets; must be called within a `LocalSet`. An upstream that holds the front end should
    /// hold it weakly, or drop it at shutdown.
    #[must_use]
    pub fn new(limits: Limits, upstream: Rc<dyn Upstream>) -> Self {
        Self::with_net(limits, upstream, Box::new(Sockets))
    }

    /// A front end on another network.
    #[must_use]
    pub fn with_net(limits: Limits, upstream: Rc<dyn Upstream>, net: Box<dyn Net>) -> Self {
        let shell = Shell::new(limits, upstream, net);
        tokio::task::spawn_local(tasks::submit(Rc::clone(&shell)));
        Self { shell }
    }

    /// Makes a group known.
    pub fn add_group(&self, group: GroupId, config: GroupConfig) {
        self.shell.core.borrow_mut().add_group(group, config);
    }

    /// The group was upgraded by a record: its service is called so from now on, and its new kernel was given these
    /// limits. Called before the commits of submissions in the record's entry are told. Flows that are not committed
    /// yet have the new windows; those before are reset by their kernel.
    pub fn update_group(&self, group: GroupId, limits: GroupLimits, service: String) {
        self.shell.run(|core, _, outcome| core.update_group(group, limits, service, outcome));
    }

    /// Flows can be accepted from now on. `at` is the position of the record that opened the epoch: votes on later
    /// positions are for it. Connections of an epoch before are reset.
    pub fn begin_epoch(&self, epoch: Epoch, at: Position) {
        self.end_epoch();
        self.shell.core.borrow_mut().begin_epoch(epoch, at);
        self.shell.epoch_begun.notify_waiters();
    }

    /// The epoch is over: resets every connection, without records, and every new one until the next epoch, so that
    /// clients turn to another proxy rather than wait. [`Stats`] and the access log tell those of whom nothing was
    /// submitted from those whose requests may have been executed.
    pub fn end_epoch(&self) {
        self.shell.end_epoch();
    }

    /// The submission is committed: the next may go.
    pub fn committed(&self, id: SubmissionId) {
        if let Some(nat) = self.shell.core.borrow_mut().nat() {
            nat.committed(id);
        }
        self.shell.submit_if_due();
        self.shell.progress.notify_waiters();
    }

    /// The log has no room for what is on its way: its data is given up, with the connections that sent it, and
    /// datagrams are dropped. Returns whether there was any; what is left is to be sent again.
    pub fn give_up(&self) -> bool {
        let mut any = false;
        self.shell.run(|core, _, outcome| {
            let given_up = core.nat().map(Nat::give_up).unwrap_or_default();
            any = !given_up.is_empty();
            self.shell.counters.add_datagrams_dropped(given_up.datagrams);
            let ending = Ending::Refused;
            outcome.actions.extend(given_up.over.into_iter().map(|serial| Action::Reset { serial, ending }));
        });
        any
    }

    /// A leader's log has no room for what comes after `last`, which is applied. As [`FrontEnd::give_up`], but for a
    /// leader on another node, whose answer may come before the commits that it follows.
    pub fn give_up_after(&self, last: SubmissionId) -> bool {
        self.committed(last);
        self.epoch() == Some(last.epoch) && self.give_up()
    }

    /// Sends every submission of this epoch after the last applied number again, in order: for a new leader, or when
    /// some were not taken. 0 when nothing is known to be applied but what was told committed.
    pub fn resend_after(&self, applied: u64) {
        let again = self.shell.core.borrow_mut().nat().map(|nat| nat.resend_after(applied));
        for submission in again.unwrap_or_default() {
            self.shell.send(submission);
        }
        self.shell.submit_if_due();
    }

    /// A leader refused a submission because another number is next: sends that one and all after it again, in order.
    /// Those before are kept until they are committed, as the leader may still lose them. A leader that wants one that
    /// was committed before is behind: it is sent nothing.
    pub fn resend_from(&self, expected: SubmissionId) {
        let again = self.shell.core.borrow_mut().nat().map(|nat| nat.resend_from(expected));
        for submission in again.unwrap_or_default() {
            self.shell.send(submission);
        }
    }

    /// The current epoch, if there is one.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.shell.core.borrow().epoch()
    }

    /// Whether the epoch has no serial left, and every other client is refused: it is to be ended for a new one.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.shell.core.borrow_mut().nat().is_some_and(|nat| nat.is_used_up())
    }

    /// Whether the group's history is full: new connections are refused then, and those that send something are closed.
    pub fn fill(&self, group: GroupId, full: bool) {
        self.shell.core.borrow_mut().fill(group, full);
    }

    /// The leader takes no open or data of the group for now.
    pub fn hold(&self, group: GroupId) {
        self.shell.run(|core, _, _| {
            if let Some(nat) = core.nat() {
                nat.hold(group);
            }
        });
    }

    /// The leader takes the group's open and data again.
    pub fn release(&self, group: GroupId) {
        self.shell.run(|core, _, outcome| {
            if let Some(nat) = core.nat() {
                nat.release(group);
                outcome.actions.extend(nat.take_resumed().into_iter().map(Action::Resume));
            }
        });
    }

    /// A new replica holds the seat by the record at `at`.
    pub fn take_seat(&self, group: GroupId, seat: Seat, incarnation: Incarnation, at: Position) {
        self.shell.run(|core, now, outcome| core.take_seat(group, seat, incarnation, at, now, outcome));
        tasks::watch_lists(&self.shell, group);
    }

    /// The seat's holder is out by the record at `at`.
    pub fn quarantine(&self, group: GroupId, seat: Seat, incarnation: Incarnation, at: Position) {
        self.shell.run(|core, now, outcome| core.quarantine(group, seat, incarnation, at, now, outcome));
        tasks::watch_lists(&self.shell, group);
    }

    /// The group has so many seats by the record at `at`, in force from the next position; new ones are vacant.
    pub fn resize(&self, group: GroupId, seats: u8, at: Position) {
        self.shell.run(|core, now, outcome| core.resize(group, seats, at, now, outcome));
        tasks::watch_lists(&self.shell, group);
    }

    /// Who holds the seat by the records told so far, out or not; none while it is vacant.
    #[must_use]
    pub fn holder(&self, group: GroupId, seat: Seat) -> Option<Incarnation> {
        self.shell.core.borrow().votes(group)?.holder(seat)
    }

    /// The stream that brings the votes of a seat's holder is there, for the first time or again, and nothing more
    /// comes from the one before. Returns the position after which it votes on everything, in order; votes that came
    /// before count once. None when the seat's holder is another, as far as is known here, or is out.
    pub fn rejoin(&self, group: GroupId, seat: Seat, incarnation: Incarnation) -> Option<Position> {
        self.shell.core.borrow_mut().rejoin(group, seat, incarnation)
    }

    /// The holder of a seat no longer has its turns up to `at`: it votes on no more of them, without denying them.
    pub fn forgot(&self, group: GroupId, seat: Seat, incarnation: Incarnation, at: Position) {
        self.shell.run(|core, now, outcome| core.forgot(group, seat, incarnation, at, now, outcome));
        tasks::watch_lists(&self.shell, group);
    }

    /// Entries up to `at` are applied here: everything that they say was told by calls before this one. From the first
    /// call on, votes on later positions wait, as engines on other nodes may be ahead; without one, votes must come
    /// after what their entry says.
    pub fn applied(&self, at: Position) {
        let mut groups = Vec::new();
        self.shell.run(|core, now, outcome| groups = core.applied(at, now, outcome));
        groups.into_iter().for_each(|group| tasks::watch_lists(&self.shell, group));
    }

    /// The group is halted by the record at `at`: its connections are reset.
    pub fn halt(&self, group: GroupId, at: Position) {
        self.shell.run(|core, _, outcome| core.halt(group, at, outcome));
    }

    /// The group goes on by the record at `at`.
    pub fn resume(&self, group: GroupId, at: Position) {
        self.shell.core.borrow_mut().resume(group, at);
    }

    /// Counts a vote; what it releases is written to sockets before the call returns.
    pub fn vote(&self, group: GroupId, vote: CastVote) {
        self.shell.run(|core, now, outcome| core.vote(group, vote, now, outcome));
        tasks::watch_lists(&self.shell, group);
    }

    /// Everything of the group up to here is released; 0 for a group that is not known.
    #[must_use]
    pub fn released(&self, group: GroupId) -> Position {
        let core = self.shell.core.borrow();
        core.votes(group).map(|votes| votes.released()).unwrap_or_default()
    }

    /// Connections of the group's clients.
    #[must_use]
    pub fn connections_of(&self, group: GroupId) -> usize {
        self.shell.core.borrow_mut().nat().map_or(0, |nat| nat.connections_of(group))
    }

    /// Those of the client's address that has the most.
    #[must_use]
    pub fn most_of_one_client(&self, group: GroupId) -> usize {
        self.shell.core.borrow_mut().nat().map_or(0, |nat| nat.most_of_one_client(group))
    }

    /// A picture of the front end.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats { queued_bytes: self.shell.queued_bytes(), ..Stats::default() };
        if let Some(nat) = self.shell.core.borrow_mut().nat() {
            stats.connections = nat.connections();
            stats.outward = nat.calls();
            stats.pending_bytes = nat.pending_bytes();
            stats.in_flight = nat.in_flight();
        }
        self.shell.counters.fill(&mut stats);
        stats
    }

    /// Stops accepting, lets clients' connections end until the deadline, resets the rest by record, with associations
    /// and what guests opened, and waits a moment for these records to be committed. Cancelling it leaves the listeners closed.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        self.shell.draining.set(true);
        let listeners = std::mem::take(&mut *self.shell.listeners.borrow_mut());
        listeners.iter().for_each(tokio::task::JoinHandle::abort);
        for listener in listeners {
            // It was aborted; what counts is that its socket is closed.
            let _ = listener.await;
        }
        // At the deadline the flows that are left are found below.
        let _ = timeout(deadline, self.until(|nat| nat.clients_connections() == 0)).await;
        let mut reset = 0;
        self.shell.run(|core, _, outcome| {
            let Some(nat) = core.nat() else {
                return;
            };
            for serial in nat.live() {
                nat.reset(serial, Ending::Drained);
                outcome.actions.push(Action::Reset { serial, ending: Ending::Drained });
                reset += 1;
            }
        });
        let committed = self.until(|nat| nat.in_flight() == 0 && !nat.has_pending());
        let committed = timeout(DRAIN_GRACE, committed).await.is_ok();
        Drained { reset, committed }
    }

    async fn until(&self, reached: impl Fn(&Nat) -> bool) {
        loop {
            let progress = self.shell.progress.notified();
            if self.shell.core.borrow_mut().nat().is_none_or(|nat| reached(nat)) {
                return;
            }
            progress.await;
        }
    }
}
