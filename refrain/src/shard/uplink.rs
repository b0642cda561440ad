//! The way to the leader: what this node tells it, by a plain call when it is here, by a stream when it is elsewhere.
//!
//! Nothing that goes up is certain to arrive. Whoever is told something by the committed log (a submission's number, a
//! new epoch, a control) says it again when the way is open anew, until the log has it.

use std::rc::Rc;
use std::time::Duration;

use refrain_proxy::tcp::NotTaken;
use refrain_sequencer::log::OrderedLog as _;
use refrain_wire::limits::MAX_PROGRESS;
use refrain_wire::message::Message as _;
use refrain_wire::message::uplink::{FromLeader, Progress, ToLeader, Why};
use refrain_wire::stream::Role;
use refrain_wire::{Control, Epoch, GroupId, NodeId, SubmissionId};
use tokio::time::Instant;

use super::Inner;
use super::leader::SessionId;
use super::peers::DialError;
use crate::link::{Inbox, LinkError, Outbox};

/// How long after a failed try the next one is made.
const RETRY: Duration = Duration::from_millis(25);
/// The longest wait between tries.
const MAX_RETRY: Duration = Duration::from_millis(400);

/// Where the leader is.
#[derive(Clone, Default)]
pub(super) enum Link {
    /// Nobody knows, or it cannot be reached.
    #[default]
    Down,
    /// This node's member leads.
    Here,
    /// Another node's does.
    There(NodeId, Outbox),
}

impl Inner {
    /// Tells the leader, if there is a way to it.
    pub(super) fn tell_leader(&self, message: ToLeader) {
        match message {
            ToLeader::Progress(all) => in_parts(all).for_each(|part| self.pass_on(ToLeader::Progress(part))),
            message => self.pass_on(message),
        }
    }

    fn pass_on(&self, message: ToLeader) {
        let link = self.link.borrow().clone();
        match link {
            Link::Down => {}
            Link::Here => self.lead(SessionId::LOCAL, message),
            Link::There(_, outbox) => outbox.push(|frames| message.encode(frames)),
        }
    }

    pub(super) fn link_is_up(&self) -> bool {
        !matches!(*self.link.borrow(), Link::Down)
    }

    /// The node that leads, as far as this one knows.
    pub(super) fn leader(&self) -> Option<NodeId> {
        match &*self.link.borrow() {
            Link::Down => None,
            Link::Here => Some(self.node),
            Link::There(leader, _) => Some(*leader),
        }
    }

    /// There is a way to a leader: it is told everything that it may not know.
    pub(super) fn link_up(&self, link: Link) {
        *self.link.borrow_mut() = link;
        self.traces.leader_found();
        if let Some(engine) = &self.engine {
            self.tell_leader(ToLeader::Engine { session: engine.session, key: engine.key });
            // Empty or not: what is not reported does not run here.
            self.tell_leader(ToLeader::Progress(self.progress_of_all()));
        }
        // What an earlier leader held back is this one's affair now; it says so if it does.
        let groups: Vec<GroupId> = self.groups.borrow().keys().copied().collect();
        groups.into_iter().for_each(|group| self.front().release(group));
        self.renew();
        self.resend();
        self.create_missing();
        self.want_again();
        if let Some(leader) = self.leader() {
            self.ask_again(leader);
        }
        self.tell_upgrades();
        self.tell_joined();
    }

    /// There is none any more.
    pub(super) fn link_down(&self) {
        self.traces.leader_lost(self.link_is_up());
        *self.link.borrow_mut() = Link::Down;
        self.wait_for_leader();
    }

    /// Orders a submission of the front end.
    pub(super) fn submit(
        &self,
        id: SubmissionId,
        batches: Vec<refrain_wire::entry::GroupRecords>,
    ) -> Result<(), NotTaken> {
        if !self.link_is_up() {
            return Err(NotTaken);
        }
        self.traces.submitted(id.number, &batches);
        self.tell_leader(ToLeader::Submit { id, batches });
        Ok(())
    }

    /// Offers again what was not ordered.
    pub(super) fn resend(&self) {
        let epoch = self.epoch.get();
        let last = self.view.with_shard(|shard| shard.epochs().get(&epoch).map(|epoch| epoch.last));
        if let Some(last) = last {
            self.front().resend_after(last);
        }
    }

