//! The worker threads, fed from a log in memory: nothing is lost, doubled or out of order, whoever is slow.

mod support;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use parking_lot::Mutex;
use refrain_engine::checkpoint::{CheckpointStore, Root};
use refrain_engine::replica::{Blueprint, RunLimits};
use refrain_engine::{BatchSource, Platform, Replica, ReplicaId, Report, TurnBatch, Workers};
use refrain_wire::{GroupId, Incarnation, Position, Record, RunningDigest, Seat};
use support::{ECHO, LIMITS, Rig, blueprint, command, config, data, open, platform};

/// The committed log, in memory.
#[derive(Default)]
struct Log {
    batches: Mutex<Vec<Arc<TurnBatch>>>,
    broken: Mutex<bool>,
}

impl BatchSource for Log {
    fn read(&self, group: GroupId, after: Position, max_bytes: usize) -> Result<Vec<Arc<TurnBatch>>, String> {
        if *self.broken.lock() {
            return Err("the disk is gone".into());
        }
        let batches = self.batches.lock();
        let later = batches.iter().filter(|batch| batch.group == group && batch.position > after);
        let mut bytes = 0;
        let fits = later.take_while(|batch| {
            let fits = bytes < max_bytes;
            bytes += batch.records.len();
            fits
        });
        Ok(fits.cloned().collect())
    }
}

/// A group: what makes its batches, and the digest that they must lead to.
struct Group {
    rig: Rig,
    blueprint: Arc<Blueprint>,
    id: GroupId,
}

struct Bench {
    log: Arc<Log>,
    workers: Option<Workers>,
    reports: Receiver<Report>,
}

impl Bench {
    fn new(threads: usize) -> Self {
        Self::with_store(threads, None)
    }

    fn with_store(threads: usize, store: Option<Arc<CheckpointStore>>) -> Self {
        let log = Arc::new(Log::default());
        let (sender, reports) = channel();
        let sender = Mutex::new(sender);
        let sink = Arc::new(move |report| drop(sender.lock().send(report)));
        let workers = Workers::start_with(threads, Arc::clone(&log) as Arc<dyn BatchSource>, sink, store);
        Self { log, workers: Some(workers), reports }
    }

    fn workers(&self) -> &Workers {
        self.workers.as_ref().expect("they run until the test stops them")
    }

    /// Commits a batch and, unless it is to be found in the log alone, delivers it.
    fn commit(&self, group: &mut Group, records: &[Record], deliver: bool) {
        let mut batch = group.rig.batch(records);
        batch.group = group.id;
        let batch = Arc::new(batch);
        self.log.batches.lock().push(Arc::clone(&batch));
        if deliver {
            self.workers().deliver(&[batch]);
        }
    }

    fn install(&self, group: &Group, seat: u8) -> ReplicaId {
        let id = ReplicaId { group: group.id, seat: Seat(seat), incarnation: Incarnation(1) };
        self.workers().install(Replica::new(id, Arc::clone(&group.blueprint)));
        id
    }

    /// The next report, which must be of a turn.
    fn next(&self) -> Turn {
        match self.reports.recv().expect("the workers run") {
            Report::Turn { id, outcome, replaying, .. } => {
                Turn { id, position: outcome.position.0, replaying, after: outcome.after }
            }
            Report::Failed { id, reason } => panic!("{id}: {reason}"),
            Report::Rooted { id, position, .. } => panic!("{id} captured at {position}"),
        }
    }

    /// Takes reports of turns until `id` has finished `position`; all of them, in order.
    fn until(&self, id: ReplicaId, position: u64) -> Vec<Turn> {
        let mut turns = vec![self.next()];
        while turns.last().is_none_or(|turn| (turn.id, turn.position) != (id, position)) {
            turns.push(self.next());
        }
        turns
    }
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    id: ReplicaId,
    position: u64,
    replaying: bool,
    after: RunningDigest,
}

fn positions(turns: &[Turn], id: ReplicaId) -> Vec<u64> {
    turns.iter().filter(|turn| turn.id == id).map(|turn| turn.position).collect()
}

fn group(platform: &Platform, id: u32, module: &[u8], limits: RunLimits) -> Group {
    let mut blueprint = (*blueprint(platform, module, config(), limits)).clone();
    blueprint.group = GroupId(id);
    let blueprint = Arc::new(blueprint);
    Group { rig: Rig::new(Arc::clone(&blueprint), 0), blueprint, id: GroupId(id) }
}

