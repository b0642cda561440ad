//! Invariant 1 through checkpoints: capturing changes nothing, and a restored replica goes on alike.

mod support;

use std::sync::Arc;
use std::time::Duration;

use refrain_engine::checkpoint::manifest::{Difference, Parts};
use refrain_engine::checkpoint::{CheckpointStore, ChunkError, Manifest, RestoreError, StoreError};
use refrain_engine::replica::{Blueprint, Flip};
use refrain_engine::{Platform, Replica, TurnOutcome};
use refrain_inspect::asyncify::Reason;
use refrain_kernel::config::{GuestConfig, RestartPolicy};
use refrain_wire::{Control, Position, Record};
use support::chunks::{Chunks, restored};
use support::{LIMITS, Rig, blueprint, command, config, data, exit_reason, instrumented, lines, open, platform, sent};

const SERVE: &str = r#"
  (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 64))
  (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 16)))
  (loop $again
    (drop (call $sock_recv (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 24) (i32.const 28)))
    (drop (call $random_get (i32.const 1032) (i32.const 8)))
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 1040)))
    (drop (call $sock_send (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 24)))
    (br $again))
"#;

fn same(one: &TurnOutcome, other: &TurnOutcome) {
    assert_eq!(one.effects, other.effects);
    assert_eq!((&one.votes, one.after, one.wants, one.fuel), (&other.votes, other.after, other.wants, other.fuel));
}

/// Runs `turns` on one replica that is never captured, on one that is captured after each turn, and from each of its
/// checkpoints on a restored one: all do the same at every position.
fn every_checkpoint_goes_on_alike(
    platform: &Platform,
    module: &[u8],
    config: GuestConfig,
    turns: &[Vec<Record>],
) -> Vec<TurnOutcome> {
    let blueprint = blueprint(platform, module, config, LIMITS);
    let mut plain = Rig::new(blueprint.clone(), 0);
    let expected: Vec<TurnOutcome> = turns.iter().map(|records| plain.turn(records)).collect();
    let mut captured = Rig::new(blueprint.clone(), 1);
    let mut chunks = Chunks::default();
    for (at, records) in turns.iter().enumerate() {
        captured.replica.capture_next();
        let outcome = captured.turn(records);
        same(&outcome, &expected[at]);
        let manifest = chunks.seal(outcome.captured.as_ref().expect("the guest waits or is gone"));
        let mut restored = restored(&captured, &manifest, &chunks);
        for (later, expected) in turns[at + 1..].iter().zip(&expected[at + 1..]) {
            same(&restored.turn(later), expected);
        }
    }
    expected
}

#[test]
fn a_guest_restored_from_a_checkpoint_goes_on_as_the_captured_one() {
    let module = command("sock_accept sock_recv sock_send random_get clock_time_get", SERVE);
    let Some(module) = instrumented(&module) else { return };
    let turns = [
        vec![],
        vec![open(1, 7)],
        vec![data(1, b"hello")],
        vec![],
        vec![data(1, b"again")],
        vec![Record::Control(Control::Audit)],
        vec![data(1, b"and again")],
    ];
    let outcomes = every_checkpoint_goes_on_alike(&platform(), &module, config(), &turns);
    assert!(outcomes.iter().all(|outcome| exit_reason(outcome).is_none()));
    assert_eq!(sent(&outcomes[2])[..5], *b"hello");
}

/// Waits in `poll_oneoff` for 5 ms of log time, relative and without a descriptor, again and again.
const SLEEP: &str = r#"
  (i64.store (i32.const 152) (i64.const 5000000)) (i32.store (i32.const 144) (i32.const 1))
  (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 1))
  (i32.store (i32.const 1024) (i32.const 0x0a))
  (loop $again
    (drop (call $poll_oneoff (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 24)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (br $again))
"#;

#[test]
fn a_sleep_that_began_before_a_checkpoint_ends_when_it_would_have() {
    let Some(module) = instrumented(&command("poll_oneoff fd_write", SLEEP)) else { return };
    let turns = vec![vec![]; 20];
    let outcomes = every_checkpoint_goes_on_alike(&platform(), &module, config(), &turns);
    let woken = outcomes.iter().filter(|outcome| !lines(outcome).is_empty()).count();
    assert_eq!(woken, 3, "a turn a millisecond, 5 ms and a wake-up each");
}

/// Exits, traps or goes on, by what it is sent; begins anew 100 ms later.
const ENDS: &str = r#"
  (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 64))
  (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 16)))
  (loop $again
    (drop (call $sock_recv (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 24) (i32.const 28)))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 120)) (then (call $proc_exit (i32.const 3))))
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 116)) (then unreachable))
    (drop (call $sock_send (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 24)))
    (br $again))
