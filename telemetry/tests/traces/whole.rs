//! One trace made by several nodes: its ids, its tree, its times and what its spans say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use refrain_telemetry::trace::TraceIds;
use refrain_telemetry::{BatchTrace, Filter, Telemetry, Turn};
use refrain_wire::{GroupId, Incarnation, Position, Seat};

use crate::collector::{Collector, Manner};
use crate::{CLUSTER, GROUP, LONG, lasting, node, traced};

const AT: Position = Position(42);

fn trace(node: &Telemetry) -> BatchTrace<'_> {
    node.tracer().batch(GROUP, AT).expect("everything is traced")
}

fn turn(seat: u8, replaying: bool) -> Turn {
    Turn { seat: Seat(seat), incarnation: Incarnation(1), replaying, fuel: 1_000, memory_bytes: 65_536 }
}

/// Three nodes: the first leads and has a proxy, the others are members and run engines; so does the first.
fn run(nodes: &[Telemetry; 3], zero: Instant) {
    let [leader, second, third] = nodes;
    trace(leader).ingress(lasting(zero, 0, 2), 100);
    trace(leader).whole(lasting(zero, 2, 9), 3, 120);
    trace(leader).order(lasting(zero, 2, 3), 5);
    trace(leader).append(lasting(zero, 2, 1));
    trace(leader).fsync(lasting(zero, 3, 1));
    trace(leader).replicate(lasting(zero, 2, 3));
    trace(second).append(lasting(zero, 3, 1));
    trace(third).fsync(lasting(zero, 4, 1));
    for (seat, node) in nodes.iter().enumerate() {
        trace(node).turn(lasting(zero, 5, 4), turn(seat as u8, false));
        trace(node).turn(lasting(zero, 5, 4), turn(seat as u8, true));
    }
    trace(leader).vote(lasting(zero, 5, 5), 2, 0b101);
    trace(leader).egress(lasting(zero, 10, 1), 64);
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()
}

fn number(span: &Span, name: &str) -> i64 {
    match attribute(&span.attributes, name) {
        Some(Value::IntValue(number)) => *number,
        other => panic!("{name} of {} is {other:?}", span.name),
    }
}

/// Each span's name and node, and its parent's.
fn tree(spans: &[&Span]) -> BTreeMap<(String, i64), Option<(String, i64)>> {
    let named = |span: &Span| (span.name.clone(), number(span, "refrain.node"));
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), *span)).collect();
    assert_eq!(by_id.len(), spans.len(), "two spans have one id");
    let parent = |span: &Span| {
        let id = Some(span.parent_span_id.as_slice()).filter(|id| !id.is_empty())?;
        Some(named(by_id.get(id).expect("every parent is in the trace")))
    };
    spans.iter().map(|span| (named(span), parent(span))).collect()
}

#[test]
fn three_nodes_that_never_spoke_make_one_whole_trace() {
    let collector = Collector::start(Manner::Accept);
    let nodes = [1, 2, 3].map(|id| node(id, "1", Some(&collector.url), &[]));
    run(&nodes, Instant::now());
    for node in nodes {
        assert_eq!(node.shutdown(LONG).lost, 0);
    }
    let exports = collector.exports();
    let spans = Collector::spans(&exports);
    let id = TraceIds::new(CLUSTER).trace(GROUP, AT);
    assert!(spans.iter().all(|span| span.trace_id == id.0));

    let (batch, order) = (("batch".to_owned(), 1), ("sequencer.order".to_owned(), 1));
    let vote = ("proxy.vote".to_owned(), 1);
    let expected = [
        ("batch", 1, None),
        ("proxy.ingress", 1, Some(&batch)),
        ("sequencer.order", 1, Some(&batch)),
        ("sequencer.append", 1, Some(&order)),
        ("sequencer.fsync", 1, Some(&order)),
        ("sequencer.replicate", 1, Some(&order)),
        ("sequencer.append", 2, Some(&order)),
        ("sequencer.fsync", 3, Some(&order)),
        ("engine.turn", 1, Some(&batch)),
        ("engine.turn", 2, Some(&batch)),
        ("engine.turn", 3, Some(&batch)),
        ("proxy.vote", 1, Some(&batch)),
        ("proxy.egress", 1, Some(&vote)),
    ];
    let expected = expected.map(|(name, node, parent)| ((name.to_owned(), node), parent.cloned()));
    assert_eq!(spans.len(), expected.len(), "each span once");
    assert_eq!(tree(&spans), BTreeMap::from(expected));
}

