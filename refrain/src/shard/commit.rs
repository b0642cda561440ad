//! What happens when an entry is committed: turns go to the engines, controls change seats, the proxy goes on.

use std::sync::Arc;

use bytes::Bytes;
use refrain_engine::{Replica, ReplicaId, TurnBatch};
use refrain_kernel::ShardEvent;
use refrain_sequencer::log::AppendError;
use refrain_sequencer::shard::Applied;
use refrain_wire::{Control, GroupId, Incarnation, Position, Seat};

use super::Inner;
use super::group::SeatState;
use super::start::PROXY;

/// Batches of a group between two audits that nobody asked for.
const AUDIT_EVERY: u64 = 10_000;

impl Inner {
    /// Acts on a committed entry. Called in order, on the loop thread, once for each.
    pub(super) fn committed(&self, applied: &Applied) {
        let at = applied.position;
        self.deliver(applied);
        for (group, control) in &applied.controls {
            self.control(*group, control, at);
            self.answer(*group, control, at);
        }
        for (group, control) in &applied.ignored {
            self.fail_waiting(*group, control, "it was overtaken by another command");
        }
        for opened in applied.opened.iter().filter(|opened| opened.proxy == PROXY) {
            self.epoch.set(opened.epoch);
            self.history.set_epochs(&[opened.epoch]);
            self.front().begin_epoch(opened.epoch, at);
            self.lost.set(false);
            self.want_again();
        }
        for epoch in &applied.ended {
            if *epoch == self.epoch.get() {
                tracing::error!(%epoch, "this proxy's epoch was ended: its connections are closed");
                self.lose_epoch();
            }
        }
        for id in &applied.accepted {
            if id.epoch == self.epoch.get() {
                self.front().committed(*id);
            }
        }
    }

    /// An append failed. What a full log has no room for is given up with the connections that sent it, and the rest
    /// goes on. Where that does not help, nobody can tell a client when the log takes entries again: all connections
    /// are closed, and a new epoch is tried for until there is one. Controls that keep a group safe are wanted again.
    pub(super) fn append_failed(&self, controls: &[(GroupId, Control)], error: &AppendError) {
        let mut again = self.again.borrow_mut();
        for (group, control) in controls {
            self.fail_waiting(*group, control, &error.to_string());
            let lasting =
                matches!(control, Control::Halt { .. } | Control::Quarantine { .. } | Control::TakeSeat { .. });
            if lasting && !again.iter().any(|(id, kept)| id == group && kept == control) {
                again.push((*group, control.clone()));
            }
        }
        drop(again);
        let full = matches!(error, AppendError::Full { .. } | AppendError::DiskFull { .. });
        if full && self.front().give_up() {
            self.resend();
            self.want_again();
        } else if !error.is_fatal() {
            self.lose_epoch();
        }
    }

    /// Wants the controls that a failed append lost.
    fn want_again(&self) {
        for (group, control) in self.again.take() {
            self.want(group, control);
        }
    }

    /// Closes every connection, and has a new epoch tried for.
    fn lose_epoch(&self) {
        self.front().end_epoch();
        self.lost.set(true);
        self.recover.notify_one();
    }

    /// Hands the entry's turns to the engines, one wake a worker.
    fn deliver(&self, applied: &Applied) {
        let mut turns: Vec<Arc<TurnBatch>> = Vec::new();
        let mut audits: Vec<GroupId> = Vec::new();
        let concerns_all = applied.term.is_some() || !applied.ended.is_empty();
        for (id, group) in self.groups.borrow_mut().iter_mut() {
            let batch = applied.batches.iter().find(|batch| batch.group == *id);
            if batch.is_none() && !concerns_all {
                continue;
            }
            let records: Option<Bytes> = batch.map(|batch| batch.records.clone());
            let turn = self.history.turn(*id, group.last_turn, applied.position, applied.time, records);
            let Some(turn) = turn else { continue };
            group.last_turn = turn.position;
            group.since_audit += 1;
            if group.since_audit >= AUDIT_EVERY && !group.halted {
                group.since_audit = 0;
                audits.push(*id);
            }
            turns.push(turn);
        }
        if !turns.is_empty() {
            self.workers().deliver(&turns);
        }
        for group in audits {
            self.want(group, Control::Audit);
        }
    }

