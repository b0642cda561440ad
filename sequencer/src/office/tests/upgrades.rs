//! When an upgrade is ordered, when it is given up, and what follows when it did not start.

use refrain_wire::message::uplink::Preparation;

use super::*;
use crate::office::UpgradeRefused;

const NEW: [u8; 32] = [8; 32];
const OTHER: [u8; 32] = [9; 32];

/// Three engines that hold a seat each.
fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.create(ONE, 3);
    for (session, node) in [A, B, C].into_iter().enumerate() {
        desk.engine(node, session as u64, &[]);
    }
    desk.work_for(millis(10));
    assert_eq!(desk.holders(ONE).iter().flatten().count(), 3);
    desk
}

fn upgrade(bundle: [u8; 32]) -> Control {
    Control::Upgrade { bundle, engine: key() }
}

impl Desk {
    fn wish(&mut self, bundle: [u8; 32]) -> Result<(), UpgradeRefused> {
        self.office.upgrade(ONE, self.shard.groups().get(&ONE), (bundle, key()), self.now)
    }

    fn says(&mut self, node: NodeId, preparation: Preparation) {
        self.office.preparing(node, ONE, &NEW, preparation);
    }

    /// Who is asked to prepare now.
    fn prepares(&mut self) -> Vec<NodeId> {
        let due = self.poll();
        assert!(due.prepare.iter().all(|(_, group, bundle)| (*group, *bundle) == (ONE, NEW)));
        due.prepare.into_iter().map(|(node, ..)| node).collect()
    }

    fn all_roll_back(&mut self) {
        let at = self.group(ONE).upgraded_at;
        for (seat, state) in self.group(ONE).seats.clone().into_iter().enumerate() {
            self.office.rolled_back(ONE, Seat(seat as u8), state.incarnation, at);
        }
    }
}

#[test]
fn an_upgrade_is_ordered_when_every_engine_that_is_there_is_ready() {
    let mut desk = desk();
    desk.wish(NEW).unwrap();
    assert_eq!(desk.prepares(), [A, B, C]);
    assert_eq!(desk.prepares(), [], "each is asked once");
    for node in [A, B] {
        desk.says(node, Preparation::Fetching);
        desk.says(node, Preparation::Compiling);
        desk.says(node, Preparation::Ready);
    }
    assert_eq!(desk.asked(), [], "the third is not slow yet");
    desk.says(C, Preparation::Ready);
    assert_eq!(desk.work(), [(ONE, upgrade(NEW))]);
    assert_eq!(desk.group(ONE).bundle, NEW);
    assert_eq!(desk.asked(), []);
    assert_eq!(desk.wish(NEW), Err(UpgradeRefused::Same));
}

#[test]
fn a_majority_does_not_wait_for_a_slow_engine_for_ever_nor_for_one_that_is_gone() {
    let mut slow = desk();
    slow.wish(NEW).unwrap();
    slow.prepares();
    slow.says(A, Preparation::Ready);
    slow.says(B, Preparation::Ready);
    slow.says(C, Preparation::Fetching);
    assert_eq!(slow.asked(), [], "the third is not slow yet");
    slow.wait(slow.office.options.upgrade_patience - millis(1));
    assert_eq!(slow.asked(), [], "nothing yet");
    slow.wait(millis(1));
    assert_eq!(slow.asked(), [(ONE, upgrade(NEW))]);

    let mut gone = desk();
    gone.office.node_gone(C, gone.now);
    gone.wish(NEW).unwrap();
    assert_eq!(gone.prepares(), [A, B]);
    gone.says(A, Preparation::Ready);
    gone.says(B, Preparation::Ready);
    assert!(gone.asked().contains(&(ONE, upgrade(NEW))));
}

#[test]
fn an_engine_that_cannot_prepare_counts_for_nothing_and_a_majority_that_cannot_ends_it() {
    let mut desk = desk();
    desk.wish(NEW).unwrap();
    desk.prepares();
    desk.says(A, Preparation::Ready);
    desk.says(B, Preparation::Failed("the disk is full".into()));
    desk.says(C, Preparation::Failed("no node gave it".into()));
    let due = desk.poll();
    let why = "node 2: the disk is full; node 3: no node gave it";
    assert_eq!((due.controls, due.given_up), (vec![], vec![(ONE, why.to_owned())]));
    desk.wish(NEW).unwrap();
    assert_eq!(desk.prepares(), [A, B, C], "another try asks everybody again");
    for (node, said) in [(A, Preparation::Ready), (B, Preparation::Ready), (C, Preparation::Failed("no".into()))] {
        desk.says(node, said);
    }
    assert_eq!(desk.asked(), [(ONE, upgrade(NEW))], "two of three seats are enough, and nobody is waited for");
}

