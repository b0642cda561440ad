//! Metrics of the node as a whole.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use super::histogram::{Durations, Sizes};

/// Registers a metric that starts at zero.
pub(super) fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Ordering and the log.
#[derive(Clone, Debug)]
pub struct SequencerMetrics {
    /// From the append of an entry until its commit, on the leader.
    pub commit: Durations,
    /// From the sending of an entry until a majority has it, on the leader.
    pub replicate: Durations,
    /// Syncs of the log.
    pub fsync: Durations,
    /// Record bytes of each batch ordered here.
    pub batch_bytes: Sizes,
    /// Records of each batch ordered here.
    pub batch_records: Sizes,
    /// Without a leader, as this node saw it.
    pub leader_change: Durations,
    /// Elections that this member began.
    pub elections: Counter,
    /// The current term.
    pub term: Gauge,
    /// 1 while this member leads.
    pub leads: Gauge,
    /// The last committed position that this node knows.
    pub committed_position: Gauge,
    /// Bytes of the log on this node.
    pub log_bytes: Gauge,
    /// The most bytes that it may have.
    pub log_max_bytes: Gauge,
    /// Members of the log.
    pub members: Gauge,
    /// Open epochs of proxies.
    pub epochs: Gauge,
}

impl SequencerMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            commit: registered(r, "commit_seconds", "From the append of an entry to its commit, on the leader"),
            replicate: registered(r, "replicate_seconds", "Until a majority of members has an entry, on the leader"),
            fsync: registered(r, "fsync_seconds", "Syncs of the log to disk"),
            batch_bytes: registered(r, "batch_bytes", "Record bytes of the batches ordered here"),
            batch_records: registered(r, "batch_records", "Records of the batches ordered here"),
            leader_change: registered(r, "leader_change_seconds", "Without a leader, as this node saw it"),
            elections: registered(r, "elections", "Elections that this member began"),
            term: registered(r, "term", "The current term"),
            leads: registered(r, "leads", "1 while this member leads"),
            committed_position: registered(r, "committed_position", "The last committed position known here"),
            log_bytes: registered(r, "log_bytes", "Bytes of the log on this node"),
            log_max_bytes: registered(r, "log_max_bytes", "The most bytes that the log may have"),
            members: registered(r, "log_members", "Members of the log"),
            epochs: registered(r, "epochs", "Open epochs of proxies"),
        }
    }
}

/// Checkpoints, and replicas that join.
#[derive(Clone, Debug)]
pub struct CheckpointMetrics {
    /// The capture of a replica's state, during which it executes nothing.
    pub capture: Durations,
    /// The hashing of what was captured, in the background.
    pub hash: Durations,
    /// The restoring of a replica from a checkpoint.
    pub restore: Durations,
    /// From the taking of a seat until its replica's first vote that counts.
    pub join: Durations,
}

impl CheckpointMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            capture: registered(r, "checkpoint_capture_seconds", "Captures of replicas, which stand still meanwhile"),
            hash: registered(r, "checkpoint_hash_seconds", "Hashing of captured states, in the background"),
            restore: registered(r, "checkpoint_restore_seconds", "Restoring of replicas from checkpoints"),
            join: registered(r, "join_seconds", "From the taking of a seat to its replica's first vote that counts"),
        }
    }
}

/// What this node's proxy holds, and what it turned away.
#[derive(Clone, Debug)]
pub struct ProxyMetrics {
    /// Record bytes that wait for a submission.
    pub pending_bytes: Gauge,
    /// Submissions taken and not committed.
    pub submissions: Gauge,
    /// Bytes agreed on that wait for slow clients.
    pub unsent_bytes: Gauge,
    /// Connections refused at accept.
    pub refused: Counter,
    /// Connections reset for want of an epoch: nothing of them was executed.
    pub not_accepted: Counter,
    /// Connections reset by the end of an epoch: what they sent may have been executed.
    pub outcome_unknown: Counter,
    /// Votes that found no room.
    pub votes_dropped: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResetLabels {
    outcome: &'static str,
}

impl ProxyMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        let help = "Connections reset because the proxy had no epoch, by what became of what was sent";
        let reset: Family<ResetLabels, Counter> = registered(r, "connections_reset", help);
        let with = |outcome| reset.get_or_create_owned(&ResetLabels { outcome });
        Self {
            pending_bytes: registered(r, "pending_bytes", "Bytes of records that wait for a submission"),
            submissions: registered(r, "submissions", "Submissions on their way, not committed"),
            unsent_bytes: registered(r, "unsent_bytes", "Bytes agreed on that wait for slow clients"),
            refused: registered(r, "connections_refused", "Connections refused at accept, by a limit or a halt"),
            not_accepted: with("not-accepted"),
            outcome_unknown: with("unknown"),
            votes_dropped: registered(r, "votes_dropped", "Votes dropped for want of room; they are cast again"),
        }
    }
}

/// The streams between nodes.
#[derive(Clone, Debug)]
pub struct StreamMetrics {
    /// Streams that are open, in both directions.
    pub open: Gauge,
    /// Bytes read from other nodes.
    pub received_bytes: Counter,
    /// Bytes written to other nodes.
    pub sent_bytes: Counter,
}

impl StreamMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            open: registered(r, "streams", "Open streams to and from other nodes"),
            received_bytes: registered(r, "stream_received_bytes", "Bytes read from other nodes"),
            sent_bytes: registered(r, "stream_sent_bytes", "Bytes written to other nodes"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    at: &'static str,
}

/// Tracing itself.
#[derive(Clone, Debug)]
pub struct ExportMetrics {
    /// Spans recorded.
    pub recorded: Counter,
    /// Spans exported.
    pub exported: Counter,
    /// Exports that failed.
    pub failures: Counter,
    /// Spans dropped because the queue to the collecting thread was full.
    pub dropped_before_collecting: Counter,
    /// Spans dropped because too many waited for their export.
    pub dropped_before_export: Counter,
    /// Spans dropped because their export failed.
    pub dropped_in_export: Counter,
}

impl ExportMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        let dropped: Family<DropLabels, Counter> = registered(r, "spans_dropped", "Spans dropped, by where");
        let at = |at| dropped.get_or_create_owned(&DropLabels { at });
        Self {
            recorded: registered(r, "spans_recorded", "Spans recorded"),
            exported: registered(r, "spans_exported", "Spans exported"),
            failures: registered(r, "export_failures", "Exports of spans that failed"),
            dropped_before_collecting: at("queue"),
            dropped_before_export: at("waiting"),
            dropped_in_export: at("export"),
        }
    }
}
