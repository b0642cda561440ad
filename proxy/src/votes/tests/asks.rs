//! When a list is asked for, and of whom.

use super::*;

fn ask(seats: &[u8]) -> Event {
    Event::Ask { position: P, seats: seats.iter().copied().map(Seat).collect() }
}

fn asked_again(votes: &mut Votes) -> Vec<Event> {
    let mut out = Vec::new();
    votes.ask_again(&mut out);
    out
}

/// Seats 0 and 1 of three have voted alike and brought no list.
fn agreed_without_list() -> (Votes, TurnEffects) {
    let (mut votes, good) = (group(3, Agreement::Majority), turn(P, "a"));
    mute(&mut votes, 0, &good);
    assert_eq!(mute(&mut votes, 1, &good), [], "seat 2 may be the speaker");
    (votes, good)
}

#[test]
fn a_list_is_asked_for_when_no_seat_is_left_that_may_bring_it() {
    let (mut votes, good) = (group(3, Agreement::Majority), turn(P, "a"));
    mute(&mut votes, 0, &good);
    assert_eq!(mute(&mut votes, 2, &good), [], "seat 1 may be the speaker");
    assert_eq!(votes.waits_for_list(), Some(P));
    let mut out = Vec::new();
    votes.ask_again(&mut out);
    assert_eq!(out, [ask(&[0, 2])], "a caller that has waited may ask");
    let mut votes = group(3, Agreement::Majority);
    mute(&mut votes, 0, &good);
    mute(&mut votes, 2, &good);
    assert_eq!(mute(&mut votes, 1, &good), [ask(&[0, 1, 2])]);
    assert_eq!(vote(&mut votes, 1, &good), [agreed(&good)], "the answer is the same vote with the list");
    assert_eq!(votes.waits_for_list(), None);
}

#[test]
fn a_seat_that_missed_eight_releases_is_not_waited_for() {
    let mut votes = group(3, Agreement::Majority);
    for position in 10..18 {
        let good = turn(Position(position), "a");
        vote(&mut votes, 0, &good);
        assert_eq!(mute(&mut votes, 1, &good), [agreed(&good)]);
    }
    let good = turn(Position(18), "a");
    mute(&mut votes, 0, &good);
    assert!(matches!(mute(&mut votes, 1, &good)[..], [Event::Ask { .. }]));
}

#[test]
fn a_list_is_asked_for_once_the_seat_that_may_bring_it_is_out_or_dropped() {
    let (mut votes, _) = agreed_without_list();
    let mut out = Vec::new();
    votes.quarantine(Seat(2), FIRST, Position(4), &mut out);
    assert_eq!(out, [ask(&[0, 1])]);
    let (mut votes, good) = agreed_without_list();
    votes.resize(1, Position(4), &mut out);
    assert_eq!(out.pop(), Some(ask(&[0])), "seat 1 is no longer one of them either");
    assert_eq!(vote(&mut votes, 0, &good), [agreed(&good)]);
}

#[test]
fn a_list_is_asked_for_at_once_while_the_seat_that_may_bring_it_is_vacant() {
    let (mut votes, good) = (Votes::new(3, Agreement::Majority, Position(0)), turn(P, "a"));
    votes.begin_epoch(EPOCH, Position(1));
    for seat in 0..2 {
        votes.take_seat(Seat(seat), FIRST, Position(2), &mut Vec::new());
    }
    mute(&mut votes, 0, &good);
    assert_eq!(mute(&mut votes, 1, &good), [ask(&[0, 1])]);
}

#[test]
fn each_time_another_seat_is_asked_first_until_all_were() {
    let (mut votes, good) = agreed_without_list();
    assert_eq!(asked_again(&mut votes), [ask(&[0, 1])]);
    assert_eq!(asked_again(&mut votes), [ask(&[1, 0])]);
    assert_eq!(mute(&mut votes, 2, &good), [], "it was asked for already");
    assert_eq!(asked_again(&mut votes), [ask(&[2, 0, 1])], "who has not been asked is next");
    assert_eq!(asked_again(&mut votes), [ask(&[0, 1, 2])], "a new round");
    assert_eq!(vote(&mut votes, 1, &good), [agreed(&good)], "whoever answers");
    assert_eq!(asked_again(&mut votes), []);
}

#[test]
fn a_seat_that_is_out_or_has_a_new_holder_is_not_asked_for_what_its_holder_before_had() {
    let (mut votes, good) = agreed_without_list();
    votes.quarantine(Seat(0), FIRST, NEXT, &mut Vec::new());
    votes.take_seat(Seat(1), SECOND, NEXT, &mut Vec::new());
    assert_eq!(asked_again(&mut votes), [], "nobody has it");
    assert_eq!(vote_as(&mut votes, 1, SECOND, &good, false), []);
    assert_eq!(asked_again(&mut votes), [ask(&[1])], "it has replayed the turn");
    assert_eq!(vote_as(&mut votes, 1, SECOND, &good, true), [agreed(&good)]);
}
