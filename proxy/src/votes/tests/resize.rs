//! The number of seats changes by record: positions up to it are counted over the seats before.

use super::*;

fn resized(votes: &mut Votes, seats: u8, at: Position) -> Vec<Event> {
    let mut out = Vec::new();
    votes.resize(seats, at, &mut out);
    out
}

#[test]
fn a_position_is_released_by_a_quorum_of_the_seats_in_force_there() {
    let (up_to, after) = (turn(P, "a"), turn(NEXT, "b"));
    for (before, seats, quorums) in [(3, 5, (2, 3)), (5, 3, (3, 2)), (1, 3, (1, 2)), (3, 1, (2, 1)), (7, 1, (4, 1))] {
        let mut votes = group(before, Agreement::Majority);
        resized(&mut votes, seats, P);
        for seat in before..seats {
            votes.take_seat(Seat(seat), FIRST, P, &mut Vec::new());
        }
        assert_eq!(votes.seats(), seats);
        for (turn, quorum) in [(&up_to, quorums.0), (&after, quorums.1)] {
            for seat in 0..quorum - 1 {
                assert_eq!(vote(&mut votes, seat, turn), [], "{before} to {seats} at {}", turn.position);
            }
            assert_eq!(vote(&mut votes, quorum - 1, turn), [agreed(turn)], "{before} to {seats}");
        }
    }
}

#[test]
fn all_is_of_the_seats_in_force() {
    let (up_to, after) = (turn(P, "a"), turn(NEXT, "b"));
    let mut votes = group(3, Agreement::All);
    resized(&mut votes, 1, P);
    assert_eq!(vote(&mut votes, 0, &up_to), []);
    assert_eq!(vote(&mut votes, 1, &up_to), []);
    assert_eq!(vote(&mut votes, 0, &after), [], "what is before is not released yet");
    assert_eq!(vote(&mut votes, 2, &up_to), [agreed(&up_to), agreed(&after)]);
}

#[test]
fn a_dropped_seat_decides_up_to_the_record_and_counts_no_longer_after_it() {
    let (up_to, after) = (turn(P, "a"), turn(NEXT, "b"));
    let mut votes = group(3, Agreement::Majority);
    resized(&mut votes, 1, P);
    assert_eq!(vote(&mut votes, 1, &up_to), []);
    assert_eq!(vote(&mut votes, 2, &up_to), [agreed(&up_to)]);
    assert_eq!(vote(&mut votes, 1, &after), [], "it is dropped");
    assert_eq!(vote(&mut votes, 2, &after), [], "it is dropped");
    assert_eq!(vote(&mut votes, 0, &after), [agreed(&after)]);
}

#[test]
fn votes_that_came_before_the_record_are_counted_again_after_it() {
    let (up_to, after) = (turn(P, "a"), turn(NEXT, "b"));
    let mut votes = group(3, Agreement::Majority);
    vote(&mut votes, 0, &up_to);
    vote(&mut votes, 0, &after);
    assert_eq!(resized(&mut votes, 1, P), [], "two of three are needed before it");
    assert_eq!(vote(&mut votes, 1, &up_to), [agreed(&up_to), agreed(&after)]);
    let mut votes = group(3, Agreement::Majority);
    mute(&mut votes, 0, &after);
    mute(&mut votes, 1, &after);
    assert_eq!(votes.waits_for_list(), Some(NEXT));
    resized(&mut votes, 5, P);
    assert_eq!(votes.waits_for_list(), None, "three of five are needed after it");
}

#[test]
fn who_voted_against_the_seats_that_are_left_is_outvoted() {
    let (good, bad) = (turn(NEXT, "a"), turn(NEXT, "b"));
    let mut votes = group(5, Agreement::Majority);
    vote(&mut votes, 2, &bad);
    vote(&mut votes, 0, &good);
    vote(&mut votes, 1, &good);
    let told = diverged(2, NEXT, digest(&bad), digest(&good), Why::Outvoted);
    assert_eq!(resized(&mut votes, 3, P), [told, agreed(&good)]);
}

#[test]
fn a_seat_that_comes_back_is_vacant_and_its_holder_before_stays_away() {
    let (up_to, after) = (turn(P, "a"), turn(Position(20), "b"));
    let mut votes = group(3, Agreement::Majority);
    resized(&mut votes, 1, P);
    resized(&mut votes, 3, NEXT);
    assert_eq!((votes.holder(Seat(0)), votes.holder(Seat(1))), (Some(FIRST), None));
    vote(&mut votes, 0, &up_to);
    assert_eq!(vote(&mut votes, 1, &up_to), [agreed(&up_to)], "what was before it was dropped it may still decide");
    vote(&mut votes, 0, &after);
    assert_eq!(vote(&mut votes, 1, &after), [], "this holder was dropped");
    votes.take_seat(Seat(1), SECOND, Position(14), &mut Vec::new());
    assert_eq!(vote_as(&mut votes, 1, SECOND, &after, true), [agreed(&after)]);
}

#[test]
fn new_seats_do_not_count_before_they_were_added() {
    let up_to = turn(P, "a");
    let mut votes = group(1, Agreement::Majority);
    resized(&mut votes, 3, P);
    for seat in 1..3 {
        votes.take_seat(Seat(seat), FIRST, NEXT, &mut Vec::new());
        assert_eq!(vote(&mut votes, seat, &up_to), [], "it replays the log");
    }
    assert_eq!(vote(&mut votes, 0, &up_to), [agreed(&up_to)]);
    let (good, bad) = (digest(&up_to), turn(P, "b"));
    assert_eq!(vote(&mut votes, 1, &bad), [diverged(1, P, digest(&bad), good, Why::Outvoted)], "but it is compared");
}

#[test]
fn new_seats_release_nothing_before_what_the_seats_before_them_have_still_to_decide() {
    let (up_to, after) = (turn(P, "a"), turn(NEXT, "b"));
    let mut votes = group(1, Agreement::Majority);
    resized(&mut votes, 3, P);
    for seat in 1..3 {
        votes.take_seat(Seat(seat), FIRST, P, &mut Vec::new());
        for turn in [&up_to, &after] {
            assert_eq!(vote(&mut votes, seat, turn), []);
        }
    }
    assert_eq!(vote(&mut votes, 0, &up_to), [agreed(&up_to), agreed(&after)]);
}

#[test]
fn a_split_is_of_the_seats_in_force() {
    let mut votes = group(3, Agreement::Majority);
    vote(&mut votes, 0, &turn(P, "a"));
    vote(&mut votes, 1, &turn(P, "b"));
    assert_eq!(resized(&mut votes, 5, P), [], "seat 2 may still decide");
    assert_eq!(vote(&mut votes, 2, &turn(P, "c")), [Event::Split { position: P }], "the new seats cannot");
}

#[test]
fn a_number_of_seats_that_cannot_be_changes_nothing() {
    let mut votes = group(3, Agreement::Majority);
    for seats in [0, 3, 8] {
        assert_eq!(resized(&mut votes, seats, P), []);
        assert_eq!(votes.seats(), 3);
    }
    resized(&mut votes, 7, P);
    assert_eq!(votes.seats(), 7);
}
