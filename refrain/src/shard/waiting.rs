//! Commands that wait for the leader: told to whoever leads, told again to the next one, answered when the log has
//! what was asked.
//!
//! A control that two leaders order counts once, or is done twice without harm; of which neither is true is told again
//! only when no leader has ordered it. A change of members that is done already answers as the first one would. What
//! finds no leader for a while is given up, with the truth about whether it may still happen. Whoever has ended its own
//! wait is not told to a leader any more.

use std::time::Duration;

use refrain_api::{Appended, ErrorCode};
use refrain_engine::replica::ReplicaId;
use refrain_wire::message::uplink::{MemberChange, ToLeader};
use refrain_wire::{Control, GroupId, NodeId, Position, Seat};
use tokio::time::Instant;

use super::group::{Group, SeatState};
use super::{Inner, Reply, failure};

/// The code of the answer that the asked node does not lead any more: no control was ordered; a change of members may have
/// begun.
pub(super) const NOT_LED: u8 = 2;
/// The code of the answer that the node to be removed is no member.
pub(super) const NOT_A_MEMBER: u8 = 3;
/// The most answers that may wait.
const MAX_WAITING: usize = 1024;
/// For how many election timeouts a command waits for a leader.
const PATIENCE_ELECTIONS: u32 = 10;
/// It does not wait longer than this, which is less than the admin API gives a command.
const MAX_PATIENCE: Duration = Duration::from_secs(10);

/// What is asked.
enum Wanted {
    /// Ordered when it is in the log.
    Control(GroupId, Control),
    /// Done when the leader says so.
    Members(MemberChange),
}

/// An answer that waits until its control is committed, or until the leader says what came of it.
pub(super) struct Waiting {
    request: u64,
    wanted: Wanted,
    reply: Reply<Appended>,
    /// Since when no leader has it; none when one has.
    unled: Option<Instant>,
    /// A leader that is none any more had it, and did not say that it had done nothing.
    may_happen: bool,
    /// It is the removal of a node that was no member when it was asked for.
    of_a_stranger: bool,
}

impl Waiting {
    fn control(&self) -> Option<(GroupId, &Control)> {
        match &self.wanted {
            Wanted::Control(group, control) => Some((*group, control)),
            Wanted::Members(_) => None,
        }
    }

    fn is_for(&self, group: GroupId, control: &Control) -> bool {
        let same = |wanted: &Control| match (wanted, control) {
            // The leader says what the replica begins with.
            (
                Control::TakeSeat { seat, incarnation, node, .. },
                Control::TakeSeat { seat: taken, incarnation: next, node: at, .. },
            ) => (seat, incarnation, node) == (taken, next, at),
            _ => wanted == control,
        };
        self.control().is_some_and(|(waits, wanted)| waits == group && same(wanted))
    }

    /// Whether the next leader may be told though the one before may have ordered it: not of what would undo, done late,
    /// what was done since.
    fn may_be_repeated(&self) -> bool {
        !self.may_happen || !matches!(self.wanted, Wanted::Control(_, Control::Resume | Control::Resize { .. }))
    }

    fn wants_as_leader(&self, node: NodeId) -> bool {
        matches!(&self.wanted, Wanted::Members(MemberChange::Transfer(wanted)) if *wanted == node)
    }

    fn message(&self) -> ToLeader {
        let request = self.request;
        match &self.wanted {
            Wanted::Control(group, control) => ToLeader::Control { request, group: *group, control: control.clone() },
            Wanted::Members(change) => ToLeader::Members { request, change: change.clone() },
        }
    }

    fn why_given_up(&self) -> &'static str {
        if self.may_happen {
            "the leader of the log has changed, and there is no other; it may still happen"
        } else {
            "no leader of the log can be reached: nothing was ordered"
        }
    }
}

impl Inner {
    /// Has a control ordered and answers with its position when it is committed.
    pub(super) fn append(&self, group: GroupId, control: Control, reply: Reply<Appended>) {
        self.ask_leader(Wanted::Control(group, control), reply);
    }

    /// Has the members of the log changed and answers when that is done.
    pub(super) fn change_members(&self, change: MemberChange, reply: Reply<Appended>) {
        self.ask_leader(Wanted::Members(change), reply);
    }

    fn ask_leader(&self, wanted: Wanted, reply: Reply<Appended>) {
        self.waiting.borrow_mut().retain(|waiting| !waiting.reply.is_closed());
        if self.waiting.borrow().len() >= MAX_WAITING {
            let text = format!("{MAX_WAITING} commands wait for the log already");
            return drop(reply.send(Err(failure(ErrorCode::LogUnavailable, text))));
        }
        let request = self.requests.get() + 1;
        self.requests.set(request);
        let unled = (!self.link_is_up()).then(Instant::now);
        let of_a_stranger = self.is_of_a_stranger(&wanted);
        let waiting = Waiting { request, wanted, reply, unled, may_happen: false, of_a_stranger };
        let message = waiting.message();
        self.waiting.borrow_mut().push(waiting);
        match unled {
            None => self.tell_leader(message),
            Some(_) => self.give_up_later(),
        }
    }

    /// As far as this node knows. One that is no member knows none.
    fn is_of_a_stranger(&self, wanted: &Wanted) -> bool {
        let Wanted::Members(MemberChange::Remove(node)) = wanted else { return false };
        self.view.member().is_none_or(|member| member.log().members().iter().all(|known| known.node != *node))
    }

