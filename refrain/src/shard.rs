//! The loop thread of a shard: proxy, sequencer, delivery of commits and counting of votes, by plain calls.
//!
//! One tokio current-thread runtime with a `LocalSet`; engine workers and the flush thread wake it, nothing else
//! does. This module is its state and its commands; `start` brings it up with its `services`, `commit` acts on
//! what is committed, `report` on what replicas say, `upstream` on what the proxy says, `ticks` asks for turns, `status`
//! describes it all, `drain` ends it.

mod commit;
mod drain;
mod group;
mod report;
mod services;
mod start;
mod status;
mod ticks;
mod upstream;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use refrain_api::{Appended, ErrorCode, Status};
use refrain_engine::Workers;
use refrain_engine::replica::Flip;
use refrain_proxy::tcp::FrontEnd;
use refrain_sequencer::raft::RaftLog;
use refrain_sequencer::sequencer::Sequencer;
use refrain_wire::{Control, Epoch, GroupId, Position, Seat};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::admin::Failure;
use crate::history::History;
use crate::service::Service;
use group::{Group, SeatState};
pub(crate) use start::{Options, Started, start};

/// Where a command's answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Failure>>;
/// Where commands go.
pub(crate) type Commands = mpsc::Sender<Command>;

/// What other threads ask of the loop thread.
pub(crate) enum Command {
    /// Describe everything.
    Status(Reply<Status>),
    /// Drop a seat's replica and build another from the log.
    Replace { service: String, seat: Seat, reply: Reply<Appended> },
    /// Flip a bit in a replica's guest memory, then audit.
    Corrupt { service: String, seat: Seat, flip: Flip, reply: Reply<Appended> },
    /// Audit now.
    Audit { service: String, reply: Reply<Appended> },
    /// Let a halted service go on.
    Resume { service: String, reply: Reply<Appended> },
    /// Answer when every service listens or has ended.
    Settled(oneshot::Sender<()>),
    /// Let connections end, then end.
    Drain { deadline: Duration, done: oneshot::Sender<()> },
}

/// An answer that waits until its control is committed.
struct Waiting {
    group: GroupId,
    control: Control,
    reply: Reply<Appended>,
}

/// The most answers that may wait.
const MAX_WAITING: usize = 1024;

/// The state of the loop thread.
struct Inner {
    data_dir: PathBuf,
    log: Arc<RaftLog>,
    sequencer: Sequencer<Arc<RaftLog>>,
    history: Arc<History<RaftLog>>,
    front: OnceCell<FrontEnd>,
    workers: OnceCell<Workers>,
    groups: RefCell<BTreeMap<GroupId, Group>>,
    /// Services whose modules cannot run.
    refused: Vec<Arc<Service>>,
    epoch: Cell<Epoch>,
    waiting: RefCell<Vec<Waiting>>,
    settling: RefCell<Vec<oneshot::Sender<()>>>,
    /// Wishes for turns may have changed.
    wishes: Notify,
    /// Votes have come.
    voted: Notify,
    /// A submission was refused because its group is busy; it goes again when replicas have caught up.
    stalled: Cell<bool>,
    /// Why the sequencer ended, if it failed.
    failure: RefCell<Option<String>>,
    /// Whether the sequencer has ended.
    ended: watch::Sender<bool>,
    /// The connections were closed because the log took no entries.
    lost: Cell<bool>,
    /// A new epoch is wanted.
    recover: Notify,
    /// Controls that a failed append lost.
    again: RefCell<Vec<(GroupId, Control)>>,
}

impl Inner {
    fn front(&self) -> &FrontEnd {
        self.front.get().expect("the front end is set before anything is committed or voted")
    }

    fn workers(&self) -> &Workers {
        self.workers.get().expect("the workers are started before anything is committed")
    }

    /// After a wake's reports: wishes may be due, and somebody may wait for services to listen.
    fn after_reports(&self) {
        self.wishes.notify_one();
        self.voted.notify_waiters();
        let mut settling = self.settling.borrow_mut();
        if !settling.is_empty() && self.groups.borrow().values().all(Group::is_settled) {
            for waiting in settling.drain(..) {
                let _ = waiting.send(());
            }
        }
    }

    fn find(&self, service: &str) -> Result<GroupId, Failure> {
        let groups = self.groups.borrow();
        let found = groups.values().find(|group| group.service.name == service).map(|group| group.id);
        found.ok_or_else(|| Failure::of(ErrorCode::ServiceNotFound, format!("no service is named {service}")))
    }

    fn check_seat(&self, id: GroupId, seat: Seat) -> Result<(), Failure> {
        let groups = self.groups.borrow();
        let group = &groups[&id];
        if usize::from(seat.0) < group.seats.len() {
            return Ok(());
        }
        let (name, count) = (&group.service.name, group.seats.len());
        Err(Failure::of(
            ErrorCode::SeatNotFound,
            format!("{name} has {count} seats, numbered from 0; there is no {seat}"),
        ))
    }

