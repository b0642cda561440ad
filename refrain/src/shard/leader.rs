//! What the leader's node does besides ordering: it takes what nodes tell it, gives seats to engines, keeps leases,
//! has ticks, audits and checkpoints ordered, and holds back proxies that bring more than replicas execute.
//!
//! What to do is decided by the sequencer's office, a pure value that begins afresh with each term; this module
//! connects it with streams and the clock.

mod orders;
mod seats;
mod upgrades;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use refrain_sequencer::batcher::{Refused, Submission};
use refrain_sequencer::log::AppendError;
use refrain_sequencer::office::{Due, Office, Options};
use refrain_sequencer::shard::Applied;
use refrain_wire::limits::MAX_PROGRESS;
use refrain_wire::message::Message as _;
use refrain_wire::message::uplink::{FromLeader, Progress, ToLeader, Why};
use refrain_wire::{Control, Epoch, GroupId, NodeId, ProxyId, ShardControl, SubmissionId};

use super::Inner;
use super::group::Group;
use super::start::LIMITS;
use super::uplink::Link;
use super::waiting::NOT_LED;
use crate::link::{Inbox, LinkError, Outbox};

/// One way in: this node's own, or the stream of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId(u64);

impl SessionId {
    /// This node's own way to itself.
    pub(super) const LOCAL: Self = Self(0);
}

struct Session {
    node: NodeId,
    /// None for this node's own.
    outbox: Option<Outbox>,
}

/// The leader's state, for one term.
pub(super) struct Leader {
    pub(super) office: Office,
    term: u64,
    sessions: BTreeMap<SessionId, Session>,
    /// Whose submissions are those of an epoch.
    proxies: BTreeMap<Epoch, SessionId>,
    /// Groups whose flows are not read, because much is ordered and not executed.
    held: BTreeSet<GroupId>,
    /// Sessions whose submission was refused because of load.
    stalled: BTreeSet<SessionId>,
    /// The number of the next group.
    next_group: u32,
    /// Groups whose creation is on its way, by service.
    creating: BTreeMap<String, GroupId>,
    /// What other nodes' operators wait for.
    asked: Vec<Asked>,
    /// Who asked for the upgrade of a group that is not in the log yet, and by which request.
    upgrading: BTreeMap<GroupId, Vec<(SessionId, u64)>>,
}

/// A control that another node asked for and that is not in the log yet.
struct Asked {
    from: SessionId,
    request: u64,
    group: GroupId,
    control: Control,
}

/// Requests of other nodes that are remembered; the oldest goes when there are more, and waits for its own patience.
const MAX_ASKED: usize = 4096;

/// How long a seat waits for its configured engine rather than go to one that has another seat of its group.
const APART: Duration = Duration::from_secs(600);
/// How long after it passed the lead on a member whose disk is full refuses instead, when the lead comes back to it.
const PASSED_ON: Duration = Duration::from_secs(30);
/// Above this share of a group's limit its flows are no longer read, below half of it they are again, in percent.
const HOLD_PERCENT: usize = 50;

/// Takes what another node says to the leader, to the end of the stream.
pub(super) async fn serve(inner: &Rc<Inner>, node: NodeId, mut inbox: Inbox, outbox: &Outbox) -> Result<(), LinkError> {
    let Some(session) = inner.begin_session(node, outbox) else {
        let leader = inner.leader();
        outbox.push(|frames| FromLeader::NotLeader { leader }.encode(frames));
        return Ok(());
    };
    let ended = loop {
        match inbox.next().await {
            Ok(frame) => match ToLeader::decode(frame.kind, &frame.payload) {
                Ok(message) => inner.lead(session, message),
                Err(error) => break Err(error.into()),
            },
            Err(LinkError::Closed) => break Ok(()),
            Err(error) => break Err(error),
        }
        if outbox.has_ended() {
            break Ok(());
        }
    };
    inner.end_session(session);
    ended
}

impl Inner {
    fn office_options(&self) -> Options {
        let nodes = self.config.cluster.nodes.iter().filter(|node| node.roles.engine);
        Options {
            lease: self.config.lease,
            engines: nodes.map(|node| NodeId(node.id)).collect(),
            apart: Some(APART),
            rebuild: self.config.rebuild,
            checkpoint_batches: self.config.checkpoint_batches,
            checkpoint_bytes: self.config.checkpoint_bytes,
            checkpoint_pause: self.config.checkpoint_interval,
            ..Options::default()
        }
    }

