//! What this node tells of the batches that pass: their spans and their times. Hooks of the loop's other modules, each a
//! plain call that measures, adds to atomics, and pushes a span for a batch that is traced.
//!
//! Told is what happens now and for the first time. An entry that is older than [`LIVE`] by its log time, or was in the
//! log when this node started, is history: it was told when it happened, by whoever was there. So a node that replays or
//! catches up tells nothing twice.
//!
//! `log` knows what the log's own threads did; `figures` are the numbers that are looked up when somebody asks.

mod figures;
mod log;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use refrain_engine::{Lasted, ReplicaId, TurnOutcome};
use refrain_proxy::core::Released;
use refrain_sequencer::observe::Observer;
use refrain_sequencer::sequencer::Ordering;
use refrain_sequencer::shard::{Applied, ShardState};
use refrain_telemetry::metrics::ServiceMetrics;
use refrain_telemetry::{Interval, Journeys, Metrics, ServiceLabels, Telemetry, Tracer, Turn};
use refrain_wire::entry::GroupRecords;
use refrain_wire::record::records;
use refrain_wire::{Epoch, GroupId, Incarnation, Position, Seat, Time};

use super::Inner;
use log::LogWork;

/// Older entries are history. Longer than clocks of nodes are apart, and than anything takes that goes well.
const LIVE: Duration = Duration::from_secs(10);
/// The most batches that wait on the leader until a quorum has executed them; a later one is told without the wait.
const MAX_ROOTS: usize = 1024;

/// A group as it is measured.
struct Service {
    labels: ServiceLabels,
    metrics: ServiceMetrics,
}

/// A traced batch that was ordered here and is not executed by a quorum yet.
struct Root {
    group: GroupId,
    position: Position,
    from: Instant,
    records: u32,
    bytes: u64,
}

/// What this node tells.
pub(super) struct Traces {
    tracer: Tracer,
    metrics: Arc<Metrics>,
    journeys: RefCell<Journeys>,
    services: RefCell<BTreeMap<GroupId, Service>>,
    log: Arc<LogWork>,
    roots: RefCell<VecDeque<Root>>,
    /// Seats that replicas of this node have taken and do not vote in yet.
    joining: RefCell<BTreeMap<(GroupId, Seat), (Incarnation, Instant)>>,
    /// Since when this node has had no way to a leader, after it had one.
    leaderless: Cell<Option<Instant>>,
    /// The last position that is history.
    history: Cell<Position>,
}

impl Traces {
    pub(super) fn new(telemetry: &Telemetry) -> Self {
        let (tracer, metrics) = (telemetry.tracer().clone(), Arc::clone(telemetry.metrics()));
        Self {
            journeys: RefCell::new(Journeys::new(tracer.clone())),
            services: RefCell::default(),
            log: Arc::new(LogWork::new(tracer.clone(), Arc::clone(&metrics))),
            roots: RefCell::default(),
            joining: RefCell::default(),
            leaderless: Cell::new(None),
            history: Cell::new(Position(0)),
            tracer,
            metrics,
        }
    }