"#;

#[test]
fn a_guest_that_ends_in_the_turn_of_a_checkpoint_or_waits_to_begin_anew_is_saved_without_memory() {
    let Some(module) = instrumented(&command("sock_accept sock_recv sock_send proc_exit", ENDS)) else { return };
    let config = GuestConfig { restart: RestartPolicy::Always, backoff: Duration::from_millis(2), ..config() };
    let turns = [
        vec![],
        vec![open(1, 7), data(1, b"a")],
        vec![data(1, b"x")],
        vec![],
        vec![],
        vec![open(2, 7), data(2, b"b")],
        vec![data(2, b"t"), Record::Control(Control::Audit)],
        vec![],
        vec![],
        vec![],
        vec![],
        vec![open(3, 7), data(3, b"c")],
    ];
    let outcomes = every_checkpoint_goes_on_alike(&platform(), &module, config, &turns);
    assert_eq!(exit_reason(&outcomes[2]).unwrap(), "exited with code 3");
    assert!(exit_reason(&outcomes[6]).unwrap().contains("unreachable"));
    assert_eq!([1, 5, 11].map(|at| sent(&outcomes[at])[0]), *b"abc");
}

#[test]
fn a_halted_group_is_saved_with_its_guest() {
    let module = command("sock_accept sock_recv sock_send random_get clock_time_get", SERVE);
    let Some(module) = instrumented(&module) else { return };
    let turns = [
        vec![open(1, 7), data(1, b"a")],
        vec![Record::Control(Control::Halt { position: Position(1) })],
        vec![open(2, 7)],
        vec![Record::Control(Control::Resume)],
        vec![],
    ];
    every_checkpoint_goes_on_alike(&platform(), &module, config(), &turns);
}

/// Takes a page more for every byte it is sent, and writes it all over.
const GROWS: &str = r#"
  (local $at i32)
  (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 1))
  (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 16)))
  (loop $again
    (drop (call $sock_recv (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 24) (i32.const 28)))
    (local.set $at (i32.mul (memory.grow (i32.load8_u (i32.const 1024))) (i32.const 65536)))
    (if (i32.ge_s (local.get $at) (i32.const 0)) (then
      (i32.store (local.get $at) (i32.const 7))))
    (i32.store (i32.const 1024) (memory.size))
    (drop (call $sock_send (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 24)))
    (br $again))
"#;

#[test]
fn memory_that_grows_between_checkpoints_and_a_limit_that_was_reached_are_saved() {
    let Some(module) = instrumented(&command("sock_accept sock_recv sock_send", GROWS)) else { return };
    let mut turns = vec![vec![], vec![open(1, 7)]];
    turns.extend([1, 5, 2, 250, 250, 250, 250, 250, 3].map(|pages| vec![data(1, &[pages])]));
    let outcomes = every_checkpoint_goes_on_alike(&platform(), &module, config(), &turns);
    assert_eq!([2, 3, 4].map(|at| sent(&outcomes[at])[0]), [2, 7, 9]);
    assert_eq!(outcomes.last().unwrap().usage.memory_bytes, 1012 * 65536);
}

#[test]
fn a_guest_that_is_not_instrumented_is_saved_when_it_does_not_run() {
    let platform = platform();
    let module = command("sock_accept sock_recv sock_send proc_exit", ENDS);
    let config = GuestConfig { restart: RestartPolicy::Always, ..config() };
    let blueprint = blueprint(&platform, &module, config, LIMITS);
    assert_eq!(blueprint.compiled.checkpointable, Err(vec![Reason::NotInstrumented]));
    let mut rig = Rig::new(blueprint, 0);
    rig.turn(&[]);
    rig.replica.capture_next();
    assert!(rig.turn(&[open(1, 7)]).captured.is_none());
    assert!(rig.turn(&[data(1, b"a")]).captured.is_none());
    let outcome = rig.turn(&[data(1, b"x")]);
    let mut chunks = Chunks::default();
    let manifest = chunks.seal(&outcome.captured.expect("it does not run now"));
    assert_eq!(manifest.parts().guest, None);
    let mut again = restored(&rig, &manifest, &chunks);
    for _ in 0..3 {
        rig.micros += 60_000;
        again.micros += 60_000;
        let outcome = rig.turn(&[]);
        same(&outcome, &again.turn(&[]));
        assert!(outcome.captured.is_none(), "it was taken once");
    }
}

