//! Who gets which seat, and when.

use std::collections::BTreeSet;

use super::{
    A, Alert, B, C, Control, Desk, Digest, GroupId, Incarnation, NodeId, ONE, Options, Position, Progress, Seat, key,
    millis, report,
};

/// Three engines, and a group with a seat on each.
fn three() -> Desk {
    let mut desk = Desk::new();
    for node in [A, B, C] {
        desk.engine(node, 7, &[]);
    }
    desk.create(ONE, 3);
    desk.work();
    assert_eq!(desk.holders(ONE), [Some(1), Some(2), Some(3)]);
    desk
}

fn takes(asked: &[(GroupId, Control)]) -> Vec<(u8, u32, u64)> {
    let take = |control: &Control| match control {
        Control::TakeSeat { seat, incarnation, node, .. } => Some((seat.0, incarnation.0, node.0)),
        _ => None,
    };
    asked.iter().filter_map(|(_, control)| take(control)).collect()
}

fn quarantine(desk: &mut Desk, seat: u8) {
    let incarnation = desk.seat(seat).incarnation;
    let control = Control::Quarantine {
        seat: Seat(seat),
        incarnation,
        position: Position(1),
        voted: Digest::of(b"a"),
        agreed: Digest::of(b"b"),
    };
    assert!(desk.order(ONE, control));
}

#[test]
fn seats_go_to_the_engines_with_the_fewest_of_the_group_then_of_all_then_by_number() {
    let mut desk = three();
    desk.create(GroupId(2), 1);
    desk.work();
    assert_eq!(desk.holders(GroupId(2)), [Some(1)], "all are equal");
    desk.create(GroupId(3), 5);
    desk.work();
    assert_eq!(desk.holders(GroupId(3)), [Some(2), Some(3), Some(1), Some(2), Some(3)], "fewest of all, then of it");
    assert!(desk.asked().is_empty(), "nothing more to do");
}

#[test]
fn one_engine_alone_gets_all_seats_at_once() {
    let mut desk = Desk::with(Options { engines: BTreeSet::from([A]), ..Options::default() });
    desk.engine(A, 7, &[]);
    desk.create(ONE, 3);
    desk.work();
    assert_eq!(desk.holders(ONE), [Some(1); 3]);
}

#[test]
fn a_second_seat_on_one_engine_waits_for_those_that_are_configured_and_not_there() {
    let (engines, apart) = (BTreeSet::from([A, B, C]), Some(millis(600_000)));
    let mut desk = Desk::with(Options { engines, apart, ..Options::default() });
    desk.engine(A, 7, &[]);
    desk.create(ONE, 3);
    desk.work();
    assert_eq!(desk.holders(ONE), [Some(1), None, None]);
    desk.wait(millis(100));
    desk.engine(B, 8, &[]);
    desk.work();
    assert_eq!(desk.holders(ONE), [Some(1), Some(2), None]);
    desk.work_for(millis(599_800));
    assert_eq!(desk.holders(ONE), [Some(1), Some(2), None], "C may still come");
    desk.work_for(millis(200));
    assert_eq!(desk.holders(ONE), [Some(1), Some(2), Some(1)], "it did not");
}

#[test]
fn where_seats_outnumber_engines_a_second_seat_on_one_waits_less() {
    let mut desk = Desk::with(Options { engines: BTreeSet::from([A, B]), ..Options::default() });
    desk.engine(A, 7, &[]);
    desk.create(ONE, 3);
    desk.work_for(millis(4999));
    assert_eq!(desk.holders(ONE), [Some(1), None, None]);
    desk.work_for(millis(2));
    assert_eq!(desk.holders(ONE), [Some(1), Some(1), Some(1)]);
}

#[test]
fn the_seats_of_an_engine_that_is_gone_go_to_others_after_the_time_of_grace() {
    let mut desk = three();
    desk.office.node_gone(C, desk.now);
    assert!(desk.work().is_empty());
    assert_eq!(desk.office.next_deadline(desk.now, desk.log_time()), Some(millis(2000)));
    desk.wait(millis(1999));
    assert!(desk.work().is_empty());
    desk.wait(millis(1));
    assert_eq!(takes(&desk.work()), [(2, 2, 1)]);
}

#[test]
fn an_engine_that_comes_back_in_time_with_its_replicas_keeps_its_seats() {
    let mut desk = three();
    desk.office.node_gone(C, desk.now);
    desk.wait(millis(1500));
    desk.engine(C, 7, &[report(ONE, 2, 1)]);
    desk.work_for(millis(10_000));
    assert_eq!(desk.seat(2).incarnation, Incarnation(1));
}