    /// Who is told of the log's writes.
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.log) as Arc<dyn Observer>
    }

    /// Everything up to here was there at the start.
    pub(super) fn begin_after(&self, position: Position) {
        self.history.set(position);
    }

    /// This node serves a group.
    pub(super) fn serves(&self, group: GroupId, service: &str) {
        let labels = ServiceLabels::new(service, group);
        let metrics = self.metrics.service(&labels);
        self.journeys.borrow_mut().add(group, metrics.clone());
        self.services.borrow_mut().insert(group, Service { labels, metrics });
    }

    /// Whether an entry that is acted on is history; what follows from it is then too.
    fn is_history(&self, applied: &Applied) -> bool {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let old = Time::default().plus(wall).since(applied.time) > LIVE;
        if old {
            self.history.set(applied.position);
        }
        applied.position <= self.history.get()
    }

    /// A client of the group was accepted.
    pub(super) fn accepted(&self, group: GroupId) {
        if let Some(service) = self.services.borrow().get(&group) {
            service.metrics.accepted.inc();
        }
    }

    /// Bytes of a client were read.
    pub(super) fn received(&self, group: GroupId, bytes: usize, now: Instant) {
        self.journeys.borrow_mut().read(group, bytes as u64, now);
    }

    /// A submission goes to the leader.
    pub(super) fn submitted(&self, number: u64, batches: &[GroupRecords]) {
        let (mut journeys, now) = (self.journeys.borrow_mut(), Instant::now());
        for batch in batches {
            journeys.submitted(batch.group, number, batch.records.len() as u64, now);
        }
    }

    /// The proxy's epoch is over.
    pub(super) fn epoch_lost(&self) {
        self.journeys.borrow_mut().reset();
    }

    /// A turn was agreed on, and its bytes were given to sockets.
    pub(super) fn released(&self, released: &Released, agreed: Instant) {
        let Released { group, position, quorum, seats, bytes } = *released;
        let mut journeys = self.journeys.borrow_mut();
        journeys.agreed(group, position, quorum, seats, agreed);
        if bytes > 0 && position > self.history.get() {
            journeys.written(group, position, bytes, agreed, Instant::now);
        }
    }

    /// A vote differed from what was agreed.
    pub(super) fn diverged(&self, group: GroupId) {
        if let Some(service) = self.services.borrow().get(&group) {
            service.metrics.divergences.inc();
        }
    }

    /// A vote found no room.
    pub(super) fn vote_dropped(&self) {
        self.metrics.proxy.votes_dropped.inc();
    }

    /// A replica of this node has finished a turn.
    pub(super) fn turn(&self, id: ReplicaId, outcome: &TurnOutcome, replaying: bool, lasted: Lasted) {
        if let Some(captured) = &outcome.captured {
            self.metrics.checkpoint.capture.observe(captured.pause());
        }
        if replaying || outcome.position <= self.history.get() {
            return;
        }
        let interval = Interval { from: lasted.from, to: lasted.to };
        if let Some(service) = self.services.borrow().get(&id.group) {
            service.metrics.turn.observe(interval.to.saturating_duration_since(interval.from));
        }
        if let Some(trace) = self.tracer.stage(id.group, outcome.position, interval) {
            let (fuel, memory_bytes) = (outcome.fuel, outcome.usage.memory_bytes);
            let turn = Turn { seat: id.seat, incarnation: id.incarnation, replaying, fuel, memory_bytes };
            trace.turn(interval, turn);
        }
    }

    /// What a replica captured is hashed and stored.
    pub(super) fn rooted(&self, took: Duration) {
        self.metrics.checkpoint.hash.observe(took);
    }

    /// A replica of this node was made from a checkpoint.
    pub(super) fn restored(&self, took: Duration) {
        self.metrics.checkpoint.restore.observe(took);
    }

    /// A replica of this node has taken a seat and is to catch up.
    pub(super) fn joins(&self, id: ReplicaId) {
        self.joining.borrow_mut().insert((id.group, id.seat), (id.incarnation, Instant::now()));
    }

    /// A replica of this node votes: it follows the log, or is still behind.
    pub(super) fn follows(&self, id: ReplicaId, behind: bool) {
        let mut joining = self.joining.borrow_mut();
        if joining.is_empty() || behind {
            return;
        }
        if let Some((_, since)) = joining.remove(&(id.group, id.seat)).filter(|(joined, _)| *joined == id.incarnation) {
            self.metrics.checkpoint.join.observe(since.elapsed());
        }
    }

    /// There is a way to a leader.
    pub(super) fn leader_found(&self) {
        if let Some(since) = self.leaderless.take() {
            self.metrics.sequencer.leader_change.observe(since.elapsed());
        }
    }

    /// There is none any more, if there was one.
    pub(super) fn leader_lost(&self, had_one: bool) {
        if had_one {
            self.leaderless.set(Some(Instant::now()));
        }
    }

    /// A quorum of the group's seats has executed everything up to `position`, as the leader knows.
    pub(super) fn executed(&self, group: GroupId, position: Position) {
        let mut roots = self.roots.borrow_mut();
        if roots.is_empty() {
            return;
        }
        let now = Instant::now();
        roots.retain(|root| {
            let done = root.group == group && root.position <= position;
            if done {
                self.whole(root, now);
            }
            !done
        });
    }

    fn whole(&self, root: &Root, to: Instant) {
        if let Some(trace) = self.tracer.batch(root.group, root.position) {
            trace.whole(Interval { from: root.from, to }, root.records, root.bytes);
        }
    }

    /// This node leads no longer: when the rest was executed is another one's to know.
    pub(super) fn office_left(&self) {
        let now = Instant::now();
        self.roots.take().iter().for_each(|root| self.whole(root, now));
    }

    /// An entry of this leader was committed: `records` of a group are in it.
    fn ordered(&self, group: GroupId, position: Position, bytes: &Bytes, ordered: &Ordered) {
        let count = records(bytes).count();
        self.metrics.sequencer.batch_bytes.observe(bytes.len() as u64);
        self.metrics.sequencer.batch_records.observe(count as u64);
        let Some(trace) = self.tracer.stage(group, position, ordered.order) else { return };
        trace.order(ordered.order, ordered.term);
        if let Some(replicate) = ordered.replicate {
            trace.replicate(replicate);
        }
        let records = u32::try_from(count).unwrap_or(u32::MAX);
        let root = Root { group, position, from: ordered.taken, records, bytes: bytes.len() as u64 };
        let mut roots = self.roots.borrow_mut();
        match trace.is_traced() {
            true if roots.len() < MAX_ROOTS => roots.push_back(root),
            _ => trace.whole(Interval { from: root.from, to: ordered.order.to }, root.records, root.bytes),
        }
    }
}

