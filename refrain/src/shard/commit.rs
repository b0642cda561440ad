//! What happens when an entry is committed: turns go to the engine, controls change seats, the proxy goes on.

use std::sync::Arc;

use bytes::Bytes;
use refrain_engine::{Replica, ReplicaId, TurnBatch};
use refrain_kernel::ShardEvent;
use refrain_sequencer::shard::Applied;
use refrain_wire::{Control, GroupId, Incarnation, NodeId, Position, Seat};

use super::Inner;
use super::group::{SeatRuntime, SeatState};

impl Inner {
    /// Acts on a committed entry. Called in order, on the loop thread, once for each; not any more when the loop is to
    /// begin anew with a state, since entries after that do not follow what is here.
    pub(super) fn committed(&self, applied: &Applied) {
        let at = applied.position;
        if applied.placed {
            // Before anybody hears that this shard has all that it was given: the others must know their part.
            self.tell_places();
            self.tell_joined();
        }
        self.follow_deployed(&applied.deployed, at);
        for (group, control) in &applied.controls {
            if matches!(control, Control::Create { .. }) {
                self.created(*group);
            }
        }
        self.trace_commit(applied);
        self.deliver(applied);
        for (group, control) in &applied.controls {
            self.control(*group, control, at);
            self.answer(*group, control, at);
        }
        for (group, control) in &applied.ignored {
            self.fail_waiting(*group, control, "it was overtaken by another command");
        }
        self.follow_histories(applied);
        self.keep_state(applied);
        self.follow_epochs(applied);
        let epoch = self.epoch.get();
        for id in applied.accepted.iter().filter(|id| id.epoch == epoch) {
            self.front().committed(*id);
        }
        if applied.dropped.iter().any(|id| id.epoch == epoch) {
            // One of an earlier leader's came first: what waits behind it is offered anew.
            self.stalled.set(true);
            self.resend();
        }
        self.office_applied(applied);
        self.applied.send_replace(at);
    }

    /// Hands the entry's turns to the engine, one wake a worker.
    fn deliver(&self, applied: &Applied) {
        let mut turns: Vec<Arc<TurnBatch>> = Vec::new();
        let concerns_all = applied.concerns_all();
        for (id, group) in self.groups.borrow_mut().iter_mut() {
            let batch = applied.batches.iter().find(|batch| batch.group == *id);
            if batch.is_none() && !concerns_all {
                continue;
            }
            let records: Option<Bytes> = batch.map(|batch| batch.records.clone());
            let turn = self.history.turn(*id, group.last_turn, applied.position, applied.time, records);
            let Some(turn) = turn else { continue };
            group.last_turn = turn.position;
            turns.push(turn);
        }
        if let Some(workers) = self.workers().filter(|_| !turns.is_empty()) {
            workers.deliver(&turns);
        }
    }

    fn control(&self, id: GroupId, control: &Control, at: Position) {
        match control {
            Control::TakeSeat { seat, incarnation, node, from } => {
                let replica = ReplicaId { group: id, seat: *seat, incarnation: *incarnation };
                self.seat_taken(replica, *node, *from, at);
            }
            Control::Quarantine { seat, incarnation, position, voted, agreed } => {
                let reason = format!("diverged at position {position}: voted {voted}, the others agreed on {agreed}");
                self.keep_forensics(id, control, at);
                self.quarantined(id, *seat, *incarnation, at, reason);
            }
            Control::Halt { position } => self.halted(id, *position, at),
            Control::Resume => self.resumed(id, at),
            Control::Resize { seats } => self.resized(id, *seats, at),
            Control::Create { .. } | Control::Audit | Control::Shard(_) => {}
            Control::Rooted { .. } => self.agreed_on(id),
            Control::Upgrade { bundle, .. } => self.upgraded(id, *bundle, at),
            Control::Checkpoint => {}
        }
    }

    /// A new replica takes a seat: where it is one of this node, it is made and catches up.
    fn seat_taken(&self, replica: ReplicaId, node: NodeId, from: Position, at: Position) {
        let ReplicaId { group: id, seat, incarnation } = replica;
        let old = self.groups.borrow_mut().get_mut(&id).and_then(|group| {
            let old = group.local_replica(seat);
            group.seat_mut(seat)?.take(incarnation, node, at);
            old
        });
        if let Some(old) = old {
            self.remove_replica(old);
        }
        self.front().take_seat(id, seat, incarnation, at);
        // One that was not adopted yet gets its replicas when it is.
        if node == self.node && self.groups.borrow().contains_key(&id) {
            self.install_replica(replica, from);
        }
    }

