//! Upgrades: bytes both ways between the client and an upstream at an address.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use refrain_front::Endpoint;

use crate::frames::*;
use crate::support::*;

pub const ASK: &str =
    "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

/// Changes the protocol and sends back what comes.
pub fn echo() -> SocketAddr {
    raw_upstream(|_, mut stream| {
        let head = read_head(&mut stream).to_lowercase();
        assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst")
            .unwrap();
        let mut chunk = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            stream.write_all(&chunk[..read]).unwrap();
        }
        stream.write_all(b"last").unwrap();
    })
}

#[test]
fn bytes_go_both_ways_after_an_upgrade_until_both_sides_have_ended() {
    let front = start(plan(Endpoint::Tcp(echo())));
    let mut client = Raw::to(&front);
    let answer = client.send(ASK).answer();
    assert_eq!(
        (answer.status(), answer.header("upgrade"), answer.header("connection")),
        (101, Some("websocket"), Some("upgrade"))
    );
    let read = |expected: &str, client: &mut Raw| {
        let mut got = vec![0; expected.len()];
        client.0.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), expected);
    };
    read("first", &mut client);
    // Neither is a message of HTTP any more.
    client.send("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n");
    read("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", &mut client);
    assert_eq!(front.metrics().connections, 1);
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"last");
    wait_until(|| front.metrics().connections == 0);
    assert_eq!(front.metrics().releases[0].answers[0], 1);
}

#[test]
fn an_upstream_may_decline_an_upgrade() {
    let front = start(plan(says("no")));
    let answer = Raw::to(&front).send(ASK).answer();
    assert_eq!((answer.status(), answer.text(), answer.header("upgrade")), (200, "no", None));
}

#[test]
fn a_101_that_nobody_asked_for_is_502() {
    let front = start(plan(Endpoint::Tcp(raw_upstream(|_, mut stream| {
        read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .unwrap();
    }))));
    assert_eq!(get(&front, "/").status(), 502);
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed() {
    let mut release = release("1.0.0", vec![Endpoint::Tcp(echo())]);
    release.limits.tunnel_idle = std::time::Duration::from_millis(50);
    let front = start(plan_of(release));
    let mut client = Raw::to(&front);
    assert_eq!(client.send(ASK).answer().status(), 101);
    assert_eq!(client.rest(), b"first");
}

/// An extended `CONNECT` for this protocol.
fn extended(stream: u32, protocol: &[u8]) -> Vec<u8> {
    let lines: [(&[u8], &[u8]); 6] = [
        (b":method", b"CONNECT"),
        (b":protocol", protocol),
        (b":scheme", b"http"),
        (b":path", b"/chat"),
        (b":authority", b"test"),
        (b"sec-websocket-version", b"13"),
    ];
    frame(HEADERS, END_HEADERS, stream, &fields(&lines))
}

#[test]
fn a_stream_of_http_2_carries_a_websocket() {
    let front = start(plan(Endpoint::Tcp(echo())));
    let mut client = connect(&front);
    let settings = next_of(&mut client, SETTINGS).payload;
    assert!(settings.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]), "it is offered: {settings:?}");
    client.send(extended(1, b"websocket"));
    let head = next_of(&mut client, HEADERS);
    assert_eq!((head.stream, head.payload[0], head.flags & END_STREAM), (1, 0x88, 0), "200, and it goes on");
    client.send(frame(DATA, 0, 1, b"there and back"));
    let mut got = Vec::new();
    while got.len() < "firstthere and back".len() {
        got.extend(next_of(&mut client, DATA).payload);
    }
    assert_eq!(got, b"firstthere and back");
    // The connection is still one of requests.
    client.send(extended(3, b"connect-udp"));
    assert_eq!(next_of(&mut client, HEADERS).stream, 3);
    client.send(frame(DATA, END_STREAM, 1, b""));
    let mut last = Vec::new();
    loop {
        let came = next_of(&mut client, DATA);
        if came.stream == 1 {
            last.extend(came.payload);
            if came.flags & END_STREAM != 0 {
                break;
            }
        }
    }
    assert_eq!(last, b"last");
    wait_until(|| front.metrics().releases[0].in_flight == 0);
    assert_eq!(front.metrics().releases[0].answers[0], 1);
}

#[test]
fn a_websocket_over_http_2_that_is_declined_opens_no_tunnel() {
    let front = start(plan(says("no")));
    let mut client = connect(&front);
    client.send(extended(1, b"websocket"));
    assert_ne!(next_of(&mut client, HEADERS).payload[0], 0x88);
    wait_until(|| front.metrics().releases[0].in_flight == 0);
}
