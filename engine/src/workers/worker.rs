//! One worker: turns of the replicas that are its own, one of each group in rotation.
//!
//! Of two replicas of a group that have something to do the one that is ahead goes on, until it is as far as it can be:
//! in rotation both would be done when both are, and a client is answered when the first few agree.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::background::{Background, Job};
use super::checkpoints::Checkpoints;
use super::inbox::Inbox;
use super::life::Life;
use super::slot::Slot;
use super::{Command, Lasted, Report, ReportSink};
use crate::replica::{Heir, Progress, Replica, ReplicaId, Retired, TurnBatch};

/// How often a guest may yield in one turn before the turn goes on in the background: after about 3 ms.
const YIELDS_IN_FOREGROUND: u32 = 8;

/// Batches that wait for a replica from which on it goes on beside the one of its group that is ahead of it.
const MAX_BEHIND: usize = 16;

pub(crate) struct Worker {
    index: usize,
    slots: BTreeMap<ReplicaId, Slot>,
    inbox: Arc<Inbox>,
    background: Arc<Background>,
    checkpoints: Arc<Checkpoints>,
    sink: ReportSink,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        inbox: Arc<Inbox>,
        background: Arc<Background>,
        checkpoints: Arc<Checkpoints>,
        sink: ReportSink,
    ) -> Self {
        Self { index, slots: BTreeMap::new(), inbox, background, checkpoints, sink }
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) {
        while self.round(true) {}
    }

    /// Takes in what it was told and goes one step on with each replica; with `wait`, waits for something to do. False
    /// when it is to stop.
    pub(crate) fn round(&mut self, wait: bool) -> bool {
        let mut commands = Vec::new();
        self.inbox.take(&mut commands, wait && self.is_idle());
        for command in commands {
            if matches!(command, Command::Stop) {
                return false;
            }
            self.command(command);
        }
        for id in self.next_steps() {
            self.step(id);
        }
        true
    }

    /// The replicas to go on with: of each group the one that is ahead, as its clients wait for the first that agree,
    /// and those that are far behind it.
    fn next_steps(&self) -> Vec<ReplicaId> {
        let ready: Vec<(ReplicaId, &Slot)> =
            self.slots.iter().filter(|(_, slot)| slot.is_ready()).map(|(id, slot)| (*id, slot)).collect();
        let mut next = Vec::with_capacity(ready.len());
        for group in ready.chunk_by(|(one, _), (other, _)| one.group == other.group) {
            let ahead = group.iter().max_by_key(|(id, slot)| (slot.progress(), Reverse(id.seat))).map(|(id, _)| *id);
            let due = group.iter().filter(|(id, slot)| Some(*id) == ahead || slot.waiting.len() >= MAX_BEHIND);
            next.extend(due.map(|(id, _)| *id));
        }
        next
    }

    /// Whether no replica has anything to do here.
    pub(crate) fn is_idle(&self) -> bool {
        !self.slots.values().any(Slot::is_ready)
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Install(replica) => self.install(replica),
            Command::Return(replica, life) => self.come_back(replica, &life),
            Command::Gone(id, life) => {
                if let Some(heir) = life.heir() {
                    heir(None);
                }
                if self.slots.get(&id).is_some_and(|slot| slot.life.is(&life)) {
                    self.slots.remove(&id);
                }
            }
            Command::Batch(batch) => self.batch(&batch),
            Command::Remove(id) => {
                if let Some(slot) = self.slots.remove(&id) {
                    slot.life.end();
                }
            }
            Command::Retire(id, heir) => self.retire(id, heir),
            Command::Inject(id, flip) => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    match &mut slot.replica {
                        Some(replica) => replica.inject(flip),
                        None => slot.flip = Some(flip),
                    }
                }
            }
            Command::Stop => {}
        }
    }

    /// A replica that is installed twice replaces the first one.
    fn install(&mut self, replica: Box<Replica>) {
        let slot = Slot::away();
        let job = Job::catch_up(replica, slot.life.clone(), self.index);
        if let Some(before) = self.slots.insert(job.replica.id(), slot) {
            before.life.end();
        }
        self.background.push(job);
    }

    fn batch(&mut self, batch: &Arc<TurnBatch>) {
        for (_, slot) in self.slots.iter_mut().filter(|(id, _)| id.group == batch.group) {
            slot.wait(batch);
        }
    }

    /// One that is away is handed over by whoever runs it.
    fn retire(&mut self, id: ReplicaId, heir: Heir) {
        match self.slots.remove(&id) {
            None => heir(None),
            Some(Slot { replica: Some(replica), in_turn, life, .. }) => {
                life.end();
                heir(Some(Retired::new(replica, in_turn.is_some())));
            }
            Some(slot) => slot.life.bequeath(heir),
        }
    }

    /// A replica that was removed or replaced while it was away is dropped here, or goes to its heir.
    fn come_back(&mut self, mut replica: Box<Replica>, life: &Life) {
        let slot = self.slots.get_mut(&replica.id()).filter(|slot| slot.life.is(life));
        let Some(slot) = slot else {
            if let Some(heir) = life.heir() {
                heir(Some(Retired::new(replica, false)));
            }
            return;
        };
        if let Some(flip) = slot.flip.take() {
            replica.inject(flip);
        }
        let position = replica.position();
        while slot.waiting.front().is_some_and(|batch| batch.position <= position) {
            slot.waiting.pop_front();
        }
        if slot.waiting.front().is_none_or(|batch| batch.previous == position) {
            slot.replica = Some(replica);
            return;
        }
        slot.waiting.clear();
        self.background.push(Job::catch_up(replica, slot.life.clone(), self.index));
    }

    /// One turn of one replica, or what is left of it.
    fn step(&mut self, id: ReplicaId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Some(replica) = &mut slot.replica else { return };
        if slot.in_turn.is_none() {
            let Some(batch) = slot.waiting.pop_front() else { return };
            if batch.position <= replica.position() {
                return;
            }
            if batch.previous != replica.position() {
                let replica = slot.replica.take().expect("checked above");
                slot.waiting.clear();
                self.background.push(Job::catch_up(replica, slot.life.clone(), self.index));
                return;
            }
            slot.in_turn = Some(Instant::now());
            replica.begin(&batch);
            slot.yields = 0;
        }
        match replica.resume() {
            Progress::Done(outcome) => {
                let lasted = Lasted::since(slot.in_turn.take().expect("it has begun"));
                self.checkpoints.take(id, &slot.life, &outcome);
                slot.life.report(&self.sink, Report::Turn { id, outcome, replaying: false, lasted });
            }
            Progress::Yielded if slot.yields + 1 < YIELDS_IN_FOREGROUND => slot.yields += 1,
            Progress::Yielded => {
                let began = slot.in_turn.take().expect("it has begun");
                let replica = slot.replica.take().expect("checked above");
                self.background.push(Job::finish_turn(replica, slot.life.clone(), self.index, began));
            }
            Progress::Failed(reason) => {
                slot.life.report(&self.sink, Report::Failed { id, reason });
                self.slots.remove(&id);
            }
        }
    }
}
