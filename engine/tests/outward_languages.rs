//! Guests in C, C++, Rust and Go, as modules, and in Rust as a component, that call outside: two replicas are equal turn by
//! turn, with look-ups, connections, datagrams, timers and random numbers in what they are given, and a third that is given
//! the same later is equal to them.
//!
//! C and C++ call by `sdk/c`, Rust by WasmEdge's crate, and as a component by `std::net`. Go's standard library has no calls
//! outward under `GOOS=wasip1`: its guest imports WasmEdge's by itself.

mod support;

use std::process::Command;

use bytes::Bytes;
use refrain_engine::{TurnBatch, TurnOutcome};
use refrain_kernel::Outbound;
use refrain_kernel::config::GuestConfig;
use refrain_kernel::outbound::{Host, IpRange, PortRange, Rule};
use refrain_wire::{Control, EffectKind, FlowId, Protocol, Record, Serial, Target};
use support::{LIMITS, Rig, blueprint, config, data, exit_reason, lines, platform};

const PORT: u16 = 5432;
const ADDRESS: &str = "192.0.2.9";
/// Turns that the guests may need.
const PATIENCE_TURNS: usize = 200;

/// The module of this name that the script of a folder of the tests builds, given these arguments; none where it cannot be
/// built here.
fn built(guests: &str, arguments: &[&str], name: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let build = format!("{}/../tests/guests/{guests}/build", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(build).arg(folder.path()).args(arguments).output().expect("the script can be run");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let module = std::fs::read(folder.path().join(name)).ok();
    assert!(module.is_some() || std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{name}: {told}");
    if module.is_none() {
        eprintln!("skipped: {guests}/{name} cannot be built here");
    }
    module
}

/// A guest that may look up `db.example` and call what it is.
fn guest() -> GuestConfig {
    let rule = |host, protocol| Rule { host, ports: PortRange::one(PORT), protocol, proxy_header: None };
    let range = || Host::Range(IpRange::one(ADDRESS.parse().unwrap()));
    let rules = vec![
        rule(range(), Protocol::Tcp),
        rule(range(), Protocol::Udp),
        rule(Host::name("db.example").unwrap(), Protocol::Tcp),
    ];
    GuestConfig { ports: Vec::new(), outbound: Outbound::new(rules), ..config() }
}

/// What the outside answers to a turn: a name has one address, a connection is made and says what it was told, and is at
/// its end when its other side is; a datagram comes back in capitals.
fn answers(outcome: &TurnOutcome) -> Vec<Record> {
    let mut records = Vec::new();
    for effect in &outcome.effects.effects {
        let serial = effect.entry.flow.map_or(Serial(0), |flow: FlowId| flow.serial);
        match effect.entry.kind {
            EffectKind::Resolve => {
                records.push(Record::Resolved { serial, addresses: vec![ADDRESS.parse().unwrap()] });
            }
            EffectKind::Connect => {
                let target = Target::decode(&effect.payload).expect("the kernel's own");
                assert_eq!(target.address, format!("{ADDRESS}:{PORT}").parse().unwrap());
                if target.protocol == Protocol::Tcp {
                    records.push(Record::Connected { serial, local: "198.51.100.1:40000".parse().unwrap() });
                }
            }
            EffectKind::Bytes => records.push(data(serial.0, &effect.payload)),
            EffectKind::Finish => records.push(Record::Shutdown(serial)),
            EffectKind::Datagram => records.push(Record::Datagram {
                serial,
                port: 0,
                peer: format!("{ADDRESS}:{PORT}").parse().unwrap(),
                bytes: Bytes::from(effect.payload.to_ascii_uppercase()),
            }),
            _ => {}
        }
    }
    records
}

fn same(one: &TurnOutcome, two: &TurnOutcome) {
    assert_eq!(one.effects, two.effects);
    assert_eq!((&one.votes, one.after, one.wants, one.fuel), (&two.votes, two.after, two.wants, two.fuel));
}

fn replays_alike(module: &[u8]) {
    let blueprint = blueprint(&platform(), module, guest(), LIMITS);
    let (mut one, mut two) = (Rig::new(blueprint.clone(), 0), Rig::new(blueprint.clone(), 1));
    let mut log: Vec<(TurnBatch, TurnOutcome)> = Vec::new();
    let (mut records, mut told) = (Vec::new(), Vec::new());
    let end = loop {
        assert!(log.len() < PATIENCE_TURNS, "it said {told:?}");
        // Time passes, so that timers are due some turns later.
        one.micros += 10_000;
        records.push(Record::Control(Control::Audit));
        let batch = one.batch(&records);
        let outcome = one.replica.turn(&batch).expect("the host is well");
        same(&outcome, &two.replica.turn(&batch).expect("the host is well"));
        told.extend(lines(&outcome));
        records = answers(&outcome);
        let ended = exit_reason(&outcome);
        log.push((batch, outcome));
        if let Some(reason) = ended {
            break reason;
        }
    };
    assert_eq!((end.as_str(), told.len()), ("exited with code 0", 3), "{told:?}");
    for (round, line) in told.iter().enumerate() {
        assert!(line.contains(&format!("round {round} PING {round} ")), "{line}");
    }
    let random = |line: &str| line.rsplit(' ').nth(1).map(str::to_owned);
    assert!(random(&told[0]) != random(&told[1]), "{told:?}");
    let mut third = Rig::new(blueprint, 2);
    for (batch, outcome) in &log {
        same(outcome, &third.replica.turn(batch).expect("the host is well"));
    }
}

#[test]
fn a_program_in_c_that_calls_outside_replays_alike() {
    built("sockets", &["c-outward"], "c-outward.wasm").iter().for_each(|module| replays_alike(module));
}

#[test]
fn a_program_in_cpp_that_calls_outside_replays_alike() {
    built("sockets", &["cpp-outward"], "cpp-outward.wasm").iter().for_each(|module| replays_alike(module));
}

#[test]
fn a_program_in_rust_that_calls_outside_replays_alike() {
    built("sockets", &["edge"], "edge-outward.wasm").iter().for_each(|module| replays_alike(module));
}

#[test]
fn a_program_in_go_that_calls_outside_replays_alike() {
    built("sockets", &["go-outward"], "go-outward.wasm").iter().for_each(|module| replays_alike(module));
}

#[test]
fn a_component_in_rust_that_calls_outside_replays_alike() {
    built("preview2", &[], "outward.wasm").iter().for_each(|module| replays_alike(module));
}

#[test]
fn a_look_up_of_a_component_does_not_wait_for_the_answer_of_another() {
    let Some(module) = built("interfaces", &[], "interfaces.wasm") else { return };
    let rule = |name| Rule {
        host: Host::name(name).unwrap(),
        ports: PortRange::one(PORT),
        protocol: Protocol::Tcp,
        proxy_header: None,
    };
    let guest = GuestConfig {
        args: ["interfaces", "lookups"].map(|argument| argument.as_bytes().to_vec()).to_vec(),
        outbound: Outbound::new(vec![rule("one.example"), rule("two.example")]),
        ..guest()
    };
    let mut rig = Rig::new(blueprint(&platform(), &module, guest, LIMITS), 0);
    let (mut records, mut told, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PATIENCE_TURNS {
        let batch = rig.batch(&records);
        let outcome = rig.replica.turn(&batch).expect("the host is well");
        told.extend(lines(&outcome));
        if let Some(reason) = exit_reason(&outcome) {
            assert_eq!(reason, "exited with code 0", "{told:?}");
            break;
        }
        let asked = outcome.effects.effects.iter().filter(|effect| effect.entry.kind == EffectKind::Resolve);
        names.extend(asked.map(|effect| String::from_utf8_lossy(&effect.payload).into_owned()));
        records = answers(&outcome);
    }
    assert_eq!(names, ["one.example", "two.example"]);
    assert_eq!(told, ["IpAddress::Ipv4((192, 0, 2, 9))"; 2]);
}
