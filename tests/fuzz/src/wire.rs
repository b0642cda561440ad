//! The formats of the crate `refrain-wire`: what is accepted is written back as it was read.

use std::fmt::Debug;

use bytes::{Buf, Bytes, BytesMut};
use refrain_wire::batch::{decode_batch, put_batch};
use refrain_wire::effect::EFFECT_ENTRY_BYTES;
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::message::Message;
use refrain_wire::message::feed::{FromMember, ToMember};
use refrain_wire::message::fetch::{Answer, Get};
use refrain_wire::message::list::{ListAssembler, ListPart, list_parts};
use refrain_wire::message::pieces::{Assembly, Piece};
use refrain_wire::message::uplink::{FromLeader, ToLeader};
use refrain_wire::message::votes::{ToEngine, ToProxy};
use refrain_wire::record::{check_records, records as read_records};
use refrain_wire::stream::{Frame, FrameDecoder, FrameQueue, Hello, HelloAnswer, Role, is_alive, put_frame};
use refrain_wire::turn::TurnEffects;
use refrain_wire::vote::VOTE_BYTES;
use refrain_wire::{
    Digest, EffectEntry, EffectKind, Entry, Epoch, GroupId, Position, Record, RecordWriter, RunningDigest,
    SubmissionId, Target, Time, Vote,
};

use crate::input::Input;

/// What the lists that are not whole may hold.
const LIST_BYTES: usize = 4096;
/// The longest frame that is taken in pieces.
const FRAME_BYTES: usize = 4096;

/// Records, votes, effects and targets of outward calls; the first byte says which.
pub fn records(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let bytes = Bytes::copy_from_slice(rest);
    match kind % 4 {
        0 => batch_of_records(&bytes),
        1 => vote(rest),
        2 => effect(&bytes),
        _ => target(&bytes),
    }
}

/// Records need not have been written by this program's writer, so what they say is compared, not their bytes.
fn batch_of_records(bytes: &Bytes) {
    let Ok(read) = read_records(bytes).collect::<Result<Vec<Record>, _>>() else {
        assert!(check_records(bytes).is_err());
        return;
    };
    let mut writer = RecordWriter::default();
    read.iter().for_each(|record| writer.push(record));
    let written = writer.take();
    let again: Vec<Record> = read_records(&written).map(|record| record.expect("just written")).collect();
    assert_eq!(again, read);
    if check_records(bytes).is_ok() {
        let mut frame = Vec::new();
        put_batch(&mut frame, GroupId(1), Position(2), Time::from_micros(3), bytes);
        assert_eq!(decode_batch(&frame.into()).expect("just framed").records, bytes);
    }
}

fn vote(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let _ = Vote::decode(&Bytes::from(bytes.clone()));
    bytes.resize(VOTE_BYTES, 0);
    repair(&mut bytes, VOTE_BYTES - 4, 0..VOTE_BYTES - 4);
    if let Ok(vote) = Vote::decode(&Bytes::from(bytes.clone())) {
        assert_eq!(vote.encode()[..], bytes);
        assert_eq!(vote.position(Position(u64::from(vote.position_low))).0, u64::from(vote.position_low));
    }
}

fn effect(bytes: &Bytes) {
    if let Ok(entry) = EffectEntry::decode(bytes) {
        let mut out = [0; EFFECT_ENTRY_BYTES];
        entry.put(&mut out);
        assert_eq!(out[..], bytes[..]);
    }
}

fn target(bytes: &Bytes) {
    if let Ok(target) = Target::decode(bytes) {
        assert_eq!(target.encode(), bytes);
    }
}

