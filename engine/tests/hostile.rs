//! Guests that do everything wrong: each ends with its own reason, on every replica alike, and never ends the host.

mod support;

use refrain_engine::replica::RunLimits;
use refrain_engine::{Platform, TurnOutcome};
use refrain_inspect::ValType;
use refrain_inspect::abi::Family;
use refrain_wire::{EffectKind, Record};
use support::{LIMITS, agree, command, config, exit_reason, functions, lines, platform, wat};

const PAGE: u64 = 65536;
const SMALL: RunLimits =
    RunLimits { memory_bytes: 4 * PAGE, table_elements: 1_000_000, fuel_per_turn: Some(5_000_000) };

fn run_with(platform: &Platform, module: &[u8], limits: RunLimits) -> TurnOutcome {
    agree(platform, module, config(), limits, &[vec![], vec![Record::Control(refrain_wire::Control::Audit)]]).remove(0)
}

/// How a module ends in its first turn.
fn end_of(module: &[u8]) -> String {
    exit_reason(&run_with(&platform(), module, SMALL)).expect("it ends in its first turn")
}

fn start(body: &str) -> Vec<u8> {
    wat(&format!("(module (memory (export \"memory\") 1) {body})"))
}

#[test]
fn a_guest_that_loops_for_ever_uses_up_its_fuel() {
    let module = start("(func (export \"_start\") (loop (br 0)))");
    let outcome = run_with(&platform(), &module, SMALL);
    let reason = exit_reason(&outcome).unwrap();
    assert_eq!(reason, "trapped: used up its fuel of 5000000 in one turn without waiting");
    assert!(outcome.fuel >= 4_999_000, "{}", outcome.fuel);
}

#[test]
fn work_that_the_host_does_for_a_guest_counts_against_its_fuel() {
    for call in [
        "(drop (call $random_get (i32.const 0) (i32.const 65536)))",
        "(drop (call $clock_res_get (i32.const 0) (i32.const 0)))",
        "(drop (call $fd_allocate (i32.const 99) (i64.const 0) (i64.const 1)))",
    ] {
        let module = command("random_get clock_res_get fd_allocate", &format!("(loop {call} (br 0))"));
        assert!(end_of(&module).contains("used up its fuel"), "{call}");
    }
    let module = command("random_get", "(drop (call $random_get (i32.const 0) (i32.const 65536)))");
    assert!(run_with(&platform(), &module, SMALL).fuel >= 65536);
}

#[test]
fn traps_are_named() {
    for (body, word) in [
        ("unreachable", "unreachable"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divide by zero"),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", "overflow"),
        ("(drop (i32.load (i32.const 65533)))", "out of bounds memory"),
        ("(drop (i32.load offset=4294967295 (i32.const -1)))", "out of bounds memory"),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "integer"),
    ] {
        let reason = end_of(&start(&format!("(func (export \"_start\") {body})")));
        assert!(reason.starts_with("trapped: ") && reason.contains(word), "{body}: {reason}");
    }
    let reason = end_of(&start("(func $f (export \"_start\") (call $f))"));
    assert!(reason.contains("call stack exhausted"), "{reason}");
    let table = "(table 1 funcref) (type $t (func)) (func (export \"_start\") (call_indirect (type $t) (i32.const 0)))";
    assert!(end_of(&start(table)).contains("uninitialized element"));
}

#[test]
fn memory_grows_to_its_limit_exactly_and_the_reason_of_a_later_trap_names_it() {
    let grow = |pages: u32| format!("(i32.eq (memory.grow (i32.const {pages})) (i32.const -1))");
    let exactly = format!("(func (export \"_start\") (if {} (then unreachable)))", grow(3));
    assert_eq!(end_of(&start(&exactly)), "exited with code 0");
    let above = format!("(func (export \"_start\") (if {} (then unreachable)))", grow(4));
    let reason = end_of(&start(&above));
    assert!(reason.ends_with("(its memory limit of 262144 bytes was reached)"), "{reason}");
    let for_ever = "(func (export \"_start\") (loop (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1))
        (then unreachable)) (br 0)))";
    assert!(end_of(&start(for_ever)).contains("limit of 262144 bytes"));
}

