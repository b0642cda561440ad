//! Lists and other large things are cut into parts that fit into a frame, and are joined again, within a bound.

use bytes::{Buf, Bytes};
use proptest::prelude::{any, proptest};
use proptest::test_runner::Config;
use refrain_wire::limits::{DEFAULT_LIST_BYTES, MAX_EFFECT_BYTES, MAX_LIST_PART_BYTES, MAX_PIECE_BYTES};
use refrain_wire::message::Message;
use refrain_wire::message::list::{ListAssembler, ListPart, list_parts};
use refrain_wire::message::pieces::{Assembly, Piece};
use refrain_wire::message::votes::ToProxy;
use refrain_wire::stream::FrameQueue;
use refrain_wire::turn::{Effect, TurnEffects};
use refrain_wire::{Digest, EffectEntry, EffectKind, Position, RunningDigest};

fn effect(bytes: usize) -> Effect {
    let entry =
        EffectEntry { kind: EffectKind::Log, flow: None, offset: 1, length: bytes as u32, digest: Digest::default() };
    Effect { entry, payload: vec![7; bytes].into() }
}

fn turn(position: u64, sizes: &[usize]) -> TurnEffects {
    let effects = sizes.iter().map(|size| effect(*size)).collect();
    TurnEffects { position: Position(position), before: RunningDigest([4; 32]), effects }
}

fn cut(channel: u16, turn: &TurnEffects) -> Vec<ListPart> {
    list_parts(channel, turn.position, turn.before, &turn.effects).collect()
}

proptest! {
    #![proptest_config(Config { cases: 100, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_list_of_any_size_comes_back_from_frames_within_the_limit(sizes in proptest::collection::vec(0usize..MAX_EFFECT_BYTES + 1, 0..16), small in 0usize..4000) {
        let mut whole = turn(9, &sizes);
        whole.effects.extend(std::iter::repeat_n(effect(0), small));
        let mut lists = ListAssembler::new(DEFAULT_LIST_BYTES);
        let parts = cut(3, &whole);
        let count = parts.len();
        for (index, part) in parts.into_iter().enumerate() {
            let mut queue = FrameQueue::default();
            ToProxy::List(part.clone()).encode(&mut queue);
            assert!(queue.remaining() <= 9 + MAX_LIST_PART_BYTES);
            let joined = lists.push(part).unwrap();
            assert_eq!(joined, (index + 1 == count).then(|| (3, whole.clone())));
        }
        assert_eq!(lists.bytes(), 0);
    }

    #[test]
    fn parts_in_any_order_are_answered_within_the_bound(picks in proptest::collection::vec(any::<(usize, bool)>(), 0..40)) {
        let lists = [cut(1, &turn(5, &[200_000; 14])), cut(2, &turn(5, &[200_000; 8])), cut(1, &turn(6, &[3]))];
        let parts = lists.concat();
        let mut joined = ListAssembler::new(3_000_000);
        for (pick, forget) in picks {
            let part = parts[pick % parts.len()].clone();
            if forget {
                joined.forget(part.channel);
            }
            let _ = joined.push(part);
            assert!(joined.bytes() <= 3_000_000);
        }
        joined.forget(1);
        joined.forget(2);
        assert_eq!(joined.bytes(), 0);
    }

    #[test]
    fn pieces_come_back_as_the_whole(bytes in 0usize..4 * MAX_PIECE_BYTES) {
        let whole = Bytes::from(vec![5; bytes]);
        let mut assembly = Assembly::new(4 * MAX_PIECE_BYTES);
        for piece in Piece::cut(&whole) {
            assert_eq!(assembly.push(&piece).unwrap(), piece.is_last().then(|| whole.clone()));
        }
        assert!(assembly.is_empty());
    }
}

#[test]
fn a_list_without_effects_is_one_part() {
    let parts = cut(3, &turn(9, &[]));
    assert_eq!((parts.len(), parts[0].part, parts[0].last), (1, 0, true));
    assert_eq!(ListAssembler::new(0).push(parts[0].clone()), Ok(Some((3, turn(9, &[])))));
}

