//! Audits, checkpoints, their roots, and how far the log may be cut.
//!
//! - A checkpoint is asked for when the group was given much since the last one, when that one is over and everybody
//!   has released it. So of the two agreed ones that the shard keeps, one at least is released by all, unless the record
//!   that asks comes late.
//! - Its root is agreed on when a majority of all seats captured the same at one position. A seat with another root
//!   for that position diverged.
//! - A seat is taken with the newest agreed checkpoint that all living proxies have released: none of them still needs
//!   votes for what lies before. The log is cut behind the same one, but not while a replica that is on its way still
//!   reads what lies before.
//! - No checkpoint is asked for of a group whose guests cannot be saved, and the log is not kept for it: members have its
//!   turns in its history.

use std::collections::BTreeMap;
use std::time::Duration;

use refrain_wire::{Control, Digest, GroupId, Position};

use super::Office;
use super::due::{Alert, Look, Wanted};
use super::leases::Released;
use super::progress::Replicas;
use crate::shard::{CAPTURE_PATIENCE, Checkpoint, Group, ShardState};

/// A replica that did not get any farther for so long does not keep the log from being cut.
const CATCHING_UP: Duration = Duration::from_secs(10);
/// One that did not get anywhere yet is fetching what it begins with, and may take longer.
const BEGINNING: Duration = Duration::from_secs(120);

/// The part of a root that stands for it in a quarantine.
fn short(root: &[u8; 32]) -> Digest {
    Digest::from_hash(&blake3::Hash::from_bytes(*root))
}

/// The root that a majority of the group's seats has for the checkpoint that was asked for.
fn agreed(group: &Group, replicas: &Replicas) -> Option<Checkpoint> {
    let asked = group.capture?.position;
    let mut counts: BTreeMap<(Position, [u8; 32]), usize> = BTreeMap::new();
    for root in replicas.counting().filter_map(|(_, replica)| replica.root) {
        if root.position >= asked {
            *counts.entry((root.position, root.root)).or_default() += 1;
        }
    }
    let majority = group.seats.len() / 2 + 1;
    let found = counts.into_iter().find(|(_, count)| *count >= majority);
    found.map(|((position, root), _)| Checkpoint { position, root })
}

/// Whether every replica has captured what was asked for; only of interest when nothing was agreed on.
fn all_captured(group: &Group, replicas: &Replicas) -> Option<Position> {
    let asked = group.capture?.position;
    let mut last = None;
    for (_, replica) in replicas.counting() {
        last = Some(replica.root.filter(|root| root.position >= asked)?.position.max(last.unwrap_or_default()));
    }
    last.filter(|_| replicas.counting().count() > group.seats.len() / 2)
}

/// Wants the root that is agreed on in the log, and those out who have another one.
fn want_roots(group: &Group, replicas: &Replicas, agreed: Option<Checkpoint>, wanted: &mut Wanted) {
    if let Some(Checkpoint { position, root }) = agreed {
        wanted.controls.push(Control::Rooted { position, root });
    }
    for (seat, replica) in replicas.counting() {
        let Some(found) = replica.root else { continue };
        let known = group.checkpoint_at(found.position).or(agreed.filter(|root| root.position == found.position));
        if let Some(known) = known.filter(|known| known.root != found.root) {
            wanted.controls.push(Control::Quarantine {
                seat,
                incarnation: replica.incarnation,
                position: found.position,
                voted: short(&found.root),
                agreed: short(&known.root),
            });
        }
    }
}

impl Office {
    pub(super) fn want_audit(&self, id: GroupId, group: &Group, wanted: &mut Wanted) {
        let Some(replicas) = self.groups.get(&id) else { return };
        let mut due = group.unaudited_batches >= self.options.audit_batches;
        if let Some(at) = all_captured(group, replicas).filter(|_| agreed(group, replicas).is_none()) {
            wanted.alerts.insert(Alert::RootsDiffer(at));
            due |= replicas.audited < at;
        }
        if due {
            wanted.controls.push(Control::Audit);
        }
    }

    pub(super) fn want_checkpoint(&self, id: GroupId, group: &Group, look: &Look<'_>, wanted: &mut Wanted) {
        let Some(replicas) = self.groups.get(&id) else { return };
        if self.replay_only.contains_key(&id) {
            return;
        }
        let agreed = agreed(group, replicas);
        want_roots(group, replicas, agreed, wanted);
        if let Some(capture) = group.capture {
            if group.captures(look.log_time) {
                let left = CAPTURE_PATIENCE.saturating_sub(look.log_time.since(capture.time));
                return wanted.by(look.now + left.max(self.options.ask_again));
            }
            if agreed.is_some() {
                return;
            }
            wanted.alerts.insert(Alert::GivenUp(capture.position));
        }
        if self.is_due(group, replicas, look.shard.position()) && self.is_released(id, group, look.shard) {
            match replicas.checkpoint_asked.map(|asked| asked + self.options.checkpoint_pause) {
                Some(pause) if pause > look.now => wanted.by(pause),
                _ => wanted.controls.push(Control::Checkpoint),
            }
        }
    }

