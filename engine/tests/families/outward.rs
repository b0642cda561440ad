//! Outward connections, datagrams and look-ups, through each family that has them.

use std::net::SocketAddr;

use bytes::Bytes;
use refrain_engine::TurnOutcome;
use refrain_wire::outward::FIRST_OUTWARD_SERIAL;
use refrain_wire::{CallFailure, EffectKind, Record, Serial, Target};

use crate::support::script::{OUTSIDE, Script, guest};
use crate::support::{data, sent};

const FIRST: u32 = FIRST_OUTWARD_SERIAL.0;
const VECTOR: u32 = 16;
const ADDRESS: u32 = 32;
const ADDRESS_BYTES: u32 = 64;
const DATA: u32 = 256;

fn connected(serial: u32) -> Record {
    Record::Connected { serial: Serial(serial), local: "198.51.100.1:40000".parse().unwrap() }
}

fn failed(serial: u32, failure: CallFailure) -> Record {
    Record::Failed { serial: Serial(serial), failure }
}

fn datagram(serial: u32, port: u16, peer: &str, bytes: &'static [u8]) -> Record {
    Record::Datagram { serial: Serial(serial), port, peer: peer.parse().unwrap(), bytes: Bytes::from_static(bytes) }
}

/// Where the guest connects to in this turn.
fn targets(outcome: &TurnOutcome) -> Vec<SocketAddr> {
    let connects = outcome.effects.effects.iter().filter(|effect| effect.entry.kind == EffectKind::Connect);
    connects.map(|effect| Target::decode(&effect.payload).unwrap().address).collect()
}

fn datagrams(outcome: &TurnOutcome) -> Vec<Vec<u8>> {
    let sent = outcome.effects.effects.iter().filter(|effect| effect.entry.kind == EffectKind::Datagram);
    sent.map(|effect| effect.payload.to_vec()).collect()
}

fn outside() -> SocketAddr {
    OUTSIDE.parse().unwrap()
}

/// The steps of a script before its first connect: socket in @0, an address of [`OUTSIDE`] at 32 in the family's form,
/// a vector at 16 with "ping".
fn prepared(family: &str) -> Script {
    let mut script = Script::default();
    script.buffer(VECTOR, DATA, 4).bytes(DATA, b"ping");
    match family {
        "v1" => {
            script.buffer(ADDRESS, ADDRESS_BYTES, 4).bytes(ADDRESS_BYTES, &[192, 0, 2, 9]);
            script.call("v1.sock_open", "1 2 0", 0)
        }
        "v2" => {
            script.buffer(ADDRESS, ADDRESS_BYTES, 128).bytes(ADDRESS_BYTES, &[1, 0, 192, 0, 2, 9]);
            script.call("v2.sock_open_v2", "1 2 0", 0)
        }
        "wasix" => {
            script.bytes(ADDRESS, &[1, 0, 0x38, 0x15, 192, 0, 2, 9]);
            script.call("wasix.sock_open", "1 1 6 0", 0)
        }
        _ => {
            script.bytes(ADDRESS, &[2, 0, 0x15, 0x38, 192, 0, 2, 9]);
            script.call("rc.sock_open", "2 1 0 0", 0)
        }
    };
    script
}

/// The function that connects and its arguments after the descriptor.
const CONNECTS: [(&str, &str, &str); 4] = [
    ("v1", "v1.sock_connect", "32 5432"),
    ("v2", "v2.sock_connect_v2", "32 5432"),
    ("wasix", "wasix.sock_connect", "32"),
    ("rc", "rc.sock_connect", "32 8"),
];

#[test]
fn a_connection_is_made_once_and_carries_bytes_both_ways() {
    for (family, connect, arguments) in CONNECTS {
        let mut script = prepared(family);
        script.call(connect, &format!("@0 {arguments}"), 0);
        if family == "rc" {
            script.call("rc.sock_send", "@0 256 4 0 520", 0).call("rc.sock_recv", "@0 256 4 0 520 0", 0);
        } else {
            script.call("sock_send", "@0 16 1 0 520", 0).call("sock_recv", "@0 16 1 0 520 524", 0);
        }
        script.expect(520, 4).expect_bytes(DATA, b"pong");
        let outcomes = script.run(guest(), &[vec![], vec![connected(FIRST)], vec![data(FIRST, b"pong")]]);
        assert_eq!(targets(&outcomes[0]), [outside()], "{family}");
        assert_eq!(targets(&outcomes[1]), [], "{family}");
        assert_eq!(sent(&outcomes[1]), b"ping", "{family}");
        let calls: Vec<u32> = outcomes.iter().map(|outcome| outcome.usage.outward).collect();
        assert_eq!(calls, [1, 1, 1, 0], "{family}: it ends in the last turn");
    }
}

