//! The driver over the log in memory: order, refusals, failures, epochs, the end.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use refrain_wire::control::Agreement;
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::{Digest, Generation, Record, RecordWriter, Serial};

use super::{
    AppendError, Applied, Clock, Control, Entry, Epoch, Event, GroupId, Limits, Notify, OpenEpochError, OrderedLog,
    Position, ProxyId, Rc, RefCell, Refused, RunError, Seams, Sequencer, Submission, SubmissionId, Time,
};
use crate::log::Delivery;
use crate::memory::MemoryLog;
use crate::sim::sim_entropy;

const ONE: GroupId = GroupId(1);

/// Goes on by a microsecond whenever the time is asked for.
struct TestClock(Cell<u64>);

impl Clock for TestClock {
    fn wall(&self) -> Time {
        self.0.set(self.0.get() + 1);
        Time::from_micros(1_000_000 + self.0.get())
    }
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.get())
    }
}

#[derive(Default)]
struct Seen {
    committed: Vec<Applied>,
    failed: Vec<Vec<SubmissionId>>,
}

struct Shell {
    sequencer: Rc<Sequencer<MemoryLog>>,
    seen: Rc<RefCell<Seen>>,
    changed: Rc<Notify>,
}

impl Shell {
    async fn new(max_bytes: Option<u64>) -> Self {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let changed = Rc::new(Notify::new());
        let (into, tell) = (seen.clone(), changed.clone());
        let handler = move |event| {
            match event {
                Event::Committed(applied) => into.borrow_mut().committed.push(applied),
                Event::Restored(position) => panic!("this log is never cut: {position}"),
                Event::Failed { submissions, .. } => {
                    into.borrow_mut().failed.push(submissions);
                    assert!(into.borrow().failed.len() < 1000, "a log that is full is not asked without end");
                }
            }
            tell.notify_one();
        };
        let seams = Seams {
            clock: Box::new(TestClock(Cell::new(0))),
            entropy: sim_entropy(1),
            limits: Limits { bulk_bytes: 1000, ..Limits::default() },
        };
        let opened = Sequencer::open(seams, handler, async |sink| {
            Ok::<_, AppendError>(MemoryLog::new(Generation([0; 16]), max_bytes, sink))
        });
        Self { sequencer: Rc::new(opened.await.unwrap()), seen, changed }
    }

    fn run(&self) -> tokio::task::JoinHandle<Result<(), RunError>> {
        let sequencer = self.sequencer.clone();
        tokio::task::spawn_local(async move { sequencer.run().await })
    }

    /// Waits until `enough` of what was seen.
    async fn until(&self, enough: impl Fn(&Seen) -> bool) {
        while !enough(&self.seen.borrow()) {
            self.changed.notified().await;
        }
    }

    async fn with_group(max_bytes: Option<u64>) -> (Self, Epoch) {
        let (shell, epoch, _) = Self::with_group_and_run(max_bytes).await;
        (shell, epoch)
    }

    async fn with_group_and_run(
        max_bytes: Option<u64>,
    ) -> (Self, Epoch, tokio::task::JoinHandle<Result<(), RunError>>) {
        let shell = Self::new(max_bytes).await;
        shell.sequencer.control(ONE, create()).unwrap();
        let run = shell.run();
        let epoch = shell.sequencer.open_epoch(ProxyId(1)).await.unwrap();
        shell.until(|seen| seen.committed.iter().any(|applied| !applied.controls.is_empty())).await;
        (shell, epoch, run)
    }

    fn submit(&self, epoch: Epoch, number: u64, len: usize) -> Result<(), Refused> {
        let mut writer = RecordWriter::default();
        writer.push(&Record::Data { serial: Serial(1), delivered: 0, bytes: vec![1; len].into() });
        let batches = vec![GroupRecords { group: ONE, records: writer.take() }];
        self.sequencer.submit(Submission { id: SubmissionId { epoch, number }, batches })
    }
}

fn create() -> Control {
    Control::Create {
        service: "a/b".into(),
        bundle: [1; 32],
        engine: Digest::of(b"engine"),
        seats: 3,
        agreement: Agreement::Majority,
    }
}

fn on_loop<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(test))
}

fn accepted(seen: &Seen) -> Vec<u64> {
    seen.committed.iter().flat_map(|applied| &applied.accepted).map(|id| id.number).collect()
}