    /// Makes a replica that begins with a checkpoint, or with the group, and catches up from the log; at once, or when
    /// everything is prepared that it may have to run.
    pub(super) fn install_replica(&self, id: ReplicaId, from: Position) {
        if self.workers().is_none() || !self.programs_are_prepared(id, from) {
            return;
        }
        self.traces.joins(id);
        let service = self.service_name(id.group);
        if from > Position(0) {
            tracing::info!(service, seat = %id.seat, incarnation = %id.incarnation, %from, "seat taken: a new replica joins");
            return self.begin_join(id, from);
        }
        tracing::info!(service, seat = %id.seat, incarnation = %id.incarnation, "seat taken: a new replica replays the log");
        self.install_from_beginning(id);
    }

    /// Makes a replica that replays the whole log.
    pub(super) fn install_from_beginning(&self, id: ReplicaId) {
        let Some(workers) = self.workers() else { return };
        let Some(blueprint) = self.first_blueprint(id.group) else {
            return self.replica_failed(id, "what the group ran in the beginning is not known any more".to_owned());
        };
        workers.install(Replica::new(id, blueprint).with_blueprints(Arc::clone(&self.catalog.blueprints)));
        self.bind_replica(id);
    }

    /// Drops a replica of this node.
    pub(super) fn remove_replica(&self, id: ReplicaId) {
        if let Some(workers) = self.workers() {
            workers.remove(id);
        }
        self.unbind_replica(id);
    }

    fn quarantined(&self, id: GroupId, seat: Seat, incarnation: Incarnation, at: Position, reason: String) {
        self.front().quarantine(id, seat, incarnation, at);
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id) else { return };
        let (service, local) = (group.service.name.clone(), group.local_replica(seat));
        let Some(holder) = group.holder_mut(seat, incarnation) else { return };
        tracing::error!(service, %seat, node = %holder.node, reason, "replica is out");
        (holder.state, holder.since) = (SeatState::Quarantined(reason), at);
        let left = group.seats.iter().filter(|seat| !matches!(seat.state, SeatState::Quarantined(_))).count();
        let quorum = usize::from(group.service.agreement.quorum(group.seats.len() as u8));
        drop(groups);
        if let Some(local) = local {
            self.remove_replica(local);
        }
        if left < quorum {
            // Nothing can be agreed on any more: clients are told so, and an operator decides.
            self.insist(id, Control::Halt { position: at });
        }
    }

    /// No answer can be trusted any more: the flows are reset and nothing runs until an operator resumes the group.
    fn halted(&self, id: GroupId, split: Position, at: Position) {
        self.front().halt(id, at);
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id) else { return };
        tracing::error!(service = group.service.name, position = split.0, "no quorum: the service is halted");
        group.halted = true;
        let replicas: Vec<ReplicaId> = group.local_replicas().collect();
        for seat in &mut group.seats {
            if seat.counts() {
                let reason = format!("the replicas split at position {split}: the service is halted");
                (seat.state, seat.since) = (SeatState::Dead(reason), at);
            }
        }
        drop(groups);
        for replica in replicas {
            self.remove_replica(replica);
        }
    }

    /// The group has another number of seats: new ones are vacant until the leader gives them to engines.
    fn resized(&self, id: GroupId, seats: u8, at: Position) {
        self.front().resize(id, seats, at);
        let dropped: Vec<ReplicaId> = {
            let mut groups = self.groups.borrow_mut();
            let Some(group) = groups.get_mut(&id) else { return };
            tracing::info!(service = group.service.name, seats, position = at.0, "scaled");
            let dropped: Vec<ReplicaId> = group.local_replicas().filter(|id| id.seat.0 >= seats).collect();
            let (done, leaving): (Vec<_>, Vec<_>) =
                dropped.into_iter().partition(|id| group.seats[usize::from(id.seat.0)].position >= at);
            self.leaving.borrow_mut().extend(leaving.into_iter().map(|id| (id, at)));
            group.seats.resize_with(usize::from(seats), SeatRuntime::vacant);
            done
        };
        for replica in dropped {
            self.remove_replica(replica);
        }
    }

    /// The group goes on from its log: the leader has every seat taken anew.
    fn resumed(&self, id: GroupId, at: Position) {
        self.front().resume(id, at);
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id) else { return };
        group.halted = false;
        tracing::info!(service = group.service.name, position = at.0, "resumed: every seat is taken anew");
    }
}

/// The events of the shard in an applied entry.
pub(super) fn events(applied: &Applied) -> Vec<ShardEvent> {
    let terms = applied.term.iter().map(|term| ShardEvent::Term(term.entropy));
    let opened = applied.opened_owners().map(ShardEvent::EpochOpened);
    terms.chain(opened).chain(applied.ended.iter().map(|epoch| ShardEvent::EpochEnded(*epoch))).collect()
}