    /// This node's member leads from now on; its term, unless it has lost the lead already.
    pub(super) fn take_office(&self) -> Option<u64> {
        let member = self.view.member()?;
        let term = member.leading()?;
        let now = self.monotonic();
        let (mut office, next_group) = self.view.with_shard(|shard| {
            let next = shard.groups().last_key_value().map_or(1, |(id, _)| id.0 + 1);
            (Office::take_office(self.office_options(), now, shard), next)
        });
        for group in self.groups.borrow().values() {
            office.replay_only(group.id, group.history_limit());
        }
        tracing::info!(term, node = %self.node, "this node leads the log");
        member.leadership_changed();
        let local = Session { node: self.node, outbox: None };
        *self.leader.borrow_mut() = Some(Leader {
            office,
            term,
            sessions: BTreeMap::from([(SessionId::LOCAL, local)]),
            proxies: BTreeMap::new(),
            held: BTreeSet::new(),
            stalled: BTreeSet::new(),
            next_group,
            creating: BTreeMap::new(),
            asked: Vec::new(),
            upgrading: BTreeMap::new(),
        });
        self.lease.led_by(self.config.lease);
        self.link_up(Link::Here);
        self.office_due.notify_one();
        Some(term)
    }

    /// A leader asks for no checkpoints of guests that cannot be saved, and keeps no log for them.
    pub(super) fn tell_office_of(&self, id: GroupId) {
        let limit = self.groups.borrow().get(&id).and_then(Group::history_limit);
        if let Some(leader) = self.leader.borrow_mut().as_mut() {
            leader.office.replay_only(id, limit);
        }
    }

    /// This node's member leads no longer: those who told it something have to tell another.
    pub(super) fn leave_office(&self) {
        let Some(leader) = self.leader.borrow_mut().take() else { return };
        tracing::info!(term = leader.term, node = %self.node, "this node no longer leads the log");
        self.traces.office_left();
        if let Some(member) = self.view.member() {
            member.leadership_changed();
        }
        for session in leader.sessions.values() {
            if let Some(outbox) = &session.outbox {
                outbox.push(|frames| FromLeader::NotLeader { leader: None }.encode(frames));
                outbox.end();
            }
        }
    }

    /// A node wants to talk to the leader; none when that is another one.
    fn begin_session(&self, node: NodeId, outbox: &Outbox) -> Option<SessionId> {
        let mut leader = self.leader.borrow_mut();
        let leader = leader.as_mut()?;
        // Never used again, whatever the term: a stream of an earlier office may still end.
        let id = SessionId(self.sessions.get() + 1);
        self.sessions.set(id.0);
        leader.sessions.insert(id, Session { node, outbox: Some(outbox.clone()) });
        let (term, lease_millis) = (leader.term, self.config.lease.as_millis().min(u128::from(u32::MAX)) as u32);
        outbox.push(|frames| {
            FromLeader::Leads { term, lease_millis }.encode(frames);
            for group in &leader.held {
                FromLeader::Hold { group: *group }.encode(frames);
            }
        });
        Some(id)
    }

    fn end_session(&self, id: SessionId) {
        let now = self.monotonic();
        let mut leader = self.leader.borrow_mut();
        let Some(leader) = leader.as_mut() else { return };
        let Some(session) = leader.sessions.remove(&id) else { return };
        leader.proxies.retain(|_, session| *session != id);
        leader.stalled.remove(&id);
        leader.asked.retain(|asked| asked.from != id);
        leader.upgrading.retain(|_, asked| {
            asked.retain(|(from, _)| *from != id);
            !asked.is_empty()
        });
        if !leader.sessions.values().any(|other| other.node == session.node) {
            leader.office.node_gone(session.node, now);
        }
        self.office_due.notify_one();
    }

    /// Says something to one node.
    fn say(&self, to: SessionId, message: FromLeader) {
        if to == SessionId::LOCAL {
            return self.hear_leader(message);
        }
        let outbox = self.leader.borrow().as_ref().and_then(|leader| leader.sessions.get(&to)?.outbox.clone());
        if let Some(outbox) = outbox {
            outbox.push(|frames| message.encode(frames));
        }
    }