/// How an entry of this leader was ordered.
struct Ordered {
    taken: Instant,
    order: Interval,
    replicate: Option<Interval>,
    term: u64,
}

impl Inner {
    /// An entry was committed and is going to be acted on.
    pub(super) fn trace_commit(&self, applied: &Applied) {
        let traces = &self.traces;
        if traces.is_history(applied) {
            return;
        }
        let (position, now) = (applied.position, Instant::now());
        let ordering = self.view.member().and_then(|member| member.ordering());
        let ordered =
            ordering.filter(|draft| draft.time == applied.time).map(|draft| self.ordered(position, &draft, now));
        let epoch = self.epoch.get();
        let number = applied.accepted.iter().filter(|id| id.epoch == epoch).map(|id| id.number).max();
        for (group, records) in self.turns_of(applied) {
            // Without an epoch nothing is agreed on here.
            if epoch != Epoch(0) {
                traces.journeys.borrow_mut().committed(group, position, number, now);
            }
            if let Some(ordered) = &ordered {
                traces.ordered(group, position, &records, ordered);
            }
            if self.view.member().is_some() && traces.tracer.batch(group, position).is_some() {
                traces.log.committed(group, position);
            }
        }
    }

    /// The groups that have a turn by an entry, each with its records.
    fn turns_of(&self, applied: &Applied) -> Vec<(GroupId, Bytes)> {
        let batches = applied.batches.iter().map(|batch| (batch.group, batch.records.clone()));
        let mut turns: Vec<(GroupId, Bytes)> = batches.collect();
        if applied.concerns_all() {
            let others = self.traces.services.borrow();
            let others = others.keys().filter(|id| applied.batches.iter().all(|batch| batch.group != **id));
            turns.extend(others.map(|id| (*id, Bytes::new())));
        }
        turns
    }

    fn ordered(&self, position: Position, draft: &Ordering, now: Instant) -> Ordered {
        let ago = |time| now.checked_sub(time).unwrap_or(now);
        let order = Interval { from: ago(draft.since_drafted), to: now };
        let voters = self.view.member().map_or(0, |member| member.log().voters());
        let replicate = self.traces.log.majority_had(position, voters);
        let sequencer = &self.traces.metrics.sequencer;
        sequencer.commit.observe(draft.since_drafted);
        if let Some(Interval { from, to }) = replicate {
            sequencer.replicate.observe(to.saturating_duration_since(from));
        }
        Ordered { taken: ago(draft.since_taken), order, replicate, term: self.view.with_shard(ShardState::term) }
    }
}
