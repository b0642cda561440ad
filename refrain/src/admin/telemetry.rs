//! Traces and metrics for operators: `/v1/traces`, `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use refrain_api::{ErrorCode, Span, Trace, Traces};
use refrain_telemetry::metrics::{CONTENT_TYPE, http_exposition};
use refrain_telemetry::{Filter, RECENT_SPANS, SLOW, TraceId};
use refrain_wire::{GroupId, ShardId};
use serde::Deserialize;

use super::{Admin, Answer, Failure};
use crate::shard::Command;
use crate::shards::Handle;

/// How many batches are shown when nothing is said.
const DEFAULT_LAST: usize = 10;
/// How long the loop thread may take to bring gauges up to date before the last ones are told.
const MEASURE_PATIENCE: Duration = Duration::from_secs(2);

/// Which batches are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    service: Option<String>,
    trace: Option<String>,
    last: Option<usize>,
}

pub(super) async fn traces(
    State(admin): State<Arc<Admin>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer<Traces> {
    let bad = |text: String| Failure::of(ErrorCode::BadRequest, text);
    let Query(wanted) = wanted.map_err(|rejection| bad(rejection.body_text()))?;
    let last = wanted.last.unwrap_or(DEFAULT_LAST);
    if !(1..=RECENT_SPANS).contains(&last) {
        return Err(bad(format!("last is {last}, 1 to {RECENT_SPANS} batches can be shown")));
    }
    let trace = wanted.trace.map(|text| {
        let id = TraceId::parse(&text);
        id.ok_or_else(|| bad(format!("trace is {text:?}, 32 hexadecimal digits are needed, not all of them 0")))
    });
    let trace = trace.transpose()?;
    let mut traces = Vec::new();
    let mut is_known = wanted.service.is_none();
    for handle in admin.shards.iter() {
        let services = services(&admin, handle).await?;
        let group = services.iter().find(|(_, service)| Some(service.as_str()) == wanted.service.as_deref());
        let group = group.map(|(group, _)| GroupId(*group));
        is_known |= group.is_some();
        if wanted.service.is_none() || group.is_some() {
            let spans = handle.telemetry.recent(&Filter { trace, group, position: None });
            traces.extend(by_batch(spans, handle.id, &services));
        }
    }
    if !is_known {
        let name = wanted.service.unwrap_or_default();
        return Err(Failure::of(ErrorCode::ServiceNotFound, format!("no service is named {name}")));
    }
    // Those of several shards, one among another.
    traces.sort_by_key(|trace: &Trace| trace.spans.first().map(|span| span.start_micros));
    traces.drain(..traces.len().saturating_sub(last));
    Ok(Json(Traces {
        node: admin.node.0,
        ratio: admin.shards.first().telemetry.ratio().get(),
        slow_millis: u64::try_from(SLOW.as_millis()).unwrap_or(u64::MAX),
        kept_spans: RECENT_SPANS as u64,
        traces,
    }))
}

/// The services that have groups on a shard, by group.
async fn services(admin: &Admin, shard: &Handle) -> Result<BTreeMap<u32, String>, Failure> {
    let Json(status) = admin.ask(shard, Command::Status).await?;
    let named = |name: String| name.split('@').next().unwrap_or_default().to_owned();
    let groups = status.services.into_iter().filter(|service| service.group > 0);
    Ok(groups.map(|service| (service.group, named(service.name))).collect())
}

/// The spans of a shard's batches, in the order in which the batches began.
fn by_batch(spans: Vec<Span>, shard: ShardId, services: &BTreeMap<u32, String>) -> Vec<Trace> {
    let mut traces: Vec<Trace> = Vec::new();
    let mut places: BTreeMap<(u32, u64), usize> = BTreeMap::new();
    for span in spans {
        let at = *places.entry((span.group, span.position)).or_insert(traces.len());
        if at == traces.len() {
            let (trace, service) = (span.trace.clone(), services.get(&span.group).cloned());
            let (shard, group, position) = (shard.0, span.group, span.position);
            traces.push(Trace { trace, service, shard, group, position, spans: Vec::new() });
        }
        traces[at].spans.push(span);
    }
    traces
}

pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    for handle in admin.shards.iter() {
        let measured = tokio::time::timeout(MEASURE_PATIENCE, admin.ask(handle, Command::Measure)).await;
        if !matches!(measured, Ok(Ok(_))) {
            tracing::debug!("the loop thread did not answer: gauges are those of the last time");
        }
    }
    let told = |handle: &Handle| handle.telemetry.metrics().exposition();
    let text = match admin.shards.count() {
        1 => told(admin.shards.first()),
        _ => together(admin.shards.iter().map(|handle| (handle.id, told(handle)))),
    };
    let over_http = admin.http.status().map(|status| http_exposition(&status)).unwrap_or_default();
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text + &over_http)
}

/// The expositions of several shards as one: each sample says its shard, and those of a metric stand together, as the
/// format wants it.
fn together(shards: impl Iterator<Item = (ShardId, String)>) -> String {
    let mut families: Vec<(String, String)> = Vec::new();
    for (shard, text) in shards {
        let mut family = 0;
        for line in text.lines() {
            let name = line.strip_prefix("# HELP ").and_then(|rest| rest.split(' ').next());
            if let Some(name) = name {
                family = families.iter().position(|(known, _)| known == name).unwrap_or(families.len());
                if family == families.len() {
                    families.push((name.to_owned(), String::new()));
                }
            }
            let Some((_, told)) = families.get_mut(family) else { continue };
            match line.starts_with('#') {
                true if told.lines().any(|known| known == line) => {}
                true => told.extend([line, "\n"]),
                false => told.extend([&with_shard(line, shard), "\n"]),
            }
        }
    }
    families.into_iter().map(|(_, told)| told).collect()
}

/// A sample with a label more.
fn with_shard(sample: &str, shard: ShardId) -> String {
    match sample.find(['{', ' ']) {
        Some(at) if sample[at..].starts_with('{') => {
            format!("{}{{shard=\"{shard}\",{}", &sample[..at], &sample[at + 1..])
        }
        Some(at) => format!("{}{{shard=\"{shard}\"}}{}", &sample[..at], &sample[at..]),
        None => sample.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_several_shards_say_theirs_and_stand_together_by_metric() {
        let first = "# HELP a Help.\n# TYPE a counter\na_total 1\n# HELP b Help.\n# TYPE b gauge\nb{x=\"y\"} 2\n";
        let second = first.replace(" 1\n", " 3\n") + "# HELP c Help.\n# TYPE c gauge\nc 4\n";
        let text = together([(ShardId(0), first.to_owned()), (ShardId(1), second)].into_iter());
        let wanted = "# HELP a Help.\n# TYPE a counter\na_total{shard=\"0\"} 1\na_total{shard=\"1\"} 3\n\
                      # HELP b Help.\n# TYPE b gauge\nb{shard=\"0\",x=\"y\"} 2\nb{shard=\"1\",x=\"y\"} 2\n\
                      # HELP c Help.\n# TYPE c gauge\nc{shard=\"1\"} 4\n";
        assert_eq!(text, wanted);
    }
}