    pub(super) fn say_to_all(&self, message: &FromLeader) {
        let all: Vec<SessionId> =
            self.leader.borrow().as_ref().map(|leader| leader.sessions.keys().copied().collect()).unwrap_or_default();
        for session in all {
            self.say(session, message.clone());
        }
    }

    /// Takes in what a node says to the leader.
    pub(super) fn lead(&self, from: SessionId, message: ToLeader) {
        match message {
            ToLeader::Submit { id, batches } => self.take_submission(from, id, batches),
            ToLeader::Progress(all) => self.take_progress(from, &all),
            ToLeader::Engine { session, key } => self.with_office(from, |office, node, now| {
                office.engine(node, session, key, now);
            }),
            ToLeader::OpenEpoch { proxy, nonce, outward } => self.order_epoch(proxy, nonce, outward),
            ToLeader::Renew { epoch, beat, released } => self.renew_lease(from, epoch, beat, &released),
            ToLeader::Control { request, group, control } => self.order_control(from, request, group, control),
            ToLeader::Lost { group, seat, incarnation, reason } => {
                tracing::warn!(%group, %seat, %incarnation, reason, "an engine lost a replica");
                self.with_office(from, |office, _, now| office.lost(group, seat, incarnation, now));
            }
            ToLeader::Preparing { group, bundle, preparation } => self.take_preparing(from, group, bundle, preparation),
            ToLeader::RolledBack { group, seat, incarnation, position } => self.with_office(from, |office, _, _| {
                office.rolled_back(group, seat, incarnation, position);
            }),
            ToLeader::Members { request, change } => self.order_members(from, request, change),
        }
    }

    fn with_office(&self, from: SessionId, call: impl FnOnce(&mut Office, NodeId, Duration)) {
        let now = self.monotonic();
        if let Some(leader) = self.leader.borrow_mut().as_mut()
            && let Some(node) = leader.sessions.get(&from).map(|session| session.node)
        {
            call(&mut leader.office, node, now);
        }
        self.office_due.notify_one();
    }

    fn take_submission(&self, from: SessionId, id: SubmissionId, batches: Vec<refrain_wire::entry::GroupRecords>) {
        let Some(member) = self.view.member() else { return };
        let now = self.monotonic();
        let open = self.view.with_shard(|shard| shard.epochs().contains_key(&id.epoch));
        if let Some(leader) = self.leader.borrow_mut().as_mut().filter(|_| open) {
            leader.proxies.insert(id.epoch, from);
            leader.office.submitted(id.epoch, now);
        }
        let groups: Vec<GroupId> = batches.iter().map(|batch| batch.group).collect();
        let taken = member.submit(Submission { id, batches });
        for group in groups {
            let usage = member.usage(group);
            let full = |used: usize, limit: usize| used > limit / 100 * HOLD_PERCENT;
            if full(usage.bulk_bytes, LIMITS.bulk_bytes) || full(usage.bulk_records, LIMITS.bulk_records) {
                self.hold(group);
            }
        }
        let Err(refused) = taken else { return };
        let (why, expected) = match &refused {
            Refused::OutOfOrder { expected, .. } => (Why::OutOfOrder, *expected),
            Refused::Busy { .. } => (Why::Busy, 0),
            Refused::UnknownEpoch { .. } => (Why::UnknownEpoch, 0),
            Refused::UnknownGroup { .. } => (Why::UnknownGroup, 0),
            Refused::NotLeader => (Why::NotLeader, 0),
            Refused::Stopped => (Why::Stopped, 0),
            _ => (Why::Invalid, 0),
        };
        if let Some(leader) = self.leader.borrow_mut().as_mut() {
            leader.stalled.insert(from);
        }
        self.say(from, FromLeader::Refused { id, group: GroupId::SHARD, why, expected, text: refused.to_string() });
    }

    fn hold(&self, group: GroupId) {
        let new = self.leader.borrow_mut().as_mut().is_some_and(|leader| leader.held.insert(group));
        if new {
            self.say_to_all(&FromLeader::Hold { group });
        }
    }

