//! Random events against a model of engines: what always holds of seats, roots and the log's end, and that everything
//! comes to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop};
use proptest::{prop_oneof, proptest};

use super::{
    Control, Desk, Digest, Epoch, GroupId, Incarnation, NodeId, Options, Position, Progress, Record, Seat, Time,
    millis, report,
};
use crate::shard::SeatState;

const GROUPS: [GroupId; 2] = [GroupId(1), GroupId(2)];
const NODES: u64 = 4;

#[derive(Debug, Clone)]
enum Event {
    Wait(u64),
    Up { node: u64, anew: bool, tells: bool },
    Down(u64),
    Lose { group: usize, seat: u8 },
    Diverge { group: usize, seat: u8 },
    Halt(usize),
    Resume(usize),
    Resize { group: usize, seats: u8 },
    Upgrade { group: usize, key: u8 },
    Batches { group: usize, count: usize },
    Capture { group: usize, odd: u8 },
    OpenEpoch { proxy: u16 },
    Renew { all: bool },
    Commit(usize),
    Follow,
    DropAsked,
    Elect,
}

fn event() -> impl Strategy<Value = Event> {
    let (group, seat, node) = (0usize..2, 0u8..5, 1..=NODES);
    prop_oneof![
        4 => (0u64..3000).prop_map(Event::Wait),
        4 => (node.clone(), prop::bool::ANY, prop::bool::weighted(0.8))
            .prop_map(|(node, anew, tells)| Event::Up { node, anew, tells }),
        2 => node.prop_map(Event::Down),
        1 => (group.clone(), seat.clone()).prop_map(|(group, seat)| Event::Lose { group, seat }),
        1 => (group.clone(), seat.clone()).prop_map(|(group, seat)| Event::Diverge { group, seat }),
        1 => group.clone().prop_map(Event::Halt),
        1 => group.clone().prop_map(Event::Resume),
        1 => (group.clone(), prop::sample::select(vec![1, 3, 5])).prop_map(|(group, seats)| Event::Resize { group, seats }),
        1 => (group.clone(), 0u8..2).prop_map(|(group, key)| Event::Upgrade { group, key }),
        8 => (group.clone(), 0usize..30).prop_map(|(group, count)| Event::Batches { group, count }),
        8 => (group, seat).prop_map(|(group, odd)| Event::Capture { group, odd }),
        1 => (1u16..3).prop_map(|proxy| Event::OpenEpoch { proxy }),
        6 => prop::bool::weighted(0.7).prop_map(|all| Event::Renew { all }),
        20 => (0usize..10).prop_map(Event::Commit),
        2 => Just(Event::Follow),
        1 => Just(Event::DropAsked),
        1 => Just(Event::Elect),
    ]
}

/// An engine as it is, whatever the office knows of it.
#[derive(Debug, Default)]
struct Engine {
    session: u64,
    /// The log's end when the session began: replicas that were given before are gone.
    began: Position,
    key: u8,
    up: bool,
    /// It has told this leader of its replicas.
    told: bool,
    runs: BTreeMap<(GroupId, Seat), Progress>,
}

struct Model {
    desk: Desk,
    engines: BTreeMap<NodeId, Engine>,
    /// Who ever held an incarnation of a seat.
    holders: BTreeMap<(GroupId, Seat, Incarnation), NodeId>,
    /// Replicas that their engines lost.
    lost: BTreeSet<(GroupId, Seat, Incarnation)>,
    /// What was asked for and is not in the log.
    asked: Vec<(GroupId, Control)>,
    /// What each epoch's proxy has released.
    released: BTreeMap<Epoch, Position>,
    /// How far the log was cut.
    cut: Position,
    nonce: u64,
}

fn engine_key(key: u8) -> Digest {
    if key == 0 { super::key() } else { Digest::of(b"other") }
}

impl Model {
    fn new() -> Self {
        let options = Options {
            engines: (1..NODES).map(NodeId).collect(),
            checkpoint_batches: 20,
            audit_batches: 100,
            ..Options::default()
        };
        let mut desk = Desk::with(options);
        GROUPS.iter().for_each(|group| desk.create(*group, 3));
        let engines =
            (1..=NODES).map(|node| (NodeId(node), Engine { key: u8::from(node == NODES), ..Engine::default() }));
        let (holders, lost, asked, released) = (BTreeMap::new(), BTreeSet::new(), Vec::new(), BTreeMap::new());
        Self { desk, engines: engines.collect(), holders, lost, asked, released, cut: Position(0), nonce: 0 }
    }

    fn seat(&self, group: GroupId, seat: Seat) -> Option<SeatState> {
        self.desk.shard.groups().get(&group)?.seat(seat).copied()
    }

