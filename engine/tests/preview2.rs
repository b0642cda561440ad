//! A component of WASI 0.2 as a guest: the examples in Rust and in C, whose libraries make listeners by `wasi:sockets`.

mod support;

use std::process::Command;
use std::sync::Arc;

use refrain_engine::replica::{Blueprint, RunLimits};
use refrain_kernel::config::{GuestConfig, GuestPort};
use refrain_kernel::fs::{Loaded, ROOT, Times};
use refrain_kernel::process::GuestEnd;
use refrain_kernel::solo::{Preopen, Solo};
use support::components::{is_not_saved_and_can_be_looked_at, replayed, serves_and_agrees, told_calls};
use support::{LIMITS, Pair, Rig, blueprint, config, exit_reason, lines, platform};

const ECHO: &[u8] = include_bytes!("../../examples/echo-p2/echo-p2.wasm");
const ECHO_IN_C: &[u8] = include_bytes!("../../examples/echo-c-p2/echo-c-p2.wasm");

fn echo_config() -> GuestConfig {
    GuestConfig {
        args: ["echo-p2", "--port", "7"].map(|argument| argument.as_bytes().to_vec()).to_vec(),
        ports: vec![GuestPort { port: 7, datagram: false, pass: false }],
        ..config()
    }
}

/// The same for the one in C, which takes its port alone.
fn c_config() -> GuestConfig {
    GuestConfig { args: ["echo-c-p2", "7"].map(|argument| argument.as_bytes().to_vec()).to_vec(), ..echo_config() }
}

#[test]
fn what_clients_send_comes_back_from_a_component_and_replicas_agree() {
    for (name, component, config) in [("echo-p2", ECHO, echo_config()), ("echo-c-p2", ECHO_IN_C, c_config())] {
        serves_and_agrees(component, config, &format!("{name}: listening on 0.0.0.0:7"));
    }
}

#[test]
fn a_replay_of_the_same_batches_gives_the_same_digests() {
    assert_eq!(replayed(ECHO, echo_config()), replayed(ECHO, echo_config()));
    assert_eq!(replayed(ECHO_IN_C, c_config()), replayed(ECHO_IN_C, c_config()));
}

#[test]
fn a_component_is_not_saved_and_can_be_looked_at() {
    is_not_saved_and_can_be_looked_at(ECHO, echo_config());
}

#[test]
fn fuel_and_memory_bound_a_component_as_they_bound_a_module() {
    let ended = |limits| {
        let mut pair = Pair::new(blueprint(&platform(), ECHO, echo_config(), limits));
        exit_reason(&pair.turn(&[])).expect("it cannot go on")
    };
    let fuel = ended(RunLimits { fuel_per_turn: Some(10_000), ..LIMITS });
    assert_eq!(fuel, "trapped: used up its fuel of 10000 in one turn without waiting");
    let memory = ended(RunLimits { memory_bytes: 65_536, ..LIMITS });
    assert_eq!(memory, "could not be started (its memory limit of 65536 bytes was reached)");
}

#[test]
fn descriptors_bound_a_component() {
    let mut pair = Pair::new(blueprint(&platform(), ECHO, GuestConfig { max_descriptors: 4, ..echo_config() }, LIMITS));
    let outcome = pair.turn(&[]);
    let written = lines(&outcome);
    assert!(written[0].starts_with("echo-p2: cannot listen on 7: "), "{written:?}");
    assert_eq!(exit_reason(&outcome).as_deref(), Some("exited with code 1"));
}

#[test]
fn the_calls_of_a_component_are_told_in_words_and_change_nothing() {
    let told = told_calls(ECHO, echo_config());
    for part in ["create-tcp-socket(Ipv4)", "start-bind(", "poll(", " waits", "[resource-drop](input-stream"] {
        assert!(told.iter().any(|call| call.contains(part)), "{part}: {told:#?}");
    }
}