    fn take_progress(&self, from: SessionId, all: &[Progress]) {
        let (Some(member), now) = (self.view.member(), self.monotonic()) else { return };
        // Of what the log does not have, nothing is kept.
        let known = |progress: &&Progress| self.view.with_shard(|shard| shard.groups().contains_key(&progress.group));
        for progress in all.iter().filter(known) {
            let executed = {
                let mut leader = self.leader.borrow_mut();
                let Some(leader) = leader.as_mut() else { return };
                leader.office.progress(progress, now);
                leader.office.executed(progress.group)
            };
            member.executed(progress.group, executed);
            self.traces.executed(progress.group, executed);
            self.relieve(progress.group);
            self.note_remote_progress(progress.group, progress.seat, progress.incarnation, progress.position);
        }
        // A full message is not the last one of its report.
        if all.len() < MAX_PROGRESS {
            self.with_office(from, |office, node, _| office.reported(node));
        }
    }

    /// Replicas have executed more: held groups may be read again, a refused submission may go.
    fn relieve(&self, group: GroupId) {
        let Some(member) = self.view.member() else { return };
        let waits =
            self.leader.borrow().as_ref().is_some_and(|leader| !leader.held.is_empty() || !leader.stalled.is_empty());
        if !waits {
            return;
        }
        let usage = member.usage(group);
        let low = |used: usize, limit: usize| used <= limit / 200 * HOLD_PERCENT;
        if !low(usage.bulk_bytes, LIMITS.bulk_bytes) || !low(usage.bulk_records, LIMITS.bulk_records) {
            return;
        }
        let (released, stalled) = match self.leader.borrow_mut().as_mut() {
            Some(leader) => (leader.held.remove(&group), std::mem::take(&mut leader.stalled)),
            None => return,
        };
        if released {
            self.say_to_all(&FromLeader::Release { group });
        } else {
            stalled.into_iter().for_each(|session| self.say(session, FromLeader::Release { group }));
        }
    }

    fn order_epoch(&self, proxy: ProxyId, nonce: u64, outward: bool) {
        self.order(GroupId::SHARD, Control::Shard(ShardControl::OpenEpoch { proxy, nonce, outward }));
    }

    fn renew_lease(&self, from: SessionId, epoch: Epoch, beat: u64, released: &[(GroupId, refrain_wire::Position)]) {
        let mut alive = false;
        self.with_office(from, |office, _, now| alive = office.renew(epoch, now, released));
        // One that was replaced while it stood still may not know it yet, but no quorum has answered it since.
        if alive && self.still_leads() {
            self.say(from, FromLeader::Renewed { beat });
        }
    }

    fn still_leads(&self) -> bool {
        let term = self.leader.borrow().as_ref().map(|leader| leader.term);
        term.is_some() && self.view.member().and_then(|member| member.leading()) == term
    }

    /// The office follows what was committed.
    pub(super) fn office_applied(&self, applied: &Applied) {
        let now = self.monotonic();
        if let Some(leader) = self.leader.borrow_mut().as_mut() {
            self.view.with_shard(|shard| leader.office.applied(applied, shard, now));
            for epoch in &applied.ended {
                leader.proxies.remove(epoch);
            }
            for (group, control) in applied.controls.iter().chain(&applied.ignored) {
                // Whoever asked sees it in the log as well.
                leader.asked.retain(|asked| (asked.group, &asked.control) != (*group, control));
                if let Control::Create { service, .. } = control {
                    leader.creating.remove(service);
                }
            }
            for (group, control) in &applied.controls {
                if matches!(control, Control::Upgrade { .. }) {
                    leader.upgrading.remove(group);
                }
            }
            self.office_due.notify_one();
        }
    }

