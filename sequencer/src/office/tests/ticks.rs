//! Ticks: when replicas want a turn by themselves.

use super::super::progress::TICKS_AHEAD;
use super::{A, Control, Desk, GroupId, ONE, Position, Progress, Record, Time, millis};

/// A group of three, whose replicas have executed everything.
fn idle() -> Desk {
    let mut desk = Desk::new();
    desk.engine(A, 7, &[]);
    desk.create(ONE, 3);
    desk.work();
    desk
}

fn last(desk: &Desk) -> Position {
    desk.group(ONE).last_turn
}

/// A seat reports its position and its wish.
fn wish(desk: &mut Desk, seat: u8, position: Position, wants: Option<Time>) {
    let progress = desk.at(ONE, position).into_iter().find(|progress| progress.seat.0 == seat).unwrap();
    desk.office.progress(&Progress { wants, ..progress }, desk.now);
}

fn ticks(desk: &mut Desk) -> Vec<(GroupId, Time)> {
    desk.poll().ticks
}

#[test]
fn a_tick_is_due_when_log_time_reaches_the_earliest_wish_of_those_who_executed_everything() {
    let mut desk = idle();
    let (now, at) = (desk.log_time(), last(&desk));
    wish(&mut desk, 0, at, Some(now.plus(millis(50))));
    wish(&mut desk, 1, at, Some(now.plus(millis(30))));
    wish(&mut desk, 2, Position(at.0 - 1), Some(now));
    assert!(ticks(&mut desk).is_empty());
    assert_eq!(desk.office.wants(ONE), Some(now.plus(millis(30))));
    assert_eq!(desk.office.next_deadline(desk.now, desk.log_time()), Some(millis(30)));
    desk.wait(millis(29));
    assert!(ticks(&mut desk).is_empty());
    desk.wait(millis(1));
    assert_eq!(ticks(&mut desk), [(ONE, now.plus(millis(30)))]);
}

#[test]
fn a_tick_is_asked_for_once_until_a_turn_or_a_timeout() {
    let mut desk = idle();
    let (now, at) = (desk.log_time(), last(&desk));
    wish(&mut desk, 0, at, Some(now));
    assert_eq!(ticks(&mut desk), [(ONE, now)]);
    wish(&mut desk, 1, at, Some(now));
    assert!(ticks(&mut desk).is_empty());
    desk.wait(millis(999));
    assert!(ticks(&mut desk).is_empty());
    desk.wait(millis(1));
    assert_eq!(ticks(&mut desk), [(ONE, now)], "it was not seen");
    desk.commit(ONE, &[Record::Tick(now)]);
    assert!(ticks(&mut desk).is_empty(), "nobody has executed it");
    assert_eq!(desk.office.wants(ONE), None);
    let at = last(&desk);
    wish(&mut desk, 0, at, Some(now));
    assert_eq!(ticks(&mut desk), [(ONE, now)], "the replica has more to do");
}

#[test]
fn a_wish_that_changes_is_another() {
    let mut desk = idle();
    let (now, at) = (desk.log_time(), last(&desk));
    wish(&mut desk, 0, at, Some(now.plus(millis(10))));
    assert!(ticks(&mut desk).is_empty());
    wish(&mut desk, 0, at, Some(now));
    assert_eq!(ticks(&mut desk), [(ONE, now)]);
    wish(&mut desk, 0, at, None);
    assert!(ticks(&mut desk).is_empty());
    assert_eq!(desk.office.next_deadline(desk.now, desk.log_time()), None);
}

#[test]
fn a_halted_group_and_lost_replicas_have_no_wishes() {
    let mut desk = idle();
    let (now, at) = (desk.log_time(), last(&desk));
    wish(&mut desk, 0, at, Some(now));
    let lost = desk.seat(0).incarnation;
    desk.office.lost(ONE, refrain_wire::Seat(0), lost, desk.now);
    assert!(ticks(&mut desk).is_empty());
    wish(&mut desk, 1, at, Some(now));
    desk.order(ONE, Control::Halt { position: Position(1) });
    assert!(ticks(&mut desk).is_empty());
    assert_eq!(desk.office.wants(ONE), None);
}

#[test]
fn a_group_whose_history_is_full_gets_no_ticks() {
    let mut desk = idle();
    let (now, at) = (desk.log_time(), last(&desk));
    let bytes = desk.group(ONE).history.unwrap().bytes;
    desk.office.replay_only(ONE, Some(bytes));
    wish(&mut desk, 0, at, Some(now));
    assert!(ticks(&mut desk).is_empty());
    desk.office.replay_only(ONE, Some(bytes + 1));
    assert_eq!(ticks(&mut desk), [(ONE, now)], "one byte below the limit");
    desk.commit(ONE, &[Record::Tick(now)]);
    let at = last(&desk);
    wish(&mut desk, 0, at, Some(now));
    assert!(ticks(&mut desk).is_empty(), "that was the last");
    desk.office.replay_only(ONE, None);
    assert_eq!(ticks(&mut desk), [(ONE, now)], "it may be saved now");
}

#[test]
fn ticks_wait_for_a_majority_that_is_far_behind() {
    let mut desk = idle();
    let (now, begin) = (desk.log_time(), last(&desk));
    (0..3).for_each(|seat| wish(&mut desk, seat, begin, None));
    let ordered = (1..1000).take_while(|_| {
        let at = last(&desk);
        wish(&mut desk, 0, at, Some(now));
        let wanted = !ticks(&mut desk).is_empty();
        desk.commit(ONE, &[Record::Tick(now)]);
        wanted
    });
    assert_eq!(ordered.count(), TICKS_AHEAD, "one replica goes on alone");
    let at = last(&desk);
    wish(&mut desk, 0, at, Some(now));
    wish(&mut desk, 1, begin, None);
    assert!(ticks(&mut desk).is_empty());
    wish(&mut desk, 1, Position(begin.0 + 2), None);
    assert_eq!(ticks(&mut desk), [(ONE, now)], "the second one follows");
}
