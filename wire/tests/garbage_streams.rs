//! Streams and messages, given any bytes, answer; what they accept has one form; and limits hold to the last one.

use std::fmt::Debug;

use bytes::{Buf, Bytes, BytesMut};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;
use refrain_wire::entry::GroupRecords;
use refrain_wire::limits::{
    MAX_EFFECT_BYTES, MAX_ENTRY_BYTES, MAX_FETCH_ENTRIES, MAX_PIECE_BYTES, MAX_PROGRESS, MAX_RENEW_GROUPS,
    MAX_STATE_BYTES, MAX_SUBMISSION_BATCH_BYTES, MAX_SUBMISSION_BYTES, MAX_SUBMISSION_GROUPS, MAX_TEXT_BYTES,
};
use refrain_wire::message::Message;
use refrain_wire::message::feed::{FromMember, ToMember};
use refrain_wire::message::fetch::{Answer, Get};
use refrain_wire::message::list::{ListPart, list_parts};
use refrain_wire::message::pieces::Piece;
use refrain_wire::message::uplink::{FromLeader, MemberChange, Preparation, Progress, ToLeader, Why};
use refrain_wire::message::votes::{ToEngine, ToProxy};
use refrain_wire::stream::{Frame, FrameDecoder, FrameQueue, Hello, HelloAnswer, RefusalCode, Role, put_frame};
use refrain_wire::turn::{Effect, TurnEffects};
use refrain_wire::{
    ClusterId, Control, DecodeError, Digest, EffectEntry, EffectKind, Epoch, FlowId, Generation, GroupId, Incarnation,
    NodeId, Position, RunningDigest, Seat, Serial, SubmissionId, Time, Vote,
};

fn sent(message: &impl Message) -> BytesMut {
    let mut queue = FrameQueue::default();
    message.encode(&mut queue);
    BytesMut::from(&*queue.copy_to_bytes(queue.remaining()))
}

fn frame_of(message: &impl Message, role: Role) -> Frame {
    let mut buffer = sent(message);
    let frame = FrameDecoder::new(role).decode(&mut buffer).expect("within the limit").expect("whole");
    assert!(buffer.is_empty());
    frame
}

fn comes_back<M: Message + PartialEq + Debug>(message: &M, role: Role) {
    let Frame { kind, payload } = frame_of(message, role);
    assert_eq!(M::decode(kind, &payload).as_ref(), Ok(message));
}

/// Decodes a message; what is accepted gives the same bytes again.
fn one_form<M: Message>(role: Role, kind: u8, payload: &Bytes) {
    if let Ok(message) = M::decode(kind, payload) {
        assert_eq!(frame_of(&message, role), Frame { kind, payload: payload.clone() });
    }
}