    /// An append failed here: each proxy is told about its submissions, and whoever wanted a control. Where the log is
    /// full the proxy gives something up; else it offers the same again after a while: this member may still lead, and
    /// nobody else would take what was lost. A full disk is this member's own: another one is to lead.
    pub(super) fn append_failed(
        &self,
        submissions: &[SubmissionId],
        controls: &[(GroupId, Control)],
        error: &AppendError,
    ) {
        for (group, control) in controls {
            match error {
                AppendError::NotLeader { .. } => self.control_not_led(*group, control),
                _ => self.fail_waiting(*group, control, &error.to_string()),
            }
        }
        self.answer_asked(controls, error);
        let full = match error {
            AppendError::Full { .. } => true,
            AppendError::DiskFull { .. } => !self.pass_the_lead_on(),
            _ => false,
        };
        let told: Vec<(SessionId, Epoch, u64)> = {
            let mut leader = self.leader.borrow_mut();
            let Some(leader) = leader.as_mut() else { return };
            leader.creating.clear();
            let epochs: BTreeSet<Epoch> = submissions.iter().map(|id| id.epoch).collect();
            let last = |epoch: &Epoch| self.view.with_shard(|shard| shard.epochs().get(epoch).map(|state| state.last));
            let known = epochs.iter().filter_map(|epoch| Some((*leader.proxies.get(epoch)?, *epoch, last(epoch)?)));
            known.collect()
        };
        for (session, epoch, last) in told {
            let text = error.to_string();
            if full {
                self.say(session, FromLeader::Failed { epoch, last, full, text });
            } else {
                let (id, group, why) = (SubmissionId { epoch, number: last + 1 }, GroupId::SHARD, Why::Again);
                self.say(session, FromLeader::Refused { id, group, why, expected: last + 1, text });
            }
        }
    }

    /// This member's disk is full: has another one lead, unless there is none or that was done a moment ago, so that
    /// members whose disks are all full do not pass it round. Whether another one is asked.
    fn pass_the_lead_on(&self) -> bool {
        let now = self.monotonic();
        let lately = self.passed_on.get().is_some_and(|at| now.saturating_sub(at) < PASSED_ON);
        let asking = self.asking_another.get();
        let Some(inner) = self.me.upgrade().filter(|_| asking || !(lately || self.member_nodes().is_empty())) else {
            return false;
        };
        if !asking {
            tracing::warn!("the disk is full: another member is asked to lead");
            self.asking_another.set(true);
            tokio::task::spawn_local(async move {
                inner.hand_over().await;
                inner.passed_on.set(Some(inner.monotonic()));
                inner.asking_another.set(false);
            });
        }
        true
    }

    /// Nodes that asked for controls that were not ordered are told so.
    fn answer_asked(&self, controls: &[(GroupId, Control)], error: &AppendError) {
        let failed: Vec<Asked> = match self.leader.borrow_mut().as_mut() {
            Some(leader) => {
                let is_failed = |asked: &mut Asked| {
                    controls.iter().any(|(group, control)| (asked.group, &asked.control) == (*group, control))
                };
                leader.asked.extract_if(.., is_failed).collect()
            }
            None => return,
        };
        for Asked { from, request, .. } in failed {
            let code = if matches!(error, AppendError::NotLeader { .. }) { NOT_LED } else { 0 };
            self.say(from, FromLeader::Answer { request, result: Err((code, error.to_string())) });
        }
    }

    /// Has what is due ordered. Returns how long until more may be.
    fn work(&self) -> Option<Duration> {
        let member = self.view.member()?;
        let now = self.monotonic();
        let (due, next) = {
            let mut leader = self.leader.borrow_mut();
            let office = &mut leader.as_mut()?.office;
            let log_time = member.now();
            let due = self.view.with_shard(|shard| office.poll(now, log_time, shard));
            (due, office.next_deadline(now, log_time))
        };
        let Due { controls, ticks, alerts, prepare, given_up } = due;
        self.have_prepared(prepare, given_up);
        for (group, alert) in alerts {
            tracing::error!(service = self.service_name(group), ?alert, "an operator should know");
        }
        for (group, control) in controls {
            self.note_plan(group, &control);
            self.order(group, control);
        }
        for (group, at) in ticks {
            member.tick(group, at);
        }
        next
    }
}

/// The longest sleep; what changes wakes the task anyway.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// Works for ever: whenever something is due, or may be.
pub(super) async fn run(inner: Rc<Inner>) {
    loop {
        let changed = inner.office_due.notified();
        match inner.work() {
            None => changed.await,
            Some(wait) => drop(tokio::time::timeout(wait.min(MAX_SLEEP), changed).await),
        }
    }
}