#[test]
fn a_flipped_bit_gives_another_root_and_its_page_is_named() {
    let module = command("sock_accept sock_recv sock_send random_get clock_time_get", SERVE);
    let Some(module) = instrumented(&module) else { return };
    let blueprint = blueprint(&platform(), &module, config(), LIMITS);
    let mut rigs = [0, 1].map(|seat| Rig::new(blueprint.clone(), seat));
    rigs.iter_mut().for_each(|rig| drop(rig.turn(&[open(1, 7)])));
    rigs[1].replica.inject(Flip { address: 40_000, bit: 3 });
    rigs.iter_mut().for_each(|rig| rig.replica.capture_next());
    let mut chunks = Chunks::default();
    let [one, two] = rigs.each_mut().map(|rig| chunks.seal(&rig.turn(&[data(1, b"x")]).captured.unwrap()));
    assert_ne!(one.root(), two.root());
    let differences = one.differences(&two);
    assert!(matches!(differences[..], [Difference::Page { memory: 0, page: 0, .. }]), "{differences:?}");
    assert!(differences[0].to_string().starts_with("memory 0, page 0 (from byte 0): "), "{}", differences[0]);
}

/// Calls itself 3000 times and then waits.
const DEEP: &str = r#"(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $deep (param $left i32) (param $x i64) (result i64)
    (if (i32.eqz (local.get $left)) (then (drop (call $accept (i32.const 3) (i32.const 0) (i32.const 16)))))
    (if (local.get $left) (then
      (return (i64.add (local.get $x)
        (call $deep (i32.sub (local.get $left) (i32.const 1)) (i64.mul (local.get $x) (i64.const 3)))))))
    (local.get $x))
  (func (export "_start")
    (if (i64.eqz (call $deep (i32.const 8000) (i64.const 7))) (then unreachable))))"#;

#[test]
fn a_deep_stack_is_saved_and_one_that_is_too_deep_ends_the_guest_with_a_reason() {
    let Some(module) = instrumented(&support::wat(DEEP)) else { return };
    let turns = [vec![], vec![], vec![open(1, 7)], vec![]];
    let outcomes = every_checkpoint_goes_on_alike(&platform(), &module, config(), &turns);
    assert_eq!(exit_reason(&outcomes[2]).unwrap(), "exited with code 0");

    // The same with a page for the stack instead of 64.
    let at = module.windows(3).position(|three| three == [1, 64, 64]).expect("the memory for the stack");
    let mut small = module;
    small[at + 1..at + 3].copy_from_slice(&[1, 1]);
    let blueprint = blueprint(&platform(), &small, config(), LIMITS);
    let mut rigs = [0, 1].map(|seat| Rig::new(blueprint.clone(), seat));
    rigs.iter_mut().for_each(|rig| drop(rig.turn(&[])));
    rigs.iter_mut().for_each(|rig| rig.replica.capture_next());
    let [one, two] = rigs.each_mut().map(|rig| rig.turn(&[]));
    same(&one, &two);
    assert_eq!(exit_reason(&one).unwrap(), "its stack is too deep to be saved in a checkpoint");
    let mut chunks = Chunks::default();
    let roots = [one, two].map(|outcome| chunks.seal(&outcome.captured.expect("without the guest")).root());
    assert_eq!(roots[0], roots[1]);
}

/// A module that has all marks of an instrumented one and is none: `body` is its `_start`.
fn pretender(body: &str) -> Vec<u8> {
    support::wat(&format!(
        r#"(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (memory $stack 1 1)
  (global $state (mut i32) (i32.const 0))
  (global $data (mut i32) (i32.const 0))
  (func (export "_start") {body} (drop (global.get $state)))
  (func (export "asyncify_start_unwind") (param i32)
    (global.set $state (i32.const 1)) (global.set $data (local.get 0))
    (if (i32.gt_u (i32.load $stack (global.get $data)) (i32.load $stack offset=4 (global.get $data)))
      (then unreachable)))
  (func (export "asyncify_get_state") (result i32) (global.get $state)))"#
    ))
}

