//! Random modules of wasm-smith that import functions of the host, each in two replicas that compile it for themselves:
//! equal effects, votes, fuel, ends and memories, no panic and no turn without end.
//!
//! What makes them is a program of its own, `tests/guests/smith`, which cargo builds where the tests run: as a part of the
//! workspace it would have wasmtime built with other features. `REFRAIN_SEEDS=20000` runs more seeds.

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use refrain_engine::replica::RunLimits;
use refrain_engine::{LoadError, Platform};
use refrain_inspect::ValType;
use refrain_inspect::abi::{Family, HostFunction};
use refrain_wire::{Control, EffectKind, Record};
use support::script::guest;
use support::seeds::seeds;
use support::{Pair, blueprint_of, credit, data, exit_reason, functions, open, platform};

const SEEDS: u64 = 200;
const TURNS: u32 = 8;
const LIMITS: RunLimits = RunLimits { memory_bytes: 16 * 65536, table_elements: 1000, fuel_per_turn: Some(3_000_000) };
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/smith/Cargo.toml");

/// The program that makes modules; none where its sources cannot be had.
fn smith() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smith");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--manifest-path", SOURCE, "--target-dir"])
        .arg(&folder)
        .output()
        .expect("cargo can be run");
    if built.status.success() {
        return Some(folder.join("debug/smith"));
    }
    let told = String::from_utf8_lossy(&built.stderr);
    assert!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{told}");
    eprintln!("skipped: wasm-smith cannot be built here: {told}");
    None
}

fn line(function: &HostFunction) -> String {
    let letters = |types: &[ValType]| match types {
        [] => "-".to_owned(),
        types => types.iter().map(|ty| if *ty == ValType::I32 { 'i' } else { 'I' }).collect(),
    };
    format!("{} {} {} {}", function.module, function.name, letters(function.params), letters(function.results))
}

/// What modules may import: everything of all families, or what a RepliCode program may.
fn imports() -> String {
    let functions = functions();
    let of = |wanted: &dyn Fn(&HostFunction) -> bool| -> Vec<String> {
        functions.iter().map(|(_, function)| *function).filter(|function| wanted(function)).map(line).collect()
    };
    let sleeps = |function: &HostFunction| function.name == "thread_sleep";
    let replicode = |function: &HostFunction| function.family == Family::Replicode;
    // First what makes a module a program of RepliCode.
    let marks = of(&|function| replicode(function) && function.name == "sock_open");
    let others = of(&|function| replicode(function) && function.name != "sock_open");
    let files = of(&|function| function.family == Family::Preview1 && !function.name.starts_with("sock_"));
    let all = of(&|function| !replicode(function) && !sleeps(function));
    [of(&sleeps), all, vec![String::new()], marks, others, files].concat().join("\n")
}

/// The modules of these seeds, one after another.
struct Modules {
    smith: Child,
    _imports: tempfile::NamedTempFile,
}

impl Modules {
    fn of(program: &Path, seeds: &Range<u64>) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(file.path(), imports()).expect("it can be written");
        let smith = Command::new(program)
            .arg(file.path())
            .args([seeds.start.to_string(), seeds.end.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        Self { smith, _imports: file }
    }

    fn next(&mut self) -> Vec<u8> {
        let out = self.smith.stdout.as_mut().expect("it is a pipe");
        let mut length = [0; 4];
        out.read_exact(&mut length).expect("a module for each seed");
        let mut module = vec![0; u32::from_le_bytes(length) as usize];
        out.read_exact(&mut module).expect("as long as it says");
        module
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        // Where a test failed it may have more to say.
        let _ = self.smith.kill();
        let _ = self.smith.wait();
    }
}

fn records(turn: u32) -> Vec<Record> {
    let audit = Record::Control(Control::Audit);
    match turn % 4 {
        1 => vec![open(turn, 7), data(turn, &[b'x'; 300]), audit],
        2 => vec![credit(turn - 1, 100), data(turn - 1, b"more"), audit],
        _ => vec![audit],
    }
}

/// How a module ends, and how many audits of its memory there were.
fn run(platforms: &[Platform; 2], module: &[u8]) -> (String, u32) {
    let ports = [support::config().ports, guest().ports].concat();
    let config = || refrain_kernel::config::GuestConfig { ports: ports.clone(), ..guest() };
    let [one, two] = platforms.each_ref().map(|platform| platform.load(module));
    let (one, two) = match (one, two) {
        (Ok(one), Ok(two)) => (one, two),
        (Err(one), Err(two)) => {
            assert_eq!(one.to_string(), two.to_string());
            // What the inspector lets pass can be compiled.
            assert!(matches!(one, LoadError::Problems(_)), "{one:?}");
            return (format!("is refused: {one}"), 0);
        }
        _ => panic!("one platform takes it and the other does not"),
    };
    let mut pair = Pair::of([one, two].map(|compiled| blueprint_of(compiled, config(), LIMITS)));
    let mut audits = 0;
    for turn in 1..=TURNS {
        let outcome = pair.turn(&records(turn));
        if let Some(end) = exit_reason(&outcome) {
            return (end, audits);
        }
        audits += outcome.effects.effects.iter().filter(|effect| effect.entry.kind == EffectKind::Audit).count() as u32;
    }
    ("waits".to_owned(), audits)
}

#[test]
fn random_modules_never_panic_and_two_replicas_that_compile_for_themselves_agree() {
    let Some(program) = smith() else { return };
    let seeds = seeds(SEEDS);
    let mut modules = Modules::of(&program, &seeds);
    let platforms = [platform(), platform()];
    assert_eq!(platforms[0].key(), platforms[1].key());
    let (mut ends, mut audited, count) = (BTreeMap::<String, u64>::new(), 0, seeds.end - seeds.start);
    for seed in seeds {
        // A seed that fails is named by what is printed last.
        println!("seed {seed}");
        let (end, audits) = run(&platforms, &modules.next());
        audited += u64::from(audits > 0);
        *ends.entry(end).or_default() += 1;
    }
    println!("{ends:#?} {audited} audited");
    let of = |words: &str| ends.iter().filter(|(end, _)| end.contains(words)).map(|(_, count)| count).sum::<u64>();
    assert!(of("is refused") < count / 4, "{ends:#?}");
    assert!(of("waits") > count / 10 && of("trapped") > count / 10, "{ends:#?}");
    assert!(audited > count / 10, "{audited} of {count}");
}