    /// There is a leader: it is told what waits.
    pub(super) fn ask_again(&self, leader: NodeId) {
        let (led, messages) = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.retain(|waiting| !waiting.reply.is_closed());
            let led: Vec<u64> =
                waiting.iter().filter(|one| one.wants_as_leader(leader)).map(|one| one.request).collect();
            let unled = waiting.iter_mut().filter(|waiting| {
                waiting.unled.is_some() && waiting.may_be_repeated() && !led.contains(&waiting.request)
            });
            let messages: Vec<ToLeader> = unled
                .map(|waiting| {
                    waiting.unled = None;
                    waiting.message()
                })
                .collect();
            (led, messages)
        };
        for request in led {
            self.answer_request(request, self.view.position());
        }
        messages.into_iter().for_each(|message| self.tell_leader(message));
    }

    /// There is no leader any more: what it had waits for the next one.
    pub(super) fn wait_for_leader(&self) {
        self.unled(|waiting| {
            waiting.may_happen = true;
            true
        });
    }

    /// The leader that was asked leads no more.
    pub(super) fn not_led(&self, request: u64) {
        self.unled(|waiting| {
            let is_it = waiting.request == request;
            waiting.may_happen |= is_it && matches!(waiting.wanted, Wanted::Members(_));
            is_it
        });
    }

    /// The same of a control.
    pub(super) fn control_not_led(&self, group: GroupId, control: &Control) {
        self.unled(|waiting| waiting.is_for(group, control));
    }

    fn unled(&self, mut which: impl FnMut(&mut Waiting) -> bool) {
        let now = Instant::now();
        let mut any = false;
        for waiting in self.waiting.borrow_mut().iter_mut().filter(|waiting| waiting.unled.is_none()) {
            if which(waiting) {
                waiting.unled = Some(now);
                any = true;
            }
        }
        if any {
            self.give_up_later();
        }
    }

    fn patience(&self) -> Duration {
        MAX_PATIENCE.min(self.config.election_timeout * PATIENCE_ELECTIONS)
    }

    /// What no leader has taken by then is given up.
    fn give_up_later(&self) {
        let (me, patience) = (self.me.clone(), self.patience());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(patience).await;
            let Some(inner) = me.upgrade() else { return };
            for waiting in inner.take_waiting(|one| one.unled.is_some_and(|since| since.elapsed() >= patience)) {
                let why = waiting.why_given_up();
                inner.refuse_waiting(waiting, why);
            }
        });
    }

    fn take_waiting(&self, which: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        self.waiting.borrow_mut().extract_if(.., |waiting| which(waiting)).collect()
    }

    fn refuse_waiting(&self, waiting: Waiting, why: &str) {
        let _ = waiting.reply.send(Err(failure(ErrorCode::LogUnavailable, why)));
        if let Wanted::Control(group, Control::TakeSeat { seat, .. }) = waiting.wanted {
            self.tell_dropped(group, seat);
        }
    }

    /// Fails whoever waits for one of these.
    fn fail_where(&self, why: &str, fails: impl Fn(&Waiting) -> bool) {
        self.take_waiting(fails).into_iter().for_each(|waiting| self.refuse_waiting(waiting, why));
    }

    /// A replica that was dropped here for another one that was not ordered: the leader has its seat taken anew.
    fn tell_dropped(&self, id: GroupId, seat: Seat) {
        let dropped = {
            let groups = self.groups.borrow();
            let group = groups.get(&id);
            let holder = |group: &Group| group.seats.get(usize::from(seat.0)).map(|holder| holder.state.clone());
            let dead = |group: &&Group| matches!(holder(group), Some(SeatState::Dead(_)));
            group.filter(dead).and_then(|group| group.local_replica(seat))
        };
        if let Some(ReplicaId { group, seat, incarnation }) = dropped {
            self.tell_leader(ToLeader::Lost { group, seat, incarnation, reason: "dropped by an operator".into() });
        }
    }

    /// The leader did not do what was asked.
    pub(super) fn request_refused(&self, request: u64, code: u8, why: &str) {
        let done_before = |waiting: &Waiting| {
            let removal = matches!(waiting.wanted, Wanted::Members(MemberChange::Remove(_)));
            waiting.request == request && removal && waiting.may_happen && !waiting.of_a_stranger
        };
        match code {
            NOT_LED => self.not_led(request),
            // The leader before had done it.
            NOT_A_MEMBER if self.waiting.borrow().iter().any(done_before) => {
                self.answer_request(request, self.view.position());
            }
            _ => self.fail_where(why, |waiting| waiting.request == request),
        }
    }

    pub(super) fn fail_waiting(&self, group: GroupId, control: &Control, why: &str) {
        self.fail_where(why, |waiting| waiting.is_for(group, control));
    }

    /// The leader did what was asked.
    pub(super) fn answer_request(&self, request: u64, at: Position) {
        let mut waiting = self.waiting.borrow_mut();
        let found = waiting.iter().position(|waiting| waiting.request == request);
        if let Some(found) = found {
            let _ = waiting.swap_remove(found).reply.send(Ok(Appended { position: at.0 }));
        }
    }

    /// Answers whoever waits for a control that was committed at `at`.
    pub(super) fn answer(&self, group: GroupId, control: &Control, at: Position) {
        let mut waiting = self.waiting.borrow_mut();
        let found = waiting.iter().position(|waiting| waiting.is_for(group, control));
        if let Some(found) = found {
            let _ = waiting.swap_remove(found).reply.send(Ok(Appended { position: at.0 }));
        }
    }
}
