//! The contract of an ordered log, held against every implementation.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use refrain_sequencer::flush::FlushInline;
use refrain_sequencer::log::{AppendError, CommitSink, Delivery, Leadership, OrderedLog};
use refrain_sequencer::memory::MemoryLog;
use refrain_sequencer::net::{Net, Tcp};
use refrain_sequencer::raft::{Bootstrap, RaftLog, RaftOptions};
use refrain_sequencer::segment_log::SegmentOptions;
use refrain_sequencer::sim::{SimDisk, sim_entropy};
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::limits::MAX_BATCH_BYTES;
use refrain_wire::{Entry, Epoch, Generation, GroupId, NodeId, Position, SubmissionId, Time};

type Delivered = Arc<Mutex<Vec<(Position, Bytes)>>>;

/// Opens one kind of log.
trait Fixture {
    type Log: OrderedLog;
    async fn open(&self, max_bytes: Option<u64>, sink: CommitSink) -> Self::Log;
}

struct InMemory;

impl Fixture for InMemory {
    type Log = MemoryLog;

    async fn open(&self, max_bytes: Option<u64>, sink: CommitSink) -> MemoryLog {
        MemoryLog::new(Generation([1; 16]), max_bytes, sink)
    }
}

#[derive(Default)]
struct OnRaft(SimDisk);

impl Fixture for OnRaft {
    type Log = RaftLog;

    async fn open(&self, max_bytes: Option<u64>, sink: CommitSink) -> RaftLog {
        let options = RaftOptions {
            segments: SegmentOptions {
                segment_bytes: 20_000,
                cache_bytes: 1000,
                entropy: sim_entropy(self.0.operations()),
                ..SegmentOptions::default()
            },
            max_log_bytes: max_bytes,
            ..RaftOptions::default()
        };
        RaftLog::open(Arc::new(self.0.clone()), &FlushInline, options, sink).await.unwrap()
    }
}

/// The first of three members that talk over TCP; it leads.
#[derive(Default)]
struct OnThree(Mutex<Vec<RaftLog>>);

impl Fixture for OnThree {
    type Log = RaftLog;

    async fn open(&self, max_bytes: Option<u64>, sink: CommitSink) -> RaftLog {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(Tcp.bind("127.0.0.1:0").await.unwrap());
        }
        let addresses: Vec<String> = listeners.iter().map(|listener| listener.local_address().unwrap()).collect();
        let members = (1..).map(NodeId).zip(addresses.iter().cloned()).collect();
        let mut sink = Some(sink);
        let mut logs = Vec::new();
        for (node, listener) in (1..).zip(listeners) {
            let options = RaftOptions {
                node: NodeId(node),
                address: addresses[node as usize - 1].clone(),
                members: Bootstrap::Initial(Clone::clone(&members)),
                segments: SegmentOptions {
                    segment_bytes: 20_000,
                    cache_bytes: 1000,
                    entropy: sim_entropy(node),
                    ..SegmentOptions::default()
                },
                max_log_bytes: max_bytes,
                ..RaftOptions::default()
            };
            let sink = sink.take().unwrap_or_else(|| Arc::new(|_| {}));
            let log = RaftLog::open(Arc::new(SimDisk::new()), &FlushInline, options, sink).await.unwrap();
            let server = log.server();
            tokio::spawn(async move { server.listen(listener).await });
            logs.push(log);
        }
        for begun in futures_util::future::join_all(logs.iter().map(RaftLog::begin)).await {
            begun.unwrap();
        }
        let first = logs.remove(0);
        first.leadership().wait_for(|leadership| leadership.leading).await.unwrap();
        self.0.lock().extend(logs);
        first
    }
}

fn on_one_thread<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(test))
}

fn recorder() -> (CommitSink, Delivered) {
    let delivered = Delivered::default();
    let into = delivered.clone();
    let sink = move |delivery: Delivery<'_>| match delivery {
        Delivery::Entry { position, bytes } => into.lock().push((position, bytes.clone())),
        Delivery::Snapshot { position, .. } => panic!("this log is never cut: {position}"),
    };
    (Arc::new(sink), delivered)
}

fn draft(number: u64, len: usize) -> Draft {
    let submission = SubmissionId { epoch: Epoch(1), number };
    Draft {
        time: Time::from_micros(number),
        submissions: vec![submission],
        batches: vec![GroupRecords { group: GroupId(1), records: Bytes::from(vec![number as u8; len]) }],
    }
}

async fn an_entry_is_committed_delivered_and_readable_when_its_append_returns(fixture: &impl Fixture) {
    let (sink, delivered) = recorder();
    let log = fixture.open(None, sink).await;
    let before = log.committed();
    let position = log.append(draft(1, 10)).await.unwrap();
    assert!(position > before);
    assert_eq!(log.committed(), position);
    let expected = (position, draft(1, 10).encode(position));
    assert_eq!(delivered.lock().as_slice(), std::slice::from_ref(&expected));
    assert_eq!(log.read(log.first(), 1000).unwrap(), std::slice::from_ref(&expected));
    assert_eq!(log.read(position, 0).unwrap(), [expected], "one entry, however large");
    assert_eq!(log.read(position.next(), 1000).unwrap(), []);
    assert_eq!(log.read(Position(u64::MAX), 1000).unwrap(), [], "another node may ask for any");
    assert_eq!(Entry::decode(position, &delivered.lock()[0].1).unwrap().position, position);
}

