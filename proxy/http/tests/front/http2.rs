//! HTTP/2 with prior knowledge: many streams, and the floods that it is known for.

use std::io::{Read, Write};
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use refrain_front::{Body, Front};

use crate::support::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET http://a/` by the static table, with `a` as a literal.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END: u8 = 0x05;

fn connect(front: &Front) -> Raw {
    let mut client = Raw::to(front);
    client.send(PREFACE).send(frame(SETTINGS, 0, 0, &[]));
    client
}

/// Sends this for ever, until the other side ends the connection; how many times is bounded.
fn flood(front: &Front, limit: usize, mut next: impl FnMut(usize) -> Vec<u8>) -> Vec<u8> {
    let mut client = connect(front);
    for number in 0..limit {
        if client.0.write_all(&next(number)).is_err() {
            return client.rest();
        }
    }
    client.rest()
}

/// The error of the GOAWAY frame in these bytes.
fn goaway(mut bytes: &[u8]) -> Option<u32> {
    while bytes.len() >= 9 {
        let length = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        let payload = bytes.get(9..9 + length)?;
        if bytes[3] == GOAWAY {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        bytes = &bytes[9 + length..];
    }
    None
}

#[test]
fn a_thousand_requests_over_one_connection_are_all_answered() {
    let front = start(plan(echoes()));
    block_on(async {
        let client = http2(address(&front)).await;
        let asked: Vec<_> = (0..1000)
            .map(|number| {
                let mut client = client.clone();
                tokio::task::spawn_local(async move {
                    client.ready().await.unwrap();
                    let sent = request("POST", "http://test/", Body::from(number.to_string()));
                    let response = client.send_request(sent).await.unwrap();
                    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), number.to_string());
                })
            })
            .collect();
        for one in asked {
            one.await.unwrap();
        }
    });
}

#[test]
fn the_authority_becomes_the_host_and_cookies_are_joined() {
    let front = start(plan(tells()));
    block_on(async {
        let mut sent = request("GET", "http://a.test:1/x", Body::empty());
        sent.headers_mut().remove("host");
        sent.headers_mut().append("cookie", "a=1".parse().unwrap());
        sent.headers_mut().append("cookie", "b=2".parse().unwrap());
        let response = http2(address(&front)).await.send_request(sent).await.unwrap();
        let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert!(text.starts_with("GET /x\n"), "{text}");
        assert!(text.contains("\nhost: a.test:1\n") && text.contains("\ncookie: a=1; b=2\n"), "{text}");
    });
}

#[test]
fn a_host_that_differs_from_the_authority_is_400() {
    let front = start(plan(tells()));
    block_on(async {
        let mut sent = request("GET", "http://other/", Body::empty());
        sent.headers_mut().insert("host", "test".parse().unwrap());
        let response = http2(address(&front)).await.send_request(sent).await.unwrap();
        assert_eq!(response.status(), 400);
    });
}

#[test]
fn head_over_http_2_has_the_length_and_no_body() {
    let front = start(plan(says("hello")));
    block_on(async {
        let sent = request("HEAD", "http://test/", Body::empty());
        let response = http2(address(&front)).await.send_request(sent).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["content-length"]), (200, &"5".parse().unwrap()));
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    });
}