    /// Whether much has happened since a checkpoint was asked for last, or that one was given up.
    fn is_due(&self, group: &Group, replicas: &Replicas, now: Position) -> bool {
        let dirty = replicas.counting().map(|(_, replica)| replica.dirty_bytes).max().unwrap_or_default();
        group.capture.is_some()
            || group.uncaptured_batches >= self.options.checkpoint_batches
            || group.uncaptured_bytes >= self.options.checkpoint_bytes
            || self.is_distant(group, now)
            || (dirty >= self.options.checkpoint_dirty_bytes && group.uncaptured_batches > 0)
    }

    /// Whether the log is kept for this group alone, perhaps: its checkpoint is far behind, and it had turns since.
    fn is_distant(&self, group: &Group, now: Position) -> bool {
        let kept_from = group.checkpoint.map_or(group.created, |checkpoint| checkpoint.position);
        now.0.saturating_sub(kept_from.0) >= self.options.checkpoint_distance && group.last_turn > kept_from
    }

    /// Whether everybody has released the newest checkpoint.
    fn is_released(&self, id: GroupId, group: &Group, shard: &ShardState) -> bool {
        group.checkpoint.is_none_or(|newest| self.leases.released(shard, id, newest.position) == Released::Yes)
    }

    /// The checkpoint that a replica is to begin with, 0 for none; `None` while a living proxy has not said yet that it
    /// released one.
    pub(super) fn restore_from(&self, id: GroupId, group: &Group, shard: &ShardState) -> Option<Position> {
        let released = |checkpoint: Checkpoint| self.leases.released(shard, id, checkpoint.position);
        let Some(newest) = group.checkpoint else { return Some(Position(0)) };
        match (released(newest), group.earlier_checkpoint) {
            (Released::Yes, _) => Some(newest.position),
            (Released::No, None) => Some(Position(0)),
            // Both may be unreleased: the record that asked for the newest came late, when the earlier was just agreed.
            (Released::No, Some(earlier)) => (released(earlier) == Released::Yes).then_some(earlier.position),
            (Released::Unknown, _) => None,
        }
    }

    /// The checkpoint that a replica which takes a seat now is to begin with; see `restore_from`.
    #[must_use]
    pub fn checkpoint_for(&self, id: GroupId, shard: &ShardState) -> Option<Position> {
        self.restore_from(id, shard.groups().get(&id)?, shard)
    }

    /// The last position that no replica needs from the log any more: of each group, that of the newest agreed
    /// checkpoint that all living proxies have released, or the one before its creation; the least of them all. One that
    /// lives on its history needs nothing. Groups in which nothing happens are looked at again, so that they do not hold
    /// the log for ever.
    pub fn cut_position(&mut self, shard: &ShardState, now: Duration) -> Position {
        let distant = shard.groups().iter().filter(|(_, group)| self.is_distant(group, shard.position()));
        let distant: Vec<GroupId> = distant.map(|(id, _)| *id).collect();
        self.touched.extend(distant);
        let needs = shard.groups().iter().map(|(id, group)| self.cut_of(*id, group, shard, now));
        needs.min().unwrap_or(shard.position())
    }

    /// Whether members have what replicas of the group need in its history, from its newest checkpoint on.
    fn has_history(&self, id: GroupId, group: &Group, shard: &ShardState) -> bool {
        self.replay_only.contains_key(&id) && group.history.is_some() && self.is_released(id, group, shard)
    }

    fn cut_of(&self, id: GroupId, group: &Group, shard: &ShardState, now: Duration) -> Position {
        if self.has_history(id, group, shard) {
            return shard.position();
        }
        let mut released = group
            .checkpoints()
            .filter(|checkpoint| self.leases.released(shard, id, checkpoint.position) == Released::Yes);
        let Some(newest) = released.next() else { return Position(group.created.0.saturating_sub(1)) };
        // Should its guests be such from here on that they cannot be saved, its history begins there.
        let history = group.history.filter(|_| group.checkpoint == Some(newest));
        let behind = history.map_or(newest.position, |history| history.after.min(newest.position));
        let Some(replicas) = self.groups.get(&id) else { return behind };
        let reading = replicas.counting().filter(|(_, replica)| {
            // Of an engine that is gone nobody knows whether it fetches anything.
            let begins = !replica.runs && replica.node.is_some_and(|node| self.engines.key(node).is_some());
            let patience = if begins { BEGINNING } else { CATCHING_UP };
            replica.position < newest.position
                && replica.moved.is_some_and(|moved| now.saturating_sub(moved) < patience)
        });
        let least = reading.map(|(_, replica)| replica.position).min();
        // One that begins with the group reads from there on.
        least.map_or(behind, |position| position.max(Position(group.created.0.saturating_sub(1))).min(behind))
    }
}
