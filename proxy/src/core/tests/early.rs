//! Votes of engines that are ahead of this node wait until their entries are applied here.

use super::*;

fn bytes_turn(position: u64, serial: Serial, offset: u64, bytes: &[u8]) -> TurnEffects {
    turn(position, vec![effect(EffectKind::Bytes, Some(serial), offset, bytes)])
}

fn applied(proxy: &mut Proxy, at: u64) -> Outcome {
    let mut outcome = Outcome::default();
    proxy.applied(Position(at), NOW, &mut outcome);
    outcome
}

#[test]
fn a_vote_waits_until_its_entry_is_applied() {
    let mut proxy = proxy(1);
    let serial = accept(&mut proxy);
    applied(&mut proxy, 9);
    assert_eq!(vote(&mut proxy, 0, &bytes_turn(10, serial, 0, b"a")).actions, []);
    assert_eq!(vote(&mut proxy, 0, &bytes_turn(12, serial, 1, b"b")).actions, []);
    assert_eq!(applied(&mut proxy, 10).actions, [write(serial, b"a")]);
    assert_eq!(applied(&mut proxy, 11).actions, []);
    assert_eq!(applied(&mut proxy, 12).actions, [write(serial, b"b")]);
    assert_eq!(vote(&mut proxy, 0, &bytes_turn(12, serial, 1, b"b")).actions, [], "released");
}

#[test]
fn an_early_vote_counts_over_the_seats_that_a_record_before_it_set() {
    let mut proxy = proxy(1);
    let serial = accept(&mut proxy);
    applied(&mut proxy, 9);
    vote(&mut proxy, 0, &bytes_turn(12, serial, 0, b"a"));
    proxy.resize(GROUP, 3, Position(10), NOW, &mut Outcome::default());
    proxy.take_seat(GROUP, Seat(1), Incarnation(1), Position(11), NOW, &mut Outcome::default());
    assert_eq!(applied(&mut proxy, 12).actions, [], "one of three");
    assert_eq!(vote(&mut proxy, 1, &bytes_turn(12, serial, 0, b"a")).actions, [write(serial, b"a")]);
}

#[test]
fn an_early_vote_for_a_new_epoch_is_not_taken_for_one_of_the_epoch_before() {
    let mut proxy = proxy(1);
    applied(&mut proxy, 9);
    let (serial, next) = (Serial(1), Epoch(EPOCH.0 + 1));
    let mut early = bytes_turn(12, serial, 0, b"a");
    early.effects[0].entry.flow = Some(FlowId { epoch: next, serial });
    let digest = early.before.vote(early.effects.iter().map(|effect| &effect.entry));
    let list = Some(Arc::new(early));
    let vote = CastVote { seat: Seat(0), incarnation: Incarnation(1), position: Position(12), digest, list };
    let mut outcome = Outcome::default();
    proxy.vote(GROUP, vote, NOW, &mut outcome);
    proxy.end_epoch();
    proxy.begin_epoch(next, Position(11));
    assert_eq!(accept(&mut proxy), serial);
    assert_eq!(applied(&mut proxy, 12).actions, [write(serial, b"a")]);
    assert!(outcome.notices.is_empty(), "{:?}", outcome.notices);
}

#[test]
fn early_votes_are_limited_and_a_seat_that_lost_one_votes_again() {
    let mut proxy = proxy(2);
    let serial = accept(&mut proxy);
    applied(&mut proxy, 9);
    let at = |i: usize| bytes_turn(10 + i as u64, serial, i as u64, b"x");
    for i in 0..EARLY_VOTES {
        assert!(vote(&mut proxy, 0, &at(i)).notices.is_empty());
    }
    let position = at(EARLY_VOTES).position;
    let dropped = (GROUP, Notice::VoteDropped { seat: Seat(0), position });
    assert_eq!(vote(&mut proxy, 0, &at(EARLY_VOTES)).notices, [dropped]);
    assert!(vote(&mut proxy, 0, &at(EARLY_VOTES + 1)).notices.is_empty(), "told once");
    applied(&mut proxy, 10);
    vote(&mut proxy, 0, &at(EARLY_VOTES + 1));
    assert_eq!(proxy.rejoin(GROUP, Seat(0), Incarnation(1)), Some(Position(1)), "it votes on everything again");
    applied(&mut proxy, 11);
    assert_eq!(vote(&mut proxy, 1, &at(0)).actions, [write(serial, b"x")], "what was counted stays");
    assert_eq!(vote(&mut proxy, 1, &at(1)).actions, [], "what waited came by the stream that is gone");
    assert_eq!(vote(&mut proxy, 0, &at(1)).actions, [write(serial, b"x")]);
}

