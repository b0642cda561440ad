//! When a seat moves from an engine that has two of a group.

use super::{A, B, C, Control, Desk, GroupId, Incarnation, NodeId, ONE, Options, Position, Seat, millis};

/// A group with all its seats on one engine, whose replicas follow the log.
fn all_on_one(options: Options, seats: u8) -> Desk {
    let mut desk = Desk::with(options);
    desk.engine(A, 7, &[]);
    desk.create(ONE, seats);
    desk.work();
    assert_eq!(desk.holders(ONE), vec![Some(1); usize::from(seats)]);
    desk.follow();
    desk
}

impl Desk {
    /// Every replica has done every turn, and its engine says so.
    fn follow(&mut self) {
        let last = self.group(ONE).last_turn;
        for progress in self.at(ONE, last) {
            self.office.progress(&progress, self.now);
        }
    }
}

#[test]
fn seats_spread_over_engines_that_came_one_after_another() {
    let mut desk = all_on_one(Options::default(), 3);
    desk.wait(millis(1000));
    desk.engine(B, 8, &[]);
    desk.engine(C, 9, &[]);
    desk.work_for(millis(4999));
    assert_eq!(desk.holders(ONE), [Some(1); 3], "they may be gone again soon");
    desk.work_for(millis(1));
    assert_eq!(desk.holders(ONE), [Some(1), Some(1), Some(2)]);
    desk.work_for(millis(60_000));
    assert_eq!(desk.holders(ONE), [Some(1), Some(1), Some(2)], "the first has not caught up");
    desk.follow();
    desk.work();
    assert_eq!(desk.holders(ONE), [Some(1), Some(3), Some(2)]);
    desk.follow();
    desk.work_for(millis(600_000));
    assert_eq!(desk.holders(ONE), [Some(1), Some(3), Some(2)], "and there they stay");
    assert_eq!(desk.seat(0).incarnation, Incarnation(1), "one of them never moved");
}

#[test]
fn a_seat_comes_back_to_an_engine_that_returns_late() {
    let mut desk = Desk::new();
    for node in [A, B, C] {
        desk.engine(node, 7, &[]);
    }
    desk.create(ONE, 3);
    desk.work();
    desk.office.node_gone(C, desk.now);
    desk.work_for(millis(2000));
    assert_eq!(desk.holders(ONE), [Some(1), Some(2), Some(1)]);
    desk.follow();
    desk.engine(C, 8, &[]);
    desk.work_for(millis(5000));
    assert_eq!(desk.holders(ONE), [Some(1), Some(2), Some(3)]);
}

#[test]
fn no_seat_moves_when_those_that_stay_are_no_quorum_or_one_of_them_is_not_well() {
    let mut desk = all_on_one(Options::default(), 1);
    desk.engine(B, 8, &[]);
    desk.work_for(millis(60_000));
    assert_eq!(desk.holders(ONE), [Some(1)], "it has no double");
    let mut desk = all_on_one(Options::default(), 3);
    let incarnation = desk.seat(0).incarnation;
    let (voted, agreed) = (super::key(), super::key());
    let position = Position(1);
    assert!(desk.order(ONE, Control::Quarantine { seat: Seat(0), incarnation, position, voted, agreed }));
    desk.engine(B, 8, &[]);
    desk.poll();
    desk.wait(millis(60_000));
    let moves =
        desk.asked().iter().filter(|(_, asked)| matches!(asked, Control::TakeSeat { seat: Seat(1..), .. })).count();
    assert_eq!(moves, 0, "two of three must stay");
}

#[test]
fn no_seat_moves_to_an_engine_that_cannot_replay_the_group_or_where_that_is_switched_off() {
    let mut desk = all_on_one(Options::default(), 3);
    desk.office.engine(B, 8, refrain_wire::Digest::of(b"other"), desk.now);
    desk.office.reported(B);
    desk.work_for(millis(60_000));
    assert_eq!(desk.holders(ONE), [Some(1); 3]);
    let mut desk = all_on_one(Options { rebalance: None, ..Options::default() }, 3);
    desk.engine(B, 8, &[]);
    desk.work_for(millis(60_000));
    assert_eq!(desk.holders(ONE), [Some(1); 3]);
}

#[test]
fn a_move_is_asked_for_like_anything_else_and_to_the_same_engine() {
    let mut desk = all_on_one(Options::default(), 3);
    desk.engine(B, 8, &[]);
    desk.poll();
    desk.wait(millis(5000));
    let asked = desk.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    desk.engine(NodeId(0), 9, &[]);
    let mut again = 0;
    for _ in 0..100 {
        desk.wait(millis(10));
        desk.follow();
        for (_, control) in desk.asked() {
            assert_eq!(control, asked[0].1, "what is on its way is not changed for a better choice");
            again += 1;
        }
    }
    assert_eq!(again, 1, "once more after a second");
}

#[test]
fn a_seat_whose_replica_failed_lately_stays_where_it_is_for_a_minute() {
    let mut desk = all_on_one(Options::default(), 3);
    desk.engine(B, 8, &[]);
    desk.work_for(millis(5000));
    assert_eq!(desk.holders(ONE), [Some(1), Some(1), Some(2)]);
    for _ in 0..2 {
        let incarnation = desk.seat(2).incarnation;
        desk.office.lost(ONE, Seat(2), incarnation, desk.now);
        desk.work_for(millis(1000));
    }
    assert_eq!(desk.holders(ONE), [Some(1); 3], "it failed twice there");
    desk.follow();
    desk.work_for(millis(58_000));
    assert_eq!(desk.holders(ONE), [Some(1); 3]);
    desk.work_for(millis(2000));
    assert_eq!(desk.holders(ONE), [Some(1), Some(1), Some(2)]);
    assert_eq!(desk.holders(GroupId(1)), desk.holders(ONE));
}
