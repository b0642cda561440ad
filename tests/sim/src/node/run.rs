//! One seed: its nodes and clients, its faults, its end.
//!
//! First comes the safety phase, with faults; then all faults are over, everybody is started again, and within a limit
//! every client must be served and every replica follow. Then one client reads everything, replicas are audited, and
//! all that was seen is judged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use refrain::config::Roles;
use refrain_service::Agreement;
use refrain_wire::Digest;

use super::echo::Echo;
use super::guests::Guests;
use super::host::{Door, NodeHost, Times};
use super::life::{Client, Life};
use super::observed::Observed;
use super::operator::Operator;
use super::script::Script;
use super::store::Store;
use crate::check::Finding;
use crate::dice::Dice;
use crate::hosts::Hosts;
use crate::machine::{DiskMutant, Pace};
use crate::net::SimNet;
use crate::net::gates::Host;
use crate::panics;
use crate::plan::{Fault, Kind, NODE_KINDS, Plan, Targets, Wish};
use crate::trace::Trace;

/// How long faults go on.
const SAFETY: Duration = Duration::from_millis(4000);
/// How long everybody has afterwards to be well again.
const LIVENESS: Duration = Duration::from_secs(20);
/// What each client must get done after the faults.
const DONE_AFTER: u64 = 3;
/// How often the operator looks.
const LOOK: Duration = Duration::from_millis(40);
/// How often what passed on the network is put into the trace.
const TAP: Duration = Duration::from_millis(200);
/// How long an audit is given before replicas are compared.
const AUDIT: Duration = Duration::from_millis(200);
/// Clients have hosts from here on.
const FIRST_CLIENT: u16 = 21;
/// Of a hundred runs so many have a node that runs another program, where nothing else says so.
const IMPOSTOR_PERCENT: u64 = 12;
/// The services of every node.
const SERVICES: usize = 2;

/// What is different from an ordinary run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is wrong with the disks.
    pub disk: DiskMutant,
    /// What releases an answer.
    pub agreement: Agreement,
    /// Faults instead of those that the seed draws.
    pub plan: Option<Plan>,
    /// The kinds of faults that the seed draws from, when not from all.
    pub kinds: Option<Vec<Kind>>,
    /// The trace keeps its lines.
    pub readable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { disk: DiskMutant::None, agreement: Agreement::Majority, plan: None, kinds: None, readable: false }
    }
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
    /// Appends that were acknowledged.
    pub writes: u64,
    /// Other operations on the key-value server that were answered.
    pub answers: u64,
    /// Flows whose bytes were compared.
    pub flows: u64,
    /// How long it took, by its own clock.
    pub lasted: Duration,
    /// The trace, when it was to be readable.
    pub lines: Vec<String>,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    let panics = panics::watch();
    let mut cluster = Cluster::new(seed, options);
    let ended = cluster.live();
    let observed = cluster.observed.clone();
    let lasted = cluster.hosts.elapsed();
    drop(cluster);
    if let Err(error) = ended {
        observed.find(Finding::new("a process ends without an error of the simulation", error.to_string()));
    }
    for panic in panics.take() {
        observed.find(Finding::new("nothing panics", panic));
    }
    observed.judge_history();
    let (writes, answers, flows) = observed.counts();
    let trace = observed.trace();
    let (digest, events, lines) = (trace.digest(), trace.events(), trace.lines());
    Outcome { findings: observed.findings(), digest, events, writes, answers, flows, lasted, lines }
}

struct Cluster {
    hosts: Hosts,
    observed: Observed,
    operator: Operator,
    /// How long engines let turns wait.
    engines: BTreeMap<Host, Pace>,
    /// Clients; the first is one of the key-value server's.
    lives: Vec<Life>,
    nodes: Vec<(Host, Roles)>,
    /// Checkpoints of all nodes: real files, which outlive processes and machines.
    folder: tempfile::TempDir,
    dice: Dice,
    looked: Duration,
    tapped: Duration,
}

/// The roles of the nodes of a run.
fn draw_nodes(dice: &mut Dice) -> Vec<Roles> {
    let member_only = Roles { proxy: false, sequencer: true, engine: false };
    let worker = Roles { proxy: true, sequencer: false, engine: true };
    match dice.below(10) {
        0..6 => vec![Roles::ALL; 3],
        6 => vec![Roles::ALL, Roles::ALL, Roles::ALL, worker],
        7 => vec![member_only, Roles::ALL, Roles::ALL, worker],
        8 => vec![Roles::ALL, Roles::ALL, Roles::ALL, worker, worker],
        _ => vec![Roles::ALL; 5],
    }
}

