//! A replica and the batches to feed it, for the engine's tests.
#![allow(dead_code)]

pub mod chunks;
pub mod components;
pub mod numbers;
pub mod pieces;
pub mod script;
pub mod seeds;

use std::sync::Arc;

use bytes::Bytes;
use refrain_engine::replica::{Blueprint, RunLimits};
use refrain_engine::{Compiled, Platform, Replica, ReplicaId, TurnBatch, TurnOutcome};
use refrain_inspect::ValType;
use refrain_inspect::abi::{self, Family, HostFunction};
use refrain_instrument::{WASM_OPT_VARIABLE, WasmOpt};
use refrain_kernel::Outbound;
use refrain_kernel::ShardEvent;
use refrain_kernel::config::{GuestConfig, GuestPort, RestartPolicy};
use refrain_kernel::fs::BundleFiles;
use refrain_wire::outward::Owner;
use refrain_wire::{
    Control, EffectKind, Epoch, GroupId, Incarnation, Position, ProxyId, Record, RecordWriter, Seat, Serial, Time,
};
use std::time::Duration;

pub const EPOCH: Epoch = Epoch(1);
pub const ECHO: &[u8] = include_bytes!("../../../examples/echo/echo.wasm");

pub fn config() -> GuestConfig {
    GuestConfig {
        args: vec![b"test".to_vec()],
        env: Vec::new(),
        ports: vec![GuestPort { port: 7, datagram: false, pass: true }],
        max_descriptors: 1000,
        max_flows: 1000,
        socket_buffer_bytes: 1 << 20,
        socket_buffers_bytes: 256 << 20,
        files_bytes: 16 << 20,
        max_inodes: 10_000,
        outbound: Outbound::default(),
        max_outward: 100,
        log_lines_per_second: 1000,
        restart: RestartPolicy::Never,
        backoff: Duration::from_millis(100),
        backoff_max: Duration::from_secs(10),
    }
}

pub fn platform() -> Platform {
    Platform::new(None).expect("this machine runs x86-64-v2 code")
}

pub fn blueprint(platform: &Platform, module: &[u8], config: GuestConfig, limits: RunLimits) -> Arc<Blueprint> {
    blueprint_of(platform.load(module).expect("the module loads"), config, limits)
}

pub fn blueprint_of(compiled: Compiled, config: GuestConfig, limits: RunLimits) -> Arc<Blueprint> {
    let bundle = BundleFiles::new(Vec::new()).expect("an empty bundle");
    // What stands for the bundle's digest here: a test changes nothing else of a program.
    let digest = compiled.digest;
    Arc::new(Blueprint { group: GroupId(1), digest, compiled: Arc::new(compiled), config, bundle, limits })
}

/// A module from its text.
pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is a module")
}

