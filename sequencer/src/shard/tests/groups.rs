//! What controls do to a group: seats, their number, programs, checkpoints.

use std::time::Duration;

use super::{
    Applied, Control, Digest, GroupId, Incarnation, NodeId, ONE, Position, Record, Seat, ShardState, Time, apply_at,
    batch, create, open, started,
};
use crate::shard::{CAPTURE_PATIENCE, Checkpoint, Group, MAX_EARLIER_PROGRAMS, QUARANTINE_MEMORY};

const SECOND: u64 = 1_000_000;

fn take_from(seat: u8, incarnation: u32, from: u64) -> Control {
    Control::TakeSeat {
        seat: Seat(seat),
        incarnation: Incarnation(incarnation),
        node: NodeId(u64::from(seat) + 1),
        from: Position(from),
    }
}

fn take(seat: u8, incarnation: u32) -> Control {
    take_from(seat, incarnation, 0)
}

fn quarantine(seat: u8, incarnation: u32) -> Control {
    Control::Quarantine {
        seat: Seat(seat),
        incarnation: Incarnation(incarnation),
        position: Position(1),
        voted: Digest::of(b"a"),
        agreed: Digest::of(b"b"),
    }
}

fn rooted(position: u64, root: u8) -> Control {
    Control::Rooted { position: Position(position), root: [root; 32] }
}

fn upgrade(bundle: u8) -> Control {
    Control::Upgrade { bundle: [bundle; 32], engine: Digest::of(b"engine") }
}

/// A state with a group, and the means to try controls on it.
struct Tried(ShardState);

impl Tried {
    fn new() -> Self {
        Self(started())
    }

    fn group(&self) -> &Group {
        &self.0.groups()[&ONE]
    }

    fn at(&mut self, seconds: u64, control: Control) -> Applied {
        apply_at(&mut self.0, seconds * SECOND, &[], &[batch(ONE, &[Record::Control(control)])])
    }

    /// Whether the control is honoured, a second after nothing has happened yet.
    fn honours(&mut self, control: Control) -> bool {
        self.honours_at(1, control)
    }

    fn honours_at(&mut self, seconds: u64, control: Control) -> bool {
        let applied = self.at(seconds, control);
        assert_eq!(applied.controls.len() + applied.ignored.len(), 1);
        applied.controls.len() == 1
    }

    /// Lets `positions` entries pass that concern nobody.
    fn pass(&mut self, positions: usize) {
        for _ in 0..positions {
            apply_at(&mut self.0, 0, &[], &[]);
        }
    }
}

#[test]
fn seats_are_taken_by_the_next_incarnation_and_quarantined_while_held() {
    let mut tried = Tried::new();
    assert!(!tried.honours(quarantine(0, 0)), "nobody holds the seat");
    assert!(tried.honours(take(0, 1)));
    let taken_at = tried.0.position();
    assert!(!tried.honours(take(0, 1)), "the same replica again");
    assert!(!tried.honours(take(0, 3)), "one is left out");
    assert!(!tried.honours(take(3, 1)), "there are three seats");
    let seat = tried.group().seats[0];
    assert_eq!((seat.voter(), seat.from, seat.taken_at), (Some(NodeId(1)), Position(0), taken_at));
    assert!(tried.honours(quarantine(0, 1)));
    assert!(!tried.honours(quarantine(0, 1)), "it is out already");
    assert_eq!((tried.group().seats[0].node, tried.group().seats[0].voter()), (Some(NodeId(1)), None));
    assert!(tried.honours(take(0, 2)));
    assert!(!tried.honours(quarantine(0, 1)), "that was an earlier holder");
    let seat = tried.group().seats[0];
    assert_eq!((seat.incarnation, seat.quarantined), (Incarnation(2), false));
}

#[test]
fn a_seat_that_diverges_twice_within_an_hour_is_kept_out_until_it_is_taken() {
    let hour = QUARANTINE_MEMORY.as_secs();
    for (second, kept_out) in [(hour - 1, true), (hour, false)] {
        let mut tried = Tried::new();
        tried.at(100, take(0, 1));
        tried.at(100, quarantine(0, 1));
        assert!(!tried.group().seats[0].kept_out, "the first time");
        tried.at(100, take(0, 2));
        tried.at(100 + second, quarantine(0, 2));
        assert_eq!(tried.group().seats[0].kept_out, kept_out, "{second} seconds later");
        tried.at(100 + second, take(0, 3));
        assert!(!tried.group().seats[0].kept_out, "an operator decided");
    }
}

