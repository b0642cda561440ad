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
}

impl SequencerMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            commit: registered(r, "commit_seconds", "From the append of an entry to its commit, on the leader"),
            replicate: registered(r, "replicate_seconds", "Until a majority of members has an entry, on the leader"),
            fsync: registered(r, "fsync_seconds", "Syncs of the log to disk"),
            batch_bytes: registered(r, "batch_bytes", "Record bytes of the batches ordered here"),
            batch_records: registered(r, "batch_records", "Records of the batches ordered here"),
            elections: registered(r, "elections", "Elections that this member began"),
            term: registered(r, "term", "The current term"),
            leads: registered(r, "leads", "1 while this member leads"),
            committed_position: registered(r, "committed_position", "The last committed position known here"),
            log_bytes: registered(r, "log_bytes", "Bytes of the log on this node"),
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
