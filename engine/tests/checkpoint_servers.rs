//! The example servers in three replicas under random traffic: checkpoints at random positions have one root, and a
//! replica that is replaced by one restored from them does what the others do.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use refrain_engine::TurnOutcome;
use refrain_engine::replica::{Blueprint, RunLimits};
use refrain_kernel::config::{GuestConfig, GuestPort, RestartPolicy};
use refrain_wire::{Control, EffectKind, Record, ResetReason, Serial};
use support::chunks::{Chunks, restored};
use support::numbers::Numbers;
use support::{Rig, blueprint, exit_reason, lines, open, platform};

const KV: &[u8] = include_bytes!("../../examples/kv-server/kv-server.wasm");
const IMAGES: &[u8] = include_bytes!("../../examples/image-server/image-server.wasm");
const LIMITS: RunLimits =
    RunLimits { memory_bytes: 256 << 20, table_elements: 1_000_000, fuel_per_turn: Some(10_000_000_000) };
const SEEDS: u64 = 4;
const TURNS: u64 = 150;
/// Bytes that a client sends at most, below the window.
const SENT: usize = 900_000;

/// A client's side of a flow.
#[derive(Default)]
struct Flow {
    sent: usize,
    /// Bytes that came and that the guest does not know to be delivered.
    untold: u64,
    finished: bool,
}

struct Clients {
    numbers: Numbers,
    port: u16,
    flows: BTreeMap<u32, Flow>,
    serial: u32,
    request: fn(&mut Numbers) -> Vec<u8>,
}

impl Clients {
    fn records(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for _ in 0..self.numbers.below(5) {
            if self.flows.len() < 2 || self.numbers.below(6) == 0 {
                self.serial += 1;
                self.flows.insert(self.serial, Flow::default());
                records.push(open(self.serial, self.port));
                continue;
            }
            let nth = self.numbers.below(self.flows.len() as u64) as usize;
            let serial = *self.flows.keys().nth(nth).unwrap();
            records.extend(self.event(serial));
        }
        if self.numbers.below(20) == 0 {
            records.push(Record::Control(Control::Audit));
        }
        records
    }

    fn event(&mut self, serial: u32) -> Option<Record> {
        let flow = self.flows.get_mut(&serial)?;
        let id = Serial(serial);
        match self.numbers.below(20) {
            0 => {
                self.flows.remove(&serial);
                Some(Record::Reset { serial: id, reason: ResetReason::Client })
            }
            1 if !flow.finished => {
                flow.finished = true;
                Some(Record::Shutdown(id))
            }
            2..=4 => Some(Record::Credit { serial: id, delivered: std::mem::take(&mut flow.untold) }),
            _ if !flow.finished => {
                let mut bytes = (self.request)(&mut self.numbers);
                if self.numbers.below(4) == 0 {
                    bytes.truncate(self.numbers.below(bytes.len() as u64) as usize + 1);
                }
                bytes.truncate(SENT - flow.sent);
                flow.sent += bytes.len();
                let delivered = std::mem::take(&mut flow.untold);
                (!bytes.is_empty()).then(|| Record::Data { serial: id, delivered, bytes: Bytes::from(bytes) })
            }
            _ => None,
        }
    }

    fn saw(&mut self, outcome: &TurnOutcome) {
        for effect in &outcome.effects.effects {
            let Some(serial) = effect.entry.flow.map(|flow| flow.serial.0) else { continue };
            match (effect.entry.kind, self.flows.get_mut(&serial)) {
                (EffectKind::Bytes, Some(flow)) => flow.untold += effect.payload.len() as u64,
                (EffectKind::Reset, _) => drop(self.flows.remove(&serial)),
                _ => {}
            }
        }
    }
}

fn same(one: &TurnOutcome, other: &TurnOutcome) {
    assert_eq!(one.effects, other.effects);
    assert_eq!((&one.votes, one.after, one.wants, one.fuel), (&other.votes, other.after, other.wants, other.fuel));
}