/// A replica that was captured after turn `at` and its restored self do the same in all later turns. Returns the
/// outcome of the turn of the checkpoint.
fn goes_on_alike(blueprint: &Arc<Blueprint>, turns: &[Vec<Record>], at: usize) -> TurnOutcome {
    let mut rigs = [0, 1].map(|seat| Rig::new(blueprint.clone(), seat));
    let mut captured = Vec::new();
    for (turn, records) in turns[..=at].iter().enumerate() {
        if turn == at {
            rigs.iter_mut().for_each(|rig| rig.replica.capture_next());
        }
        let outcomes = rigs.each_mut().map(|rig| rig.turn(records));
        same(&outcomes[0], &outcomes[1]);
        captured = outcomes.into();
    }
    let mut chunks = Chunks::default();
    let roots: Vec<Manifest> = captured.iter().map(|outcome| chunks.seal(outcome.captured.as_ref().unwrap())).collect();
    assert_eq!(roots[0], roots[1]);
    let mut again = restored(&rigs[0], &roots[0], &chunks);
    turns[at + 1..].iter().for_each(|records| same(&again.turn(records), &rigs[0].turn(records)));
    captured.swap_remove(0)
}

#[test]
fn a_module_that_only_pretends_to_be_instrumented_ends_or_goes_on_alike_everywhere() {
    let accept = "(drop (call $accept (i32.const 3) (i32.const 0) (i32.const 16)))";
    let random = "(drop (call $random (i32.const 0) (i32.const 8)))";
    let broken = Some("its stack could not be saved: the module is not instrumented as it says");
    let platform = platform();
    for (body, reason) in [
        (format!("{accept} (loop (br 0))"), broken),
        (format!("{accept} (loop {random} (br 0))"), broken),
        (format!("{accept} (call $exit (i32.const 0))"), broken),
        (format!("{accept} unreachable"), broken),
        (format!("{accept} (global.set $state (i32.const 0))"), broken),
        (format!("{accept} (i32.store $stack (i32.const 0) (i32.const 99999999))"), broken),
        (format!("{accept} (i32.store $stack (i32.const 65533) (i32.const 1))"), Some("its stack is too deep")),
        // It returns as if it had stored something, and then never comes to wait again.
        (format!("(if (i32.eqz (global.get $state)) (then {accept}))"), broken),
        (format!("(if (global.get $state) (then (loop (br 0)))) {accept}"), broken),
        (format!("(if (global.get $state) (then (loop {random} (br 0)))) {accept}"), broken),
        // It comes to wait again: nothing is wrong with that.
        (format!("{accept} {accept}"), None),
        (format!("{accept} {random}"), None),
    ] {
        let blueprint = blueprint(&platform, &pretender(&body), config(), LIMITS);
        assert!(blueprint.compiled.checkpointable.is_ok(), "{body}");
        let outcome = goes_on_alike(&blueprint, &[vec![], vec![], vec![open(1, 7)], vec![open(2, 7)]], 1);
        let found = exit_reason(&outcome);
        match reason {
            Some(reason) => assert!(found.as_ref().is_some_and(|found| found.starts_with(reason)), "{body}: {found:?}"),
            None => assert_eq!(found, None, "{body}"),
        }
    }
}

