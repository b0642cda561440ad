//! Random modules that call every import with random arguments, while clients and the outside do as they like: the host
//! never panics, replicas agree.
//!
//! The memory holds what calls look for: vectors that overlap, that end at the memory's end and behind it, and that are
//! too many; paths, subscriptions, addresses, structures that lead to each other. `REFRAIN_SEEDS=20000` runs more seeds.

mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use refrain_engine::replica::RunLimits;
use refrain_engine::{Platform, TurnOutcome};
use refrain_inspect::ValType;
use refrain_inspect::abi::{Family, HostFunction};
use refrain_kernel::config::{GuestConfig, GuestPort};
use refrain_wire::record::ResetReason;
use refrain_wire::{CallFailure, Control, EffectKind, Record, Serial};
use support::numbers::Numbers;
use support::script::guest;
use support::seeds::seeds;
use support::{Pair, blueprint, command_with, credit, data, exit_reason, functions, open, platform};

const SEEDS: u64 = 300;
const CALLS: u64 = 60;
const TURNS: u32 = 14;
const LIMITS: RunLimits =
    RunLimits { memory_bytes: 4 * 65536, table_elements: 1_000_000, fuel_per_turn: Some(50_000_000) };
/// Bytes at the beginning of the memory that hold something.
const FILLED: u64 = 4096;

/// A listener that is passed in, two ports that are not, and rules for calls.
fn config() -> GuestConfig {
    let passed = GuestPort { port: 7, datagram: false, pass: true };
    let config = guest();
    GuestConfig { ports: [vec![passed], config.ports.clone()].concat(), max_descriptors: 40, max_outward: 3, ..config }
}

/// Descriptors, pointers into the page, lengths, flags, and now and then anything.
fn argument(numbers: &mut Numbers) -> u32 {
    match numbers.below(16) {
        0..=4 => numbers.below(12) as u32,
        5..=9 => (numbers.below(FILLED / 8) * 8) as u32,
        10 => numbers.below(65536) as u32,
        11 => 65536 - numbers.below(64) as u32,
        12 => [1024, 1025, 65536, 65537, 0x7fff_ffff, 0x8000_0000, u32::MAX][numbers.below(7) as usize],
        13 => u32::MAX - numbers.below(64) as u32,
        14 => 1 << numbers.below(32),
        _ => numbers.next() as u32,
    }
}

fn wide(numbers: &mut Numbers) -> u64 {
    match numbers.below(6) {
        0 => numbers.next(),
        1 => u64::MAX - numbers.below(3),
        2 => i64::MAX as u64 - numbers.below(3),
        3 => 1 << numbers.below(64),
        _ => numbers.below(5000),
    }
}

fn two(low: u64, high: u64) -> u64 {
    (low & 0xffff_ffff) | high << 32
}

/// Eight bytes of what calls look for.
fn word(numbers: &mut Numbers) -> u64 {
    let texts =
        [b"a/b/../c", b"..//link", b"link\0\0\0\0", b"d/./d/d/", b"db.examp", b"le\0\x01\x02\xff\0\0", b"/etc/a\0b"];
    match numbers.below(16) {
        // Pointer and length, and many of one place.
        0..=2 => two(numbers.below(FILLED), numbers.below(64)),
        3 => two(8 * numbers.below(4), numbers.below(200)),
        4 => two(65536 - numbers.below(40), numbers.below(40)),
        5 => two(numbers.below(65536), numbers.next() >> numbers.below(64)),
        6 => u64::from_le_bytes(*texts[numbers.below(texts.len() as u64) as usize]),
        // Families, ports, addresses of each form.
        7 => u64::from_le_bytes([1, 0, 0x15, 0x38, 192, 0, 2, 9]),
        8 => u64::from_le_bytes([1, 0, 192, 0, 2, 9, 0x38, 0x15]),
        9 => u64::from_le_bytes([192, 0, 2, 9, 2, 0, 0x38, 0x15]),
        10 => two(numbers.below(12), numbers.below(3)),
        11 => numbers.below(3),
        12 => wide(numbers),
        _ => two(numbers.below(10), numbers.below(3)),
    }
}

/// The memory's beginning as text of a module's data.
fn filling(numbers: &mut Numbers) -> String {
    let bytes = (0..FILLED / 8).flat_map(|_| word(numbers).to_le_bytes());
    bytes.map(|byte| format!("\\{byte:02x}")).collect()
}

fn calls(numbers: &mut Numbers, functions: &[(String, &HostFunction)]) -> String {
    let mut body = String::new();
    for _ in 0..CALLS {
        let (word, function) = &functions[numbers.below(functions.len() as u64) as usize];
        // What ends the guest is rare.
        let ends = ["proc_exit", "proc_raise"].contains(&function.link().1);
        if ends && numbers.below(20) > 0 {
            continue;
        }
        let arguments: String = (function.params.iter())
            .map(|ty| match ty {
                ValType::I32 => format!("(i32.const {})", argument(numbers) as i32),
                _ => format!("(i64.const {})", wide(numbers) as i64),
            })
            .collect();
        let close = if function.results.is_empty() { "" } else { "drop" };
        body += &format!("(call ${word} {arguments}) {close}\n");
    }
    body
}

