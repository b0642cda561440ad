//! A collector: takes OTLP over HTTP and keeps what it was sent, or misbehaves as it was told to.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// What it does with a request.
#[derive(Clone, Copy)]
pub enum Manner {
    /// Takes it.
    Accept,
    /// Answers with this status.
    Refuse(u16),
    /// Reads it and never answers.
    Hang,
}

/// One request as it came.
pub struct Export {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub request: ExportTraceServiceRequest,
}

/// A collector on a free port.
pub struct Collector {
    pub url: String,
    exports: Receiver<Export>,
}

impl Collector {
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (sender, exports) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || serve(&stream, manner, &sender));
            }
        });
        Self { url, exports }
    }

    /// Everything that was sent so far; waits for the first.
    pub fn exports(&self) -> Vec<Export> {
        let first = self.exports.recv_timeout(Duration::from_secs(60)).expect("somebody exports");
        [first].into_iter().chain(self.exports.try_iter()).collect()
    }

    /// The spans of `exports`.
    pub fn spans(exports: &[Export]) -> Vec<&Span> {
        let resources = exports.iter().flat_map(|export| &export.request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans).collect()
    }
}

/// Serves one connection until it is closed.
fn serve(stream: &TcpStream, manner: Manner, sender: &Sender<Export>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let export = read(&mut reader)?;
        sender.send(export).ok()?;
        let status = match manner {
            Manner::Accept => 200,
            Manner::Refuse(status) => status,
            Manner::Hang => return reader.read_to_end(&mut Vec::new()).ok().map(drop),
        };
        let answer = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n");
        (&mut &*stream).write_all(answer.as_bytes()).ok()?;
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Export> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    assert!(line.starts_with("POST "), "{line}");
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.expect("an export has a length")];
    reader.read_exact(&mut body).ok()?;
    let request = ExportTraceServiceRequest::decode(&body[..]).expect("an export is OTLP");
    Some(Export { path, headers, request })
}