/// The body that a fuzzer and the tests here share: nothing panics on these bytes.
fn decode_everything(kind: u8, payload: &Bytes) {
    one_form::<ToLeader>(Role::Uplink, kind, payload);
    one_form::<FromLeader>(Role::Uplink, kind, payload);
    one_form::<ToMember>(Role::Feed, kind, payload);
    one_form::<FromMember>(Role::Feed, kind, payload);
    one_form::<ToProxy>(Role::Votes, kind, payload);
    one_form::<ToEngine>(Role::Votes, kind, payload);
    one_form::<Get>(Role::Fetch, kind, payload);
    one_form::<Answer>(Role::Fetch, kind, payload);
    let _ = Hello::decode(&mut BytesMut::from(&**payload));
    let _ = HelloAnswer::decode(&mut BytesMut::from(&**payload));
    let _ = FrameDecoder { max_bytes: 100 }.decode(&mut BytesMut::from(&**payload));
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn kinds() -> impl Strategy<Value = u8> {
    prop_oneof![1u8..10, 64u8..76, any::<u8>()]
}

fn texts() -> impl Strategy<Value = String> {
    "[a-zäß€]{0,40}"
}

fn positions() -> impl Strategy<Value = Position> {
    any::<u64>().prop_map(Position)
}

fn progress() -> impl Strategy<Value = Progress> {
    let place = (any::<u32>(), 0u8..7, any::<u32>(), positions());
    let wants = proptest::option::of(any::<u64>().prop_map(Time::from_micros));
    let root = proptest::option::of((positions(), any::<[u8; 32]>()));
    (place, wants, root, any::<(u64, u64)>()).prop_map(|(place, wants, root, bytes)| Progress {
        group: GroupId(place.0),
        seat: Seat(place.1),
        incarnation: Incarnation(place.2),
        position: place.3,
        wants,
        root,
        memory_bytes: bytes.0,
        dirty_bytes: bytes.1,
    })
}

fn preparations() -> impl Strategy<Value = Preparation> {
    prop_oneof![
        Just(Preparation::Fetching),
        Just(Preparation::Compiling),
        Just(Preparation::Ready),
        texts().prop_map(Preparation::Failed),
    ]
}

fn to_leader() -> impl Strategy<Value = ToLeader> {
    let batch =
        (any::<u32>(), bytes(6000)).prop_map(|(group, records)| GroupRecords { group: GroupId(group), records });
    let id = any::<(u32, u64)>().prop_map(|(epoch, number)| SubmissionId { epoch: Epoch(epoch), number });
    let released = proptest::collection::vec((any::<u32>().prop_map(GroupId), positions()), 0..5);
    prop_oneof![
        any::<(u64, [u8; 16])>().prop_map(|(session, key)| ToLeader::Engine { session, key: Digest(key) }),
        (id, proptest::collection::vec(batch, 0..5)).prop_map(|(id, batches)| ToLeader::Submit { id, batches }),
        (any::<(u32, u64)>(), released).prop_map(|((epoch, beat), released)| ToLeader::Renew {
            epoch: Epoch(epoch),
            beat,
            released
        }),
        (any::<(u64, u32)>(), positions()).prop_map(|((request, group), position)| ToLeader::Control {
            request,
            group: GroupId(group),
            control: Control::Halt { position }
        }),
        proptest::collection::vec(progress(), 0..5).prop_map(ToLeader::Progress),
        (any::<(u32, [u8; 32])>(), preparations()).prop_map(|((group, bundle), preparation)| ToLeader::Preparing {
            group: GroupId(group),
            bundle,
            preparation
        }),
        (any::<(u32, u32)>(), positions()).prop_map(|((group, incarnation), position)| ToLeader::RolledBack {
            group: GroupId(group),
            seat: Seat(3),
            incarnation: Incarnation(incarnation),
            position
        }),
        (any::<(u32, u32)>(), texts()).prop_map(|((group, incarnation), reason)| ToLeader::Lost {
            group: GroupId(group),
            seat: Seat(3),
            incarnation: Incarnation(incarnation),
            reason
        }),
        (any::<(u64, u64)>(), 0..3).prop_map(|((request, node), kind)| {
            let node = NodeId(node);
            let change = match kind {
                0 => MemberChange::Add { node, address: "127.0.0.1:7101".into() },
                1 => MemberChange::Remove(node),
                _ => MemberChange::Transfer(node),
            };
            ToLeader::Members { request, change }
        }),
    ]
}

fn from_leader() -> impl Strategy<Value = FromLeader> {
    let whys = prop_oneof![Just(Why::Busy), Just(Why::OutOfOrder), Just(Why::Stopped)];
    let result = prop_oneof![positions().prop_map(Ok), (any::<u8>(), texts()).prop_map(Err)];
    prop_oneof![
        proptest::option::of(any::<u64>().prop_map(NodeId)).prop_map(|leader| FromLeader::NotLeader { leader }),
        (any::<(u32, u64, u32, u64)>(), whys, texts()).prop_map(|((epoch, number, group, expected), why, text)| {
            let id = SubmissionId { epoch: Epoch(epoch), number };
            FromLeader::Refused { id, group: GroupId(group), why, expected, text }
        }),
        (any::<(u32, u64, bool)>(), texts()).prop_map(|((epoch, last, full), text)| FromLeader::Failed {
            epoch: Epoch(epoch),
            last,
            full,
            text
        }),
        (any::<u64>(), result).prop_map(|(request, result)| FromLeader::Answer { request, result }),
        (any::<(u32, [u8; 32], u64)>(), preparations()).prop_map(|((group, bundle, node), preparation)| {
            FromLeader::Preparing { group: GroupId(group), bundle, node: NodeId(node), preparation }
        }),
        positions().prop_map(|position| FromLeader::Cut { position }),
    ]
}

fn effects() -> impl Strategy<Value = Vec<Effect>> {
    let effect = (any::<u32>(), any::<u64>(), bytes(6000)).prop_map(|(serial, offset, payload)| {
        let flow = (serial > 1 << 31).then_some(FlowId { epoch: Epoch(serial), serial: Serial(serial) });
        let digest = Digest::of(&payload);
        Effect {
            entry: EffectEntry { kind: EffectKind::Bytes, flow, offset, length: payload.len() as u32, digest },
            payload,
        }
    });
    proptest::collection::vec(effect, 0..8)
}

proptest! {
    #![proptest_config(Config { cases: 1000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn random_bytes_are_answered_and_accepted_in_one_form(kind in kinds(), bytes in bytes(200)) {
        decode_everything(kind, &bytes);
    }

    #[test]
    fn greetings_with_the_right_magic_are_answered(answer in any::<bool>(), rest in bytes(100)) {
        let magic: &[u8] = if answer { b"RFRA" } else { b"RFRN\x02\0" };
        decode_everything(2, &[magic, &rest].concat().into());
    }

    #[test]
    fn damaged_messages_are_answered(message in to_leader(), back in from_leader(), effects in effects(), at in any::<usize>(), bit in 0u8..8, cut in any::<bool>()) {
        let turn = TurnEffects { position: Position(1), before: RunningDigest::default(), effects };
        let list = ToProxy::List(ListPart { channel: 1, part: 0, last: true, turn });
        for Frame { kind, payload } in [
            frame_of(&message, Role::Uplink),
            frame_of(&back, Role::Uplink),
            frame_of(&list, Role::Votes),
        ] {
            let at = at % payload.len().max(1);
            let mut damaged = payload.to_vec();
            if cut {
                damaged.truncate(at);
            } else if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 1 << bit;
            }
            decode_everything(kind, &damaged.into());
        }
    }

    #[test]
    fn messages_with_the_leader_come_back(message in to_leader(), back in from_leader()) {
        comes_back(&message, Role::Uplink);
        comes_back(&back, Role::Uplink);
    }

    #[test]
    fn lists_pieces_and_entries_come_back(effects in effects(), records in proptest::collection::vec(bytes(6000), 0..5)) {
        for part in list_parts(7, Position(1), RunningDigest([3; 32]), &effects) {
            comes_back(&ToProxy::List(part), Role::Votes);
        }
        for bytes in &records {
            comes_back(&FromMember::Entry { position: Position(9), bytes: bytes.clone() }, Role::Feed);
            for piece in Piece::cut(bytes) {
                comes_back(&Answer::Piece(piece.clone()), Role::Fetch);
                comes_back(&FromMember::State { position: Position(4), piece }, Role::Feed);
            }
        }
        let entries = records.into_iter().zip(1..).map(|(bytes, position)| (Position(position), bytes)).collect();
        comes_back(&Answer::Entries(entries), Role::Fetch);
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_frames(payloads in proptest::collection::vec((kinds(), bytes(9000)), 0..6), step in 1usize..4000) {
        let mut queue = FrameQueue::default();
        let mut copied = Vec::new();
        let mut frames = Vec::new();
        for (kind, payload) in payloads {
            if kind <= 1 {
                let vote = Vote { channel: 4, position_low: 5, digest: Digest::of(&payload) };
                queue.vote(&vote);
                copied.extend_from_slice(&vote.encode());
                frames.push(Frame { kind: 1, payload: Bytes::copy_from_slice(&vote.encode()) });
                continue;
            }
            let head = payload.len() / 3;
            queue.frame_with(kind, |out| out.extend_from_slice(&payload[..head]), [&payload.slice(head..)].into_iter());
            put_frame(&mut copied, kind, &payload);
            frames.push(Frame { kind, payload });
        }
        assert_eq!(queue.len(), copied.len());
        let decoder = FrameDecoder { max_bytes: 9000 };
        let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
        while queue.has_remaining() {
            let count = step.min(queue.remaining());
            buffer.extend_from_slice(&queue.copy_to_bytes(count));
            while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                read.push(frame);
            }
        }
        assert!(buffer.is_empty() && queue.is_empty());
        assert_eq!(read, frames);
    }

    #[test]
    fn one_flipped_bit_in_a_frame_or_greeting_is_noticed(payload in bytes(64), flip in any::<usize>()) {
        let (mut frame, mut hello, mut answer) = (Vec::new(), Vec::new(), Vec::new());
        put_frame(&mut frame, 5, &payload);
        Hello::new(Role::Feed, ClusterId([4; 16]), Generation([0; 16]), NodeId(2)).encode(&mut hello);
        HelloAnswer::Refused { code: RefusalCode::Busy, reason: "later".into() }.encode(&mut answer);
        let flipped = |bytes: &[u8]| {
            let mut bytes = BytesMut::from(bytes);
            let bit = flip % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        let whole = Frame { kind: 5, payload: payload.clone() };
        assert_ne!(FrameDecoder { max_bytes: 100 }.decode(&mut flipped(&frame)), Ok(Some(whole)));
        assert!(!matches!(Hello::decode(&mut flipped(&hello)), Ok(Some(_))));
        assert!(!matches!(HelloAnswer::decode(&mut flipped(&answer)), Ok(Some(_))));
    }
}

