//! Audits, checkpoints, roots, and how far the log may be cut.

use super::{
    A, Alert, B, C, Control, Desk, Digest, Epoch, GroupId, Incarnation, ONE, Options, Position, Progress, Record, Seat,
    Time, millis,
};
use crate::shard::CAPTURE_PATIENCE;

/// Three replicas of a group whose log is asked to be checkpointed after ten batches.
fn three() -> Desk {
    let mut desk = Desk::with(Options { checkpoint_batches: 10, ..Options::default() });
    for node in [A, B, C] {
        desk.engine(node, 7, &[]);
    }
    desk.create(ONE, 3);
    desk.work();
    desk
}

fn batches(desk: &mut Desk, count: usize) {
    for _ in 0..count {
        desk.commit(ONE, &[Record::Tick(Time::default())]);
    }
}

/// Ten batches, and the checkpoint that follows; its position.
fn checkpoint(desk: &mut Desk) -> Position {
    desk.wait(millis(1000));
    batches(desk, 10);
    assert_eq!(desk.work(), [(ONE, Control::Checkpoint)]);
    desk.shard.position()
}

/// The seats report these roots for a position.
fn roots(desk: &mut Desk, at: Position, roots: &[(u8, u8)]) {
    for (seat, root) in roots {
        let progress = desk.at(ONE, at).into_iter().find(|progress| progress.seat.0 == *seat).unwrap();
        desk.office.progress(&Progress { root: Some((at, [*root; 32])), ..progress }, desk.now);
    }
}

fn rooted(at: Position, root: u8) -> (GroupId, Control) {
    (ONE, Control::Rooted { position: at, root: [root; 32] })
}

fn renew(desk: &mut Desk, epoch: Epoch, released: Position) {
    assert!(desk.office.renew(epoch, desk.now, &[(ONE, released)]));
}

#[test]
fn an_audit_is_asked_for_after_so_many_batches() {
    let mut desk = Desk::with(Options { audit_batches: 20, checkpoint_batches: u64::MAX, ..Options::default() });
    desk.create(ONE, 3);
    batches(&mut desk, 18);
    assert!(desk.work().is_empty());
    batches(&mut desk, 1);
    assert_eq!(desk.work(), [(ONE, Control::Audit)]);
    batches(&mut desk, 19);
    assert!(desk.work().is_empty());
    desk.elect();
    batches(&mut desk, 1);
    assert_eq!(desk.work(), [(ONE, Control::Audit)], "a new leader goes on counting");
}

#[test]
fn a_checkpoint_is_asked_for_after_so_many_batches_bytes_or_changed_memory() {
    let mut desk = three();
    batches(&mut desk, 6);
    assert_eq!(desk.group(ONE).uncaptured_batches, 10);
    assert_eq!(desk.asked(), [(ONE, Control::Checkpoint)]);
    let options = Options { checkpoint_bytes: 1000, ..Options::default() };
    let mut desk = Desk { office: super::Office::take_office(options, desk.now, &desk.shard), ..desk };
    assert!(desk.asked().is_empty());
    batches(&mut desk, 20);
    assert_eq!(desk.asked(), [(ONE, Control::Checkpoint)]);
    let mut desk = three();
    let progress = Progress { dirty_bytes: 64 * 1024 * 1024, ..desk.at(ONE, Position(1))[0] };
    desk.office.progress(&Progress { dirty_bytes: progress.dirty_bytes - 1, ..progress }, desk.now);
    assert!(desk.asked().is_empty());
    desk.office.progress(&progress, desk.now);
    assert_eq!(desk.asked(), [(ONE, Control::Checkpoint)]);
}

#[test]
fn one_checkpoint_is_under_way_at_a_time_and_the_next_comes_after_a_pause() {
    let mut desk = three();
    let at = checkpoint(&mut desk);
    batches(&mut desk, 100);
    desk.work_for(millis(500));
    assert_eq!(desk.group(ONE).capture.unwrap().position, at);
    roots(&mut desk, at, &[(0, 1), (1, 1)]);
    assert_eq!(desk.work(), [rooted(at, 1)]);
    assert!(desk.work().is_empty());
    desk.wait(millis(499));
    assert!(desk.work().is_empty());
    desk.wait(millis(1));
    assert_eq!(desk.work(), [(ONE, Control::Checkpoint)]);
}

