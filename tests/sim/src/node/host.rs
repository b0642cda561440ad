//! One node's process: the shard of `refrain node` on the simulated machine.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use refrain::config::{Cluster, Config, Durability, HttpConfig, Node, Roles, Shards};
use refrain::shard::{self, Commands, Deployed, Places, Removals, Seams, Turns};
use refrain_sequencer::disk::RealDisk;
use refrain_sequencer::segment_log::SegmentOptions;
use refrain_sequencer::sim::sim_entropy;
use refrain_telemetry::{Identity, Telemetry};
use refrain_wire::{NodeId, ShardId};
use tokio::sync::mpsc;

use super::NODE_PORT;
use super::guests::Guests;
use super::observed::Observed;
use crate::dice::Dice;
use crate::hosts::Parts;
use crate::machine::{Pace, PacedFlush};
use crate::net::SimNet;
use crate::net::clients::{ClientNet, ip_of};
use crate::net::gates::Host;

/// Commands that may wait for a node.
const MAX_COMMANDS: usize = 64;
/// Shorter than in production, so that a run has many elections.
const ELECTION: Duration = Duration::from_millis(150);
const HEARTBEAT: Duration = Duration::from_millis(30);
/// How long a node may be silent.
const PEER_TIMEOUT: Duration = Duration::from_millis(900);
/// A segment of the log, so that a run has several.
const SEGMENT_BYTES: u64 = 64 * 1024;

/// The way to a node's running process.
#[derive(Clone, Default)]
pub struct Door {
    commands: Rc<RefCell<Option<Commands>>>,
    starts: Rc<Cell<u64>>,
}

impl Door {
    /// Where the process takes commands; none while it does not run.
    #[must_use]
    pub fn commands(&self) -> Option<Commands> {
        self.commands.borrow().clone().filter(|commands| !commands.is_closed())
    }

    /// How often it was started.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.starts.get()
    }
}

/// What the nodes of a run have in their configuration, drawn from its seed.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How long a proxy lives without word from the leader.
    pub lease: Duration,
    /// Batches of a service after which a checkpoint is taken.
    pub checkpoint_batches: u64,
    /// Bytes of a service's batches after which one is taken.
    pub checkpoint_bytes: u64,
    /// The least time between two of a service.
    pub checkpoint_interval: Duration,
    /// How often the log is cut behind them.
    pub log_cut_interval: Duration,
    /// Whether replicas that diverged are rebuilt without an operator.
    pub rebuild: bool,
}

impl Times {
    /// Short ones, so that a run has many checkpoints, cuts and joins.
    #[must_use]
    pub fn draw(dice: &mut Dice) -> Self {
        Self {
            lease: dice.millis(400, 1500),
            checkpoint_batches: dice.between(10, 150),
            checkpoint_bytes: dice.between(8, 64) * 1024,
            checkpoint_interval: dice.millis(150, 800),
            log_cut_interval: dice.millis(100, 900),
            rebuild: dice.percent(70),
        }
    }
}

/// What a node's process needs.
#[derive(Clone)]
pub struct NodeHost {
    /// Its machine.
    pub host: Host,
    /// All nodes and what they do.
    pub nodes: Vec<(Host, Roles)>,
    /// How long a proxy lives without word from the leader, and when checkpoints are taken.
    pub times: Times,
    /// Where its checkpoints are.
    pub folder: PathBuf,
    /// The services.
    pub guests: Guests,
    /// Disk and clocks.
    pub parts: Parts,
    /// How long its engine lets turns wait.
    pub engine: Pace,
    /// Its network.
    pub net: Arc<SimNet>,
    /// The seed of this run of the process.
    pub seed: u64,
    /// The way in.
    pub door: Door,
    /// The notes.
    pub observed: Observed,
}

fn address(host: Host) -> SocketAddr {
    (ip_of(host), NODE_PORT).into()
}

impl NodeHost {
    /// Runs until the log fails.
    ///
    /// # Errors
    /// Never: what ends the process is noted.
    pub async fn run(self) -> turmoil::Result {
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
        *self.door.commands.borrow_mut() = Some(commands);
        self.door.starts.set(self.door.starts.get() + 1);
        let config = self.config();
        let identity = Identity { cluster: config.cluster.id(), node: config.cluster.node, version: "" };
        let options = shard::Options {
            config,
            platform: self.guests.platform.clone(),
            services: vec![self.guests.store.clone(), self.guests.echo.clone()],
            seams: self.seams(),
            telemetry: Arc::new(Telemetry::off(&identity)),
            places: Places::default(),
            deployed: Deployed::default(),
            removals: Removals::default(),
        };
        // Each run has a folder of its own, which is no part of what happens.
        let folder = format!("{}/", self.folder.display());
        let note = |what: String| self.observed.trace().note(self.host, what.replace(&folder, ""));
        match shard::run_here(options, inbox, || note("runs".to_owned())).await {
            Ok(ended) => note(format!("ends: {ended:?}")),
            Err(error) => note(format!("cannot run: {error:#}")),
        }
        Ok(())
    }

    fn seams(&self) -> Seams {
        let pace = self.engine.clone();
        Seams {
            disk: Arc::new(self.parts.disk.clone()),
            histories: Arc::new(RealDisk::open(self.folder.join("history")).expect("a folder can be made")),
            exec: Arc::new(PacedFlush::new(self.parts.pace.clone())),
            net: self.net.clone(),
            entropy: sim_entropy(self.seed),
            clock: Arc::new(self.parts.clock.clone()),
            clients: Arc::new(ClientNet(self.net.clone())),
            turns: Turns::Inline(Arc::new(move || pace.next())),
            segments: SegmentOptions {
                segment_bytes: SEGMENT_BYTES,
                cache_bytes: SEGMENT_BYTES as usize,
                ..SegmentOptions::default()
            },
        }
    }

    fn config(&self) -> Config {
        let node =
            |(host, roles): &(Host, Roles)| Node { id: u64::from(host.0), address: address(*host), roles: *roles };
        let roles = self.nodes.iter().find(|(host, _)| *host == self.host).map_or(Roles::ALL, |(_, roles)| *roles);
        Config {
            services: Vec::new(),
            replicas: None,
            data_dir: self.folder.clone(),
            durability: Durability::Fsync,
            admin_listen: None,
            allow_fault_injection: true,
            max_log_bytes: 1 << 30,
            engine_workers: 1,
            max_connections: 10_000,
            drain_timeout: Duration::from_secs(1),
            insecure: true,
            election_timeout: ELECTION,
            heartbeat_interval: HEARTBEAT,
            peer_timeout: PEER_TIMEOUT,
            lease: self.times.lease,
            checkpoint_batches: self.times.checkpoint_batches,
            checkpoint_bytes: self.times.checkpoint_bytes,
            checkpoint_interval: self.times.checkpoint_interval,
            log_cut_interval: self.times.log_cut_interval,
            outward: true,
            rebuild: self.times.rebuild,
            listen: Vec::new(),
            http: HttpConfig::default(),
            cluster: Cluster {
                name: "simulated".to_owned(),
                node: NodeId(u64::from(self.host.0)),
                roles,
                listen: Some(address(self.host)),
                join: false,
                shards: Shards::default(),
                shard: ShardId::FIRST,
                nodes: self.nodes.iter().map(node).collect(),
                file: None,
            },
        }
    }
}
