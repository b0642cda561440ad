//! A process of its own, with variables in its environment and not in a table.

use std::process::Command;
use std::time::Instant;

use refrain_telemetry::{Config, Identity, Telemetry};
use refrain_wire::{NodeId, Position};

use crate::collector::{Collector, Manner};
use crate::{CLUSTER, GROUP, LONG, lasting};

const NAME: &str = "process::settings_come_from_the_environment_of_the_process";

/// What the child does: exports one span to whom its environment names.
fn export_one() {
    let identity = Identity { cluster: CLUSTER, node: NodeId(5), version: "0.0.1" };
    let config = Config::from_environment().expect("nothing is wrong with it");
    let node = Telemetry::start(identity, &config).expect("threads can be started");
    node.tracer().batch(GROUP, Position(3)).expect("all are traced").append(lasting(Instant::now(), 0, 1));
    assert_eq!(node.shutdown(LONG).lost, 0);
}

#[test]
fn settings_come_from_the_environment_of_the_process() {
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some_and(|url| url.to_string_lossy().ends_with("/child")) {
        return export_one();
    }
    let collector = Collector::start(Manner::Accept);
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args([NAME, "--exact"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/child", collector.url))
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-first=a%20b")
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "")
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        .env("OTEL_TRACES_SAMPLER", "always_on")
        .status();
    assert!(status.expect("it can be started").success());
    let exports = collector.exports();
    assert_eq!(exports.len(), 1);
    assert_eq!(exports[0].path, "/child/v1/traces");
    assert_eq!(exports[0].headers.get("x-first").map(String::as_str), Some("a b"));
    assert_eq!(Collector::spans(&exports).len(), 1);
}
