//! One seed: its cluster, its faults, its end.
//!
//! First comes the safety phase, with faults; then all faults are over, everybody is started again, and within a limit
//! every proxy must get more writes acknowledged and every member must have the whole log.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use refrain_sequencer::log::CommitSink;
use refrain_sequencer::raft::{Bootstrap, ElectionTimes, OpenRaftError, RaftLog, RaftOptions};
use refrain_sequencer::segment_log::SegmentOptions;
use refrain_sequencer::sim::sim_entropy;
use refrain_wire::{ClusterId, Digest, NodeId};

use super::RAFT_PORT;
use super::member::{Member, MemberMutant, Wishes};
use super::observed::Observed;
use super::proxy::{Orders, Proxy};
use crate::check::Finding;
use crate::dice::Dice;
use crate::machine::{DiskMutant, NodeClock, NodeDisk, Pace, PacedFlush, SimTime};
use crate::net::SimNet;
use crate::net::gates::{Gates, Host};
use crate::panics;
use crate::plan::{Fault, KINDS, Kind, Plan, Targets};
use crate::trace::Trace;

/// How long faults go on.
const SAFETY: Duration = Duration::from_millis(5000);
/// How long everybody has afterwards to be well again.
const LIVENESS: Duration = Duration::from_millis(8000);
/// The writes of each proxy that must be acknowledged after the faults.
const WRITES_AFTER: u64 = 10;
/// A process that ended by itself is started again after this.
const RESTART: Duration = Duration::from_millis(150);
/// Every log belongs to it.
const CLUSTER: ClusterId = ClusterId([7; 16]);
/// Shorter than in production, so that a run has many elections.
const TIMES: ElectionTimes =
    ElectionTimes { timeout: Duration::from_millis(150), heartbeat: Duration::from_millis(30) };
/// Proxies have hosts from here on.
const FIRST_PROXY: u16 = 11;

/// What is different from an ordinary run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What is wrong with the disks.
    pub disk: DiskMutant,
    /// What is wrong with the members.
    pub member: MemberMutant,
    /// Faults instead of those that the seed draws.
    pub plan: Option<Plan>,
    /// The kinds of faults that the seed draws from, when not from all.
    pub kinds: Option<Vec<Kind>>,
    /// The trace keeps its lines.
    pub readable: bool,
}

/// What became of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The digest of everything that happened.
    pub digest: Digest,
    /// How much happened.
    pub events: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Terms that had a leader.
    pub terms: usize,
    /// The trace, when it was to be readable.
    pub lines: Vec<String>,
}

/// Opens a member's log.
pub(super) async fn open_log(member: &Member, sink: CommitSink) -> Result<Arc<RaftLog>, OpenRaftError> {
    let node = |host: &Host| NodeId(u64::from(host.0));
    let initial = member.members.iter().map(|host| (node(host), host.address(RAFT_PORT))).collect();
    let is_initial = member.members.contains(&member.host);
    let options = RaftOptions {
        node: node(&member.host),
        cluster: CLUSTER,
        address: member.host.address(RAFT_PORT),
        members: if is_initial { Bootstrap::Initial(initial) } else { Bootstrap::Join },
        election: TIMES,
        net: member.net.clone(),
        segments: SegmentOptions {
            segment_bytes: 16 * 1024,
            cache_bytes: 16 * 1024,
            entropy: sim_entropy(member.seed),
            ..SegmentOptions::default()
        },
        ..RaftOptions::default()
    };
    let disk = Arc::new(member.disk.clone());
    RaftLog::open(disk, &PacedFlush::new(member.pace.clone()), options, sink).await.map(Arc::new)
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    let panics = panics::watch();
    let mut cluster = Cluster::new(seed, options);
    let ended = cluster.live();
    let Cluster { observed, proxies, .. } = cluster;
    if let Err(error) = ended {
        observed.find(Finding::new("a process ends without an error of the simulation", error.to_string()));
    }
    for panic in panics.take() {
        observed.find(Finding::new("nothing panics", panic));
    }
    let acknowledged = |proxy: &Host| observed.count_acknowledged(u32::from(proxy.0));
    Outcome {
        findings: observed.findings(),
        acknowledged: proxies.iter().map(acknowledged).sum(),
        terms: observed.terms(),
        digest: observed.trace().digest(),
        events: observed.trace().events(),
        lines: observed.trace().lines(),
    }
}

