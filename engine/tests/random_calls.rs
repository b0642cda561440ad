//! Random modules that call every import with random arguments: the host never panics, replicas agree.

mod support;

use refrain_engine::replica::RunLimits;
use refrain_inspect::ValType;
use refrain_inspect::abi::{Family, HostFunction};
use refrain_wire::{Control, Record};
use support::numbers::Numbers;
use support::{agree, command, config, credit, data, exit_reason, functions, open, platform};

const SEEDS: u64 = 300;
const CALLS: u64 = 60;
const LIMITS: RunLimits =
    RunLimits { memory_bytes: 4 * 65536, table_elements: 1_000_000, fuel_per_turn: Some(50_000_000) };

/// Descriptors, pointers into the page, lengths, flags, and now and then anything.
fn argument(numbers: &mut Numbers) -> u32 {
    match numbers.below(10) {
        0..=2 => numbers.below(10) as u32,
        3..=6 => (numbers.below(512) * 8) as u32,
        7 => numbers.below(65536) as u32,
        8 => 65536 - numbers.below(64) as u32,
        _ => numbers.next() as u32,
    }
}

fn wide(numbers: &mut Numbers) -> u64 {
    match numbers.below(4) {
        0 => numbers.next(),
        1 => u64::MAX - numbers.below(3),
        _ => numbers.below(5000),
    }
}

/// Stores small numbers all over the first 4 KiB, so that many pointers lead to vectors, paths and subscriptions that
/// make sense, and then calls.
fn body(numbers: &mut Numbers, functions: &[(String, &HostFunction)]) -> String {
    let mut body = String::new();
    for at in (0..4096).step_by(8) {
        let value = match numbers.below(4) {
            0 => numbers.below(4096) | numbers.below(64) << 32,
            1 => u64::from_le_bytes(*b"a/b/../c"),
            2 => numbers.below(3),
            _ => numbers.below(10) | numbers.below(3) << 32,
        };
        body += &format!("(i64.store (i32.const {at}) (i64.const {}))\n", value as i64);
    }
    for _ in 0..CALLS {
        let (word, function) = &functions[numbers.below(functions.len() as u64) as usize];
        if function.link().1 == "proc_exit" && numbers.below(20) > 0 {
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

#[test]
fn random_calls_never_panic_and_two_replicas_agree() {
    // A RepliCode program is one of its own; every other family may be in one module.
    let (replicode, others): (Vec<_>, Vec<_>) =
        functions().into_iter().partition(|(_, function)| function.family == Family::Replicode);
    random_calls(SEEDS, &others);
    let files = others.into_iter().filter(|(_, function)| function.family == Family::Preview1);
    let files = files.filter(|(word, _)| !word.starts_with("sock_"));
    random_calls(SEEDS / 4, &replicode.into_iter().chain(files).collect::<Vec<_>>());
}

fn random_calls(seeds: u64, functions: &[(String, &HostFunction)]) {
    let platform = platform();
    let names: String = functions.iter().map(|(word, _)| format!("{word} ")).collect();
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..seeds {
        let mut numbers = Numbers(seed);
        let module = command(&names, &body(&mut numbers, functions));
        // Calls that wait go on as connections, bytes and time come in.
        let turns: Vec<Vec<Record>> = (1..=12)
            .map(|turn| match turn % 4 {
                0 => vec![Record::Control(Control::Audit)],
                1 => vec![open(turn, 7), data(turn, &[b'x'; 3000])],
                2 => vec![credit(turn - 1, 100), data(turn - 1, b"more")],
                _ => vec![],
            })
            .collect();
        let outcomes = agree(&platform, &module, config(), LIMITS, &turns);
        let end = outcomes.iter().find_map(exit_reason).unwrap_or_else(|| "waits".into());
        assert!(!end.starts_with("trapped") && !end.starts_with("could not"), "seed {seed}: {end}");
        *ends.entry(end).or_default() += 1;
    }
    assert!(ends.get("exited with code 0").is_some_and(|count| u64::from(*count) > seeds / 15), "{ends:?}");
}