#[test]
fn growth_beyond_the_modules_own_maximum_or_any_address_is_the_guests_affair() {
    for (memory, pages) in [("1 2", 2), ("1", 65535), ("1", 65536), ("1", -1), ("1 2", 65536)] {
        let text = format!(
            "(module (memory (export \"memory\") {memory})
             (func (export \"_start\")
               (drop (memory.grow (i32.const 1)))
               (if (i32.ne (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable))))"
        );
        let reason = end_of(&wat(&text));
        assert_eq!(reason, "exited with code 0", "memory {memory} grown by {pages}");
    }
}

#[test]
fn calls_one_after_another_without_a_loop_use_up_fuel_too_and_a_wait_does_not_save_them() {
    // Each call costs 60,200 of the limit's 5,000,000, and nothing of wasm's own stands between them.
    let calls = "(drop (call $random_get (i32.const 1024) (i32.const 60000)))".repeat(90);
    let ends = |imports: &str, last: &str| end_of(&command(imports, &format!("{calls}{last}")));
    let reason = ends("random_get", "");
    assert!(reason.contains("used up its fuel"), "{reason}");
    let accept = "(drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 64)))";
    let few = "(drop (call $random_get (i32.const 1024) (i32.const 60000)))".repeat(83);
    let module = command(
        "random_get sock_accept",
        &format!("{few}(drop (call $random_get (i32.const 1024) (i32.const 60000))){accept}"),
    );
    assert!(end_of(&module).contains("used up its fuel"), "it waits, and owes more than it had");
}

#[test]
fn a_module_that_begins_above_a_limit_is_not_started() {
    let reason = end_of(&wat("(module (memory (export \"memory\") 5) (func (export \"_start\")))"));
    assert_eq!(reason, "could not be started (its memory limit of 262144 bytes was reached)");
    assert_eq!(
        end_of(&wat("(module (memory (export \"memory\") 4) (func (export \"_start\")))")),
        "exited with code 0"
    );
    let reason = end_of(&wat("(module (table 1000001 funcref) (func (export \"_start\")))"));
    assert_eq!(reason, "could not be started (its tables have more than 1000000 elements)");
    assert_eq!(end_of(&wat("(module (table 1000000 funcref) (func (export \"_start\")))")), "exited with code 0");
    let reason = end_of(&wat("(module (table 600000 funcref) (table 600000 funcref) (func (export \"_start\")))"));
    assert!(reason.contains("1000000 elements"), "all tables count together: {reason}");
}

#[test]
fn all_memories_count_together_at_the_start_and_in_growth() {
    let begun = |second: u32| {
        end_of(&wat(&format!("(module (memory (export \"memory\") 2) (memory {second}) (func (export \"_start\")))")))
    };
    assert_eq!(begun(2), "exited with code 0");
    assert_eq!(begun(3), "could not be started (its memory limit of 262144 bytes was reached)");
    let grown = |first: u32, second: u32, expected: i32| {
        let text = format!(
            "(module (memory (export \"memory\") 1) (memory 1) (func (export \"_start\")
               (if (i32.eq (memory.grow 0 (i32.const {first})) (i32.const -1)) (then unreachable))
               (if (i32.ne (memory.grow 1 (i32.const {second})) (i32.const {expected})) (then unreachable))))"
        );
        end_of(&wat(&text))
    };
    assert_eq!(grown(1, 1, 1), "exited with code 0");
    assert_eq!(grown(1, 2, -1), "exited with code 0");
    assert_eq!(grown(0, 2, 1), "exited with code 0");
    // What a memory's own maximum refuses takes nothing of the limit.
    let refused = "(module (memory (export \"memory\") 1 2) (memory 1) (func (export \"_start\")
        (if (i32.ne (memory.grow 0 (i32.const 2)) (i32.const -1)) (then unreachable))
        (if (i32.ne (memory.grow 1 (i32.const 2)) (i32.const 1)) (then unreachable))))";
    assert_eq!(end_of(&wat(refused)), "exited with code 0");
}

