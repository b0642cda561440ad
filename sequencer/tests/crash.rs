//! The process dies, and the power with it, before every write and every sync of a scripted run. What was called
//! back is there afterwards, in order and with its bytes, and nothing is there that was not submitted.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use refrain_sequencer::flush::{Exec, Wake};
use refrain_sequencer::frame::{EntryId, EntryKind, LogEntry};
use refrain_sequencer::meta::Vote;
use refrain_sequencer::segment_log::{Durability, SegmentLog, SegmentOptions};
use refrain_sequencer::sim::{SimDisk, sim_entropy};

type Worker = Arc<Mutex<Box<dyn FnMut() + Send>>>;

/// Runs the worker when the test says so, so that several operations meet in one run.
#[derive(Default)]
struct Held(Mutex<Option<Worker>>);

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
    fn stop(&self) {}
}

impl Exec for Held {
    fn start(&self, _name: &str, worker: Box<dyn FnMut() + Send>) -> std::io::Result<Arc<dyn Wake>> {
        *self.0.lock() = Some(Arc::new(Mutex::new(worker)));
        Ok(Arc::new(NoWake))
    }
}

impl Held {
    fn run(&self) {
        let worker = self.0.lock().clone().unwrap();
        (worker.lock())();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<LogEntry>),
    Truncate(u64),
    Purge(EntryId),
    Vote(Vote),
}

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Content {
    entries: Vec<LogEntry>,
    purged: Option<EntryId>,
    vote: Option<Vote>,
}

impl Content {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append(entries) => self.entries.extend(entries.iter().cloned()),
            Step::Truncate(from) => self.entries.retain(|entry| entry.id.index < *from),
            Step::Purge(upto) => {
                self.purged = Some(*upto);
                self.entries.retain(|entry| entry.id.index > upto.index);
            }
            Step::Vote(vote) => self.vote = Some(*vote),
        }
    }

    /// What may be found when `step` was not called back: any beginning of it.
    fn partly(&self, step: &Step) -> Vec<Self> {
        let mut states = Vec::new();
        if let Step::Append(entries) = step {
            for count in 1..entries.len() {
                let mut state = self.clone();
                state.apply(&Step::Append(entries[..count].to_vec()));
                states.push(state);
            }
        }
        let mut state = self.clone();
        state.apply(step);
        states.push(state);
        states
    }

    fn of(log: &SegmentLog) -> Self {
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut at = log.first();
        loop {
            let run = log.read(at, u64::MAX, 100).expect("readable");
            let Some(last) = run.last() else { break };
            at = last.id.index + 1;
            entries.extend(run);
        }
        assert_eq!(at, log.next());
        let meta = log.meta();
        Self { entries, purged: meta.purged, vote: meta.vote }
    }
}

fn entry(term: u64, index: u64, len: usize) -> LogEntry {
    LogEntry {
        id: EntryId { term, node: 1, index },
        kind: EntryKind::Batches,
        payload: Bytes::from(vec![(term * 31 + index) as u8; len]),
    }
}

fn appends(term: u64, from: u64, lens: &[usize]) -> Step {
    Step::Append((from..).zip(lens).map(|(index, len)| entry(term, index, *len)).collect())
}

/// Groups of steps; each group is queued as a whole before the worker runs.
fn script() -> Vec<Vec<Step>> {
    let vote = |term| Step::Vote(Vote { term, node: 1, committed: term % 2 == 0 });
    vec![
        vec![vote(1), appends(1, 0, &[10])],
        vec![appends(1, 1, &[200, 0, 300]), appends(1, 4, &[90]), appends(1, 5, &[50, 60])],
        vec![appends(1, 7, &[400, 400])],
        vec![appends(1, 9, &[300]), vote(2), appends(1, 10, &[300, 20]), appends(1, 12, &[700])],
        vec![Step::Truncate(11)],
        vec![appends(3, 11, &[20, 20, 20])],
        vec![vote(4), Step::Truncate(6), appends(4, 6, &[500]), appends(4, 7, &[500, 1500])],
        vec![Step::Purge(entry(1, 4, 0).id)],
        vec![appends(4, 9, &[3, 3]), Step::Truncate(10), appends(5, 10, &[3])],
        vec![Step::Purge(entry(4, 8, 0).id), appends(5, 11, &[100; 6])],
        vec![Step::Purge(entry(6, 40, 0).id), appends(6, 41, &[5])],
        vec![appends(6, 42, &[100, 100])],
    ]
}

