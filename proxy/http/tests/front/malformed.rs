//! HTTP/2 that breaks its rules: what would be another request once it is written as HTTP/1.1 reaches nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::Response;
use http_body_util::BodyExt;
use refrain_front::{Body, Cause, Refusal};

use crate::frames::*;
use crate::support::*;

/// How a request ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Status(u16),
    Reset(u32),
    Goaway(u32),
}
use Ends::{Goaway, Reset, Status};

/// Those that the front end answers with, from the static table; others are 0.
fn status(payload: &[u8]) -> u16 {
    let known = [200, 204, 206, 304, 400, 404, 500];
    payload.first().and_then(|byte| known.get(usize::from(*byte).checked_sub(0x88)?)).copied().unwrap_or(0)
}

fn ends(front: &refrain_front::Front, frames: &[u8]) -> Ends {
    let mut client = connect(front);
    client.send(frames);
    loop {
        let came = next(&mut client.0).expect("something is said");
        match came.kind {
            HEADERS => return Status(status(&came.payload)),
            RESET => return Reset(came.error()),
            GOAWAY => return Goaway(came.error()),
            _ => {}
        }
    }
}

/// One head with these lines instead of the plain ones.
fn whole(lines: &[(&[u8], &[u8])]) -> Vec<u8> {
    frame(HEADERS, END, 1, &fields(lines))
}

/// A plain one with another line.
fn with(name: &[u8], value: &[u8]) -> Vec<u8> {
    frame(HEADERS, END, 1, &head(b"GET", &[(name, value)]))
}

/// A `POST` of this length that has so many bytes.
fn body(length: &[u8], bytes: usize) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, 1, &head(b"POST", &[(b"content-length", length)]));
    [head, frame(DATA, END_STREAM, 1, &vec![b'x'; bytes])].concat()
}

const METHOD: (&[u8], &[u8]) = (b":method", b"GET");
const SCHEME: (&[u8], &[u8]) = (b":scheme", b"http");
const PATH: (&[u8], &[u8]) = (b":path", b"/");
const AUTHORITY: (&[u8], &[u8]) = (b":authority", b"a");