/// A member's machine, from outside.
struct Machine {
    disk: NodeDisk,
    pace: Pace,
    clock: NodeClock,
    /// It is to stay down until somebody starts it.
    down: bool,
    /// When it is started again after it ended by itself.
    restart_at: Option<Duration>,
    /// The number of changes of the disk at which it dies.
    stop_at: Option<u64>,
    /// Its disk was damaged for good: it may refuse to start.
    damaged: bool,
}

struct Cluster {
    sim: turmoil::Sim<'static>,
    gates: Gates,
    time: SimTime,
    observed: Observed,
    members: Rc<RefCell<BTreeMap<Host, Machine>>>,
    proxies: Vec<Host>,
    orders: Vec<Orders>,
    wishes: Wishes,
    plan: Plan,
    dice: Dice,
}

impl Cluster {
    fn new(seed: u64, options: &Options) -> Self {
        let dice = Dice::new(seed);
        let mut shape = dice.named("shape");
        let members: Vec<Host> = (1..=*shape.pick(&MEMBERS)).map(Host).collect();
        let count = members.len() as u16;
        let spares: Vec<Host> = (1..=SPARES).map(|nth| Host(count + nth)).collect();
        let proxies: Vec<Host> = (0..shape.between(1, 3) as u16).map(|nth| Host(FIRST_PROXY + nth)).collect();
        let sim = turmoil::Builder::new()
            .rng_seed(dice.named("turmoil").roll())
            .epoch(SystemTime::UNIX_EPOCH)
            .simulation_duration(SAFETY + LIVENESS + Duration::from_secs(60))
            .min_message_latency(Duration::from_millis(0))
            .max_message_latency(Duration::from_millis(2))
            .tcp_capacity(1024)
            .enable_random_order()
            .build();
        let targets = Targets { members: members.clone(), spares: spares.clone(), others: proxies.clone() };
        let plan = options.plan.clone();
        let kinds = options.kinds.as_deref().unwrap_or(&KINDS);
        let plan = plan.unwrap_or_else(|| Plan::draw(&mut dice.named("plan"), &targets, kinds, SAFETY));
        let mut cluster = Self {
            sim,
            gates: Gates::default(),
            time: SimTime::default(),
            observed: Observed::new(Trace::new(options.readable)),
            members: Rc::default(),
            proxies,
            orders: Vec::new(),
            wishes: Wishes::default(),
            plan,
            dice: dice.named("faults"),
        };
        let cut_every = shape.percent(60).then(|| shape.between(10, 400));
        let spares = if cluster.plan.changes_members() { spares } else { Vec::new() };
        let all: Vec<Host> = members.iter().chain(&spares).copied().collect();
        for host in &all {
            cluster.add_member(*host, &members, cut_every, options, &dice);
        }
        for host in cluster.proxies.clone() {
            cluster.add_proxy(host, &all, &dice);
        }
        cluster
    }

    fn add_member(&mut self, host: Host, members: &[Host], cut_every: Option<u64>, options: &Options, dice: &Dice) {
        let dice = dice.named(&format!("member {host}"));
        let machine = Machine {
            disk: NodeDisk::new(options.disk),
            pace: Pace::new(dice.named("pace")),
            clock: NodeClock::new(self.time.clone()),
            down: false,
            restart_at: None,
            stop_at: None,
            damaged: false,
        };
        let member = Member {
            host,
            members: members.to_vec(),
            wishes: self.wishes.clone(),
            cut_every,
            disk: machine.disk.clone(),
            pace: machine.pace.clone(),
            clock: machine.clock.clone(),
            net: Arc::new(SimNet::new(host, self.gates.clone(), dice.named("net"))),
            seed: 0,
            observed: self.observed.clone(),
            mutant: options.member,
        };
        self.members.borrow_mut().insert(host, machine);
        let seeds = RefCell::new(dice.named("runs"));
        self.sim.host(host.to_string(), move || Member { seed: seeds.borrow_mut().roll(), ..member.clone() }.run());
    }