/// A guest that computes for `iterations` rounds a turn and then waits for the next record.
fn spinner(iterations: u64) -> Vec<u8> {
    busy("poll_oneoff", iterations, "")
}

/// The same, which does `work` each round.
fn busy(imports: &str, iterations: u64, work: &str) -> Vec<u8> {
    command(
        imports,
        &format!(
            "(local $n i64) (i32.store8 (i32.const 8) (i32.const 1)) (i32.store (i32.const 16) (i32.const 3))
             (i32.store (i32.const 144) (i32.const 0)) (i64.store (i32.const 152) (i64.const 1))
             (i32.store (i32.const 144) (i32.const 1))
             (loop $again
               (local.set $n (i64.const {iterations}))
               (loop $spin {work} (br_if $spin (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
               (drop (call $poll_oneoff (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 512)))
               (br $again))"
        ),
    )
}

const ENDLESS: RunLimits = RunLimits { memory_bytes: 1 << 20, table_elements: 1_000_000, fuel_per_turn: None };

#[test]
fn a_replica_catches_up_from_the_log_and_then_follows() {
    let platform = platform();
    let (bench, mut group) = (Bench::new(2), group(&platform, 1, ECHO, LIMITS));
    bench.commit(&mut group, &[open(1, 7)], false);
    (0..20).for_each(|_| bench.commit(&mut group, &[data(1, b"x")], false));
    let id = bench.install(&group, 0);
    let turns = bench.until(id, 21);
    assert_eq!(positions(&turns, id), (1..=21).collect::<Vec<_>>());
    assert!(turns.iter().all(|turn| turn.replaying));
    (0..20).for_each(|_| bench.commit(&mut group, &[data(1, b"y")], true));
    let turns = bench.until(id, 41);
    assert_eq!(positions(&turns, id), (22..=41).collect::<Vec<_>>());
}

#[test]
fn batches_that_are_delivered_while_a_replica_catches_up_are_neither_lost_nor_doubled() {
    let platform = platform();
    let (bench, mut group) = (Bench::new(2), group(&platform, 1, ECHO, LIMITS));
    bench.commit(&mut group, &[open(1, 7)], true);
    (0..300).for_each(|_| bench.commit(&mut group, &[data(1, b"old")], false));
    let seats: Vec<ReplicaId> = (0..3).map(|seat| bench.install(&group, seat)).collect();
    // More than wait for one replica, so that some of them have to read the log a second time.
    (0..3000).for_each(|_| bench.commit(&mut group, &[data(1, b"new")], true));
    let mut turns = Vec::new();
    for seat in &seats {
        while !positions(&turns, *seat).contains(&3301) {
            turns.push(bench.next());
        }
    }
    for seat in &seats {
        assert_eq!(positions(&turns, *seat), (1..=3301).collect::<Vec<_>>(), "{seat}");
    }
    let last: Vec<_> = turns.iter().filter(|turn| turn.position == 3301).map(|turn| turn.after).collect();
    assert!(last.len() == 3 && last.iter().all(|after| *after == last[0]));
}

#[test]
fn a_spinning_neighbour_does_not_keep_a_replica_from_its_turns() {
    let platform = platform();
    // One worker, so that both share it; one of the spinner's turns takes longer than all echoes.
    let bench = Bench::new(1);
    let (mut slow, mut quick) = (group(&platform, 1, &spinner(60_000_000), ENDLESS), group(&platform, 2, ECHO, LIMITS));
    let (spins, echoes) = (bench.install(&slow, 0), bench.install(&quick, 0));
    bench.commit(&mut quick, &[open(1, 7)], true);
    bench.until(echoes, 1);
    (0..5).for_each(|_| bench.commit(&mut slow, &[], true));
    (0..50).for_each(|_| bench.commit(&mut quick, &[data(1, b"x")], true));
    let before = bench.until(echoes, 51);
    assert!(positions(&before, spins).len() < 5, "the echoes did not wait for the spinner's turns");
    assert_eq!(positions(&before, echoes), (2..=51).collect::<Vec<_>>());
    let mut turns = before;
    if !positions(&turns, spins).contains(&5) {
        turns.extend(bench.until(spins, 5));
    }
    assert_eq!(positions(&turns, spins), [1, 2, 3, 4, 5]);
}

#[test]
fn a_neighbour_that_only_calls_its_host_does_not_keep_a_replica_from_its_turns() {
    let platform = platform();
    for (imports, iterations, call) in [
        ("poll_oneoff fd_close", 2_000_000, "(drop (call $fd_close (i32.const 77)))"),
        ("poll_oneoff random_get", 3_000, "(drop (call $random_get (i32.const 1024) (i32.const 60000)))"),
        (
            "poll_oneoff clock_time_get",
            1_000_000,
            "(drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 700)))",
        ),
    ] {
        let bench = Bench::new(1);
        let module = busy(imports, iterations, call);
        let (mut slow, mut quick) = (group(&platform, 1, &module, ENDLESS), group(&platform, 2, ECHO, LIMITS));
        let (calls, echoes) = (bench.install(&slow, 0), bench.install(&quick, 0));
        bench.commit(&mut quick, &[open(1, 7)], true);
        bench.until(echoes, 1);
        (0..5).for_each(|_| bench.commit(&mut slow, &[], true));
        (0..50).for_each(|_| bench.commit(&mut quick, &[data(1, b"x")], true));
        let before = bench.until(echoes, 51);
        assert!(positions(&before, calls).len() < 5, "the echoes did not wait for the turns of {imports}");
    }
}

#[test]
fn long_turns_give_the_same_as_short_ones_and_arrive_in_order() {
    let platform = platform();
    let bench = Bench::new(2);
    let mut slow = group(&platform, 1, &spinner(10_000_000), ENDLESS);
    let seats: Vec<_> = (0..2).map(|seat| bench.install(&slow, seat)).collect();
    let mut alone = Rig::new(Arc::clone(&slow.blueprint), 0);
    let mut expected = Vec::new();
    for _ in 0..5 {
        bench.commit(&mut slow, &[], true);
        let batch = bench.log.batches.lock().last().cloned().unwrap();
        expected.push(alone.replica.turn(&batch).unwrap().after);
    }
    let mut turns = Vec::new();
    while turns.len() < 10 {
        turns.push(bench.next());
    }
    for seat in seats {
        let after: Vec<_> = turns.iter().filter(|turn| turn.id == seat).map(|turn| turn.after).collect();
        assert_eq!(after, expected);
    }
}

#[test]
fn a_removed_replica_reports_nothing_more_wherever_it_was() {
    let platform = platform();
    let bench = Bench::new(1);
    let (mut slow, mut quick) = (group(&platform, 1, &spinner(20_000_000), ENDLESS), group(&platform, 2, ECHO, LIMITS));
    let (at_home, other) = (bench.install(&quick, 0), bench.install(&quick, 1));
    bench.commit(&mut quick, &[open(1, 7)], true);
    let mut turns = Vec::new();
    while turns.len() < 2 {
        turns.push(bench.next());
    }
    (0..50).for_each(|_| bench.commit(&mut slow, &[], false));
    let away = bench.install(&slow, 0);
    bench.until(away, 1);
    bench.workers().remove(at_home);
    bench.workers().remove(away);
    // Its worker has taken note of the removal before this batch.
    bench.commit(&mut quick, &[data(1, b"x")], true);
    bench.until(other, 2);
    (0..200).for_each(|_| bench.commit(&mut quick, &[data(1, b"x")], true));
    (0..5).for_each(|_| bench.commit(&mut slow, &[], true));
    let turns = bench.until(other, 202);
    assert_eq!(positions(&turns, at_home), Vec::<u64>::new());
    assert_eq!(positions(&turns, away), Vec::<u64>::new());
}

#[test]
fn a_replica_that_is_installed_twice_reports_each_turn_once_from_then_on() {
    let platform = platform();
    let (bench, mut group) = (Bench::new(1), group(&platform, 1, ECHO, LIMITS));
    bench.commit(&mut group, &[open(1, 7)], true);
    let id = bench.install(&group, 0);
    bench.until(id, 1);
    bench.install(&group, 0);
    bench.until(id, 1);
    (0..50).for_each(|_| bench.commit(&mut group, &[data(1, b"x")], true));
    assert_eq!(positions(&bench.until(id, 51), id), (2..=51).collect::<Vec<_>>());
}

#[test]
fn a_log_that_cannot_be_read_fails_the_replica_and_no_other() {
    let platform = platform();
    let bench = Bench::new(1);
    let (mut good, bad) = (group(&platform, 1, ECHO, LIMITS), group(&platform, 2, ECHO, LIMITS));
    let alive = bench.install(&good, 0);
    bench.commit(&mut good, &[open(1, 7)], true);
    bench.until(alive, 1);
    bench.commit(&mut good, &[data(1, b"at home now")], true);
    bench.until(alive, 2);
    *bench.log.broken.lock() = true;
    let failed = bench.install(&bad, 0);
    match bench.reports.recv().unwrap() {
        Report::Failed { id, reason } => assert_eq!((id, reason.as_str()), (failed, "the disk is gone")),
        other => panic!("{other:?}"),
    }
    *bench.log.broken.lock() = false;
    bench.commit(&mut good, &[data(1, b"x")], true);
    bench.until(alive, 3);
}

#[test]
fn an_injected_fault_shows_at_the_next_audit_of_that_replica_alone() {
    let platform = platform();
    let (bench, mut group) = (Bench::new(2), group(&platform, 1, ECHO, LIMITS));
    let seats: Vec<_> = (0..2).map(|seat| bench.install(&group, seat)).collect();
    // Both are at home once they have taken a batch that they were handed.
    for seat in &seats {
        let handed = |turns: &[Turn]| turns.iter().any(|turn| turn.id == *seat && !turn.replaying);
        let mut turns = Vec::new();
        while !handed(&turns) {
            bench.commit(&mut group, &[], true);
            turns.extend(bench.until(*seat, group.rig.position));
        }
    }
    bench.workers().inject(seats[1], refrain_engine::replica::Flip { address: 100, bit: 3 });
    let audit = [Record::Control(refrain_wire::Control::Audit)];
    bench.commit(&mut group, &[], true);
    bench.commit(&mut group, &audit, true);
    let (quiet, audited) = (group.rig.position - 1, group.rig.position);
    let mut turns: Vec<Turn> = Vec::new();
    while turns.iter().filter(|turn| turn.position == audited).count() < 2 {
        turns.push(bench.next());
    }
    let after = |position: u64, seat: usize| {
        turns.iter().find(|turn| turn.position == position && turn.id == seats[seat]).unwrap().after
    };
    assert_eq!(after(quiet, 0), after(quiet, 1));
    assert_ne!(after(audited, 0), after(audited, 1));
}

#[test]
fn stopping_ends_all_threads_though_guests_spin_for_ever() {
    let platform = platform();
    let mut bench = Bench::new(2);
    let endless = command("", "(loop (br 0))");
    let mut groups: Vec<Group> = (1..=4).map(|id| group(&platform, id, &endless, ENDLESS)).collect();
    for group in &mut groups {
        bench.commit(group, &[], group.id.0 % 2 == 0);
        bench.install(group, 0);
    }
    let mut quick = group(&platform, 9, ECHO, LIMITS);
    let id = bench.install(&quick, 0);
    bench.commit(&mut quick, &[open(1, 7)], true);
    bench.until(id, 1);
    // Joins every thread, so that it returns at all is the claim.
    bench.workers.take().unwrap().stop();
    assert!(bench.reports.recv().is_err(), "the last sender went with the threads");
}

#[test]
fn what_replicas_capture_is_stored_under_one_root_and_a_replica_restored_from_it_follows() {
    let (platform, folder) = (platform(), tempfile::tempdir().unwrap());
    let store = Arc::new(CheckpointStore::open(folder.path()).unwrap());
    let bench = Bench::with_store(2, Some(Arc::clone(&store)));
    let mut group = group(&platform, 1, ECHO, LIMITS);
    bench.commit(&mut group, &[open(1, 7), data(1, b"before")], false);
    (0..20).for_each(|_| bench.commit(&mut group, &[data(1, b"after")], false));
    for seat in 0..3 {
        let id = ReplicaId { group: group.id, seat: Seat(seat), incarnation: Incarnation(1) };
        let mut replica = Replica::new(id, Arc::clone(&group.blueprint));
        replica.capture_next();
        bench.workers().install(replica);
    }
    let (mut roots, mut ends): (Vec<Root>, Vec<RunningDigest>) = (Vec::new(), Vec::new());
    while roots.len() < 3 || ends.len() < 3 {
        match bench.reports.recv().unwrap() {
            Report::Rooted { position, root, .. } => {
                assert_eq!(position, Position(1));
                roots.push(root);
            }
            Report::Turn { outcome, .. } if outcome.position == Position(21) => ends.push(outcome.after),
            Report::Turn { .. } => {}
            Report::Failed { id, reason } => panic!("{id}: {reason}"),
        }
    }
    assert!(roots.windows(2).all(|two| two[0] == two[1]), "{roots:?}");
    assert_eq!(store.list(group.id).unwrap(), [(Position(1), roots[0])]);
    let manifest = store.manifest(group.id, roots[0]).unwrap().unwrap();
    let id = ReplicaId { group: group.id, seat: Seat(3), incarnation: Incarnation(2) };
    let restored = Replica::restore(id, Arc::clone(&group.blueprint), &manifest, store).unwrap();
    bench.workers().install(restored);
    let turns = bench.until(id, 21);
    assert_eq!(positions(&turns, id), (2..=21).collect::<Vec<_>>());
    assert_eq!(turns.last().unwrap().after, ends[0]);
}

#[test]
fn inline_workers_run_when_they_are_called_and_in_one_order() {
    let platform = Platform::new(None).expect("this machine runs x86-64-v2 code");
    let order = || {
        let log = Arc::new(Log::default());
        let (told, woken) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (telling, waking) = (Arc::clone(&told), Arc::clone(&woken));
        let sink = Arc::new(move |report| telling.lock().push(report));
        let source = Arc::clone(&log) as Arc<dyn BatchSource>;
        let workers = Workers::inline(source, sink, None, Box::new(move || *waking.lock() += 1));
        let mut echo = group(&platform, 1, ECHO, LIMITS);
        let mut commit = |records: &[Record]| {
            let batch = Arc::new(echo.rig.batch(records));
            log.batches.lock().push(Arc::clone(&batch));
            batch
        };
        // Two turns are in the log before there are replicas; what is delivered then follows.
        commit(&[]);
        commit(&[open(1, 7)]);
        for seat in 0..3 {
            let id = ReplicaId { group: GroupId(1), seat: Seat(seat), incarnation: Incarnation(1) };
            workers.install(Replica::new(id, Arc::clone(&echo.blueprint)));
        }
        assert!(told.lock().is_empty() && *woken.lock() == 3, "nothing runs before the call");
        workers.work();
        workers.deliver(&[commit(&[data(1, b"hello")])]);
        workers.work();
        assert_eq!(*woken.lock(), 4);
        let turn = |report: &Report| match report {
            Report::Turn { id, outcome, replaying, .. } => (id.seat, outcome.position, outcome.after, *replaying),
            other => panic!("{other:?}"),
        };
        told.lock().iter().map(turn).collect::<Vec<_>>()
    };
    let first = order();
    assert_eq!(first, order());
    let of = |position| first.iter().filter(move |(_, at, ..)| *at == Position(position)).collect::<Vec<_>>();
    for position in 1..=3 {
        let turns = of(position);
        assert_eq!(turns.len(), 3, "every replica has turn {position} once");
        assert!(turns.iter().all(|turn| turn.2 == turns[0].2 && turn.3 == (position < 3)));
    }
}

#[test]
fn of_replicas_of_a_group_the_one_ahead_goes_on_and_none_falls_far_behind() {
    let platform = Platform::new(None).expect("this machine runs x86-64-v2 code");
    let log = Arc::new(Log::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let sink = Arc::new(move |report| match report {
        Report::Turn { id, .. } => telling.lock().push(id.seat.0),
        other => panic!("{other:?}"),
    });
    let workers = Workers::inline(Arc::clone(&log) as Arc<dyn BatchSource>, sink, None, Box::new(|| ()));
    let mut echo = group(&platform, 1, ECHO, LIMITS);
    for seat in 0..3 {
        let id = ReplicaId { group: GroupId(1), seat: Seat(seat), incarnation: Incarnation(1) };
        workers.install(Replica::new(id, Arc::clone(&echo.blueprint)));
    }
    workers.work();
    let mut seats_of = |count: usize| {
        let batches: Vec<_> = (0..count).map(|_| Arc::new(echo.rig.batch(&[]))).collect();
        log.batches.lock().extend(batches.iter().cloned());
        workers.deliver(&batches);
        workers.work();
        std::mem::take(&mut *told.lock())
    };
    assert_eq!(seats_of(3), [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    let seats = seats_of(40);
    let turns = |of: &[u8], seat| of.iter().filter(|one| **one == seat).count();
    for until in 1..=seats.len() {
        let [first, second, third] = [0, 1, 2].map(|seat| turns(&seats[..until], seat));
        assert!(first >= second && second >= third, "{seats:?}");
    }
    let last_of_first = seats.iter().rposition(|seat| *seat == 0).expect("it had turns");
    assert_eq!(turns(&seats[..last_of_first], 2), 40 - 15, "{seats:?}");
}
