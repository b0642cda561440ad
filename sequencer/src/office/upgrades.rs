//! Upgrades: a group's program is changed when its engines can run the next one, and the log learns when it did not
//! start.
//!
//! - Every engine that holds a seat is asked to prepare the bundle. The upgrade is ordered when all that are there have
//!   answered and a majority of all seats is ready, or when a majority was ready for [`Options::upgrade_patience`]. An
//!   engine that is not ready then loses its replica at the upgrade, prepares the bundle and has the seat taken anew.
//! - It is given up when everybody has answered without a majority, or after [`Options::upgrade_limit`].
//! - An upgrade that a majority of seats rolled back is followed by one back to the program before, so that the log says
//!   what runs. The replicas, which run that, take it as nothing.
//!
//! [`Options::upgrade_patience`]: super::Options::upgrade_patience
//! [`Options::upgrade_limit`]: super::Options::upgrade_limit

use std::collections::BTreeMap;
use std::time::Duration;

use refrain_wire::message::uplink::Preparation;
use refrain_wire::{Control, Digest, GroupId, Incarnation, NodeId, Position, Seat};

use super::Office;
use super::due::{Due, Wanted};
use crate::shard::{Group, MAX_EARLIER_PROGRAMS};

/// An upgrade that engines prepare.
#[derive(Debug)]
pub(super) struct Preparing {
    bundle: [u8; 32],
    engine: Digest,
    since: Duration,
    /// Since when a majority is ready.
    ready_since: Option<Duration>,
    /// Engines that were asked, and what they said last.
    engines: BTreeMap<NodeId, Option<Preparation>>,
}

impl Preparing {
    /// The engine was started anew, or there is another way to it: it is asked again.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.engines.remove(&node);
    }

    fn is_ready(&self, node: NodeId) -> bool {
        matches!(self.engines.get(&node), Some(Some(Preparation::Ready)))
    }

    fn has_answered(&self, node: NodeId) -> bool {
        matches!(self.engines.get(&node), Some(Some(Preparation::Ready | Preparation::Failed(_))))
    }

    fn failures(&self) -> String {
        let failed = self.engines.iter().filter_map(|(node, said)| match said {
            Some(Preparation::Failed(why)) => Some(format!("node {node}: {why}")),
            _ => None,
        });
        failed.collect::<Vec<_>>().join("; ")
    }
}

/// Why an upgrade is not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeRefused {
    /// There is no such group.
    #[error("there is no such group")]
    UnknownGroup,
    /// It stands still.
    #[error("the group is halted")]
    Halted,
    /// It runs that.
    #[error("the group runs this bundle already")]
    Same,
    /// Another is on its way.
    #[error("another upgrade of the group is on its way")]
    Busy,
    /// Nobody would remember what it ran before.
    #[error("the group was upgraded {MAX_EARLIER_PROGRAMS} times since its last checkpoint: it needs one first")]
    NeedsCheckpoint,
    /// The group's engines cannot run what was compiled for another.
    #[error("the group's engine is {group}, the upgrade is for {upgrade}: all its engines are changed first")]
    Engine {
        /// The compatibility key of the group.
        group: Digest,
        /// That of the upgrade.
        upgrade: Digest,
    },
}

