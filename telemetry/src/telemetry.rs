//! A node's telemetry: starts the cold threads, hands out the hot handles, and ends within a deadline.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, Thread};
use std::time::Duration;

use refrain_api::Span;
use refrain_wire::{ClusterId, NodeId};

use crate::collect::{Collected, Limits};
use crate::config::{Config, Ratio};
use crate::export::Exporter;
use crate::metrics::Metrics;
use crate::recent::{Filter, shown};
use crate::trace::{QUEUED_RECORDS, Sampler, TraceIds, Tracer, channel};

/// Which node this is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its cluster: nodes of one cluster make one trace of a batch.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The version of the program.
    pub version: &'static str,
}

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The exporter refuses its configuration.
    #[error("cannot export traces to {url}")]
    Exporter {
        /// Where to.
        url: String,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A thread cannot be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// How the end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Spans that were not exported, as the deadline came first.
    pub lost: usize,
}

/// Traces and metrics of one node. Dropping it ends the threads without exporting what waits; [`Telemetry::shutdown`]
/// exports it.
pub struct Telemetry {
    tracer: Tracer,
    metrics: Arc<Metrics>,
    ratio: Ratio,
    cold: Option<Cold>,
}

struct Cold {
    collected: Arc<Collected>,
    collector: Thread,
}

impl Telemetry {
    /// Starts the threads that `config` needs; none when nothing is traced.
    ///
    /// # Errors
    /// When the exporter cannot be made or a thread cannot be started.
    pub fn start(identity: Identity, config: &Config) -> Result<Self, StartError> {
        let sampler = Sampler::new(config.ratio);
        if sampler.is_off() {
            return Ok(Self::off(&identity));
        }
        let metrics = Arc::new(Metrics::new(&identity));
        let export = metrics.export.clone();
        let limits = config.endpoint.as_ref().map(|endpoint| Limits {
            max_queue: endpoint.max_queue,
            max_batch: endpoint.max_batch,
            delay: endpoint.schedule_delay,
        });
        let collected = Arc::new(Collected::new(limits, export.dropped_before_export.clone()));
        if let Some(endpoint) = &config.endpoint {
            let exporter = Exporter::new(endpoint, config, &identity)
                .map_err(|error| StartError::Exporter { url: endpoint.url.clone(), source: error.into() })?;
            let (collected, export) = (Arc::clone(&collected), export.clone());
            spawn("trace-export", move || exporter.run(&collected, &export))?;
        }
        let ids = TraceIds::new(identity.cluster);
        let (recorded, dropped) = (export.recorded, export.dropped_before_collecting);
        let (tracer, inbox) = channel(ids.clone(), sampler, QUEUED_RECORDS, recorded, dropped);
        let spawned = spawn("trace-collect", {
            let collected = Arc::clone(&collected);
            move || collected.collect(&inbox, &ids, identity.node)
        });
        let collector = spawned.inspect_err(|_| {
            // The exporting thread would wait for ever.
            collected.stop(Duration::ZERO, || {});
        })?;
        Ok(Self { tracer, metrics, ratio: config.ratio, cold: Some(Cold { collected, collector }) })
    }

    /// Records spans; a clone for each thread that does.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// The metrics of this node.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The newest spans of this node that `filter` takes, in the order in which they began. A span shows up here some
    /// 20 ms after it was recorded. For cold threads: takes a lock that the hot side never does.
    #[must_use]
    pub fn recent(&self, filter: &Filter) -> Vec<Span> {
        let found = self.cold.as_ref().map(|cold| cold.collected.with_recent(|recent| recent.find(filter)));
        found.unwrap_or_default().iter().map(shown).collect()
    }

    /// The share of batches that are traced.
    #[must_use]
    pub fn ratio(&self) -> Ratio {
        self.ratio
    }

    /// Has everything that was recorded collected and exported. Whether that was done within `within`; blocks as long.
    pub fn flush(&self, within: Duration) -> bool {
        self.cold.as_ref().is_none_or(|cold| cold.collected.flush(within, || cold.collector.unpark()))
    }

    /// Exports what was recorded and ends the threads, within `within`; blocks as long. Tracers may be used on: what
    /// they record is dropped.
    pub fn shutdown(&self, within: Duration) -> Ended {
        let lost = self.cold.as_ref().map_or(0, |cold| cold.stop(within));
        Ended { lost }
    }

    /// One that traces nothing; its metrics are there.
    #[must_use]
    pub fn off(identity: &Identity) -> Self {
        Self { tracer: Tracer::off(), metrics: Arc::new(Metrics::new(identity)), ratio: Ratio::NONE, cold: None }
    }
}

impl Cold {
    fn stop(&self, within: Duration) -> usize {
        self.collected.stop(within, || self.collector.unpark())
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(cold) = self.cold.take() {
            cold.stop(Duration::ZERO);
        }
    }
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<Thread, StartError> {
    let spawned = Builder::new().name(name.into()).spawn(run);
    spawned.map(|handle| handle.thread().clone()).map_err(|source| StartError::Thread { name, source })
}
