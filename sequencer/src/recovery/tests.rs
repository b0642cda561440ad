//! What opening makes of files that a crash or a fault left.

use std::io::IoSlice;

use super::{Damage, EntryId, FRAME_BYTES, HEADER_BYTES, SegmentHeader, Tail, recover, scan};
use crate::disk::Disk;
use crate::frame::{END_OF_INDEXES, EntryKind, LogEntry};
use crate::segment::segment_name;
use crate::sim::SimDisk;
use bytes::Bytes;
use proptest::prelude::{any, prop};
use proptest::proptest;
use refrain_wire::Generation;

const HEADER: SegmentHeader = SegmentHeader { sequence: 1, first: 10, generation: Generation([0; 16]), nonce: [3; 16] };

/// Frames of 100 payload bytes with indices from 10 and the given ordinals.
fn segment(ordinals: &[u32]) -> Vec<u8> {
    let mut bytes = HEADER.encode().to_vec();
    for (n, ordinal) in ordinals.iter().enumerate() {
        let entry = LogEntry {
            id: EntryId { term: 1, node: 1, index: 10 + n as u64 },
            kind: EntryKind::Batches,
            payload: Bytes::from(vec![n as u8 + 1; 100]),
        };
        bytes.extend_from_slice(&entry.header(HEADER.seed(), *ordinal));
        bytes.extend_from_slice(&entry.payload);
    }
    bytes.extend_from_slice(&[0; 500]);
    bytes
}

fn offset(n: usize) -> usize {
    HEADER_BYTES + n * (FRAME_BYTES + 100)
}

fn scanned(bytes: &[u8]) -> Result<(usize, Tail), Damage> {
    scan(bytes, &HEADER, None, None, 0).map(|scan| (scan.offsets.len(), scan.tail))
}

#[test]
fn zeros_after_the_last_frame_are_a_clean_end() {
    assert_eq!(scanned(&segment(&[0, 0, 0])), Ok((3, Tail::Clean)));
    assert_eq!(scanned(&segment(&[])), Ok((0, Tail::Clean)));
}

#[test]
fn a_bad_frame_is_damage_when_a_later_one_was_written_after_its_sync() {
    let mut bytes = segment(&[0, 0, 0]);
    bytes[offset(1) + 50] ^= 1;
    assert_eq!(scanned(&bytes), Err(Damage { offset: offset(1) as u64, index: 11 }));
}

#[test]
fn a_bad_frame_is_a_torn_tail_when_the_later_ones_belong_to_the_same_write() {
    let mut bytes = segment(&[0, 0, 1, 2]);
    bytes[offset(1) + 50] ^= 1;
    assert_eq!(scanned(&bytes), Ok((1, Tail::Torn)));
}

#[test]
fn a_later_frame_that_ends_with_zeros_proves_damage_as_well() {
    let mut bytes = segment(&[0, 0]);
    bytes.truncate(offset(2));
    let entry = LogEntry {
        id: EntryId { term: 1, node: 1, index: 12 },
        kind: EntryKind::Batches,
        payload: Bytes::from(vec![0; 20_000]),
    };
    bytes.extend_from_slice(&entry.header(HEADER.seed(), 0));
    bytes.extend_from_slice(&entry.payload);
    assert_eq!(scanned(&bytes), Ok((3, Tail::Clean)));
    bytes[offset(1) + 50] ^= 1;
    assert!(scanned(&bytes).is_err());
}

#[test]
fn a_bad_length_does_not_hide_what_follows() {
    let mut bytes = segment(&[0, 0, 0]);
    bytes[offset(1)..offset(1) + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(scanned(&bytes).is_err());
}

#[test]
fn a_bad_frame_before_the_next_segment_or_below_the_durable_part_is_damage() {
    let mut bytes = segment(&[0, 0]);
    assert!(scan(&bytes, &HEADER, None, Some(12), 0).is_ok());
    assert!(scan(&bytes, &HEADER, None, Some(13), 0).is_err());
    assert!(scan(&bytes, &HEADER, None, None, 13).is_err());
    bytes[offset(1) + 50] ^= 1;
    assert!(scan(&bytes, &HEADER, None, Some(12), 0).is_err());
    assert!(scan(&bytes, &HEADER, None, None, 12).is_err());
    assert!(scan(&bytes, &HEADER, None, Some(11), 0).is_ok());
}

#[test]
fn a_frame_of_an_older_leader_does_not_count() {
    let before = EntryId { term: 2, node: 1, index: 9 };
    let scan = scan(&segment(&[0, 1]), &HEADER, Some(before), None, 0).unwrap();
    assert_eq!((scan.offsets.len(), scan.tail), (0, Tail::Torn));
}

/// The next entry and the next segment's number of a log that is this one segment, with one entry in it.
fn recovered(sequence: u64, first: u64, name: &str) -> Result<(u64, u64), String> {
    let header = SegmentHeader { sequence, first, ..HEADER };
    let id = EntryId { term: 1, node: 1, index: first };
    let entry = LogEntry { id, kind: EntryKind::Blank, payload: Bytes::new() };
    let disk = SimDisk::new();
    let parts = [header.encode().to_vec(), entry.header(header.seed(), 0).to_vec(), vec![0; 99]].concat();
    disk.create(name).unwrap().write_at(0, &[IoSlice::new(&parts)]).unwrap();
    match recover(&disk, first, 0) {
        Ok(recovered) => Ok((recovered.next, recovered.next_sequence)),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn entries_and_segments_are_read_up_to_the_end_of_all_logs_and_not_beyond() {
    let end = END_OF_INDEXES;
    assert_eq!(recovered(1, end - 1, &segment_name(1)), Ok((end, 2)));
    assert_eq!(recovered(1, end, &segment_name(1)), Ok((end, 2)), "empty: no entry has this index");
    assert_eq!(recovered(end - 1, 0, &segment_name(end - 1)), Ok((1, end)));
    for first in [end + 1, u64::MAX] {
        let told = recovered(1, first, &segment_name(1)).unwrap_err();
        let words = format!("first entry of the segment has the number {first}, the end is {end}");
        assert!(told.ends_with(&words), "{told}");
    }
    for sequence in [end, u64::MAX] {
        let told = recovered(sequence, 0, &segment_name(sequence)).unwrap_err();
        assert!(told.ends_with(&format!("the segment has the number {sequence}, the end is {end}")), "{told}");
    }
    let new = segment_name(u64::MAX) + ".new";
    assert_eq!(recovered(u64::MAX, 0, &new), Ok((0, 1)), "not in use: it holds nothing and is removed");
}

proptest! {
    #[test]
    fn any_bytes_are_scanned_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        at in 0usize..600,
    ) {
        let _ = scan(&bytes, &HEADER, None, None, 0);
        let mut mixed = segment(&[0, 1, 0]);
        for (into, from) in mixed.iter_mut().skip(at).zip(&bytes) {
            *into = *from;
        }
        let _ = scan(&mixed, &HEADER, None, None, 0);
    }
}
