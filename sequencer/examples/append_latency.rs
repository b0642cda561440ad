//! How long an append takes: a raw `fdatasync`, the segment log over it, and the Raft log over that, in one run.
//!
//! `cargo run --release -p refrain-sequencer --example append_latency [FOLDER] [COUNT]`

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use refrain_sequencer::disk::{Disk, RealDisk};
use refrain_sequencer::flush::FlushThread;
use refrain_sequencer::frame::{EntryId, EntryKind, LogEntry};
use refrain_sequencer::log::OrderedLog;
use refrain_sequencer::raft::{RaftLog, RaftOptions};
use refrain_sequencer::segment_log::{Durability, SegmentLog, SegmentOptions};
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::{Epoch, GroupId, SubmissionId, Time};

const PAYLOAD_BYTES: usize = 256;
type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let base = args.next().unwrap_or_else(|| ".".to_owned());
    let count: usize = args.next().map_or(Ok(3000), |count| count.parse())?;
    let folder = Path::new(&base).join("append-latency");
    println!("{count} appends of {PAYLOAD_BYTES} bytes in {}", folder.display());
    // Twice, because the minute matters more than the code on a shared machine.
    for _ in 0..2 {
        for sync in [true, false] {
            let name = if sync { "fsync" } else { "none" };
            for (what, measure) in [("raw file", raw as Measure), ("segment log", segments), ("raft log", raft)] {
                std::fs::remove_dir_all(&folder).or_else(ignore_missing)?;
                report(&format!("{what}, {name}"), measure(&folder, count, sync)?);
            }
        }
    }
    Ok(std::fs::remove_dir_all(&folder)?)
}

type Measure = fn(&Path, usize, bool) -> Result<Vec<Duration>, Failure>;

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e6;
    println!("{what:24} p50 {:7.1} us   p99 {:7.1} us", at(50), at(99));
}

fn raw(folder: &Path, count: usize, sync: bool) -> Result<Vec<Duration>, Failure> {
    let disk = RealDisk::open(folder)?;
    let file = disk.create("raw")?;
    file.preallocate(64 << 20)?;
    file.sync()?;
    let bytes = [7; PAYLOAD_BYTES];
    (0..count)
        .map(|n| {
            let start = Instant::now();
            file.write_at((n * PAYLOAD_BYTES) as u64, &[IoSlice::new(&bytes)])?;
            if sync {
                file.sync()?;
            }
            Ok(start.elapsed())
        })
        .collect()
}

fn options(sync: bool) -> SegmentOptions {
    SegmentOptions { durability: if sync { Durability::Fsync } else { Durability::None }, ..SegmentOptions::default() }
}

fn segments(folder: &Path, count: usize, sync: bool) -> Result<Vec<Duration>, Failure> {
    let log = SegmentLog::open(Arc::new(RealDisk::open(folder)?), &FlushThread, options(sync))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut times = Vec::with_capacity(count);
        for index in 0..count as u64 {
            let start = Instant::now();
            let entry = LogEntry {
                id: EntryId { term: 1, node: 1, index },
                kind: EntryKind::Batches,
                payload: Bytes::from(vec![7; PAYLOAD_BYTES]),
            };
            let (sender, receiver) = tokio::sync::oneshot::channel();
            log.append(vec![entry], Box::new(move |outcome| drop(sender.send(outcome))));
            receiver.await??;
            times.push(start.elapsed());
        }
        Ok(times)
    })
}

fn raft(folder: &Path, count: usize, sync: bool) -> Result<Vec<Duration>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async {
        let disk = Arc::new(RealDisk::open(folder)?);
        let raft_options = RaftOptions { segments: options(sync), ..RaftOptions::default() };
        let start = Instant::now();
        let log = RaftLog::open(disk, &FlushThread, raft_options, Arc::new(|_| {})).await?;
        println!("raft log opened in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
        let mut times = Vec::with_capacity(count);
        for number in 1..=count as u64 {
            let start = Instant::now();
            log.append(draft(number)).await?;
            times.push(start.elapsed());
        }
        log.close().await?;
        Ok(times)
    }))
}

fn draft(number: u64) -> Draft {
    let submission = SubmissionId { epoch: Epoch(1), number };
    Draft {
        time: Time::from_micros(number),
        submissions: vec![submission],
        batches: vec![GroupRecords { group: GroupId(1), records: Bytes::from(vec![7; PAYLOAD_BYTES - 41]) }],
    }
}
