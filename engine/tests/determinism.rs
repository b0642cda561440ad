//! Invariants 1 and 2: a replica's turns are a function of its batches, however the machine runs it.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use refrain_engine::replica::RunLimits;
use refrain_engine::{Platform, TurnOutcome};
use refrain_wire::{Control, Record};
use support::{LIMITS, Rig, blueprint, command, config, data, exit_reason, open, platform, sent};

/// Answers every turn on a connection with what it sees: clocks, random bytes, files, directory, and the result of a
/// computation of about 20 ms, during which it yields its core many times.
const EVERYTHING: &str = r#"
  (local $n i32) (local $round i32)
  ;; iovec at 0: 64 bytes at 1024; subscription at 128: a clock, relative, 2 ms
  (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 64))
  (i64.store (i32.const 152) (i64.const 2000000))
  (i32.store (i32.const 144) (i32.const 1))
  (i64.store (i32.const 512) (i64.const 0x656c6966)) ;; "file"
  (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 16)))
  (loop $again
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 1024)))
    (drop (call $clock_time_get (i32.const 2) (i64.const 0) (i32.const 1032)))
    (drop (call $random_get (i32.const 1040) (i32.const 13)))
    (drop (call $path_open (i32.const 4) (i32.const 1) (i32.const 512) (i32.const 4) (i32.const 1)
      (i64.const -1) (i64.const -1) (i32.const 1) (i32.const 20)))
    (drop (call $fd_write (i32.load (i32.const 20)) (i32.const 0) (i32.const 1) (i32.const 24)))
    (drop (call $fd_filestat_get (i32.load (i32.const 20)) (i32.const 1100)))
    (drop (call $fd_close (i32.load (i32.const 20))))
    (drop (call $fd_readdir (i32.const 4) (i32.const 1200) (i32.const 400) (i64.const 0) (i32.const 28)))
    (i64.store (i32.const 1056) (i64.load (i32.const 1132)))
    (i64.store (i32.const 1064) (i64.load (i32.const 1264)))
    (local.set $n (i32.const 20000000))
    (loop $spin
      (i32.store (i32.const 1072)
        (i32.add (i32.mul (i32.load (i32.const 1072)) (i32.const 1103515245)) (local.get $n)))
      (br_if $spin (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (drop (call $sock_send (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 24)))
    (drop (call $poll_oneoff (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 24)))
    (br_if $again (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 5))))
"#;

const IMPORTS: &str = "sock_accept clock_time_get random_get path_open fd_write fd_filestat_get fd_close fd_readdir
    sock_send poll_oneoff";

fn session(platform: &Platform, module: &[u8], limits: RunLimits) -> Vec<TurnOutcome> {
    let mut rig = Rig::new(blueprint(platform, module, config(), limits), 0);
    let mut turns = vec![vec![], vec![open(1, 7)]];
    turns.extend((0..12).map(|_| vec![]));
    turns.push(vec![Record::Control(Control::Audit)]);
    turns.iter().map(|records| rig.turn(records)).collect()
}

fn digests(outcomes: &[TurnOutcome]) -> Vec<String> {
    outcomes.iter().map(|outcome| format!("{:?} {:?} {}", outcome.after, outcome.votes, outcome.fuel)).collect()
}

fn module() -> Vec<u8> {
    command(&IMPORTS.replace('\n', " "), EVERYTHING)
}

#[test]
fn a_guest_that_looks_at_everything_sees_the_same_on_a_busy_machine() {
    let (platform, module) = (platform(), module());
    let quiet = session(&platform, &module, LIMITS);
    let answers: Vec<_> = quiet.iter().map(sent).filter(|bytes| !bytes.is_empty()).collect();
    assert_eq!(answers.len(), 5, "{:?}", quiet.iter().map(exit_reason).collect::<Vec<_>>());
    assert!(answers.windows(2).all(|two| two[0] != two[1]), "time, numbers and file size differ from turn to turn");
    assert!(answers.iter().all(|answer| answer[16..29] != [0; 13] && answer[32..40] != [0; 8]));
    assert!(quiet.iter().any(|outcome| outcome.wants.is_some()));

    let stop = Arc::new(AtomicBool::new(false));
    let spinners: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
        })
        .collect();
    let busy = session(&platform, &module, LIMITS);
    stop.store(true, Ordering::Relaxed);
    spinners.into_iter().for_each(|spinner| spinner.join().unwrap());
    assert_eq!(digests(&quiet), digests(&busy));

    let elsewhere = session(&Platform::new(None).unwrap(), &module, LIMITS);
    assert_eq!(digests(&quiet), digests(&elsewhere), "another engine with its own ticker");
}

#[test]
fn fuel_that_is_not_used_up_does_not_show() {
    let (platform, module) = (platform(), module());
    let limited = session(&platform, &module, LIMITS);
    let unlimited = session(&platform, &module, RunLimits { fuel_per_turn: None, ..LIMITS });
    assert_eq!(limited.last().unwrap().after, unlimited.last().unwrap().after);
    let used: Vec<_> = limited.iter().map(|outcome| outcome.fuel).collect();
    assert_eq!(used, unlimited.iter().map(|outcome| outcome.fuel).collect::<Vec<_>>());
}

#[test]
fn batches_with_other_contents_give_other_digests() {
    let platform = platform();
    let blueprint = blueprint(&platform, support::ECHO, config(), LIMITS);
    let after = |bytes: &[u8], micros: u64| {
        let mut rig = Rig::new(blueprint.clone(), 0);
        rig.micros = micros;
        rig.turn(&[]);
        rig.turn(&[open(1, 7)]);
        rig.turn(&[data(1, bytes)]).after
    };
    assert_eq!(after(b"a", 1_000_000), after(b"a", 1_000_000));
    assert_ne!(after(b"a", 1_000_000), after(b"b", 1_000_000));
}