/// Puts the CRC-32C of a range at an offset.
fn repair(bytes: &mut [u8], at: usize, covered: std::ops::Range<usize>) {
    let crc = crc32c::crc32c(&bytes[covered]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Entries: any bytes, and well-formed ones whose batches hold any bytes.
pub fn entry(data: &[u8]) {
    let whole = Bytes::copy_from_slice(data);
    for position in [Position(0), Position(1)] {
        if let Ok(entry) = Entry::decode(position, &whole) {
            same_entry(&entry, &whole);
        }
    }
    let mut input = Input::new(data);
    let mut draft = Draft { time: Time::from_micros(input.number() & ((1 << 56) - 1)), ..Draft::default() };
    for _ in 0..input.below(8) {
        draft.submissions.push(SubmissionId { epoch: Epoch(input.number() as u32), number: input.number() });
    }
    let position = Position(input.number());
    while !input.is_empty() && draft.batches.len() < 20 {
        let group = GroupId(draft.batches.len() as u32 * 3);
        draft.batches.push(GroupRecords { group, records: Bytes::copy_from_slice(input.piece()) });
    }
    let bytes = draft.encode(position);
    same_entry(&Entry::decode(position, &bytes).expect("a draft of this shape decodes"), &bytes);
}

fn same_entry(entry: &Entry, bytes: &Bytes) {
    let batches = entry.batches.iter();
    let batches = batches.map(|batch| GroupRecords { group: batch.group, records: batch.records.clone() });
    let draft = Draft { time: entry.time, submissions: entry.submissions.clone(), batches: batches.collect() };
    assert_eq!(draft.encode(entry.position), bytes);
    for batch in &entry.batches {
        batch_of_records(&batch.records);
    }
}

/// Greetings and frames, whole and in pieces.
pub fn frames(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => greeting(rest, Hello::decode, |hello, out| hello.encode(out)),
        1 => greeting(rest, HelloAnswer::decode, |answer, out| answer.encode(out)),
        2 => stream(&mut Input::new(rest)),
        _ => frame(rest),
    }
}

/// What is read does not depend on how it arrives, and is written back as it was.
fn greeting<T: Debug + PartialEq>(
    bytes: &[u8],
    decode: impl Fn(&mut BytesMut) -> Result<Option<T>, refrain_wire::DecodeError>,
    encode: impl Fn(&T, &mut Vec<u8>),
) {
    let mut mended = bytes.to_vec();
    if mended.len() >= 51 {
        repair(&mut mended, 47, 0..47);
    }
    for bytes in [bytes, &mended] {
        let mut whole = BytesMut::from(bytes);
        let read = decode(&mut whole);
        if let Ok(Some(value)) = &read {
            let mut out = Vec::new();
            encode(value, &mut out);
            assert_eq!(out, bytes[..bytes.len() - whole.len()]);
        }
        let mut slowly = BytesMut::new();
        let first = bytes.iter().find_map(|byte| {
            slowly.extend_from_slice(&[*byte]);
            decode(&mut slowly).transpose()
        });
        // An error names as many bytes as were there.
        assert_eq!(first.transpose().ok(), read.ok());
    }
}

/// A frame of the given bytes comes out as it went in.
fn frame(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first().filter(|(kind, _)| **kind > 1) else { return };
    let mut out = Vec::new();
    put_frame(&mut out, *kind, payload);
    let mut buffer = BytesMut::from(&out[..]);
    let frame = FrameDecoder { max_bytes: usize::MAX }.decode(&mut buffer).expect("just framed").expect("whole");
    assert_eq!((frame.kind, &frame.payload[..]), (*kind, payload));
    assert!(buffer.is_empty());
    let _ = is_alive(&frame);
}

/// Frames read from pieces of any size, some with their checksum put right, are those read at once.
fn stream(input: &mut Input<'_>) {
    let (mut bytes, mut cuts) = (Vec::new(), Vec::new());
    while !input.is_empty() {
        let kind = input.byte();
        if kind > 1 && input.flag() {
            put_frame(&mut bytes, kind, input.piece());
        } else {
            bytes.push(kind);
            bytes.extend_from_slice(input.piece());
        }
        cuts.push(input.below(40) + 1);
    }
    let decoder = FrameDecoder { max_bytes: FRAME_BYTES };
    let whole = all_frames(decoder, [&bytes[..]].into_iter());
    let mut rest = &bytes[..];
    let pieces = cuts.iter().cycle().map_while(|cut| {
        let (piece, more) = rest.split_at((*cut).min(rest.len()));
        rest = more;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(all_frames(decoder, pieces), whole);
}

/// The frames of a stream, and whether it ended in an error.
fn all_frames<'a>(decoder: FrameDecoder, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, bool) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}

/// Every message that a frame may be, of every role: what is accepted has one form.
pub fn messages(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else { return };
    let payload = Bytes::copy_from_slice(payload);
    one_form::<ToLeader>(Role::Uplink, *kind, &payload);
    one_form::<FromLeader>(Role::Uplink, *kind, &payload);
    one_form::<ToMember>(Role::Feed, *kind, &payload);
    one_form::<FromMember>(Role::Feed, *kind, &payload);
    one_form::<ToProxy>(Role::Votes, *kind, &payload);
    one_form::<ToEngine>(Role::Votes, *kind, &payload);
    one_form::<Get>(Role::Fetch, *kind, &payload);
    one_form::<Answer>(Role::Fetch, *kind, &payload);
}

fn one_form<M: Message>(role: Role, kind: u8, payload: &Bytes) {
    let Ok(message) = M::decode(kind, payload) else { return };
    let mut queue = FrameQueue::default();
    message.encode(&mut queue);
    let mut written = BytesMut::from(&*queue.copy_to_bytes(queue.remaining()));
    let frame = FrameDecoder::new(role).decode(&mut written).expect("within the limit").expect("whole");
    assert_eq!(frame, Frame { kind, payload: payload.clone() });
    assert!(written.is_empty());
}

/// Parts of lists on several channels, and pieces of something large, in any order.
pub fn lists(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        return pieces(&mut input);
    }
    let mut assembler = ListAssembler::new(LIST_BYTES);
    let mut kept = std::collections::BTreeMap::<u16, Vec<ListPart>>::new();
    while !input.is_empty() {
        let part = part(&mut input);
        let (channel, last) = (part.channel, part.last);
        kept.entry(channel).or_default().push(part.clone());
        match assembler.push(part) {
            Ok(None) => assert!(!last),
            Ok(Some((whole_of, whole))) => {
                assert_eq!(whole_of, channel);
                let parts = kept.remove(&channel).unwrap_or_default();
                let effects: Vec<_> = parts.into_iter().flat_map(|part| part.turn.effects).collect();
                assert_eq!(effects, whole.effects);
                cut_again(channel, &whole);
            }
            Err(_) => drop(kept.remove(&channel)),
        }
        assert!(assembler.bytes() <= LIST_BYTES);
        if input.below(16) == 1 {
            assembler.forget(channel);
            kept.remove(&channel);
        }
    }
}

fn part(input: &mut Input<'_>) -> ListPart {
    let (channel, number) = (u16::from(input.byte() & 3), u32::from(input.byte() & 7));
    let (last, position) = (input.flag(), Position(u64::from(input.byte() & 1)));
    let effects = (0..input.below(4)).map(|_| {
        let payload = Bytes::copy_from_slice(input.piece());
        let length = payload.len() as u32;
        let entry =
            EffectEntry { kind: EffectKind::Bytes, flow: None, offset: 0, length, digest: Digest::of(&payload) };
        refrain_wire::turn::Effect { entry, payload }
    });
    let turn = TurnEffects { position, before: RunningDigest::default(), effects: effects.collect() };
    ListPart { channel, part: number, last, turn }
}

/// A list that is cut and joined is the same list.
fn cut_again(channel: u16, whole: &TurnEffects) {
    let mut assembler = ListAssembler::new(usize::MAX);
    let parts = list_parts(channel, whole.position, whole.before, &whole.effects);
    let joined = parts.filter_map(|part| assembler.push(part).expect("its own parts")).last();
    assert_eq!(joined, Some((channel, whole.clone())));
}

fn pieces(input: &mut Input<'_>) {
    let mut assembly = Assembly::new(LIST_BYTES);
    while !input.is_empty() {
        let (total, offset) = (u64::from(input.short()), u64::from(input.short()));
        let offset = if input.flag() { assembly.len() as u64 } else { offset };
        let piece = Piece { total, offset, bytes: Bytes::copy_from_slice(input.piece()) };
        if let Ok(Some(whole)) = assembly.push(&piece) {
            assert_eq!(whole.len() as u64, total);
            assert!(assembly.is_empty());
        }
        assert!(assembly.len() <= LIST_BYTES);
    }
}