#[test]
fn an_engine_that_started_anew_gets_its_seats_again_at_once() {
    let mut desk = three();
    desk.office.node_gone(C, desk.now);
    desk.wait(millis(10));
    desk.engine(C, 8, &[]);
    assert_eq!(takes(&desk.work()), [(2, 2, 3)]);
    desk.engine(B, 8, &[]);
    assert_eq!(takes(&desk.work()), [(1, 2, 2)], "its stream need not have broken first");
}

#[test]
fn a_seat_stays_with_an_engine_that_is_gone_when_nobody_else_is_there() {
    let mut desk = Desk::new();
    desk.engine(A, 7, &[]);
    desk.create(ONE, 1);
    desk.work();
    desk.office.node_gone(A, desk.now);
    desk.work_for(millis(60_000));
    assert_eq!(desk.holders(ONE), [Some(1)]);
    desk.engine(A, 7, &[report(ONE, 0, 1)]);
    desk.work_for(millis(60_000));
    assert_eq!(desk.seat(0).incarnation, Incarnation(1), "it still runs its replica");
}

#[test]
fn a_new_leader_leaves_seats_with_engines_that_report_their_replicas() {
    let mut desk = three();
    desk.elect();
    for (node, seat) in [(A, 0), (B, 1), (C, 2)] {
        desk.wait(millis(500));
        desk.engine(node, 7, &[report(ONE, seat, 1)]);
    }
    desk.work_for(millis(20_000));
    assert!(desk.group(ONE).seats.iter().all(|seat| seat.incarnation == Incarnation(1)));
}

#[test]
fn a_new_leader_has_seats_taken_anew_whose_replicas_are_not_reported() {
    let mut desk = three();
    desk.elect();
    desk.engine(A, 9, &[]);
    assert_eq!(takes(&desk.work()), [(0, 2, 1)], "it started anew while there was no leader");
    desk.office.engine(B, 7, key(), desk.now);
    desk.work_for(millis(1999));
    assert_eq!(desk.seat(1).incarnation, Incarnation(1), "it may still report");
    desk.work_for(millis(1));
    assert_eq!(desk.seat(1).incarnation, Incarnation(2));
    desk.work_for(millis(2999));
    assert_eq!(desk.holders(ONE)[2], Some(3), "it may still come");
    desk.work_for(millis(1));
    assert_ne!(desk.holders(ONE)[2], Some(3), "it did not");
}

#[test]
fn a_quarantined_seat_is_rebuilt_once_an_hour_and_then_kept_out_with_one_alert() {
    let mut desk = three();
    quarantine(&mut desk, 1);
    assert_eq!(takes(&desk.work()), [(1, 2, 2)], "where its state is");
    desk.wait(millis(60_000));
    quarantine(&mut desk, 1);
    let due = desk.poll();
    assert!(due.controls.is_empty());
    assert_eq!(due.alerts, [(ONE, Alert::KeptOut(Seat(1)))]);
    desk.order(ONE, Control::Audit);
    assert!(desk.poll().alerts.is_empty(), "told once");
    desk.work_for(millis(100_000));
    assert_eq!(desk.holders(ONE), [Some(1), None, Some(3)]);
    let operator = Control::TakeSeat { seat: Seat(1), incarnation: Incarnation(3), node: B, from: Position(0) };
    assert!(desk.order(ONE, operator));
    desk.wait(millis(3_600_000));
    quarantine(&mut desk, 1);
    assert_eq!(takes(&desk.work()), [(1, 4, 2)]);
}

#[test]
fn a_lost_replica_is_replaced_at_once_then_later_and_then_elsewhere() {
    let mut desk = Desk::new();
    for node in [A, B] {
        desk.engine(node, 7, &[]);
    }
    desk.create(ONE, 1);
    desk.work();
    let lose = |desk: &mut Desk| {
        let incarnation = desk.seat(0).incarnation;
        desk.office.lost(ONE, Seat(0), incarnation, desk.now);
    };
    lose(&mut desk);
    assert_eq!(takes(&desk.work()), [(0, 2, 1)]);
    lose(&mut desk);
    assert!(desk.work().is_empty());
    desk.work_for(millis(1000));
    assert_eq!(desk.holders(ONE), [Some(2)], "A failed twice");
    lose(&mut desk);
    desk.work_for(millis(1999));
    assert_eq!(desk.seat(0).incarnation, Incarnation(3));
    desk.work_for(millis(1));
    assert_eq!(desk.seat(0).incarnation, Incarnation(4));
    desk.office.lost(ONE, Seat(0), Incarnation(3), desk.now);
    assert!(desk.work().is_empty(), "that was an earlier holder");
}