    /// The replica of a seat, if its engine runs it, is there for this leader, and can replay the group.
    fn well(&self, group: GroupId, seat: Seat) -> Option<NodeId> {
        let state = self.seat(group, seat)?;
        let node = state.voter()?;
        let engine = self.engines.get(&node).filter(|engine| engine.up && engine.told)?;
        let runs = engine.runs.get(&(group, seat)).is_some_and(|progress| progress.incarnation == state.incarnation);
        (runs && engine_key(engine.key) == self.desk.group(group).engine).then_some(node)
    }

    fn poll(&mut self) {
        let due = self.desk.poll();
        assert!(due.controls.len() <= GROUPS.len() * (7 * 2 + 3) + 4, "{due:?}");
        for (group, control) in due.controls {
            self.check_asked(group, &control);
            self.asked.push((group, control));
        }
        let cut = self.desk.office.cut_position(&self.desk.shard, self.desk.now);
        for (epoch, state) in self.desk.shard.epochs() {
            let released = self.released[epoch].max(state.opened_at);
            assert!(cut <= released || cut <= self.cut || self.is_before_all(cut), "{epoch} still needs {cut}");
        }
        self.cut = self.cut.max(cut);
    }

    /// Whether no group has a turn up to here that is not covered by a checkpoint.
    fn is_before_all(&self, cut: Position) -> bool {
        self.desk.shard.groups().values().all(|group| group.created > cut)
    }

    fn check_asked(&self, group: GroupId, control: &Control) {
        match control {
            Control::TakeSeat { seat, incarnation, node, from } => {
                let state = self.seat(group, *seat).expect("there is such a seat");
                assert_eq!(Some(*incarnation), state.next_incarnation());
                assert!(!state.kept_out, "an operator decides");
                if let Some(from) = self.well(group, *seat) {
                    self.check_move(group, from, *node);
                }
                let engine = &self.engines[node];
                assert_eq!(engine_key(engine.key), self.desk.group(group).engine, "it cannot replay the group");
                let first = if *from == Position(0) { self.desk.group(group).created } else { from.next() };
                assert!(first > self.cut, "the log begins after {}", self.cut);
                for (epoch, state) in self.desk.shard.epochs() {
                    let released = self.released[epoch].max(state.opened_at);
                    assert!(*from <= released, "{epoch} still needs votes before {from}");
                }
            }
            Control::Rooted { position, root } => {
                let seats = &self.desk.group(group).seats;
                let same = self.engines.values().flat_map(|engine| engine.runs.iter());
                let votes = same.filter(|((id, _), run)| *id == group && run.root == Some((*position, *root))).count();
                assert!(votes > seats.len() / 2, "{votes} of {}", seats.len());
            }
            _ => {}
        }
    }

    /// A seat is taken from one that is well only where that one has two, the other none, and the rest are well.
    fn check_move(&self, group: GroupId, from: NodeId, to: NodeId) {
        let seats = &self.desk.group(group).seats;
        let of = |node: NodeId| seats.iter().filter(|seat| seat.voter() == Some(node)).count();
        assert!(of(from) >= 2 && of(to) == 0, "{from} has {} seats of {group}, {to} has {}", of(from), of(to));
        let well = (0..seats.len() as u8).filter(|seat| self.well(group, Seat(*seat)).is_some()).count();
        assert_eq!(well, seats.len(), "of {group}");
    }

    /// Every replica does every turn, and its engine says so.
    fn follow(&mut self) {
        for engine in self.engines.values_mut().filter(|engine| engine.up && engine.told) {
            for ((group, _), run) in &mut engine.runs {
                run.position = self.desk.shard.groups()[group].last_turn;
                self.desk.office.progress(run, self.desk.now);
            }
        }
    }

    fn order(&mut self, group: GroupId, control: Control) {
        let applied = self.desk.commit(group, &[Record::Control(control)]);
        for opened in &applied.opened {
            self.released.insert(opened.epoch, Position(0));
        }
        for (id, control) in &applied.controls {
            if let Control::TakeSeat { seat, incarnation, node, from } = control {
                let earlier = self.holders.insert((*id, *seat, *incarnation), *node);
                assert_eq!(earlier, None, "one number, two holders");
                let progress = Progress { position: *from, ..report(*id, seat.0, incarnation.0) };
                self.run(*node, progress);
            }
        }
        self.drop_former();
    }

    /// An engine that is there makes the replica that a record gave it.
    fn run(&mut self, node: NodeId, progress: Progress) {
        if let Some(engine) = self.engines.get_mut(&node).filter(|engine| engine.up) {
            engine.runs.insert((progress.group, progress.seat), progress);
        }
    }