    /// What the leader says.
    pub(super) fn hear_leader(&self, message: FromLeader) {
        match message {
            // The stream's task takes these two.
            FromLeader::Leads { .. } | FromLeader::NotLeader { .. } => {}
            FromLeader::Refused { id, why, expected, text, .. } => self.refused_submission(id, why, expected, &text),
            FromLeader::Failed { epoch, last, full, text } => self.failed_submissions(epoch, last, full, &text),
            FromLeader::Renewed { beat } => self.lease.renewed(beat),
            FromLeader::Answer { request, result } => match result {
                Ok(position) => self.answer_request(request, position),
                Err((code, text)) if self.upgrade_refused(request, code, &text) => {}
                Err((code, text)) => self.request_refused(request, code, &text),
            },
            FromLeader::Prepare { group, bundle } => self.prepare(group, bundle),
            FromLeader::Preparing { group, bundle, node, preparation } => {
                self.note_preparing(group, &bundle, node, preparation);
            }
            FromLeader::Cut { position } => self.cut_log(position),
            FromLeader::Hold { group } => self.front().hold(group),
            FromLeader::Release { group } => {
                self.front().release(group);
                if self.stalled.take() {
                    self.resend();
                }
            }
        }
    }

    /// A submission that cannot be ordered as it is would be refused for ever, and all others wait behind it: the epoch
    /// is given up for a new one.
    fn refused_submission(&self, id: SubmissionId, why: Why, expected: u64, text: &str) {
        if id.epoch != self.epoch.get() {
            return;
        }
        if why == Why::Invalid {
            tracing::error!(
                epoch = id.epoch.0,
                number = id.number,
                text,
                "no leader can order this: connections are closed"
            );
            return self.lose_epoch();
        }
        tracing::debug!(epoch = id.epoch.0, number = id.number, ?why, "a submission waits");
        // One that was ordered by an earlier leader, or is on its way, needs nothing more.
        if why != Why::OutOfOrder || expected < id.number {
            self.stalled.set(true);
        }
    }

    /// What a full log has no room for is given up with the connections that sent it, and the rest goes on. Where that
    /// does not help, nobody can tell a client when the log takes entries again: all connections are closed, and a new
    /// epoch is tried for until there is one.
    fn failed_submissions(&self, epoch: Epoch, last: u64, full: bool, text: &str) {
        if epoch != self.epoch.get() {
            return;
        }
        if full && self.front().give_up_after(SubmissionId { epoch, number: last }) {
            self.front().resend_after(last);
            self.want_again();
        } else {
            tracing::debug!(text, "the log takes nothing: the epoch is given up");
            self.lose_epoch();
        }
    }

    /// Wants a control ordered that keeps a group safe: it is said again until it is in the log, or has no point.
    pub(super) fn insist(&self, group: GroupId, control: Control) {
        let mut insisted = self.insisted.borrow_mut();
        if insisted.iter().any(|(id, kept)| *id == group && *kept == control) || insisted.len() >= MAX_INSISTED {
            return;
        }
        insisted.push((group, control.clone()));
        drop(insisted);
        self.tell_leader(ToLeader::Control { request: 0, group, control });
    }

    /// Says again what is not in the log yet.
    pub(super) fn want_again(&self) {
        self.insisted.borrow_mut().retain(|(group, control)| self.has_point(*group, control));
        // What is told here may come back at once and add to them.
        let insisted = self.insisted.borrow().clone();
        for (group, control) in insisted {
            self.tell_leader(ToLeader::Control { request: 0, group, control });
        }
    }

    /// Whether the shard's state would take a control that was insisted on.
    fn has_point(&self, group: GroupId, control: &Control) -> bool {
        self.view.with_shard(|shard| {
            shard.groups().get(&group).is_some_and(|group| match control {
                Control::Quarantine { seat, incarnation, .. } => (group.seats.get(usize::from(seat.0)))
                    .is_some_and(|state| state.incarnation == *incarnation && !state.quarantined),
                Control::Halt { .. } => group.halted.is_none(),
                _ => false,
            })
        })
    }

    /// How far this node's replicas are.
    fn progress_of_all(&self) -> Vec<Progress> {
        let groups = self.groups.borrow();
        groups.values().flat_map(|group| group.local_progress()).collect()
    }
}

/// A report in messages of which only the last is not full.
fn in_parts(mut all: Vec<Progress>) -> impl Iterator<Item = Vec<Progress>> {
    let mut ended = false;
    std::iter::from_fn(move || {
        let rest = all.split_off(all.len().min(MAX_PROGRESS));
        let part = std::mem::replace(&mut all, rest);
        let last = part.len() < MAX_PROGRESS;
        (!std::mem::replace(&mut ended, last)).then_some(part)
    })
}

