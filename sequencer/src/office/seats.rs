//! Which engine holds which seat.
//!
//! A seat is given anew when nobody holds it, when its holder diverged (once an hour), was lost, cannot replay the group
//! any more, or is on an engine that has been gone for the time of grace. It goes back to the engine that had it if that
//! is there; else to the one with the fewest seats of the group, then with the fewest seats, then with the lowest
//! number. Where a holder is alive and well, only `balance` moves a seat.

use std::collections::BTreeMap;
use std::time::Duration;

use refrain_wire::{Control, Digest, GroupId, NodeId, Seat};

use super::Office;
use super::due::{Alert, Look, Wanted};
use super::progress::Replica;
use crate::shard::{Group, SeatState, ShardState};

/// After so many failures in a row another engine is tried first.
const FAILURES_OF_ONE: u32 = 2;

#[derive(Debug)]
struct Engine {
    session: u64,
    key: Digest,
    announced: Duration,
    /// Since when there is no way to it.
    gone: Option<Duration>,
    /// It has reported all that it has.
    reported: bool,
}

/// The engines that this leader has heard of.
#[derive(Debug)]
pub(super) struct Engines {
    known: BTreeMap<NodeId, Engine>,
    took_office: Duration,
}

impl Engines {
    pub(super) fn new(took_office: Duration) -> Self {
        Self { known: BTreeMap::new(), took_office }
    }

    /// An engine is there; true when it is another run than the one that was there before.
    pub(super) fn announce(&mut self, node: NodeId, session: u64, key: Digest, now: Duration) -> bool {
        let engine = Engine { session, key, announced: now, gone: None, reported: false };
        self.known.insert(node, engine).is_some_and(|before| before.session != session)
    }

    /// The engine has reported all that it has; since when it is there, if that is news.
    pub(super) fn reported(&mut self, node: NodeId) -> Option<Duration> {
        let engine = self.known.get_mut(&node).filter(|engine| !engine.reported)?;
        engine.reported = true;
        Some(engine.announced)
    }

    pub(super) fn gone(&mut self, node: NodeId, now: Duration) {
        if let Some(engine) = self.known.get_mut(&node) {
            engine.gone.get_or_insert(now);
        }
    }

    /// The engines that are there, with their compatibility keys.
    pub(super) fn present(&self) -> impl Iterator<Item = (NodeId, Digest)> {
        let present = self.known.iter().filter(|(_, engine)| engine.gone.is_none());
        present.map(|(node, engine)| (*node, engine.key))
    }

    pub(super) fn key(&self, node: NodeId) -> Option<Digest> {
        self.known.get(&node).filter(|engine| engine.gone.is_none()).map(|engine| engine.key)
    }

    /// The engines that are there, have reported what they have, and can replay what has this key: since when.
    pub(super) fn settled(&self, key: Digest) -> impl Iterator<Item = (NodeId, Duration)> {
        let there = self.known.iter().filter(move |(_, engine)| engine.gone.is_none() && engine.reported);
        there.filter(move |(_, engine)| engine.key == key).map(|(node, engine)| (*node, engine.announced))
    }

    /// Since when the engine is away: that it went, or that the office began without it.
    fn away_since(&self, node: NodeId) -> Away {
        match self.known.get(&node) {
            None => Away::NotSeen(self.took_office),
            Some(engine) => engine.gone.map_or(Away::No, Away::Gone),
        }
    }

    /// When an engine that has not reported what it has is taken to have nothing more.
    pub(super) fn first_unreported(&self) -> Option<(Duration, NodeId)> {
        let silent = self.known.iter().filter(|(_, engine)| !engine.reported && engine.gone.is_none());
        silent.map(|(node, engine)| (engine.announced, *node)).min()
    }
}

enum Away {
    No,
    Gone(Duration),
    NotSeen(Duration),
}

/// Whether a seat wants a new holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// It is held, or kept out.
    None,
    /// Perhaps at this time.
    At(Duration),
    /// Now; engines that are to come are worth waiting for.
    Soon,
    /// Now, whoever is there.
    Now,
}

/// How many seats engines hold or are to hold.
#[derive(Debug, Default)]
pub(super) struct Loads {
    of_group: BTreeMap<(GroupId, NodeId), usize>,
    all: BTreeMap<NodeId, usize>,
}

impl Loads {
    fn add(&mut self, group: GroupId, node: NodeId) {
        *self.of_group.entry((group, node)).or_default() += 1;
        *self.all.entry(node).or_default() += 1;
    }

    fn of_group(&self, group: GroupId, node: NodeId) -> usize {
        self.of_group.get(&(group, node)).copied().unwrap_or_default()
    }

    pub(super) fn all(&self, node: NodeId) -> usize {
        self.all.get(&node).copied().unwrap_or_default()
    }
}

/// A seat that wants a new holder.
struct Vacancy<'a> {
    id: GroupId,
    group: &'a Group,
    seat: Seat,
    state: &'a SeatState,
    /// Whether it waits for engines that are to come rather than go to one that has a seat of the group.
    waits: bool,
}

impl Office {
    /// Wants the seats taken that need a holder.
    pub(super) fn want_seats(&mut self, id: GroupId, group: &Group, look: &mut Look<'_>, wanted: &mut Wanted) {
        for (nth, state) in group.seats.iter().enumerate() {
            let seat = Seat(nth as u8);
            if state.kept_out {
                wanted.alerts.insert(Alert::KeptOut(seat));
            }
            let need = self.need(id, group, seat, state, look.now);
            self.note_need(id, seat, need, look.now);
            match need {
                Need::None => {}
                Need::At(at) => wanted.by(at),
                Need::Soon | Need::Now => {
                    let vacancy = Vacancy { id, group, seat, state, waits: need == Need::Soon };
                    let taken = self.fill(&vacancy, look, wanted);
                    wanted.controls.extend(taken);
                }
            }
        }
    }