/// The faults of a run: of these kinds, or of any.
fn draw_plan(dice: &Dice, targets: &Targets, kinds: Option<&[Kind]>) -> Plan {
    let plan = Plan::draw(&mut dice.named("plan"), targets, kinds.unwrap_or(&NODE_KINDS), SAFETY);
    let mut dice = dice.named("impostor");
    let wanted = kinds.map_or_else(|| dice.percent(IMPOSTOR_PERCENT), |kinds| kinds.contains(&Kind::Impostor));
    if wanted { plan.with_impostor(*dice.pick(&targets.engines)) } else { plan }
}

/// A folder for the files of a run, in memory where there is such a place.
fn folder() -> tempfile::TempDir {
    const MEMORY: &str = "/dev/shm";
    tempfile::tempdir_in(MEMORY).or_else(|_| tempfile::tempdir()).expect("files can be made")
}

impl Cluster {
    fn new(seed: u64, options: &Options) -> Self {
        let dice = Dice::new(seed).named("node");
        let mut shape = dice.named("shape");
        let nodes: Vec<(Host, Roles)> = (1..).map(Host).zip(draw_nodes(&mut shape)).collect();
        let clients: Vec<Host> = (0..shape.between(3, 5) as u16).map(|nth| Host(FIRST_CLIENT + nth)).collect();
        let of = |member: bool| nodes.iter().filter(move |(_, roles)| roles.sequencer == member).map(|(host, _)| *host);
        let others = of(false).chain(clients.iter().copied()).collect();
        let engines = nodes.iter().filter(|(_, roles)| roles.engine).map(|(host, _)| *host).collect();
        let targets = Targets { members: of(true).collect(), spares: Vec::new(), others, engines };
        let plan = options.plan.clone().unwrap_or_else(|| draw_plan(&dice, &targets, options.kinds.as_deref()));
        let impostor = plan.impostor();
        let trace = Trace::new(options.readable);
        let observed = Observed::new(trace.clone());
        let hosts = Hosts::new(&dice, trace, plan, SAFETY + LIVENESS + Duration::from_secs(60));
        hosts.gates().tap();
        let mut cluster = Self {
            hosts,
            operator: Operator::new(BTreeMap::new(), None, observed.clone()),
            observed,
            engines: BTreeMap::new(),
            lives: Vec::new(),
            nodes,
            folder: folder(),
            dice: dice.named("run"),
            looked: Duration::ZERO,
            tapped: Duration::ZERO,
        };
        let times = Times::draw(&mut shape);
        let mut doors = BTreeMap::new();
        for (host, _) in cluster.nodes.clone() {
            let guests = Guests::with(options.agreement);
            let guests = if impostor == Some(host) { guests.of_impostor() } else { guests };
            doors.insert(host, cluster.add_node(host, times, guests, options, &dice));
        }
        cluster.operator = Operator::new(doors, impostor, cluster.observed.clone());
        for (nth, host) in clients.into_iter().enumerate() {
            cluster.add_client(nth, host, options, &dice);
        }
        cluster
    }

    fn add_node(&mut self, host: Host, times: Times, guests: Guests, options: &Options, dice: &Dice) -> Door {
        let dice = dice.named(&format!("node {host}"));
        let parts = self.hosts.add_machine(host, options.disk, dice.named("pace"));
        let engine = Pace::new(dice.named("engine"));
        self.engines.insert(host, engine.clone());
        let door = Door::default();
        let node = NodeHost {
            host,
            nodes: self.nodes.clone(),
            times,
            folder: self.folder.path().join(host.to_string()),
            guests,
            parts,
            engine,
            net: Arc::new(SimNet::new(host, self.hosts.gates().clone(), dice.named("net"))),
            seed: 0,
            door: door.clone(),
            observed: self.observed.clone(),
        };
        let seeds = RefCell::new(dice.named("runs"));
        self.hosts.add_process(host, move || NodeHost { seed: seeds.borrow_mut().roll(), ..node.clone() }.run());
        door
    }