fn refused<M: Message + Debug>(kind: u8, payload: Vec<u8>) -> String {
    M::decode(kind, &payload.into()).expect_err("it breaks a limit").to_string()
}

/// `value` as four bytes after `skip` zeros, and then zeros.
fn number(skip: usize, value: usize, rest: usize) -> Vec<u8> {
    let mut out = vec![0; skip];
    out.extend_from_slice(&(value as u32).to_le_bytes());
    out.resize(skip + 4 + rest, 0);
    out
}

#[test]
fn a_frame_above_the_limit_is_refused_before_anything_is_reserved() {
    let decoder = FrameDecoder { max_bytes: 10 };
    let mut frame = Vec::new();
    put_frame(&mut frame, 2, &[1; 10]);
    assert!(matches!(decoder.decode(&mut BytesMut::from(&*frame)), Ok(Some(_))), "at the limit");

    let mut above = BytesMut::from(&[2u8, 11, 0, 0, 0, 9, 9, 9, 9][..]);
    let before = above.capacity();
    assert_eq!(decoder.decode(&mut above).unwrap_err().to_string(), "frame length is 11, the limit is 10");
    assert_eq!(above.capacity(), before);
    let zero = decoder.decode(&mut BytesMut::from(&[0u8][..])).unwrap_err();
    assert_eq!(zero.to_string(), "frame kind has the unknown value 0");
}

