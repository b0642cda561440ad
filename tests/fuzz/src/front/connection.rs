//! A whole connection, of either protocol, against a handler that writes down what it gets.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::BodyExt;
use refrain_front::trial::converse;
use refrain_front::{Answering, Body, Cause, Endpoint, Handler, Plan, Refusal, Route, Service};

use super::routes::{named, release};
use super::{contract, reference};
use crate::input::Input;

/// The bytes by which HTTP/2 begins, and an empty frame of settings.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// More than a client can get that sends as little as a fuzzer.
const MOST_ANSWER_BYTES: usize = 16 << 20;

/// Bytes that come in pieces. Every request that reaches the handler keeps the contract; over HTTP/1.1 each that comes
/// whole is one that plain reading finds, in the same order. The connection ends, and its answers are bounded.
pub fn http_connection(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.below(4);
    let step = 1 + usize::from(input.byte());
    let bytes = if kind == 0 { [HTTP2, input.rest()].concat() } else { input.rest().to_vec() };
    let notes = Arc::new(Notes::default());
    let pieces: Vec<&[u8]> = if kind == 1 { vec![&bytes] } else { bytes.chunks(step).collect() };
    let answers = converse(plan(&notes), &pieces);
    assert!(answers.len() <= MOST_ANSWER_BYTES, "{} bytes of answers", answers.len());
    let fault = notes.fault.lock().expect("nobody panics").take();
    assert_eq!(fault, None);
    if bytes.starts_with(&HTTP2[..24]) {
        return;
    }
    let mut read = reference::read(&bytes).messages.into_iter();
    for (method, body) in notes.whole.lock().expect("nobody panics").drain(..) {
        let found = read.any(|message| message.method == method && message.body == body);
        assert!(found, "{method} with {:?} is not in {:?}", body.escape_ascii(), bytes.escape_ascii());
    }
}

fn plan(notes: &Arc<Notes>) -> Plan {
    let recorder = Endpoint::Handler(Arc::new(Recorder(Arc::clone(notes))));
    let service = Service { name: named(0), releases: vec![release(recorder)] };
    Plan { routes: vec![Route::to("/...", &named(0)).expect("a pattern")], services: vec![service], ..Plan::default() }
}

/// What came to the handler.
#[derive(Default)]
struct Notes {
    /// Method and body.
    whole: Mutex<Vec<(String, Vec<u8>)>>,
    fault: Mutex<Option<String>>,
}

/// Sends bodies back.
struct Recorder(Arc<Notes>);

impl Handler for Recorder {
    fn call(&self, request: Request<Body>) -> Answering {
        let notes = Arc::clone(&self.0);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            if let Some(fault) = contract::fault(&parts) {
                notes.fault.lock().expect("nobody panics").get_or_insert(fault);
            }
            match body.collect().await {
                Ok(collected) => {
                    let body = collected.to_bytes();
                    let whole = (parts.method.to_string(), body.to_vec());
                    notes.whole.lock().expect("nobody panics").push(whole);
                    Ok(Response::new(Body::from(body)))
                }
                Err(error) => Err(Refusal::begun(Cause::Broken(Box::new(error)))),
            }
        })
    }
}
