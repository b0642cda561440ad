//! One worker thread: turns of the replicas that are its own, one turn of each in rotation.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::background::{Background, Job};
use super::inbox::Inbox;
use super::slot::Slot;
use super::{Command, Report, ReportSink};
use crate::replica::{Progress, Replica, ReplicaId, TurnBatch};

/// How often a guest may yield in one turn before the turn goes on in the background.
const YIELDS_IN_FOREGROUND: u32 = 2;

struct Worker<'a> {
    index: usize,
    slots: BTreeMap<ReplicaId, Slot>,
    background: &'a Background,
    sink: &'a ReportSink,
}

pub(crate) fn run(index: usize, inbox: &Inbox, background: &Background, sink: &ReportSink) {
    let mut worker = Worker { index, slots: BTreeMap::new(), background, sink };
    let mut commands = Vec::new();
    loop {
        let idle = !worker.slots.values().any(Slot::is_ready);
        inbox.take(&mut commands, idle);
        for command in commands.drain(..) {
            if matches!(command, Command::Stop) {
                return;
            }
            worker.command(command);
        }
        let ready: Vec<ReplicaId> =
            worker.slots.iter().filter(|(_, slot)| slot.is_ready()).map(|(id, _)| *id).collect();
        for id in ready {
            worker.step(id);
        }
    }
}

impl Worker<'_> {
    fn command(&mut self, command: Command) {
        match command {
            Command::Install(replica) => {
                self.slots.insert(replica.id(), Slot::away());
                self.send_away(replica, false);
            }
            Command::Return(replica) => self.come_back(replica),
            Command::Gone(id) => drop(self.slots.remove(&id)),
            Command::Batch(batch) => self.batch(&batch),
            Command::Remove(id) => drop(self.slots.remove(&id)),
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

    fn batch(&mut self, batch: &Arc<TurnBatch>) {
        for (_, slot) in self.slots.iter_mut().filter(|(id, _)| id.group == batch.group) {
            slot.wait(batch);
        }
    }

    /// A replica that was removed while it was away is dropped here.
    fn come_back(&mut self, mut replica: Box<Replica>) {
        let Some(slot) = self.slots.get_mut(&replica.id()) else {
            return;
        };
        if let Some(flip) = slot.flip.take() {
            replica.inject(flip);
        }
        let position = replica.position();
        while slot.waiting.front().is_some_and(|batch| batch.position <= position) {
            slot.waiting.pop_front();
        }
        let connects = slot.waiting.front().is_none_or(|batch| batch.previous == position);
        if std::mem::take(&mut slot.gap) || !connects {
            slot.waiting.clear();
            self.send_away(replica, false);
            return;
        }
        slot.replica = Some(replica);
    }

    fn send_away(&mut self, replica: Box<Replica>, in_turn: bool) {
        self.background.push(Job { replica, in_turn, home: self.index });
    }

    /// One turn of one replica, or what is left of it.
    fn step(&mut self, id: ReplicaId) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Some(replica) = &mut slot.replica else { return };
        if !slot.in_turn {
            let Some(batch) = slot.waiting.pop_front() else { return };
            if batch.position <= replica.position() {
                return;
            }
            if batch.previous != replica.position() {
                let replica = slot.replica.take().expect("checked above");
                slot.waiting.clear();
                self.send_away(replica, false);
                return;
            }
            replica.begin(&batch);
            slot.in_turn = true;
            slot.yields = 0;
        }
        match replica.resume() {
            Progress::Done(outcome) => {
                slot.in_turn = false;
                (self.sink)(Report::Turn { id, outcome, replaying: false });
            }
            Progress::Yielded if slot.yields + 1 < YIELDS_IN_FOREGROUND => slot.yields += 1,
            Progress::Yielded => {
                slot.in_turn = false;
                let replica = slot.replica.take().expect("checked above");
                self.send_away(replica, true);
            }
            Progress::Failed(reason) => {
                self.slots.remove(&id);
                (self.sink)(Report::Failed { id, reason });
            }
        }
    }
}