#[test]
fn what_is_no_hello_is_refused_at_its_first_wrong_byte() {
    let decode = |bytes: &[u8]| Hello::decode(&mut BytesMut::from(bytes));
    assert_eq!(decode(b"RF"), Ok(None));
    assert!(matches!(decode(b"G"), Err(DecodeError::Unknown { what: "hello magic", .. })));
    assert!(matches!(decode(b"RFRN\x03\0"), Err(DecodeError::Unknown { what: "hello version", value: 3 })));
    assert!(HelloAnswer::decode(&mut BytesMut::from(&b"HTTP"[..])).is_err());
    let long = HelloAnswer::decode(&mut BytesMut::from(&b"RFRA\x01\x01\x02\0\0\0\0"[..])).unwrap_err();
    assert_eq!(long.to_string(), "answer length is 513, the limit is 512");
}

#[test]
fn texts_are_cut_at_a_character_and_refused_one_byte_above_the_limit() {
    let text = "€".repeat(200);
    let frame = frame_of(&Answer::Failed(text.clone()), Role::Fetch);
    assert_eq!(Answer::decode(frame.kind, &frame.payload), Ok(Answer::Failed(text[..510].to_owned())));
    comes_back(&Answer::Failed("x".repeat(MAX_TEXT_BYTES)), Role::Fetch);
    assert_eq!(
        refused::<Answer>(69, [&513u16.to_le_bytes()[..], &[b'x'; 513]].concat()),
        "failure is 513, the limit is 512"
    );
}