#[test]
fn a_checkpoint_that_is_not_agreed_on_is_given_up_and_asked_for_again() {
    let mut desk = three();
    let at = checkpoint(&mut desk);
    desk.work_for(CAPTURE_PATIENCE - millis(1));
    assert_eq!(desk.group(ONE).capture.unwrap().position, at);
    desk.wait(millis(1));
    let due = desk.poll();
    assert_eq!(due.controls, [(ONE, Control::Checkpoint)], "though nothing has happened since");
    assert_eq!(due.alerts, [(ONE, Alert::GivenUp(at))]);
}

#[test]
fn a_root_is_agreed_on_by_a_majority_of_all_seats_for_one_position() {
    let mut desk = three();
    let at = checkpoint(&mut desk);
    batches(&mut desk, 2);
    roots(&mut desk, at, &[(0, 1)]);
    roots(&mut desk, at.next(), &[(1, 1)]);
    assert!(desk.work().is_empty(), "captured at different positions");
    roots(&mut desk, at.next(), &[(2, 1)]);
    assert_eq!(desk.work(), [rooted(at.next(), 1)]);
    assert_eq!(desk.group(ONE).checkpoint.unwrap().position, at.next());
    assert!(desk.work().is_empty());
}

#[test]
fn two_of_five_are_no_majority_however_few_are_there() {
    let mut desk = Desk::with(Options { checkpoint_batches: 10, ..Options::default() });
    desk.engine(A, 7, &[]);
    desk.create(ONE, 5);
    desk.work();
    for (seat, incarnation) in [(2, 1), (3, 1), (4, 1)] {
        desk.office.lost(ONE, Seat(seat), Incarnation(incarnation), desk.now);
    }
    let at = checkpoint_without_seats(&mut desk);
    roots(&mut desk, at, &[(0, 1), (1, 1)]);
    let asked = desk.asked();
    assert!(!asked.iter().any(|(_, control)| matches!(control, Control::Rooted { .. })), "{asked:?}");
}

fn checkpoint_without_seats(desk: &mut Desk) -> Position {
    batches(desk, 10);
    assert!(desk.asked().contains(&(ONE, Control::Checkpoint)));
    desk.order(ONE, Control::Checkpoint);
    desk.shard.position()
}

#[test]
fn a_seat_with_another_root_is_put_out_even_when_it_comes_late() {
    let mut desk = three();
    let at = checkpoint(&mut desk);
    roots(&mut desk, at, &[(0, 1), (1, 2), (2, 1)]);
    let quarantine = |seat: u8, incarnation: u32, root: u8| {
        let short = |root: u8| Digest([root; 16]);
        let (voted, agreed) = (short(root), short(1));
        let incarnation = Incarnation(incarnation);
        (ONE, Control::Quarantine { seat: Seat(seat), incarnation, position: at, voted, agreed })
    };
    assert_eq!(desk.work(), [rooted(at, 1), quarantine(1, 1, 2)]);
    desk.work();
    roots(&mut desk, at, &[(1, 3)]);
    assert_eq!(desk.work(), [quarantine(1, 2, 3)], "after the root was agreed on");
    assert!(desk.seat(1).kept_out, "that was the second time");
}

#[test]
fn roots_without_a_majority_are_told_and_audited_once() {
    let mut desk = three();
    let at = checkpoint(&mut desk);
    roots(&mut desk, at, &[(0, 1), (1, 2)]);
    assert!(desk.work().is_empty(), "the third may decide");
    roots(&mut desk, at, &[(2, 3)]);
    let due = desk.poll();
    assert_eq!(due.alerts, [(ONE, Alert::RootsDiffer(at))]);
    assert_eq!(due.controls, [(ONE, Control::Audit)]);
    desk.order(ONE, Control::Audit);
    desk.work_for(millis(60_000));
    assert_eq!(desk.group(ONE).unaudited_batches, 0);
}

