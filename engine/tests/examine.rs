//! Looking at replicas: their guests' calls, and their state between two turns. Neither changes anything.

mod support;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use parking_lot::Mutex;
use refrain_engine::checkpoint::manifest::Difference;
use refrain_engine::replica::{Flip, Remains, Retired};
use refrain_engine::trace::HostCall;
use refrain_engine::{BatchSource, Platform, Replica, ReplicaId, Report, TurnBatch, TurnOutcome, Workers};
use refrain_wire::{GroupId, Incarnation, Position, Record, Seat};
use support::chunks::Chunks;
use support::{LIMITS, Rig, blueprint, command, config, data, instrumented, open, platform};

const SERVE: &str = r#"
  (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 64))
  (i64.store (i32.const 512) (i64.const 0x656c6966)) ;; "file"
  (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 16)))
  (loop $again
    (drop (call $sock_recv (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 24) (i32.const 28)))
    (drop (call $random_get (i32.const 1032) (i32.const 8)))
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 1040)))
    (drop (call $path_unlink_file (i32.const 4) (i32.const 512) (i32.const 4)))
    (drop (call $sock_send (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 24)))
    (br_if $again (i32.ne (i32.load8_u (i32.const 1024)) (i32.const 120))))
  (call $proc_exit (i32.const 3))
"#;
const IMPORTS: &str = "sock_accept sock_recv random_get clock_time_get path_unlink_file sock_send proc_exit";

fn turns() -> Vec<Vec<Record>> {
    vec![vec![], vec![open(1, 7)], vec![data(1, b"a")], vec![data(1, b"b")], vec![data(1, b"x")], vec![]]
}

fn same(one: &TurnOutcome, other: &TurnOutcome) {
    assert_eq!(one.effects, other.effects);
    assert_eq!((&one.votes, one.after, one.wants, one.fuel), (&other.votes, other.after, other.wants, other.fuel));
}

#[test]
fn the_calls_of_a_guest_are_told_and_its_turns_are_those_of_any_other() {
    let module = command(IMPORTS, SERVE);
    let (plain, traced) = (platform(), platform().traced().unwrap());
    let mut rigs = [&plain, &traced].map(|platform| Rig::new(blueprint(platform, &module, config(), LIMITS), 0));
    let calls: Arc<Mutex<Vec<HostCall>>> = Arc::default();
    for rig in &mut rigs {
        let calls = Arc::clone(&calls);
        rig.replica.tell_calls(Some(Box::new(move |call| calls.lock().push(call))));
    }
    let mut told: Vec<Vec<String>> = Vec::new();
    for records in turns() {
        let [one, other] = rigs.each_mut().map(|rig| rig.turn(&records));
        same(&one, &other);
        told.push(calls.lock().drain(..).map(|call| call.to_string()).collect());
    }
    assert_eq!(told[0], ["sock_accept(fd=3, flags=0x0) waits"]);
    assert_eq!(told[1], ["sock_accept(fd=3, flags=0x0) accepted=5", "sock_recv(fd=5, buffers=1, flags=0x0) waits"]);
    assert_eq!(told[2][0], "sock_recv(fd=5, buffers=1, flags=0x0) bytes=1");
    assert_eq!(told[2][1], "random_get(bytes=8) ok");
    assert!(told[2][2].starts_with("clock_time_get(clock=0) nanoseconds="), "{:?}", told[2]);
    assert_eq!(told[2][3], "path_unlink_file(dir=4, path=\"file\") errno 44 (no such file or directory)");
    assert_eq!(told[2][4..], ["sock_send(fd=5, buffers=1) bytes=64", "sock_recv(fd=5, buffers=1, flags=0x0) waits"]);
    assert_eq!(told[4].last().unwrap(), "proc_exit(code=3) ends");
    assert!(told[5].is_empty());
}

/// Looks at one of two replicas after each turn; both go on alike.
fn looked_at_goes_on_alike(module: &[u8], look: impl Fn(&mut Replica)) {
    let blueprint = blueprint(&platform(), module, config(), LIMITS);
    let mut rigs = [0, 1].map(|seat| Rig::new(blueprint.clone(), seat));
    for records in turns() {
        let [one, other] = rigs.each_mut().map(|rig| rig.turn(&records));
        same(&one, &other);
        look(&mut rigs[0].replica);
    }
}

#[test]
fn a_replica_that_was_looked_at_or_captured_between_turns_goes_on_as_before() {
    let module = command(IMPORTS, SERVE);
    looked_at_goes_on_alike(&module, |replica| {
        assert!(replica.look().position() == replica.position());
        assert!(replica.capture().is_none() || replica.position() > Position(4), "it is not instrumented");
    });
    let Some(module) = instrumented(&module) else { return };
    looked_at_goes_on_alike(&module, |replica| {
        let mut chunks = Chunks::default();
        let [one, two] = [0, 1].map(|_| chunks.seal(&replica.capture().unwrap().unwrap()).root());
        assert_eq!(one, two);
        let looked = chunks.seal(&replica.look());
        assert_eq!(looked.root(), chunks.seal(&replica.look()).root());
    });
}