async fn positions_rise_and_all_see_one_order(fixture: &impl Fixture) {
    let (sink, delivered) = recorder();
    let log = Arc::new(fixture.open(None, sink).await);
    let appends: Vec<_> = (1..=40)
        .map(|number| {
            let log = log.clone();
            tokio::task::spawn_local(async move { log.append(draft(number, 700)).await.unwrap() })
        })
        .collect();
    let mut positions = Vec::new();
    for append in appends {
        positions.push(append.await.unwrap());
    }
    let delivered = delivered.lock().clone();
    assert!(delivered.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(delivered.len(), 40);
    assert_eq!(delivered.iter().map(|(position, _)| *position).collect::<Vec<_>>(), positions);
    let mut read = Vec::new();
    let mut at = log.first();
    loop {
        let run = log.read(at, 2000).unwrap();
        let Some((last, _)) = run.last() else { break };
        assert!(run.len() <= 2, "two entries of more than 700 bytes fit into 2000 bytes");
        at = last.next();
        read.extend(run);
    }
    assert_eq!(read, delivered);
}

async fn a_draft_over_the_limits_is_refused_and_one_at_the_limit_is_not(fixture: &impl Fixture) {
    let (sink, _) = recorder();
    let log = fixture.open(None, sink).await;
    let mut large = draft(1, 0);
    large.batches = (1..=5)
        .map(|group| GroupRecords { group: GroupId(group), records: Bytes::from(vec![0; MAX_BATCH_BYTES]) })
        .collect();
    assert!(matches!(log.append(large.clone()).await, Err(AppendError::TooLarge { .. })));
    large.batches.pop();
    log.append(large).await.unwrap();
    let mut many = draft(2, 1);
    many.submissions = vec![many.submissions[0]; 1024];
    log.append(many.clone()).await.unwrap();
    many.submissions.push(many.submissions[0]);
    let error = log.append(many).await.unwrap_err();
    assert_eq!(error.to_string(), "the draft's number of submissions is 1025, the limit is 1024");
}

async fn a_full_log_refuses_before_anything_is_written_and_goes_on_being_read(fixture: &impl Fixture) {
    let (sink, delivered) = recorder();
    let log = fixture.open(Some(10_050), sink).await;
    let mut accepted = 0;
    let error = loop {
        match log.append(draft(accepted + 1, 1000)).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Full { max_bytes: 10_050, .. }), "{error}");
    assert!(!error.is_fatal());
    assert!((8..=9).contains(&accepted), "{accepted}");
    assert_eq!(delivered.lock().len() as u64, accepted);
    log.append(draft(99, 5)).await.expect("a small one still fits");
    let stats = log.stats();
    assert!(stats.bytes <= 10_050);
    assert_eq!(stats.max_bytes, Some(10_050));
}

async fn a_closed_log_refuses_and_says_so(fixture: &impl Fixture) {
    let (sink, _) = recorder();
    let log = fixture.open(None, sink).await;
    log.append(draft(1, 1)).await.unwrap();
    log.close().await.unwrap();
    let error = log.append(draft(2, 1)).await.unwrap_err();
    assert!(matches!(error, AppendError::Closed), "{error}");
    assert!(error.is_fatal());
    assert_eq!(log.read(log.first(), 1000).unwrap().len(), 1);
}

async fn status_names_the_leader_and_its_term(fixture: &impl Fixture) {
    let (sink, _) = recorder();
    let log = fixture.open(None, sink).await;
    let position = log.append(draft(1, 1)).await.unwrap();
    let stats = log.stats();
    let leader = stats.leader.unwrap();
    assert!(stats.members.contains(&leader));
    let leadership = *log.leadership().borrow();
    assert_eq!(leadership, Leadership { term: stats.term, leader: Some(leader), leading: true });
    assert_eq!(log.leading(), Some(stats.term));
    assert!(stats.term >= 1);
    assert_eq!(stats.committed, position);
    assert_eq!(stats.generation, log.generation());
}

macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[test]
            fn $name() {
                super::on_one_thread(super::$name(&super::InMemory));
            })*
        }
        mod three_members {
            $(#[test]
            fn $name() {
                super::on_one_thread(super::$name(&super::OnThree::default()));
            })*
        }
        mod raft {
            $(#[test]
            fn $name() {
                super::on_one_thread(super::$name(&super::OnRaft::default()));
            })*
        }
    };
}

contract!(
    an_entry_is_committed_delivered_and_readable_when_its_append_returns,
    positions_rise_and_all_see_one_order,
    a_draft_over_the_limits_is_refused_and_one_at_the_limit_is_not,
    a_full_log_refuses_before_anything_is_written_and_goes_on_being_read,
    a_closed_log_refuses_and_says_so,
    status_names_the_leader_and_its_term,
);
