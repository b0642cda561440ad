//! A seat whose votes may have been lost votes again.

use super::*;

#[test]
fn a_seat_votes_again_after_what_is_released() {
    let (first, second) = (turn(P, "a"), turn(NEXT, "b"));
    let mut votes = group(3, Agreement::Majority);
    vote(&mut votes, 0, &first);
    assert_eq!(vote(&mut votes, 1, &first), [agreed(&first)]);
    vote(&mut votes, 0, &second);
    assert_eq!(votes.rejoin(Seat(0), FIRST), Some(P));
    assert_eq!(vote(&mut votes, 0, &second), [], "the same vote twice counts once");
    assert_eq!(vote(&mut votes, 0, &second), [], "and so does a third");
    assert_eq!(vote(&mut votes, 1, &second), [agreed(&second)]);
}

#[test]
fn only_the_holder_of_a_seat_that_is_not_out_rejoins() {
    let mut votes = group(3, Agreement::Majority);
    assert_eq!(votes.rejoin(Seat(0), SECOND), None);
    assert_eq!(votes.rejoin(Seat(3), FIRST), None);
    votes.quarantine(Seat(0), FIRST, Position(3), &mut Vec::new());
    assert_eq!(votes.rejoin(Seat(0), FIRST), None);
    assert_eq!(votes.holder(Seat(0)), Some(FIRST));
}

#[test]
fn what_a_seat_did_not_vote_on_before_the_loss_is_no_denial() {
    let turns: Vec<TurnEffects> = [10, 11, 12].map(|p| turn(Position(p), "a")).to_vec();
    let mut votes = group(3, Agreement::Majority);
    for seat in [0, 1] {
        vote(&mut votes, seat, &turns[0]);
    }
    vote(&mut votes, 2, &turns[1]);
    for seat in [0, 1] {
        votes.lost_vote(Seat(seat), Position(11), &mut Vec::new());
        assert_eq!(vote(&mut votes, seat, &turns[2]), [], "the turn between may still be");
        assert_eq!(votes.rejoin(Seat(seat), FIRST), Some(P));
    }
    assert_eq!(vote(&mut votes, 0, &turns[1]), [agreed(&turns[1]), agreed(&turns[2])]);
}

#[test]
fn what_a_seat_leaves_out_when_it_votes_again_it_denies() {
    let turns: Vec<TurnEffects> = [10, 11, 12].map(|p| turn(Position(p), "a")).to_vec();
    let mut votes = two_that_vote_again(&turns);
    vote(&mut votes, 0, &turns[2]);
    let told = diverged(2, Position(11), digest(&turns[1]), Digest::default(), Why::NoSuchTurn);
    assert_eq!(vote(&mut votes, 1, &turns[2]), [told, agreed(&turns[2])]);
}

#[test]
fn a_second_equal_vote_with_a_list_releases_the_position_that_waits_for_it() {
    let (first, second) = (turn(P, "a"), turn(NEXT, "b"));
    let mut votes = group(3, Agreement::Majority);
    for seat in [0, 1] {
        mute(&mut votes, seat, &first);
        mute(&mut votes, seat, &second);
    }
    assert_eq!(votes.waits_for_list(), Some(P));
    assert_eq!(votes.rejoin(Seat(0), FIRST), Some(Position(1)));
    assert_eq!(vote(&mut votes, 0, &first), [agreed(&first)]);
    assert_eq!(votes.waits_for_list(), Some(NEXT));
    assert_eq!(vote(&mut votes, 0, &second), [agreed(&second)]);
}

#[test]
fn a_vote_that_differs_from_the_one_before_the_loss_is_divergence() {
    let (good, bad) = (turn(P, "a"), turn(P, "b"));
    let mut votes = group(3, Agreement::Majority);
    vote(&mut votes, 0, &good);
    votes.rejoin(Seat(0), FIRST);
    assert_eq!(vote(&mut votes, 0, &bad), [diverged(0, P, digest(&bad), digest(&good), Why::VotedTwice)]);
}

/// Seats 0 and 1 voted on the first of three turns, seat 2 on the second, and the first two vote again.
fn two_that_vote_again(turns: &[TurnEffects]) -> Votes {
    let mut votes = group(3, Agreement::Majority);
    for seat in [0, 1] {
        vote(&mut votes, seat, &turns[0]);
    }
    vote(&mut votes, 2, &turns[1]);
    for seat in [0, 1] {
        assert_eq!(votes.rejoin(Seat(seat), FIRST), Some(P));
    }
    votes
}

fn forget(votes: &mut Votes, seat: u8, at: Position) -> Vec<Event> {
    let mut out = Vec::new();
    votes.forgot(Seat(seat), FIRST, at, &mut out);
    out
}

#[test]
fn a_turn_that_a_seat_no_longer_keeps_is_not_denied() {
    let turns: Vec<TurnEffects> = [10, 11, 12].map(|p| turn(Position(p), "a")).to_vec();
    let mut votes = two_that_vote_again(&turns);
    assert_eq!(forget(&mut votes, 0, Position(11)), []);
    vote(&mut votes, 0, &turns[2]);
    assert_eq!(vote(&mut votes, 1, &turns[1]), [agreed(&turns[1])]);
    assert_eq!(vote(&mut votes, 1, &turns[2]), [agreed(&turns[2])], "and what comes after is voted on as ever");
}

#[test]
fn a_turn_that_a_quorum_no_longer_keeps_is_told_lost_once_and_nobody_is_put_out_for_it() {
    let turns: Vec<TurnEffects> = [10, 11, 12].map(|p| turn(Position(p), "a")).to_vec();
    let mut votes = two_that_vote_again(&turns);
    assert_eq!(forget(&mut votes, 0, Position(11)), []);
    assert_eq!(forget(&mut votes, 1, Position(11)), [Event::Lost { position: Position(11) }]);
    for seat in [0, 1, 2] {
        assert_eq!(vote(&mut votes, seat, &turns[2]), []);
    }
    votes.begin_epoch(Epoch(5), Position(13));
    assert_eq!(votes.released(), Position(13), "the next epoch does without");
}

#[test]
fn a_new_holder_may_still_bring_what_the_one_before_forgot() {
    let turns: Vec<TurnEffects> = [10, 11, 12].map(|p| turn(Position(p), "a")).to_vec();
    let mut votes = two_that_vote_again(&turns);
    forget(&mut votes, 0, Position(11));
    votes.take_seat(Seat(0), SECOND, Position(12), &mut Vec::new());
    assert_eq!(vote_as(&mut votes, 0, SECOND, &turns[1], true), [agreed(&turns[1])]);
    assert_eq!(forget(&mut votes, 0, Position(99)), [], "who is told to have forgotten has the seat no more");
}

#[test]
fn a_list_that_nobody_keeps_is_told_lost() {
    let first = turn(P, "a");
    let mut votes = group(3, Agreement::Majority);
    for seat in [0, 1] {
        mute(&mut votes, seat, &first);
    }
    assert_eq!(forget(&mut votes, 0, P), []);
    assert_eq!(forget(&mut votes, 1, P), [], "the third may still bring it");
    assert_eq!(forget(&mut votes, 2, P), [Event::Lost { position: P }]);
    let mut asked = Vec::new();
    votes.ask_again(&mut asked);
    assert_eq!(asked, [], "nobody can be asked");
}
