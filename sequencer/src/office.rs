//! The leader's office: what it has ordered besides what clients bring.
//!
//! Pure. The committed log comes in by [`Office::applied`], what nodes report by the calls in between, the time of the
//! monotonic clock with every call. [`Office::poll`] says what is to be ordered now; [`Office::next_deadline`] when to
//! ask again if nothing happens before.
//!
//! - An office is for one term. It begins with the shard's state, and learns from nodes what the log does not say;
//!   each node tells a new leader everything again.
//! - What is wanted follows from the state and the reports; it is asked for once, and again only when it was not seen
//!   in the log for a while, with growing waits. So nothing is asked without end, and whatever is lost comes again.
//! - `seats` gives seats to engines, `balance` spreads those that share one, `leases` ends the epochs of silent proxies,
//!   `ticks` has replicas woken, `checkpoints` has states captured and says where the log may be cut, `upgrades` has
//!   programs changed when engines are ready, `progress` keeps what replicas report.
//!
//! Rules: design sections 4, 5, 9 and 12. Leaves to others: ordering, streams, compiling and fetching.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use refrain_wire::message::uplink::Progress;
use refrain_wire::{Control, Digest, Epoch, GroupId, Incarnation, NodeId, Position, Seat, ShardControl, Time};

use crate::shard::{Applied, Group, ShardState};

mod asks;
mod balance;
mod checkpoints;
mod due;
mod leases;
mod progress;
mod queue;
mod seats;
mod ticks;
mod upgrades;

pub use due::{Alert, Due, Options};

use asks::Asks;
use due::{Look, Wanted};
use leases::Leases;
use progress::Replicas;
use queue::Queue;
use seats::Engines;
use upgrades::Preparing;
pub use upgrades::UpgradeRefused;

/// The least wait before something is asked for again.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// The office of one leader.
#[derive(Debug)]
pub struct Office {
    options: Options,
    engines: Engines,
    leases: Leases,
    groups: BTreeMap<GroupId, Replicas>,
    asks: Asks,
    /// Groups that something happened to since the last poll.
    touched: BTreeSet<GroupId>,
    /// When groups are looked at again by themselves.
    alarms: Queue<GroupId, Duration>,
    /// When groups want a turn.
    wishes: Queue<GroupId, Time>,
    told: BTreeMap<GroupId, BTreeSet<Alert>>,
    upgrades: BTreeMap<GroupId, Preparing>,
    /// Groups whose guests cannot be saved, and the bytes at which the history of each is full.
    replay_only: BTreeMap<GroupId, u64>,
}

impl Office {
    /// A leader takes office. Every open epoch gets a full lease; engines have [`Options::settle`] to say that they are
    /// there.
    #[must_use]
    pub fn take_office(options: Options, now: Duration, shard: &ShardState) -> Self {
        let options = Options { ask_again: options.ask_again.max(LEAST_WAIT), ..options };
        let mut groups = BTreeMap::new();
        for (id, group) in shard.groups() {
            let mut replicas = Replicas::default();
            replicas.follow(group, None);
            replicas.moved(now);
            groups.insert(*id, replicas);
        }
        let mut leases = Leases::new(options.lease, options.ask_again);
        shard.epochs().keys().for_each(|epoch| leases.open(*epoch, now));
        Self {
            engines: Engines::new(now),
            leases,
            asks: Asks::new(options.ask_again),
            touched: groups.keys().copied().collect(),
            groups,
            alarms: Queue::default(),
            wishes: Queue::default(),
            told: BTreeMap::new(),
            upgrades: BTreeMap::new(),
            replay_only: BTreeMap::new(),
            options,
        }
    }

    /// Whether the guests of a group cannot be saved, and the limit of its history then: no checkpoints are asked for, the
    /// log is not kept for it, and it gets no ticks at the limit.
    pub fn replay_only(&mut self, group: GroupId, max_bytes: Option<u64>) {
        match max_bytes {
            Some(max_bytes) => drop(self.replay_only.insert(group, max_bytes)),
            None => drop(self.replay_only.remove(&group)),
        }
        self.touched.insert(group);
    }

    /// Whether the group lives on its history alone, and that is full.
    fn is_full(&self, id: GroupId, group: &Group) -> bool {
        let bytes = group.history.map_or(0, |history| history.bytes);
        self.replay_only.get(&id).is_some_and(|max_bytes| bytes >= *max_bytes)
    }

    /// An engine is there. With another session number than before it has lost all replicas; else it is expected to
    /// report them next ([`Office::progress`], then [`Office::reported`]).
    pub fn engine(&mut self, node: NodeId, session: u64, key: Digest, now: Duration) {
        if self.engines.announce(node, session, key, now) {
            self.groups.values_mut().for_each(|replicas| replicas.lose_all(node));
        }
        self.upgrades.values_mut().for_each(|upgrade| upgrade.forget(node));
        self.touch_all();
    }

    /// The engine has reported every replica that it runs: those that it holds by the log and did not report are lost.
    /// Only the first call after [`Office::engine`] counts; without any, they are lost after [`Options::grace`].
    pub fn reported(&mut self, node: NodeId) {
        if let Some(announced) = self.engines.reported(node) {
            self.groups.values_mut().for_each(|replicas| replicas.lose_unreported(node, announced));
            self.touch_all();
        }
    }

    /// There is no way to the node any more. Its seats are given to others after [`Options::grace`].
    pub fn node_gone(&mut self, node: NodeId, now: Duration) {
        self.engines.gone(node, now);
        self.touch_all();
    }

    /// An engine reports how far a replica is.
    pub fn progress(&mut self, progress: &Progress, now: Duration) {
        if let Some(replicas) = self.groups.get_mut(&progress.group) {
            replicas.report(progress, now);
            self.touched.insert(progress.group);
        }
    }

