//! What replicas of this node say: votes for proxies, progress for the leader, failures.

use std::sync::Arc;
use std::time::Duration;

use refrain_engine::{ReplicaId, Report, TurnOutcome};
use refrain_proxy::votes::CastVote;
use refrain_wire::message::uplink::{Progress, ToLeader};
use refrain_wire::{GroupId, Incarnation, Position, Seat};

use super::Inner;
use super::group::SeatState;
use super::uplink::Link;
use crate::link::LinkError;

/// A replica of another node that is at most so many positions behind is taken to follow the log: what it says is on
/// its way for a while.
const FOLLOWS_WITHIN: u64 = 1024;
/// How long this node may take to learn of a holder that an engine names.
const HOLDER_PATIENCE: Duration = Duration::from_secs(2);

impl Inner {
    /// Takes in everything that workers have reported since the last wake.
    pub(super) fn take_reports(&self, reports: &mut Vec<Report>) {
        if self.again.get() {
            return reports.clear();
        }
        let mut progress: Vec<Progress> = Vec::new();
        for report in reports.drain(..) {
            match report {
                Report::Turn { id, outcome, replaying, lasted } => {
                    self.traces.turn(id, &outcome, replaying, lasted);
                    let Some(now) = self.turn_finished(id, &outcome, replaying) else { continue };
                    match progress.iter_mut().find(|known| (known.group, known.seat) == (now.group, now.seat)) {
                        Some(known) => *known = now,
                        None => progress.push(now),
                    }
                }
                Report::Failed { id, reason } => self.replica_failed(id, reason),
                Report::Rooted { id, position, root, took } => {
                    self.traces.rooted(took);
                    if let Some(now) = self.rooted(id, position, root.0) {
                        progress.push(now);
                    }
                }
            }
        }
        if !progress.is_empty() && !matches!(*self.link.borrow(), Link::Down) {
            self.tell_leader(ToLeader::Progress(progress));
        }
        self.after_reports();
    }

    /// A replica's checkpoint is hashed.
    fn rooted(&self, id: ReplicaId, position: Position, root: [u8; 32]) -> Option<Progress> {
        let mut groups = self.groups.borrow_mut();
        let seat = groups.get_mut(&id.group)?.holder_mut(id.seat, id.incarnation)?;
        seat.root = Some((position, root));
        Some(seat.progress(id))
    }

    fn turn_finished(&self, id: ReplicaId, outcome: &TurnOutcome, replaying: bool) -> Option<Progress> {
        if self.leave(id, outcome) {
            return None;
        }
        let (group, seat, position, digest) = (id.group.0, id.seat.0, outcome.position.0, outcome.after.short());
        tracing::trace!(target: "refrain::turn", group, seat, position, %digest, replaying);
        let (progress, upgrade, changed, counts) = {
            let mut groups = self.groups.borrow_mut();
            let group = groups.get_mut(&id.group)?;
            let last_turn = group.last_turn;
            let seat = group.holder_mut(id.seat, id.incarnation)?;
            let mut changed = seat.finished(outcome);
            if seat.counts() {
                let behind = replaying && outcome.position < last_turn;
                // What caught up may be probed.
                changed |= !behind && seat.state == SeatState::Replaying;
                seat.become_state(if behind { SeatState::Replaying } else { SeatState::Active }, outcome.position);
                self.traces.follows(id, behind);
            }
            let upgrade = seat.guest.upgrade.clone().filter(|upgrade| upgrade.position == outcome.position);
            (seat.progress(id), upgrade, changed, seat.counts())
        };
        if changed {
            self.look_at_readiness(id.group);
        }
        // One that was put out may finish a turn yet, whose vote nobody waits for.
        if counts {
            self.vote(id, outcome);
            self.vote_elsewhere(id, outcome);
        }
        if let Some(upgrade) = upgrade {
            self.replica_upgraded(id, upgrade.position, upgrade.rolled_back.as_deref());
        }
        Some(progress)
    }