    fn check_halted(&self, id: GroupId, wanted: bool) -> Result<(), Failure> {
        let groups = self.groups.borrow();
        let group = &groups[&id];
        match (group.halted, wanted) {
            (true, false) => {
                Err(Failure::of(ErrorCode::Halted, format!("{} is halted; resume it first", group.service.name)))
            }
            (false, true) => Err(Failure::of(ErrorCode::NotHalted, format!("{} is not halted", group.service.name))),
            _ => Ok(()),
        }
    }

    /// Appends a control and answers with its position when it is committed.
    fn append(&self, group: GroupId, control: Control, reply: Reply<Appended>) {
        self.waiting.borrow_mut().retain(|waiting| !waiting.reply.is_closed());
        if self.waiting.borrow().len() >= MAX_WAITING {
            let full =
                Failure::of(ErrorCode::LogUnavailable, format!("{MAX_WAITING} commands wait for the log already"));
            return drop(reply.send(Err(full)));
        }
        self.waiting.borrow_mut().push(Waiting { group, control: control.clone(), reply });
        self.want(group, control);
    }

    /// Wants a control ordered. One that is refused is told to whoever waits for it.
    fn want(&self, group: GroupId, control: Control) {
        if let Err(refused) = self.sequencer.control(group, control.clone()) {
            tracing::warn!(%group, %refused, "a control was not taken");
            self.fail_waiting(group, &control, &refused.to_string());
        }
    }

    fn fail_waiting(&self, group: GroupId, control: &Control, why: &str) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(found) = waiting.iter().position(|waiting| waiting.group == group && waiting.control == *control)
        {
            let failure = Failure::of(ErrorCode::LogUnavailable, why);
            let _ = waiting.swap_remove(found).reply.send(Err(failure));
        }
    }

    /// Answers whoever waits for a control that was committed at `at`.
    fn answer(&self, group: GroupId, control: &Control, at: Position) {
        let mut waiting = self.waiting.borrow_mut();
        let found = waiting.iter().position(|waiting| waiting.group == group && waiting.control == *control);
        if let Some(found) = found {
            let _ = waiting.swap_remove(found).reply.send(Ok(Appended { position: at.0 }));
        }
    }

    fn command(&self, command: Command) {
        match command {
            Command::Status(reply) => drop(reply.send(Ok(self.status()))),
            Command::Replace { service, seat, reply } => self.replace(&service, seat, reply),
            Command::Corrupt { service, seat, flip, reply } => self.corrupt(&service, seat, flip, reply),
            Command::Audit { service, reply } => self.on_group(&service, false, Control::Audit, reply),
            Command::Resume { service, reply } => self.on_group(&service, true, Control::Resume, reply),
            Command::Settled(reply) => {
                self.settling.borrow_mut().push(reply);
                self.after_reports();
            }
            // The command loop handles it, as it takes time.
            Command::Drain { .. } => {}
        }
    }

    fn on_group(&self, service: &str, halted: bool, control: Control, reply: Reply<Appended>) {
        match self.find(service).and_then(|id| self.check_halted(id, halted).map(|()| id)) {
            Ok(id) => self.append(id, control, reply),
            Err(failure) => drop(reply.send(Err(failure))),
        }
    }

    fn replace(&self, service: &str, seat: Seat, reply: Reply<Appended>) {
        let checked = self.find(service).and_then(|id| {
            self.check_seat(id, seat)?;
            self.check_halted(id, false)?;
            Ok(id)
        });
        let id = match checked {
            Ok(id) => id,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        self.drop_replica(id, seat);
        match self.next_holder(id, seat) {
            Some(control) => self.append(id, control, reply),
            None => drop(reply.send(Err(Failure::of(ErrorCode::Internal, "the seat is gone")))),
        }
    }

    /// Ends a replica at once, as a crash of its engine would.
    fn drop_replica(&self, id: GroupId, seat: Seat) {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id) else { return };
        if let Some(replica) = group.replica(seat) {
            self.workers().remove(replica);
        }
        if let Some(holder) = group.seat_mut(seat).filter(|holder| holder.counts()) {
            holder.state = SeatState::Dead("killed".into());
        }
    }

    fn corrupt(&self, service: &str, seat: Seat, flip: Flip, reply: Reply<Appended>) {
        let checked = self.find(service).and_then(|id| {
            self.check_seat(id, seat)?;
            self.check_halted(id, false)?;
            let groups = self.groups.borrow();
            let active = groups[&id].seats[usize::from(seat.0)].state == SeatState::Active;
            let replica = groups[&id].replica(seat).filter(|_| active);
            replica.ok_or_else(|| {
                Failure::of(ErrorCode::ReplicaNotRunning, format!("seat {seat} of {service} has no active replica"))
            })
        });
        match checked {
            Ok(replica) => {
                self.workers().inject(replica, flip);
                self.append(replica.group, Control::Audit, reply);
            }
            Err(failure) => drop(reply.send(Err(failure))),
        }
    }
}
