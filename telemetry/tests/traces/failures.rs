//! A collector that is gone, refuses or hangs, and more spans than fit: the caller never waits, and all is counted.

use std::time::{Duration, Instant};

use refrain_telemetry::{Config, Filter, Identity, RECENT_SPANS, Telemetry};
use refrain_wire::{ClusterId, NodeId, Position};

use crate::collector::{Collector, Manner};
use crate::{GROUP, LONG, lasting, metric, node};

/// Records this many spans, one a batch; returns the longest time that one took.
fn record(node: &Telemetry, count: u64) -> Duration {
    let zero = Instant::now();
    let mut longest = Duration::ZERO;
    for position in 1..=count {
        let began = Instant::now();
        node.tracer().batch(GROUP, Position(position)).expect("all are traced").append(lasting(zero, 0, 1));
        longest = longest.max(began.elapsed());
    }
    longest
}

fn dropped(node: &Telemetry, at: &str) -> u64 {
    metric(node, &format!("refrain_spans_dropped_total{{at=\"{at}\"}}"))
}

#[test]
fn a_collector_that_hangs_holds_up_nobody_and_what_is_too_much_is_counted() {
    let collector = Collector::start(Manner::Hang);
    let limits = [("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")];
    let node = node(1, "1", Some(&collector.url), &limits);
    record(&node, 1);
    // The first is on its way now, for an hour.
    assert!(!node.flush(Duration::from_millis(100)));
    assert_eq!(Collector::spans(&collector.exports()).len(), 1);
    let longest = record(&node, 1_000);
    assert!(longest < Duration::from_secs(1), "a span took {longest:?}");
    // What is kept here does not wait for the collector.
    let deadline = Instant::now() + LONG;
    while node.recent(&Filter::default()).len() < 1_001 && Instant::now() < deadline {
        node.flush(Duration::from_millis(10));
    }
    assert_eq!((dropped(&node, "waiting"), dropped(&node, "queue")), (990, 0));
    assert_eq!(
        (metric(&node, "refrain_spans_recorded_total"), metric(&node, "refrain_spans_exported_total")),
        (1_001, 0)
    );
    let began = Instant::now();
    assert_eq!(node.shutdown(Duration::from_millis(10)).lost, 11);
    assert!(began.elapsed() < LONG);
}

#[test]
fn a_collector_that_is_gone_costs_the_spans_and_nothing_else() {
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound");
    let node = node(1, "1", Some(&format!("http://{gone}")), &[("OTEL_EXPORTER_OTLP_TIMEOUT", "200")]);
    record(&node, 5);
    assert!(node.flush(LONG));
    assert_eq!((dropped(&node, "export"), metric(&node, "refrain_export_failures_total")), (5, 1));
    assert_eq!(node.recent(&Filter::default()).len(), 5);
    assert_eq!(node.shutdown(LONG).lost, 0);
}

#[test]
fn a_collector_that_refuses_is_not_asked_again() {
    let collector = Collector::start(Manner::Refuse(400));
    let node = node(1, "1", Some(&collector.url), &[]);
    record(&node, 5);
    assert!(node.flush(LONG));
    assert_eq!(collector.exports().len(), 1);
    assert_eq!((dropped(&node, "export"), metric(&node, "refrain_export_failures_total")), (5, 1));
}

#[test]
fn more_spans_than_the_queue_takes_are_dropped_counted_and_never_waited_for() {
    let node = node(1, "1", None, &[]);
    const COUNT: u64 = 200_000;
    let longest = record(&node, COUNT);
    assert!(longest < Duration::from_secs(1), "a span took {longest:?}");
    assert!(node.flush(LONG));
    let recorded = metric(&node, "refrain_spans_recorded_total");
    assert_eq!(recorded + dropped(&node, "queue"), COUNT);
    assert_eq!(node.recent(&Filter::default()).len() as u64, recorded.min(RECENT_SPANS as u64));
}

#[test]
fn what_is_recorded_after_the_end_is_dropped_and_counted() {
    let node = node(1, "1", None, &[]);
    let (tracer, metrics) = (node.tracer().clone(), node.metrics().clone());
    assert_eq!(node.shutdown(LONG).lost, 0);
    // The thread gives up its end of the queue a moment after it said that it is done.
    for position in 1..=100_000 {
        tracer.batch(GROUP, Position(position)).expect("all are traced").append(lasting(Instant::now(), 0, 1));
    }
    assert!(!metrics.exposition().contains("refrain_spans_dropped_total{at=\"queue\"} 0\n"));
}

#[test]
fn the_environment_of_a_node_is_checked_before_anything_starts() {
    let error = Config::from_lookup(|name| (name == "OTEL_TRACES_SAMPLER_ARG").then(|| "many".to_owned()));
    assert_eq!(
        error.expect_err("it is no share").to_string(),
        "OTEL_TRACES_SAMPLER_ARG is \"many\"; it is a share from 0 to 1, such as 0.01"
    );
}

#[test]
fn a_node_that_traces_nothing_starts_no_threads_and_shows_nothing() {
    let identity = Identity { cluster: ClusterId([0; 16]), node: NodeId(1), version: "0.0.1" };
    let node = Telemetry::start(identity, &Config::off()).expect("there is nothing to start");
    assert!(node.tracer().batch(GROUP, Position(1)).is_none());
    assert!(node.flush(Duration::ZERO));
    assert!(node.recent(&Filter::default()).is_empty());
    assert_eq!(node.shutdown(Duration::ZERO).lost, 0);
}
