//! Times that go in, and the metrics and spans that come out.

use std::time::Duration;

use refrain_api::Span;
use refrain_wire::{ClusterId, NodeId};

use super::*;
use crate::{Config, Filter, Identity, Ratio, ServiceLabels, Telemetry};

const GROUP: GroupId = GroupId(4);

struct Proxy {
    telemetry: Telemetry,
    journeys: Journeys,
    zero: Instant,
}

impl Proxy {
    fn new() -> Self {
        let identity = Identity { cluster: ClusterId([2; 16]), node: NodeId(1), version: "0" };
        let config = Config { ratio: Ratio::ALL, ..Config::off() };
        let telemetry = Telemetry::start(identity, &config).expect("threads can be started");
        let mut journeys = Journeys::new(telemetry.tracer().clone());
        journeys.add(GROUP, telemetry.metrics().service(&ServiceLabels::new("a/b", GROUP)));
        Self { telemetry, journeys, zero: Instant::now() }
    }

    fn at(&self, millis: u64) -> Instant {
        self.zero + Duration::from_millis(millis)
    }

    fn has(&self, name: &str, value: &str) -> bool {
        let line = format!("refrain_{name}{{service=\"a/b\",group=\"4\"}} {value}\n");
        self.telemetry.metrics().exposition().contains(&line)
    }

    fn spans(&self) -> Vec<Span> {
        assert!(self.telemetry.flush(Duration::from_secs(60)));
        self.telemetry.recent(&Filter::default())
    }
}

#[test]
fn a_request_is_measured_from_its_first_byte_to_agreement() {
    let mut proxy = Proxy::new();
    let at = [1, 2, 4, 5, 9, 10].map(|millis| proxy.at(millis));
    let journeys = &mut proxy.journeys;
    journeys.read(GROUP, 70, at[0]);
    journeys.read(GROUP, 30, at[1]);
    journeys.submitted(GROUP, 1, 100, at[2]);
    // Goes out again after a change of leader.
    journeys.submitted(GROUP, 1, 100, at[3]);
    journeys.committed(GROUP, Position(8), Some(1), at[3]);
    journeys.agreed(GROUP, Position(8), 2, 0b11, at[4]);
    journeys.written(GROUP, Position(8), 64, at[4], || at[5]);
    assert!(proxy.has("end_to_end_seconds_sum", "0.008") && proxy.has("end_to_end_seconds_count", "1"));
    assert!(proxy.has("vote_wait_seconds_sum", "0.004") && proxy.has("vote_wait_seconds_count", "1"));
    assert!(proxy.has("received_bytes_total", "100") && proxy.has("sent_bytes_total", "64"));
    let spans = proxy.spans();
    let seen: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.duration_nanos / 1_000_000)).collect();
    assert_eq!(seen, [("proxy.ingress", 3), ("proxy.vote", 4), ("proxy.egress", 1)]);
    assert!(spans.iter().all(|span| span.position == 8));
}

#[test]
fn a_batch_without_anything_of_this_proxy_is_waited_for_and_has_no_begin() {
    let mut proxy = Proxy::new();
    let (committed, agreed) = (proxy.at(1), proxy.at(3));
    proxy.journeys.committed(GROUP, Position(8), None, committed);
    proxy.journeys.agreed(GROUP, Position(8), 2, 0b11, agreed);
    assert!(proxy.has("vote_wait_seconds_count", "1") && proxy.has("end_to_end_seconds_count", "0"));
}

#[test]
fn what_is_read_while_a_submission_is_on_its_way_belongs_to_the_next() {
    let mut proxy = Proxy::new();
    let at = [1, 2, 3, 5, 6].map(|millis| proxy.at(millis));
    let journeys = &mut proxy.journeys;
    journeys.read(GROUP, 1, at[0]);
    journeys.submitted(GROUP, 1, 1, at[0]);
    journeys.read(GROUP, 1, at[1]);
    journeys.committed(GROUP, Position(8), Some(1), at[2]);
    journeys.submitted(GROUP, 2, 1, at[2]);
    journeys.committed(GROUP, Position(9), Some(2), at[2]);
    // Agreement on one position says nothing of those before that were not agreed on for this proxy.
    journeys.agreed(GROUP, Position(9), 2, 0b11, at[3]);
    journeys.agreed(GROUP, Position(8), 2, 0b11, at[4]);
    assert!(proxy.has("end_to_end_seconds_sum", "0.003") && proxy.has("end_to_end_seconds_count", "1"));
}

#[test]
fn an_epoch_that_ends_leaves_nothing_under_way() {
    let mut proxy = Proxy::new();
    let now = proxy.at(1);
    let journeys = &mut proxy.journeys;
    journeys.read(GROUP, 1, now);
    journeys.submitted(GROUP, 1, 1, now);
    journeys.committed(GROUP, Position(8), Some(1), now);
    journeys.reset();
    journeys.agreed(GROUP, Position(8), 2, 0b11, now);
    assert!(proxy.has("vote_wait_seconds_count", "0"));
}

#[test]
fn the_oldest_is_forgotten_above_the_limit() {
    let mut proxy = Proxy::new();
    let now = proxy.at(1);
    for position in 1..=JOURNEYS_MAX as u64 + 1 {
        proxy.journeys.committed(GROUP, Position(position), None, now);
    }
    proxy.journeys.agreed(GROUP, Position(1), 2, 0b11, now);
    assert!(proxy.has("vote_wait_seconds_count", "0"));
    proxy.journeys.agreed(GROUP, Position(2), 2, 0b11, now);
    assert!(proxy.has("vote_wait_seconds_count", "1"));
}