    fn control(&self, id: GroupId, control: &Control, at: Position) {
        match control {
            Control::TakeSeat { seat, incarnation } => self.seat_taken(id, *seat, *incarnation, at),
            Control::Quarantine { seat, incarnation, position, voted, agreed } => {
                let reason = format!("diverged at position {position}: voted {voted}, the others agreed on {agreed}");
                self.quarantined(id, *seat, *incarnation, at, reason);
            }
            Control::Halt { position } => self.halted(id, *position, at),
            Control::Resume => self.resumed(id, at),
            Control::Create { .. } | Control::Audit | Control::Shard(_) => {}
        }
    }

    /// A new replica takes a seat: it is made here and catches up from the log.
    fn seat_taken(&self, id: GroupId, seat: Seat, incarnation: Incarnation, at: Position) {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id) else { return };
        if let Some(old) = group.replica(seat) {
            self.workers().remove(old);
        }
        let blueprint = Arc::clone(&group.blueprint);
        let Some(holder) = group.seat_mut(seat) else { return };
        holder.take(incarnation, at);
        tracing::info!(service = group.service.name, %seat, %incarnation, position = at.0, "seat taken: a new replica replays the log");
        drop(groups);
        self.front().take_seat(id, seat, incarnation, at);
        self.workers().install(Replica::new(ReplicaId { group: id, seat, incarnation }, blueprint));
    }

    fn quarantined(&self, id: GroupId, seat: Seat, incarnation: Incarnation, at: Position, reason: String) {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id) else { return };
        let service = group.service.name.clone();
        let Some(holder) = group.holder_mut(seat, incarnation) else { return };
        tracing::error!(service, %seat, reason, "replica is out");
        (holder.state, holder.since) = (SeatState::Quarantined(reason), at);
        let left = group.seats.iter().filter(|seat| !matches!(seat.state, SeatState::Quarantined(_))).count();
        let quorum = usize::from(group.service.agreement.quorum(group.seats.len() as u8));
        drop(groups);
        self.workers().remove(ReplicaId { group: id, seat, incarnation });
        self.front().quarantine(id, seat, incarnation, at);
        if left < quorum {
            // Nothing can be agreed on any more: clients are told so, and an operator decides.
            self.want(id, Control::Halt { position: at });
        }
    }

    /// No answer can be trusted any more: the flows are reset and nothing runs until an operator resumes the group.
    fn halted(&self, id: GroupId, split: Position, at: Position) {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id) else { return };
        tracing::error!(service = group.service.name, position = split.0, "no quorum: the service is halted");
        group.halted = true;
        let replicas: Vec<ReplicaId> = (0..group.seats.len() as u8).filter_map(|n| group.replica(Seat(n))).collect();
        for seat in &mut group.seats {
            if seat.counts() {
                let reason = format!("the replicas split at position {split}: the service is halted");
                (seat.state, seat.since) = (SeatState::Dead(reason), at);
            }
        }
        drop(groups);
        for replica in replicas {
            self.workers().remove(replica);
        }
        self.front().halt(id, at);
    }

    /// The group goes on from its log: every seat is taken anew.
    fn resumed(&self, id: GroupId, at: Position) {
        {
            let mut groups = self.groups.borrow_mut();
            let Some(group) = groups.get_mut(&id) else { return };
            group.halted = false;
            tracing::info!(service = group.service.name, position = at.0, "resumed: every seat is taken anew");
        }
        self.front().resume(id, at);
        self.take_seats(id);
    }

    /// The record by which a new replica takes a seat.
    pub(super) fn next_holder(&self, id: GroupId, seat: Seat) -> Option<Control> {
        let groups = self.groups.borrow();
        let holder = groups.get(&id)?.seats.get(usize::from(seat.0))?;
        Some(Control::TakeSeat { seat, incarnation: Incarnation(holder.incarnation.0 + 1) })
    }

    /// Wants every seat of a group taken anew.
    pub(super) fn take_seats(&self, id: GroupId) {
        let seats = self.groups.borrow().get(&id).map_or(0, |group| group.seats.len() as u8);
        for control in (0..seats).filter_map(|seat| self.next_holder(id, Seat(seat))) {
            self.want(id, control);
        }
    }
}

/// The events of the shard in an applied entry.
pub(super) fn events(applied: &Applied) -> Vec<ShardEvent> {
    let terms = applied.term.iter().map(|term| ShardEvent::Term(term.entropy));
    terms.chain(applied.ended.iter().map(|epoch| ShardEvent::EpochEnded(*epoch))).collect()
}
