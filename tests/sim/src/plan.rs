//! The faults of a run: which, when, and to whom, all from its seed.
//!
//! Not every run has every kind of fault: each draws a menu, because some faults hide others (who is cut off all the
//! time never meets a torn write). Every fault ends by itself; after the last one the network is whole, disks have
//! space, and everybody runs.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;
use crate::net::gates::Host;

/// Something that happens to hosts or to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of the first reaches the second.
    Cut(Host, Host),
    /// It does again.
    Heal(Host, Host),
    /// The connections between both are reset.
    Reset(Host, Host),
    /// The process does not run.
    Pause(Host),
    /// It goes on.
    Resume(Host),
    /// The process is killed; what it wrote stays.
    Kill(Host),
    /// The machine loses its power, and nobody is told; what was not synced is lost, kept or torn.
    PowerOff(Host),
    /// A process that is not there is started.
    Start(Host),
    /// The process is killed after this many more changes of its disk, and the power goes.
    StopDisk(Host, u64),
    /// The next sync fails.
    FailSync(Host),
    /// The disk takes nothing more that needs space.
    FillDisk(Host),
    /// It has space again.
    FreeDisk(Host),
    /// A bit of a segment changes.
    FlipBit(Host),
    /// Flushes take as long as this, in milliseconds.
    SlowDisk(Host, u64, u64),
    /// The wall clock is off by this many milliseconds.
    Clock(Host, i64),
    /// Of a hundred new connections so many are there for the server alone.
    Orphans(u64),
    /// Segments between both take up to so many milliseconds.
    Latency(Host, Host, u64),
    /// An operator wants something of the leader.
    Wanted(Wish),
    /// The engine loses one of its replicas, whichever the number picks.
    LoseReplica(Host, u64),
    /// A bit of the memory of one of its replicas changes; both as the numbers pick.
    FlipMemory(Host, u64, u64),
    /// Turns wait as long as this for the engine, in milliseconds.
    SlowEngine(Host, u64, u64),
    /// The node has run another program than it says, from the beginning on.
    Impostor(Host),
}

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A spare host becomes a member.
    Add(Host),
    /// A member is one no more.
    Remove(Host),
    /// This member leads.
    Transfer(Host),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pairs of hosts, one or both directions.
    Partition,
    /// One host from all others.
    Isolate,
    /// Connections.
    Reset,
    /// Processes that stand still.
    Pause,
    /// Processes that are killed.
    Kill,
    /// Machines without power, one or all.
    Power,
    /// The end in the middle of writing.
    Torn,
    /// Syncs that fail.
    Sync,
    /// Full disks.
    Full,
    /// Bits that change.
    Flip,
    /// Slow disks.
    Slow,
    /// Clocks that jump.
    Clock,
    /// Connections that only one side has.
    Orphans,
    /// A slow network.
    Latency,
    /// Other members.
    Members,
    /// Leaders that hand over.
    Transfer,
    /// Engines that lose replicas.
    Replica,
    /// Memory of guests that changes.
    Memory,
    /// Slow engines.
    Engine,
    /// A node that runs another program than it says: it is so from the beginning, see [`Plan::with_impostor`].
    Impostor,
}

/// Kinds that the ordered log knows.
pub const KINDS: [Kind; 16] = [
    Kind::Partition,
    Kind::Isolate,
    Kind::Reset,
    Kind::Pause,
    Kind::Kill,
    Kind::Power,
    Kind::Torn,
    Kind::Sync,
    Kind::Full,
    Kind::Flip,
    Kind::Slow,
    Kind::Clock,
    Kind::Orphans,
    Kind::Latency,
    Kind::Members,
    Kind::Transfer,
];

/// Kinds that whole nodes know.
pub const NODE_KINDS: [Kind; 18] = [
    Kind::Partition,
    Kind::Isolate,
    Kind::Reset,
    Kind::Pause,
    Kind::Kill,
    Kind::Power,
    Kind::Torn,
    Kind::Sync,
    Kind::Full,
    Kind::Flip,
    Kind::Slow,
    Kind::Clock,
    Kind::Orphans,
    Kind::Latency,
    Kind::Transfer,
    Kind::Replica,
    Kind::Memory,
    Kind::Engine,
];

impl Kind {
    /// The kind with this name, as `refrain-sim` is given it.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let all = KINDS.into_iter().chain(NODE_KINDS).chain([Self::Impostor]);
        all.into_iter().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name))
    }
}

