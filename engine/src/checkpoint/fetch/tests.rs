//! Transfers against peers that are quick, slow, silent, gone, or lie.

use std::collections::BTreeMap;
use std::time::Duration;

use refrain_wire::{Digest, GroupId, NodeId, Position, RunningDigest};

use super::{Ask, Fetch, MAX_ASKS, MAX_STALLS, PeerFault, Received, STALL};
use crate::checkpoint::chunk::{ChunkId, verify};
use crate::checkpoint::manifest::{Blob, Manifest, Parts};

const CHUNKS: usize = 100;

fn bytes(number: usize) -> Vec<u8> {
    format!("chunk {number}").into_bytes()
}

fn everything() -> BTreeMap<ChunkId, Vec<u8>> {
    (0..CHUNKS).map(bytes).map(|bytes| (ChunkId::of(&bytes), bytes)).collect()
}

fn manifest() -> Manifest {
    Manifest::new(Parts {
        group: GroupId(1),
        position: Position(1),
        running: RunningDigest::default(),
        bundle: [0; 32],
        key: Digest::default(),
        guest: None,
        kernel: Blob { bytes: 0, chunks: Vec::new() },
        contents: everything().into_keys().collect(),
    })
}

fn fetch(peers: &[u64]) -> Fetch {
    let mut fetch = Fetch::new(&manifest(), |_| false);
    peers.iter().for_each(|peer| fetch.joined(NodeId(*peer)));
    fetch
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn answer(fetch: &mut Fetch, ask: &Ask) -> Received {
    received(fetch, ask, &everything()[&ask.chunk])
}

fn received(fetch: &mut Fetch, ask: &Ask, bytes: &[u8]) -> Received {
    fetch.received(ask.peer, ask.chunk, verify(&ask.chunk, bytes))
}

/// Answers everything until the end; the number of chunks that each peer gave.
fn run(fetch: &mut Fetch, now: Duration, answers: impl Fn(NodeId) -> bool) -> BTreeMap<NodeId, usize> {
    let mut given = BTreeMap::new();
    loop {
        let asks = fetch.asks(now);
        let asks: Vec<&Ask> = asks.iter().filter(|ask| answers(ask.peer)).collect();
        if asks.is_empty() {
            return given;
        }
        for ask in asks {
            assert_eq!(answer(fetch, ask), Received::Accepted);
            *given.entry(ask.peer).or_default() += 1;
        }
    }
}

#[test]
fn all_peers_are_asked_at_once_and_none_for_more_than_it_may_have_under_way() {
    let mut fetch = fetch(&[1, 2, 3]);
    let asks = fetch.asks(secs(0));
    assert_eq!(asks.len(), 3 * MAX_ASKS);
    for peer in 1..=3 {
        assert_eq!(asks.iter().filter(|ask| ask.peer == NodeId(peer)).count(), MAX_ASKS);
    }
    assert!(fetch.asks(secs(0)).is_empty());
    assert_eq!(fetch.deadline(), Some(STALL));
    assert!(asks.iter().all(|ask| answer(&mut fetch, ask) == Received::Accepted));
    let given = run(&mut fetch, secs(0), |_| true);
    assert!(fetch.is_complete());
    assert_eq!(given.len(), 3);
    assert_eq!((fetch.progress().have, fetch.progress().of), (CHUNKS, CHUNKS));
    assert_eq!((fetch.deadline(), fetch.stuck(), fetch.bytes_under_way()), (None, None, 0));
}

#[test]
fn what_is_in_the_store_is_not_asked_for() {
    let have: Vec<ChunkId> = everything().into_keys().take(60).collect();
    let mut fetch = Fetch::new(&manifest(), |id| have.contains(id));
    fetch.joined(NodeId(1));
    assert_eq!(fetch.progress().have, 60);
    assert_eq!(run(&mut fetch, secs(0), |_| true)[&NodeId(1)], 40);
    assert!(Fetch::new(&manifest(), |_| true).is_complete());
}

#[test]
fn what_a_silent_peer_was_asked_for_is_asked_of_another() {
    let mut fetch = fetch(&[1, 2]);
    run(&mut fetch, secs(0), |peer| peer == NodeId(2));
    assert_eq!(fetch.progress().have, CHUNKS - MAX_ASKS);
    assert!(fetch.asks(STALL - Duration::from_millis(1)).is_empty());
    let given = run(&mut fetch, STALL, |peer| peer == NodeId(2));
    assert!(fetch.is_complete(), "{:?}", fetch.progress());
    assert_eq!(given[&NodeId(2)], MAX_ASKS);
    assert_eq!(fetch.faults()[&NodeId(1)], PeerFault::Silent { asks: MAX_ASKS as u32 });
}

#[test]
fn a_late_answer_still_counts_and_the_second_one_is_not_needed() {
    let mut fetch = fetch(&[1, 2]);
    let first = fetch.asks(secs(0)).into_iter().find(|ask| ask.peer == NodeId(1)).unwrap();
    let again = fetch.asks(STALL);
    assert!(again.iter().all(|ask| ask.peer != first.peer || ask.chunk != first.chunk));
    assert_eq!(answer(&mut fetch, &first), Received::Accepted);
    assert_eq!(answer(&mut fetch, &Ask { peer: NodeId(2), chunk: first.chunk }), Received::NotNeeded);
    assert!(!fetch.faults().contains_key(&NodeId(1)), "it answers again");
}

#[test]
fn a_peer_that_is_alone_is_asked_again_however_often_it_is_late() {
    let mut fetch = fetch(&[1]);
    for round in 0..10 {
        assert!(!fetch.asks(STALL * round).is_empty(), "round {round}");
        assert_eq!(fetch.stuck(), None);
    }
    assert_eq!(fetch.bytes_under_way(), 65536, "one at a time");
    assert!(matches!(fetch.faults()[&NodeId(1)], PeerFault::Silent { asks } if asks >= MAX_STALLS));
    run(&mut fetch, STALL * 11, |_| true);
    assert!(fetch.is_complete());
}

#[test]
fn a_peer_that_sends_a_wrong_chunk_is_named_and_never_asked_again() {
    let mut fetch = fetch(&[1, 2]);
    let asks = fetch.asks(secs(0));
    let ask = asks.iter().find(|ask| ask.peer == NodeId(1)).unwrap();
    let Received::Wrong(fault) = received(&mut fetch, ask, b"something else") else {
        panic!("it was taken");
    };
    assert!(fault.to_string().contains(&ask.chunk.to_string()), "{fault}");
    assert_eq!(fetch.faults().get(&NodeId(1)), Some(&fault));
    fetch.joined(NodeId(1));
    assert_eq!(fetch.asks(secs(0)), [], "the other one has its hands full");
    for ask in asks.iter().filter(|ask| ask.peer == NodeId(2)) {
        answer(&mut fetch, ask);
    }
    assert_eq!(run(&mut fetch, secs(0), |_| true)[&NodeId(2)], CHUNKS - MAX_ASKS);
    assert!(fetch.is_complete());
}

#[test]
fn bytes_that_are_too_many_are_wrong_without_being_hashed() {
    let mut fetch = fetch(&[1]);
    let ask = fetch.asks(secs(0))[0];
    assert!(matches!(received(&mut fetch, &ask, &[0; 65537]), Received::Wrong(_)));
}

#[test]
fn a_peer_that_leaves_or_lacks_a_chunk_hands_it_on_and_the_last_one_leaves_it_stuck() {
    let mut fetch = fetch(&[1, 2]);
    let asks = fetch.asks(secs(0));
    fetch.left(NodeId(2));
    assert_eq!(fetch.asks(secs(0)), [], "the other one has its hands full");
    let lacked = asks.iter().find(|ask| ask.peer == NodeId(1)).unwrap().chunk;
    fetch.missing(NodeId(1), lacked);
    for ask in asks.iter().filter(|ask| ask.peer == NodeId(1) && ask.chunk != lacked) {
        answer(&mut fetch, ask);
    }
    run(&mut fetch, secs(0), |_| true);
    assert_eq!(fetch.stuck(), Some(lacked));
    assert_eq!(fetch.progress().have, CHUNKS - 1);
    fetch.joined(NodeId(3));
    assert_eq!(fetch.stuck(), None);
    run(&mut fetch, secs(0), |_| true);
    assert!(fetch.is_complete());
}

#[test]
fn without_any_peer_it_is_stuck_and_asks_nobody() {
    let mut fetch = fetch(&[]);
    assert_eq!(fetch.asks(secs(0)), []);
    assert!(fetch.stuck().is_some());
    assert_eq!(fetch.received(NodeId(9), ChunkId([0; 32]), Ok(())), Received::NotNeeded);
}
