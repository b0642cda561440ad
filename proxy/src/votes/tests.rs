//! The rules of agreement, one test each.

mod asks;
mod changes;
mod property;
mod rejoin;
mod resize;

use std::sync::Arc;

use bytes::Bytes;
use refrain_wire::control::Agreement;
use refrain_wire::turn::{Effect, TurnEffects};
use refrain_wire::{
    Digest, EffectEntry, EffectKind, Epoch, FlowId, Incarnation, Position, RunningDigest, Seat, Serial,
};

use super::{
    CastVote, Divergence, Event, KEPT_DIGESTS, OPEN_POSITIONS, Votes, Why, concerns, silent_turn_speaker, speaker,
    speaks,
};

const EPOCH: Epoch = Epoch(4);
const FIRST: Incarnation = Incarnation(1);
const SECOND: Incarnation = Incarnation(2);
const P: Position = Position(10);
const NEXT: Position = Position(12);

fn bytes_effect(epoch: Epoch, text: &str) -> Effect {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    Effect {
        entry: EffectEntry {
            kind: EffectKind::Bytes,
            flow: Some(FlowId { epoch, serial: Serial(1) }),
            offset: 0,
            length: payload.len() as u32,
            digest: Digest::of(&payload),
        },
        payload,
    }
}

fn turn(position: Position, text: &str) -> TurnEffects {
    TurnEffects {
        position,
        before: RunningDigest([9; 32]),
        effects: vec![bytes_effect(EPOCH, text), bytes_effect(Epoch(1), "of another proxy")],
    }
}

fn digest(turn: &TurnEffects) -> Digest {
    let entries = turn.effects.iter().map(|effect| &effect.entry);
    turn.before.vote(entries.filter(|entry| concerns(entry, EPOCH)))
}

fn group(seats: u8, rule: Agreement) -> Votes {
    let mut votes = Votes::new(seats, rule, Position(0));
    votes.begin_epoch(EPOCH, Position(1));
    for seat in 0..seats {
        votes.take_seat(Seat(seat), FIRST, Position(2), &mut Vec::new());
    }
    votes
}

fn vote_as(votes: &mut Votes, seat: u8, incarnation: Incarnation, turn: &TurnEffects, with_list: bool) -> Vec<Event> {
    let mut out = Vec::new();
    let vote = CastVote {
        seat: Seat(seat),
        incarnation,
        position: turn.position,
        digest: digest(turn),
        list: with_list.then(|| Arc::new(turn.clone())),
    };
    votes.vote(vote, &mut out);
    out
}

/// A vote with its list.
fn vote(votes: &mut Votes, seat: u8, turn: &TurnEffects) -> Vec<Event> {
    vote_as(votes, seat, FIRST, turn, true)
}

/// A vote alone.
fn mute(votes: &mut Votes, seat: u8, turn: &TurnEffects) -> Vec<Event> {
    vote_as(votes, seat, FIRST, turn, false)
}

fn agreed(turn: &TurnEffects) -> Event {
    Event::Agreed { position: turn.position, effects: Arc::new(turn.clone()) }
}

fn diverged(seat: u8, position: Position, voted: Digest, agreed: Digest, why: Why) -> Event {
    Event::Diverged(Divergence { seat: Seat(seat), incarnation: FIRST, position, voted, agreed, why })
}

#[test]
fn a_turn_is_released_after_a_majority_of_equal_votes() {
    for (seats, quorum) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)] {
        let (mut votes, good) = (group(seats, Agreement::Majority), turn(P, "a"));
        for seat in 0..quorum - 1 {
            assert_eq!(vote(&mut votes, seat, &good), [], "{seats} seats");
        }
        assert_eq!(vote(&mut votes, quorum - 1, &good), [agreed(&good)], "{seats} seats");
        assert_eq!(votes.released(), P);
        for seat in quorum..seats {
            assert_eq!(vote(&mut votes, seat, &good), [], "released once");
        }
    }
}

#[test]
fn all_needs_every_seat_and_none_the_first() {
    let good = turn(P, "a");
    let mut all = group(3, Agreement::All);
    assert_eq!(vote(&mut all, 0, &good), []);
    assert_eq!(vote(&mut all, 1, &good), []);
    assert_eq!(vote(&mut all, 2, &good), [agreed(&good)]);
    let mut none = group(3, Agreement::None);
    assert_eq!(vote(&mut none, 1, &good), [agreed(&good)]);
    assert_eq!(vote(&mut none, 0, &turn(P, "b")), [], "nothing is checked");
}