/// Who may be hit.
#[derive(Debug, Clone)]
pub struct Targets {
    /// Hosts with a disk.
    pub members: Vec<Host>,
    /// Hosts with a disk that may become members.
    pub spares: Vec<Host>,
    /// All others.
    pub others: Vec<Host>,
    /// Hosts that run replicas.
    pub engines: Vec<Host>,
}

/// The faults of a run in the order of their times.
#[derive(Debug, Clone, Default)]
pub struct Plan(Vec<(Duration, Fault)>);

impl Plan {
    /// Faults for `targets` within `duration`, out of a menu of some of `kinds`.
    #[must_use]
    pub fn draw(dice: &mut Dice, targets: &Targets, kinds: &[Kind], duration: Duration) -> Self {
        let kinds: Vec<Kind> = kinds.iter().copied().filter(|kind| *kind != Kind::Impostor).collect();
        let mut menu: Vec<Kind> = kinds.iter().copied().filter(|_| dice.percent(40)).collect();
        if menu.is_empty() && !kinds.is_empty() {
            menu.push(*dice.pick(&kinds));
        }
        if menu.contains(&Kind::Flip) {
            // Of other members a damaged one might be a majority. Who refuses to start votes on no other's memory either.
            menu.retain(|kind| !matches!(kind, Kind::Members | Kind::Memory));
        }
        let mut drawing =
            Drawing { dice, targets, end: duration.as_millis() as u64, plan: Vec::new(), flipped: 0, changes: 0 };
        if !menu.is_empty() {
            for _ in 0..drawing.dice.between(2, 14) {
                let kind = *drawing.dice.pick(&menu);
                drawing.draw(kind);
            }
        }
        let mut plan = drawing.plan;
        plan.sort_by_key(|(at, _)| *at);
        Self(plan)
    }

    /// These faults.
    #[must_use]
    pub fn of(mut faults: Vec<(Duration, Fault)>) -> Self {
        faults.sort_by_key(|(at, _)| *at);
        Self(faults)
    }

    /// The same, and one node that runs another program than it says, unless others are damaged for good: of three
    /// replicas two must be sound.
    #[must_use]
    pub fn with_impostor(mut self, host: Host) -> Self {
        let damage = |fault: &Fault| matches!(fault, Fault::FlipBit(_) | Fault::FlipMemory(..));
        if !self.0.iter().any(|(_, fault)| damage(fault)) {
            self.0.insert(0, (Duration::ZERO, Fault::Impostor(host)));
        }
        self
    }

    /// The node that runs another program.
    #[must_use]
    pub fn impostor(&self) -> Option<Host> {
        self.0.iter().find_map(|(_, fault)| match fault {
            Fault::Impostor(host) => Some(*host),
            _ => None,
        })
    }

    /// Whether hosts become members.
    #[must_use]
    pub fn changes_members(&self) -> bool {
        self.0.iter().any(|(_, fault)| matches!(fault, Fault::Wanted(Wish::Add(_))))
    }

    /// Takes the faults that are due at `now`.
    pub fn due(&mut self, now: Duration) -> Vec<Fault> {
        let count = self.0.iter().take_while(|(at, _)| *at <= now).count();
        self.0.drain(..count).map(|(_, fault)| fault).collect()
    }
}

struct Drawing<'a> {
    dice: &'a mut Dice,
    targets: &'a Targets,
    end: u64,
    plan: Vec<(Duration, Fault)>,
    /// Members whose disks were damaged for good.
    flipped: usize,
    /// Wishes for other members.
    changes: usize,
}