#[test]
fn no_seat_goes_to_an_engine_that_cannot_replay_the_group() {
    let mut desk = Desk::new();
    desk.office.engine(A, 7, Digest::of(b"other"), desk.now);
    desk.create(ONE, 1);
    let due = desk.poll();
    assert!(due.controls.is_empty());
    assert_eq!(due.alerts, [(ONE, Alert::NoEngine)]);
    desk.engine(B, 7, &[]);
    assert_eq!(takes(&desk.work()), [(0, 1, 2)]);
    assert!(desk.order(ONE, Control::Upgrade { bundle: [8; 32], engine: Digest::of(b"other") }));
    assert_eq!(takes(&desk.work()), [(0, 2, 1)], "the group has another key now");
}

#[test]
fn a_halted_group_gets_no_replicas_and_all_of_them_when_it_is_resumed() {
    let mut desk = three();
    assert!(desk.order(ONE, Control::Halt { position: Position(2) }));
    desk.work_for(millis(60_000));
    assert_eq!(desk.holders(ONE), [None; 3]);
    assert!(desk.order(ONE, Control::Resume));
    desk.work();
    assert_eq!(desk.holders(ONE).iter().flatten().collect::<BTreeSet<_>>().len(), 3, "one on each");
    assert!(desk.group(ONE).seats.iter().all(|seat| seat.incarnation == Incarnation(2)));
}

#[test]
fn new_seats_are_filled_and_those_given_up_are_forgotten() {
    let mut desk = three();
    assert!(desk.order(ONE, Control::Resize { seats: 5 }));
    assert_eq!(takes(&desk.work()), [(3, 1, 1), (4, 1, 2)]);
    assert!(desk.order(ONE, Control::Resize { seats: 1 }));
    desk.office.node_gone(C, desk.now);
    desk.work_for(millis(10_000));
    assert_eq!(desk.holders(ONE), [Some(1)]);
}

#[test]
fn a_group_that_cannot_decide_its_turns_is_told_apart() {
    let mut desk = three();
    assert_eq!(desk.office.too_few_voters(ONE, &desk.shard), None);
    let lose = |desk: &mut Desk, seat: u8| {
        let incarnation = desk.seat(seat).incarnation;
        desk.office.lost(ONE, Seat(seat), incarnation, desk.now);
    };
    lose(&mut desk, 2);
    assert_eq!(desk.office.too_few_voters(ONE, &desk.shard), None, "two of three are enough");
    lose(&mut desk, 1);
    assert_eq!(desk.office.too_few_voters(ONE, &desk.shard), Some(1));
    desk.work_for(millis(10_000));
    assert_eq!(desk.office.too_few_voters(ONE, &desk.shard), None, "they are taken again");
}

#[test]
fn a_seat_that_was_asked_for_is_not_asked_for_again_before_its_time() {
    let mut desk = Desk::new();
    desk.engine(A, 7, &[]);
    desk.create(ONE, 3);
    assert_eq!(desk.asked().len(), 3);
    let mut again = 0;
    for _ in 0..100 {
        desk.wait(millis(10));
        desk.office.progress(&report(ONE, 0, 1), desk.now);
        again += desk.asked().len();
    }
    assert_eq!(again, 3, "once more after a second");
    desk.engine(B, 7, &[]);
    assert!(desk.asked().is_empty(), "what is on its way is not changed for a better choice");
    desk.office.node_gone(A, desk.now);
    assert_eq!(takes(&desk.asked()), [(0, 1, 2), (1, 1, 2), (2, 1, 2)], "but for one that can still be");
}

#[test]
fn executed_is_what_a_majority_of_all_seats_has_executed() {
    let mut desk = three();
    let report_at = |desk: &mut Desk, seat, position| {
        let progress = Progress { position: Position(position), ..report(ONE, seat, 1) };
        desk.office.progress(&progress, desk.now);
        desk.office.executed(ONE).0
    };
    assert_eq!(report_at(&mut desk, 0, 9), 0);
    assert_eq!(report_at(&mut desk, 1, 5), 5);
    assert_eq!(report_at(&mut desk, 2, 7), 7);
    quarantine(&mut desk, 0);
    assert_eq!(desk.office.executed(ONE).0, 5, "it does not count any more");
    assert_eq!(desk.office.executed(GroupId(9)), Position(0));
}

#[test]
fn a_report_that_comes_before_the_record_of_its_seat_is_kept_for_it() {
    let mut desk = Desk::new();
    desk.engine(A, 7, &[]);
    desk.create(ONE, 1);
    desk.office.progress(&Progress { position: Position(4), ..report(ONE, 0, 1) }, desk.now);
    assert_eq!(desk.office.executed(ONE), Position(0));
    desk.work();
    assert_eq!(desk.office.executed(ONE), Position(4));
    desk.office.progress(&Progress { position: Position(9), ..report(ONE, 0, 3) }, desk.now);
    assert_eq!(desk.office.executed(ONE), Position(4), "nobody has that seat");
    assert_eq!(desk.office.engines().collect::<Vec<NodeId>>(), [A]);
}