#[test]
fn a_majority_is_of_all_seats_whoever_is_alive() {
    let (mut votes, good) = (group(5, Agreement::Majority), turn(P, "a"));
    for seat in [3, 4] {
        votes.quarantine(Seat(seat), FIRST, Position(3), &mut Vec::new());
    }
    assert_eq!(vote(&mut votes, 0, &good), []);
    assert_eq!(vote(&mut votes, 1, &good), [], "two of the three that are left");
    assert_eq!(vote(&mut votes, 2, &good), [agreed(&good)]);
}

#[test]
fn a_seat_counts_once() {
    let (mut votes, good) = (group(3, Agreement::Majority), turn(P, "a"));
    vote(&mut votes, 0, &good);
    assert_eq!(vote(&mut votes, 0, &good), []);
    assert_eq!(votes.released(), Position(1));
}

#[test]
fn a_different_second_vote_is_divergence() {
    let (good, bad) = (turn(P, "a"), turn(P, "b"));
    let mut votes = group(3, Agreement::Majority);
    vote(&mut votes, 0, &good);
    let told = diverged(0, P, digest(&bad), digest(&good), Why::VotedTwice);
    assert_eq!(vote(&mut votes, 0, &bad), [told]);
}

#[test]
fn a_seat_outvoted_is_told_once_before_or_after_the_quorum() {
    let (good, bad) = (turn(P, "a"), turn(P, "b"));
    let told = diverged(2, P, digest(&bad), digest(&good), Why::Outvoted);
    let mut before = group(3, Agreement::Majority);
    vote(&mut before, 2, &bad);
    vote(&mut before, 0, &good);
    assert_eq!(vote(&mut before, 1, &good), [told.clone(), agreed(&good)]);
    let mut after = group(3, Agreement::Majority);
    vote(&mut after, 0, &good);
    vote(&mut after, 1, &good);
    assert_eq!(vote(&mut after, 2, &bad), [told]);
    assert_eq!(vote(&mut after, 2, &turn(NEXT, "c")), [], "it is out");
}

#[test]
fn later_votes_of_a_seat_that_diverged_do_not_count() {
    let (first, second) = (turn(P, "a"), turn(NEXT, "b"));
    let mut votes = group(3, Agreement::Majority);
    vote(&mut votes, 2, &turn(P, "z"));
    vote(&mut votes, 2, &second);
    vote(&mut votes, 0, &first);
    vote(&mut votes, 1, &first);
    assert_eq!(vote(&mut votes, 0, &second), [], "the one equal vote is of the seat that is out");
    assert_eq!(vote(&mut votes, 1, &second), [agreed(&second)]);
}

#[test]
fn a_late_vote_that_differs_is_noticed_as_long_as_its_digest_is_kept() {
    let mut votes = group(3, Agreement::Majority);
    let at = |i: usize| Position(10 + i as u64);
    for i in 0..=KEPT_DIGESTS {
        let good = turn(at(i), "a");
        vote(&mut votes, 0, &good);
        vote(&mut votes, 1, &good);
    }
    assert_eq!(vote(&mut votes, 2, &turn(at(0), "b")), [], "forgotten");
    let (good, bad) = (turn(at(1), "a"), turn(at(1), "b"));
    let told = diverged(2, at(1), digest(&bad), digest(&good), Why::Outvoted);
    assert_eq!(vote(&mut votes, 2, &bad), [told]);
}

#[test]
fn turns_are_released_in_order_of_positions() {
    let (first, second) = (turn(P, "a"), turn(NEXT, "b"));
    let mut votes = group(3, Agreement::Majority);
    mute(&mut votes, 0, &first);
    mute(&mut votes, 1, &first);
    vote(&mut votes, 0, &second);
    assert_eq!(vote(&mut votes, 1, &second), [], "the first has no list yet");
    assert_eq!(vote(&mut votes, 2, &first), [agreed(&first), agreed(&second)]);
    assert_eq!(votes.released(), NEXT);
}

#[test]
fn a_list_that_does_not_give_the_digest_is_divergence_and_is_not_released() {
    let good = turn(P, "a");
    let mut wrong_payload = good.clone();
    wrong_payload.effects[0].payload = Bytes::from_static(b"z");
    let mut wrong_length = good.clone();
    wrong_length.effects[0].payload = Bytes::new();
    let mut wrong_before = good.clone();
    wrong_before.before = RunningDigest([1; 32]);
    let mut missing = good.clone();
    missing.effects.clear();
    for list in [wrong_payload, wrong_length, wrong_before, missing] {
        let mut votes = group(3, Agreement::Majority);
        mute(&mut votes, 0, &good);
        let mut out = Vec::new();
        let vote = CastVote {
            seat: Seat(1),
            incarnation: FIRST,
            position: P,
            digest: digest(&good),
            list: Some(Arc::new(list)),
        };
        votes.vote(vote, &mut out);
        assert_eq!(out, [diverged(1, P, digest(&good), digest(&good), Why::BadList)]);
        assert_eq!(super::tests::vote(&mut votes, 2, &good), [agreed(&good)]);
    }
}

