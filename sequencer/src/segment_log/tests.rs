//! A log at the end of all indexes.

use std::sync::mpsc;

use super::*;
use crate::flush::FlushInline;
use crate::frame::{END_OF_INDEXES, EntryKind};
use crate::sim::{SimDisk, sim_entropy};

fn log() -> SegmentLog {
    let options = SegmentOptions { segment_bytes: 512, entropy: sim_entropy(1), ..SegmentOptions::default() };
    SegmentLog::open(Arc::new(SimDisk::new()), &FlushInline, options).unwrap()
}

fn id(index: u64) -> EntryId {
    EntryId { term: 1, node: 0, index }
}

fn outcome(run: impl FnOnce(Done)) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    run(Box::new(move |outcome| sender.send(outcome).unwrap()));
    receiver.recv().unwrap().err().map(|error| error.to_string())
}

fn append(log: &SegmentLog, first: u64, count: u64) -> Option<String> {
    let entries =
        (first..first + count).map(|index| LogEntry { id: id(index), kind: EntryKind::Blank, payload: Bytes::new() });
    outcome(|done| log.append(entries.collect(), done))
}

#[test]
fn entries_are_taken_up_to_the_end_of_all_indexes_and_not_beyond() {
    let (log, end) = (log(), END_OF_INDEXES);
    assert_eq!(outcome(|done| log.purge(id(end - 3), done)), None);
    assert_eq!(log.next(), end - 2);
    let told = format!("entry {end} is beyond the end of every log, {end}");
    assert_eq!(append(&log, end - 2, 3), Some(told.clone()));
    assert_eq!(append(&log, end - 2, 2), None);
    assert_eq!((log.next(), log.last()), (end, Some(id(end - 1))));
    assert_eq!(append(&log, end, 1), Some(told));
    assert_eq!(log.read(end - 1, u64::MAX, 9).unwrap().len(), 1);
    assert_eq!(log.id_at(u64::MAX).unwrap(), None);
    assert_eq!(outcome(|done| log.purge(id(end - 1), done)), None);
    assert_eq!(log.first(), end);
}

#[test]
fn entries_are_given_up_by_their_index_whatever_their_terms() {
    let log = log();
    assert_eq!(outcome(|done| log.purge(EntryId { term: 6, ..id(0) }, done)), None);
    assert_eq!(append(&log, 1, 3), None);
    assert_eq!(outcome(|done| log.purge(id(2), done)), None);
    assert_eq!((log.meta().purged, log.first()), (Some(id(2)), 3));
    assert_eq!(outcome(|done| log.purge(id(1), done)), None);
    assert_eq!((log.meta().purged, log.first()), (Some(id(2)), 3), "what is given up stays so");
}

#[test]
fn nothing_is_purged_beyond_the_end_of_all_indexes() {
    let log = log();
    assert_eq!(append(&log, 0, 2), None);
    for index in [END_OF_INDEXES, u64::MAX] {
        let told = format!("entry {index} is beyond the end of every log, {END_OF_INDEXES}");
        assert_eq!(outcome(|done| log.purge(id(index), done)), Some(told));
    }
    assert_eq!((log.first(), log.next()), (0, 2));
}