#[test]
fn a_capture_between_turns_is_that_of_a_checkpoint_there() {
    let Some(module) = instrumented(&command(IMPORTS, SERVE)) else { return };
    let blueprint = blueprint(&platform(), &module, config(), LIMITS);
    let mut rigs = [0, 1].map(|seat| Rig::new(blueprint.clone(), seat));
    for records in turns() {
        rigs[0].replica.capture_next();
        let [one, _] = rigs.each_mut().map(|rig| rig.turn(&records));
        let mut chunks = Chunks::default();
        let ordered = chunks.seal(&one.captured.unwrap());
        assert_eq!(ordered.root(), chunks.seal(&rigs[1].replica.capture().unwrap().unwrap()).root());
    }
}

#[test]
fn a_flipped_bit_of_a_guest_that_cannot_be_saved_is_found_by_looking() {
    let blueprint = blueprint(&platform(), &command(IMPORTS, SERVE), config(), LIMITS);
    let mut rigs = [0, 1].map(|seat| Rig::new(blueprint.clone(), seat));
    rigs.iter_mut().for_each(|rig| drop(rig.turn(&[open(1, 7)])));
    rigs[1].replica.inject(Flip { address: 40_000, bit: 3 });
    let mut chunks = Chunks::default();
    let [one, two] = rigs.each_mut().map(|rig| {
        rig.turn(&[data(1, b"a")]);
        chunks.seal(&rig.replica.look())
    });
    let differences = one.differences(&two);
    let [Difference::Page { memory: 0, page: 0, chunks: (Some(good), Some(bad)) }] = differences[..] else {
        panic!("{differences:?}");
    };
    let (good, bad) = (&chunks.0[&good], &chunks.0[&bad]);
    let differ: Vec<usize> = (0..good.len()).filter(|at| good[*at] != bad[*at]).collect();
    assert_eq!(differ, [40_000]);
}

/// A log in memory.
struct Log(Vec<Arc<TurnBatch>>);

impl BatchSource for Log {
    fn read(&self, _: GroupId, after: Position, _: usize) -> Result<Vec<Arc<TurnBatch>>, String> {
        Ok(self.0.iter().filter(|batch| batch.position > after).cloned().collect())
    }
}

/// Workers with one replica, which reads `turns` from the log; it is retired as soon as `ready`.
fn retired(platform: &Platform, module: &[u8], ready: impl Fn(&Receiver<Report>)) -> Option<Retired> {
    let mut rig = Rig::new(blueprint(platform, module, config(), LIMITS), 0);
    let log = turns()[..4].iter().map(|records| Arc::new(rig.batch(records))).collect();
    let (sender, reports) = channel();
    let sender = Mutex::new(sender);
    let workers = Workers::start(1, Arc::new(Log(log)), Arc::new(move |report| drop(sender.lock().send(report))));
    let id = ReplicaId { group: GroupId(1), seat: Seat(0), incarnation: Incarnation(1) };
    workers.install(Replica::new(id, rig.blueprint.clone()));
    ready(&reports);
    let (heir, heritage) = channel();
    workers.retire(id, Box::new(move |retired| drop(heir.send(retired))));
    let retired = heritage.recv_timeout(Duration::from_secs(20)).expect("the heir is told");
    let (heir, heritage) = channel();
    workers.retire(id, Box::new(move |retired| heir.send(retired.is_none()).expect("the test waits")));
    assert!(heritage.recv_timeout(Duration::from_secs(20)).expect("the heir is told"), "it is gone");
    while let Ok(report) = reports.try_recv() {
        let Report::Turn { id: told, .. } = report else { panic!("{report:?}") };
        assert_eq!(told, id);
    }
    retired
}

#[test]
fn a_retired_replica_is_handed_over_between_two_steps_and_examined() {
    let platform = platform();
    let caught_up = |reports: &Receiver<Report>| {
        for _ in 0..4 {
            let report = reports.recv_timeout(Duration::from_secs(20)).expect("it catches up");
            assert!(matches!(report, Report::Turn { .. }), "{report:?}");
        }
    };
    let module = command(IMPORTS, SERVE);
    let mut expected = Rig::new(blueprint(&platform, &module, config(), LIMITS), 0);
    turns()[..4].iter().for_each(|records| drop(expected.turn(records)));
    let remains = retired(&platform, &module, caught_up).expect("it was there").examine(Duration::from_secs(10));
    let Remains { captured, with_stack } = remains.unwrap();
    assert!(!with_stack);
    let mut chunks = Chunks::default();
    let (found, looked) = (chunks.seal(&captured), chunks.seal(&expected.replica.look()));
    assert_eq!(found.differences(&looked), []);
    if let Some(module) = instrumented(&module) {
        let retired = retired(&platform, &module, caught_up).expect("it was there");
        assert!(retired.examine(Duration::from_secs(10)).unwrap().with_stack);
    }
}

#[test]
fn a_replica_in_the_middle_of_a_long_turn_ends_it_first_and_one_that_never_ends_is_given_up() {
    let platform = platform();
    let began = |_: &Receiver<Report>| {};
    let long = command(
        "sock_accept",
        "(local $n i32) (local.set $n (i32.const 100000000))
        (loop $on (br_if $on (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 16)))",
    );
    let retired_early = retired(&platform, &long, began).expect("it was there");
    let remains = retired_early.examine(Duration::from_secs(60)).expect("its turn ends");
    assert!(remains.captured.position() >= Position(0));
    let endless = command("sock_accept", "(loop $on (br $on))");
    let given_up = retired(&platform, &endless, |_| std::thread::park_timeout(Duration::from_millis(100)));
    let refused = given_up.expect("it was there").examine(Duration::from_millis(50)).err();
    assert_eq!(refused.as_deref(), Some("its turn did not end"));
}
