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
    let mut votes = group(3, Agreement::Majority);
    for seat in [0, 1] {
        vote(&mut votes, seat, &turns[0]);
    }
    vote(&mut votes, 2, &turns[1]);
    for seat in [0, 1] {
        assert_eq!(votes.rejoin(Seat(seat), FIRST), Some(P));
    }
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
