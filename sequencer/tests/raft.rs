//! What the Raft log promises beyond the contract: it survives restarts, crashes and a full disk.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use refrain_sequencer::disk::RealDisk;
use refrain_sequencer::flush::{FlushInline, FlushThread};
use refrain_sequencer::log::{AppendError, CommitSink, Durability, OrderedLog, local_sink};
use refrain_sequencer::raft::{OpenRaftError, RaftLog, RaftOptions};
use refrain_sequencer::segment_log::SegmentOptions;
use refrain_sequencer::sim::{SimDisk, sim_entropy};
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::{GroupId, Position, Time};

type Entries = Vec<(Position, Bytes)>;

fn on_one_thread<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(test))
}

fn draft(number: u8, len: usize) -> Draft {
    Draft {
        time: Time::from_micros(u64::from(number)),
        submissions: Vec::new(),
        batches: vec![GroupRecords { group: GroupId(1), records: Bytes::from(vec![number; len]) }],
    }
}

fn options(disk: &SimDisk) -> RaftOptions {
    RaftOptions {
        segments: SegmentOptions {
            segment_bytes: 10_000,
            cache_bytes: 1000,
            entropy: sim_entropy(disk.operations()),
            ..SegmentOptions::default()
        },
        ..RaftOptions::default()
    }
}

fn recorder() -> (CommitSink, Arc<Mutex<Entries>>) {
    let delivered = Arc::new(Mutex::new(Vec::new()));
    let into = delivered.clone();
    (Arc::new(move |position, entry: &Bytes| into.lock().push((position, entry.clone()))), delivered)
}

async fn open(disk: &SimDisk) -> Result<(RaftLog, Arc<Mutex<Entries>>), OpenRaftError> {
    let (sink, delivered) = recorder();
    let log = RaftLog::open(Arc::new(disk.clone()), &FlushInline, options(disk), sink).await?;
    Ok((log, delivered))
}

/// One life of a process: appends until an append fails; returns what was acknowledged.
fn life(disk: &SimDisk, appends: u8) -> Option<(Entries, Entries)> {
    on_one_thread(async {
        let (log, delivered) = open(disk).await.ok()?;
        let at_start = delivered.lock().clone();
        let mut acknowledged = at_start.clone();
        for number in 0..appends {
            let draft = draft(number, 400 + usize::from(number));
            match log.append(draft.clone()).await {
                Ok(position) => acknowledged.push((position, draft.encode(position))),
                Err(_) => break,
            }
        }
        Some((at_start, acknowledged))
    })
}

#[test]
fn a_restart_delivers_every_entry_once_and_in_order_and_has_a_new_term() {
    let disk = SimDisk::new();
    let (_, first) = life(&disk, 30).unwrap();
    disk.crash(1);
    let (at_start, second) = life(&disk, 10).unwrap();
    assert_eq!(at_start, first);
    assert_eq!(second.len(), 40);
    on_one_thread(async {
        let (log, delivered) = open(&disk).await.unwrap();
        assert_eq!(*delivered.lock(), second);
        assert!(log.leading().unwrap() >= 3, "every start is a term: {:?}", log.leading());
        assert_eq!(log.append(draft(1, 1)).await.unwrap(), log.committed());
    });
}

#[test]
fn a_crash_at_any_operation_keeps_what_was_acknowledged() {
    let mut stop = 0;
    loop {
        let disk = SimDisk::new();
        disk.stop_after(stop);
        let acknowledged = life(&disk, 40).map(|(_, acknowledged)| acknowledged).unwrap_or_default();
        disk.crash(stop);
        let (found, _) = life(&disk, 0).expect("a crash never prevents opening");
        let more = found.len() - acknowledged.len().min(found.len());
        assert!(found.starts_with(&acknowledged), "stop {stop}");
        assert!(more <= 1, "stop {stop}: at most the append on its way is there as well");
        if acknowledged.len() == 40 {
            break;
        }
        stop += 1;
    }
    assert!(stop > 80, "{stop}");
}

#[test]
fn entries_before_the_asked_position_are_not_delivered() {
    let disk = SimDisk::new();
    let (_, all) = life(&disk, 5).unwrap();
    on_one_thread(async {
        let (sink, delivered) = recorder();
        let mut options = options(&disk);
        options.deliver_from = all[3].0;
        let log = RaftLog::open(Arc::new(disk.clone()), &FlushInline, options, sink).await.unwrap();
        assert_eq!(*delivered.lock(), all[3..]);
        assert_eq!(log.read(log.first(), usize::MAX).unwrap(), all);
    });
}

#[test]
fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_space() {
    let disk = SimDisk::new();
    on_one_thread(async {
        let (log, delivered) = open(&disk).await.unwrap();
        disk.set_capacity(Some(disk.used()));
        let mut accepted = 0;
        let error = loop {
            match log.append(draft(accepted, 1000)).await {
                Ok(_) => accepted += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AppendError::DiskFull { .. }), "{error}");
        assert!(accepted >= 4, "{accepted}");
        disk.set_capacity(None);
        log.append(draft(99, 1000)).await.unwrap();
        assert_eq!(delivered.lock().len(), usize::from(accepted) + 1);
    });
}

#[test]
fn taking_office_needs_no_new_space_on_a_full_disk() {
    let disk = SimDisk::new();
    on_one_thread(async {
        let (log, _) = open(&disk).await.unwrap();
        disk.set_capacity(Some(disk.used()));
        while log.append(draft(1, 500)).await.is_ok() {}
    });
    for _ in 0..5 {
        disk.restart();
        assert!(life(&disk, 0).is_some(), "a start on a full disk");
    }
}

#[test]
fn a_sync_error_ends_the_log_and_names_its_cause() {
    let disk = SimDisk::new();
    on_one_thread(async {
        let (log, delivered) = open(&disk).await.unwrap();
        log.append(draft(1, 10)).await.unwrap();
        disk.fail_sync(1);
        for _ in 0..2 {
            let Err(AppendError::Failed(fault)) = log.append(draft(2, 10)).await else {
                panic!("the append must fail");
            };
            assert_eq!(fault.source.to_string(), "injected sync error");
        }
        assert_eq!(delivered.lock().len(), 1, "what failed is not delivered");
    });
}

#[test]
fn a_real_log_with_its_thread_takes_office_and_closes_cleanly() {
    let temp = tempfile::tempdir().unwrap();
    let run = |appends: u8| {
        on_one_thread(async {
            let seen = std::rc::Rc::new(std::cell::RefCell::new(0));
            let count = seen.clone();
            let (sink, _alive) = local_sink(move |_, _| *count.borrow_mut() += 1);
            let disk = Arc::new(RealDisk::open(temp.path()).unwrap());
            let mut options = RaftOptions::default();
            options.segments.durability = Durability::None;
            let log = RaftLog::open(disk, &FlushThread, options, sink).await.unwrap();
            for number in 0..appends {
                log.append(draft(number, 100)).await.unwrap();
            }
            let generation = log.generation();
            log.close().await.unwrap();
            let seen = *seen.borrow();
            (generation, seen)
        })
    };
    let (first, delivered) = run(5);
    assert_eq!(delivered, 5);
    let (second, delivered) = run(3);
    assert_eq!(delivered, 8);
    assert_eq!(first, second, "a closed log keeps its generation without syncs as well");
}