#[test]
fn a_connection_that_is_refused_or_not_allowed_says_so_in_the_familys_numbers() {
    for (family, connect, arguments) in CONNECTS {
        let own = |errno| if family == "rc" { 1 } else { errno };
        let mut script = prepared(family);
        script.call(connect, &format!("@0 {arguments}"), own(14));
        match family {
            "wasix" => script.bytes(ADDRESS + 2, &[80, 0]).call(connect, "@0 32", 2),
            "rc" => script.bytes(ADDRESS + 2, &[0, 80]).call(connect, "@0 32 8", 1),
            _ => script.call(connect, "@0 32 80", 2),
        };
        let outcomes = script.run(guest(), &[vec![], vec![failed(FIRST, CallFailure::Refused)]]);
        assert_eq!(targets(&outcomes[1]), [], "{family}");
    }
}

#[test]
fn a_socket_that_does_not_wait_learns_by_its_option_what_came_of_its_connect() {
    for (family, connect, arguments, error, at) in [
        ("v1", "v1.sock_connect", "32 5432", ("v1.sock_getsockopt", "@0 0 2 512 516"), 512),
        // The length by value, as Go's library has it.
        ("v1", "v1.sock_connect", "32 5432", ("v1.sock_getsockopt", "@0 0 2 512 4"), 512),
        ("wasix", "wasix.sock_connect", "32", ("wasix.sock_get_opt_size", "@0 11 512"), 512),
    ] {
        let mut script = prepared(family);
        // A subscription to write at 600, events at 700, their number at 596.
        script.word(516, 4).bytes(608, &[2]);
        script.copy_descriptor(616);
        script
            .call("fd_fdstat_set_flags", "@0 4", 0)
            .call(connect, &format!("@0 {arguments}"), 26)
            .call(connect, &format!("@0 {arguments}"), 7)
            .call("poll_oneoff", "600 700 1 596", 0)
            .expect(596, 1)
            .call(error.0, error.1, 0)
            .expect(at, 73)
            .call(error.0, error.1, 0)
            .expect(at, 0);
        script.run(guest(), &[vec![], vec![failed(FIRST, CallFailure::TimedOut)]]);
    }
}

#[test]
fn datagrams_go_out_and_come_in_with_their_addresses() {
    let mut script = Script::default();
    script.buffer(VECTOR, DATA, 4).bytes(DATA, b"ping").buffer(ADDRESS, ADDRESS_BYTES, 4);
    script.bytes(ADDRESS_BYTES, &[192, 0, 2, 9]);
    script
        .call("v1.sock_open", "1 1 0", 0)
        .word(516, 4)
        .call("v1.sock_getsockopt", "@0 0 1 512 516", 0)
        .expect(512, 1)
        .call("v1.sock_send_to", "@0 16 1 32 5432 0 520", 0)
        .expect(520, 4)
        .buffer(ADDRESS, ADDRESS_BYTES, 128)
        // Longer than the buffer: the rest is gone, and said to be.
        .call("v2.sock_recv_from", "@0 16 1 32 0 532 520 528", 0)
        .expect(520, 4)
        .expect_bytes(528, &[1, 0])
        .expect(532, 5432)
        .expect_bytes(ADDRESS_BYTES, &[1, 0, 192, 0, 2, 9])
        .expect_bytes(DATA, b"pong")
        .call("wasix.sock_recv_from", "@0 16 1 1 520 528 800", 0)
        .expect_bytes(DATA, b"more")
        .expect_bytes(800, &[1, 0, 0x15, 0x38, 192, 0, 2, 9])
        .buffer(ADDRESS, ADDRESS_BYTES, 16)
        .call("v1.sock_recv_from", "@0 16 1 32 0 520 528", 0)
        .expect_bytes(DATA, b"more")
        .expect_bytes(ADDRESS_BYTES, &[192, 0, 2, 9]);
    let outcomes = script.run(
        guest(),
        &[vec![], vec![datagram(FIRST, 0, OUTSIDE, b"pong and more"), datagram(FIRST, 0, OUTSIDE, b"more")]],
    );
    assert_eq!(targets(&outcomes[0]), [outside()]);
    assert_eq!(datagrams(&outcomes[0]), [b"ping"]);
}

