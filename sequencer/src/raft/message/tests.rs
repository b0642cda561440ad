//! Messages come back, bad ones are refused, and the bytes are fixed.

use super::*;
use crate::raft::types::to_log_id;
use proptest::prelude::{any, prop};
use proptest::proptest;

fn frames(mut queue: FrameQueue) -> Frame {
    let mut buffer = BytesMut::from(&*queue.copy_to_bytes(queue.remaining()));
    let frame = FrameDecoder::new(Role::Raft).decode(&mut buffer).unwrap().unwrap();
    assert!(buffer.is_empty());
    frame
}

fn id(term: u64, index: u64) -> LogId {
    to_log_id(EntryId { term, node: 0, index })
}

fn requests() -> Vec<Request> {
    let vote = Vote::new_committed(7, 2);
    let entries = vec![
        RaftLogEntry { id: id(6, 10), payload: Payload::Blank },
        RaftLogEntry { id: id(7, 11), payload: Payload::Batches(Bytes::from(vec![3; 5000])) },
        RaftLogEntry { id: id(7, 12), payload: Payload::Batches(Bytes::from_static(b"small")) },
    ];
    let append = AppendEntriesRequest { vote, prev_log_id: Some(id(6, 9)), entries, leader_commit: Some(id(5, 8)) };
    let mut ballot = VoteRequest::new(Vote::new(9, 1), Some(id(7, 12)));
    ballot.leadership_transfer = true;
    let meta = SnapshotMeta { last_log_id: Some(id(3, 4)), last_membership: StoredMembers::default() };
    let generation = Generation([5; 16]);
    vec![
        Request::Append(append),
        Request::Vote(ballot.clone()),
        Request::PreVote(ballot),
        Request::Transfer(TransferLeaderRequest::new(vote, 3, None)),
        Request::Piece(Piece { vote, meta, total_bytes: 9, offset: 4, bytes: Bytes::from_static(b"state") }),
        Request::Begin { generation, members: Bytes::from_static(b"members") },
        Request::Adopt { generation, voter: true },
        Request::Standing { after: 12 },
        Request::Ping,
    ]
}

fn responses() -> Vec<Response> {
    let vote = Vote::new(4, 4);
    vec![
        Response::Append(AppendEntriesResponse::Success),
        Response::Append(AppendEntriesResponse::PartialSuccess(Some(id(1, 2)))),
        Response::Append(AppendEntriesResponse::Conflict),
        Response::Append(AppendEntriesResponse::HigherVote(vote)),
        Response::Vote(VoteResponse::new(vote, Some(id(2, 2)), true)),
        Response::Done,
        Response::Installed(vote),
        Response::Failed("no".into()),
        Response::Refused("never".into()),
        Response::Pong,
    ]
}

#[test]
fn messages_come_back_and_cut_ones_are_refused() {
    for request in requests() {
        let mut queue = FrameQueue::default();
        request.encode(3, &mut queue);
        let mut frame = frames(queue);
        let (_, found) = Request::decode(&frame).unwrap();
        assert_eq!(format!("{found:?}"), format!("{request:?}"));
        if !matches!(request, Request::Piece(_) | Request::Begin { .. } | Request::Ping) {
            frame.payload.truncate(frame.payload.len() - 1);
            assert!(Request::decode(&frame).is_none(), "{request:?}");
        }
    }
    for response in responses() {
        let mut queue = FrameQueue::default();
        response.encode(3, &mut queue);
        let (_, found) = Response::decode(&frames(queue)).unwrap();
        assert_eq!(format!("{found:?}"), format!("{response:?}"));
    }
}

#[test]
fn indexes_and_terms_are_taken_below_their_end_and_not_at_it() {
    let taken = |previous: u64, entries: u64, term: u64| {
        let entry = |n| RaftLogEntry { id: id(1, previous.wrapping_add(1 + n)), payload: Payload::Blank };
        let append = AppendEntriesRequest {
            vote: Vote::new(term, 2),
            prev_log_id: Some(id(1, previous)),
            entries: (0..entries).map(entry).collect(),
            leader_commit: None,
        };
        let mut queue = FrameQueue::default();
        Request::Append(append).encode(3, &mut queue);
        Request::decode(&frames(queue)).is_some()
    };
    assert!(taken(END_OF_INDEXES - 3, 2, END_OF_INDEXES - 1));
    assert!(taken(END_OF_INDEXES - 1, 0, 1));
    assert!(!taken(END_OF_INDEXES - 3, 3, 1));
    assert!(!taken(END_OF_INDEXES, 0, 1));
    assert!(!taken(1, 1, END_OF_INDEXES));
    // The index of an entry at the very end of 64 bits has no next one.
    assert!(!taken(u64::MAX - 1, 1, 1));
    assert!(!taken(u64::MAX, 1, 1));
}

#[test]
fn the_bytes_of_an_append_are_fixed() {
    let entries = vec![RaftLogEntry { id: id(7, 10), payload: Payload::Batches(Bytes::from_static(b"ab")) }];
    let vote = Vote::new_committed(7, 2);
    let append = AppendEntriesRequest { vote, prev_log_id: Some(id(6, 9)), entries, leader_commit: None };
    let mut queue = FrameQueue::default();
    Request::Append(append).encode(3, &mut queue);
    let frame = frames(queue);
    assert_eq!(frame.kind, 2);
    let expected: Vec<u8> = [
        &3u64.to_le_bytes()[..],
        &[7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1],
        &[1, 6, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0],
        &[0; 17],
        &[1, 0, 0, 0],
        &[7, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0],
        b"ab",
    ]
    .concat();
    assert_eq!(frame.payload, expected);
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_without_panic(kind in 0u8..80, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let frame = Frame { kind, payload: Bytes::from(bytes) };
        let _ = Request::decode(&frame);
        let _ = Response::decode(&frame);
    }
}
