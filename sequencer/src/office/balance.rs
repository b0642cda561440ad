//! Seats that share an engine while another one has none of their group.
//!
//! The loss of that engine would be the loss of two seats, so one of them moves: to an engine that has been there for a
//! while, one seat of a group at a time, and only when all replicas of the group follow the log and those that stay are
//! a quorum. So nothing waits for the replica that is made, and a seat that cannot settle elsewhere is left alone for a
//! while. Every move lessens the number of doubled seats, so they end.

use std::collections::BTreeMap;
use std::time::Duration;

use refrain_wire::{Control, GroupId, NodeId, Seat};

use super::Office;
use super::due::{Look, Wanted};
use crate::shard::Group;

/// A replica that is at most so many positions behind follows the log: what it says is on its way for a while.
const FOLLOWS_WITHIN: u64 = 1024;

impl Office {
    /// Wants a seat moved, if that makes the group safer.
    pub(super) fn want_balance(&self, id: GroupId, group: &Group, look: &mut Look<'_>, wanted: &mut Wanted) {
        let Some(after) = self.options.rebalance else { return };
        let Some(doubled) = doubled(group) else { return };
        if group.seats.len() - 1 < group.quorum() || !self.all_follow(id, group) {
            return;
        }
        let recent = self.replica(id, doubled).and_then(|replica| replica.failures.remembered_until());
        let free: Vec<(NodeId, Duration)> = self
            .engines
            .settled(group.engine)
            .filter(|(node, _)| group.seats.iter().all(|seat| seat.voter() != Some(*node)))
            .map(|(node, since)| (node, (since + after).max(recent.unwrap_or_default())))
            .collect();
        let Some(first) = free.iter().map(|(_, at)| *at).min() else { return };
        if first > look.now {
            return wanted.by(first);
        }
        let asked = match self.asks.for_seat(id, doubled) {
            Some(Control::TakeSeat { node, .. }) => Some(*node),
            _ => None,
        };
        let ready = free.iter().filter(|(_, at)| *at <= look.now).map(|(node, _)| *node);
        let loads = look.loads.get_or_insert_with(|| self.loads(look.shard));
        let Some(node) = ready.min_by_key(|node| (asked != Some(*node), loads.all(*node), *node)) else { return };
        let incarnation = group.seat(doubled).and_then(|state| state.next_incarnation());
        let (Some(incarnation), Some(from)) = (incarnation, self.restore_from(id, group, look.shard)) else { return };
        wanted.controls.push(Control::TakeSeat { seat: doubled, incarnation, node, from });
    }

    /// Whether every seat has a replica that follows the log.
    fn all_follow(&self, id: GroupId, group: &Group) -> bool {
        let Some(replicas) = self.groups.get(&id) else { return false };
        let following = replicas.counting().filter(|(_, replica)| {
            let there = replica.node.is_some_and(|node| self.engines.key(node) == Some(group.engine));
            there
                && replica.is_reported()
                && replica.position.0.saturating_add(FOLLOWS_WITHIN) >= replicas.last_turn().0
        });
        following.count() == group.seats.len()
    }
}

/// The last seat on the engine that has the most of the group's, if it has more than one.
fn doubled(group: &Group) -> Option<Seat> {
    let mut held: BTreeMap<NodeId, (usize, Seat)> = BTreeMap::new();
    for (nth, state) in group.seats.iter().enumerate() {
        let (count, last) = held.entry(state.voter()?).or_insert((0, Seat(0)));
        (*count, *last) = (*count + 1, Seat(nth as u8));
    }
    held.into_values()
        .filter(|(count, _)| *count > 1)
        .max_by_key(|(count, last)| (*count, last.0))
        .map(|(_, last)| last)
}
