//! The files of a log's folder out of choices: a meta file, segments and whatever else, whole or not, with the checksums
//! that `docs/formats.md` says.

use std::io::IoSlice;

use refrain_sequencer::disk::Disk;
use refrain_sequencer::frame::END_OF_INDEXES;
use refrain_sequencer::sim::SimDisk;

use crate::input::Input;

const HEADER_BYTES: usize = 64;
const SLOT_BYTES: u64 = 4096;

/// Puts the files on the disk, durably.
pub(super) fn put(disk: &SimDisk, input: &mut Input<'_>) {
    if input.byte() < 240 {
        write(disk, "meta", &meta(input));
    }
    let mut next = 0;
    for sequence in 1..=input.below(4) as u64 {
        let (sequence, bytes) = segment(sequence, &mut next, input);
        let ending = if input.byte() < 240 { "" } else { ".new" };
        write(disk, &format!("segment-{sequence:016x}.log{ending}"), &bytes);
    }
    disk.sync_folder().expect("no fault is injected");
}

fn write(disk: &SimDisk, name: &str, bytes: &[u8]) {
    let file = disk.create(name).expect("no fault is injected");
    file.write_at(0, &[IoSlice::new(bytes)]).expect("no fault is injected");
    file.sync().expect("no fault is injected");
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// What is counted up while a log is used; not so near below the end that the test would get there.
fn count(input: &mut Input<'_>) -> u64 {
    let number = input.number();
    if (END_OF_INDEXES - 1000..END_OF_INDEXES).contains(&number) { number / 2 } else { number }
}

/// Two slots. The payload is one of a meta file, or any bytes.
fn meta(input: &mut Input<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for at in [0, SLOT_BYTES] {
        out.resize(at as usize, 0);
        let sequence = count(input);
        let payload = if input.byte() < 240 { meta_payload(input) } else { input.piece().to_vec() };
        if input.byte() >= 230 {
            continue;
        }
        let mut body = sequence.to_le_bytes().to_vec();
        body.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        body.extend_from_slice(&payload);
        out.extend_from_slice(b"RFRNMETA\x01\0\0\0");
        out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        out.extend_from_slice(&body);
        out.truncate((at + SLOT_BYTES) as usize);
    }
    out.resize(2 * SLOT_BYTES as usize, 0);
    out
}

fn meta_payload(input: &mut Input<'_>) -> Vec<u8> {
    let mut out = vec![4; 16];
    out.push(input.byte() & 63);
    for _ in 0..8 {
        put_number(&mut out, input.number());
    }
    out.extend_from_slice(short_piece(input));
    out
}

/// At most 55 bytes, mostly none.
fn short_piece<'a>(input: &mut Input<'a>) -> &'a [u8] {
    let length = input.byte().saturating_sub(200);
    input.take(usize::from(length))
}

/// A segment that mostly goes on where the last one ended.
fn segment(number: u64, next: &mut u64, input: &mut Input<'_>) -> (u64, Vec<u8>) {
    let sequence = if input.byte() < 230 { number } else { count(input) };
    let first = if input.byte() < 200 { *next } else { input.number() };
    let mut out = b"RFRNSEGM".to_vec();
    out.extend_from_slice(&(if input.byte() < 240 { 3u32 } else { 2 }).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    put_number(&mut out, sequence);
    put_number(&mut out, first);
    out.extend_from_slice(&[4; 16]);
    out.extend_from_slice(&[9; 16]);
    debug_assert_eq!(out.len(), HEADER_BYTES, "as it is drawn");
    let crc = crc32c::crc32c(&out);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    *next = first;
    for _ in 0..input.below(6) {
        frame(&mut out, *next, input);
        *next = next.saturating_add(1);
    }
    if input.byte() >= 128 {
        out.extend_from_slice(input.piece());
    } else {
        let zeros = usize::from(input.byte());
        out.resize(out.len() + zeros, 0);
    }
    (sequence, out)
}

fn frame(out: &mut Vec<u8>, next: u64, input: &mut Input<'_>) {
    let mut header = Vec::new();
    let (term, index) = (input.byte() / 100, if input.byte() < 240 { next } else { input.number() });
    for field in [u64::from(term), 0, index] {
        put_number(&mut header, field);
    }
    let ordinal = input.number() as u32;
    header.extend_from_slice(&ordinal.to_le_bytes());
    header.push(input.below(4) as u8);
    let payload = short_piece(input);
    let length = (payload.len() as u32).to_le_bytes();
    let crc = [&[9; 16][..], &length, &header, payload].into_iter().fold(0, crc32c::crc32c_append);
    let crc = if input.byte() < 230 { crc } else { !crc };
    for part in [&length[..], &crc.to_le_bytes(), &header, payload] {
        out.extend_from_slice(part);
    }
}
