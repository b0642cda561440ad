//! Upgrades on this node: those that its operator asked for, the bundles that its engine prepares, and what follows
//! when an upgrade is in the log.
//!
//! The way of one: its bundle is in this node's data folder; the manifest is compared with the one in force; the module
//! is compiled here; the leader has every engine that holds a seat fetch and compile it, and orders the control. All
//! replicas then try it at its position, and their effects tell what came of it. Until the record is there, a new
//! leader is asked anew; after it, nothing is left to do but to follow the log.

mod prepare;
mod progress;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use refrain_api::{ErrorBody, ErrorCode, UpgradeStatus};
use refrain_sequencer::shard::Group as LogGroup;
use refrain_service::{Bundle, BundleDigest};
use refrain_wire::message::uplink::ToLeader;
use refrain_wire::{Control, GroupId, Position};

use super::services::limits;
use super::{Inner, Reply, failure};
use crate::service::Service;
pub(super) use progress::Upgrade;

/// The code of the answer that the log says that the group runs the bundle.
pub(super) const IN_THE_LOG: u8 = 1;

/// The last upgrade of each group, as far as this node knows.
pub(super) type Upgrades = RefCell<BTreeMap<GroupId, Upgrade>>;

impl Inner {
    /// An operator wants a service to run a bundle that is in the data folder. Answers when it is on its way.
    pub(super) fn upgrade(&self, service: &str, bundle: [u8; 32], reply: Reply<UpgradeStatus>) {
        let Some(inner) = self.me.upgrade() else { return };
        let checked = self.find(service).and_then(|id| self.check_halted(id, false).map(|()| id));
        let id = match checked {
            Ok(id) => id,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        tokio::task::spawn_local(async move {
            let begun = inner.begin_upgrade(id, bundle).await;
            let new = matches!(begun, Ok((_, true)));
            let _ = reply.send(begun.map(|(status, _)| status));
            if new {
                inner.go_on_with_upgrade(id, bundle).await;
            }
        });
    }

    /// What is known of the last upgrade of a service.
    pub(super) fn upgrade_status(&self, service: &str) -> Result<UpgradeStatus, ErrorBody> {
        let id = self.find(service)?;
        let upgrades = self.upgrades.borrow();
        let none = || failure(ErrorCode::NotFound, format!("no upgrade of {service} is known here since the start"));
        Ok(upgrades.get(&id).ok_or_else(none)?.status(service))
    }

    /// Checks a wish; the status of the upgrade, and whether it is a new one.
    async fn begin_upgrade(&self, id: GroupId, bundle: [u8; 32]) -> Result<(UpgradeStatus, bool), ErrorBody> {
        let opened = self.catalog.open(bundle).await;
        let current = self.groups.borrow().get(&id).map(|group| (Arc::clone(&group.service), group.seats.len() as u8));
        let Some((current, seats)) = current else {
            return Err(failure(ErrorCode::ServiceNotFound, "the service is gone"));
        };
        let name = &current.name;
        if let Some(running) = self.upgrades.borrow().get(&id).filter(|upgrade| upgrade.is_under_way()) {
            if running.bundle == bundle {
                return Ok((running.status(name), false));
            }
            let text = format!("an upgrade of {name} to {} is under way", running.to);
            return Err(failure(ErrorCode::UpgradeRunning, text));
        }
        let opened = opened.map_err(|error| failure(ErrorCode::BundleNotFound, format!("{error:#}")))?;
        check(&current, seats, &opened)?;
        let to = opened.manifest.id.to_string();
        let upgrade = Upgrade::new(bundle, to, &current);
        let status = upgrade.status(name);
        self.upgrades.borrow_mut().insert(id, upgrade);
        tracing::info!(service = name, bundle = %opened.digest, to = %opened.manifest.id, "an upgrade is prepared");
        Ok((status, true))
    }

    /// Compiles the module here and asks the leader.
    async fn go_on_with_upgrade(&self, id: GroupId, bundle: [u8; 32]) {
        let node = self.node;
        let obtained = self.obtain_service(bundle, |at| self.note_preparing(id, &bundle, node, at)).await;
        let why = match obtained {
            Ok(service) if service.can_run() => None,
            Ok(service) => Some(format!("it cannot run: {}", service.why_refused())),
            Err(error) => Some(format!("{error:#}")),
        };
        let mut upgrades = self.upgrades.borrow_mut();
        let Some(upgrade) = upgrades.get_mut(&id).filter(|upgrade| upgrade.bundle == bundle) else { return };
        match why {
            Some(why) => upgrade.refuse(why),
            None => {
                upgrade.is_compiled = true;
                drop(upgrades);
                self.ask_for_upgrades();
            }
        }
    }

    /// Asks the leader for every upgrade that this node's operator wants and that is not in the log.
    pub(super) fn ask_for_upgrades(&self) {
        if !self.link_is_up() {
            return;
        }
        let asked: Vec<(GroupId, u64, [u8; 32])> = {
            let mut upgrades = self.upgrades.borrow_mut();
            let wanted = upgrades.iter_mut().filter(|(_, upgrade)| upgrade.wants_the_leader());
            wanted
                .map(|(id, upgrade)| {
                    let request = self.requests.get() + 1;
                    self.requests.set(request);
                    upgrade.request = Some(request);
                    (*id, request, upgrade.bundle)
                })
                .collect()
        };
        for (group, request, bundle) in asked {
            let control = Control::Upgrade { bundle, engine: self.catalog.key() };
            self.tell_leader(ToLeader::Control { request, group, control });
        }
    }

    /// The leader did not begin an upgrade, or gave it up. False when the request was for something else.
    pub(super) fn upgrade_refused(&self, request: u64, code: u8, why: &str) -> bool {
        let mut upgrades = self.upgrades.borrow_mut();
        let Some(upgrade) = upgrades.values_mut().find(|upgrade| upgrade.request == Some(request)) else {
            return false;
        };
        // With that code an earlier leader had it ordered: it is on its way to this node.
        if code != IN_THE_LOG {
            upgrade.refuse(why.to_owned());
        }
        true
    }

    /// The log says that a group runs another bundle from a position on; its replicas here decide whether it does.
    pub(super) fn upgraded(&self, id: GroupId, bundle: [u8; 32], at: Position) {
        let Some(current) = self.groups.borrow().get(&id).map(|group| Arc::clone(&group.service)) else { return };
        {
            let mut upgrades = self.upgrades.borrow_mut();
            match upgrades.get_mut(&id) {
                Some(upgrade) if upgrade.bundle == bundle && upgrade.is_under_way() => upgrade.order(at, &current),
                // The log takes back what the replicas did not start: that is how it ended.
                Some(upgrade) if upgrade.is_taken_back_by(&bundle) => upgrade.take_back(),
                // What this node's operator wants is still to come.
                Some(upgrade) if upgrade.is_preparing() => {}
                _ => {
                    let mut upgrade = Upgrade::new(bundle, BundleDigest::new(bundle).to_string(), &current);
                    upgrade.order(at, &current);
                    upgrades.insert(id, upgrade);
                }
            }
        }
        tracing::info!(service = current.name, bundle = %BundleDigest::new(bundle), position = at.0, "upgrade ordered");
        self.forget_programs();
        self.run_service(id, bundle);
        // One that could not be begun upon what ran before.
        self.ask_for_upgrades();
    }

    /// What came of an upgrade, by the effects of a replica or by those that were agreed on.
    pub(super) fn upgrade_settled(&self, id: GroupId, at: Position, rolled_back: Option<&str>) {
        let (news, is_settled) = match self.upgrades.borrow_mut().get_mut(&id) {
            Some(upgrade) => (upgrade.settle(at, rolled_back), !upgrade.is_ordered()),
            None => (false, true),
        };
        // One that was rolled back is what it was before, in a moment.
        if let Some(group) = self.groups.borrow_mut().get_mut(&id).filter(|_| is_settled && rolled_back.is_none()) {
            group.settle();
        }
        let (service, position) = (self.service_name(id), at.0);
        match rolled_back {
            None if news => tracing::info!(service, position, "upgraded"),
            Some(reason) if news => tracing::error!(service, position, reason, "the upgrade was rolled back"),
            _ => {}
        }
        let log = self.view.with_shard(|shard| shard.groups().get(&id).cloned());
        let Some(log) = log.filter(|log| log.upgraded_at == at && log.created < at) else { return };
        if rolled_back.is_some()
            && let Some(before) = log.earlier.last()
        {
            self.run_service(id, before.bundle);
        }
    }

    /// Shows and serves a group as the service of this bundle, at once or when it is prepared.
    fn run_service(&self, id: GroupId, bundle: [u8; 32]) {
        if let Some(group) = self.groups.borrow_mut().get_mut(&id) {
            group.wanted = bundle;
        }
        match self.catalog.get(&bundle) {
            Some(service) => self.become_service(id, service),
            None => self.prepare_for(id, bundle),
        }
    }

    /// The group is the service that was wanted for it last.
    pub(super) fn become_service(&self, id: GroupId, service: Arc<Service>) {
        let (limits, name) = (limits(&service), service.name.clone());
        {
            let mut groups = self.groups.borrow_mut();
            let Some(group) = groups.get_mut(&id).filter(|group| group.wanted == service.bundle) else { return };
            let mut upgrades = self.upgrades.borrow_mut();
            let upgrade = upgrades.get_mut(&id);
            let is_settled = upgrade.as_ref().is_none_or(|upgrade| !upgrade.is_ordered());
            if let Some(upgrade) = upgrade {
                upgrade.note_name(&service);
            }
            group.become_service(service, is_settled);
        }
        if self.engine.is_some() {
            let bundle = self.groups.borrow()[&id].wanted;
            // Kept for replicas that meet the upgrade.
            let _ = self.catalog.blueprint(id, &bundle);
        }
        self.front().update_group(id, limits, name);
        self.tell_office_of(id);
        self.look_at_history(id);
        self.complete_history(id);
    }

    /// Forgets bundles that no replica can have to run any more.
    fn forget_programs(&self) {
        let mut needed: BTreeMap<GroupId, BTreeSet<[u8; 32]>> = self.view.with_shard(|shard| {
            let bundles = |group: &LogGroup| group.programs().map(|program| program.bundle).collect();
            shard.groups().iter().map(|(id, group)| (*id, bundles(group))).collect()
        });
        for (id, upgrade) in self.upgrades.borrow().iter() {
            needed.entry(*id).or_default().insert(upgrade.bundle);
        }
        self.catalog.retain(&needed);
    }
}

/// Whether a service may become what a bundle says.
fn check(current: &Service, seats: u8, next: &Bundle) -> Result<(), ErrorBody> {
    if *next.digest.as_bytes() == current.bundle {
        let text = format!("{} runs bundle {} already", current.full_name, next.digest);
        return Err(failure(ErrorCode::UpgradeRefused, text));
    }
    let changes = current.manifest.fixed_changes(&next.manifest, seats);
    if changes.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let text = format!("{} cannot be upgraded so: {}", current.full_name, told.join("; "));
    Err(failure(ErrorCode::UpgradeRefused, text))
}
