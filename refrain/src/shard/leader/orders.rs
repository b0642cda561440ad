//! Controls that nodes and the office want ordered: checked, completed, remembered until they are in the log.

use refrain_sequencer::batcher::Refused;
use refrain_sequencer::log::AppendError;
use refrain_sequencer::raft::MemberError;
use refrain_sequencer::shard::ShardState;
use refrain_wire::message::uplink::{FromLeader, MemberChange};
use refrain_wire::{Control, GroupId, ShardControl};

use super::super::Inner;
use super::super::waiting::{NOT_A_MEMBER, NOT_LED};
use super::{Asked, MAX_ASKED, SessionId};

impl Inner {
    /// Has a control ordered that the office or a node wants; one that cannot be is wanted again by whoever did.
    pub(super) fn order(&self, group: GroupId, control: Control) {
        let Some(member) = self.view.member() else { return };
        if let Err(refused) = member.control(group, control) {
            tracing::debug!(%group, %refused, "a control was not taken");
        }
    }

    pub(super) fn order_control(&self, from: SessionId, request: u64, group: GroupId, control: Control) {
        let Some(member) = self.view.member() else { return };
        let group = match &control {
            Control::Create { service, .. } => match self.number_for(service) {
                Some(group) => group,
                None => return,
            },
            Control::Shard(ShardControl::Place { service, .. }) if self.is_placed(service) => return,
            Control::Upgrade { bundle, engine } => {
                return self.begin_upgrade_of(from, request, group, (*bundle, *engine));
            }
            _ => group,
        };
        let is_known = |shard: &ShardState| group == GroupId::SHARD || shard.groups().contains_key(&group);
        if !matches!(control, Control::Create { .. }) && !self.view.with_shard(is_known) {
            let result = Err((0, format!("there is no group {group}")));
            return self.say(from, FromLeader::Answer { request, result });
        }
        if let Control::Resize { seats } = control
            && let Some(reason) = self.gives_up_too_much(group, seats)
        {
            return self.say(from, FromLeader::Answer { request, result: Err((0, reason)) });
        }
        let Some(control) = self.complete(group, &control) else {
            return self.order_when_complete(from, request, group, control);
        };
        match member.control(group, control.clone()) {
            Ok(()) if request == 0 || from == SessionId::LOCAL => {}
            Ok(()) => self.remember(Asked { from, request, group, control }),
            Err(refused) => {
                self.no_longer_creating(&control);
                let code = if refused == Refused::NotLeader { NOT_LED } else { 0 };
                let result = Err((code, refused.to_string()));
                self.say(from, FromLeader::Answer { request, result });
            }
        }
    }

    /// Why a group cannot have fewer seats now: turns that are under way would wait for ever.
    fn gives_up_too_much(&self, id: GroupId, seats: u8) -> Option<String> {
        let (leader, shard) = (self.leader.borrow(), self.view.member()?);
        let office = &leader.as_ref()?.office;
        shard.with_shard(|shard| {
            let group = shard.groups().get(&id).filter(|group| usize::from(seats) < group.seats.len())?;
            let voters = office.too_few_voters(id, shard)?;
            let (known, quorum) = (group.seats.len(), group.quorum());
            Some(format!(
                "{} has {known} seats, of which {quorum} decide turns that are under way, and {voters} have a replica: \
                 it can be scaled down when enough are taken again",
                group.service
            ))
        })
    }

    pub(super) fn remember(&self, asked: Asked) {
        if let Some(leader) = self.leader.borrow_mut().as_mut() {
            if leader.asked.len() >= MAX_ASKED {
                leader.asked.remove(0);
            }
            leader.asked.push(asked);
        }
    }

    /// The creation of a service is done, or came to nothing.
    fn no_longer_creating(&self, control: &Control) {
        if let Control::Create { service, .. } = control
            && let Some(leader) = self.leader.borrow_mut().as_mut()
        {
            leader.creating.remove(service);
        }
    }

    /// Whether every node says again what is done.
    fn is_placed(&self, service: &str) -> bool {
        self.view.with_shard(|shard| shard.placed().contains_key(service))
    }

    /// The number of a group that is to be created; none when that is on its way or done.
    fn number_for(&self, service: &str) -> Option<GroupId> {
        let known = self.view.with_shard(|shard| shard.groups().values().any(|group| group.service == service));
        let mut leader = self.leader.borrow_mut();
        let leader = leader.as_mut()?;
        if known || leader.creating.contains_key(service) {
            return None;
        }
        let group = GroupId(leader.next_group);
        leader.next_group += 1;
        leader.creating.insert(service.to_owned(), group);
        Some(group)
    }

    pub(super) fn order_members(&self, from: SessionId, request: u64, change: MemberChange) {
        let (Some(member), Some(inner)) = (self.view.member(), self.me.upgrade()) else { return };
        let log = std::sync::Arc::clone(member.log());
        tokio::task::spawn_local(async move {
            let outcome = match change {
                MemberChange::Add { node, address } => {
                    // Entries that were cut off live on in checkpoints alone.
                    log.add_member_when(node, &address, inner.until_it_holds_checkpoints(node)).await
                }
                MemberChange::Remove(node) => log.remove_member(node).await,
                MemberChange::Transfer(node) => log.transfer_leader(node).await,
            };
            let result = match outcome {
                Ok(()) => Ok(inner.view.position()),
                Err(error) => Err((code_of(&error), format!("{:#}", anyhow::Error::new(error)))),
            };
            inner.say(from, FromLeader::Answer { request, result });
        });
    }
}

/// What whoever asked for a change of members needs to know besides the words.
fn code_of(error: &MemberError) -> u8 {
    match error {
        MemberError::Append(AppendError::NotLeader { .. }) => NOT_LED,
        MemberError::NotAMember { .. } => NOT_A_MEMBER,
        _ => 0,
    }
}
