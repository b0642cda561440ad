//! Guests in C++, Rust, Go, SQLite's C and Lua's: two replicas that are given the same batches have the same effects, votes and
//! state after each of them, with clients, timers and files.
//!
//! What is not committed is built by the scripts beside it where the machine can, and left out where it cannot.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use refrain_engine::TurnOutcome;
use refrain_engine::replica::RunLimits;
use refrain_kernel::config::{GuestConfig, GuestPort};
use refrain_wire::{Control, Record, Serial};
use support::{Rig, blueprint, data, exit_reason, lines, open, platform, sent};

const LIMITS: RunLimits =
    RunLimits { memory_bytes: 512 << 20, table_elements: 1_000_000, fuel_per_turn: Some(10_000_000_000) };
/// Turns without records that a guest may need until it has answered.
const PATIENCE_TURNS: usize = 200;

/// Two replicas that must agree, and what each client has sent.
struct Pair {
    rigs: [Rig; 2],
    port: u16,
}

impl Pair {
    fn start(module: &[u8], args: &[&str], port: GuestPort) -> Self {
        let number = port.port;
        let config = GuestConfig {
            args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
            ports: vec![port],
            files_bytes: 64 << 20,
            ..support::config()
        };
        let blueprint = blueprint(&platform(), module, config, LIMITS);
        let mut pair = Self { rigs: [0, 1].map(|seat| Rig::new(blueprint.clone(), seat)), port: number };
        pair.turn(&[]);
        pair
    }

    /// One turn on both; what was sent to all clients.
    fn turn(&mut self, records: &[Record]) -> Vec<u8> {
        let [one, two] = &mut self.rigs;
        let (a, b): (TurnOutcome, TurnOutcome) = (one.turn(records), two.turn(records));
        assert_eq!(a.effects, b.effects);
        assert_eq!((&a.votes, a.after, a.wants, a.fuel), (&b.votes, b.after, b.wants, b.fuel));
        assert_eq!(exit_reason(&a), None, "{:?}", lines(&a));
        sent(&a)
    }

    fn connect(&mut self, serial: u32) -> Vec<u8> {
        let port = self.port;
        let greeting = self.turn(&[open(serial, port)]);
        [greeting, self.turn(&[])].concat()
    }

    /// Gives bytes to a client's stream, and turns until the answer ends with `end`.
    fn ask(&mut self, serial: u32, bytes: &str, end: &str) -> String {
        let mut answer = self.turn(&[data(serial, bytes.as_bytes())]);
        for _ in 0..PATIENCE_TURNS {
            if String::from_utf8_lossy(&answer).ends_with(end) {
                return String::from_utf8(answer).expect("these answers are text");
            }
            answer.extend(self.turn(&[]));
        }
        panic!("{bytes:?} was answered by {:?}", String::from_utf8_lossy(&answer));
    }

    /// Lets time pass, in steps, until something is sent.
    fn wait(&mut self, seconds: u64) -> String {
        for _ in 0..seconds * 10 {
            self.rigs.iter_mut().for_each(|rig| rig.micros += 100_000);
            let answer = self.turn(&[]);
            if !answer.is_empty() {
                return String::from_utf8(answer).expect("these answers are text");
            }
        }
        panic!("nothing was sent within {seconds} s");
    }

