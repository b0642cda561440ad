//! What the exposition says, line by line, and that every metric is documented.

use std::time::Duration;

use refrain_wire::{ClusterId, GroupId, NodeId};

use super::*;

fn metrics() -> Metrics {
    Metrics::new(&Identity { cluster: ClusterId([1; 16]), node: NodeId(3), version: "1.2.3" })
}

/// The names of the metrics of an exposition, from their TYPE lines.
fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

#[test]
fn the_exposition_is_that_of_the_text_format() {
    let metrics = metrics();
    metrics.sequencer.fsync.observe(Duration::from_micros(12));
    metrics.sequencer.fsync.observe(Duration::from_millis(1));
    metrics.sequencer.fsync.observe(Duration::from_secs(11));
    metrics.sequencer.elections.inc();
    metrics.sequencer.term.set(5);
    let text = metrics.exposition();
    let cluster = "01".repeat(16);
    for line in [
        "# HELP refrain_fsync_seconds Syncs of the log to disk.",
        "# TYPE refrain_fsync_seconds histogram",
        r#"refrain_fsync_seconds_bucket{le="1e-05"} 0"#,
        r#"refrain_fsync_seconds_bucket{le="1.5e-05"} 1"#,
        r#"refrain_fsync_seconds_bucket{le="0.00068"} 1"#,
        r#"refrain_fsync_seconds_bucket{le="0.001"} 2"#,
        r#"refrain_fsync_seconds_bucket{le="10"} 2"#,
        r#"refrain_fsync_seconds_bucket{le="+Inf"} 3"#,
        "refrain_fsync_seconds_sum 11.001012",
        "refrain_fsync_seconds_count 3",
        "# TYPE refrain_elections_total counter",
        "refrain_elections_total 1",
        "refrain_term 5",
        "refrain_spans_dropped_total{at=\"queue\"} 0",
        &format!(r#"refrain_node_info{{cluster="{cluster}",node="3",version="1.2.3"}} 1"#),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with('\n') && !text.contains("# EOF"));
}

#[test]
fn handles_of_a_service_are_the_same_wherever_they_are_made_and_gone_when_it_is() {
    let metrics = metrics();
    let labels = ServiceLabels::new("examples/\"kv\"", GroupId(2));
    metrics.service(&labels).turn.observe(Duration::from_micros(20));
    metrics.service(&labels).turn.observe(Duration::from_micros(20));
    metrics.lag(&labels, Seat(1)).set(7);
    let text = metrics.exposition();
    let count = r#"refrain_turn_seconds_count{service="examples/\"kv\"",group="2"} 2"#;
    let lag = r#"refrain_replica_lag_positions{service="examples/\"kv\"",group="2",seat="1"} 7"#;
    assert!(text.contains(count) && text.contains(lag), "{text}");
    metrics.forget(&labels);
    assert!(!metrics.exposition().contains("kv"));
}

#[test]
fn services_beyond_the_limit_share_their_metrics() {
    let metrics = metrics();
    for group in 1..=SERVICES_MAX as u32 + 2 {
        metrics.service(&ServiceLabels::new("a/b", GroupId(group))).accepted.inc();
    }
    let text = metrics.exposition();
    let lines = text.lines().filter(|line| line.starts_with("refrain_connections_accepted_total{"));
    assert_eq!(lines.count(), SERVICES_MAX + 1);
    assert!(text.contains(r#"refrain_connections_accepted_total{service="(others)",group="0"} 2"#));
    // Who was there before keeps its own.
    metrics.service(&ServiceLabels::new("a/b", GroupId(1))).accepted.inc();
    assert!(metrics.exposition().contains(r#"refrain_connections_accepted_total{service="a/b",group="1"} 2"#));
}

#[test]
fn every_metric_has_a_row_in_the_documentation_and_no_row_is_left_over() {
    let documented = include_str!("../../../docs/operating.md");
    let metrics = metrics();
    let labels = ServiceLabels::new("a/b", GroupId(1));
    let _handles = (metrics.service(&labels), metrics.lag(&labels, Seat(0)));
    let text = metrics.exposition() + &http_exposition(&http::tests::example());
    let exposed = names(&text);
    assert!(exposed.len() > 30, "{exposed:?}");
    let rows: Vec<&str> = documented.lines().filter_map(|line| line.strip_prefix("| `refrain_")).collect();
    let rows: Vec<String> = rows.iter().filter_map(|row| Some(format!("refrain_{}", row.split_once('`')?.0))).collect();
    let missing: Vec<_> = exposed.iter().filter(|name| !rows.iter().any(|row| row == **name)).collect();
    let left: Vec<_> = rows.iter().filter(|row| !exposed.contains(&row.as_str())).collect();
    assert!(missing.is_empty() && left.is_empty(), "without a row: {missing:?}; not exposed: {left:?}");
}