#[test]
fn a_halt_leaves_every_seat_vacant_and_none_is_taken_before_the_group_is_resumed() {
    let mut tried = Tried::new();
    assert!(tried.honours(take(0, 1)) && tried.honours(take(1, 1)) && tried.honours(quarantine(1, 1)));
    assert!(tried.honours(Control::Halt { position: Position(3) }));
    assert!(!tried.honours(Control::Halt { position: Position(4) }), "it stands still already");
    assert!(tried.group().seats.iter().all(|seat| seat.node.is_none() && !seat.quarantined));
    assert!(!tried.honours(take(0, 2)));
    for refused in [upgrade(9), Control::Checkpoint] {
        assert!(!tried.honours(refused.clone()), "{refused:?}");
    }
    assert!(tried.honours(Control::Resume));
    assert!(!tried.honours(Control::Resume));
    assert!(tried.honours(take(0, 2)), "the numbers go on");
}

#[test]
fn the_number_of_seats_is_odd_and_a_seat_that_comes_back_goes_on_counting() {
    let mut tried = Tried::new();
    for refused in [3, 2, 6] {
        assert!(!tried.honours(Control::Resize { seats: refused }), "{refused}");
    }
    assert!(tried.honours(Control::Resize { seats: 7 }));
    assert_eq!((tried.group().seats.len(), tried.group().quorum()), (7, 4));
    assert!(tried.honours(take(5, 1)) && tried.honours(take(2, 1)) && tried.honours(take(0, 1)));
    assert!(tried.honours(Control::Resize { seats: 5 }));
    assert!(!tried.honours(take(5, 2)), "the highest are gone");
    assert!(tried.honours(Control::Resize { seats: 1 }));
    assert_eq!(tried.group().seats[0].voter(), Some(NodeId(1)), "the lowest stay as they are");
    assert!(tried.honours(Control::Resize { seats: 7 }));
    let seats = &tried.group().seats;
    assert_eq!(seats.iter().map(|seat| seat.incarnation.0).collect::<Vec<_>>(), [1, 0, 1, 0, 0, 1, 0]);
    assert!(seats[1..].iter().all(|seat| seat.node.is_none()), "they come back vacant");
    assert!(!tried.honours(take(5, 1)), "no number is used twice");
    assert!(tried.honours(take(5, 2)));
}

#[test]
fn a_resize_is_in_force_from_the_next_position() {
    let mut tried = Tried::new();
    let records = [Control::Resize { seats: 5 }, take(4, 1)].map(Record::Control);
    let applied = apply_at(&mut tried.0, SECOND, &[], &[batch(ONE, &records)]);
    assert_eq!(applied.controls.len(), 2, "records are taken one after another");
    assert_eq!(tried.group().seats[4].taken_at, applied.position);
}

#[test]
fn an_upgrade_changes_the_program_and_what_ran_before_is_known() {
    let mut tried = Tried::new();
    assert!(!tried.honours(upgrade(7)), "it runs that");
    assert!(tried.honours(upgrade(8)));
    let first = tried.0.position();
    assert_eq!((tried.group().bundle, tried.group().upgraded_at), ([8; 32], first));
    tried.pass(3);
    assert!(tried.honours(upgrade(9)));
    let second = tried.0.position();
    let bundle = |tried: &Tried, at: u64| tried.group().program_at(Position(at)).map(|program| program.bundle[0]);
    assert_eq!(bundle(&tried, first.0 - 1), Some(7));
    assert_eq!(bundle(&tried, first.0), Some(8));
    assert_eq!(bundle(&tried, second.0 - 1), Some(8));
    assert_eq!(bundle(&tried, second.0 + 100), Some(9));
    assert_eq!(bundle(&tried, 0), None, "the group did not exist");
}

#[test]
fn of_two_upgrades_at_one_position_the_first_counts() {
    let mut tried = Tried::new();
    let applied = apply_at(&mut tried.0, SECOND, &[], &[batch(ONE, &[upgrade(8), upgrade(9)].map(Record::Control))]);
    assert_eq!(applied.controls, [(ONE, upgrade(8))]);
    assert_eq!(applied.ignored, [(ONE, upgrade(9))]);
    assert!(applied.cut, "replicas do not see the other");
    assert_eq!(tried.group().programs().map(|program| program.bundle[0]).collect::<Vec<_>>(), [7, 8]);
}

#[test]
fn programs_that_no_kept_checkpoint_needs_are_forgotten_and_too_many_are_refused() {
    let mut tried = Tried::new();
    for n in 0..MAX_EARLIER_PROGRAMS {
        assert!(tried.honours(upgrade(8 + (n % 2) as u8)), "{n}");
    }
    assert!(!tried.honours(upgrade(99)), "one above the limit");
    for _ in 0..2 {
        assert!(tried.honours(Control::Checkpoint));
        let asked = tried.0.position().0;
        assert!(tried.honours(rooted(asked, 1)));
    }
    assert_eq!(tried.group().earlier, []);
    assert!(tried.honours(upgrade(99)));
    let kept = tried.group().earlier_checkpoint.unwrap().position;
    assert_ne!(tried.group().program_at(kept).unwrap().bundle, [99; 32]);
}

