//! Metrics of each service's group.

use std::collections::HashSet;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use refrain_wire::limits::MAX_SEATS;
use refrain_wire::{GroupId, Seat};

use super::histogram::Durations;
use super::nodes::registered;

/// The most groups that have metrics of their own; those beyond share the labels `service="(others)"`, `group="0"`.
pub const SERVICES_MAX: usize = 1_024;

/// Which group of which service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServiceLabels {
    service: String,
    group: u32,
}

impl ServiceLabels {
    /// The group of the service that is called `namespace/name`.
    #[must_use]
    pub fn new(service: impl Into<String>, group: GroupId) -> Self {
        Self { service: service.into(), group: group.0 }
    }

    fn others() -> Self {
        Self::new("(others)", GroupId::SHARD)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SeatLabels {
    service: String,
    group: u32,
    seat: u32,
}

impl SeatLabels {
    fn new(labels: &ServiceLabels, seat: Seat) -> Self {
        Self { service: labels.service.clone(), group: labels.group, seat: u32::from(seat.0) }
    }
}

/// The handles of one group.
#[derive(Clone, Debug)]
pub struct ServiceMetrics {
    /// From the first client bytes of a submission until agreement on its batch.
    pub end_to_end: Durations,
    /// From the commit of a batch until agreement on it.
    pub vote_wait: Durations,
    /// A replica's turn; replayed ones do not count.
    pub turn: Durations,
    /// Connections of clients that are open.
    pub connections: Gauge,
    /// Connections of clients that were accepted.
    pub accepted: Counter,
    /// Bytes read from clients.
    pub received_bytes: Counter,
    /// Bytes written to clients.
    pub sent_bytes: Counter,
    /// Votes that differed from what was agreed.
    pub divergences: Counter,
    /// Data bytes ordered and not yet executed by a quorum, on the leader.
    pub unexecuted_bytes: Gauge,
    /// Bytes of the history of a service whose guests cannot be saved in checkpoints; 0 for others.
    pub history_bytes: Gauge,
    /// Bytes at which it takes no new work; 0 for others.
    pub history_max_bytes: Gauge,
}

type Of<M> = Family<ServiceLabels, M>;

#[derive(Debug)]
pub(super) struct Families {
    /// The groups that have metrics of their own.
    known: Mutex<HashSet<ServiceLabels>>,
    end_to_end: Of<Durations>,
    vote_wait: Of<Durations>,
    turn: Of<Durations>,
    connections: Of<Gauge>,
    accepted: Of<Counter>,
    received_bytes: Of<Counter>,
    sent_bytes: Of<Counter>,
    divergences: Of<Counter>,
    unexecuted_bytes: Of<Gauge>,
    history_bytes: Of<Gauge>,
    history_max_bytes: Of<Gauge>,
    lag: Family<SeatLabels, Gauge>,
}

impl Families {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let r = registry;
        Self {
            known: Mutex::default(),
            end_to_end: registered(r, "end_to_end_seconds", "From the first client bytes read to agreement"),
            vote_wait: registered(r, "vote_wait_seconds", "From a commit to agreement"),
            turn: registered(r, "turn_seconds", "Turns of replicas, replayed ones left out"),
            connections: registered(r, "connections", "Open connections of clients"),
            accepted: registered(r, "connections_accepted", "Connections of clients accepted"),
            received_bytes: registered(r, "received_bytes", "Bytes read from clients"),
            sent_bytes: registered(r, "sent_bytes", "Bytes written to clients"),
            divergences: registered(r, "divergences", "Votes that differed from what was agreed"),
            unexecuted_bytes: registered(r, "unexecuted_bytes", "Data bytes ordered and not executed by a quorum"),
            history_bytes: registered(r, "history_bytes", "Bytes of the history of a replay-only service"),
            history_max_bytes: registered(
                r,
                "history_max_bytes",
                "Bytes at which a replay-only service takes no new work",
            ),
            lag: registered(r, "replica_lag_positions", "Positions that a replica is behind the last committed turn"),
        }
    }

    /// The labels under which a group is exposed.
    fn admitted(&self, labels: &ServiceLabels) -> ServiceLabels {
        let mut known = self.known.lock();
        if known.len() < SERVICES_MAX && !known.contains(labels) {
            known.insert(labels.clone());
        }
        if known.contains(labels) { labels.clone() } else { ServiceLabels::others() }
    }

    pub(super) fn service(&self, labels: &ServiceLabels) -> ServiceMetrics {
        let labels = &self.admitted(labels);
        ServiceMetrics {
            end_to_end: self.end_to_end.get_or_create_owned(labels),
            vote_wait: self.vote_wait.get_or_create_owned(labels),
            turn: self.turn.get_or_create_owned(labels),
            connections: self.connections.get_or_create_owned(labels),
            accepted: self.accepted.get_or_create_owned(labels),
            received_bytes: self.received_bytes.get_or_create_owned(labels),
            sent_bytes: self.sent_bytes.get_or_create_owned(labels),
            divergences: self.divergences.get_or_create_owned(labels),
            unexecuted_bytes: self.unexecuted_bytes.get_or_create_owned(labels),
            history_bytes: self.history_bytes.get_or_create_owned(labels),
            history_max_bytes: self.history_max_bytes.get_or_create_owned(labels),
        }
    }

    pub(super) fn lag(&self, labels: &ServiceLabels, seat: Seat) -> Gauge {
        self.lag.get_or_create_owned(&SeatLabels::new(&self.admitted(labels), seat))
    }

    pub(super) fn forget(&self, labels: &ServiceLabels) {
        self.known.lock().remove(labels);
        self.end_to_end.remove(labels);
        self.vote_wait.remove(labels);
        self.turn.remove(labels);
        self.connections.remove(labels);
        self.accepted.remove(labels);
        self.received_bytes.remove(labels);
        self.sent_bytes.remove(labels);
        self.divergences.remove(labels);
        self.unexecuted_bytes.remove(labels);
        self.history_bytes.remove(labels);
        self.history_max_bytes.remove(labels);
        for seat in 0..MAX_SEATS {
            self.lag.remove(&SeatLabels::new(labels, Seat(seat)));
        }
    }
}