#[test]
fn what_a_guest_uses_and_what_an_audit_looks_at_are_all_its_memories() {
    let waiting = |byte: char| {
        let module = wat(&format!(
            "(module
               (import \"wasi_snapshot_preview1\" \"sock_accept\" (func $accept (param i32 i32 i32) (result i32)))
               (memory (export \"memory\") 1) (memory $other 2) (data (memory $other) (i32.const 70000) \"{byte}\")
               (func (export \"_start\") (drop (call $accept (i32.const 3) (i32.const 0) (i32.const 64)))))"
        ));
        let audit = vec![Record::Control(refrain_wire::Control::Audit)];
        agree(&platform(), &module, config(), SMALL, &[vec![], audit])
    };
    let (one, other) = (waiting('a'), waiting('b'));
    assert_eq!(one[1].usage.memory_bytes, 3 * PAGE);
    assert_eq!(one[0].after, other[0].after);
    assert_ne!(one[1].after, other[1].after);
}

#[test]
fn what_a_guest_that_waits_uses_is_told_and_nothing_of_one_that_has_ended() {
    let module = wat(r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (table 3 funcref) (table $other 1 externref)
        (data (i32.const 0) "\10\00\00\00\04\00\00\00") (data (i32.const 16) "a\nb\n")
        (func (export "_start")
          (drop (table.grow (ref.null func) (i32.const 4)))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
          (drop (call $accept (i32.const 3) (i32.const 0) (i32.const 64)))))"#);
    let outcomes = agree(&platform(), &module, config(), SMALL, &[vec![], vec![support::open(1, 7)]]);
    let told = |outcome: &TurnOutcome| {
        let usage = outcome.usage;
        (usage.memory_bytes, usage.table_elements, usage.descriptors, usage.log_lines, usage.outward)
    };
    assert_eq!(told(&outcomes[0]), (PAGE, 8, 5, 2, 0));
    assert_eq!(told(&outcomes[1]), (0, 0, 0, 2, 0));
}

#[test]
fn tables_grow_to_their_limit_exactly() {
    let grow = |count: u32, expected: i32| {
        let text = format!(
            "(module (table 1 funcref) (func (export \"_start\")
               (if (i32.ne (table.grow (ref.null func) (i32.const {count})) (i32.const {expected})) (then unreachable))))"
        );
        exit_reason(&run_with(&platform(), &wat(&text), RunLimits { fuel_per_turn: None, ..SMALL })).unwrap()
    };
    assert_eq!(grow(999_999, 1), "exited with code 0");
    assert_eq!(grow(1_000_000, -1), "exited with code 0");
    assert_eq!(grow(u32::MAX, -1), "exited with code 0");
}

#[test]
fn the_manifests_limit_of_tables_holds_at_the_start_and_in_growth() {
    let end = |text: &str| {
        let limits = RunLimits { table_elements: 10, ..SMALL };
        exit_reason(&run_with(&platform(), &wat(text), limits)).unwrap()
    };
    let module = |size: u32| format!("(module (table {size} funcref) (func (export \"_start\")))");
    assert_eq!(end(&module(10)), "exited with code 0");
    assert_eq!(end(&module(11)), "could not be started (its tables have more than 10 elements)");
    let grown = "(module (table 4 funcref) (table 4 funcref) (func (export \"_start\")
        (if (i32.ne (table.grow 0 (ref.null func) (i32.const 2)) (i32.const 4)) (then unreachable))
        (if (i32.ne (table.grow 1 (ref.null func) (i32.const 1)) (i32.const -1)) (then unreachable))))";
    assert_eq!(end(grown), "exited with code 0");
}

#[test]
fn fuel_that_is_just_enough_is_and_one_less_is_not() {
    let module = start(
        "(func (export \"_start\") (local i32) (loop (local.set 0 (i32.add (local.get 0) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get 0) (i32.const 1000)))))",
    );
    let with = |fuel| run_with(&platform(), &module, RunLimits { fuel_per_turn: Some(fuel), ..SMALL });
    let needs = with(1_000_000).fuel;
    assert!(needs > 1000, "{needs}");
    // Fuel is looked at where loops and functions begin, so the last instructions may be free.
    let is_enough = |fuel: u64| exit_reason(&with(fuel)).unwrap() == "exited with code 0";
    let (mut less, mut least) = (0, needs);
    while least - less > 1 {
        let middle = u64::midpoint(less, least);
        if is_enough(middle) { least = middle } else { less = middle }
    }
    assert!(least + 100 > needs, "{least} of {needs}");
    assert!(is_enough(least) && is_enough(least + 1) && is_enough(needs));
    assert!(exit_reason(&with(least - 1)).unwrap().contains("used up its fuel"));
    assert!(!is_enough(least / 2));
}

#[test]
fn modules_that_cannot_run_are_refused_with_a_reason() {
    let platform = platform();
    let good = start("(func (export \"_start\"))");
    let import = "(module (import \"env\" \"f\" (func)) (func (export \"_start\")))";
    for (bytes, word) in [
        (Vec::new(), "empty"),
        (b"#!/bin/sh\n".to_vec(), "not a WebAssembly module"),
        (good[..good.len() - 3].to_vec(), "unexpected end"),
        (good[..5].to_vec(), "truncated"),
        (wat(import), "env.f"),
        (start("(func (export \"main\"))"), "_start"),
        (start("(func (export \"_start\") (param i32))"), "_start"),
        (wat("(module (memory 1 1 shared) (func (export \"_start\")))"), "threads"),
        (wat("(module (memory i64 1) (func (export \"_start\")))"), "64"),
        (start("(func (export \"refrain:global:0\")) (func (export \"_start\"))"), "reserved"),
    ] {
        let error = platform.load(&bytes).err().unwrap_or_else(|| panic!("{word}: it was taken"));
        let mut words = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            words += &format!(": {cause}");
            source = cause.source();
        }
        assert!(words.contains(word), "{word}: {words}");
    }
}

