//! Numbers that are looked up when somebody asks for the metrics, and cost nothing otherwise.

use refrain_sequencer::log::OrderedLog as _;
use refrain_sequencer::shard::ShardState;
use refrain_telemetry::metrics::raise;
use refrain_wire::Seat;

use super::{Inner, Service};
use crate::shard::group::Group;

/// A gauge takes signed numbers.
fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

impl Inner {
    /// Brings all gauges up to date.
    pub(in crate::shard) fn measure(&self) {
        self.measure_log();
        self.measure_proxy();
        let groups = self.groups.borrow();
        for (id, service) in self.traces.services.borrow().iter() {
            service.metrics.connections.set(signed(self.front().connections_of(*id)));
            let ordered = self.view.member().map_or(0, |member| member.usage(*id).bulk_bytes);
            service.metrics.unexecuted_bytes.set(signed(ordered));
            if let Some(group) = groups.get(id) {
                let used = self.history_of(group).unwrap_or_default();
                service.metrics.history_bytes.set(signed(used.bytes));
                service.metrics.history_max_bytes.set(signed(used.max_bytes));
                self.measure_seats(service, group);
            }
        }
    }

    fn measure_log(&self) {
        let to = &self.traces.metrics.sequencer;
        let (term, epochs) = self.view.with_shard(|shard| (shard.term(), shard.epochs().len()));
        to.epochs.set(signed(epochs));
        to.committed_position.set(signed(self.view.with_shard(ShardState::position).0));
        let Some(member) = self.view.member() else {
            to.term.set(signed(term));
            to.members.set(signed(self.member_nodes().len()));
            return;
        };
        let log = member.log().stats();
        to.term.set(signed(log.term));
        to.leads.set(i64::from(member.leading().is_some()));
        to.members.set(signed(log.members.len()));
        to.log_bytes.set(signed(log.bytes));
        to.log_max_bytes.set(signed(log.max_bytes.unwrap_or(u64::MAX)));
        raise(&to.elections, member.log().elections());
    }

    fn measure_proxy(&self) {
        let (to, stats) = (&self.traces.metrics.proxy, self.front().stats());
        to.pending_bytes.set(signed(stats.pending_bytes));
        to.submissions.set(signed(stats.in_flight));
        to.unsent_bytes.set(signed(stats.queued_bytes));
        raise(&to.refused, stats.refused);
        raise(&to.not_accepted, stats.not_accepted);
        raise(&to.outcome_unknown, stats.outcome_unknown);
    }

    /// How far each replica is, as this node knows: of its own and, on the leader and on proxies, of others.
    fn measure_seats(&self, service: &Service, group: &Group) {
        let metrics = &self.traces.metrics;
        for (seat, holder) in (0..).map(Seat).zip(&group.seats) {
            let lag = group.last_turn.0.saturating_sub(holder.position.0);
            metrics.lag(&service.labels, seat).set(signed(lag));
        }
    }
}