impl Drawing<'_> {
    fn at(&mut self, millis: u64, fault: Fault) {
        self.plan.push((Duration::from_millis(millis.min(self.end)), fault));
    }

    /// A beginning and an end `least` to `most` milliseconds later.
    fn span(&mut self, least: u64, most: u64) -> (u64, u64) {
        let begin = self.dice.below(self.end);
        (begin, begin + self.dice.between(least, most))
    }

    fn member(&mut self) -> Host {
        *self.dice.pick(&self.targets.members)
    }

    fn anyone(&mut self) -> Host {
        let all: Vec<Host> = self.targets.members.iter().chain(&self.targets.others).copied().collect();
        *self.dice.pick(&all)
    }

    fn engine(&mut self) -> Option<Host> {
        (!self.targets.engines.is_empty()).then(|| *self.dice.pick(&self.targets.engines))
    }

    /// Two hosts of which the first is a member.
    fn pair(&mut self) -> (Host, Host) {
        let first = self.member();
        loop {
            let second = self.anyone();
            if second != first {
                return (first, second);
            }
        }
    }

    fn cut(&mut self, from: Host, to: Host, begin: u64, end: u64) {
        self.at(begin, Fault::Cut(from, to));
        self.at(end, Fault::Heal(from, to));
    }

    fn draw(&mut self, kind: Kind) {
        match kind {
            Kind::Partition => self.partition(),
            Kind::Isolate => self.isolate(),
            Kind::Reset => {
                let ((a, b), begin) = (self.pair(), self.dice.below(self.end));
                self.at(begin, Fault::Reset(a, b));
            }
            Kind::Pause => {
                let (host, (begin, end)) = (self.anyone(), self.span(50, 1500));
                self.at(begin, Fault::Pause(host));
                self.at(end, Fault::Resume(host));
            }
            Kind::Kill => {
                let (host, (begin, end)) = (self.anyone(), self.span(10, 1000));
                self.at(begin, Fault::Kill(host));
                self.at(end, Fault::Start(host));
            }
            Kind::Power => self.power(),
            Kind::Torn => {
                let (host, (begin, end), changes) = (self.member(), self.span(200, 1200), self.dice.below(12));
                self.at(begin, Fault::StopDisk(host, changes));
                self.at(end, Fault::Start(host));
            }
            Kind::Sync => {
                let (host, (begin, end)) = (self.member(), self.span(200, 800));
                self.at(begin, Fault::FailSync(host));
                self.at(end, Fault::Start(host));
            }
            Kind::Full => {
                let (host, (begin, end)) = (self.member(), self.span(100, 1500));
                self.at(begin, Fault::FillDisk(host));
                self.at(end, Fault::FreeDisk(host));
            }
            Kind::Flip => self.flip(),
            Kind::Slow => {
                let (host, (begin, end), most) = (self.member(), self.span(100, 2000), self.dice.between(1, 120));
                let least = self.dice.below(most);
                self.at(begin, Fault::SlowDisk(host, least, most));
                self.at(end, Fault::SlowDisk(host, 0, 0));
            }
            Kind::Clock => {
                let (host, begin) = (self.member(), self.dice.below(self.end));
                let size = self.dice.between(1, 100_000) as i64;
                let jump = if self.dice.percent(50) { -size } else { size };
                self.at(begin, Fault::Clock(host, jump));
            }
            Kind::Orphans => {
                let ((begin, end), percent) = (self.span(200, 2000), self.dice.between(10, 60));
                self.at(begin, Fault::Orphans(percent));
                self.at(end, Fault::Orphans(0));
            }
            Kind::Latency => {
                let ((a, b), (begin, end), most) = (self.pair(), self.span(200, 2000), self.dice.between(5, 80));
                self.at(begin, Fault::Latency(a, b, most));
                self.at(end, Fault::Latency(a, b, 2));
            }
            Kind::Members => self.members(),
            Kind::Transfer => {
                let (to, at) = (self.member(), self.dice.below(self.end));
                self.at(at, Fault::Wanted(Wish::Transfer(to)));
            }
            Kind::Replica => {
                let (at, pick) = (self.dice.below(self.end), self.dice.roll());
                if let Some(host) = self.engine() {
                    self.at(at, Fault::LoseReplica(host, pick));
                }
            }
            Kind::Memory => {
                let (at, pick, bit) = (self.dice.below(self.end), self.dice.roll(), self.dice.roll());
                if let Some(host) = self.engine() {
                    self.at(at, Fault::FlipMemory(host, pick, bit));
                }
            }
            Kind::Engine => {
                let ((begin, end), most) = (self.span(100, 2000), self.dice.between(1, 200));
                let least = self.dice.below(most);
                if let Some(host) = self.engine() {
                    self.at(begin, Fault::SlowEngine(host, least, most));
                    self.at(end, Fault::SlowEngine(host, 0, 0));
                }
            }
            // It is never on the menu.
            Kind::Impostor => {}
        }
    }

    /// A spare host comes in, and a member may go later. Each of them once: nobody comes back.
    fn members(&mut self) {
        let Some(spare) = self.targets.spares.get(self.changes).copied() else { return };
        let leaves = self.targets.members.get(self.changes).copied();
        self.changes += 1;
        let (begin, end) = self.span(200, 1500);
        self.at(begin, Fault::Wanted(Wish::Add(spare)));
        if let Some(leaves) = leaves.filter(|_| self.dice.percent(50)) {
            self.at(end, Fault::Wanted(Wish::Remove(leaves)));
        }
    }

    fn partition(&mut self) {
        let ((a, b), (begin, end)) = (self.pair(), self.span(50, 2000));
        match self.dice.below(3) {
            0 => self.cut(a, b, begin, end),
            1 => self.cut(b, a, begin, end),
            _ => {
                self.cut(a, b, begin, end);
                self.cut(b, a, begin, end);
            }
        }
        if self.dice.percent(30) {
            // It took so long that the connections are given up.
            self.at(end, Fault::Reset(a, b));
        }
    }

    fn isolate(&mut self) {
        let (host, (begin, end)) = (self.member(), self.span(50, 2000));
        let all: Vec<Host> = self.targets.members.iter().chain(&self.targets.others).copied().collect();
        let directions = self.dice.below(3);
        for other in all.into_iter().filter(|other| *other != host) {
            if directions != 1 {
                self.cut(host, other, begin, end);
            }
            if directions != 0 {
                self.cut(other, host, begin, end);
            }
        }
    }

    fn power(&mut self) {
        let (begin, end) = self.span(10, 1000);
        let everybody = self.dice.percent(20);
        let hit = if everybody { self.targets.members.clone() } else { vec![self.member()] };
        for host in hit {
            self.at(begin, Fault::PowerOff(host));
            let later = self.dice.below(200);
            self.at(end + later, Fault::Start(host));
        }
    }

    /// Of a minority alone: the others still hold everything.
    fn flip(&mut self) {
        if self.flipped < (self.targets.members.len() - 1) / 2 {
            self.flipped += 1;
            let host = self.targets.members[self.flipped - 1];
            let (begin, end) = self.span(100, 500);
            self.at(begin, Fault::Kill(host));
            self.at(begin, Fault::FlipBit(host));
            self.at(end, Fault::Start(host));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(seed: u64, kinds: &[Kind]) -> Vec<(Duration, Fault)> {
        let targets = Targets {
            members: (1..=3).map(Host).collect(),
            spares: vec![Host(4), Host(5)],
            others: vec![Host(11), Host(12)],
            engines: vec![Host(1), Host(11)],
        };
        Plan::draw(&mut Dice::new(seed), &targets, kinds, Duration::from_secs(5)).0
    }

    #[test]
    fn a_seed_gives_one_plan_within_its_time() {
        let plan = draw(3, &KINDS);
        assert_eq!(plan, draw(3, &KINDS));
        assert!(plan.iter().all(|(at, _)| *at <= Duration::from_secs(5)));
        assert!(plan.windows(2).all(|two| two[0].0 <= two[1].0));
    }

    #[test]
    fn every_kind_of_fault_is_drawn_by_some_seed() {
        for kind in KINDS.into_iter().chain(NODE_KINDS) {
            assert!((0..50).any(|seed| !draw(seed, &[kind]).is_empty()), "{kind:?}");
        }
        assert!(draw(1, &[]).is_empty());
    }

    #[test]
    fn there_is_no_impostor_beside_other_damage() {
        assert_eq!(Plan::default().with_impostor(Host(2)).impostor(), Some(Host(2)));
        let damaged = Plan::of(vec![(Duration::ZERO, Fault::FlipMemory(Host(1), 0, 0))]);
        assert_eq!(damaged.with_impostor(Host(2)).impostor(), None);
    }

    #[test]
    fn bits_of_a_minority_alone_are_flipped() {
        for seed in 0..50 {
            let flips =
                draw(seed, &[Kind::Flip]).iter().filter(|(_, fault)| matches!(fault, Fault::FlipBit(_))).count();
            assert!(flips <= 1, "seed {seed}");
        }
    }

    #[test]
    fn faults_come_when_they_are_due() {
        let mut plan = Plan::of(vec![
            (Duration::from_millis(20), Fault::Orphans(1)),
            (Duration::from_millis(10), Fault::Orphans(2)),
        ]);
        assert_eq!(plan.due(Duration::from_millis(9)), []);
        assert_eq!(plan.due(Duration::from_millis(10)), [Fault::Orphans(2)]);
        assert_eq!(plan.due(Duration::from_millis(30)), [Fault::Orphans(1)]);
    }
}