    fn add_proxy(&mut self, host: Host, members: &[Host], dice: &Dice) {
        let dice = dice.named(&format!("proxy {host}"));
        let orders = Orders::default();
        orders.until(u64::MAX);
        self.orders.push(orders.clone());
        let (gates, observed, members) = (self.gates.clone(), self.observed.clone(), members.to_vec());
        let seeds = RefCell::new(dice.named("runs"));
        self.sim.host(host.to_string(), move || {
            let dice = Dice::new(seeds.borrow_mut().roll());
            let proxy = Proxy {
                host,
                net: SimNet::new(host, gates.clone(), dice.named("net")),
                members: members.clone(),
                orders: orders.clone(),
                observed: observed.clone(),
                dice,
            };
            proxy.run()
        });
    }

    fn live(&mut self) -> turmoil::Result {
        while self.sim.elapsed() < SAFETY {
            self.step()?;
        }
        self.end_faults();
        let goals: Vec<u64> = self
            .proxies
            .iter()
            .map(|proxy| self.observed.count_acknowledged(u32::from(proxy.0)) + WRITES_AFTER)
            .collect();
        self.orders.iter().zip(&goals).for_each(|(orders, goal)| orders.until(*goal));
        while self.sim.elapsed() < SAFETY + LIVENESS {
            self.step()?;
            if self.missing(&goals).is_empty() {
                return Ok(());
            }
        }
        self.missing(&goals).into_iter().for_each(|finding| self.observed.find(finding));
        Ok(())
    }

    /// What is not yet as it must be when all faults are over.
    fn missing(&self, goals: &[u64]) -> Vec<Finding> {
        let mut missing = Vec::new();
        for (proxy, goal) in self.proxies.iter().zip(goals) {
            let count = self.observed.count_acknowledged(u32::from(proxy.0));
            if count < *goal {
                let seen = format!("proxy {proxy} has {count} acknowledged writes of {goal}");
                missing.push(Finding::new("writes are acknowledged when the faults are over", seen));
            }
        }
        if missing.is_empty() {
            let members = self.members.borrow();
            let mut voters = self.observed.current_voters();
            voters.retain(|host| members.get(host).is_some_and(|machine| !machine.damaged));
            missing = self.observed.unequal(&voters);
        }
        missing
    }

    fn step(&mut self) -> turmoil::Result {
        let now = self.sim.elapsed();
        self.time.set(now);
        self.observed.trace().set_now(now);
        for fault in self.plan.due(now) {
            self.inflict(&fault);
        }
        self.look_after(now);
        self.sim.step().map(drop)
    }

    /// Kills those whose disk has stopped, and starts those that ended by themselves.
    fn look_after(&mut self, now: Duration) {
        let hosts: Vec<Host> = self.members.borrow().keys().copied().collect();
        for host in hosts {
            let running = self.sim.is_host_running(host.to_string());
            let mut members = self.members.borrow_mut();
            let machine = members.get_mut(&host).expect("every host is a member");
            if machine.stop_at.is_some_and(|at| machine.disk.sim().operations() >= at) {
                machine.stop_at = None;
                drop(members);
                self.power_off(host);
            } else if !running && !machine.down {
                let (ended, at) = (machine.restart_at.is_none(), *machine.restart_at.get_or_insert(now + RESTART));
                drop(members);
                if ended {
                    self.tell_peers(host);
                } else if now >= at {
                    self.start(host);
                }
            }
        }
    }

    fn end_faults(&mut self) {
        self.observed.trace().note("run", "all faults are over");
        self.gates.open_all();
        let hosts: Vec<Host> = self.members.borrow().keys().copied().collect();
        for host in &hosts {
            for fault in [Fault::FreeDisk(*host), Fault::SlowDisk(*host, 0, 0), Fault::Clock(*host, 0)] {
                self.inflict(&fault);
            }
            for other in hosts.iter().chain(&self.proxies.clone()).filter(|other| *other != host) {
                self.inflict(&Fault::Latency(*host, *other, 2));
            }
            let mut members = self.members.borrow_mut();
            let machine = members.get_mut(host).expect("every host is a member");
            if machine.stop_at.take().is_some() {
                drop(members);
                self.power_off(*host);
            }
        }
        for host in hosts.into_iter().chain(self.proxies.clone()) {
            self.inflict(&Fault::Start(host));
        }
    }