#[test]
fn payloads_of_other_proxies_flows_are_not_checked() {
    let (mut votes, good) = (group(1, Agreement::Majority), turn(P, "a"));
    let mut list = good.clone();
    list.effects[1].payload = Bytes::new();
    assert_eq!(vote(&mut votes, 0, &list), [agreed(&list)]);
}

#[test]
fn a_new_epoch_is_done_with_positions_up_to_its_record_and_a_replay_of_them_is_no_divergence() {
    let (released, open, later) = (turn(Position(9), "a"), turn(P, "b"), turn(NEXT, "c"));
    let mut votes = group(3, Agreement::Majority);
    vote(&mut votes, 0, &released);
    assert_eq!(vote(&mut votes, 1, &released), [agreed(&released)]);
    vote(&mut votes, 0, &open);
    votes.begin_epoch(Epoch(5), P);
    assert_eq!(votes.released(), P);
    let concerned = |turn: &TurnEffects| {
        let entries = turn.effects.iter().map(|effect| &effect.entry);
        turn.before.vote(entries.filter(|entry| concerns(entry, Epoch(5))))
    };
    let cast = |votes: &mut Votes, seat: u8, turn: &TurnEffects| {
        let mut out = Vec::new();
        let list = Some(Arc::new(turn.clone()));
        let digest = concerned(turn);
        votes.vote(CastVote { seat: Seat(seat), incarnation: FIRST, position: turn.position, digest, list }, &mut out);
        out
    };
    for turn in [&released, &open] {
        assert_ne!(concerned(turn), digest(turn), "the flow was of the epoch before");
        assert_eq!(cast(&mut votes, 2, turn), []);
    }
    assert_eq!(cast(&mut votes, 2, &later), []);
    assert_eq!(cast(&mut votes, 1, &later), [agreed(&later)]);
}

#[test]
fn only_the_current_holder_of_a_seat_counts() {
    let (mut votes, good) = (group(3, Agreement::Majority), turn(P, "a"));
    vote(&mut votes, 0, &good);
    assert_eq!(vote_as(&mut votes, 1, SECOND, &good, true), [], "not there yet");
    votes.take_seat(Seat(1), SECOND, Position(5), &mut Vec::new());
    assert_eq!(vote_as(&mut votes, 1, FIRST, &good, true), [], "no longer there");
    assert_eq!(vote_as(&mut votes, 1, SECOND, &good, true), [agreed(&good)]);
}

#[test]
fn a_new_holder_is_in_force_from_the_next_position() {
    let (first, second) = (turn(P, "a"), turn(NEXT, "b"));
    let mut votes = group(3, Agreement::Majority);
    for turn in [&first, &second] {
        vote(&mut votes, 0, turn);
    }
    votes.take_seat(Seat(0), SECOND, P, &mut Vec::new());
    assert_eq!(vote(&mut votes, 1, &first), [agreed(&first)], "its vote up to the record stays");
    assert_eq!(vote(&mut votes, 1, &second), [], "its vote after the record does not");
    assert_eq!(vote_as(&mut votes, 0, SECOND, &second, true), [agreed(&second)]);
}

#[test]
fn a_new_holder_may_vote_otherwise_than_the_one_before() {
    let (good, bad) = (turn(P, "a"), turn(P, "b"));
    let mut votes = group(3, Agreement::Majority);
    vote(&mut votes, 0, &bad);
    votes.take_seat(Seat(0), SECOND, NEXT, &mut Vec::new());
    assert_eq!(vote_as(&mut votes, 0, SECOND, &good, true), []);
    assert_eq!(vote(&mut votes, 1, &good), [agreed(&good)]);
}

#[test]
fn a_quarantined_seat_does_not_count_after_its_record() {
    let (first, second) = (turn(P, "a"), turn(NEXT, "b"));
    let mut votes = group(3, Agreement::Majority);
    for turn in [&first, &second] {
        vote(&mut votes, 0, turn);
    }
    votes.quarantine(Seat(0), FIRST, P, &mut Vec::new());
    assert_eq!(vote(&mut votes, 1, &first), [agreed(&first)]);
    assert_eq!(vote(&mut votes, 1, &second), []);
    assert_eq!(vote(&mut votes, 0, &second), [], "it is out");
    assert_eq!(vote(&mut votes, 2, &second), [agreed(&second)]);
}