#[test]
fn a_pretender_that_comes_to_wait_again_is_equal_to_its_restored_self() {
    let body = "(local $n i32)
        (loop $on
          (i64.store $stack offset=600 (i32.const 8) (i64.const -1))
          (drop (call $accept (i32.const 3) (i32.const 0) (i32.const 16)))
          (if (i32.eq (global.get $state) (i32.const 1)) (then return))
          (drop (call $random (i32.const 8) (i32.const 8)))
          (br_if $on (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))";
    let turns: Vec<_> = (1..8).map(|serial| vec![open(serial, 7), Record::Control(Control::Audit)]).collect();
    let blueprint = blueprint(&platform(), &pretender(body), config(), LIMITS);
    (0..turns.len()).for_each(|at| drop(goes_on_alike(&blueprint, &turns, at)));
}

#[test]
fn a_checkpoint_that_does_not_fit_or_is_not_whole_gives_no_replica() {
    let module = command("sock_accept sock_recv sock_send random_get clock_time_get", SERVE);
    let Some(module) = instrumented(&module) else { return };
    let platform = platform();
    let blueprint = blueprint(&platform, &module, config(), LIMITS);
    let mut rig = Rig::new(blueprint.clone(), 0);
    rig.replica.capture_next();
    let mut chunks = Chunks::default();
    let manifest = chunks.seal(&rig.turn(&[open(1, 7)]).captured.unwrap());
    let id = rig.replica.id();
    let refused = |blueprint: &Arc<Blueprint>, manifest: &Manifest, chunks: &Chunks| {
        let result = Replica::restore(id, blueprint.clone(), manifest, Arc::new(chunks.clone()));
        result.err().expect("it is refused")
    };
    for chunk in manifest.chunks() {
        let mut less = chunks.clone();
        let mut bytes = less.0.remove(&chunk).unwrap().to_vec();
        let error = refused(&blueprint, &manifest, &less);
        assert!(matches!(&error, RestoreError::Chunk(ChunkError::Missing { id }) if *id == chunk), "{error}");
        bytes[0] ^= 1;
        less.0.insert(chunk, bytes.into());
        let error = refused(&blueprint, &manifest, &less);
        assert!(matches!(&error, RestoreError::Chunk(ChunkError::Damaged { id, .. }) if *id == chunk), "{error}");
    }
    let echo = support::blueprint(&platform, support::ECHO, config(), LIMITS);
    assert!(matches!(refused(&echo, &manifest, &chunks), RestoreError::Foreign { what: "bundle" }));
    let edit = |edit: fn(&mut Parts)| {
        let mut parts = manifest.parts().clone();
        edit(&mut parts);
        Manifest::new(parts)
    };
    let key = edit(|parts| parts.key.0[0] ^= 1);
    assert!(matches!(refused(&blueprint, &key, &chunks), RestoreError::Foreign { what: "engine" }));
    let edits: [fn(&mut Parts); 8] = [
        |parts| parts.guest = None,
        |parts| parts.kernel.bytes -= 1,
        |parts| parts.kernel.chunks.truncate(0),
        |parts| parts.guest.as_mut().unwrap().globals.truncate(1),
        |parts| parts.guest.as_mut().unwrap().memories.truncate(1),
        |parts| parts.guest.as_mut().unwrap().memories[0].pages = 0,
        |parts| parts.guest.as_mut().unwrap().memories[0].pages = 65536,
        |parts| parts.guest.as_mut().unwrap().memories[1].chunks.clear(),
    ];
    for (at, change) in edits.into_iter().enumerate() {
        let error = refused(&blueprint, &edit(change), &chunks);
        assert!(!error.to_string().is_empty(), "edit {at}");
    }
}

#[test]
fn what_could_not_be_stored_is_copied_again_by_the_next_capture() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(CheckpointStore::open(folder.path()).unwrap());
    let blueprint = blueprint(&platform(), support::ECHO, config(), LIMITS);
    let mut rig = Rig::new(blueprint.clone(), 0);
    rig.turn(&[open(1, 7)]);
    let captured = |rig: &mut Rig, bytes: &[u8]| {
        rig.replica.capture_next();
        rig.turn(&[data(1, bytes)]).captured.expect("the guest waits")
    };
    let first = store.save(&captured(&mut rig, b"one")).unwrap();
    // Its pages were freed, and now their chunks are gone: what builds on them is no checkpoint.
    store.remove_group(first.parts().group).unwrap();
    let error = store.save(&captured(&mut rig, b"two")).unwrap_err();
    assert!(matches!(error, StoreError::Chunk(ChunkError::Missing { .. })), "{error}");
    assert_eq!(store.list(first.parts().group).unwrap(), []);
    let whole = store.save(&captured(&mut rig, b"three")).unwrap();
    let restored = Replica::restore(rig.replica.id(), blueprint, &whole, store).unwrap();
    assert_eq!(restored.running_digest(), rig.replica.running_digest());
}
