//! Guests that throw: what is thrown is caught, costs no memory, and two replicas agree on it.

mod support;

use refrain_engine::replica::RunLimits;
use refrain_kernel::config::GuestConfig;
use refrain_wire::Record;
use support::{LIMITS, agree, config, exit_reason, lines, platform, wat};

/// Throws a number and catches it, as often as the table below says, and sums what it caught; then says a letter, `A` when the
/// sum is right.
fn throwing(times: u64) -> Vec<u8> {
    wat(&format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (tag $thrown (param i64))
          (data (i32.const 0) "\10\00\00\00\02\00\00\00")
          (data (i32.const 16) "A\n")
          (func $throw (param i64) (throw $thrown (local.get 0)))
          (func $try (param i64) (result i64)
            (block $caught (result i64)
              (try_table (catch $thrown $caught) (call $throw (local.get 0)))
              (i64.const 0)))
          (func $try_and_keep (param i64) (result i64)
            (local $kept exnref)
            (block $caught (result i64 exnref)
              (try_table (catch_ref $thrown $caught) (call $throw (local.get 0)))
              unreachable)
            (local.set $kept)
            (drop (ref.is_null (local.get $kept))))
          (func (export "_start")
            (local $left i64) (local $sum i64)
            (local.set $left (i64.const {times}))
            (loop $more
              (local.set $sum (i64.add (local.get $sum) (call $try (local.get $left))))
              (local.set $sum (i64.add (local.get $sum) (call $try_and_keep (i64.const 1))))
              (local.set $left (i64.sub (local.get $left) (i64.const 1)))
              (br_if $more (i64.ne (local.get $left) (i64.const 0))))
            (if (i64.ne (local.get $sum) (i64.const {sum})) (then (i32.store8 (i32.const 16) (i32.const 66))))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
        sum = times * (times + 1) / 2 + times,
    ))
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it tells how much is resident");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}

fn without_ports() -> GuestConfig {
    GuestConfig { ports: Vec::new(), ..config() }
}

#[test]
fn what_is_thrown_is_caught_and_replicas_agree() {
    let outcomes = agree(&platform(), &throwing(1000), without_ports(), LIMITS, &[Vec::<Record>::new()]);
    assert_eq!(lines(&outcomes[0]), ["A"], "{:?}", exit_reason(&outcomes[0]));
}

#[test]
fn an_exception_that_nobody_catches_ends_the_guest_alike_everywhere() {
    let module = wat(r#"(module (memory (export "memory") 1) (tag $thrown) (func (export "_start") (throw $thrown)))"#);
    let outcomes = agree(&platform(), &module, without_ports(), LIMITS, &[Vec::<Record>::new()]);
    let reason = exit_reason(&outcomes[0]).expect("it ended");
    assert!(reason.contains("threw an exception that nothing catches"), "{reason}");
}

#[test]
fn exceptions_that_are_kept_end_the_guest_at_its_memory_limit() {
    // Each exception holds the one before it.
    let module = wat(r#"(module
          (memory (export "memory") 1)
          (tag $thrown (param exnref))
          (func (export "_start")
            (local $kept exnref)
            (loop $more
              (block $caught (result exnref exnref)
                (try_table (catch_ref $thrown $caught) (throw $thrown (local.get $kept)))
                unreachable)
              (local.set $kept)
              drop
              (br $more))))"#);
    let limits = RunLimits { memory_bytes: 512 << 10, table_elements: 1_000_000, fuel_per_turn: None };
    let outcomes = agree(&platform(), &module, without_ports(), limits, &[Vec::<Record>::new()]);
    let reason = exit_reason(&outcomes[0]).expect("it ended");
    assert!(reason.contains("its exceptions need more than its memory limit of 524288 bytes"), "{reason}");
}

#[test]
fn many_throws_cost_no_memory() {
    let limits = RunLimits { fuel_per_turn: None, ..LIMITS };
    let run = |times| {
        let outcomes = agree(&platform(), &throwing(times), without_ports(), limits, &[Vec::<Record>::new()]);
        assert_eq!(lines(&outcomes[0]), ["A"], "{:?}", exit_reason(&outcomes[0]));
        resident_bytes()
    };
    let few = run(2_000);
    let many = run(20_000);
    assert!(many < few + (4 << 20), "{few} bytes grew to {many}");
}
