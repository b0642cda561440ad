//! Upgrades: bytes both ways between the client and an upstream at an address.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use refrain_front::Endpoint;

use crate::support::*;

const ASK: &str =
    "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

/// Changes the protocol and sends back what comes.
fn echo() -> SocketAddr {
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