#[test]
fn a_datagram_server_answers_whoever_asked() {
    for family in ["v1", "wasix"] {
        let mut script = Script::default();
        script.buffer(VECTOR, DATA, 4).buffer(ADDRESS, ADDRESS_BYTES, 128);
        if family == "v1" {
            script
                .bytes(ADDRESS_BYTES, &[1, 0])
                .call("v1.sock_open", "1 1 0", 0)
                .call("v1.sock_bind", "@0 32 53", 0)
                .call("v2.sock_recv_from", "@0 16 1 32 0 532 520 528", 0)
                .expect(532, 999)
                .call("v2.sock_send_to_v2", "@0 16 1 32 999 0 520", 0);
        } else {
            script
                .bytes(800, &[1, 0, 53, 0])
                .call("wasix.sock_open", "1 2 17 0", 0)
                .call("wasix.sock_bind", "@0 800", 0)
                .call("wasix.sock_recv_from", "@0 16 1 0 520 528 800", 0)
                // What a host gives has its high byte first, what it takes its low one.
                .expect_bytes(802, &[3, 231])
                .bytes(802, &[231, 3])
                .call("wasix.sock_send_to", "@0 16 1 0 800 520", 0);
        }
        script.expect(520, 4);
        let outcomes = script.run(guest(), &[vec![], vec![datagram(5, 53, "203.0.113.4:999", b"ask?")]]);
        assert_eq!(datagrams(&outcomes[1]), [b"ask?"], "{family}");
        assert_eq!(targets(&outcomes[1]), [], "{family}");
    }
}

fn resolved(serial: u32, addresses: &[&str]) -> Record {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Record::Resolved { serial: Serial(serial), addresses }
}

/// A chain of two structures at 1000 and 1100, with addresses at 1200 and 1300 and room at 1400 and 1500.
fn chain(script: &mut Script) {
    script.bytes(256, b"db.example\x005432\x00").word(900, 1000);
    for (at, address, room, next) in [(1000, 1200, 1400, 1100), (1100, 1300, 1500, 0)] {
        script.word(at + 12, address).word(at + 24, next).word(address + 4, 26).word(address + 8, room);
    }
}

#[test]
fn names_are_looked_up_and_the_answer_is_in_the_familys_form() {
    let mut edge = Script::default();
    chain(&mut edge);
    edge.call("v1.sock_getaddrinfo", "256 11 267 5 0 900 2 904", 0)
        .expect(904, 2)
        .expect_bytes(1400, &[0x15, 0x38, 192, 0, 2, 7])
        .expect_bytes(1002, &[1, 2, 1])
        .expect_bytes(1506, &[0x20, 1, 0xd, 0xb8]);
    let mut wasix = Script::default();
    chain(&mut wasix);
    wasix
        .call("wasix.resolve", "256 10 0 1400 9 904", 0)
        .expect(904, 2)
        .expect_bytes(1400, &[1, 0, 192, 0, 2, 7])
        .expect_bytes(1418, &[2, 0, 0x20, 1, 0xd, 0xb8]);
    for script in [edge, wasix] {
        let outcomes = script.run(guest(), &[vec![], vec![resolved(FIRST, &["192.0.2.7", "2001:db8::1"])]]);
        let asked = outcomes[0].effects.effects.iter().find(|effect| effect.entry.kind == EffectKind::Resolve);
        assert_eq!(&asked.unwrap().payload[..], b"db.example");
    }
}

#[test]
fn names_that_do_not_exist_or_may_not_be_asked_for_are_told_apart() {
    let mut script = Script::default();
    chain(&mut script);
    script
        .call("v1.sock_getaddrinfo", "256 11 267 5 0 900 2 904", 84)
        .bytes(256, b"no")
        .call("v1.sock_getaddrinfo", "256 11 267 5 0 900 2 904", 2)
        .call("wasix.resolve", "256 10 0 1400 9 904", 2)
        // Numbers are answered at once; both empty, a bad service and no room are told by numbers of WasmEdge's own.
        .bytes(256, b"192.0.2.7\0")
        .call("wasix.resolve", "256 10 0 1400 1 904", 0)
        .expect(904, 1)
        .call("v1.sock_getaddrinfo", "256 11 267 5 0 900 2 904", 0)
        .expect(904, 1)
        .call("v1.sock_getaddrinfo", "0 0 0 0 0 900 2 904", 84)
        .call("v1.sock_getaddrinfo", "256 11 256 10 0 900 2 904", 85)
        .call("v1.sock_getaddrinfo", "256 11 267 5 0 900 0 904", 82)
        .call("v1.sock_getaddrinfo", "256 11 267 5 65530 900 2 904", 21)
        .bytes(700, &[0, 0, 2, 2, 0])
        .call("v1.sock_getaddrinfo", "256 11 267 5 700 900 2 904", 83)
        .bytes(702, &[3])
        .call("v1.sock_getaddrinfo", "256 11 267 5 700 900 2 904", 81);
    script.run(guest(), &[vec![], vec![failed(FIRST, CallFailure::NotFound)]]);
}