    /// Engines that follow the log drop replicas that hold no seat any more.
    fn drop_former(&mut self) {
        let shard = &self.desk.shard;
        for (node, engine) in self.engines.iter_mut().filter(|(_, engine)| engine.up) {
            engine.runs.retain(|(group, seat), run| {
                let state = shard.groups()[group].seat(*seat);
                state.is_some_and(|state| state.voter() == Some(*node) && state.incarnation == run.incarnation)
            });
        }
    }

    fn tell(&mut self, node: NodeId, all: bool) {
        let engine = self.engines.get_mut(&node).expect("all nodes are there");
        self.desk.office.engine(node, engine.session, engine_key(engine.key), self.desk.now);
        engine.runs.values().for_each(|run| self.desk.office.progress(run, self.desk.now));
        engine.told = true;
        if all {
            self.desk.office.reported(node);
        }
    }

    fn up(&mut self, node: NodeId, anew: bool, tells: bool) {
        let engine = self.engines.get_mut(&node).expect("all nodes are there");
        let anew = anew || engine.session == 0;
        if anew {
            engine.session += 1;
            engine.began = self.desk.shard.position();
            engine.runs.clear();
        }
        engine.up = true;
        self.drop_former();
        if !anew {
            self.catch_up(node);
        }
        self.tell(node, tells);
    }

    /// An engine that was away finds in the log what it was given in the meantime.
    fn catch_up(&mut self, node: NodeId) {
        for ((group, seat, incarnation), _) in self.holders.clone().iter().filter(|(_, holder)| **holder == node) {
            let Some(state) = self.seat(*group, *seat) else { continue };
            let given = state.voter() == Some(node) && state.incarnation == *incarnation;
            let engine = &self.engines[&node];
            let missed = state.taken_at > engine.began && !engine.runs.contains_key(&(*group, *seat));
            if given && missed && !self.lost.contains(&(*group, *seat, *incarnation)) {
                self.run(node, Progress { position: state.from, ..report(*group, seat.0, incarnation.0) });
            }
        }
    }

    fn run_event(&mut self, event: &Event) {
        match event {
            Event::Wait(wait) => self.desk.wait(millis(*wait)),
            Event::Up { node, anew, tells } => self.up(NodeId(*node), *anew, *tells),
            Event::Down(node) => {
                let engine = self.engines.get_mut(&NodeId(*node)).expect("all nodes are there");
                (engine.up, engine.told) = (false, false);
                self.desk.office.node_gone(NodeId(*node), self.desk.now);
            }
            Event::Lose { group, seat } => self.lose(GROUPS[*group], Seat(*seat)),
            Event::Diverge { group, seat } => self.diverge(GROUPS[*group], Seat(*seat)),
            Event::Halt(group) => self.order(GROUPS[*group], Control::Halt { position: Position(1) }),
            Event::Resume(group) => self.order(GROUPS[*group], Control::Resume),
            Event::Resize { group, seats } => self.order(GROUPS[*group], Control::Resize { seats: *seats }),
            Event::Upgrade { group, key } => {
                self.order(GROUPS[*group], Control::Upgrade { bundle: [*key; 32], engine: engine_key(*key) });
            }
            Event::Batches { group, count } => {
                (0..*count).for_each(|_| drop(self.desk.commit(GROUPS[*group], &[Record::Tick(Time::default())])));
            }
            Event::Capture { group, odd } => self.capture(GROUPS[*group], *odd),
            Event::OpenEpoch { proxy } => {
                self.nonce += 1;
                let open = refrain_wire::ShardControl::OpenEpoch {
                    proxy: refrain_wire::ProxyId(*proxy),
                    nonce: self.nonce,
                    outward: false,
                };
                self.order(GroupId::SHARD, Control::Shard(open));
            }
            Event::Renew { all } => self.renew(*all),
            Event::Commit(nth) => self.commit(*nth),
            Event::Follow => self.follow(),
            Event::DropAsked => self.asked.clear(),
            Event::Elect => self.elect(),
        }
    }

    fn lose(&mut self, group: GroupId, seat: Seat) {
        let Some(node) = self.well(group, seat) else { return };
        let run = self.engines.get_mut(&node).and_then(|engine| engine.runs.remove(&(group, seat)));
        if let Some(run) = run {
            self.lost.insert((group, seat, run.incarnation));
            self.desk.office.lost(group, seat, run.incarnation, self.desk.now);
        }
    }

    fn diverge(&mut self, group: GroupId, seat: Seat) {
        let Some(state) = self.seat(group, seat) else { return };
        let (voted, agreed) = (Digest::of(b"a"), Digest::of(b"b"));
        let incarnation = state.incarnation;
        self.order(group, Control::Quarantine { seat, incarnation, position: Position(1), voted, agreed });
    }