#[test]
fn replicas_begin_with_the_newest_checkpoint_that_living_proxies_have_released() {
    let mut desk = three();
    let epoch = desk.open_epoch(1, 10);
    let first = checkpoint(&mut desk);
    roots(&mut desk, first, &[(0, 1), (1, 1)]);
    desk.work();
    let from = |desk: &mut Desk| {
        let incarnation = desk.seat(2).incarnation;
        desk.office.lost(ONE, Seat(2), incarnation, desk.now);
        let asked = desk.work();
        desk.wait(millis(70_000));
        desk.office.submitted(epoch, desk.now);
        match asked.as_slice() {
            [(_, Control::TakeSeat { from, .. })] => Some(*from),
            _ => None,
        }
    };
    assert_eq!(from(&mut desk), None, "the proxy has not told yet");
    renew(&mut desk, epoch, Position(first.0 - 1));
    desk.wait(millis(70_000));
    desk.office.submitted(epoch, desk.now);
    desk.work();
    assert_eq!(desk.seat(2).from, Position(0), "it still needs votes for what lies before");
    renew(&mut desk, epoch, first);
    assert_eq!(from(&mut desk), Some(first));
    let second = checkpoint(&mut desk);
    roots(&mut desk, second, &[(0, 2), (1, 2)]);
    desk.work();
    assert_eq!(from(&mut desk), Some(first), "the newest is not released");
    let epoch = desk.open_epoch(1, 11);
    assert_eq!(desk.shard.epochs()[&epoch].opened_at, desk.shard.position());
    desk.wait(millis(70_000));
    let incarnation = desk.seat(2).incarnation;
    desk.office.submitted(epoch, desk.now);
    desk.office.lost(ONE, Seat(2), incarnation, desk.now);
    desk.work();
    assert_eq!(desk.seat(2).from, second, "a proxy that started later has nothing to do with it");
}

#[test]
fn a_seat_stays_empty_while_neither_of_two_checkpoints_is_released() {
    let mut desk = three();
    let epoch = desk.open_epoch(1, 10);
    let first = checkpoint(&mut desk);
    roots(&mut desk, first, &[(0, 1), (1, 1), (2, 1)]);
    desk.work();
    // It was asked for before the first was agreed on, and is ordered only now.
    desk.order(ONE, Control::Checkpoint);
    let second = desk.shard.position();
    roots(&mut desk, second, &[(0, 2), (1, 2), (2, 2)]);
    desk.work();
    let agreed = |desk: &Desk| desk.group(ONE).checkpoints().map(|one| one.position).collect::<Vec<_>>();
    assert_eq!(agreed(&desk), [second, first]);
    renew(&mut desk, epoch, Position(first.0 - 1));
    let incarnation = desk.seat(2).incarnation;
    desk.office.lost(ONE, Seat(2), incarnation, desk.now);
    assert_eq!(desk.work(), [], "the proxy needs votes for what lies before both");
    renew(&mut desk, epoch, first);
    desk.work();
    assert_eq!(desk.seat(2).from, first);
}

#[test]
fn no_checkpoint_is_asked_for_before_everybody_has_released_the_last() {
    let mut desk = three();
    let epoch = desk.open_epoch(1, 10);
    let first = checkpoint(&mut desk);
    roots(&mut desk, first, &[(0, 1), (1, 1)]);
    desk.work();
    desk.wait(millis(1000));
    batches(&mut desk, 50);
    assert!(desk.work().is_empty());
    renew(&mut desk, epoch, Position(first.0 - 1));
    assert!(desk.work().is_empty());
    renew(&mut desk, epoch, first);
    assert_eq!(desk.work(), [(ONE, Control::Checkpoint)]);
}

#[test]
fn the_log_is_cut_behind_what_every_group_and_every_proxy_is_done_with() {
    let mut desk = three();
    assert_eq!(desk.office.cut_position(&super::ShardState::new(), desk.now), Position(0));
    let created = desk.group(ONE).created;
    assert_eq!(desk.office.cut_position(&desk.shard, desk.now).next(), created, "nothing is agreed on");
    let epoch = desk.open_epoch(1, 10);
    let first = checkpoint(&mut desk);
    roots(&mut desk, first, &[(0, 1), (1, 1), (2, 1)]);
    desk.work();
    let cut = |desk: &mut Desk| desk.office.cut_position(&desk.shard, desk.now);
    assert_eq!(cut(&mut desk).next(), created, "the proxy has not released it");
    renew(&mut desk, epoch, first);
    assert_eq!(cut(&mut desk), first);
    let second = checkpoint(&mut desk);
    roots(&mut desk, second, &[(0, 2), (1, 2), (2, 2)]);
    desk.work();
    assert_eq!(cut(&mut desk), first, "the newest is not released");
    renew(&mut desk, epoch, second);
    assert_eq!(cut(&mut desk), second);
    desk.create(GroupId(2), 1);
    let other = desk.group(GroupId(2)).created;
    assert_eq!(cut(&mut desk), second, "the other group is younger");
    desk.elect();
    assert_eq!(cut(&mut desk).next(), created, "a new leader has to be told first");
    let all = desk.shard.position();
    renew(&mut desk, epoch, all);
    for progress in desk.at(ONE, second) {
        desk.office.progress(&progress, desk.now);
    }
    assert_eq!(cut(&mut desk), second.min(other));
}