#[test]
fn rapid_resets_end_the_connection() {
    let front = start(plan(echoes()));
    let rest = flood(&front, 100_000, |number| {
        let stream = u32::try_from(2 * number + 1).unwrap();
        [frame(HEADERS, END, stream, GET), frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    assert!(matches!(goaway(&rest), None | Some(11)), "{:?}", goaway(&rest));
    assert_eq!(get(&front, "/").status(), 200);
}

#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let front = start(plan(echoes()));
    flood(&front, 100_000, |number| match number {
        0 => frame(HEADERS, 0, 1, GET),
        _ => frame(CONTINUATION, 0, 1, &[0x00, 0x01, b'x', 0x01, b'y']),
    });
    assert_eq!(get(&front, "/").status(), 200);
}

#[test]
fn headers_above_the_limit_are_refused() {
    let front = start(plan(echoes()));
    block_on(async {
        let mut client = http2(address(&front)).await;
        let mut sent = request("GET", "http://test/", Body::empty());
        for number in 0..20 {
            sent.headers_mut()
                .insert(http::HeaderName::try_from(format!("x-{number}")).unwrap(), "x".repeat(4000).parse().unwrap());
        }
        let answered = client.send_request(sent).await;
        assert!(answered.is_err() || answered.is_ok_and(|response| response.status() == 431));
    });
    assert_eq!(get(&front, "/").status(), 200);
}

/// Settings and pings have to be answered, so that a client that reads nothing could make answers pile up.
#[test]
fn a_flood_of_settings_or_pings_that_reads_nothing_is_held_back() {
    for (kind, payload) in [(SETTINGS, &[][..]), (PING, &[0; 8][..])] {
        let front = start(plan(echoes()));
        let mut client = connect(&front);
        client.0.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let frames = frame(kind, 0, 0, payload).repeat(1000);
        let mut sent: usize = 0;
        while let Ok(written) = client.0.write(&frames) {
            sent += written;
            assert!(sent < 64 << 20, "it takes more than 64 MiB");
        }
        assert_eq!(get(&front, "/").status(), 200);
    }
}

#[test]
fn a_frame_that_makes_no_sense_ends_the_connection() {
    let front = start(plan(echoes()));
    let mut client = connect(&front);
    client.send(frame(HEADERS, END, 2, GET));
    assert_eq!(goaway(&client.rest()), Some(1));
}

/// Reads frames until one is of this kind, and returns its stream and payload.
fn next_of(client: &mut Raw, kind: u8) -> (u32, Vec<u8>) {
    loop {
        let mut head = [0; 9];
        client.0.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        client.0.read_exact(&mut payload).unwrap();
        if head[3] == kind {
            return (u32::from_be_bytes(head[5..].try_into().unwrap()), payload);
        }
    }
}

/// `SETTINGS_INITIAL_WINDOW_SIZE` of 0: not a byte of an answer may come.
const SHUT: &[u8] = &[0, 4, 0, 0, 0, 0];
const CANCEL: [u8; 4] = [0, 0, 0, 8];

#[test]
fn a_stream_whose_window_stays_shut_is_ended_and_the_connection_is_not() {
    let mut settings = settings(false);
    settings.connection.write_idle = Duration::from_millis(50);
    let front = Front::start(&settings, plan(says("hello"))).unwrap();
    let mut client = Raw::to(&front);
    client.send(PREFACE).send(frame(SETTINGS, 0, 0, SHUT)).send(frame(HEADERS, END, 1, GET));
    assert_eq!(next_of(&mut client, RESET), (1, CANCEL.to_vec()));
    wait_until(|| front.metrics().releases[0].in_flight == 0);
    client.send(frame(PING, 0, 0, b"12345678"));
    assert_eq!(next_of(&mut client, PING), (0, b"12345678".to_vec()));
}

#[test]
fn the_whole_exchange_has_an_end_though_the_window_is_shut() {
    let mut release = release("1.0.0", vec![says("hello")]);
    release.limits.total = Some(Duration::from_millis(50));
    let front = start(plan_of(release));
    let mut client = Raw::to(&front);
    client.send(PREFACE).send(frame(SETTINGS, 0, 0, SHUT)).send(frame(HEADERS, END, 1, GET));
    assert_eq!(next_of(&mut client, RESET), (1, CANCEL.to_vec()));
}

#[test]
fn an_answer_of_many_pieces_comes_through_a_small_window() {
    let body: Vec<u8> = (0..1_000_001_u32).map(|number| number.to_le_bytes()[number as usize % 4]).collect();
    let sent = body.clone();
    let front = start(plan(handler(move |_| std::future::ready(Ok(Response::new(Body::from(sent.clone())))))));
    block_on(async {
        let stream = tokio::net::TcpStream::connect(address(&front)).await.unwrap();
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1000).initial_connection_window_size(70_000);
        let (mut client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let response = client.send_request(request("GET", "http://test/", Body::empty())).await.unwrap();
        assert_eq!(response.headers()["content-length"], "1000001");
        assert!(response.into_body().collect().await.unwrap().to_bytes() == body);
    });
}