    /// Both say the digest of their whole states, which must be one.
    fn audit(&mut self) {
        self.turn(&[Record::Control(Control::Audit)]);
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A module that a script builds; none where the machine cannot.
fn built(script: &str, name: &str) -> Option<Vec<u8>> {
    let out = std::env::current_exe().expect("a test has a path").with_file_name("programs");
    let output = Command::new(repository().join(script)).arg("--plain").arg("--out").arg(&out).arg(name).output();
    let output = output.expect("bash is there");
    if output.status.success() {
        return Some(std::fs::read(out.join(format!("{name}.wasm"))).expect("it was just built"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{name}: {said}");
    eprintln!("skipped: {name}: {said}");
    None
}

fn committed(name: &str) -> Vec<u8> {
    std::fs::read(repository().join("examples").join(name).join(format!("{name}.wasm"))).expect("it is committed")
}

#[test]
fn the_job_queue_in_cpp_replays_alike() {
    let port = GuestPort { port: 11300, datagram: false, pass: false };
    let mut pair = Pair::start(&committed("job-queue"), &["job-queue", "--port", "11300"], port);
    pair.connect(1);
    pair.connect(2);
    assert_eq!(pair.ask(1, "put 5 0 1 4\r\ndeep\r\n", "\r\n"), "INSERTED 1\r\n");
    assert_eq!(pair.ask(2, "reserve\r\n", "deep\r\n"), "RESERVED 1 4\r\ndeep\r\n");
    pair.turn(&[data(1, b"reserve\r\n")]);
    pair.audit();
    // Its worker takes too long: it goes to the other, in log time.
    assert_eq!(pair.wait(2), "RESERVED 1 4\r\ndeep\r\n");
    assert_eq!(pair.ask(1, "delete 1\r\n", "\r\n"), "DELETED\r\n");
    pair.audit();
}

#[test]
fn the_message_bus_in_rust_replays_alike() {
    let port = GuestPort { port: 4222, datagram: false, pass: true };
    let mut pair = Pair::start(&committed("message-bus"), &["message-bus"], port);
    for serial in 1..=3 {
        assert!(pair.connect(serial).starts_with(b"INFO {"));
        assert_eq!(pair.ask(serial, "SUB lake.> 7\r\nPING\r\n", "\r\n"), "PONG\r\n");
    }
    let answer = pair.ask(1, "PUB lake.level 3\r\n1.5\r\n", "1.5\r\n");
    assert_eq!(answer.matches("MSG lake.level 7 3\r\n1.5\r\n").count(), 3, "{answer}");
    pair.turn(&[Record::Shutdown(Serial(2))]);
    pair.audit();
}

#[test]
fn the_wiki_in_go_replays_alike() {
    let Some(module) = built("examples/build", "wiki") else { return };
    let mut pair = Pair::start(&module, &["wiki"], GuestPort { port: 8080, datagram: false, pass: true });
    pair.connect(1);
    let put = "PUT /Lake HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\ndeep\n";
    assert!(pair.ask(1, put, "\r\n\r\n").starts_with("HTTP/1.1 201 "));
    let answer = pair.ask(1, "GET /Lake/raw HTTP/1.1\r\nHost: a\r\n\r\n", "deep\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    pair.audit();
}

#[test]
fn sqlite_replays_alike() {
    let Some(module) = built("tests/guests/build", "sqlite-shell") else { return };
    let port = GuestPort { port: 5433, datagram: false, pass: false };
    let mut pair = Pair::start(&module, &["sqlite-shell"], port);
    pair.connect(1);
    assert_eq!(pair.ask(1, "CREATE TABLE lake (depth REAL, noise INTEGER);\n", "\n"), "-- 0 changes\n");
    let inserts = "INSERT INTO lake SELECT 1.5, random() FROM (VALUES (1), (2), (3));\n";
    assert_eq!(pair.ask(1, inserts, "\n"), "-- 3 changes\n");
    pair.audit();
    let answer = pair.ask(1, "SELECT depth, noise, datetime() FROM lake;\n", "-- 3 rows\n");
    assert_eq!(answer.lines().count(), 4, "{answer}");
    pair.audit();
}

#[test]
fn lua_replays_alike() {
    let Some(module) = built("tests/guests/build", "lua-server") else { return };
    let mut pair = Pair::start(&module, &["lua-server"], GuestPort { port: 5434, datagram: false, pass: false });
    pair.connect(1);
    assert_eq!(pair.ask(1, "1 + 1\n", "\n"), "= 2\n");
    assert_eq!(pair.ask(1, "error('deep')\n", "\n"), "! chunk:1: deep\n");
    assert_eq!(pair.ask(1, "pcall(error, {})\n", "\n").split('\t').next(), Some("= false"));
    let many = "local n = 0; for i = 1, 1000 do if not pcall(error, i) then n = n + 1 end end; return n\n";
    assert_eq!(pair.ask(1, many, "\n"), "= 1000\n");
    assert!(pair.ask(1, "math.random(), now(), {}\n", "\n").starts_with("= 0."), "random, time and addresses");
    assert_eq!(pair.ask(1, "while true do end\n", "\n"), "! the chunk takes too long\n");
    pair.audit();
}