#[test]
fn a_start_function_runs_before_start_and_is_bounded_like_it() {
    let module = start("(func $begin (loop (br 0))) (start $begin) (func (export \"_start\"))");
    assert!(end_of(&module).contains("used up its fuel"));
    let module = start("(func $begin unreachable) (start $begin) (func (export \"_start\"))");
    assert!(end_of(&module).contains("unreachable"));
    // Data that never fits is told before anything is started.
    let module = start("(data (i32.const 65535) \"ab\") (func (export \"_start\"))");
    let told = platform().load(&module).err().expect("it is refused").to_string();
    assert!(told.contains("ends at byte 65537"), "{told}");
}

#[test]
fn exits_have_their_code_and_what_was_written_before_is_told() {
    for code in [0, 1, 255, -1] {
        let module = command("proc_exit", &format!("(call $proc_exit (i32.const {code}))"));
        assert_eq!(end_of(&module), format!("exited with code {}", code as u32));
    }
    let write = "(i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 3))
        (i32.store (i32.const 16) (i32.const 0x6f0a6968))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store (i32.const 4) (i32.const 4))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let outcome = run_with(
        &platform(),
        &command("fd_write proc_exit", &format!("{write} (call $proc_exit (i32.const 7))")),
        SMALL,
    );
    assert_eq!(lines(&outcome), ["hi", "hi", "o"], "the unfinished line too");
    assert_eq!(exit_reason(&outcome).unwrap(), "exited with code 7");
    let outcome = run_with(&platform(), &command("fd_write", &format!("{write} unreachable")), SMALL);
    assert_eq!(lines(&outcome), ["hi", "hi", "o"]);
}

/// Every function with every argument at the edges of 32 bits and of the memory.
#[test]
fn bad_pointers_in_every_function_are_an_errno() {
    let platform = platform();
    let edges = [0u32, 1, 65528, 65532, 65535, 65536, 0x7fff_ffff, 0xffff_fff0, u32::MAX - 7, u32::MAX];
    for (name, function) in functions().into_iter().filter(|(_, function)| function.link().1 != "proc_exit") {
        let mut body = String::new();
        for fd in [0, 1, 3, 4] {
            for (at, edge) in edges.iter().enumerate() {
                for other in [*edge, edges[(at + 3) % edges.len()], 8] {
                    let argument = |(index, ty): (usize, &ValType)| match (ty, index) {
                        (ValType::I32, 0) => format!("(i32.const {fd})"),
                        (ValType::I32, _) if index % 2 == 1 => format!("(i32.const {})", *edge as i32),
                        (ValType::I32, _) => format!("(i32.const {})", other as i32),
                        _ => format!("(i64.const {})", u64::from(other) << 32),
                    };
                    let arguments: String = function.params.iter().enumerate().map(argument).collect();
                    let close = if function.results.is_empty() { "" } else { "drop" };
                    // A call that would wait is not what this test is about: the guest's descriptors do not block.
                    body += &format!("(call ${name} {arguments}) {close}\n");
                }
            }
        }
        let nonblocking = "(drop (call $fd_fdstat_set_flags (i32.const 3) (i32.const 4)))";
        let others = if name == "fd_fdstat_set_flags" { "" } else { "fd_fdstat_set_flags" };
        // What makes a module a RepliCode program.
        let marks = if name == "rc.sock_open" || function.family != Family::Replicode { "" } else { "rc.sock_open" };
        let module = command(&format!("{name} {others} {marks}"), &format!("{nonblocking} {body}"));
        let outcomes = agree(&platform, &module, config(), LIMITS, &[vec![], vec![]]);
        if let Some(reason) = outcomes.iter().find_map(exit_reason) {
            // A raised signal ends the guest, as it should.
            let ends = name == "proc_raise" && reason == "exited with code 129";
            assert!(ends || reason == "exited with code 0", "{name}: {reason}");
        }
    }
}

#[test]
fn a_guest_that_ended_does_not_come_back_and_its_audit_is_the_kernels() {
    let turns = [vec![], vec![support::open(1, 7)], vec![Record::Control(refrain_wire::Control::Audit)]];
    let module = start("(func (export \"_start\") unreachable)");
    let outcomes = agree(&platform(), &module, config(), SMALL, &turns);
    let kinds = |index: usize| outcomes[index].effects.effects.iter().map(|e| e.entry.kind).collect::<Vec<_>>();
    assert_eq!(kinds(1), [EffectKind::Reset]);
    assert_eq!(kinds(2), [EffectKind::Audit]);
    assert_eq!((outcomes[1].fuel, outcomes[1].usage.memory_bytes), (0, 0), "nothing ran");
}