    /// The replicas of a group report their roots for what was asked for; one of them another one.
    fn capture(&mut self, group: GroupId, odd: u8) {
        let Some(capture) = self.desk.group(group).capture else { return };
        let last = self.desk.group(group).last_turn;
        for engine in self.engines.values_mut().filter(|engine| engine.up && engine.told) {
            for ((_, seat), run) in engine.runs.iter_mut().filter(|((id, _), _)| *id == group) {
                let root = [u8::from(seat.0 == odd); 32];
                (run.position, run.root) = (last, Some((capture.position, root)));
                self.desk.office.progress(run, self.desk.now);
            }
        }
    }

    fn renew(&mut self, all: bool) {
        let last = self.desk.shard.position();
        let epochs: Vec<Epoch> = self.desk.shard.epochs().keys().copied().collect();
        for epoch in epochs {
            if all {
                self.released.insert(epoch, last);
            }
            let released = GROUPS.map(|group| (group, self.released[&epoch]));
            self.desk.office.renew(epoch, self.desk.now, &released);
        }
    }

    fn commit(&mut self, nth: usize) {
        if !self.asked.is_empty() {
            let (group, control) = self.asked.remove(nth % self.asked.len());
            self.order(group, control);
        }
    }

    fn elect(&mut self) {
        self.desk.elect();
        self.engines.values_mut().for_each(|engine| engine.told = false);
        // What the former leader had pending is gone, or is in the log already.
        self.asked.clear();
    }

    /// Has everything ordered that is asked for now, and what follows; returns how long nothing more is due.
    fn settle(&mut self) -> Option<Duration> {
        for _ in 0..100 {
            self.poll();
            if self.asked.is_empty() {
                let next = self.desk.office.next_deadline(self.desk.now, self.desk.log_time());
                assert_ne!(next, Some(Duration::ZERO), "nothing is due after a poll");
                return next;
            }
            while !self.asked.is_empty() {
                self.commit(0);
            }
        }
        panic!("the office never comes to rest");
    }

    /// Every engine is there, everything that is asked for is ordered, and proxies live: then every seat is filled.
    fn converge(&mut self) {
        for node in 1..=NODES {
            self.up(NodeId(node), false, true);
        }
        GROUPS.iter().for_each(|group| self.order(*group, Control::Resume));
        let end = self.desk.now + Duration::from_secs(120);
        while self.desk.now < end {
            GROUPS.iter().for_each(|group| self.capture(*group, u8::MAX));
            self.renew(true);
            self.follow();
            let next = self.settle();
            self.desk.wait(next.unwrap_or(millis(1000)).min(millis(1000)));
        }
        for group in GROUPS {
            let seats = self.desk.group(group).seats.clone();
            for (nth, state) in seats.iter().enumerate() {
                let seat = Seat(nth as u8);
                assert!(state.kept_out || self.well(group, seat).is_some(), "seat {seat} of {group}: {state:?}");
            }
            let holders: BTreeSet<NodeId> = seats.iter().filter_map(SeatState::voter).collect();
            let engine = self.desk.group(group).engine;
            let fit = self.engines.values().filter(|known| engine_key(known.key) == engine).count();
            let all_well = seats.iter().all(|state| state.voter().is_some());
            assert!(!all_well || holders.len() == fit.min(seats.len()), "{holders:?} of {fit} engines have {group}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn seats_stay_with_those_who_are_well_and_every_vacancy_is_filled(
        calm in prop::bool::ANY,
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut model = Model::new();
        if calm {
            (1..=NODES).for_each(|node| model.up(NodeId(node), false, true));
            model.settle();
        }
        for event in &events {
            model.run_event(event);
            model.poll();
        }
        model.converge();
    }
}

#[test]
fn an_office_that_nobody_answers_asks_for_little_and_sleeps() {
    let mut model = Model::new();
    for node in 1..=NODES {
        model.up(NodeId(node), false, true);
    }
    let (end, mut polls) = (model.desk.now + Duration::from_secs(600), 0);
    while model.desk.now < end {
        model.poll();
        polls += 1;
        let next = model.desk.office.next_deadline(model.desk.now, model.desk.log_time());
        model.desk.wait(next.expect("it waits for answers"));
    }
    let seats: BTreeSet<String> = model.asked.iter().map(|asked| format!("{asked:?}")).collect();
    assert_eq!(seats.len(), 6, "always the same");
    assert!(polls < 50 && model.asked.len() < 6 * 50, "{polls} polls, {} asked", model.asked.len());
}
