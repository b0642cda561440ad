//! The bytes of greetings, frames and messages between nodes, fixed.

use std::fmt::Debug;

use bytes::{Buf, Bytes, BytesMut};
use refrain_wire::entry::GroupRecords;
use refrain_wire::message::Message;
use refrain_wire::message::feed::{FromMember, ToMember};
use refrain_wire::message::fetch::{Answer, Get};
use refrain_wire::message::list::ListPart;
use refrain_wire::message::pieces::Piece;
use refrain_wire::message::uplink::{FromLeader, MemberChange, Preparation, Progress, ToLeader, Why};
use refrain_wire::message::votes::{ToEngine, ToProxy};
use refrain_wire::stream::{
    Frame, FrameDecoder, FrameQueue, Hello, HelloAnswer, KIND_ALIVE, RefusalCode, Role, is_alive, put_frame,
};
use refrain_wire::turn::{Effect, TurnEffects};
use refrain_wire::{
    ClusterId, Control, Digest, EffectEntry, EffectKind, Epoch, FlowId, Generation, GroupId, Incarnation, NodeId,
    Position, ProxyId, RunningDigest, Seat, Serial, SubmissionId, Time, Vote,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sent(message: &impl Message) -> BytesMut {
    let mut queue = FrameQueue::default();
    message.encode(&mut queue);
    BytesMut::from(&*queue.copy_to_bytes(queue.remaining()))
}

/// Each message has that kind and payload, and comes back.
fn check<M: Message + PartialEq + Debug>(role: Role, all: &[(u8, M, &str)]) {
    for (kind, message, golden) in all {
        let mut buffer = sent(message);
        let frame = FrameDecoder::new(role).decode(&mut buffer).unwrap().unwrap();
        assert!(buffer.is_empty(), "one message is one frame");
        assert_eq!((frame.kind, hex(&frame.payload)), (*kind, golden.replace(' ', "")), "{message:?}");
        assert_eq!(M::decode(frame.kind, &frame.payload).as_ref(), Ok(message));
    }
}

const D32: &str = "0707070707070707070707070707070707070707070707070707070707070707";

#[test]
fn a_hello_is_51_bytes() {
    let hello = Hello::new(Role::Votes, ClusterId([1; 16]), Generation([2; 16]), NodeId(3));
    let mut out = Vec::new();
    hello.encode(&mut out);
    assert_eq!(out.len(), 51);
    let golden =
        "5246524e 0200 04 01010101010101010101010101010101 02020202020202020202020202020202 0300000000000000 4ea252cb";
    assert_eq!(hex(&out), golden.replace(' ', ""));
    assert_eq!(Hello::decode(&mut BytesMut::from(&*out)), Ok(Some(hello)));
}

#[test]
fn both_answers_have_their_golden_bytes() {
    let welcome = HelloAnswer::Welcome { node: NodeId(3), generation: Generation([2; 16]) };
    let refused = HelloAnswer::Refused { code: RefusalCode::Cluster, reason: "no".into() };
    for (answer, golden) in [
        (welcome, "52465241 00 1800 a6b93f78 0300000000000000 02020202020202020202020202020202"),
        (refused, "52465241 03 0200 80b4c030 6e6f"),
    ] {
        let mut out = Vec::new();
        answer.encode(&mut out);
        assert_eq!(hex(&out), golden.replace(' ', ""), "{answer:?}");
        assert_eq!(HelloAnswer::decode(&mut BytesMut::from(&*out)), Ok(Some(answer)));
    }
}

#[test]
fn a_frame_has_nine_bytes_before_its_payload() {
    let mut out = Vec::new();
    put_frame(&mut out, 2, b"hi");
    assert_eq!(hex(&out), "02 02000000 2e3d48b4 6869".replace(' ', ""));
    let frame = FrameDecoder { max_bytes: 2 }.decode(&mut BytesMut::from(&*out));
    assert_eq!(frame, Ok(Some(Frame { kind: 2, payload: Bytes::from_static(b"hi") })));
}

#[test]
fn a_sign_of_life_is_nine_bytes_and_says_nothing() {
    let mut out = Vec::new();
    put_frame(&mut out, KIND_ALIVE, &[]);
    assert_eq!(hex(&out), "ff 00000000 96181ae5".replace(' ', ""));
    let read = |payload: &'static [u8]| Frame { kind: KIND_ALIVE, payload: payload.into() };
    assert_eq!(is_alive(&read(b"")), Ok(true));
    let told = is_alive(&read(b"x")).unwrap_err();
    assert!(matches!(told, refrain_wire::DecodeError::TooLarge { .. }), "{told:?}");
    assert_eq!(is_alive(&Frame { kind: 2, payload: Bytes::from_static(b"hi") }), Ok(false));
}

#[test]
fn a_vote_on_a_stream_is_its_own_27_bytes_and_no_more() {
    let vote = Vote { channel: 0x0102, position_low: 0x0a0b_0c0d, digest: Digest([0xee; 16]) };
    assert_eq!(sent(&ToProxy::Vote(vote))[..], vote.encode());
    check(Role::Votes, &[(1, ToProxy::Vote(vote), "0102010d0c0b0aeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeea85e4d13")]);
}

#[test]
fn messages_to_the_leader_have_their_golden_bytes() {
    let batch = |group, records: &'static [u8]| GroupRecords { group: GroupId(group), records: records.into() };
    let progress = Progress {
        group: GroupId(2),
        seat: Seat(1),
        incarnation: Incarnation(3),
        position: Position(4),
        wants: Some(Time::from_micros(5)),
        root: Some((Position(6), [7; 32])),
        memory_bytes: 8,
        dirty_bytes: 9,
    };
    let without = Progress { wants: None, root: None, ..progress };
    let common = "02000000 01 03000000 0400000000000000 0800000000000000 0900000000000000";
    let both = format!("02000000 00{common} 03{common} 05000000000000 0600000000000000 {D32}");
    let bundle = format!("02000000 {D32}");
    let preparing = |preparation| ToLeader::Preparing { group: GroupId(2), bundle: [7; 32], preparation };
    let (seat, incarnation) = (Seat(1), Incarnation(3));
    check(
        Role::Uplink,
        &[
            (
                2,
                ToLeader::Engine { session: 1, key: Digest([8; 16]) },
                "0100000000000000 08080808080808080808080808080808",
            ),
            (
                3,
                ToLeader::Submit {
                    id: SubmissionId { epoch: Epoch(1), number: 2 },
                    batches: vec![batch(3, b"ab"), batch(4, b"c")],
                },
                "01000000 0200000000000000 02000000 03000000 02000000 04000000 01000000 616263",
            ),
            (4, ToLeader::OpenEpoch { proxy: ProxyId(1), nonce: 2, outward: true }, "0100 0200000000000000 01"),
            (
                5,
                ToLeader::Renew { epoch: Epoch(1), beat: 2, released: vec![(GroupId(3), Position(4))] },
                "01000000 0200000000000000 01000000 03000000 0400000000000000",
            ),
            (
                6,
                ToLeader::Control { request: 1, group: GroupId(2), control: Control::Audit },
                "0100000000000000 02000000 03",
            ),
            (7, ToLeader::Progress(vec![without, progress]), &both),
            (8, preparing(Preparation::Fetching), &(bundle.clone() + "01")),
            (8, preparing(Preparation::Compiling), &(bundle.clone() + "02")),
            (8, preparing(Preparation::Ready), &(bundle.clone() + "03")),
            (8, preparing(Preparation::Failed("no".into())), &(bundle + "04 0200 6e6f")),
            (
                9,
                ToLeader::Lost { group: GroupId(2), seat: Seat(1), incarnation: Incarnation(3), reason: "no".into() },
                "02000000 01 03000000 0200 6e6f",
            ),
            (
                10,
                ToLeader::Members { request: 1, change: MemberChange::Add { node: NodeId(2), address: "no".into() } },
                "0100000000000000 01 0200000000000000 0200 6e6f",
            ),
            (
                10,
                ToLeader::Members { request: 1, change: MemberChange::Remove(NodeId(2)) },
                "0100000000000000 02 0200000000000000",
            ),
            (
                10,
                ToLeader::Members { request: 1, change: MemberChange::Transfer(NodeId(2)) },
                "0100000000000000 03 0200000000000000",
            ),
            (
                11,
                ToLeader::RolledBack { group: GroupId(2), seat, incarnation, position: Position(4) },
                "02000000 01 03000000 0400000000000000",
            ),
        ],
    );
}

#[test]
fn messages_from_the_leader_have_their_golden_bytes() {
    let id = SubmissionId { epoch: Epoch(1), number: 2 };
    let text = || "no".to_owned();
    check(
        Role::Uplink,
        &[
            (65, FromLeader::Leads { term: 1, lease_millis: 5000 }, "0100000000000000 88130000"),
            (66, FromLeader::NotLeader { leader: None }, "00"),
            (66, FromLeader::NotLeader { leader: Some(NodeId(3)) }, "01 0300000000000000"),
            (
                67,
                FromLeader::Refused { id, group: GroupId(3), why: Why::OutOfOrder, expected: 4, text: text() },
                "01000000 0200000000000000 03000000 02 0400000000000000 0200 6e6f",
            ),
            (
                68,
                FromLeader::Failed { epoch: Epoch(1), last: 2, full: true, text: text() },
                "01000000 0200000000000000 01 0200 6e6f",
            ),
            (69, FromLeader::Renewed { beat: 2 }, "0200000000000000"),
            (70, FromLeader::Answer { request: 1, result: Ok(Position(2)) }, "0100000000000000 01 0200000000000000"),
            (70, FromLeader::Answer { request: 1, result: Err((9, text())) }, "0100000000000000 00 09 0200 6e6f"),
            (71, FromLeader::Prepare { group: GroupId(2), bundle: [7; 32] }, &format!("02000000 {D32}")),
            (72, FromLeader::Hold { group: GroupId(2) }, "02000000"),
            (73, FromLeader::Release { group: GroupId(2) }, "02000000"),
            (74, FromLeader::Cut { position: Position(2) }, "0200000000000000"),
            (
                75,
                FromLeader::Preparing {
                    group: GroupId(2),
                    bundle: [7; 32],
                    node: NodeId(3),
                    preparation: Preparation::Failed(text()),
                },
                &format!("02000000 {D32} 0300000000000000 04 0200 6e6f"),
            ),
        ],
    );
}

#[test]
fn messages_of_a_feed_have_their_golden_bytes() {
    check(Role::Feed, &[(2, ToMember::Follow { after: Position(1) }, "0100000000000000")]);
    let piece = Piece { total: 5, offset: 3, bytes: Bytes::from_static(b"xy") };
    let entry = FromMember::Entry { position: Position(1), bytes: Bytes::from_static(b"xy") };
    check(
        Role::Feed,
        &[
            (
                65,
                FromMember::State { position: Position(1), piece },
                "0100000000000000 0500000000000000 0300000000000000 7879",
            ),
            (66, entry, "0100000000000000 7879"),
            (67, FromMember::Committed { position: Position(1) }, "0100000000000000"),
        ],
    );
}

#[test]
fn a_part_of_a_list_has_its_golden_bytes() {
    let flow = Some(FlowId { epoch: Epoch(1), serial: Serial(2) });
    let entry = EffectEntry { kind: EffectKind::Bytes, flow, offset: 3, length: 2, digest: Digest([5; 16]) };
    let listen = EffectEntry { kind: EffectKind::Listen, flow: None, offset: 80, length: 0, digest: Digest([0; 16]) };
    let effects =
        vec![Effect { entry, payload: Bytes::from_static(b"hi") }, Effect { entry: listen, payload: Bytes::new() }];
    let turn = TurnEffects { position: Position(4), before: RunningDigest([7; 32]), effects };
    let golden = format!(
        "0900 01000000 01 0400000000000000 {D32} 02000000 \
         01 01000000 02000000 0300000000000000 02000000 05050505050505050505050505050505 \
         05 00000000 00000000 5000000000000000 00000000 00000000000000000000000000000000 6869"
    );
    check(Role::Votes, &[(3, ToProxy::List(ListPart { channel: 9, part: 1, last: true, turn }), &golden)]);
}

#[test]
fn other_messages_on_a_stream_of_votes_have_their_golden_bytes() {
    let bind = ToProxy::Bind { channel: 9, group: GroupId(2), seat: Seat(1), incarnation: Incarnation(3) };
    let (channel, position) = (9, Position(1));
    let forgot = ToProxy::Forgot { channel, position };
    check(Role::Votes, &[(2, bind, "0900 02000000 01 03000000"), (4, forgot, "0900 0100000000000000")]);
    check(
        Role::Votes,
        &[
            (65, ToEngine::Bound { channel, released: position }, "0900 0100000000000000"),
            (66, ToEngine::Ask { channel, position }, "0900 0100000000000000"),
            (67, ToEngine::Released { channel, position }, "0900 0100000000000000"),
            (68, ToEngine::Speak { channel, wanted: true }, "0900 01"),
        ],
    );
}

#[test]
fn messages_of_a_fetch_have_their_golden_bytes() {
    check(
        Role::Fetch,
        &[
            (2, Get::Entries { from: Position(1), max_bytes: 2 }, "0100000000000000 02000000"),
            (3, Get::Bundle([7; 32]), D32),
            (4, Get::Manifest([7; 32]), D32),
            (5, Get::Chunk([7; 32]), D32),
            (
                6,
                Get::Turns { group: GroupId(1), after: Position(2), max_bytes: 3 },
                "01000000 0200000000000000 03000000",
            ),
        ],
    );
    let entries = vec![(Position(1), Bytes::from_static(b"ab")), (Position(3), Bytes::from_static(b"c"))];
    let piece = Piece { total: 2, offset: 0, bytes: Bytes::from_static(b"xy") };
    check(
        Role::Fetch,
        &[
            (65, Answer::Entries(entries), "02000000 0100000000000000 02000000 0300000000000000 01000000 616263"),
            (66, Answer::Purged { first: Position(1) }, "0100000000000000"),
            (67, Answer::Piece(piece), "0200000000000000 0000000000000000 7879"),
            (68, Answer::Missing, ""),
            (69, Answer::Failed("no".into()), "0200 6e6f"),
        ],
    );
}