#[test]
fn the_first_entry_of_a_term_carries_its_randomness_and_an_idle_shard_appends_nothing_more() {
    on_loop(async {
        let shell = Shell::new(None).await;
        drop(shell.run());
        shell.until(|seen| !seen.committed.is_empty()).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let seen = shell.seen.borrow();
        assert_eq!(seen.committed.len(), 1);
        assert_eq!(seen.committed[0].term.as_ref().unwrap().term, 1);
        assert_ne!(seen.committed[0].term.as_ref().unwrap().entropy, [0; 32]);
        assert_eq!(shell.sequencer.log().committed(), Position(1));
    });
}

#[test]
fn submissions_are_committed_in_order_and_what_waits_together_is_one_entry() {
    on_loop(async {
        let (shell, epoch) = Shell::with_group(None).await;
        let before = shell.sequencer.log().committed();
        for number in 1..=20 {
            shell.submit(epoch, number, 10).unwrap();
        }
        shell.until(|seen| accepted(seen).len() == 20).await;
        assert_eq!(accepted(&shell.seen.borrow()), (1..=20).collect::<Vec<_>>());
        assert_eq!(shell.sequencer.log().committed(), before.next());
        let times: Vec<Time> = shell.seen.borrow().committed.iter().map(|applied| applied.time).collect();
        assert!(times.is_sorted() && times[0] >= Time::from_micros(1_000_000));
    });
}

#[test]
fn at_its_commit_a_draft_says_how_long_it_was_on_its_way() {
    on_loop(async {
        let handle: Rc<std::cell::OnceCell<Rc<Sequencer<MemoryLog>>>> = Rc::default();
        let (seen, shell) = (Rc::new(RefCell::new(Vec::new())), handle.clone());
        let into = seen.clone();
        let handler = move |event| {
            if let (Event::Committed(applied), Some(sequencer)) = (event, shell.get()) {
                into.borrow_mut().push((applied.time, sequencer.ordering()));
            }
        };
        let (clock, limits) = (Box::new(TestClock(Cell::new(0))), Limits::default());
        let seams = Seams { clock, entropy: sim_entropy(1), limits };
        let opened = Sequencer::open(seams, handler, async |sink| {
            Ok::<_, AppendError>(MemoryLog::new(Generation([0; 16]), None, sink))
        });
        let opened = Rc::new(opened.await.unwrap());
        let sequencer = handle.get_or_init(|| opened).clone();
        assert_eq!(sequencer.ordering(), None, "nothing is on its way");
        sequencer.control(ONE, create()).unwrap();
        sequencer.stop();
        sequencer.run().await.unwrap();
        let seen = seen.borrow();
        assert!(!seen.is_empty());
        for (time, ordering) in seen.iter() {
            let ordering = ordering.expect("it is on its way until the append returns");
            assert_eq!(ordering.time, *time);
            assert!(ordering.since_taken >= ordering.since_drafted);
        }
        assert_eq!(sequencer.ordering(), None, "all is ordered");
    });
}

#[test]
fn a_new_epoch_of_a_proxy_has_its_own_number_and_ends_the_one_before() {
    on_loop(async {
        let (shell, first) = Shell::with_group(None).await;
        let second = shell.sequencer.open_epoch(ProxyId(1)).await.unwrap();
        let other = shell.sequencer.open_epoch(ProxyId(2)).await.unwrap();
        assert_eq!((first, second, other), (Epoch(1), Epoch(2), Epoch(3)));
        assert!(shell.seen.borrow().committed.iter().any(|applied| applied.ended == [first]));
        assert_eq!(shell.submit(first, 1, 1), Err(Refused::UnknownEpoch { epoch: first }));
        shell.submit(second, 1, 1).unwrap();
        assert_eq!(shell.sequencer.with_shard(|shard| shard.epochs().len()), 2);
    });
}

#[test]
fn a_group_that_does_not_exist_or_is_busy_takes_nothing_and_a_halted_one_is_given_nothing() {
    on_loop(async {
        let (shell, epoch) = Shell::with_group(None).await;
        shell.submit(epoch, 1, 1000).unwrap();
        assert!(matches!(shell.submit(epoch, 2, 1), Err(Refused::Busy { .. })));
        shell.until(|seen| accepted(seen) == [1]).await;
        assert!(matches!(shell.submit(epoch, 2, 1), Err(Refused::Busy { .. })));
        let position = shell.sequencer.log().committed();
        shell.sequencer.executed(ONE, position);
        shell.submit(epoch, 2, 1).unwrap();
        shell.sequencer.control(ONE, Control::Halt { position }).unwrap();
        shell.until(|seen| accepted(seen) == [1, 2] && seen.committed.last().unwrap().controls.len() == 1).await;
        let halted_at = shell.sequencer.log().committed();
        shell.submit(epoch, 3, 900).unwrap();
        shell.until(|seen| accepted(seen) == [1, 2, 3]).await;
        assert_eq!(shell.seen.borrow().committed.last().unwrap().batches, []);
        shell.sequencer.executed(ONE, halted_at);
        shell.submit(epoch, 4, 900).expect("what is cut is no load");
        let id = SubmissionId { epoch, number: 5 };
        let batches = vec![GroupRecords { group: GroupId(9), records: vec![1].into() }];
        let refused = shell.sequencer.submit(Submission { id, batches });
        assert_eq!(refused, Err(Refused::UnknownGroup { group: GroupId(9) }));
    });
}

