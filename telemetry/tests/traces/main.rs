//! Traces from outside: nodes that know nothing of each other, and a collector that they export to.

mod collector;
mod failures;
mod process;
mod whole;

use std::time::{Duration, Instant};

use refrain_telemetry::{Config, Identity, Interval, Telemetry};
use refrain_wire::{ClusterId, GroupId, NodeId, Position};

const CLUSTER: ClusterId = ClusterId(*b"cluster of tests");
const GROUP: GroupId = GroupId(7);
/// Long enough for a loaded machine; nothing waits so long when all is well.
const LONG: Duration = Duration::from_secs(60);

/// A node of the cluster that traces this share and exports to `url`; more variables in `others`.
fn node(id: u64, share: &str, url: Option<&str>, others: &[(&str, &str)]) -> Telemetry {
    let config = Config::from_lookup(|name| match name {
        "OTEL_TRACES_SAMPLER_ARG" => Some(share.to_owned()),
        "OTEL_EXPORTER_OTLP_ENDPOINT" => url.map(str::to_owned),
        _ => others.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()),
    });
    let identity = Identity { cluster: CLUSTER, node: NodeId(id), version: "0.0.1" };
    Telemetry::start(identity, &config.expect("nothing is wrong with it")).expect("threads can be started")
}

/// A stage that lasted from so many milliseconds after `zero` for so many.
fn lasting(zero: Instant, after: u64, millis: u64) -> Interval {
    let from = zero + Duration::from_millis(after);
    Interval { from, to: from + Duration::from_millis(millis) }
}

/// The value of a metric that has one line.
fn metric(node: &Telemetry, line: &str) -> u64 {
    let text = node.metrics().exposition();
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{line} is not in\n{text}"))
}

/// The first batches of the group, and whether `node` traces each.
fn traced(node: &Telemetry, count: u64) -> Vec<bool> {
    (1..=count).map(|position| node.tracer().batch(GROUP, Position(position)).is_some()).collect()
}
