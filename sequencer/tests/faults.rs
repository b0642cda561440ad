//! Damage, errors and full disks: each has a defined answer that names what is wrong.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use refrain_sequencer::disk::Disk;
use refrain_sequencer::flush::FlushInline;
use refrain_sequencer::frame::{EntryId, EntryKind, LogEntry};
use refrain_sequencer::recovery::OpenError;
use refrain_sequencer::segment_log::{Durability, ReadError, SegmentLog, SegmentOptions};
use refrain_sequencer::sim::{SimDisk, sim_entropy};
use refrain_sequencer::writer::WriteError;

const HEADER_BYTES: u64 = 64;
const FRAME_BYTES: u64 = 37;

fn options(durability: Durability) -> SegmentOptions {
    let entropy = sim_entropy(1);
    SegmentOptions { durability, segment_bytes: 1000, cache_bytes: 0, entropy, ..SegmentOptions::default() }
}

fn try_open(disk: &SimDisk) -> Result<SegmentLog, OpenError> {
    SegmentLog::open(Arc::new(disk.clone()), &FlushInline, options(Durability::Fsync))
}

fn open(disk: &SimDisk) -> SegmentLog {
    try_open(disk).unwrap()
}

fn entry(index: u64, len: usize) -> LogEntry {
    LogEntry {
        id: EntryId { term: 1, node: 1, index },
        kind: EntryKind::Batches,
        payload: Bytes::from(vec![index as u8 + 1; len]),
    }
}

fn append(log: &SegmentLog, len: usize) -> Result<(), WriteError> {
    let outcome = Arc::new(Mutex::new(None));
    let called = outcome.clone();
    log.append(vec![entry(log.next(), len)], Box::new(move |result| *called.lock() = Some(result)));
    let result = outcome.lock().take();
    result.expect("called back")
}

fn close(log: SegmentLog) {
    log.close(Box::new(|outcome| outcome.unwrap()));
}

/// A disk with a log of `count` entries of 100 bytes: seven fit into a segment.
fn filled(count: u64) -> SimDisk {
    let disk = SimDisk::new();
    let log = open(&disk);
    for _ in 0..count {
        append(&log, 100).unwrap();
    }
    disk
}

fn segment(number: u64) -> String {
    format!("segment-{number:016x}.log")
}

fn frame(nth: u64) -> u64 {
    HEADER_BYTES + nth * (FRAME_BYTES + 100)
}