#[test]
fn an_upgrade_without_a_majority_is_given_up_at_its_limit() {
    let mut desk = desk();
    desk.wish(NEW).unwrap();
    desk.prepares();
    desk.says(A, Preparation::Ready);
    desk.wait(desk.office.options.upgrade_limit - millis(1));
    assert!(desk.poll().given_up.is_empty());
    desk.wait(millis(1));
    let text = "the engines of 1 of 3 seats were ready, 2 are needed".to_owned();
    assert_eq!(desk.poll().given_up, [(ONE, text)]);
}

#[test]
fn an_engine_that_was_started_anew_is_asked_again() {
    let mut desk = desk();
    desk.wish(NEW).unwrap();
    desk.prepares();
    desk.says(A, Preparation::Ready);
    desk.engine(A, 77, &[]);
    assert!(desk.prepares().contains(&A));
}

#[test]
fn what_cannot_be_begun_is_refused_with_the_reason() {
    let mut desk = desk();
    assert_eq!(desk.wish([7; 32]), Err(UpgradeRefused::Same));
    assert_eq!(desk.office.upgrade(GroupId(9), None, (NEW, key()), desk.now), Err(UpgradeRefused::UnknownGroup));
    let foreign = Digest::of(b"another engine");
    let refused = desk.office.upgrade(ONE, desk.shard.groups().get(&ONE), (NEW, foreign), desk.now);
    assert_eq!(refused, Err(UpgradeRefused::Engine { group: key(), upgrade: foreign }));
    desk.wish(NEW).unwrap();
    assert_eq!(desk.wish(NEW), Ok(()), "the same wish again changes nothing");
    assert_eq!(desk.wish(OTHER), Err(UpgradeRefused::Busy));
    desk.order(ONE, Control::Halt { position: Position(1) });
    assert_eq!(desk.poll().given_up, [(ONE, "the group is halted".to_owned())]);
    assert_eq!(desk.wish(OTHER), Err(UpgradeRefused::Halted));
}

#[test]
fn an_upgrade_that_a_majority_rolled_back_is_followed_by_one_back() {
    let mut desk = desk();
    assert!(desk.order(ONE, upgrade(NEW)));
    let at = desk.group(ONE).upgraded_at;
    let incarnation = desk.seat(0).incarnation;
    desk.office.rolled_back(ONE, Seat(0), incarnation, at);
    desk.office.rolled_back(ONE, Seat(1), Incarnation(incarnation.0 + 1), at);
    desk.office.rolled_back(ONE, Seat(2), desk.seat(2).incarnation, Position(at.0 - 1));
    assert_eq!(desk.asked(), [], "one seat, a former holder and another upgrade are no majority");
    desk.all_roll_back();
    assert_eq!(desk.wish(NEW), Ok(()), "it may be tried again");
    assert_eq!(desk.work(), [(ONE, upgrade([7; 32]))]);
    assert_eq!(desk.group(ONE).bundle, [7; 32]);
    assert_eq!(desk.asked(), []);
    assert_eq!(desk.group(ONE).programs().map(|program| program.bundle[0]).collect::<Vec<_>>(), [7, 8, 7]);
}

#[test]
fn a_new_leader_learns_of_a_rollback_from_the_engines() {
    let mut desk = desk();
    assert!(desk.order(ONE, upgrade(NEW)));
    desk.elect();
    for (session, node) in [A, B, C].into_iter().enumerate() {
        let held = desk.at(ONE, desk.shard.position());
        let own: Vec<Progress> = held.into_iter().filter(|p| desk.seat(p.seat.0).node == Some(node)).collect();
        desk.engine(node, session as u64, &own);
    }
    assert_eq!(desk.asked(), []);
    desk.all_roll_back();
    assert_eq!(desk.asked(), [(ONE, upgrade([7; 32]))]);
}
