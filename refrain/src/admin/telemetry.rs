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
use refrain_telemetry::metrics::CONTENT_TYPE;
use refrain_telemetry::{Filter, RECENT_SPANS, SLOW, TraceId};
use refrain_wire::GroupId;
use serde::Deserialize;

use super::{Admin, Answer, Failure};
use crate::shard::Command;

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
    let services = services(&admin).await?;
    let group = wanted.service.map(|name| {
        let found = services.iter().find(|(_, service)| **service == name).map(|(group, _)| GroupId(*group));
        found.ok_or_else(|| Failure::of(ErrorCode::ServiceNotFound, format!("no service is named {name}")))
    });
    let filter = Filter { trace: trace.transpose()?, group: group.transpose()?, position: None };
    let telemetry = &admin.telemetry;
    Ok(Json(Traces {
        node: admin.node.0,
        ratio: telemetry.ratio().get(),
        slow_millis: u64::try_from(SLOW.as_millis()).unwrap_or(u64::MAX),
        kept_spans: RECENT_SPANS as u64,
        traces: by_batch(telemetry.recent(&filter), &services, last),
    }))
}

/// The services that have groups here, by group.
async fn services(admin: &Admin) -> Result<BTreeMap<u32, String>, Failure> {
    let Json(status) = admin.ask(Command::Status).await?;
    let named = |name: String| name.split('@').next().unwrap_or_default().to_owned();
    let groups = status.services.into_iter().filter(|service| service.group > 0);
    Ok(groups.map(|service| (service.group, named(service.name))).collect())
}

/// The spans of the last batches, in the order in which the batches began.
fn by_batch(spans: Vec<Span>, services: &BTreeMap<u32, String>, last: usize) -> Vec<Trace> {
    let mut traces: Vec<Trace> = Vec::new();
    let mut places: BTreeMap<(u32, u64), usize> = BTreeMap::new();
    for span in spans {
        let at = *places.entry((span.group, span.position)).or_insert(traces.len());
        if at == traces.len() {
            let (trace, service) = (span.trace.clone(), services.get(&span.group).cloned());
            traces.push(Trace { trace, service, group: span.group, position: span.position, spans: Vec::new() });
        }
        traces[at].spans.push(span);
    }
    traces.drain(..traces.len().saturating_sub(last));
    traces
}

pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let measured = tokio::time::timeout(MEASURE_PATIENCE, admin.ask(Command::Measure)).await;
    if !matches!(measured, Ok(Ok(_))) {
        tracing::debug!("the loop thread did not answer: gauges are those of the last time");
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], admin.telemetry.metrics().exposition())
}