#[test]
fn payloads_of_early_votes_are_limited() {
    let mut proxy = proxy(1);
    let serial = accept(&mut proxy);
    applied(&mut proxy, 9);
    let half = vec![7; EARLY_BYTES / 2];
    for position in [10, 12] {
        assert!(vote(&mut proxy, 0, &bytes_turn(position, serial, 0, &half)).notices.is_empty());
    }
    assert_eq!(vote(&mut proxy, 0, &bytes_turn(14, serial, 0, b"x")).notices.len(), 1, "one byte above");
    proxy.rejoin(GROUP, Seat(0), Incarnation(1));
    assert!(vote(&mut proxy, 0, &bytes_turn(14, serial, 0, &half)).notices.is_empty(), "there is room again");
}

#[test]
fn a_seat_whose_holder_is_not_known_yet_does_not_rejoin() {
    let mut proxy = proxy(1);
    assert_eq!(proxy.rejoin(GROUP, Seat(0), Incarnation(2)), None);
    proxy.take_seat(GROUP, Seat(0), Incarnation(2), Position(9), NOW, &mut Outcome::default());
    assert_eq!(proxy.rejoin(GROUP, Seat(0), Incarnation(2)), Some(Position(1)));
    assert_eq!(proxy.rejoin(GroupId(77), Seat(0), Incarnation(2)), None);
}

#[test]
fn an_upgrade_renames_the_service_and_lasts_over_epochs() {
    let mut proxy = proxy(1);
    let serial = accept(&mut proxy);
    let limits = GroupLimits { window_bytes: 64, ..GroupLimits::default() };
    proxy.update_group(GROUP, limits, "demo/echo2".to_owned(), &mut Outcome::default());
    assert_eq!(proxy.service(GROUP), Some("demo/echo2"));
    assert_eq!(proxy.nat().expect("an epoch has begun").readable_bytes(serial), 64, "its open is not ordered yet");
    proxy.end_epoch();
    proxy.begin_epoch(Epoch(9), Position(20));
    let serial = accept(&mut proxy);
    assert_eq!(proxy.nat().expect("an epoch has begun").readable_bytes(serial), 64);
}

#[test]
fn old_flows_of_an_upgraded_group_are_reset_by_its_effects_and_the_new_ones_stay() {
    let mut proxy = proxy(1);
    let old = accept(&mut proxy);
    let nat = proxy.nat().expect("an epoch has begun");
    let submission = nat.take_submission().expect("the open is due");
    nat.committed(submission.id);
    proxy.update_group(GROUP, GroupLimits::default(), "demo/echo".to_owned(), &mut Outcome::default());
    let new = accept(&mut proxy);
    let outcome = vote(&mut proxy, 0, &turn(10, vec![effect(EffectKind::Reset, Some(old), 0, b"")]));
    assert_eq!(outcome.actions, [Action::Reset { serial: old, ending: Ending::GuestReset }]);
    assert_eq!(proxy.nat().map(|nat| nat.live()), Some(vec![new]));
}

#[test]
fn what_came_of_an_upgrade_is_told_when_it_is_agreed_on() {
    let mut proxy = proxy(1);
    let reason = b"it ended at its start: exited with code 3";
    for (at, offset, payload, told) in [(10, 1, &[7; 32][..], None), (11, 0, &reason[..], Some(&reason[..]))] {
        let outcome = vote(&mut proxy, 0, &turn(at, vec![effect(EffectKind::Upgrade, None, offset, payload)]));
        let rolled_back = told.map(|told| told.to_vec().into());
        assert_eq!(outcome.notices, [(GROUP, Notice::Upgraded { position: Position(at), rolled_back })]);
    }
}