/// The module instrumented for checkpoints, where there is a `wasm-opt`.
pub fn instrumented(module: &[u8]) -> Option<Vec<u8>> {
    let folder = std::env::current_dir().expect("there is a working folder");
    match WasmOpt::find(std::env::var_os(WASM_OPT_VARIABLE), std::env::var_os("PATH"), &folder) {
        Ok(tool) => Some(tool.instrument(module).expect("the module can be instrumented")),
        Err(error) if std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_some() => panic!("{error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Every function that a guest can import, by the word that stands for it in [`command`]: its name, behind the family
/// where it is not preview 1's or the only one of that name.
pub fn functions() -> Vec<(String, &'static HostFunction)> {
    let given = abi::all().filter(|function| function.refusal.is_none());
    given.map(|function| (format!("{}{}", prefix(function.family), function.name), function)).collect()
}

fn prefix(family: Family) -> &'static str {
    match family {
        Family::Preview1 => "",
        Family::WasmedgeV1 => "v1.",
        Family::WasmedgeV2 => "v2.",
        Family::Wasix => "wasix.",
        Family::Replicode => "rc.",
    }
}

/// A module with a page of memory, the import of every word of `imports`, and `body` as its `_start`.
pub fn command(imports: &str, body: &str) -> Vec<u8> {
    command_with(imports, body, "")
}

/// The same with more fields of the module.
pub fn command_with(imports: &str, body: &str, fields: &str) -> Vec<u8> {
    let functions = functions();
    let mut text = String::from("(module ");
    for word in imports.split(' ').filter(|word| !word.is_empty()) {
        let (_, function) = functions.iter().find(|(known, _)| known == word).expect(word);
        let list = |word: &str, types: &[ValType]| {
            let types: String = types.iter().map(|ty| format!(" {ty}")).collect();
            if types.is_empty() { types } else { format!("({word}{types})") }
        };
        let (params, results) = (list("param", function.params), list("result", function.results));
        let (module, name) = (function.module, function.name);
        text += &format!("(import \"{module}\" \"{name}\" (func ${word} {params} {results}))");
    }
    text += &format!("(memory (export \"memory\") 1) (func (export \"_start\") {body}) {fields})");
    wat(&text)
}

/// Runs `module` through these turns on two replicas, which must agree on everything; returns the outcomes.
pub fn agree(
    platform: &Platform,
    module: &[u8],
    config: GuestConfig,
    limits: RunLimits,
    turns: &[Vec<Record>],
) -> Vec<TurnOutcome> {
    let mut pair = Pair::new(blueprint(platform, module, config, limits));
    turns.iter().map(|records| pair.turn(records)).collect()
}

/// Two replicas that must agree on everything.
pub struct Pair(pub [Rig; 2]);

impl Pair {
    pub fn new(blueprint: Arc<Blueprint>) -> Self {
        Self::of([blueprint.clone(), blueprint])
    }

    /// Two that run the same program, compiled for each.
    pub fn of(blueprints: [Arc<Blueprint>; 2]) -> Self {
        let mut seats = 0..;
        Self(blueprints.map(|blueprint| Rig::new(blueprint, seats.next().expect("they never end"))))
    }

    /// One turn of both.
    pub fn turn(&mut self, records: &[Record]) -> TurnOutcome {
        let [a, b] = self.0.each_mut().map(|rig| rig.turn(records));
        assert_eq!(a.effects, b.effects);
        assert_eq!((&a.votes, a.after, a.wants, a.fuel), (&b.votes, b.after, b.wants, b.fuel));
        assert_eq!(a.usage, b.usage);
        let [one, two] = self.0.each_mut().map(|rig| rig.replica.with_kernel(|kernel| kernel.state_digest([0; 32])));
        assert_eq!(one, two);
        a
    }
}

pub const LIMITS: RunLimits =
    RunLimits { memory_bytes: 64 << 20, table_elements: 1_000_000, fuel_per_turn: Some(1_000_000_000) };

/// A replica and the log position it is at.
pub struct Rig {
    pub blueprint: Arc<Blueprint>,
    pub replica: Replica,
    pub position: u64,
    pub micros: u64,
}

impl Rig {
    pub fn new(blueprint: Arc<Blueprint>, seat: u8) -> Self {
        let id = ReplicaId { group: GroupId(1), seat: Seat(seat), incarnation: Incarnation(1) };
        Self { replica: Replica::new(id, Arc::clone(&blueprint)), blueprint, position: 0, micros: 1_000_000 }
    }

    /// One turn with these records, a millisecond after the last.
    pub fn turn(&mut self, records: &[Record]) -> TurnOutcome {
        let batch = self.batch(records);
        self.replica.turn(&batch).expect("the host is well")
    }

    /// One turn with a control of the leader's, and these records.
    pub fn controlled(&mut self, control: &Control, records: &[Record]) -> TurnOutcome {
        let batch = self.batch_of(Some(control), records);
        self.replica.turn(&batch).expect("the host is well")
    }

    /// The batch of the next turn.
    pub fn batch(&mut self, records: &[Record]) -> TurnBatch {
        self.batch_of(None, records)
    }

    /// The batch of the next turn, with a control of the leader's.
    pub fn batch_of(&mut self, control: Option<&Control>, records: &[Record]) -> TurnBatch {
        self.micros += 1000;
        let mut writer = RecordWriter::default();
        control.into_iter().for_each(|control| writer.push(&Record::Control(control.clone())));
        writer.push(&Record::Origin(EPOCH));
        records.iter().for_each(|record| writer.push(record));
        let previous = Position(self.position);
        self.position += 1;
        TurnBatch {
            group: GroupId(1),
            position: Position(self.position),
            previous,
            time: Time::from_micros(self.micros),
            shard: if self.position == 1 { first_events() } else { Vec::new() },
            records: writer.take(),
            epochs: Arc::from([EPOCH]),
        }
    }
}

/// A leader takes office, and the proxy's epoch may be given outward calls.
fn first_events() -> Vec<ShardEvent> {
    vec![ShardEvent::Term([7; 32]), ShardEvent::EpochOpened(Owner { proxy: ProxyId(1), epoch: EPOCH })]
}

pub fn open(serial: u32, port: u16) -> Record {
    Record::Open { serial: Serial(serial), port, peer: "192.0.2.1:1000".parse().unwrap() }
}

pub fn data(serial: u32, bytes: &[u8]) -> Record {
    Record::Data { serial: Serial(serial), delivered: 0, bytes: Bytes::copy_from_slice(bytes) }
}

/// What was sent on all flows, in order.
pub fn sent(outcome: &TurnOutcome) -> Vec<u8> {
    let bytes = outcome.effects.effects.iter().filter(|effect| effect.entry.kind == EffectKind::Bytes);
    bytes.flat_map(|effect| effect.payload.to_vec()).collect()
}

/// How the guest ended in this turn, if it did.
pub fn exit_reason(outcome: &TurnOutcome) -> Option<String> {
    let exit = outcome.effects.effects.iter().find(|effect| effect.entry.kind == EffectKind::Exit)?;
    Some(String::from_utf8(exit.payload.to_vec()).expect("reasons are text"))
}

/// Lines that the guest wrote in this turn.
pub fn lines(outcome: &TurnOutcome) -> Vec<String> {
    let logs = outcome.effects.effects.iter().filter(|effect| effect.entry.kind == EffectKind::Log);
    logs.map(|effect| String::from_utf8_lossy(&effect.payload).into_owned()).collect()
}

pub fn credit(serial: u32, delivered: u64) -> Record {
    Record::Credit { serial: Serial(serial), delivered }
}
