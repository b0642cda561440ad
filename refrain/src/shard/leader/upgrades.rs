//! Upgrades at the leader's node: wishes for the office, what engines are to prepare, and answers to whoever asked.

use refrain_sequencer::office::UpgradeRefused;
use refrain_wire::message::uplink::{FromLeader, Preparation};
use refrain_wire::{Digest, GroupId, NodeId};

use super::super::upgrade::IN_THE_LOG;
use super::{Inner, SessionId};

impl Inner {
    /// A node wants a group to run another bundle. It is answered when that fails; else the log tells it.
    pub(super) fn begin_upgrade_of(&self, from: SessionId, request: u64, group: GroupId, program: ([u8; 32], Digest)) {
        let now = self.monotonic();
        let begun = {
            let mut leader = self.leader.borrow_mut();
            let Some(leader) = leader.as_mut() else { return };
            let begun =
                self.view.with_shard(|shard| leader.office.upgrade(group, shard.groups().get(&group), program, now));
            if begun.is_ok() {
                leader.upgrading.entry(group).or_default().push((from, request));
            }
            begun
        };
        match begun {
            Ok(()) => self.office_due.notify_one(),
            Err(refused) => {
                let code = if refused == UpgradeRefused::Same { IN_THE_LOG } else { 0 };
                self.say(from, FromLeader::Answer { request, result: Err((code, refused.to_string())) });
            }
        }
    }

    /// An engine tells how far it is; every node may have an operator who wants to know.
    pub(super) fn take_preparing(&self, from: SessionId, group: GroupId, bundle: [u8; 32], preparation: Preparation) {
        let mut node = None;
        self.with_office(from, |office, who, _| {
            node = Some(who);
            office.preparing(who, group, &bundle, preparation.clone());
        });
        if let Some(node) = node {
            self.say_to_all(&FromLeader::Preparing { group, bundle, node, preparation });
        }
    }

    /// Has engines prepare bundles, and tells whoever asked for an upgrade that is given up.
    pub(super) fn have_prepared(&self, prepare: Vec<(NodeId, GroupId, [u8; 32])>, given_up: Vec<(GroupId, String)>) {
        for (node, group, bundle) in prepare {
            let session = {
                let leader = self.leader.borrow();
                let sessions = leader.iter().flat_map(|leader| &leader.sessions);
                sessions.filter(|(_, session)| session.node == node).map(|(id, _)| *id).next_back()
            };
            if let Some(session) = session {
                self.say(session, FromLeader::Prepare { group, bundle });
            }
        }
        for (group, why) in given_up {
            let asked = self.leader.borrow_mut().as_mut().and_then(|leader| leader.upgrading.remove(&group));
            for (session, request) in asked.unwrap_or_default() {
                self.say(session, FromLeader::Answer { request, result: Err((0, why.clone())) });
            }
        }
    }
}
