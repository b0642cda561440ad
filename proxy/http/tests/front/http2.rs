//! HTTP/2 with prior knowledge: many streams, and the floods that it is known for.

use std::io::Write;

use http_body_util::BodyExt;
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