    /// An engine lost a replica: the seat is taken anew, later each time when that happens again and again.
    pub fn lost(&mut self, group: GroupId, seat: Seat, incarnation: Incarnation, now: Duration) {
        if let Some(replicas) = self.groups.get_mut(&group) {
            replicas.lose(seat, incarnation, now);
            self.touched.insert(group);
        }
    }

    /// A proxy is alive, and has released so much of each group; its first renewal to a leader names every group.
    /// False when its epoch is over, or about to be.
    pub fn renew(&mut self, epoch: Epoch, now: Duration, released: &[(GroupId, Position)]) -> bool {
        let alive = self.leases.renew(epoch, now);
        if alive && self.leases.release(epoch, released) {
            self.touch_all();
        } else if alive {
            self.touched.extend(released.iter().map(|(group, _)| *group));
        }
        alive
    }

    /// A proxy is alive: it submitted something.
    pub fn submitted(&mut self, epoch: Epoch, now: Duration) {
        self.leases.renew(epoch, now);
    }

    /// An entry was committed and applied to `shard`.
    pub fn applied(&mut self, applied: &Applied, shard: &ShardState, now: Duration) {
        for opened in applied.opened.iter().chain(&applied.reopened) {
            self.leases.open(opened.epoch, now);
        }
        applied.ended.iter().for_each(|epoch| self.leases.end(*epoch));
        for (id, control) in &applied.controls {
            let Some(group) = shard.groups().get(id) else { continue };
            let replicas = self.groups.entry(*id).or_default();
            replicas.follow(group, Some(now));
            replicas.note(control, applied.position, now);
            self.touched.insert(*id);
            if let Control::Upgrade { bundle, .. } = control {
                self.note_upgrade(*id, bundle);
            }
        }
        if applied.concerns_all() {
            self.groups.values_mut().for_each(|replicas| replicas.given(applied.position));
            self.touch_all();
        }
        for batch in &applied.batches {
            if let Some(replicas) = self.groups.get_mut(&batch.group) {
                replicas.given(applied.position);
                self.touched.insert(batch.group);
            }
        }
    }

    /// What is to be ordered now, at the log time that an entry would have.
    pub fn poll(&mut self, now: Duration, log_time: Time, shard: &ShardState) -> Due {
        let mut due = Due::default();
        while let Some((announced, node)) = self.engines.first_unreported() {
            if announced + self.options.grace > now {
                break;
            }
            self.reported(node);
        }
        while let Some(id) = self.alarms.pop_due(now) {
            self.touched.insert(id);
        }
        let mut look = Look { now, log_time, shard, loads: None };
        for id in std::mem::take(&mut self.touched) {
            if let Some(group) = shard.groups().get(&id) {
                self.look(id, group, &mut look, &mut due);
            }
        }
        let over = self.leases.due(now).into_iter();
        due.controls.extend(over.map(|epoch| (GroupId::SHARD, Control::Shard(ShardControl::EndEpoch(epoch)))));
        self.take_ticks(now, log_time, &mut due);
        due
    }

    /// Looks at a group: what it wants of the log, and when to look again.
    fn look(&mut self, id: GroupId, group: &Group, look: &mut Look<'_>, due: &mut Due) {
        let now = look.now;
        let mut wanted = Wanted::default();
        if group.halted.is_none() {
            self.want_seats(id, group, look, &mut wanted);
            self.want_balance(id, group, look, &mut wanted);
            self.want_audit(id, group, &mut wanted);
            self.want_checkpoint(id, group, look, &mut wanted);
        }
        self.want_upgrade(id, group, now, &mut wanted, due);
        self.wish(id, group, now, &mut wanted);
        due.controls.extend(self.asks.want(id, wanted.controls, now).into_iter().map(|control| (id, control)));
        let told = self.told.insert(id, wanted.alerts.clone()).unwrap_or_default();
        due.alerts.extend(wanted.alerts.difference(&told).map(|alert| (id, *alert)));
        if wanted.alerts.is_empty() {
            self.told.remove(&id);
        }
        let alarm = self.asks.again(id).into_iter().chain(wanted.look_again).min();
        // One that is due already would ring without end.
        let alarm = alarm.map(|at| at.max(now + LEAST_WAIT));
        self.alarms.set(id, alarm);
    }

    /// How long until [`Office::poll`] is due if nothing happens before; `None` when nothing will be.
    #[must_use]
    pub fn next_deadline(&self, now: Duration, log_time: Time) -> Option<Duration> {
        if !self.touched.is_empty() {
            return Some(Duration::ZERO);
        }
        let unreported = self.engines.first_unreported().map(|(announced, _)| announced + self.options.grace);
        let clock = [self.alarms.first(), self.leases.first(), unreported].into_iter().flatten().min();
        let by_clock = clock.map(|at| at.saturating_sub(now));
        let by_log = self.wishes.first().map(|at| at.since(log_time));
        by_clock.into_iter().chain(by_log).min()
    }

    /// A majority of the group's seats has executed everything up to here.
    #[must_use]
    pub fn executed(&self, group: GroupId) -> Position {
        self.groups.get(&group).map(Replicas::executed).unwrap_or_default()
    }

    /// When the group wants its next turn: the wish of a seat that has executed everything.
    #[must_use]
    pub fn wants(&self, group: GroupId) -> Option<Time> {
        self.groups.get(&group)?.wants()
    }

    /// The engines that are there.
    pub fn engines(&self) -> impl Iterator<Item = NodeId> {
        self.engines.present().map(|(node, _)| node)
    }

    fn touch_all(&mut self) {
        self.touched.extend(self.groups.keys());
    }
}

#[cfg(test)]
mod tests;