impl Office {
    /// Somebody wants the group to run another bundle. Asking again for what is on its way changes nothing.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub fn upgrade(
        &mut self,
        id: GroupId,
        group: Option<&Group>,
        (bundle, engine): ([u8; 32], Digest),
        now: Duration,
    ) -> Result<(), UpgradeRefused> {
        let group = group.ok_or(UpgradeRefused::UnknownGroup)?;
        if group.halted.is_some() {
            return Err(UpgradeRefused::Halted);
        }
        if group.engine != engine {
            return Err(UpgradeRefused::Engine { group: group.engine, upgrade: engine });
        }
        if let Some(preparing) = self.upgrades.get(&id) {
            return if preparing.bundle == bundle { Ok(()) } else { Err(UpgradeRefused::Busy) };
        }
        let rolled_back = self.is_rolled_back(id, group);
        if group.bundle == bundle && !rolled_back {
            return Err(UpgradeRefused::Same);
        }
        if group.earlier.len() + usize::from(rolled_back) >= MAX_EARLIER_PROGRAMS {
            return Err(UpgradeRefused::NeedsCheckpoint);
        }
        let engines = BTreeMap::new();
        self.upgrades.insert(id, Preparing { bundle, engine, since: now, ready_since: None, engines });
        self.touched.insert(id);
        Ok(())
    }

    /// An engine tells how far it is with a bundle.
    pub fn preparing(&mut self, node: NodeId, id: GroupId, bundle: &[u8; 32], preparation: Preparation) {
        let Some(upgrade) = self.upgrades.get_mut(&id).filter(|upgrade| upgrade.bundle == *bundle) else { return };
        if let Some(said) = upgrade.engines.get_mut(&node) {
            *said = Some(preparation);
            self.touched.insert(id);
        }
    }

    /// A replica rolled the upgrade at this position back.
    pub fn rolled_back(&mut self, id: GroupId, seat: Seat, incarnation: Incarnation, at: Position) {
        if let Some(replicas) = self.groups.get_mut(&id) {
            replicas.rolled_back(seat, incarnation, at);
            self.touched.insert(id);
        }
    }

    /// An upgrade is in the log.
    pub(super) fn note_upgrade(&mut self, id: GroupId, bundle: &[u8; 32]) {
        if self.upgrades.get(&id).is_some_and(|upgrade| upgrade.bundle == *bundle) {
            self.upgrades.remove(&id);
        }
    }

    /// Whether a majority of seats rolled back what the log says that the group runs.
    fn is_rolled_back(&self, id: GroupId, group: &Group) -> bool {
        let Some(replicas) = self.groups.get(&id) else { return false };
        let count = replicas.counting().filter(|(_, replica)| replica.rolled_back == Some(group.upgraded_at)).count();
        count > group.seats.len() / 2 && !group.earlier.is_empty()
    }

    /// Wants what the log lacks of an upgrade, and engines asked.
    pub(super) fn want_upgrade(
        &mut self,
        id: GroupId,
        group: &Group,
        now: Duration,
        wanted: &mut Wanted,
        due: &mut Due,
    ) {
        if self.is_rolled_back(id, group)
            && let Some(before) = group.earlier.last()
        {
            wanted.controls.push(Control::Upgrade { bundle: before.bundle, engine: before.engine });
            return;
        }
        if !self.upgrades.contains_key(&id) {
            return;
        }
        if group.halted.is_some() {
            return self.give_up(id, UpgradeRefused::Halted.to_string(), due);
        }
        let holders: Vec<NodeId> = group.seats.iter().filter_map(|seat| seat.voter()).collect();
        let present: Vec<NodeId> =
            holders.iter().copied().filter(|node| self.engines.key(*node) == Some(group.engine)).collect();
        let Some(upgrade) = self.upgrades.get_mut(&id) else { return };
        for node in &present {
            upgrade.engines.entry(*node).or_insert_with(|| {
                due.prepare.push((*node, id, upgrade.bundle));
                None
            });
        }
        let ready = present.iter().filter(|node| upgrade.is_ready(**node)).count();
        let answered = present.iter().all(|node| upgrade.has_answered(*node));
        let majority = group.seats.len() / 2 + 1;
        if ready < majority {
            upgrade.ready_since = None;
            let failures = upgrade.failures();
            let limit = upgrade.since + self.options.upgrade_limit;
            if answered && !failures.is_empty() {
                self.give_up(id, failures, due);
            } else if now >= limit {
                let seats = group.seats.len();
                let text = format!("the engines of {ready} of {seats} seats were ready, {majority} are needed");
                self.give_up(id, text, due);
            } else {
                wanted.by(limit);
            }
            return;
        }
        let enough = *upgrade.ready_since.get_or_insert(now) + self.options.upgrade_patience;
        if answered || now >= enough {
            wanted.controls.push(Control::Upgrade { bundle: upgrade.bundle, engine: upgrade.engine });
        } else {
            wanted.by(enough);
        }
    }

    fn give_up(&mut self, id: GroupId, why: String, due: &mut Due) {
        self.upgrades.remove(&id);
        due.given_up.push((id, why));
    }
}
