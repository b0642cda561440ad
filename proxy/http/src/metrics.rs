//! What has been counted, as plain values for whoever shows them.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use semver::Version;

use crate::balance::ReleaseState;
use crate::serve::Shared;

/// Numbers of a front end at one moment. Totals only grow, as long as a release stays in the plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Connections that are open, upgraded ones included.
    pub connections: u32,
    /// Connections that were taken in.
    pub accepted: u64,
    /// Connections closed at once because of a limit.
    pub turned_away: u64,
    /// Requests that the front end answered itself before it was known which release they concern.
    pub refused: u64,
    /// What went wrong, by its code, in their order: answers that the front end gave itself, answers that broke off, and
    /// connections that it closed because of a limit.
    pub faults: Vec<(&'static str, u64)>,
    /// By release.
    pub releases: Vec<ReleaseMetrics>,
}

/// Numbers of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseMetrics {
    /// `namespace/name`.
    pub service: String,
    /// Its version.
    pub version: Version,
    /// Requests under way, those that wait included.
    pub in_flight: u32,
    /// Requests that wait for a place.
    pub waiting: u32,
    /// Answers by the first digit of their status, from 1xx to 5xx; upgrades are 1xx.
    pub answers: [u64; 5],
    /// Answers among them that the front end gave itself.
    pub refused: u64,
    /// Requests sent to another upstream after one failed.
    pub retries: u64,
    /// Requests that came by other front ends, which count their answers.
    pub inner: u64,
    /// Bytes of bodies from clients.
    pub bytes_in: u64,
    /// Bytes of bodies to clients.
    pub bytes_out: u64,
    /// Sum over all answers of the time from head to last byte.
    pub duration: Duration,
    /// By upstream, in the order of the plan.
    pub upstreams: Vec<UpstreamMetrics>,
}

/// Numbers of one upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamMetrics {
    /// Its name.
    pub name: String,
    /// Requests under way there.
    pub outstanding: u32,
    /// Requests that it was given, and those of them that failed there.
    pub requests: u64,
    /// See [`requests`](Self::requests).
    pub failures: u64,
    /// It takes requests: it answered that it is well, if it is asked; if it is another front end, that can be reached.
    pub is_ready: bool,
    /// It gets no new requests.
    pub is_draining: bool,
    /// Left alone for a while because of failures.
    pub is_ejected: bool,
}

impl Metrics {
    pub(crate) fn of(shared: &Shared) -> Self {
        let live = shared.current.get();
        let mut releases: Vec<ReleaseMetrics> = live.all_releases().map(|release| of_release(release)).collect();
        releases.sort_by(|a, b| (&a.service, &a.version).cmp(&(&b.service, &b.version)));
        Self {
            connections: shared.gauges.connections.load(Relaxed),
            accepted: shared.gauges.accepted.load(Relaxed),
            turned_away: shared.gauges.turned_away.load(Relaxed),
            refused: shared.gauges.refused.load(Relaxed),
            faults: shared.gauges.faults().into_iter().collect(),
            releases,
        }
    }
}

fn of_release(release: &ReleaseState) -> ReleaseMetrics {
    let counters = &release.load.counters;
    let upstreams = release.upstreams.iter().map(|upstream| UpstreamMetrics {
        name: upstream.plan.name.clone(),
        outstanding: upstream.load.outstanding.load(Relaxed),
        requests: upstream.load.given.load(Relaxed),
        failures: upstream.load.failures.load(Relaxed),
        is_ready: upstream.is_ready(),
        is_draining: upstream.plan.is_draining,
        is_ejected: upstream.load.is_ejected(),
    });
    ReleaseMetrics {
        service: release.service.to_string(),
        version: release.plan.version.clone(),
        in_flight: release.load.in_flight.load(Relaxed),
        waiting: release.load.waiting.load(Relaxed),
        answers: counters.answers.each_ref().map(|count| count.load(Relaxed)),
        refused: counters.refused.load(Relaxed),
        retries: counters.retries.load(Relaxed),
        inner: counters.inner.load(Relaxed),
        bytes_in: counters.bytes_in.load(Relaxed),
        bytes_out: counters.bytes_out.load(Relaxed),
        duration: Duration::from_micros(counters.micros.load(Relaxed)),
        upstreams: upstreams.collect(),
    }
}