#[test]
fn a_full_log_is_reported_and_the_same_number_may_be_submitted_again() {
    on_loop(async {
        let (shell, epoch) = Shell::with_group(Some(800)).await;
        shell.submit(epoch, 1, 700).unwrap();
        shell.submit(epoch, 2, 100).unwrap();
        shell.until(|seen| !seen.failed.is_empty()).await;
        let failed = shell.seen.borrow_mut().failed.pop().unwrap();
        assert_eq!(failed.iter().map(|id| id.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(shell.sequencer.usage(ONE).bulk_bytes, 0);
        shell.submit(epoch, 1, 10).unwrap();
        shell.until(|seen| accepted(seen) == [1]).await;
        let terms = shell.seen.borrow().committed.iter().filter(|applied| applied.term.is_some()).count();
        assert_eq!(terms, 1, "a term's randomness counts once");
    });
}

#[test]
fn stopping_ends_the_run_of_a_log_that_takes_nothing_more() {
    on_loop(async {
        // Among these limits are such that not even the record of the term finds room at the end.
        for max_bytes in (400..600).step_by(5) {
            let (shell, epoch, run) = Shell::with_group_and_run(Some(max_bytes)).await;
            let mut number = 0;
            while shell.seen.borrow().failed.is_empty() {
                number += 1;
                shell.submit(epoch, number, 1).unwrap();
                shell.until(|seen| !seen.failed.is_empty() || accepted(seen).contains(&number)).await;
            }
            shell.sequencer.stop();
            run.await.unwrap().unwrap();
            assert_eq!(shell.submit(epoch, number, 1), Err(Refused::Stopped));
        }
    });
}

#[test]
fn a_closed_log_ends_the_run_and_refuses_submitters_and_openers() {
    on_loop(async {
        let (shell, epoch) = Shell::with_group(None).await;
        shell.sequencer.log().close().await.unwrap();
        let opening = shell.sequencer.open_epoch(ProxyId(2)).await;
        assert!(matches!(opening, Err(OpenEpochError::NotOrdered)));
        assert_eq!(shell.submit(epoch, 1, 1), Err(Refused::Stopped));
        assert!(matches!(shell.sequencer.open_epoch(ProxyId(2)).await, Err(OpenEpochError::Refused(Refused::Stopped))));
    });
}

#[test]
fn stopping_drains_what_is_pending() {
    on_loop(async {
        let (shell, epoch) = Shell::with_group(None).await;
        shell.submit(epoch, 1, 1).unwrap();
        shell.sequencer.stop();
        assert_eq!(shell.submit(epoch, 2, 1), Err(Refused::Stopped));
        shell.until(|seen| accepted(seen) == [1]).await;
    });
}

#[test]
fn what_is_replayed_gives_the_same_state() {
    on_loop(async {
        let (shell, epoch) = Shell::with_group(None).await;
        shell.submit(epoch, 1, 50).unwrap();
        shell.until(|seen| accepted(seen) == [1]).await;
        let entries = shell.sequencer.log().read(Position(1), usize::MAX).unwrap();
        let mut replayed = super::ShardState::new();
        let again: Vec<Applied> = entries
            .iter()
            .map(|(position, bytes)| replayed.apply(&Entry::decode(*position, bytes).unwrap()).unwrap())
            .collect();
        assert_eq!(again, shell.seen.borrow().committed);
        shell.sequencer.with_shard(|shard| assert_eq!(*shard, replayed));
    });
}

#[test]
fn a_state_stands_for_the_entries_that_led_to_it() {
    on_loop(async {
        let (shell, epoch) = Shell::with_group(None).await;
        shell.submit(epoch, 1, 50).unwrap();
        shell.until(|seen| accepted(seen) == [1]).await;
        let state = shell.sequencer.with_shard(super::ShardState::encode);
        let seams =
            Seams { clock: Box::new(TestClock(Cell::new(0))), entropy: sim_entropy(2), limits: Limits::default() };
        let restored = std::rc::Rc::new(Cell::new(Position(0)));
        let seen = restored.clone();
        let opened = Sequencer::open(
            seams,
            move |event| match event {
                Event::Restored(position) => seen.set(position),
                other => panic!("{other:?}"),
            },
            async |sink: crate::log::CommitSink| {
                sink(Delivery::Snapshot { position: Position(9), state: &state });
                Ok::<_, AppendError>(MemoryLog::new(Generation([0; 16]), None, sink))
            },
        );
        let sequencer = opened.await.unwrap();
        assert_eq!(restored.get(), Position(9));
        shell.sequencer.with_shard(|old| sequencer.with_shard(|new| assert_eq!(old, new)));
        let id = SubmissionId { epoch, number: 1 };
        let again = sequencer.submit(Submission { id, batches: Vec::new() });
        assert!(again.is_err(), "numbers go on from the state");
    });
}

#[test]
fn a_proxy_goes_on_with_its_numbers_after_a_restart_of_the_sequencer() {
    on_loop(async {
        let (shell, epoch) = Shell::with_group(None).await;
        shell.submit(epoch, 1, 50).unwrap();
        shell.until(|seen| accepted(seen) == [1]).await;
        let entries = shell.sequencer.log().read(Position(1), usize::MAX).unwrap();
        let seams =
            Seams { clock: Box::new(TestClock(Cell::new(0))), entropy: sim_entropy(2), limits: Limits::default() };
        let opened = Sequencer::open(
            seams,
            |_| {},
            async |sink: crate::log::CommitSink| {
                entries.iter().for_each(|(position, bytes)| sink(Delivery::Entry { position: *position, bytes }));
                Ok::<_, AppendError>(MemoryLog::new(Generation([0; 16]), None, Arc::new(|_| {})))
            },
        );
        let sequencer = opened.await.unwrap();
        let submit = |number| {
            let mut writer = RecordWriter::default();
            writer.push(&Record::Shutdown(Serial(1)));
            let batches = vec![GroupRecords { group: ONE, records: writer.take() }];
            sequencer.submit(Submission { id: SubmissionId { epoch, number }, batches })
        };
        assert_eq!(submit(1), Err(Refused::OutOfOrder { expected: 2, found: 1 }));
        submit(2).unwrap();
    });
}

#[test]
fn what_waits_behind_a_number_that_was_dropped_is_submitted_again() {
    on_loop(async {
        let (shell, epoch) = Shell::with_group(None).await;
        // The draft of an append whose fate was unknown is committed after all, before what was submitted again.
        let id = |number| SubmissionId { epoch, number };
        shell.submit(epoch, 1, 50).unwrap();
        shell.submit(epoch, 2, 50).unwrap();
        let unknown = Draft { submissions: vec![id(1)], batches: Vec::new(), ..Draft::default() };
        shell.sequencer.log().append(unknown).await.unwrap();
        shell.until(|seen| seen.committed.iter().any(|applied| !applied.dropped.is_empty())).await;
        assert_eq!(accepted(&shell.seen.borrow()), [1]);
        shell.submit(epoch, 2, 50).unwrap();
        shell.until(|seen| accepted(seen) == [1, 2]).await;
    });
}

#[test]
fn a_committed_entry_that_is_not_understood_ends_the_run() {
    // Bytes that are no entry, and one whose control a newer version knows.
    let control = GroupRecords { group: GroupId::SHARD, records: vec![8, 1, 0, 0, 0, 0, 0, 0, 99].into() };
    let newer = Draft { batches: vec![control], ..Draft::default() }.encode(Position(1));
    let of_newer = "control kind has the unknown value 99";
    for (bytes, cause) in [(vec![1, 2, 3].into(), "submission epoch is cut short"), (newer, of_newer)] {
        on_loop(async {
            let sink = Arc::new(parking_lot::Mutex::new(None));
            let keep = sink.clone();
            let seams =
                Seams { clock: Box::new(TestClock(Cell::new(0))), entropy: sim_entropy(1), limits: Limits::default() };
            let sequencer = Sequencer::open(
                seams,
                |_| panic!("nothing of it is told"),
                async |given: crate::log::CommitSink| {
                    *keep.lock() = Some(given.clone());
                    Ok::<_, AppendError>(MemoryLog::new(Generation([0; 16]), None, given))
                },
            );
            let sequencer = sequencer.await.unwrap();
            (sink.lock().take().unwrap())(Delivery::Entry { position: Position(1), bytes: &bytes });
            let error = sequencer.run().await.unwrap_err();
            let version = env!("CARGO_PKG_VERSION");
            let words = format!("this version, {version}, does not understand what is committed at position 1");
            assert_eq!(error.to_string(), words);
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(source.contains(cause), "{source}");
        });
    }
}