#[test]
fn a_full_submission_fits_into_a_frame_and_one_byte_or_group_more_is_refused() {
    let id = SubmissionId { epoch: Epoch(1), number: 2 };
    let batch = |bytes: usize| GroupRecords { group: GroupId(1), records: vec![1; bytes].into() };
    let full = MAX_SUBMISSION_BATCH_BYTES;
    comes_back(&ToLeader::Submit { id, batches: vec![batch(full); 4] }, Role::Uplink);
    comes_back(&ToLeader::Submit { id, batches: vec![batch(1); MAX_SUBMISSION_GROUPS] }, Role::Uplink);

    let submission = |lengths: &[usize]| {
        let mut out = number(12, lengths.len(), 0);
        lengths.iter().for_each(|length| out.extend(number(4, *length, 0)));
        refused::<ToLeader>(3, out)
    };
    let one = MAX_SUBMISSION_BATCH_BYTES + 1;
    assert_eq!(submission(&[one]), format!("submission batch length is {one}, the limit is {full}"));
    let all = MAX_SUBMISSION_BYTES + 1;
    assert_eq!(
        submission(&[full, full, full, full, 1]),
        format!("submission length is {all}, the limit is {}", all - 1)
    );
    assert_eq!(submission(&[0; 129]), "submission group count is 129, the limit is 128");
}

#[test]
fn counts_with_the_leader_hold_to_the_last_one() {
    let released = vec![(GroupId(1), Position(2)); MAX_RENEW_GROUPS];
    comes_back(&ToLeader::Renew { epoch: Epoch(1), beat: 2, released }, Role::Uplink);
    let error = refused::<ToLeader>(5, number(12, MAX_RENEW_GROUPS + 1, 12 * (MAX_RENEW_GROUPS + 1)));
    assert_eq!(error, "released group count is 65537, the limit is 65536");
    let error = refused::<ToLeader>(5, number(12, 2, 23));
    assert_eq!(error, "released group count is cut short: 24 bytes needed, 23 left", "nothing is allocated for it");

    let progress = Progress {
        group: GroupId(1),
        seat: Seat(6),
        incarnation: Incarnation(1),
        position: Position(1),
        wants: Some(Time::MAX),
        root: Some((Position(1), [1; 32])),
        memory_bytes: 0,
        dirty_bytes: 0,
    };
    comes_back(&ToLeader::Progress(vec![progress; MAX_PROGRESS]), Role::Uplink);
    let error = refused::<ToLeader>(7, number(0, MAX_PROGRESS + 1, 34 * (MAX_PROGRESS + 1)));
    assert_eq!(error, "progress count is 4097, the limit is 4096");
    let mut eighth = number(0, 1, 34);
    eighth[9] = 7;
    assert_eq!(refused::<ToLeader>(7, eighth), "seat is 7, the limit is 6");
    let mut flags = number(0, 1, 34);
    flags[4] = 4;
    assert_eq!(refused::<ToLeader>(7, flags), "progress flags has the unknown value 4");
}

