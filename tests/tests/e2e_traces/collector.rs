//! A collector: an HTTP server that takes OTLP and keeps the spans.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// A span as it came, with what its request said of the node.
#[derive(Clone, Debug)]
pub struct Received {
    pub span: Span,
    pub resource: BTreeMap<String, String>,
}

impl Received {
    /// A number that the span says.
    pub fn number(&self, name: &str) -> Result<u64> {
        let found = self.span.attributes.iter().find(|attribute| attribute.key == name);
        match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
            Some(Value::IntValue(number)) => Ok(u64::try_from(*number)?),
            other => anyhow::bail!("{name} of {} is {other:?}", self.span.name),
        }
    }

    /// The node that recorded it.
    pub fn node(&self) -> Result<u64> {
        self.number("refrain.node")
    }

    /// The batch's position.
    pub fn position(&self) -> Result<u64> {
        self.number("refrain.position")
    }
}

type Spans = Arc<Mutex<Vec<Received>>>;

/// A collector on a free port.
pub struct Collector {
    pub url: String,
    spans: Spans,
}

impl Collector {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let spans = Spans::default();
        let into = Arc::clone(&spans);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let into = Arc::clone(&into);
                std::thread::spawn(move || {
                    if let Err(error) = serve(&stream, &into) {
                        eprintln!("collector: {error:#}");
                    }
                });
            }
        });
        Ok(Self { url, spans })
    }

    /// Everything that was sent so far.
    pub fn spans(&self) -> Vec<Received> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans so far, by trace.
    pub fn traces(&self) -> BTreeMap<Vec<u8>, Vec<Received>> {
        let mut traces: BTreeMap<Vec<u8>, Vec<Received>> = BTreeMap::new();
        for received in self.spans() {
            traces.entry(received.span.trace_id.clone()).or_default().push(received);
        }
        traces
    }
}

/// Takes the requests of one connection until it is closed.
fn serve(stream: &TcpStream, into: &Spans) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read(&mut reader)? {
        for spans in request.resource_spans {
            let resource = texts(&spans.resource.context("spans of nobody")?.attributes);
            let received = spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let received = received.map(|span| Received { span, resource: resource.clone() });
            into.lock().unwrap_or_else(PoisonError::into_inner).extend(received);
        }
        (&mut &*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
    Ok(())
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some((attribute.key.clone(), text.clone())),
        Value::IntValue(number) => Some((attribute.key.clone(), number.to_string())),
        _ => None,
    };
    attributes.iter().filter_map(text).collect()
}

fn read(reader: &mut BufReader<TcpStream>) -> Result<Option<ExportTraceServiceRequest>> {
    let mut line = String::new();
    // A connection that breaks between requests has ended, too: nodes are killed.
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return Ok(None);
    }
    ensure!(line.starts_with("POST /v1/traces "), "{line}");
    let mut length = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse()?);
        }
    }
    let mut body = vec![0; length.context("an export has a length")?];
    reader.read_exact(&mut body)?;
    Ok(Some(ExportTraceServiceRequest::decode(&body[..])?))
}
