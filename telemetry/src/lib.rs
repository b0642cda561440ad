//! Traces and metrics of a node: everything that knows OpenTelemetry and Prometheus, and nothing else does.
//!
//! A trace follows one batch over all nodes without a byte on the wire: its id, the ids of its spans and the decision
//! whether it is traced at all are functions of the cluster, the group and the position ([`trace`]). The hot side
//! ([`Tracer`], [`metrics`]) does a few arithmetic instructions for a batch that is not traced, pushes plain values
//! into a bounded queue for one that is, and adds to atomics; it never blocks and never allocates. Two cold threads
//! keep the newest spans and export them by OTLP.
//!
//! Left to the caller: to record each stage once, and never one that is replayed, so that nothing is told twice.

mod collect;
mod config;
mod export;
mod journeys;
pub mod metrics;
mod recent;
mod telemetry;
pub mod trace;

pub use config::{Config, ConfigError, Endpoint, Fault, Ratio};
pub use journeys::{JOURNEYS_MAX, Journeys};
pub use metrics::{Metrics, ServiceLabels};
pub use recent::{Filter, RECENT_SPANS};
pub use telemetry::{Ended, Identity, StartError, Telemetry};
pub use trace::{BatchTrace, Interval, SLOW, TraceId, Tracer, Turn};