/// A component whose `run` is this code; it can call `$subscribe` (nanoseconds, a pollable), `$drop` (a pollable) and `$now`.
fn program(body: &str) -> Vec<u8> {
    support::wat(&format!(
        r#"(component
            (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
            (alias export $poll "pollable" (type $pollable))
            (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock
                (alias outer 1 $pollable (type $pollable))
                (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))
                (export "now" (func (result u64)))))
            (core func $subscribe (canon lower (func $clock "subscribe-duration")))
            (core func $now (canon lower (func $clock "now")))
            (core func $drop (canon resource.drop $pollable))
            (core module $m
                (import "" "subscribe" (func $subscribe (param i64) (result i32)))
                (import "" "now" (func $now (result i64)))
                (import "" "drop" (func $drop (param i32)))
                (func (export "run") (result i32) {body}))
            (core instance $i (instantiate $m (with "" (instance
                (export "subscribe" (func $subscribe)) (export "now" (func $now)) (export "drop" (func $drop))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $r (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $r)))"#
    ))
}

fn ended(component: &[u8], limits: RunLimits) -> String {
    let mut pair = Pair::new(blueprint(&platform(), component, echo_config(), limits));
    exit_reason(&pair.turn(&[])).expect("it ends in its first turn")
}

#[test]
fn how_a_component_ends_is_told_alike_by_all_replicas() {
    assert_eq!(ended(&program("(i32.const 0)"), LIMITS), "exited with code 0");
    assert_eq!(ended(&program("(i32.const 1)"), LIMITS), "exited with code 1");
    assert_eq!(ended(&program("unreachable"), LIMITS), "trapped: wasm trap: wasm `unreachable` instruction executed");
    let unknown = program("(call $drop (i32.const 77)) (i32.const 0)");
    assert_eq!(ended(&unknown, LIMITS), "trapped: unknown handle index 77");
    let twice = "(local $p i32) (local.set $p (call $subscribe (i64.const 0)))
        (call $drop (local.get $p)) (call $drop (local.get $p)) (i32.const 0)";
    assert!(ended(&program(twice), LIMITS).starts_with("trapped: unknown handle index "));
}

#[test]
fn handles_are_limited_to_the_last_one() {
    // 8 for each of 1,000 descriptors, and 1,024.
    let take = |count: u32| {
        program(&format!(
            "(local $n i32) (loop $more (drop (call $subscribe (i64.const 0)))
                (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {count}))))
            (i32.const 0)"
        ))
    };
    assert_eq!(ended(&take(9024), LIMITS), "exited with code 0");
    let told = "trapped: has more than 9024 handles of streams, sockets and the like";
    assert_eq!(ended(&take(9025), LIMITS), told);
    let again = program(
        "(local $n i32) (loop $more (call $drop (call $subscribe (i64.const 0)))
            (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 20000))))
        (i32.const 0)",
    );
    assert_eq!(ended(&again, LIMITS), "exited with code 0", "what was dropped does not count");
}

#[test]
fn a_component_that_does_nothing_but_call_uses_up_its_fuel() {
    let calls = program("(loop $more (drop (call $now)) (br $more)) (i32.const 0)");
    let limits = RunLimits { fuel_per_turn: Some(5_000_000), ..LIMITS };
    assert_eq!(ended(&calls, limits), "trapped: used up its fuel of 5000000 in one turn without waiting");
}

/// The program that checks what the interfaces say, if it can be built here.
fn interfaces() -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/interfaces/build");
    let output = Command::new(build).arg(folder.path()).output().expect("the script can be run");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let component = std::fs::read(folder.path().join("interfaces.wasm")).ok();
    assert!(component.is_some() || std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{told}");
    component
}

/// A program by itself, with a directory that it may change, one that it may not, and no input.
fn by_itself(blueprint: Arc<Blueprint>, seat: u8) -> Rig {
    const TIMES: Times = Times { atime_ns: 1, mtime_ns: 2, ctime_ns: 3 };
    let mut rig = Rig::new(blueprint, seat);
    rig.replica.with_kernel(|kernel| {
        let fs = kernel.fs_mut();
        let free = fs.load(ROOT, b"free", Loaded::Directory, TIMES);
        let kept = fs.load(ROOT, b"kept", Loaded::Directory, TIMES);
        fs.load(kept, b"file", Loaded::File("kept".into()), TIMES);
        fs.end_loading();
        let given = |name: &str, inode, read_only| Preopen { name: name.into(), inode, read_only };
        let mut solo = Solo::new(vec![given("/", free, false), given("readonly", kept, true)], [false; 3]);
        solo.end_input();
        kernel.run_solo(solo);
    });
    rig
}

#[test]
fn every_check_of_the_interfaces_holds_and_replicas_agree_on_all_of_them() {
    let Some(component) = interfaces() else { return eprintln!("skipped: it cannot be built here") };
    for (arguments, last) in
        [(&["interfaces"][..], "udp-nobody-there"), (&["interfaces", "readonly"], "nothing was changed")]
    {
        let config = GuestConfig {
            args: arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect(),
            env: vec![b"NAME=a=value".to_vec()],
            ports: Vec::new(),
            ..config()
        };
        let blueprint = blueprint(&platform(), &component, config, LIMITS);
        let mut rigs = [0, 1].map(|seat| by_itself(Arc::clone(&blueprint), seat));
        let mut written = [Vec::new(), Vec::new()];
        let end = (0..10_000).find_map(|_| {
            let outcomes = rigs.each_mut().map(|rig| rig.turn(&[]));
            assert_eq!((outcomes[0].fuel, outcomes[0].after), (outcomes[1].fuel, outcomes[1].after));
            let ends = [0, 1].map(|seat| {
                rigs[seat].replica.with_kernel(|kernel| {
                    let taken = kernel.solo().expect("it runs by itself").take_output();
                    written[seat].extend(taken.into_iter().flat_map(|(_, bytes)| bytes));
                    (kernel.state_digest([0; 32]), kernel.process().last_end.clone())
                })
            });
            assert_eq!(ends[0], ends[1]);
            ends[0].1.clone()
        });
        assert_eq!(written[0], written[1]);
        let text = String::from_utf8_lossy(&written[0]);
        // The last line names the check that failed.
        assert_eq!(end, Some(GuestEnd::Exit(0)), "{text}");
        assert_eq!(text.lines().last(), Some(last), "{text}");
    }
}