    fn need(&self, id: GroupId, group: &Group, seat: Seat, state: &SeatState, now: Duration) -> Need {
        if state.kept_out || (state.quarantined && !self.options.rebuild) {
            return Need::None;
        }
        let Some(node) = state.voter() else { return Need::Soon };
        let reached = |at: Duration| if at <= now { Need::Now } else { Need::At(at) };
        match self.engines.away_since(node) {
            Away::Gone(since) => return reached(since + self.options.grace),
            Away::NotSeen(since) => return reached(since + self.options.settle),
            Away::No => {}
        }
        if self.engines.key(node) != Some(group.engine) {
            return Need::Now;
        }
        match self.replica(id, seat).filter(|replica| replica.lost) {
            Some(lost) => reached(lost.failures.retry_at()),
            None => Need::None,
        }
    }

    pub(super) fn replica(&self, id: GroupId, seat: Seat) -> Option<&Replica> {
        self.groups.get(&id)?.seats.get(usize::from(seat.0))
    }

    /// How many seats of a group have a replica that may vote, where those are too few to decide the turns that are under
    /// way. A seat that is given up is not taken again, so a group must not give any up then.
    #[must_use]
    pub fn too_few_voters(&self, id: GroupId, shard: &ShardState) -> Option<usize> {
        let (group, replicas) = (shard.groups().get(&id)?, self.groups.get(&id)?);
        let there = |replica: &Replica| replica.node.is_some_and(|node| self.engines.key(node).is_some());
        let voters = replicas.counting().filter(|(_, replica)| there(replica)).count();
        (voters < group.quorum()).then_some(voters)
    }

    fn note_need(&mut self, id: GroupId, seat: Seat, need: Need, now: Duration) {
        let replicas = self.groups.get_mut(&id);
        if let Some(replica) = replicas.and_then(|replicas| replicas.seats.get_mut(usize::from(seat.0))) {
            match need {
                Need::None | Need::At(_) => replica.wanted_since = None,
                Need::Soon | Need::Now => drop(replica.wanted_since.get_or_insert(now)),
            }
        }
    }

    /// The control by which somebody takes the seat, if there is anybody.
    fn fill(&self, vacancy: &Vacancy<'_>, look: &mut Look<'_>, wanted: &mut Wanted) -> Option<Control> {
        let &Vacancy { id, group, seat, state, .. } = vacancy;
        let present = self.engines.present();
        let fits: Vec<NodeId> = present.filter(|(_, key)| *key == group.engine).map(|(node, _)| node).collect();
        if fits.is_empty() {
            if self.engines.present().next().is_some() {
                wanted.alerts.insert(Alert::NoEngine);
            }
            return None;
        }
        let incarnation = state.next_incarnation()?;
        let from = self.restore_from(id, group, look.shard)?;
        let asked = match self.asks.for_seat(id, seat) {
            Some(Control::TakeSeat { node, incarnation: asked, .. }) if *asked == incarnation => Some(*node),
            _ => None,
        };
        let node = match asked.filter(|node| fits.contains(node)) {
            Some(node) => node,
            None => self.choose(vacancy, &fits, look, wanted)?,
        };
        Some(Control::TakeSeat { seat, incarnation, node, from })
    }

    fn choose(
        &self,
        vacancy: &Vacancy<'_>,
        fits: &[NodeId],
        look: &mut Look<'_>,
        wanted: &mut Wanted,
    ) -> Option<NodeId> {
        let id = vacancy.id;
        let replica = self.replica(id, vacancy.seat)?;
        let fails = replica.lost && replica.failures.in_a_row >= FAILURES_OF_ONE;
        let former = vacancy.state.node.filter(|node| fits.contains(node));
        let loads = look.loads.get_or_insert_with(|| self.loads(look.shard));
        // Two seats on one engine make its loss that of two: where every seat can have its own, it waits longer.
        let enough = self.options.engines.len() >= vacancy.group.seats.len();
        let apart = self.options.apart.filter(|_| enough);
        let waits_until = replica.wanted_since.unwrap_or(look.now) + apart.unwrap_or(self.options.settle);
        let waits = (apart.is_some() || vacancy.waits) && look.now < waits_until && self.some_engine_is_missing();
        let others = fits.iter().copied().filter(|node| !waits || loads.of_group(id, *node) == 0);
        let rank = |node: &NodeId| (fails && former == Some(*node), loads.of_group(id, *node), loads.all(*node), *node);
        let chosen = former.filter(|_| !fails).or_else(|| others.min_by_key(rank));
        match chosen {
            Some(node) => loads.add(id, node),
            None => wanted.by(waits_until),
        }
        chosen
    }

    fn some_engine_is_missing(&self) -> bool {
        self.options.engines.iter().any(|node| self.engines.key(*node).is_none())
    }

    /// Seats that engines hold, or are to hold by controls that are on their way.
    pub(super) fn loads(&self, shard: &ShardState) -> Loads {
        let mut loads = Loads::default();
        for (id, control) in self.asks.all() {
            if let Control::TakeSeat { node, .. } = control {
                loads.add(id, *node);
            }
        }
        let running = shard.groups().iter().filter(|(_, group)| group.halted.is_none());
        for (id, group) in running {
            for (nth, state) in group.seats.iter().enumerate() {
                let lost = self.replica(*id, Seat(nth as u8)).is_some_and(|replica| replica.lost);
                let on_its_way = self.asks.for_seat(*id, Seat(nth as u8)).is_some();
                if let Some(node) = state.voter().filter(|_| !lost && !on_its_way) {
                    loads.add(*id, node);
                }
            }
        }
        loads
    }
}