fn table() -> Vec<(Vec<u8>, Ends)> {
    vec![
        // Plain, as a check of the table.
        (asks(1), Status(200)),
        (with(b"x", b"y"), Status(200)),
        (body(b"3", 3), Status(200)),
        // What would end a line of HTTP/1.1, or is no name or value: no part of the table of the connection either.
        (with(b"x", b"y\r\nGET /in HTTP/1.1"), Goaway(PROTOCOL)),
        (with(b"x", b"y\nz: z"), Goaway(PROTOCOL)),
        (with(b"x", b"y\rz"), Goaway(PROTOCOL)),
        (with(b"x", b"y\0z"), Goaway(PROTOCOL)),
        (with(b"x: y\r\nz", b"z"), Goaway(PROTOCOL)),
        (with(b"x\n", b"z"), Goaway(PROTOCOL)),
        (with(b"x y", b"z"), Goaway(PROTOCOL)),
        (with(b"x:", b"z"), Goaway(PROTOCOL)),
        (with(b"", b"z"), Goaway(PROTOCOL)),
        (with(b"X", b"z"), Goaway(PROTOCOL)),
        (with(b":x", b"z"), Goaway(PROTOCOL)),
        (with(b"x\xff", b"z"), Goaway(PROTOCOL)),
        (whole(&[METHOD, SCHEME, (b":path", b"/ HTTP/1.1\r\nx: y"), AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[METHOD, SCHEME, (b":path", b"/ x"), AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[METHOD, SCHEME, (b":path", b"/\0"), AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[METHOD, SCHEME, PATH, (b":authority", b"a\r\nx: y")]), Reset(PROTOCOL)),
        (whole(&[(b":method", b"GET / HTTP/1.1\r\n"), SCHEME, PATH, AUTHORITY]), Goaway(PROTOCOL)),
        (whole(&[(b":method", b"GET /x"), SCHEME, PATH, AUTHORITY]), Goaway(PROTOCOL)),
        // Framing of another kind.
        (with(b"transfer-encoding", b"chunked"), Reset(PROTOCOL)),
        (with(b"connection", b"close"), Reset(PROTOCOL)),
        (with(b"upgrade", b"websocket"), Reset(PROTOCOL)),
        (with(b"keep-alive", b"1"), Reset(PROTOCOL)),
        (with(b"proxy-connection", b"1"), Reset(PROTOCOL)),
        (with(b"te", b"gzip"), Reset(PROTOCOL)),
        (with(b"te", b"trailers"), Status(200)),
        // Lengths that are not true, or none.
        (body(b"2", 3), Reset(PROTOCOL)),
        (body(b"4", 3), Reset(PROTOCOL)),
        (body(b"-3", 3), Reset(PROTOCOL)),
        (body(b"3, 3", 3), Reset(PROTOCOL)),
        (body(b"0x3", 3), Reset(PROTOCOL)),
        (with(b"content-length", b"1"), Reset(PROTOCOL)),
        // Lines that belong at the front, once.
        (whole(&[METHOD, SCHEME, AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[SCHEME, PATH, AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[METHOD, PATH, AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[METHOD, METHOD, SCHEME, PATH, AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[METHOD, SCHEME, PATH, PATH, AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[METHOD, SCHEME, (b"x", b"y"), PATH, AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[METHOD, SCHEME, PATH, AUTHORITY, (b":status", b"200")]), Reset(PROTOCOL)),
        (whole(&[METHOD, SCHEME, (b":path", b""), AUTHORITY]), Reset(PROTOCOL)),
        (whole(&[METHOD, SCHEME, (b":path", b"x"), AUTHORITY]), Reset(PROTOCOL)),
        // Hosts, as over HTTP/1.1.
        (whole(&[METHOD, SCHEME, PATH]), Status(400)),
        (whole(&[METHOD, SCHEME, PATH, (b":authority", b"")]), Reset(PROTOCOL)),
        (whole(&[METHOD, SCHEME, PATH, (b":authority", b"user@a")]), Status(400)),
        (whole(&[METHOD, SCHEME, PATH, AUTHORITY, (b"host", b"a")]), Status(200)),
        (whole(&[METHOD, SCHEME, PATH, AUTHORITY, (b"host", b"b")]), Status(400)),
        (whole(&[METHOD, SCHEME, PATH, (b"host", b"a"), (b"host", b"a")]), Status(400)),
        (whole(&[METHOD, SCHEME, (b":path", b"/../x"), AUTHORITY]), Status(400)),
        // Streams and frames out of their order.
        (asks(2), Goaway(PROTOCOL)),
        (asks(0), Goaway(PROTOCOL)),
        ([asks(3), asks(1)].concat(), Goaway(PROTOCOL)),
        (frame(DATA, END_STREAM, 1, b"x"), Goaway(PROTOCOL)),
        (frame(DATA, END_STREAM, 0, b"x"), Goaway(PROTOCOL)),
        (frame(CONTINUATION, END_HEADERS, 1, &head(b"GET", &[])), Goaway(PROTOCOL)),
        ([frame(HEADERS, 0, 1, &head(b"GET", &[])), asks(3)].concat(), Goaway(PROTOCOL)),
        ([frame(HEADERS, 0, 1, &head(b"GET", &[])), frame(PING, 0, 0, &[0; 8])].concat(), Goaway(PROTOCOL)),
        (frame(PUSH, END_HEADERS, 1, &[0, 0, 0, 2]), Goaway(PROTOCOL)),
        (frame(RESET, 0, 1, &CANCEL.to_be_bytes()), Goaway(PROTOCOL)),
        (frame(SETTINGS, 0, 1, &[]), Goaway(PROTOCOL)),
        (frame(HEADERS, END | PADDED, 1, &[255, 0x82]), Goaway(PROTOCOL)),
        // Tables of HPACK that do not exist.
        (frame(HEADERS, END, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Goaway(PROTOCOL)),
        (frame(HEADERS, END, 1, &[0xfe]), Goaway(PROTOCOL)),
        (frame(HEADERS, END, 1, &[0x80]), Goaway(PROTOCOL)),
        (frame(HEADERS, END, 1, &[0x3f, 0xe1, 0xff, 0x03]), Goaway(PROTOCOL)),
    ]
}

#[test]
fn what_breaks_the_rules_gets_its_error_and_reaches_nobody() {
    let whole = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&whole);
    let front = start(plan(handler(move |request| {
        let counted = Arc::clone(&counted);
        async move {
            if let Err(error) = request.into_body().collect().await {
                return Err(Refusal::begun(Cause::Broken(Box::new(error))));
            }
            counted.fetch_add(1, Relaxed);
            Ok(Response::new(Body::from("hello")))
        }
    })));
    let mut faults = Vec::new();
    for (frames, expected) in table() {
        let before = whole.load(Relaxed);
        let found = ends(&front, &frames);
        let reached = whole.load(Relaxed) - before;
        if found != expected || reached != usize::from(expected == Status(200)) {
            faults.push(format!("{found:?}, {reached} reached: {}", frames.escape_ascii()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(get(&front, "/").text(), "hello");
}