#[test]
fn spans_say_when_how_long_and_what() {
    let collector = Collector::start(Manner::Accept);
    let node = node(9, "1", Some(&collector.url), &[("OTEL_RESOURCE_ATTRIBUTES", "place=here")]);
    let before = SystemTime::now();
    trace(&node).turn(lasting(Instant::now(), 0, 4), turn(2, false));
    trace(&node).vote(lasting(Instant::now(), 4, 1), 2, 0b101);
    assert!(node.flush(LONG));
    let exports = collector.exports();
    let spans = Collector::spans(&exports);
    let span = spans.iter().find(|span| span.name == "engine.turn").expect("it was recorded");
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 4_000_000);
    let nanos = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    assert!((nanos(before)..=nanos(SystemTime::now())).contains(&span.start_time_unix_nano));
    for (name, value) in [
        ("refrain.group", 7),
        ("refrain.position", 42),
        ("refrain.node", 9),
        ("refrain.seat", 2),
        ("refrain.incarnation", 1),
        ("refrain.fuel", 1_000),
        ("refrain.memory_bytes", 65_536),
    ] {
        assert_eq!(number(span, name), value, "{name}");
    }
    let vote = spans.iter().find(|span| span.name == "proxy.vote").expect("it was recorded");
    assert_eq!(number(vote, "refrain.quorum"), 2);
    let Some(Value::ArrayValue(seats)) = attribute(&vote.attributes, "refrain.seats") else { panic!("no seats") };
    let seat = |number| AnyValue { value: Some(Value::IntValue(number)) };
    assert_eq!(seats.values, [seat(0), seat(2)]);

    let resource = exports[0].request.resource_spans[0].resource.as_ref().expect("whose spans they are");
    let text = |name: &str| match attribute(&resource.attributes, name) {
        Some(Value::StringValue(text)) => text.as_str(),
        other => panic!("{name} is {other:?}"),
    };
    assert_eq!((text("service.name"), text("service.version"), text("place")), ("refrain", "0.0.1", "here"));
    assert_eq!(text("service.instance.id"), format!("{CLUSTER}/9"));
}

#[test]
fn requests_go_to_the_path_of_traces_with_the_operators_headers() {
    let collector = Collector::start(Manner::Accept);
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x");
    let node = node(1, "1", Some(&collector.url), &[headers]);
    trace(&node).append(lasting(Instant::now(), 0, 1));
    assert!(node.flush(LONG));
    let exports = collector.exports();
    assert_eq!(exports[0].path, "/v1/traces");
    let header = |name: &str| exports[0].headers.get(name).map(String::as_str);
    assert_eq!(header("content-type"), Some("application/x-protobuf"));
    assert_eq!(header("authorization"), Some("Bearer x"));
}

#[test]
fn all_nodes_trace_the_same_batches() {
    let nodes = [1, 2, 3].map(|id| node(id, "0.01", None, &[]));
    let [first, second, third] = nodes.each_ref().map(|node| traced(node, 20_000));
    assert!(first == second && second == third);
    let count = first.iter().filter(|traced| **traced).count();
    assert!((140..260).contains(&count), "{count} of 20,000 at 1 %");
    // A larger share takes these and more.
    let more = traced(&node(4, "0.1", None, &[]), 20_000);
    assert!(first.iter().zip(&more).all(|(few, many)| !few || *many));
}

#[test]
fn a_node_that_exports_nothing_still_shows_its_newest_spans() {
    let node = node(2, "1", None, &[]);
    trace(&node).vote(lasting(Instant::now(), 4, 1), 2, 0b101);
    trace(&node).append(lasting(Instant::now(), 0, 1));
    node.tracer().batch(GroupId(8), AT).expect("everything is traced").append(lasting(Instant::now(), 0, 1));
    assert!(node.flush(LONG));
    let shown = node.recent(&Filter { group: Some(GROUP), ..Filter::default() });
    let names: Vec<&str> = shown.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["sequencer.append", "proxy.vote"]);
    let ids: BTreeSet<&str> = shown.iter().map(|span| span.trace.as_str()).collect();
    assert_eq!(ids, BTreeSet::from([TraceIds::new(CLUSTER).trace(GROUP, AT).to_string().as_str()]));
    assert_eq!((shown[0].node, shown[0].position, shown[0].duration_nanos), (2, 42, 1_000_000));
}