/// Controls that may wait to be in the log at once.
const MAX_INSISTED: usize = 1024;

/// Keeps a way to the leader open, wherever it is, until this node's log ends, and the node with it.
pub(super) async fn run(inner: Rc<Inner>) {
    let mut leadership = inner.view.member().map(|member| member.log().leadership());
    let (mut wait, mut hint, mut lost) = (RETRY, None, None);
    // One that was given up because it was silent. Others may name it as the leader until they have noticed; it may also
    // be there again.
    let mut silent: Option<(NodeId, Instant)> = None;
    let mut turn = 0;
    loop {
        let known = leadership.as_mut().map(|leadership| *leadership.borrow_and_update());
        if known.as_ref().is_some_and(|known| known.leading) {
            let Some(term) = inner.take_office() else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let goes_on = match &mut leadership {
                Some(leadership) => leadership.wait_for(|now| !now.leading || now.term != term).await.is_ok(),
                None => false,
            };
            inner.leave_office();
            inner.link_down();
            if goes_on {
                continue;
            }
            return;
        }
        let candidates = inner.member_nodes();
        let quiet = silent.filter(|(_, until)| Instant::now() < *until).map(|(node, _)| node);
        let named = [hint.take(), known.as_ref().and_then(|known| known.leader)];
        let candidate = named_leader(named, inner.node, quiet);
        let candidate = candidate.or_else(|| in_turn(&candidates, turn, [lost.take(), quiet]));
        turn += 1;
        let was_quiet = candidate.is_some() && candidate == quiet;
        let patience = if was_quiet { inner.config.election_timeout / 2 } else { inner.config.peer_timeout };
        let changed = async {
            match &mut leadership {
                Some(leadership) => leadership.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            biased;
            goes_on = changed => if goes_on { None } else { return inner.link_down() },
            outcome = follow(&inner, candidate, patience) => Some(outcome),
        };
        inner.link_down();
        match outcome {
            None => wait = RETRY,
            Some(Ok(leader)) => {
                if leader.is_none() || leader == candidate || leader == quiet {
                    tokio::time::sleep(RETRY).await;
                }
                (hint, wait) = (leader, RETRY);
            }
            Some(Err(error)) => {
                // One that did not answer as fast as is asked of a quiet one is not quiet for longer: it has all its time then.
                if error.is_silence() && !was_quiet {
                    let others_notice = Instant::now() + inner.config.election_timeout * 2;
                    silent = candidate.map(|node| (node, others_notice));
                }
                tracing::debug!(error = %anyhow::Error::new(error), ?candidate, "no way to the leader");
                tokio::time::sleep(wait).await;
                (lost, wait) = (candidate, (wait * 2).min(MAX_RETRY));
            }
        }
    }
}

/// The first other node that is named; one that was quiet only when no other is.
fn named_leader(named: [Option<NodeId>; 2], own: NodeId, quiet: Option<NodeId>) -> Option<NodeId> {
    let mut others = named.into_iter().flatten().filter(|node| *node != own);
    let first = others.next()?;
    if Some(first) == quiet { others.next().or(Some(first)) } else { Some(first) }
}

/// Whom to ask next: not at once one that did not answer, as to connect to a machine that is gone takes most of a lease.
fn in_turn(members: &[NodeId], turn: usize, skipped: [Option<NodeId>; 2]) -> Option<NodeId> {
    let from = turn % members.len().max(1);
    let (before, after) = members.split_at(from);
    let found = after.iter().chain(before).copied().find(|node| !skipped.contains(&Some(*node)));
    found.or(skipped[0]).or(skipped[1])
}

/// Follows a node as long as it leads; returns whom it names instead. Gives up when it does not answer in time.
async fn follow(inner: &Inner, leader: Option<NodeId>, patience: Duration) -> Result<Option<NodeId>, DialError> {
    let Some(leader) = leader else { return Err(DialError::NobodyKnown) };
    let (mut inbox, writer) = inner.dial_within(leader, Role::Uplink, patience).await?;
    let outbox = Outbox::default();
    let _guard = EndOnDrop(outbox.clone());
    let (writing, reading) = (outbox.write_to(writer), read(inner, leader, &mut inbox, &outbox));
    tokio::select! {
        biased;
        outcome = reading => outcome.map_err(DialError::Link),
        error = writing => Err(DialError::Link(error)),
    }
}

struct EndOnDrop(Outbox);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn read(inner: &Inner, leader: NodeId, inbox: &mut Inbox, outbox: &Outbox) -> Result<Option<NodeId>, LinkError> {
    loop {
        let frame = inbox.next().await?;
        match FromLeader::decode(frame.kind, &frame.payload)? {
            FromLeader::Leads { lease_millis, .. } => {
                inner.lease.led_by(Duration::from_millis(u64::from(lease_millis)));
                inner.link_up(Link::There(leader, outbox.clone()));
            }
            FromLeader::NotLeader { leader } => return Ok(leader),
            message => inner.hear_leader(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_proxy::nat::{GroupLimits, HeardAt, Limits, Nat};
    use refrain_sequencer::batcher::{self, Batcher};
    use refrain_wire::{Incarnation, Position, Seat};

    #[test]
    fn what_is_left_of_a_submission_that_was_given_up_can_be_ordered() {
        let (epoch, group, now) = (Epoch(1), GroupId(1), Duration::ZERO);
        let mut nat = Nat::new(epoch, Limits::default());
        nat.add_group(group, GroupLimits::default());
        nat.hear_client(HeardAt { socket: 0, group, port: 53 }, "10.0.0.1:5000".parse().unwrap(), b"?", now);
        nat.take_submission().expect("a datagram waits");
        assert_eq!(nat.give_up().datagrams, 1);
        let mut batcher = Batcher::new(batcher::Limits::default());
        batcher.open_epoch(epoch, 0);
        for left in nat.resend_after(0) {
            assert_eq!(batcher.offer(batcher::Submission { id: left.id, batches: left.batches }), Ok(()));
        }
    }

    #[test]
    fn the_member_that_did_not_answer_is_not_the_next_one_asked() {
        let members = [1, 2, 3].map(NodeId);
        for (turn, lost, asked) in
            [(0, None, 1), (4, None, 2), (3, Some(1), 2), (5, Some(3), 1), (3, Some(2), 1), (3, Some(9), 1)]
        {
            let lost = lost.map(NodeId);
            assert_eq!(in_turn(&members, turn, [lost, None]), Some(NodeId(asked)), "{turn} {lost:?}");
            assert_eq!(in_turn(&members, turn, [None, lost]), Some(NodeId(asked)), "{turn} {lost:?}");
        }
        let both = [Some(NodeId(1)), Some(NodeId(2))];
        assert_eq!(in_turn(&members, 0, both), Some(NodeId(3)));
        assert_eq!(in_turn(&members[..1], 7, [Some(NodeId(1)), None]), Some(NodeId(1)), "there is no other");
        assert_eq!(in_turn(&[], 7, [None, None]), None);
    }

    #[test]
    fn a_quiet_node_is_asked_when_no_other_is_named() {
        let named = |hint: u64, known: u64, quiet: u64| {
            let node = |number: u64| (number > 0).then_some(NodeId(number));
            named_leader([node(hint), node(known)], NodeId(4), node(quiet)).map(|node| node.0)
        };
        assert_eq!(named(1, 2, 0), Some(1));
        assert_eq!(named(1, 2, 1), Some(2));
        assert_eq!(named(1, 1, 1), Some(1));
        assert_eq!(named(1, 0, 1), Some(1));
        assert_eq!(named(4, 2, 1), Some(2));
        assert_eq!(named(4, 0, 0), None);
    }

    #[test]
    fn a_long_report_goes_in_parts_of_which_only_the_last_is_not_full() {
        let progress = |group| Progress {
            group: GroupId(group),
            seat: Seat(0),
            incarnation: Incarnation(1),
            position: Position(1),
            wants: None,
            root: None,
            memory_bytes: 0,
            dirty_bytes: 0,
        };
        let lengths = |count: usize| -> Vec<usize> {
            let all: Vec<Progress> = (0..count as u32).map(progress).collect();
            let parts: Vec<Vec<Progress>> = in_parts(all.clone()).collect();
            assert_eq!(parts.concat(), all);
            parts.iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(0), [0], "an empty report says that nothing runs");
        assert_eq!(lengths(MAX_PROGRESS - 1), [MAX_PROGRESS - 1]);
        assert_eq!(lengths(MAX_PROGRESS), [MAX_PROGRESS, 0]);
        assert_eq!(lengths(2 * MAX_PROGRESS + 1), [MAX_PROGRESS, MAX_PROGRESS, 1]);
    }
}
