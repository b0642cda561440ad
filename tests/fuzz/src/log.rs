//! The sequencer's files, what members tell each other, and the state that the entries of a log make.

mod files;

use std::sync::Arc;

use bytes::Bytes;
use refrain_sequencer::disk::Disk;
use refrain_sequencer::flush::FlushInline;
use refrain_sequencer::frame::{EntryId, EntryKind, LogEntry};
use refrain_sequencer::meta::Vote;
use refrain_sequencer::raft;
use refrain_sequencer::segment_log::{Durability, SegmentLog, SegmentOptions};
use refrain_sequencer::shard::ShardState;
use refrain_sequencer::sim::{SimDisk, sim_entropy};
use refrain_wire::batch::put_batch;
use refrain_wire::record::check_records;
use refrain_wire::stream::Frame;
use refrain_wire::{Entry, Epoch, GroupId, Position, SubmissionId, Time};

use crate::input::Input;

/// The size of a segment: few frames fit.
const SEGMENT_BYTES: u64 = 512;
/// How many steps a log is taken through.
const MAX_STEPS: usize = 24;

/// A folder of a member's files: it opens as what it holds or is refused, and what is done to it then outlives a crash.
pub fn segments(data: &[u8]) {
    let mut input = Input::new(data);
    let disk = SimDisk::new();
    files::put(&disk, &mut input);
    let Ok(log) = open(&disk) else { return };
    let (mut before, mut meta) = (content(&log), log.meta());
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        step(&log, &mut input);
        (before, meta) = (content(&log), log.meta());
    }
    drop(log);
    disk.crash(input.number());
    let log = open(&disk).expect("what was acknowledged is there");
    assert_eq!(content(&log), before);
    assert_eq!((log.meta().vote, log.meta().purged), (meta.vote, meta.purged));
}

fn open(disk: &SimDisk) -> Result<SegmentLog, String> {
    let options = SegmentOptions {
        durability: Durability::Fsync,
        segment_bytes: SEGMENT_BYTES,
        cache_bytes: 256,
        entropy: sim_entropy(1),
        observer: None,
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    SegmentLog::open(disk, &FlushInline, options).map_err(|error| error.to_string())
}

/// All entries, by reads of any size; none is missing.
fn content(log: &SegmentLog) -> Vec<LogEntry> {
    let mut entries: Vec<LogEntry> = Vec::new();
    let mut at = log.first();
    while at < log.next() {
        let run = log.read(at, u64::MAX, 100).expect("what was opened can be read");
        assert!(!run.is_empty(), "entry {at} is missing");
        for entry in run {
            assert_eq!(entry.id.index, at);
            at += 1;
            entries.push(entry);
        }
    }
    entries
}

fn step(log: &SegmentLog, input: &mut Input<'_>) {
    let term = log.last().map_or(0, |last| last.term);
    match input.below(8) {
        0..=3 => {
            let first = if input.below(8) == 7 { input.number() } else { log.next() };
            let entries = (0..=input.below(3)).map_while(|n| {
                let id = EntryId { term, node: 0, index: first.checked_add(n as u64)? };
                Some(LogEntry { id, kind: EntryKind::Batches, payload: Bytes::copy_from_slice(input.take(60)) })
            });
            log.append(entries.collect(), Box::new(drop));
        }
        4 => {
            // What is committed is never cut off.
            let committed = log.meta().committed.map_or(0, |id| id.index + 1);
            log.truncate(input.number().max(committed), Box::new(drop));
        }
        5 => {
            let index = if input.flag() { input.number() } else { log.next().saturating_sub(1) };
            let known = log.id_at(index).ok().flatten();
            log.purge(known.unwrap_or(EntryId { term, node: 0, index }), Box::new(drop));
        }
        6 => {
            let vote = Vote { term: input.number() / 4, node: input.number(), committed: input.flag() };
            log.change_meta(move |meta| meta.vote = Some(vote), Box::new(drop));
        }
        _ => drop(log.read(input.number(), input.number(), usize::from(input.byte()))),
    }
}

/// A frame between members: what is accepted is written as it was read.
pub fn raft_messages(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else { return };
    let frame = Frame { kind: *kind, payload: Bytes::copy_from_slice(payload) };
    assert_ne!(raft::comes_back(&frame), Some(false));
}

/// The state of a shard: from bytes of a snapshot, and from entries with any records.
pub fn shard_state(data: &[u8]) {
    let mut input = Input::new(data);
    let mut state = ShardState::new();
    if input.flag() {
        let piece = input.piece();
        let Ok(read) = ShardState::decode(piece) else { return };
        let written = read.encode();
        // Older versions are read and not written.
        assert!(written[0] != piece[0] || written == piece, "a state has one form");
        state = read;
    }
    while !input.is_empty() {
        let Some(position) = state.position().0.checked_add(1 + input.number() % 5) else { return };
        let entry = entry(Position(position), &mut input);
        let mut copy = ShardState::decode(&state.encode()).expect("its own bytes");
        let applied = state.apply(&entry).expect("its records decode");
        assert_eq!(copy.apply(&entry).expect("its records decode").batches, applied.batches);
        assert_eq!(copy.encode(), state.encode());
        for batch in &applied.batches {
            check_records(&batch.records).expect("what is cut out leaves whole records");
        }
    }
}

/// An entry as a leader could have made it: its records decode.
fn entry(position: Position, input: &mut Input<'_>) -> Entry {
    let id = |input: &mut Input<'_>| SubmissionId { epoch: Epoch(input.number() as u32), number: input.number() };
    let submissions: Vec<SubmissionId> = (0..input.below(4)).map(|_| id(input)).collect();
    let time = Time::from_micros(input.number() & ((1 << 56) - 1));
    let mut bytes = (submissions.len() as u16).to_le_bytes().to_vec();
    for id in &submissions {
        bytes.extend_from_slice(&id.epoch.0.to_le_bytes());
        bytes.extend_from_slice(&id.number.to_le_bytes());
    }
    for group in 0..input.below(4) as u32 {
        let records = Bytes::copy_from_slice(input.piece());
        if check_records(&records).is_ok() {
            put_batch(&mut bytes, GroupId(group), position, time, &records);
        }
    }
    Entry::decode(position, &bytes.into()).expect("batches in order")
}
