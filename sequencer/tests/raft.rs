//! What the Raft log promises beyond the contract: it survives restarts, crashes and a full disk.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use refrain_sequencer::disk::RealDisk;
use refrain_sequencer::flush::{FlushInline, FlushThread};
use refrain_sequencer::log::{AppendError, CommitSink, Delivery, Durability, OrderedLog, ReadError, local_sink};
use refrain_sequencer::raft::{Archive, ArchiveError, CutError, OpenRaftError, RaftLog, RaftOptions};
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
    let sink = move |delivery: Delivery<'_>| {
        let (Delivery::Snapshot { position, state: bytes } | Delivery::Entry { position, bytes }) = delivery;
        into.lock().push((position, bytes.clone()));
    };
    (Arc::new(sink), delivered)
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

fn read_all(log: &RaftLog, mut from: Position) -> Entries {
    let mut all = Vec::new();
    loop {
        let run = log.read(from, usize::MAX).unwrap();
        let Some((last, _)) = run.last() else { return all };
        from = last.next();
        all.extend(run);
    }
}

async fn until_cut(log: &RaftLog, position: Position) {
    while log.first() <= position {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_cut_log_begins_after_the_cut_and_delivers_the_state_in_place_of_what_is_gone() {
    let disk = SimDisk::new();
    on_one_thread(async {
        let (log, delivered) = open(&disk).await.unwrap();
        for number in 0..60 {
            log.append(draft(number, 500)).await.unwrap();
        }
        let before = log.stats().bytes;
        let all = delivered.lock().clone();
        let at = all[40].0;
        log.cut(at, Bytes::from_static(b"the state")).await.unwrap();
        until_cut(&log, at).await;
        assert_eq!(log.first(), at.next());
        assert!(log.stats().bytes < before / 2, "whole segments are given up");
        let error = log.read(at, 1000).unwrap_err();
        assert!(matches!(error, ReadError::Purged { .. }), "{error}");
        assert!(read_all(&log, at.next()) == all[41..]);
        log.cut(Position(3), Bytes::new()).await.expect("a cut before the last one changes nothing");
        let beyond = log.committed().next();
        let error = log.cut(beyond, Bytes::new()).await.unwrap_err();
        assert!(matches!(error, CutError::NotCommitted { .. }), "{error}");
        drop(log);
        disk.crash(7);
        let (log, delivered) = open(&disk).await.unwrap();
        let mut expected = vec![(at, Bytes::from_static(b"the state"))];
        expected.extend_from_slice(&all[41..]);
        assert!(*delivered.lock() == expected);
        assert!(log.leading().is_some(), "a member that votes alone leads though its first entry is gone");
        log.append(draft(1, 1)).await.unwrap();
    });
}

/// Appends and cuts; returns what was acknowledged and the last cut that was.
fn life_with_cuts(disk: &SimDisk) -> (Entries, Position) {
    on_one_thread(async {
        let mut cut = Position(0);
        let Ok((log, _)) = open(disk).await else { return (Vec::new(), cut) };
        let mut acknowledged = Vec::new();
        for number in 0..24 {
            let draft = draft(number, 900);
            let Ok(position) = log.append(draft.clone()).await else { break };
            acknowledged.push((position, draft.encode(position)));
            if number % 8 == 7 {
                let state = Bytes::from(position.0.to_le_bytes().to_vec());
                if log.cut(position, state).await.is_err() {
                    break;
                }
                cut = position;
            }
        }
        (acknowledged, cut)
    })
}

#[test]
fn a_crash_at_any_operation_of_a_cut_loses_neither_state_nor_entries() {
    let mut stop = 0;
    loop {
        let disk = SimDisk::new();
        disk.stop_after(stop);
        let (acknowledged, cut) = life_with_cuts(&disk);
        disk.crash(stop);
        on_one_thread(async {
            let (_log, delivered) = open(&disk).await.expect("a crash never prevents opening");
            let found = delivered.lock().clone();
            let base = found.first().filter(|(at, bytes)| bytes[..] == at.0.to_le_bytes()).map_or(Position(0), |f| f.0);
            assert!(base >= cut, "stop {stop}: the last acknowledged cut is there");
            let missing = acknowledged.iter().find(|entry| entry.0 > base && !found.contains(entry));
            assert_eq!(missing, None, "stop {stop}");
        });
        if acknowledged.len() == 24 {
            break;
        }
        stop += 1;
    }
    assert!(stop > 60, "{stop}");
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was_when_it_is_to_be_cut() {
    let disk = SimDisk::new();
    on_one_thread(async {
        let (log, _) = open(&disk).await.unwrap();
        let position = log.append(draft(1, 100)).await.unwrap();
        disk.set_capacity(Some(disk.used() + 100));
        let error = log.cut(position, Bytes::from(vec![0; 5000])).await.unwrap_err();
        assert!(matches!(error, CutError::Write(_)), "{error}");
        log.append(draft(2, 100)).await.unwrap();
        disk.set_capacity(None);
        log.cut(position, Bytes::from(vec![0; 5000])).await.unwrap();
        until_cut(&log, position).await;
    });
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
            let (sink, _alive) = local_sink(move |_| *count.borrow_mut() += 1);
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

#[test]
fn the_files_of_a_member_that_does_not_run_are_read_and_left_as_they_are() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("log");
    assert!(matches!(Archive::open(&folder), Err(ArchiveError::NoLog { .. })));
    let written: Entries = on_one_thread(async {
        let disk = Arc::new(RealDisk::open(&folder).unwrap());
        let segments = SegmentOptions { segment_bytes: 10_000, cache_bytes: 1000, ..SegmentOptions::default() };
        let options = RaftOptions { segments, ..RaftOptions::default() };
        let log = RaftLog::open(disk, &FlushThread, options, recorder().0).await.unwrap();
        let mut written = Vec::new();
        for number in 0..60 {
            let draft = draft(number, 500);
            let position = log.append(draft.clone()).await.unwrap();
            written.push((position, draft.encode(position)));
        }
        assert!(matches!(Archive::open(&folder), Err(ArchiveError::InUse { .. })));
        log.cut(written[30].0, Bytes::from_static(b"state")).await.unwrap();
        log.close().await.unwrap();
        written
    });
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let archive = Archive::open(&folder).unwrap();
    let (position, state) = archive.snapshot().unwrap();
    assert_eq!((position, state.as_ref()), (written[30].0, b"state".as_slice()));
    assert_eq!((archive.first(), archive.certain()), (written[30].0.next(), archive.last()));
    assert!(matches!(archive.read(written[30].0, 0), Err(ReadError::Purged { .. })));
    let (mut read, mut at): (Entries, Position) = (Vec::new(), archive.first());
    loop {
        let more = archive.read(at, 2000).unwrap();
        let Some((last, _)) = more.last() else { break };
        at = last.next();
        read.extend(more);
    }
    assert_eq!(read, written[31..]);
    assert_eq!(names(), before);
}