/// Three replicas through random traffic. Returns how many checkpoints were taken.
fn session(seed: u64, blueprint: &Arc<Blueprint>, port: u16, request: fn(&mut Numbers) -> Vec<u8>) -> u32 {
    let mut rigs = [0, 1, 2].map(|seat| Rig::new(blueprint.clone(), seat));
    let (flows, numbers) = (BTreeMap::new(), Numbers(seed));
    let mut clients = Clients { numbers, port, flows, serial: 0, request };
    let (mut checkpoints, mut answered) = (0, 0);
    for turn in 0..TURNS {
        let records = clients.records();
        let (due, elapsed) = (clients.numbers.below(12) == 0, clients.numbers.below(1_000_000));
        // One replica captures more often than the others: that must not show in any root.
        let alone = clients.numbers.below(5) == 0;
        for (seat, rig) in rigs.iter_mut().enumerate() {
            rig.micros += elapsed;
            if due || (alone && seat == 2) {
                rig.replica.capture_next();
            }
        }
        let outcomes = rigs.each_mut().map(|rig| rig.turn(&records));
        outcomes[1..].iter().for_each(|other| same(&outcomes[0], other));
        assert_eq!(exit_reason(&outcomes[0]), None, "seed {seed} turn {turn}: {:?}", lines(&outcomes[0]));
        clients.saw(&outcomes[0]);
        answered += support::sent(&outcomes[0]).len();
        if due {
            checkpoints += 1;
            let mut chunks = Chunks::default();
            let manifests = outcomes.map(|outcome| chunks.seal(&outcome.captured.expect("the guest waits")));
            for other in &manifests[1..] {
                assert_eq!(manifests[0].differences(other), [], "seed {seed} turn {turn}");
                assert_eq!(manifests[0].root(), other.root());
            }
            let seat = clients.numbers.below(3) as usize;
            rigs[seat] = restored(&rigs[seat], &manifests[(seat + 1) % 3], &chunks);
        }
    }
    assert!(answered > 0, "seed {seed}: the traffic makes sense");
    checkpoints
}

fn sessions(module: &[u8], config: GuestConfig, request: fn(&mut Numbers) -> Vec<u8>) {
    let port = config.ports[0].port;
    let blueprint = blueprint(&platform(), module, config, LIMITS);
    assert!(blueprint.compiled.checkpointable.is_ok(), "{:?}", blueprint.compiled.checkpointable);
    let checkpoints: u32 = (0..SEEDS).map(|seed| session(seed, &blueprint, port, request)).sum();
    assert!(checkpoints > 20, "{checkpoints}");
}

fn config(program: &str, port: u16) -> GuestConfig {
    GuestConfig {
        args: vec![program.into(), b"--port".to_vec(), port.to_string().into_bytes()],
        ports: vec![GuestPort { port, datagram: false, pass: false }],
        restart: RestartPolicy::Always,
        ..support::config()
    }
}

#[test]
fn the_echo_server_goes_on_from_every_checkpoint() {
    let bytes = |numbers: &mut Numbers| {
        let length = numbers.below(5000) + 1;
        (0..length).map(|_| numbers.next() as u8).collect()
    };
    sessions(support::ECHO, support::config(), bytes);
}

#[test]
fn the_kv_server_goes_on_from_every_checkpoint() {
    let command = |numbers: &mut Numbers| {
        let key = numbers.below(30);
        match numbers.below(9) {
            0..=2 => {
                let value: String = (0..numbers.below(3000)).map(|at| (b'a' + (at % 26) as u8) as char).collect();
                format!("*3\r\n$3\r\nSET\r\n${}\r\nk{key}\r\n${}\r\n{value}\r\n", format!("k{key}").len(), value.len())
            }
            3 | 4 => format!("GET k{key}\r\n"),
            5 => format!("INCR n{key}\r\n"),
            6 => format!("SET k{key} x EX {}\r\n", numbers.below(5) + 1),
            7 => format!("DEL k{key}\r\n"),
            _ => format!("TTL k{key}\r\nPING\r\nnonsense {key}\r\n"),
        }
        .into_bytes()
    };
    sessions(KV, config("kv-server", 6379), command);
}

#[test]
fn the_image_server_goes_on_from_every_checkpoint() {
    let request = |numbers: &mut Numbers| {
        let name = numbers.below(8);
        match numbers.below(5) {
            0 | 1 => {
                let length = numbers.below(100_000);
                let head = format!("PUT /{name}.png HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
                head.into_bytes().into_iter().chain((0..length).map(|at| (at ^ name) as u8)).collect()
            }
            2 => format!("GET /{name}.png HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
            3 => format!("DELETE /{name}.png HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
            _ => b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        }
    };
    sessions(IMAGES, config("image-server", 8080), request);
}