    fn inflict(&mut self, fault: &Fault) {
        self.observed.trace().note("fault", fault);
        match *fault {
            Fault::Cut(from, to) => self.gates.cut(from, to),
            Fault::Heal(from, to) => self.gates.heal(from, to),
            Fault::Reset(a, b) => self.gates.reset(a, b),
            Fault::Pause(host) => self.gates.pause(host),
            Fault::Resume(host) => self.gates.resume(host),
            Fault::Kill(host) => self.kill(host),
            Fault::PowerOff(host) => self.power_off(host),
            Fault::Start(host) => self.start(host),
            Fault::Wanted(wish) => self.wishes.borrow_mut().push_back(wish),
            Fault::Orphans(percent) => self.gates.set_orphan_percent(percent),
            Fault::Latency(a, b, most) => {
                let most = Duration::from_millis(most);
                self.sim.set_link_max_message_latency(a.to_string(), b.to_string(), most);
            }
            Fault::StopDisk(host, changes) => {
                if let Some(machine) = self.members.borrow_mut().get_mut(&host) {
                    let at = machine.disk.sim().operations() + changes;
                    machine.disk.sim().stop_after(at);
                    machine.stop_at = Some(at);
                }
            }
            Fault::FailSync(host) => self.disk(host, |machine| machine.disk.sim().fail_sync(1)),
            Fault::FillDisk(host) => self.disk(host, |machine| {
                machine.disk.sim().set_capacity(Some(machine.disk.sim().used()));
            }),
            Fault::FreeDisk(host) => self.disk(host, |machine| machine.disk.sim().set_capacity(None)),
            Fault::SlowDisk(host, least, most) => self.disk(host, |machine| machine.pace.set(least, most)),
            Fault::Clock(host, millis) => self.disk(host, |machine| machine.clock.set_wall_offset(millis * 1000)),
            Fault::FlipBit(host) => {
                let mut dice = self.dice.named("flip");
                self.disk(host, |machine| machine.damaged |= machine.disk.flip_somewhere(&mut dice));
            }
        }
    }

    fn disk(&mut self, host: Host, change: impl FnOnce(&mut Machine)) {
        if let Some(machine) = self.members.borrow_mut().get_mut(&host) {
            change(machine);
        }
    }

    /// The process is killed: its peers are told by the system.
    fn kill(&mut self, host: Host) {
        self.end(host);
        self.tell_peers(host);
    }

    /// The machine loses its power: nobody is told.
    fn power_off(&mut self, host: Host) {
        self.end(host);
        let seed = self.dice.roll();
        self.disk(host, |machine| machine.disk.sim().crash(seed));
    }

    fn end(&mut self, host: Host) {
        // What the process would still write on its way out is not written.
        self.disk(host, |machine| {
            machine.disk.sim().stop_after(0);
            machine.down = true;
            machine.restart_at = None;
            machine.stop_at = None;
        });
        self.in_silence(host, |sim| sim.crash(host.to_string()));
        self.gates.resume(host);
    }

    fn others(&self, host: Host) -> Vec<Host> {
        let members = self.members.borrow();
        members.keys().chain(&self.proxies).copied().filter(|other| *other != host).collect()
    }

    /// Does something that ends the tasks of `host`, without anything that they would send: tokio drops tasks in an
    /// order that depends on how many there were before in the whole process.
    fn in_silence(&mut self, host: Host, end: impl FnOnce(&mut turmoil::Sim<'static>)) {
        let others = self.others(host);
        others.iter().for_each(|other| self.sim.partition(host.to_string(), other.to_string()));
        end(&mut self.sim);
        others.iter().for_each(|other| self.sim.repair(host.to_string(), other.to_string()));
    }

    fn tell_peers(&self, host: Host) {
        self.others(host).into_iter().for_each(|other| self.gates.reset(host, other));
    }

    fn start(&mut self, host: Host) {
        if self.sim.is_host_running(host.to_string()) {
            return;
        }
        self.disk(host, |machine| {
            machine.disk.sim().restart();
            machine.down = false;
            machine.restart_at = None;
        });
        self.in_silence(host, |sim| sim.bounce(host.to_string()));
    }
}

/// How many hosts may become members.
const SPARES: u16 = 2;
/// How many members a log has.
const MEMBERS: [u16; 5] = [1, 3, 3, 3, 5];