#[test]
fn a_quarantine_of_an_earlier_holder_changes_nothing() {
    let (mut votes, good) = (group(1, Agreement::Majority), turn(P, "a"));
    votes.take_seat(Seat(0), SECOND, Position(3), &mut Vec::new());
    votes.quarantine(Seat(0), FIRST, Position(4), &mut Vec::new());
    assert_eq!(vote_as(&mut votes, 0, SECOND, &good, true), [agreed(&good)]);
}

#[test]
fn votes_split_only_when_every_seat_that_counts_has_voted() {
    let mut votes = group(3, Agreement::Majority);
    assert_eq!(vote(&mut votes, 0, &turn(P, "a")), []);
    assert_eq!(vote(&mut votes, 1, &turn(P, "b")), [], "the third may still decide");
    assert_eq!(vote(&mut votes, 2, &turn(P, "c")), [Event::Split { position: P }]);
    assert_eq!(vote(&mut votes, 2, &turn(P, "c")), [], "told once");
    let mut votes = group(3, Agreement::Majority);
    vote(&mut votes, 0, &turn(P, "a"));
    vote(&mut votes, 1, &turn(P, "b"));
    let mut out = Vec::new();
    votes.quarantine(Seat(2), FIRST, Position(4), &mut out);
    assert_eq!(out, [Event::Split { position: P }], "a seat that is out cannot decide");
}

#[test]
fn a_rebuilt_seat_can_still_decide_a_split() {
    let good = turn(P, "a");
    let mut votes = group(3, Agreement::Majority);
    vote(&mut votes, 0, &good);
    vote(&mut votes, 1, &turn(P, "b"));
    vote(&mut votes, 2, &turn(P, "c"));
    votes.take_seat(Seat(2), SECOND, NEXT, &mut Vec::new());
    let told = diverged(1, P, digest(&turn(P, "b")), digest(&good), Why::Outvoted);
    assert_eq!(vote_as(&mut votes, 2, SECOND, &good, true), [told, agreed(&good)]);
}

#[test]
fn a_halted_group_releases_nothing_until_it_is_resumed() {
    let mut votes = group(1, Agreement::Majority);
    votes.halt(P);
    assert_eq!(vote(&mut votes, 0, &turn(NEXT, "a")), []);
    votes.resume(NEXT);
    assert_eq!(vote(&mut votes, 0, &turn(NEXT, "a")), [], "it is before the resume");
    let after = turn(Position(13), "b");
    assert_eq!(vote(&mut votes, 0, &after), [agreed(&after)]);
}

#[test]
fn a_vote_on_a_turn_that_a_quorum_skipped_is_divergence_and_holds_nothing_up() {
    let turns: Vec<TurnEffects> = [10, 11, 12].map(|p| turn(Position(p), "a")).to_vec();
    let mut votes = group(3, Agreement::Majority);
    for seat in [0, 1] {
        vote(&mut votes, seat, &turns[0]);
    }
    vote(&mut votes, 2, &turns[1]);
    vote(&mut votes, 0, &turns[2]);
    let told = diverged(2, Position(11), digest(&turns[1]), Digest::default(), Why::NoSuchTurn);
    assert_eq!(vote(&mut votes, 1, &turns[2]), [told, agreed(&turns[2])]);
}

#[test]
fn open_positions_are_limited_and_a_dropped_vote_is_told() {
    let mut votes = group(3, Agreement::Majority);
    let at = |i: usize| turn(Position(10 + i as u64), "a");
    for i in 0..OPEN_POSITIONS {
        assert_eq!(mute(&mut votes, 0, &at(i)), []);
    }
    let dropped = Event::Dropped { seat: Seat(0), position: at(OPEN_POSITIONS).position };
    assert_eq!(mute(&mut votes, 0, &at(OPEN_POSITIONS)), [dropped]);
    assert_eq!(vote(&mut votes, 1, &at(0)), [agreed(&at(0))]);
    assert_eq!(mute(&mut votes, 0, &at(OPEN_POSITIONS)), [], "there is room again");
}

#[test]
fn flows_are_spread_over_seats_and_a_turn_without_flows_has_a_speaker_too() {
    let flow = |serial| FlowId { epoch: EPOCH, serial: Serial(serial) };
    let seats: Vec<Seat> = (0..4).map(|serial| speaker(flow(serial), 3)).collect();
    assert_eq!(seats, [0, 1, 2, 0].map(Seat));
    assert_eq!(silent_turn_speaker(Position(5), 3), Seat(2));
    let with_flow = turn(P, "a");
    assert!(speaks(Seat(1), 3, EPOCH, &with_flow) && !speaks(Seat(0), 3, EPOCH, &with_flow));
    let of_others = |seat| speaks(seat, 3, Epoch(77), &with_flow);
    assert!(of_others(Seat(1)) && !of_others(Seat(0)) && !of_others(Seat(2)));
}