#[test]
fn large_payloads_are_passed_on_without_a_copy() {
    let whole = turn(9, &[MAX_EFFECT_BYTES; 4]);
    let mut queue = FrameQueue::default();
    cut(3, &whole).into_iter().for_each(|part| ToProxy::List(part).encode(&mut queue));
    let mut chunks = [std::io::IoSlice::new(&[]); 16];
    let count = queue.chunks_vectored(&mut chunks);
    let shared =
        chunks[..count].iter().filter(|chunk| whole.effects.iter().any(|e| e.payload.as_ptr() == chunk.as_ptr()));
    assert_eq!((count, shared.count()), (5, 4));
}

#[test]
fn lists_of_two_channels_may_come_mixed() {
    let (a, b) = (turn(5, &[MAX_EFFECT_BYTES; 6]), turn(6, &[MAX_EFFECT_BYTES; 6]));
    let mut lists = ListAssembler::new(DEFAULT_LIST_BYTES);
    let whole: Vec<_> = cut(1, &a)
        .into_iter()
        .zip(cut(2, &b))
        .flat_map(|(a, b)| [a, b])
        .filter_map(|part| lists.push(part).unwrap())
        .collect();
    assert_eq!(whole, [(1, a), (2, b)]);
}

#[test]
fn the_bound_holds_for_all_lists_together_to_the_last_byte() {
    let open = |channel| ListPart { last: false, ..cut(channel, &turn(5, &[1000])).remove(0) };
    let mut lists = ListAssembler::new(usize::MAX);
    lists.push(open(1)).unwrap();
    let one = lists.bytes();
    assert!(one > 1000);

    let mut enough = ListAssembler::new(2 * one);
    let mut little = ListAssembler::new(2 * one - 1);
    for lists in [&mut enough, &mut little] {
        assert_eq!(lists.push(open(1)), Ok(None));
    }
    assert_eq!(enough.push(open(2)), Ok(None));
    let error = little.push(open(2)).unwrap_err().to_string();
    assert_eq!(error, format!("length of lists is {}, the limit is {}", 2 * one, 2 * one - 1));
    assert_eq!(little.bytes(), one, "the list that does not fit is dropped, the other stays");
}

#[test]
fn a_part_that_does_not_follow_drops_its_list() {
    let parts = cut(1, &turn(5, &[MAX_EFFECT_BYTES; 9]));
    let with = |change: fn(&mut ListPart)| {
        let mut lists = ListAssembler::new(DEFAULT_LIST_BYTES);
        lists.push(parts[0].clone()).unwrap();
        let mut next = parts[1].clone();
        change(&mut next);
        let error = lists.push(next).map(drop);
        (error.err().map(|error| error.to_string()), lists.bytes())
    };
    assert_eq!(with(|_| ()).0, None);
    let refused = |text: &str| (Some(text.to_owned()), 0);
    assert_eq!(with(|next| next.part = 2), refused("list part has the unknown value 2"));
    assert_eq!(with(|next| next.turn.position = Position(6)), refused("list position has the unknown value 6"));
    assert_eq!(
        with(|next| next.turn.before = RunningDigest::default()),
        refused("list running digest of part has the unknown value 1")
    );
    assert_eq!(with(|next| next.turn.effects.clear()), refused("effect count has the unknown value 0"));
}

#[test]
fn a_piece_that_does_not_follow_drops_what_was_there() {
    let whole = Bytes::from(vec![5; 2 * MAX_PIECE_BYTES]);
    let pieces: Vec<_> = Piece::cut(&whole).collect();
    let mut assembly = Assembly::new(whole.len());
    assert!(assembly.push(&pieces[1]).is_err());
    assert_eq!(assembly.push(&pieces[0]), Ok(None));
    assert!(assembly.push(&pieces[0]).is_err());
    assert!(assembly.is_empty());
    assert_eq!(assembly.push(&pieces[0]), Ok(None));
    assert!(assembly.push(&Piece { total: 2, ..pieces[1].clone() }).is_err());

    let error = Assembly::new(whole.len() - 1).push(&pieces[0]).unwrap_err().to_string();
    assert_eq!(error, "piece total is 2097152, the limit is 2097151");
}
