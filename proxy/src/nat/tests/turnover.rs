//! A group gets a new kernel, a leader wants another number, the epoch ends.

use super::*;

fn limits_of(window_bytes: u64) -> GroupLimits {
    GroupLimits { window_bytes, ..GroupLimits::default() }
}

#[test]
fn after_an_upgrade_only_flows_that_are_not_committed_have_the_new_window() {
    let mut nat = nat();
    let committed = opened(&mut nat);
    let on_its_way = accept(&mut nat);
    let submission = nat.take_submission().expect("the open is due");
    let waits = accept(&mut nat);
    nat.update_group(GROUP, limits_of(4 * WINDOW));
    nat.committed(submission.id);
    let later = nat.accept(GROUP, 80, peer(2), NOW).expect("the table has room");
    let mut readable = |serial| nat.readable_bytes(serial) as u64;
    assert_eq!(readable(committed), WINDOW, "its kernel has this window, and resets it");
    for serial in [on_its_way, waits, later] {
        assert_eq!(readable(serial), 4 * WINDOW);
    }
}

#[test]
fn a_client_that_waited_for_the_smaller_window_is_read_again_after_an_upgrade() {
    let mut nat = nat();
    let (old, new) = (opened(&mut nat), accept(&mut nat));
    for serial in [old, new] {
        nat.received(serial, &[0; WINDOW as usize], NOW);
        assert_eq!(nat.readable_bytes(serial), 0);
    }
    nat.update_group(GROUP, limits_of(2 * WINDOW));
    assert_eq!(nat.take_resumed(), [new]);
    assert_eq!(nat.readable_bytes(new) as u64, WINDOW);
    nat.update_group(GROUP, limits_of(WINDOW / 2));
    assert_eq!(nat.readable_bytes(new), 0, "more than the window is under way");
}

#[test]
fn credit_follows_the_window_of_the_flows_kernel() {
    let mut nat = nat();
    let old = opened(&mut nat);
    nat.update_group(GROUP, limits_of(4 * WINDOW));
    let new = opened(&mut nat);
    for serial in [old, new] {
        emit(&mut nat, serial, 0, &[1; WINDOW as usize]);
        nat.delivered(serial, WINDOW / 2, NOW);
    }
    assert_eq!(taken(&mut nat)[..], [Record::Credit { serial: old, delivered: WINDOW / 2 }]);
}

#[test]
fn an_upgraded_group_has_its_new_limits_on_connections_at_once() {
    let mut nat = nat();
    opened(&mut nat);
    nat.update_group(GROUP, GroupLimits { connections: Some(1), ..GroupLimits::default() });
    assert_eq!(nat.accept(GROUP, 80, peer(2), NOW), Err(Refused::TooMany { limit: 1 }));
}

#[test]
fn what_a_leader_expects_is_sent_from_there_and_nothing_is_taken_for_committed() {
    let mut nat = nat();
    let serial = accept(&mut nat);
    let mut submissions = Vec::new();
    for _ in 0..3 {
        submissions.extend(nat.take_submission());
        nat.received(serial, b"x", NOW);
    }
    let id = |number| SubmissionId { epoch: EPOCH, number };
    assert_eq!(nat.resend_from(id(2)), submissions[1..]);
    assert_eq!(nat.resend_from(id(4)), [], "the leader has all of them");
    assert_eq!(nat.in_flight(), 3, "and may still lose them");
    nat.committed(id(1));
    assert_eq!(nat.resend_from(id(1)), [], "the leader is behind");
    assert_eq!(nat.resend_from(SubmissionId { epoch: Epoch(1), number: 2 }), [], "of another epoch");
}

#[test]
fn the_end_of_each_flow_that_is_given_up_is_told_again_in_what_follows() {
    let mut nat = nat();
    let serial = accept(&mut nat);
    nat.take_submission().expect("the open is due");
    nat.received(serial, b"waits", NOW);
    assert_eq!(nat.give_up().over, [serial]);
    let next = nat.take_submission().expect("its data and its end are due");
    let reset = Record::Reset { serial, reason: ResetReason::Operator };
    assert_eq!(of_group(&next, GROUP).last(), Some(&reset));
}

#[test]
fn at_the_end_of_an_epoch_a_flow_was_not_accepted_if_nothing_of_it_was_given_to_the_sequencer() {
    let mut nat = nat();
    let accepted = accept(&mut nat);
    let submission = nat.take_submission().expect("the open is due");
    nat.given(submission.id);
    let kept_back = accept(&mut nat);
    nat.received(accepted, b"x", NOW);
    nat.take_submission().expect("the second open is due, and no leader takes it");
    let waits = accept(&mut nat);
    nat.end_epoch();
    let mut ending = |serial| nat.gone(serial, NOW).map(|closed| closed.ending);
    assert_eq!(ending(accepted), Some(Ending::OutcomeUnknown));
    assert_eq!(ending(kept_back), Some(Ending::NotAccepted));
    assert_eq!(ending(waits), Some(Ending::NotAccepted));
}

#[test]
fn at_the_end_of_an_epoch_a_flow_that_was_over_keeps_its_ending() {
    let mut nat = nat();
    let serial = opened(&mut nat);
    nat.guest_reset(GROUP, serial);
    nat.end_epoch();
    assert_eq!(nat.gone(serial, NOW).map(|closed| closed.ending), Some(Ending::GuestReset));
}
