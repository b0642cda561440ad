//! What a collector gets: one whole trace of a batch from three nodes, and nothing that is replayed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use refrain_tests::wait;

use super::collector::{Collector, Received};
use super::{ALL, KV, site, three, write_keys};

/// The nodes that have a span of this name in a trace.
fn nodes_with(trace: &[Received], name: &str) -> Result<BTreeSet<u64>> {
    trace.iter().filter(|received| received.span.name == name).map(Received::node).collect()
}

/// Each span has an id of its own, and all but the root a parent that is there.
fn is_one_tree(trace: &[Received]) -> Result<()> {
    let ids: BTreeMap<&[u8], &str> =
        trace.iter().map(|received| (&received.span.span_id[..], &received.span.name[..])).collect();
    ensure!(ids.len() == trace.len(), "two spans have one id");
    let parents = BTreeMap::from([
        ("proxy.ingress", "batch"),
        ("sequencer.order", "batch"),
        ("engine.turn", "batch"),
        ("proxy.vote", "batch"),
        ("sequencer.append", "sequencer.order"),
        ("sequencer.fsync", "sequencer.order"),
        ("sequencer.replicate", "sequencer.order"),
        ("proxy.egress", "proxy.vote"),
    ]);
    for Received { span, .. } in trace {
        let parent = ids.get(&span.parent_span_id[..]).copied();
        ensure!(parent == parents.get(&span.name[..]).copied(), "{} is a part of {parent:?}", span.name);
        ensure!(span.end_time_unix_nano >= span.start_time_unix_nano, "{} ends before it begins", span.name);
    }
    Ok(())
}

#[test]
fn one_batch_makes_one_whole_trace_from_three_nodes() -> Result<()> {
    let collector = Collector::start()?;
    let variables = [&ALL[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]].concat();
    let cluster = three("whole-trace", &variables)?;
    let leader = cluster.leader()?;
    let proxy = cluster.ids().into_iter().find(|id| *id != leader).context("there are three nodes")?;
    write_keys(cluster.server(proxy), 20)?;
    let all = BTreeSet::from([1, 2, 3]);
    let (of_leader, of_proxy) = (BTreeSet::from([leader]), BTreeSet::from([proxy]));
    let expected = [
        ("batch", &of_leader),
        ("proxy.ingress", &of_proxy),
        ("sequencer.order", &of_leader),
        ("sequencer.replicate", &of_leader),
        ("sequencer.append", &all),
        ("sequencer.fsync", &all),
        ("engine.turn", &all),
        ("proxy.vote", &all),
        ("proxy.egress", &of_proxy),
    ];
    let is_whole = |trace: &[Received]| -> Result<bool> {
        let mut found = expected.iter().map(|(name, nodes)| Ok(nodes_with(trace, name)? == **nodes));
        found.try_fold(true, |all, one: Result<bool>| Ok(all && one?))
    };
    let whole = wait::until("a whole trace", || {
        let traces = collector.traces();
        let mut whole = traces.into_values().map(|trace| Ok(is_whole(&trace)?.then_some(trace)));
        whole.find_map(Result::transpose).transpose()
    })?;
    is_one_tree(&whole)?;
    ensure!(whole.len() == 3 * 4 + 5, "{} spans", whole.len());
    let seats: BTreeSet<u64> = whole.iter().filter_map(|received| received.number("refrain.seat").ok()).collect();
    ensure!(seats == BTreeSet::from([0, 1, 2]), "seats {seats:?}");
    for received in &whole {
        let said = |name: &str| received.resource.get(name).map(String::as_str);
        ensure!(said("service.name") == Some("lake"), "{:?}", received.resource);
        ensure!(said("refrain.node") == Some(received.node()?.to_string().as_str()), "{:?}", received.resource);
    }
    Ok(())
}

#[test]
fn what_is_replayed_after_a_restart_is_exported_by_nobody() -> Result<()> {
    let collector = Collector::start()?;
    let mut site = site("replayed", &[&ALL[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]].concat())?;
    site.variable("OTEL_RESOURCE_ATTRIBUTES", "run=first");
    let server = site.start()?;
    write_keys(&server, 50)?;
    let before = server.service(KV)?["position"].as_u64().context("a position")?;
    wait::until("the spans of all writes", || {
        let spans = collector.spans();
        let written = spans.iter().filter(|received| received.span.name == "proxy.egress").count();
        Ok((written >= 50).then_some(()))
    })?;
    server.kill()?;
    site.variable("OTEL_RESOURCE_ATTRIBUTES", "run=second");
    let server = site.start()?;
    server.until_equal(KV)?;
    write_keys(&server, 1)?;
    let after: Vec<Received> = wait::until("the span of the write after the restart", || {
        let mut spans = collector.spans();
        spans.retain(|received| received.resource.get("run").is_some_and(|run| run == "second"));
        Ok(spans.iter().any(|received| received.span.name == "proxy.egress").then_some(spans))
    })?;
    for received in after {
        let (name, position) = (&received.span.name, received.position()?);
        ensure!(position > before, "{name} of position {position} was told again; {before} was the last before");
    }
    let spans = collector.spans();
    let ids: BTreeSet<(&[u8], &[u8])> =
        spans.iter().map(|received| (&received.span.trace_id[..], &received.span.span_id[..])).collect();
    ensure!(ids.len() == spans.len(), "{} of {} spans came twice", spans.len() - ids.len(), spans.len());
    Ok(())
}

#[test]
fn a_collector_that_is_not_there_costs_clients_nothing_and_the_end_is_clean() -> Result<()> {
    let nobody = refrain_tests::ports::free()?;
    let url = format!("http://{nobody}");
    let site = site("no-collector", &[&ALL[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]].concat())?;
    let server = site.start()?;
    write_keys(&server, 100)?;
    wait::until("spans that were dropped", || {
        let dropped = super::exposition::scrape(&server)?.value(r#"refrain_spans_dropped_total{at="export"}"#)?;
        Ok((dropped > 0.0).then_some(()))
    })?;
    write_keys(&server, 100)?;
    server.terminate()
}

#[test]
fn a_variable_that_cannot_be_used_is_told_before_anything_starts() -> Result<()> {
    let variables = [("OTEL_TRACES_SAMPLER_ARG", "2"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector")];
    let said = site("bad-variables", &variables)?.refused()?;
    for (variable, _) in variables {
        ensure!(said.contains(variable), "{variable} is not in {said}");
    }
    Ok(())
}
