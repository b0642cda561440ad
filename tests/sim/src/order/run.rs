//! One seed: its cluster, its faults, its end.
//!
//! First comes the safety phase, with faults; then all faults are over, everybody is started again, and within a limit
//! every proxy must get more writes acknowledged and every member must have the whole log.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

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
use crate::hosts::Hosts;
use crate::machine::{DiskMutant, PacedFlush};
use crate::net::SimNet;
use crate::net::gates::Host;
use crate::panics;
use crate::plan::{Fault, KINDS, Kind, Plan, Targets};
use crate::trace::Trace;

/// How long faults go on.
const SAFETY: Duration = Duration::from_millis(5000);
/// How long everybody has afterwards to be well again.
const LIVENESS: Duration = Duration::from_millis(8000);
/// The writes of each proxy that must be acknowledged after the faults.
const WRITES_AFTER: u64 = 10;
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

struct Cluster {
    hosts: Hosts,
    observed: Observed,
    proxies: Vec<Host>,
    orders: Vec<Orders>,
    wishes: Wishes,
}

impl Cluster {
    fn new(seed: u64, options: &Options) -> Self {
        let dice = Dice::new(seed);
        let mut shape = dice.named("shape");
        let members: Vec<Host> = (1..=*shape.pick(&MEMBERS)).map(Host).collect();
        let count = members.len() as u16;
        let spares: Vec<Host> = (1..=SPARES).map(|nth| Host(count + nth)).collect();
        let proxies: Vec<Host> = (0..shape.between(1, 3) as u16).map(|nth| Host(FIRST_PROXY + nth)).collect();
        let targets =
            Targets { members: members.clone(), spares: spares.clone(), others: proxies.clone(), engines: Vec::new() };
        let plan = options.plan.clone();
        let kinds = options.kinds.as_deref().unwrap_or(&KINDS);
        let plan = plan.unwrap_or_else(|| Plan::draw(&mut dice.named("plan"), &targets, kinds, SAFETY));
        let changes_members = plan.changes_members();
        let trace = Trace::new(options.readable);
        let mut cluster = Self {
            hosts: Hosts::new(&dice, trace.clone(), plan, SAFETY + LIVENESS + Duration::from_secs(60)),
            observed: Observed::new(trace),
            proxies,
            orders: Vec::new(),
            wishes: Wishes::default(),
        };
        let cut_every = shape.percent(60).then(|| shape.between(10, 400));
        let spares = if changes_members { spares } else { Vec::new() };
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
        let parts = self.hosts.add_machine(host, options.disk, dice.named("pace"));
        let member = Member {
            host,
            members: members.to_vec(),
            wishes: self.wishes.clone(),
            cut_every,
            disk: parts.disk,
            pace: parts.pace,
            clock: parts.clock,
            net: Arc::new(SimNet::new(host, self.hosts.gates().clone(), dice.named("net"))),
            seed: 0,
            observed: self.observed.clone(),
            mutant: options.member,
        };
        let seeds = RefCell::new(dice.named("runs"));
        self.hosts.add_process(host, move || Member { seed: seeds.borrow_mut().roll(), ..member.clone() }.run());
    }

    fn add_proxy(&mut self, host: Host, members: &[Host], dice: &Dice) {
        let dice = dice.named(&format!("proxy {host}"));
        let orders = Orders::default();
        orders.until(u64::MAX);
        self.orders.push(orders.clone());
        let (gates, observed, members) = (self.hosts.gates().clone(), self.observed.clone(), members.to_vec());
        let seeds = RefCell::new(dice.named("runs"));
        self.hosts.add_process(host, move || {
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
        while self.hosts.elapsed() < SAFETY {
            self.step()?;
        }
        self.hosts.end_faults(|_| {});
        let goals: Vec<u64> = self
            .proxies
            .iter()
            .map(|proxy| self.observed.count_acknowledged(u32::from(proxy.0)) + WRITES_AFTER)
            .collect();
        self.orders.iter().zip(&goals).for_each(|(orders, goal)| orders.until(*goal));
        while self.hosts.elapsed() < SAFETY + LIVENESS {
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
            let mut voters = self.observed.current_voters();
            voters.retain(|host| !self.hosts.is_damaged(*host));
            missing = self.observed.unequal(&voters);
        }
        missing
    }

    fn step(&mut self) -> turmoil::Result {
        let wishes = self.wishes.clone();
        self.hosts.step(|fault| {
            if let Fault::Wanted(wish) = fault {
                wishes.borrow_mut().push_back(*wish);
            }
        })
    }
}

/// How many hosts may become members.
const SPARES: u16 = 2;
/// How many members a log has.
const MEMBERS: [u16; 5] = [1, 3, 3, 3, 5];
