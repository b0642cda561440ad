//! What a node counts and measures, and its exposition in the Prometheus text format.
//!
//! Handles are made once and cloned; the hot path is atomic additions on them. Every metric is described in
//! `docs/operating.md`. What is told per service has the labels `service` and `group`; their number is bounded, and
//! services beyond it share one set of handles.

mod families;
mod histogram;
mod http;
mod nodes;

pub use families::{SERVICES_MAX, ServiceLabels, ServiceMetrics};
pub use histogram::{Durations, Sizes};
pub use http::http_exposition;
pub use nodes::{CheckpointMetrics, ExportMetrics, ProxyMetrics, SequencerMetrics, StreamMetrics};
pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use refrain_wire::Seat;

use crate::telemetry::Identity;
use families::Families;

/// All metrics of a node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    /// Ordering and the log.
    pub sequencer: SequencerMetrics,
    /// Checkpoints, and replicas that join.
    pub checkpoint: CheckpointMetrics,
    /// The proxy.
    pub proxy: ProxyMetrics,
    /// The streams between nodes.
    pub streams: StreamMetrics,
    /// Tracing itself.
    pub export: ExportMetrics,
}

impl Metrics {
    /// All metrics, at zero.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        let mut registry = Registry::with_prefix("refrain");
        let node = [
            ("cluster", identity.cluster.to_string()),
            ("node", identity.node.to_string()),
            ("version", identity.version.to_owned()),
        ];
        registry.register("node", "Which node this is; always 1", Info::new(Vec::from(node)));
        let families = Families::new(&mut registry);
        let sequencer = SequencerMetrics::new(&mut registry);
        let checkpoint = CheckpointMetrics::new(&mut registry);
        let proxy = ProxyMetrics::new(&mut registry);
        let streams = StreamMetrics::new(&mut registry);
        let export = ExportMetrics::new(&mut registry);
        Self { registry, families, sequencer, checkpoint, proxy, streams, export }
    }

    /// The handles of a service's group. Takes locks: once for each group, not once for each batch.
    #[must_use]
    pub fn service(&self, labels: &ServiceLabels) -> ServiceMetrics {
        self.families.service(labels)
    }

    /// How many positions the replica at a seat of the group is behind. As [`Metrics::service`], once.
    #[must_use]
    pub fn lag(&self, labels: &ServiceLabels, seat: Seat) -> Gauge {
        self.families.lag(labels, seat)
    }

    /// The group is gone: it is not exposed any more.
    pub fn forget(&self, labels: &ServiceLabels) {
        self.families.forget(labels);
    }

    /// Everything in the Prometheus text format 0.0.4, to be served as [`CONTENT_TYPE`].
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        let written = prometheus_client::encoding::prometheus_text::encode(&mut text, &self.registry);
        written.expect("a string takes everything");
        text
    }
}

/// Has a counter say a number that is counted elsewhere and only rises. For one caller at a time.
pub fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests;