fn open(disk: &SimDisk, exec: &dyn Exec) -> SegmentLog {
    let options = SegmentOptions {
        durability: Durability::Fsync,
        segment_bytes: 1000,
        cache_bytes: 300,
        entropy: sim_entropy(disk.used()),
        ..SegmentOptions::default()
    };
    SegmentLog::open(Arc::new(disk.clone()), exec, options).expect("a crash never prevents opening")
}

/// Runs the script; returns what was called back and everything that may be found instead.
fn run(log: &SegmentLog, exec: &Held) -> Vec<Content> {
    let mut state = Content::default();
    for group in script() {
        let calls: Arc<Mutex<Vec<bool>>> = Arc::default();
        for step in &group {
            let calls = calls.clone();
            let done = Box::new(move |outcome: Result<(), _>| calls.lock().push(outcome.is_ok()));
            match step.clone() {
                Step::Append(entries) => log.append(entries, done),
                Step::Truncate(from) => {
                    // A truncation looks at the entry before it, so what is queued must be known by then.
                    log.truncate(from, done);
                }
                Step::Purge(upto) => log.purge(upto, done),
                Step::Vote(vote) => log.change_meta(move |meta| meta.vote = Some(vote), done),
            }
            if matches!(step, Step::Truncate(_) | Step::Purge(_)) {
                exec.run();
            }
        }
        exec.run();
        let calls = calls.lock().clone();
        assert!(calls.len() == group.len(), "every write is called back");
        let good = calls.iter().take_while(|good| **good).count();
        assert!(calls[good..].iter().all(|good| !good), "nothing succeeds after a failure");
        group[..good].iter().for_each(|step| state.apply(step));
        if good < group.len() {
            let mut states = vec![state.clone()];
            for step in &group[good..] {
                let partly = states[states.len() - 1].partly(step);
                states.extend(partly);
            }
            return states;
        }
    }
    vec![state]
}

fn crash_at(stop: u64, seed: u64) -> bool {
    let disk = SimDisk::new();
    let exec = Held::default();
    let log = open(&disk, &exec);
    disk.stop_after(disk.operations() + stop);
    let allowed = run(&log, &exec);
    let died = allowed.len() > 1;
    drop(log);
    disk.crash(seed);
    check(&disk, &allowed, stop, seed);
    died
}

/// Opens what the crash left, then goes on, loses power again, and opens once more.
fn check(disk: &SimDisk, allowed: &[Content], stop: u64, seed: u64) {
    let exec = Held::default();
    let log = open(disk, &exec);
    let mut found = Content::of(&log);
    assert!(allowed.contains(&found), "stop {stop} seed {seed}: found {found:?}, allowed {allowed:?}");
    drop(log);
    disk.crash(seed + 1);
    let log = open(disk, &exec);
    assert_eq!(Content::of(&log), found, "what was found is durable (stop {stop} seed {seed})");
    for round in 0..3 {
        let step = appends(90 + round, log.next(), &[40, 350]);
        let Step::Append(entries) = step.clone() else { unreachable!() };
        log.append(entries, Box::new(|outcome| outcome.expect("the disk is well")));
        exec.run();
        found.apply(&step);
    }
    drop(log);
    disk.crash(seed + 2);
    let log = open(disk, &exec);
    assert_eq!(Content::of(&log), found, "stop {stop} seed {seed}");
}

#[test]
fn a_crash_before_any_write_or_sync_loses_nothing_acknowledged_and_invents_nothing() {
    let mut stop = 0;
    loop {
        let mut died = false;
        for seed in 0..24 {
            died |= crash_at(stop, seed * 1000 + stop);
        }
        if !died {
            break;
        }
        stop += 1;
    }
    assert!(stop > 80, "the script has many boundaries, found {stop}");
}

#[test]
fn a_crash_while_a_log_is_created_or_opened_leaves_a_log_that_opens() {
    for stop in 0..20 {
        for seed in 0..12 {
            let disk = SimDisk::new();
            disk.stop_after(stop);
            let options =
                || SegmentOptions { segment_bytes: 1000, entropy: sim_entropy(seed), ..SegmentOptions::default() };
            let exec = Held::default();
            let first = SegmentLog::open(Arc::new(disk.clone()), &exec, options());
            drop(first);
            disk.crash(seed);
            disk.stop_after(stop / 2);
            let second = SegmentLog::open(Arc::new(disk.clone()), &exec, options());
            drop(second);
            disk.crash(seed + 1);
            let log = open(&disk, &exec);
            assert_eq!(Content::of(&log), Content::default());
        }
    }
}