/// What clients do in a turn.
fn client_records(numbers: &mut Numbers, turn: u32) -> Vec<Record> {
    let flow = numbers.below(u64::from(turn) + 1) as u32;
    let reason = [ResetReason::Client, ResetReason::Idle][numbers.below(2) as usize];
    let peers = ["192.0.2.1:1000", "[2001:db8::7]:1000", "192.0.2.9:5432"];
    let peer = peers[numbers.below(3) as usize].parse().expect("an address");
    match numbers.below(8) {
        0 => vec![Record::Control(Control::Audit)],
        1 => vec![open(turn, 7), data(turn, &vec![b'x'; 1 + numbers.below(3000) as usize])],
        2 => vec![open(turn, 80), Record::Open { serial: Serial(turn + 100), port: 7, peer }],
        3 => vec![credit(flow, numbers.below(5000)), data(flow, b"more")],
        4 => vec![Record::Shutdown(Serial(flow))],
        5 => vec![Record::Reset { serial: Serial(flow), reason }],
        6 => {
            let bytes = Bytes::from(vec![7; numbers.below(1400) as usize]);
            vec![Record::Datagram { serial: Serial(turn + 200), port: 53, peer, bytes }]
        }
        _ => vec![],
    }
}

/// What the outside says of the calls that the guest made in the last turn.
fn outside_records(numbers: &mut Numbers, outcome: &TurnOutcome) -> Vec<Record> {
    let effects = outcome.effects.effects.iter().filter_map(|effect| Some((effect.entry.kind, effect.entry.flow?)));
    let mut records = Vec::new();
    for (kind, flow) in effects {
        let serial = flow.serial;
        let failures = [CallFailure::Refused, CallFailure::TimedOut, CallFailure::NotFound, CallFailure::Reset];
        let failure = failures[numbers.below(4) as usize];
        match (kind, numbers.below(4)) {
            (EffectKind::Connect | EffectKind::Resolve, 0) => records.push(Record::Failed { serial, failure }),
            (EffectKind::Connect, 1 | 2) => {
                records.push(Record::Connected { serial, local: "198.51.100.1:40000".parse().expect("an address") });
                records.push(data(serial.0, b"from outside"));
            }
            (EffectKind::Resolve, 1 | 2) => {
                let addresses = vec!["192.0.2.9".parse().expect("an address"), "::1".parse().expect("an address")];
                records.push(Record::Resolved { serial, addresses });
            }
            (EffectKind::Bytes, 0) => records.push(Record::Reset { serial, reason: ResetReason::Client }),
            _ => {}
        }
    }
    records
}

/// Two replicas; of one seed in four the calls of the second are told.
fn pair(platforms: &[Platform; 2], seed: u64, module: &[u8]) -> Pair {
    let [plain, traced] = platforms;
    let one = blueprint(plain, module, config(), LIMITS);
    if !seed.is_multiple_of(4) {
        return Pair::new(one);
    }
    let mut pair = Pair::of([one, blueprint(traced, module, config(), LIMITS)]);
    pair.0[1].replica.tell_calls(Some(Box::new(|call| assert!(call.to_string().contains(call.name)))));
    pair
}

fn run(platforms: &[Platform; 2], seed: u64, functions: &[(String, &HostFunction)]) -> String {
    let mut numbers = Numbers(seed);
    let names: String = functions.iter().map(|(word, _)| format!("{word} ")).collect();
    let filling = format!("(data (i32.const 0) \"{}\")", filling(&mut numbers));
    let module = command_with(&names, &calls(&mut numbers, functions), &filling);
    let mut pair = pair(platforms, seed, &module);
    let mut records = Vec::new();
    for turn in 1..=TURNS {
        records.extend(client_records(&mut numbers, turn));
        let outcome = pair.turn(&records);
        if let Some(end) = exit_reason(&outcome) {
            return end;
        }
        records = outside_records(&mut numbers, &outcome);
    }
    "waits".to_owned()
}

fn random_calls(seeds: impl Iterator<Item = u64>, functions: &[(String, &HostFunction)]) {
    let plain = platform();
    let platforms = [plain.clone(), plain.traced().expect("it can be linked twice")];
    let (mut ends, mut count) = (BTreeMap::<String, u32>::new(), 0);
    for seed in seeds {
        // A seed that fails is named by what is printed last.
        println!("seed {seed}");
        let end = run(&platforms, seed, functions);
        assert!(!end.starts_with("trapped") && !end.starts_with("could not"), "seed {seed}: {end}");
        *ends.entry(end).or_default() += 1;
        count += 1;
    }
    println!("{ends:?}");
    assert!(ends.get("exited with code 0").is_some_and(|ended| *ended > count / 15), "{ends:?}");
}

#[test]
fn random_calls_never_panic_and_two_replicas_agree() {
    // A RepliCode program is one of its own; every other family may be in one module.
    let others: Vec<_> = functions().into_iter().filter(|(_, function)| function.family != Family::Replicode).collect();
    random_calls(seeds(SEEDS), &others);
}

#[test]
fn random_calls_of_a_replicode_program_never_panic_and_two_replicas_agree() {
    let (replicode, others): (Vec<_>, Vec<_>) =
        functions().into_iter().partition(|(_, function)| function.family == Family::Replicode);
    let files = others.into_iter().filter(|(_, function)| function.family == Family::Preview1);
    let files = files.filter(|(word, _)| !word.starts_with("sock_"));
    let functions: Vec<_> = replicode.into_iter().chain(files).collect();
    random_calls(seeds(SEEDS).step_by(4), &functions);
}