fn message(disk: &SimDisk) -> String {
    match try_open(disk) {
        Ok(_) => panic!("the log opened"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_a_killed_process_left_unsynced_is_made_durable_before_it_is_believed() {
    for stop in 0..30 {
        let disk = filled(3);
        disk.stop_after(disk.operations() + stop);
        let log = try_open(&disk).map(|log| while append(&log, 100).is_ok() && log.next() < 9 {});
        drop(log);
        disk.restart();
        let seen = open(&disk).next();
        disk.crash(stop);
        assert_eq!(open(&disk).next(), seen, "stop {stop}");
    }
}

#[test]
fn a_flipped_bit_in_the_middle_is_an_error_that_names_file_offset_and_index() {
    let disk = filled(5);
    disk.flip_bit(&segment(1), frame(2) + 60, 3);
    let expected =
        format!("sim/{}: entry 2 at offset {} is damaged; entries after it were acknowledged", segment(1), frame(2));
    assert_eq!(message(&disk), expected);
    assert_eq!(message(&disk), expected, "the first attempt changed nothing");
    disk.flip_bit(&segment(1), frame(2) + 60, 3);
    assert_eq!(open(&disk).next(), 5);
}

#[test]
fn a_flipped_bit_in_the_last_entry_of_an_ended_segment_is_an_error() {
    let disk = filled(8);
    disk.flip_bit(&segment(1), frame(5) + 60, 0);
    assert!(message(&disk).contains("entry 5 at offset"));
}

#[test]
fn a_flipped_bit_in_the_last_entry_is_an_error_when_it_is_known_to_be_committed() {
    let disk = filled(3);
    let log = open(&disk);
    log.note_committed(entry(2, 0).id);
    close(log);
    disk.flip_bit(&segment(1), frame(2) + 60, 0);
    assert!(message(&disk).contains("entry 2 at offset"));
}

#[test]
fn a_damaged_header_a_missing_segment_and_a_missing_meta_file_are_errors() {
    let disk = filled(20);
    disk.flip_bit(&segment(2), 20, 0);
    assert!(message(&disk).contains("the segment's header is damaged"));
    disk.flip_bit(&segment(2), 20, 0);
    disk.remove("meta").unwrap();
    assert!(message(&disk).contains("sim/meta: the file is missing"));

    let disk = filled(20);
    disk.remove(&segment(1)).unwrap();
    assert!(message(&disk).contains("the log lacks entry 0"));
    let disk = filled(20);
    disk.remove(&segment(2)).unwrap();
    assert!(message(&disk).contains("entry 6 at offset"));
}

#[test]
fn a_bit_that_flips_later_is_found_when_the_entry_is_read() {
    let disk = filled(3);
    let log = open(&disk);
    assert_eq!(log.read(0, 9, 1000).unwrap().len(), 3);
    disk.flip_bit(&segment(1), frame(1) + 60, 0);
    assert!(matches!(log.read(0, 9, 1000), Err(ReadError::Damaged { index: 1, .. })));
    assert_eq!(log.read(2, 9, 1000).unwrap(), [entry(2, 100)]);
}

#[test]
fn a_sync_error_fails_the_append_and_everything_after_it() {
    let disk = filled(2);
    let log = open(&disk);
    disk.fail_sync(1);
    let Err(WriteError::Failed(fault)) = append(&log, 100) else { panic!("the append must fail") };
    assert_eq!(fault.to_string(), format!("sim/{}: cannot sync", segment(1)));
    assert_eq!(fault.source.to_string(), "injected sync error");
    assert!(matches!(append(&log, 100), Err(WriteError::Failed(_))));
    log.change_meta(|meta| meta.unsynced = true, Box::new(|outcome| assert!(outcome.is_err())));
    log.truncate(1, Box::new(|outcome| assert!(outcome.is_err())));
    assert!(log.fault().is_some());
    drop(log);
    disk.crash(5);
    assert!(open(&disk).next() >= 2, "what was acknowledged is there");
}

#[test]
fn a_full_disk_fails_the_append_and_the_log_goes_on_when_there_is_space_again() {
    let disk = filled(6);
    let log = open(&disk);
    disk.set_capacity(Some(disk.used() + 999));
    let error = append(&log, 100).unwrap_err();
    assert_eq!(error.to_string(), format!("sim/{}.new: the disk is full, 1000 bytes are needed", segment(2)));
    assert_eq!(log.next(), 6, "the entry is not in the log");
    append(&log, 20).expect("a small one still fits into the segment");
    assert!(append(&log, 100).is_err());
    disk.set_capacity(Some(disk.used() + 1000));
    append(&log, 100).unwrap();
    drop(log);
    disk.crash(1);
    let log = open(&disk);
    assert_eq!(log.next(), 8);
    assert_eq!(log.read(6, 9, 1000).unwrap(), [entry(6, 20)]);
    assert_eq!(log.read(7, 9, 1000).unwrap(), [entry(7, 100)]);
}

#[test]
fn reserved_space_is_there_when_the_disk_is_full() {
    let disk = filled(6);
    let log = open(&disk);
    assert!(!log.has_room(500));
    log.reserve(500, Box::new(|outcome| outcome.unwrap()));
    disk.set_capacity(Some(disk.used()));
    assert!(log.has_room(500));
    append(&log, 300).unwrap();
}

#[test]
fn an_entry_larger_than_a_segment_gets_a_segment_of_its_size() {
    let disk = filled(1);
    let log = open(&disk);
    append(&log, 5000).unwrap();
    append(&log, 10).unwrap();
    drop(log);
    disk.crash(3);
    assert_eq!(open(&disk).read(1, 3, 9999).unwrap(), [entry(1, 5000)]);
}

#[test]
fn a_log_without_syncs_gets_a_new_generation_unless_it_was_closed() {
    let disk = SimDisk::new();
    let run = |durability, clean: bool| {
        let mut options = options(durability);
        options.entropy = sim_entropy(disk.operations());
        let log = SegmentLog::open(Arc::new(disk.clone()), &FlushInline, options).unwrap();
        let generation = log.meta().generation;
        append(&log, 10).unwrap();
        if clean {
            close(log);
        }
        generation
    };
    let first = run(Durability::Fsync, false);
    assert_eq!(run(Durability::None, true), first, "a synced log needs no closing");
    assert_eq!(run(Durability::None, false), first, "a closed log is whole");
    let second = run(Durability::Fsync, false);
    assert_ne!(second, first, "an open log without syncs is not");
    assert_eq!(run(Durability::Fsync, true), second);
}

#[test]
fn the_loss_of_power_without_syncs_leaves_a_beginning_of_the_log() {
    for seed in 0..200 {
        let disk = SimDisk::new();
        let log = SegmentLog::open(Arc::new(disk.clone()), &FlushInline, options(Durability::None)).unwrap();
        for _ in 0..20 {
            append(&log, 100).unwrap();
        }
        drop(log);
        disk.crash(seed);
        let log = open(&disk);
        assert!(log.next() >= 14, "ended segments are synced: {}", log.next());
        for index in 0..log.next() {
            assert_eq!(log.read(index, index + 1, 0).unwrap(), [entry(index, 100)]);
        }
    }
}