#[test]
fn one_checkpoint_is_asked_for_at_a_time_until_it_is_agreed_or_given_up() {
    let patience = CAPTURE_PATIENCE.as_secs();
    let mut tried = Tried::new();
    assert!(tried.honours_at(100, Control::Checkpoint));
    assert!(!tried.honours_at(100, Control::Checkpoint), "one is under way");
    assert!(!tried.honours_at(99 + patience, Control::Checkpoint));
    assert!(tried.honours_at(100 + patience, Control::Checkpoint), "that one was given up");
    let asked = tried.group().capture.unwrap();
    assert_eq!((asked.position, asked.time), (tried.0.position(), Time::default().plus(Duration::from_secs(400))));
    assert!(tried.honours_at(400, rooted(asked.position.0, 1)));
    assert!(tried.honours_at(400, Control::Checkpoint), "the next may follow at once");
}

#[test]
fn a_root_counts_for_the_checkpoint_that_was_asked_for_last_and_the_one_before_is_kept() {
    let mut tried = Tried::new();
    assert!(!tried.honours(rooted(2, 1)), "nobody asked");
    assert!(tried.honours(Control::Checkpoint));
    let asked = tried.0.position().0;
    assert!(!tried.honours(rooted(asked - 1, 1)), "captured before it was asked for");
    let next = tried.0.position().0 + 1;
    assert!(!tried.honours(rooted(next, 1)), "nobody can have captured that");
    assert!(tried.honours(rooted(asked + 1, 1)), "captured at a later turn");
    assert!(!tried.honours(rooted(asked + 2, 1)), "it is agreed on already");
    assert_eq!(tried.group().checkpoint, Some(Checkpoint { position: Position(asked + 1), root: [1; 32] }));
    assert!(tried.honours(Control::Checkpoint));
    let second = tried.0.position().0;
    assert!(tried.honours(rooted(second, 2)));
    let group = tried.group();
    assert_eq!(group.checkpoint.unwrap().position, Position(second));
    assert_eq!(group.earlier_checkpoint.unwrap().position, Position(asked + 1));
    for (from, honoured) in [(asked + 1, true), (second, true), (0, true), (second - 1, false)] {
        let mut tried = Tried(tried.0.clone());
        assert_eq!(tried.honours(take_from(0, 1, from)), honoured, "from {from}");
    }
}

#[test]
fn a_group_knows_its_first_and_its_last_turn() {
    let mut tried = Tried::new();
    let created = tried.0.position();
    assert_eq!((tried.group().created, tried.group().last_turn), (created, created));
    tried.pass(2);
    assert_eq!(tried.group().last_turn, created, "it was given nothing");
    let audit = tried.at(1, Control::Audit).position;
    assert_eq!(tried.group().last_turn, audit);
    tried.at(1, Control::Resume);
    assert_eq!(tried.group().last_turn, audit, "nothing is left of an ignored control");
    let inward = refrain_wire::ShardControl::OpenEpoch { proxy: refrain_wire::ProxyId(3), nonce: 3, outward: false };
    let inward = Record::Control(Control::Shard(inward));
    let opened = apply_at(&mut tried.0, 0, &[], &[batch(GroupId::SHARD, &[inward])]);
    assert!(opened.ended.is_empty());
    assert_eq!(tried.group().last_turn, audit, "an epoch that begins and is for no outward calls concerns no group");
    let opened = apply_at(&mut tried.0, 0, &[], &[batch(GroupId::SHARD, &[open(4)])]).position;
    assert_eq!(tried.group().last_turn, opened, "one that is for outward calls concerns all");
    let end = Record::Control(Control::Shard(refrain_wire::ShardControl::EndEpoch(refrain_wire::Epoch(1))));
    let other = [batch(GroupId::SHARD, &[end]), batch(GroupId(2), &[create("x/y")])];
    let ended = apply_at(&mut tried.0, 0, &[], &other).position;
    assert_eq!((tried.group().last_turn, tried.0.groups()[&GroupId(2)].created), (ended, ended));
}

#[test]
fn batches_are_counted_since_the_last_audit_and_since_a_checkpoint_was_asked_for() {
    let mut tried = Tried::new();
    let counts = |tried: &Tried| {
        let group = tried.group();
        (group.unaudited_batches, group.uncaptured_batches, group.uncaptured_bytes)
    };
    assert_eq!(counts(&tried).0, 1, "that of its creation");
    let before = counts(&tried).2;
    tried.at(1, take(0, 1));
    assert_eq!(counts(&tried), (2, 2, before + 27 + 8 + 22));
    tried.at(1, Control::Audit);
    assert_eq!((counts(&tried).0, counts(&tried).1), (0, 3));
    tried.at(1, Control::Checkpoint);
    assert_eq!(counts(&tried), (1, 0, 0));
    tried.at(1, Control::Checkpoint);
    assert_eq!(counts(&tried), (1, 0, 0), "one that is ignored changes nothing");
}
