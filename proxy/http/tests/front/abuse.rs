//! Requests as attackers write them: smuggling, broken framing, too much of everything.

use std::io::Write;

use refrain_front::trial::converse;
use refrain_front::{Endpoint, Front};

use crate::support::*;

/// A last request, for an end to connections that are not closed.
const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n";

/// The statuses that a connection gets for these bytes and the last request, until it is closed, which it has to be.
fn statuses(front: &Front, bytes: &[u8]) -> Vec<u16> {
    let mut client = Raw::to(front);
    // What comes after a refusal may meet a connection that is closed already.
    let _ = client.0.write_all(&[bytes, LAST].concat());
    let text = String::from_utf8_lossy(&client.rest()).into_owned();
    text.split("HTTP/1.").skip(1).map(|answer| answer[2..5].parse().unwrap()).collect()
}

/// The statuses and that of the last request, if the connection goes on after them.
fn and_last(statuses: &[u16], bytes: &[u8]) -> Vec<u16> {
    let goes_on = matches!(statuses, [.., 200]) && !bytes.starts_with(b"GET / HTTP/1.0");
    [statuses, if goes_on { &[200] } else { &[] }].concat()
}

/// Bytes, and the statuses that they get. What is refused never reaches the handler.
const TABLE: &[(&str, &[u16])] = &[
    // Plain, as a check of the table.
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[200, 200]),
    ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
    ("GET / HTTP/1.0\r\n\r\n", &[200]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n", &[200]),
    // Two lengths, or a length and an encoding: refused, and what follows is not looked at.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\naGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[400],
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", &[400]),
    (
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        &[200, 400],
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\na", &[400]),
    // Encodings that another server might read otherwise.
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", &[501]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[501]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", &[400]),
    // Chunks.
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nab\n0\n\n", &[400]),
    // Header lines.
    ("GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a\r\n X: 1\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(: 1\r\n\r\n", &[400]),
    // Hosts.
    ("GET / HTTP/1.1\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", &[400]),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", &[400]),
    ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", &[400]),
    ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
    ("GET http://a/ HTTP/1.1\r\n\r\n", &[400]),
    ("GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    // Request lines.
    ("GET /\r\n\r\n", &[400]),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", &[400]),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", &[400]),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("get / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET /%x HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", &[405]),
    ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", &[405]),
    ("\x16\x03\x01\x02\0\x01\0\x01", &[400]),
    ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[400]),
];

#[test]
fn smuggling_and_broken_framing_get_their_status_and_nothing_more() {
    let front = start(plan(tells()));
    let faults: Vec<String> = TABLE
        .iter()
        .filter_map(|(bytes, expected)| {
            let found = statuses(&front, bytes.as_bytes());
            let expected = and_last(expected, bytes.as_bytes());
            (found != expected).then(|| format!("{bytes:?}: {found:?} instead of {expected:?}"))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(get(&front, "/").status(), 200);
}

#[test]
fn bytes_that_are_no_utf_8_are_refused_in_the_target_and_pass_in_a_header() {
    let front = start(plan(tells()));
    assert_eq!(statuses(&front, b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"), [400]);
    assert_eq!(statuses(&front, b"GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n"), [400]);
    assert_eq!(statuses(&front, b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n"), [200, 200]);
}

/// The statuses of a connection whose bytes come in pieces: the first one of so many bytes, then so many each.
fn statuses_in_pieces(bytes: &[u8], first: usize, step: usize) -> Vec<u16> {
    let bytes = [bytes, LAST].concat();
    let (one, others) = bytes.split_at(first);
    let pieces: Vec<&[u8]> = std::iter::once(one).chain(others.chunks(step)).collect();
    let text = String::from_utf8(converse(plan(says("x")), &pieces)).unwrap();
    text.split("HTTP/1.").skip(1).map(|answer| answer[2..5].parse().unwrap()).collect()
}

fn head_of(bytes: usize) -> String {
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
}

#[test]
fn a_head_of_the_limit_is_taken_and_a_longer_one_refused() {
    let front = start(plan(says("x")));
    let limit = settings(false).connection.head_bytes;
    assert_eq!(statuses(&front, head_of(limit).as_bytes()), [200, 200]);
    assert_eq!(statuses(&front, head_of(limit + 1).as_bytes()), [431]);
    assert_eq!(statuses(&front, head_of(8 * limit).as_bytes()), [431]);
    assert_eq!(statuses(&front, "GET / HTTP/1.1\r\nX: ".repeat(200_000).as_bytes()), [431]);
}

#[test]
fn the_limit_of_a_head_does_not_depend_on_its_pieces() {
    let limit = settings(false).connection.head_bytes;
    let (whole, long) = (head_of(limit), head_of(limit + 1));
    // Where a preface of HTTP/2 would end, where hyper's first read does, and around the limit itself.
    for first in [0, 1, 23, 24, 25, 8191, 8192, 8193, limit - 1, limit] {
        for step in [1, 24, 1024, 8192, 2 * limit] {
            assert_eq!(statuses_in_pieces(whole.as_bytes(), first, step), [200, 200], "{first}, then {step}");
            assert_eq!(statuses_in_pieces(long.as_bytes(), first, step), [431], "{first}, then {step}");
        }
    }
}

#[test]
fn each_head_of_a_connection_has_the_whole_limit() {
    let limit = settings(false).connection.head_bytes;
    let before = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n\r\n\r\n\r\n\r\nx";
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    for step in [1024, 8 * limit] {
        let whole = [before, &head_of(limit), chunked, "\r\n\n", &head_of(limit - 3)].concat();
        assert_eq!(statuses_in_pieces(whole.as_bytes(), 24, step), [200; 5], "{step}");
        let long = [before, &head_of(limit), chunked, "\r\n\n", &head_of(limit - 2)].concat();
        assert_eq!(statuses_in_pieces(long.as_bytes(), 24, step), [200, 200, 200, 431], "{step}");
    }
}

#[test]
fn a_hundred_headers_are_taken_and_101_refused() {
    let front = start(plan(says("x")));
    let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(count - 1));
    assert_eq!(statuses(&front, head(100).as_bytes()), [200, 200]);
    assert_eq!(statuses(&front, head(101).as_bytes()), [431]);
}

#[test]
fn a_target_of_8192_bytes_is_taken_and_a_longer_one_refused() {
    let front = start(plan(says("x")));
    let ask = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
    assert_eq!(statuses(&front, ask(8192).as_bytes()), [200, 200]);
    assert_eq!(statuses(&front, ask(8193).as_bytes()), [414]);
}

#[test]
fn an_answer_that_makes_no_sense_is_502() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 99 OK\r\n\r\n",
        "",
    ] {
        let front = start(plan(Endpoint::Tcp(raw_upstream(move |_, mut stream| {
            read_head(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
        }))));
        assert_eq!(ask(&front, "POST / HTTP/1.1\r\nHost: a\r\n\r\n").status(), 502, "{answer:?}");
    }
}
