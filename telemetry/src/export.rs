//! Export by OTLP over HTTP, with the exporter of `opentelemetry-otlp` and a client that blocks its own thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, SpanId, TraceId, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use parking_lot::Mutex;
use refrain_api::Attribute;

use crate::collect::Collected;
use crate::config::{Config, Endpoint};
use crate::metrics::ExportMetrics;
use crate::telemetry::Identity;
use crate::trace::{Finished, Stage, attributes};

/// The most bytes of an answer that are read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Exports spans to one collector.
pub(crate) struct Exporter {
    inner: SpanExporter,
    scope: InstrumentationScope,
    url: String,
    client: Client,
}

impl Exporter {
    pub(crate) fn new(endpoint: &Endpoint, config: &Config, identity: &Identity) -> Result<Self, ExporterBuildError> {
        let client = Client::new(endpoint);
        let headers: HashMap<String, String> = endpoint.headers.iter().cloned().collect();
        let mut inner = SpanExporter::builder()
            .with_http()
            .with_http_client(client.clone())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&endpoint.url)
            .with_timeout(endpoint.timeout)
            .with_headers(headers)
            .build()?;
        inner.set_resource(&resource(config, identity));
        let scope = InstrumentationScope::builder("refrain").with_version(identity.version).build();
        Ok(Self { inner, scope, url: endpoint.url.clone(), client })
    }

    /// The exporting thread: one request after the other until the end.
    pub(crate) fn run(&self, collected: &Collected, metrics: &ExportMetrics) {
        let mut failing = false;
        while let Some(batch) = collected.next_batch() {
            let count = batch.len() as u64;
            match self.export(&batch) {
                Ok(()) => {
                    metrics.exported.inc_by(count);
                    if std::mem::take(&mut failing) {
                        tracing::info!(url = self.url, "spans are exported again");
                    }
                }
                Err(error) => {
                    metrics.failures.inc();
                    metrics.dropped_in_export.inc_by(count);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(url = self.url, error, spans = count, "spans could not be exported");
                    }
                }
            }
        }
    }

    fn export(&self, batch: &[Finished]) -> Result<(), String> {
        let spans = batch.iter().map(|span| self.span(span)).collect();
        let outcome = futures_executor::block_on(self.inner.export(spans));
        let cause = self.client.last_error.lock().take();
        outcome.map_err(|error| cause.unwrap_or_else(|| error.to_string()))
    }

    fn span(&self, span: &Finished) -> SpanData {
        let (trace, id) = (TraceId::from_bytes(span.trace.0), SpanId::from_bytes(span.span.0));
        let stage = span.detail.stage();
        SpanData {
            span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.0)),
            parent_span_is_remote: false,
            span_kind: if stage == Stage::Ingress { SpanKind::Server } else { SpanKind::Internal },
            name: stage.name().into(),
            start_time: span.start,
            end_time: span.start.checked_add(span.duration).unwrap_or(SystemTime::UNIX_EPOCH),
            attributes: attributes(span).into_iter().map(|(name, value)| KeyValue::new(name, of(value))).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn of(attribute: Attribute) -> Value {
    // OTLP knows signed numbers only.
    let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
    match attribute {
        Attribute::Number(number) => Value::I64(signed(number)),
        Attribute::Numbers(numbers) => Value::Array(Array::I64(numbers.into_iter().map(signed).collect())),
    }
}

/// What is said of everything that this process exports. The operator's attributes go over our own.
fn resource(config: &Config, identity: &Identity) -> Resource {
    let ours = [
        KeyValue::new("service.name", config.service_name.clone()),
        KeyValue::new("service.version", identity.version),
        KeyValue::new("service.instance.id", format!("{}/{}", identity.cluster, identity.node)),
        KeyValue::new("refrain.cluster", identity.cluster.to_string()),
        KeyValue::new("refrain.node", i64::try_from(identity.node.0).unwrap_or(i64::MAX)),
    ];
    let theirs = config.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty().with_attributes(ours).with_attributes(theirs).build()
}

/// An HTTP client that blocks; what went wrong last is kept, as the exporter does not tell.
#[derive(Clone, Debug)]
struct Client {
    agent: ureq::Agent,
    last_error: Arc<Mutex<Option<String>>>,
}

impl Client {
    fn new(endpoint: &Endpoint) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(endpoint.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Self { agent: config.new_agent(), last_error: Arc::default() }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (parts, body) = request.into_parts();
        let (parts, mut body) = self.agent.run(Request::from_parts(parts, &body[..]))?.into_parts();
        let body = body.with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let outcome = self.send(request);
        *self.last_error.lock() = outcome.as_ref().err().map(ToString::to_string);
        Ok(outcome?)
    }
}