#[test]
fn pieces_entries_and_states_hold_to_the_last_byte() {
    let zeros = |count: usize| Bytes::from(vec![0; count]);
    comes_back(&FromMember::Entry { position: Position(1), bytes: zeros(MAX_ENTRY_BYTES) }, Role::Feed);
    let error = refused::<FromMember>(66, vec![0; 8 + MAX_ENTRY_BYTES + 1]);
    assert_eq!(error, "entry length is 4259841, the limit is 4259840");

    let piece = |total: u64, offset: u64, bytes: usize| Piece { total, offset, bytes: zeros(bytes) };
    let payload = |piece: &Piece| [&piece.total.to_le_bytes()[..], &piece.offset.to_le_bytes(), &piece.bytes].concat();
    let last = MAX_PIECE_BYTES as u64;
    comes_back(&Answer::Piece(piece(last + 5, 5, MAX_PIECE_BYTES)), Role::Fetch);
    let refuse = |piece: &Piece| refused::<Answer>(67, payload(piece));
    assert_eq!(refuse(&piece(last * 2, 0, MAX_PIECE_BYTES + 1)), "piece length is 1048577, the limit is 1048576");
    assert_eq!(refuse(&piece(9, 8, 2)), "piece end is 10, the limit is 9");
    assert_eq!(
        refuse(&piece(u64::MAX - 1, u64::MAX, 2)),
        format!("piece end is {}, the limit is {}", u64::MAX, u64::MAX - 1)
    );
    assert_eq!(refuse(&piece(9, 9, 0)), "piece is cut short: 1 bytes needed, 0 left");
    comes_back(&Answer::Piece(piece(0, 0, 0)), Role::Fetch);

    let state = |total: usize| [&[0; 8][..], &payload(&piece(total as u64, 0, 1))].concat();
    assert!(FromMember::decode(65, &state(MAX_STATE_BYTES).into()).is_ok());
    assert_eq!(refused::<FromMember>(65, state(MAX_STATE_BYTES + 1)), "piece total is 67108865, the limit is 67108864");
}

#[test]
fn fetched_entries_hold_to_the_last_one_and_rise() {
    let many = |count: u64| Answer::Entries((1..=count).map(|at| (Position(at), Bytes::from_static(b"x"))).collect());
    comes_back(&many(MAX_FETCH_ENTRIES as u64), Role::Fetch);
    let error = refused::<Answer>(65, number(0, MAX_FETCH_ENTRIES + 1, 12 * (MAX_FETCH_ENTRIES + 1)));
    assert_eq!(error, "entry count is 16385, the limit is 16384");

    let entries = |lengths: [usize; 2]| {
        let mut out = number(0, 2, 0);
        for (position, length) in lengths.into_iter().enumerate() {
            out.extend_from_slice(&(position as u64).to_le_bytes());
            out.extend(number(0, length, 0));
        }
        out.resize(28 + lengths.iter().sum::<usize>(), 0);
        out
    };
    assert!(Answer::decode(65, &entries([MAX_ENTRY_BYTES - 1, 1]).into()).is_ok());
    let error = refused::<Answer>(65, entries([MAX_ENTRY_BYTES, 1]));
    assert_eq!(error, "length of entries is 4259841, the limit is 4259840");
    let error = refused::<Answer>(65, entries([MAX_ENTRY_BYTES + 1, 0]));
    assert_eq!(error, "entry length is 4259841, the limit is 4259840");
    let twice = Answer::Entries(vec![(Position(2), Bytes::new()); 2]);
    let Frame { kind, payload } = frame_of(&twice, Role::Fetch);
    assert_eq!(refused::<Answer>(kind, payload.to_vec()), "entry position order has the unknown value 2");
}

#[test]
fn a_payload_of_a_list_holds_to_the_last_byte() {
    let list = |bytes: usize| {
        let entry = EffectEntry {
            kind: EffectKind::Log,
            flow: None,
            offset: 1,
            length: bytes as u32,
            digest: Digest::default(),
        };
        let effects = vec![Effect { entry, payload: vec![1; bytes].into() }];
        let turn = TurnEffects { position: Position(1), before: RunningDigest::default(), effects };
        ToProxy::List(ListPart { channel: 1, part: 0, last: true, turn })
    };
    comes_back(&list(MAX_EFFECT_BYTES), Role::Votes);
    let Frame { kind, payload } = frame_of(&list(MAX_EFFECT_BYTES + 1), Role::Votes);
    assert_eq!(refused::<ToProxy>(kind, payload.to_vec()), "effect length is 262145, the limit is 262144");
}