#[test]
fn the_log_is_not_cut_under_a_replica_that_is_on_its_way_but_under_one_that_stands_still() {
    let mut desk = three();
    let at = checkpoint(&mut desk);
    roots(&mut desk, at, &[(0, 1), (1, 1)]);
    let slow = Progress { position: Position(4), ..desk.at(ONE, at)[2] };
    desk.office.progress(&slow, desk.now);
    desk.work();
    let cut = |desk: &mut Desk| desk.office.cut_position(&desk.shard, desk.now);
    assert_eq!(cut(&mut desk), Position(4));
    desk.wait(millis(9000));
    desk.office.progress(&Progress { position: Position(6), ..slow }, desk.now);
    desk.wait(millis(9999));
    assert_eq!(cut(&mut desk), Position(6));
    desk.wait(millis(1));
    assert_eq!(cut(&mut desk), at);
}

#[test]
fn the_log_waits_longer_for_a_replica_that_is_fetching_what_it_begins_with() {
    let mut desk = three();
    let at = checkpoint(&mut desk);
    roots(&mut desk, at, &[(0, 1), (1, 1)]);
    // Its engine says that it is there, and nothing more.
    let third = Progress { position: Position(0), ..desk.at(ONE, at)[2] };
    desk.office.progress(&third, desk.now);
    desk.work();
    let created = desk.group(ONE).created;
    let cut = |desk: &mut Desk| desk.office.cut_position(&desk.shard, desk.now);
    // It took its seat a second before the checkpoint.
    desk.wait(millis(118_999));
    assert_eq!(cut(&mut desk).next(), created);
    desk.wait(millis(1));
    assert_eq!(cut(&mut desk), at);
}

#[test]
fn the_log_waits_no_longer_for_one_whose_engine_is_gone() {
    let mut desk = three();
    let at = checkpoint(&mut desk);
    roots(&mut desk, at, &[(0, 1), (1, 1)]);
    desk.work();
    let (created, third) = (desk.group(ONE).created, desk.seat(2).node.unwrap());
    desk.office.node_gone(third, desk.now);
    let cut = |desk: &mut Desk| desk.office.cut_position(&desk.shard, desk.now);
    desk.wait(millis(8_999));
    assert_eq!(cut(&mut desk).next(), created);
    desk.wait(millis(1));
    assert_eq!(cut(&mut desk), at);
}

#[test]
fn a_group_whose_guests_cannot_be_saved_does_not_hold_the_log() {
    let mut desk = three();
    let cut = |desk: &mut Desk| desk.office.cut_position(&desk.shard, desk.now);
    desk.office.replay_only(ONE, Some(u64::MAX));
    batches(&mut desk, 100);
    assert!(desk.work().is_empty(), "no checkpoint is asked for");
    assert_eq!(cut(&mut desk), desk.shard.position());
    desk.create(GroupId(2), 1);
    desk.work();
    let other = desk.group(GroupId(2)).created;
    assert_eq!(cut(&mut desk).next(), other, "the other group does");
    // It is upgraded to a module that can be saved, and later back.
    desk.office.replay_only(GroupId(2), Some(u64::MAX));
    desk.office.replay_only(ONE, None);
    let created = desk.group(ONE).created;
    assert_eq!(cut(&mut desk).next(), created);
    assert_eq!(desk.work(), [(ONE, Control::Checkpoint)]);
    let epoch = desk.open_epoch(1, 10);
    batches(&mut desk, 1);
    let at = desk.shard.position();
    batches(&mut desk, 1);
    let asked = desk.group(ONE).capture.unwrap().position;
    roots(&mut desk, at, &[(0, 1), (1, 1), (2, 1)]);
    assert_eq!(desk.work(), [rooted(at, 1)]);
    assert!(asked < at);
    desk.office.replay_only(ONE, Some(u64::MAX));
    assert_eq!(cut(&mut desk).next(), created, "a proxy may need votes for what lies before the checkpoint");
    renew(&mut desk, epoch, at);
    assert_eq!(cut(&mut desk), desk.shard.position());
    desk.office.replay_only(ONE, None);
    assert_eq!(cut(&mut desk), asked, "its history would begin there");
}
