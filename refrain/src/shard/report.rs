//! What replicas say: votes for the proxy, progress for back pressure, wishes for turns, failures.

use std::sync::Arc;

use refrain_engine::{ReplicaId, Report, TurnOutcome};
use refrain_proxy::votes::CastVote;

use super::Inner;
use super::group::SeatState;

impl Inner {
    /// Takes in everything that workers have reported since the last wake.
    pub(super) fn take_reports(&self, reports: &mut Vec<Report>) {
        for report in reports.drain(..) {
            match report {
                Report::Turn { id, outcome, replaying } => self.turn_finished(id, outcome, replaying),
                Report::Failed { id, reason } => self.replica_failed(id, reason),
            }
        }
        self.after_reports();
    }

    fn turn_finished(&self, id: ReplicaId, outcome: TurnOutcome, replaying: bool) {
        let (group, seat, position, digest) = (id.group.0, id.seat.0, outcome.position.0, outcome.after.short());
        tracing::trace!(target: "refrain::turn", group, seat, position, %digest, replaying);
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id.group) else { return };
        let last_turn = group.last_turn;
        let Some(seat) = group.holder_mut(id.seat, id.incarnation) else { return };
        seat.finished(&outcome);
        if seat.counts() {
            let state =
                if replaying && outcome.position < last_turn { SeatState::Replaying } else { SeatState::Active };
            if seat.state != state {
                (seat.state, seat.since) = (state, outcome.position);
            }
        }
        let executed = group.executed();
        drop(groups);
        self.sequencer.executed(id.group, executed);
        self.relieve(id.group);
        self.vote(id, &outcome);
    }

    /// Votes to this process's proxy. The list costs nothing here, so every vote brings it, not the speaker's alone.
    fn vote(&self, id: ReplicaId, outcome: &TurnOutcome) {
        let epoch = self.epoch.get();
        let Some((_, digest)) = outcome.votes.iter().find(|(to, _)| *to == epoch) else { return };
        let list = Some(Arc::clone(&outcome.effects));
        let (seat, incarnation, position) = (id.seat, id.incarnation, outcome.position);
        self.front().vote(id.group, CastVote { seat, incarnation, position, digest: *digest, list });
    }

    /// An engine lost a replica: its seat stays empty until somebody takes it.
    fn replica_failed(&self, id: ReplicaId, reason: String) {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id.group) else { return };
        let Some(seat) = group.holder_mut(id.seat, id.incarnation) else { return };
        tracing::error!(replica = %id, reason, "replica lost");
        (seat.state, seat.since) = (SeatState::Dead(reason), seat.position);
    }
}