    fn add_client(&mut self, nth: usize, host: Host, options: &Options, dice: &Dice) {
        let dice = dice.named(&format!("client {host}"));
        let life = Life::endless();
        self.lives.push(life.clone());
        let proxies: Vec<Host> = self.nodes.iter().filter(|(_, roles)| roles.proxy).map(|(host, _)| *host).collect();
        let patience = dice.named("patience").millis(300, 2500);
        let (gates, observed) = (self.hosts.gates().clone(), self.observed.clone());
        let guests = Guests::with(options.agreement);
        let seeds = RefCell::new(dice.named("runs"));
        self.hosts.add_process(host, move || {
            let dice = Dice::new(seeds.borrow_mut().roll());
            let client = Client {
                host,
                net: Arc::new(SimNet::new(host, gates.clone(), dice.named("net"))),
                proxies: proxies.clone(),
                patience,
                life: life.clone(),
                observed: observed.clone(),
                dice,
            };
            let guests = guests.clone();
            async move {
                match nth {
                    1 => Echo::new(client).run().await,
                    2 => Script::new(client, guests).run().await,
                    _ => Store::new(client).run().await,
                }
            }
        });
    }

    fn live(&mut self) -> turmoil::Result {
        while self.hosts.elapsed() < SAFETY {
            self.step(1)?;
        }
        let (engines, operator) = (&self.engines, &mut self.operator);
        self.hosts.end_faults(|fault| inflict(fault, engines, operator));
        self.engines.values().for_each(|engine| engine.set(0, 0));
        self.lives.iter().for_each(|life| life.only(DONE_AFTER));
        if !self.until("clients are served", |this| this.unserved())? {
            return Ok(());
        }
        self.lives[0].ask_last_look();
        if !self.until("everything can be read", |this| this.unserved())? {
            return Ok(());
        }
        self.operator.audit();
        let audited = self.hosts.elapsed() + AUDIT;
        while self.hosts.elapsed() < audited {
            self.step(20)?;
        }
        self.until("replicas are equal", |this| this.operator.unequal(SERVICES, &|host| this.hosts.is_damaged(host)))?;
        Ok(())
    }

    /// Goes on until nothing is missing; false, with what is missing noted, when the time is over.
    fn until(
        &mut self,
        what: &str,
        missing: impl Fn(&Self) -> Vec<Finding>,
    ) -> Result<bool, Box<dyn std::error::Error>> {
        let end = SAFETY + LIVENESS;
        loop {
            self.step(20)?;
            // Looking at replicas is dear, so it is done as often as the operator does.
            if self.looked != self.hosts.elapsed() && self.hosts.elapsed() < end {
                continue;
            }
            let missing = missing(self);
            if missing.is_empty() {
                self.observed.trace().note("run", what);
                return Ok(true);
            }
            if self.hosts.elapsed() >= end {
                missing.into_iter().for_each(|finding| self.observed.find(finding));
                return Ok(false);
            }
        }
    }

    fn unserved(&self) -> Vec<Finding> {
        let waits = |(nth, life): (usize, &Life)| {
            let seen = format!("client {nth} has done {} things and waits", life.done());
            (!life.is_over()).then(|| Finding::new("clients are served when the faults are over", seen))
        };
        self.lives.iter().enumerate().filter_map(waits).collect()
    }

    /// One tick. The operator repairs in so many of a hundred looks.
    fn step(&mut self, repair_percent: u64) -> turmoil::Result {
        let (engines, operator) = (&self.engines, &mut self.operator);
        self.hosts.step(|fault| inflict(fault, engines, operator))?;
        let now = self.hosts.elapsed();
        if now >= self.looked + LOOK {
            self.looked = now;
            self.operator.look();
            if self.dice.percent(repair_percent) {
                self.operator.repair();
            }
        }
        if now >= self.tapped + TAP {
            self.tapped = now;
            if let Some(passed) = self.hosts.gates().passed() {
                self.observed.trace().note("net", passed.to_hex());
            }
        }
        Ok(())
    }
}

/// Faults that only whole nodes know.
fn inflict(fault: &Fault, engines: &BTreeMap<Host, Pace>, operator: &mut Operator) {
    match *fault {
        Fault::LoseReplica(host, pick) => operator.lose(host, pick),
        Fault::FlipMemory(host, pick, bit) => operator.damage(host, pick, bit),
        Fault::SlowEngine(host, least, most) => {
            if let Some(engine) = engines.get(&host) {
                engine.set(least, most);
            }
        }
        Fault::Wanted(Wish::Transfer(to)) => operator.transfer(to),
        _ => {}
    }
}