    /// Whether a replica's seat was given up. It still decides turns up to the record that says so, and ends then.
    fn leave(&self, id: ReplicaId, outcome: &TurnOutcome) -> bool {
        let Some(at) = self.leaving.borrow().get(&id).copied() else { return false };
        if outcome.position <= at {
            self.vote(id, outcome);
            self.vote_elsewhere(id, outcome);
        }
        if outcome.position >= at {
            self.leaving.borrow_mut().remove(&id);
            self.remove_replica(id);
        }
        true
    }

    /// Votes to this process's proxy. The list costs nothing here, so every vote brings it, not the speaker's alone.
    fn vote(&self, id: ReplicaId, outcome: &TurnOutcome) {
        if !self.member_nodes().is_empty() {
            self.check_lease();
        }
        let epoch = self.epoch.get();
        let Some((_, digest)) = outcome.votes.iter().find(|(to, _)| *to == epoch) else { return };
        let list = Some(Arc::clone(&outcome.effects));
        let (seat, incarnation, position) = (id.seat, id.incarnation, outcome.position);
        self.front().vote(id.group, CastVote { seat, incarnation, position, digest: *digest, list });
    }

    /// The engine lost a replica: the leader has the seat taken anew.
    pub(super) fn replica_failed(&self, id: ReplicaId, reason: String) {
        if self.leaving.borrow_mut().remove(&id).is_some() {
            tracing::error!(replica = %id, reason, "replica lost, whose seat was given up");
            return self.unbind_replica(id);
        }
        {
            let mut groups = self.groups.borrow_mut();
            let Some(group) = groups.get_mut(&id.group) else { return };
            let Some(seat) = group.holder_mut(id.seat, id.incarnation) else { return };
            tracing::error!(replica = %id, reason, "replica lost");
            (seat.state, seat.since) = (SeatState::Dead(reason.clone()), seat.position);
        }
        self.unbind_replica(id);
        let ReplicaId { group, seat, incarnation } = id;
        self.tell_leader(ToLeader::Lost { group, seat, incarnation, reason });
    }

    /// What is known of a replica of another node, by its votes or by what the leader is told.
    pub(super) fn note_remote_progress(&self, id: GroupId, seat: Seat, incarnation: Incarnation, position: Position) {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id) else { return };
        let (last_turn, here) = (group.last_turn, self.node);
        let Some(seat) = group.holder_mut(seat, incarnation).filter(|seat| seat.counts() && seat.node != here) else {
            return;
        };
        seat.position = seat.position.max(position);
        let follows = position.0.saturating_add(FOLLOWS_WITHIN) >= last_turn.0;
        seat.become_state(if follows { SeatState::Active } else { SeatState::Replaying }, position);
    }

    /// Waits until this node knows that a replica has a seat. False when another one has taken it since.
    ///
    /// # Errors
    /// When this node does not learn of the replica in time: its stream is to be opened again later.
    pub(super) async fn knows_holder(
        &self,
        group: GroupId,
        seat: Seat,
        incarnation: Incarnation,
    ) -> Result<bool, LinkError> {
        let mut applied = self.applied.subscribe();
        loop {
            applied.borrow_and_update();
            if self.incarnation_of(group, seat) == Some(incarnation) {
                return Ok(true);
            }
            let known = self.view.with_shard(|shard| {
                let seat = shard.groups().get(&group).and_then(|group| group.seat(seat));
                seat.is_some_and(|known| known.incarnation >= incarnation)
            });
            if known {
                return Ok(false);
            }
            let learned = tokio::time::timeout(HOLDER_PATIENCE, applied.changed()).await;
            learned.map_err(|_| LinkError::Done)?.map_err(|_| LinkError::Done)?;
        }
    }

    /// Whether a replica of this node brings lists of a group, so that others need not send them.
    pub(super) fn brings_lists(&self, id: GroupId) -> bool {
        self.groups.borrow().get(&id).is_some_and(|group| {
            group.local_replicas().any(|replica| group.seats[usize::from(replica.seat.0)].state == SeatState::Active)
        })
    }
}
