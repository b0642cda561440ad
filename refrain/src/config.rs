//! The configuration of a server process: flag over environment over file over default, all faults told at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use refrain_service::ByteSize;
use refrain_wire::{NodeId, ShardId};
use serde::{Deserialize, Serialize};

mod cluster;
mod file;
mod http;
mod listen;
mod shards;

pub use cluster::{Cluster, Node, Role, Roles};
pub use http::{HttpConfig, HttpSettings};
pub use listen::{Endpoint, ListenAt};
pub use shards::{MAX_SHARDS, PlaceAt, Shards, further_shards, shard_dir};

use file::File;

/// Whether an answer waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It does: what was answered survives a loss of power.
    #[default]
    Fsync,
    /// It does not: the last moments are lost with the machine.
    None,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the command line and the environment say; what is none is asked of the file.
#[derive(Debug, Default)]
pub struct Settings {
    /// Folders of services.
    pub services: Vec<PathBuf>,
    /// Replicas of new services.
    pub replicas: Option<u8>,
    /// See [`Config::data_dir`].
    pub data_dir: Option<PathBuf>,
    /// See [`Config::durability`].
    pub durability: Option<Durability>,
    /// See [`Config::admin_listen`].
    pub admin_listen: Option<SocketAddr>,
    /// See [`Config::allow_fault_injection`].
    pub allow_fault_injection: Option<bool>,
    /// A size with its unit.
    pub max_log_bytes: Option<String>,
    /// See [`Config::engine_workers`].
    pub engine_workers: Option<usize>,
    /// See [`Config::max_connections`].
    pub max_connections: Option<u32>,
    /// A time with its unit.
    pub drain_timeout: Option<String>,
    /// `NAMESPACE/NAME/PORT=ADDR` each.
    pub listen: Vec<String>,
    /// Of the HTTP front end.
    pub http: HttpSettings,
    /// See [`Config::insecure`].
    pub insecure: Option<bool>,
    /// A time with its unit.
    pub election_timeout: Option<String>,
    /// A time with its unit.
    pub heartbeat_interval: Option<String>,
    /// A time with its unit.
    pub peer_timeout: Option<String>,
    /// A time with its unit.
    pub lease: Option<String>,
    /// See [`Config::checkpoint_batches`].
    pub checkpoint_batches: Option<u64>,
    /// A size with its unit.
    pub checkpoint_bytes: Option<String>,
    /// A time with its unit.
    pub checkpoint_interval: Option<String>,
    /// A time with its unit.
    pub log_cut_interval: Option<String>,
    /// See [`Config::rebuild`].
    pub rebuild: Option<bool>,
    /// See [`Config::outward`].
    pub outward: Option<bool>,
    /// Where other nodes reach `up`.
    pub peer_listen: Option<SocketAddr>,
    /// How many shards `up` has.
    pub shards: Option<u16>,
    /// `NAMESPACE/NAME=SHARD` each, for `up`.
    pub place: Vec<String>,
    /// The node's number.
    pub node: Option<u64>,
    /// The cluster file.
    pub cluster: Option<PathBuf>,
    /// The node's roles, instead of those in the cluster file.
    pub roles: Option<Vec<Role>>,
    /// The cluster runs already.
    pub join: Option<bool>,
    /// The configuration file.
    pub config: Option<PathBuf>,
}

/// What holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folders with a `service.toml` each.
    pub services: Vec<PathBuf>,
    /// Replicas of new services, instead of what their manifests say.
    pub replicas: Option<u8>,
    /// Where log, bundles and compiled code are kept.
    pub data_dir: PathBuf,
    /// Whether an answer waits for the disk.
    pub durability: Durability,
    /// Where the admin API listens. None: the default port, or a free one when that is taken.
    pub admin_listen: Option<SocketAddr>,
    /// Whether replicas may be damaged on purpose.
    pub allow_fault_injection: bool,
    /// The most bytes of each shard's log on disk.
    pub max_log_bytes: u64,
    /// Threads that run guests.
    pub engine_workers: usize,
    /// The most client connections of all services of a shard together.
    pub max_connections: u32,
    /// How long open connections may go on at the end.
    pub drain_timeout: Duration,
    /// Whether nodes may listen for each other beyond loopback.
    pub insecure: bool,
    /// How long a member waits for its leader before it stands for election; random up to twice that.
    pub election_timeout: Duration,
    /// How often a leader shows that it lives.
    pub heartbeat_interval: Duration,
    /// How long another node may be silent on a stream before the stream is given up.
    pub peer_timeout: Duration,
    /// How long a proxy's connections live on without word from the leader.
    pub lease: Duration,
    /// Batches of a service after which a checkpoint is taken.
    pub checkpoint_batches: u64,
    /// Bytes of a service's batches after which a checkpoint is taken.
    pub checkpoint_bytes: u64,
    /// The least time between two checkpoints of a service.
    pub checkpoint_interval: Duration,
    /// How often a leader has the log cut behind checkpoints.
    pub log_cut_interval: Duration,
    /// Whether a replica that diverged is rebuilt from the agreed checkpoint by itself.
    pub rebuild: bool,
    /// Whether guests' calls outward may be given to this node's proxy; their manifests say where to.
    pub outward: bool,
    /// Where ports of services listen, instead of what their manifests say.
    pub listen: Vec<ListenAt>,
    /// The HTTP front end.
    pub http: HttpConfig,
    /// The cluster, and which of its nodes this is.
    pub cluster: Cluster,
}

/// What is wrong with a configuration: every fault, not the first alone.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no TOML, or has keys or values that are not known.
    #[error("the configuration file {path} is not valid")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: toml::de::Error,
    },
    /// Values are not what they may be.
    #[error("the configuration has {} fault(s):\n  {}", .0.len(), .0.join("\n  "))]
    Faults(Vec<String>),
}

const DEFAULT_MAX_LOG_BYTES: u64 = 16 << 30;
/// Two segments must fit, or nothing could ever be appended.
const MIN_LOG_BYTES: u64 = 128 << 20;
const DEFAULT_MAX_CONNECTIONS: u32 = 20_000;
const MAX_CONNECTIONS: u32 = 500_000;
const MAX_ENGINE_WORKERS: usize = 256;
const DEFAULT_DRAIN: Duration = Duration::from_secs(10);
const DEFAULT_ELECTION: Duration = Duration::from_millis(500);
const DEFAULT_HEARTBEAT: Duration = Duration::from_millis(100);
const DEFAULT_LEASE: Duration = Duration::from_secs(5);
const DEFAULT_CHECKPOINT_BATCHES: u64 = 500;
const DEFAULT_CHECKPOINT_BYTES: u64 = 8 << 20;
/// Each checkpoint is written to the disk that the log is on.
const DEFAULT_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_LOG_CUT_INTERVAL: Duration = Duration::from_secs(10);
/// A cut costs a write of the shard's state.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// The default of `peer-timeout`, in election timeouts: long after an election would have taken a member for dead.
const ELECTIONS_PER_PEER_TIMEOUT: u32 = 6;
/// Shorter elections happen by themselves on a busy machine.
const MIN_ELECTION: Duration = Duration::from_millis(50);
/// A leader must be able to miss heartbeats.
const HEARTBEATS_PER_ELECTION: u32 = 3;

impl Config {
    /// The configuration of `refrain up`: a cluster of this node alone, with every role.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn of_up(settings: Settings) -> Result<Self, ConfigError> {
        let file = settings.config.as_deref().map_or_else(|| Ok(File::default()), read)?;
        let mut faults = Vec::new();
        for (key, given) in [
            ("node", file.node.is_some()),
            ("cluster", file.cluster.is_some()),
            ("roles", file.roles.is_some()),
            ("join", file.join.is_some()),
        ] {
            if given {
                faults.push(format!("{key}: is for `refrain node`, not for `refrain up`"));
            }
        }
        let of_file = (file.shards, file.place.clone());
        let shards = Shards::merge(of_file, (settings.shards, &settings.place), &mut faults);
        let cluster = Cluster { shards, ..Cluster::alone(settings.peer_listen.or(file.peer_listen)) };
        Self::merge(settings, file, cluster, faults)
    }

    /// The configuration of a node of a cluster.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn of_node(settings: Settings) -> Result<Self, ConfigError> {
        let file: File = settings.config.as_deref().map_or_else(|| Ok(File::default()), read)?;
        let mut faults = Vec::new();
        // A file names its neighbours relative to itself.
        let beside =
            |path: PathBuf| settings.config.as_deref().and_then(Path::parent).map_or(path.clone(), |f| f.join(path));
        let path = settings.cluster.clone().or_else(|| file.cluster.clone().map(beside));
        let node = settings.node.or(file.node);
        let (Some(path), Some(node)) = (path, node) else {
            let missing = |name: &str, is: bool| is.then(|| format!("{name}: is missing; see `refrain node --help`"));
            faults.extend(missing("cluster", settings.cluster.is_none() && file.cluster.is_none()));
            faults.extend(missing("node", node.is_none()));
            return Err(ConfigError::Faults(faults));
        };
        if settings.peer_listen.or(file.peer_listen).is_some() {
            faults.push("peer-listen: is for `refrain up`; a node listens where the cluster file says".to_owned());
        }
        if file.shards.is_some() || !file.place.is_empty() {
            faults.push("shards, place: are for `refrain up`; those of a node stand in the cluster file".to_owned());
        }
        let roles = settings.roles.clone().or(file.roles.clone());
        let join = settings.join.or(file.join).unwrap_or(false);
        let mut cluster = Cluster::of(read(&path)?, NodeId(node), roles, join, &mut faults);
        // Wherever the process is, or a file that names it.
        cluster.file = Some(std::path::absolute(&path).unwrap_or(path));
        Self::merge(settings, file, cluster, faults)
    }

    /// The configuration as a file from which the same results; what the cluster file says is a comment in it.
    #[must_use]
    pub fn printed(&self) -> String {
        let file = toml::to_string_pretty(&File::of(self)).expect("what was read from TOML can be written so");
        let Some(path) = &self.cluster.file else { return file };
        let cluster = toml::to_string_pretty(&self.cluster).expect("what was read from TOML can be written so");
        let comment: String = cluster.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
        format!("{file}\n# As {} has it:\n{comment}", path.display())
    }

    /// The configuration of one of the process's shards.
    #[must_use]
    pub fn of_shard(&self, shard: ShardId) -> Self {
        let mut config = self.clone();
        config.cluster.shard = shard;
        config.engine_workers = (self.engine_workers / usize::from(self.cluster.shards.count)).max(1);
        config
    }

    /// The folder of this shard's log and checkpoints: that of the first is the data folder itself.
    #[must_use]
    pub fn shard_dir(&self) -> PathBuf {
        shard_dir(&self.data_dir, self.cluster.shard)
    }

    fn merge(given: Settings, mut file: File, cluster: Cluster, mut faults: Vec<String>) -> Result<Self, ConfigError> {
        let faults_of = &mut faults;
        let http = HttpConfig::merge(given.http, file.http(), faults_of);
        let max_log_bytes = given.max_log_bytes.or(file.max_log_bytes);
        let drain_timeout = given.drain_timeout.or(file.drain_timeout);
        let election = given.election_timeout.or(file.election_timeout);
        let heartbeat = given.heartbeat_interval.or(file.heartbeat_interval);
        let peer_timeout = given.peer_timeout.or(file.peer_timeout);
        let lease = given.lease.or(file.lease);
        let checkpoint_bytes = given.checkpoint_bytes.or(file.checkpoint_bytes);
        let checkpoint_interval = given.checkpoint_interval.or(file.checkpoint_interval);
        let cut_interval = given.log_cut_interval.or(file.log_cut_interval);
        let election_timeout = duration("election-timeout", election, DEFAULT_ELECTION, faults_of);
        let lease = duration("lease", lease, DEFAULT_LEASE, faults_of);
        let patience = election_timeout.saturating_mul(ELECTIONS_PER_PEER_TIMEOUT).min(lease / 5 * 2);
        let patience = patience.max(election_timeout);
        let config = Self {
            services: if given.services.is_empty() { file.services.unwrap_or_default() } else { given.services },
            replicas: given.replicas.or(file.replicas),
            data_dir: (given.data_dir.or(file.data_dir))
                .unwrap_or_else(|| refrain_api::discovery::DEFAULT_DATA_DIR.into()),
            durability: given.durability.or(file.durability).unwrap_or_default(),
            admin_listen: given.admin_listen.or(file.admin_listen),
            allow_fault_injection: given.allow_fault_injection.or(file.allow_fault_injection).unwrap_or(false),
            max_log_bytes: bytes("max-log-bytes", max_log_bytes, DEFAULT_MAX_LOG_BYTES, faults_of),
            engine_workers: given.engine_workers.or(file.engine_workers).unwrap_or_else(cores),
            max_connections: given.max_connections.or(file.max_connections).unwrap_or(DEFAULT_MAX_CONNECTIONS),
            drain_timeout: duration("drain-timeout", drain_timeout, DEFAULT_DRAIN, faults_of),
            insecure: given.insecure.or(file.insecure).unwrap_or(false),
            election_timeout,
            heartbeat_interval: duration("heartbeat-interval", heartbeat, DEFAULT_HEARTBEAT, faults_of),
            peer_timeout: duration("peer-timeout", peer_timeout, patience, faults_of),
            lease,
            checkpoint_batches: (given.checkpoint_batches.or(file.checkpoint_batches))
                .unwrap_or(DEFAULT_CHECKPOINT_BATCHES),
            checkpoint_bytes: bytes("checkpoint-bytes", checkpoint_bytes, DEFAULT_CHECKPOINT_BYTES, faults_of),
            checkpoint_interval: duration(
                "checkpoint-interval",
                checkpoint_interval,
                DEFAULT_CHECKPOINT_INTERVAL,
                faults_of,
            ),
            log_cut_interval: duration("log-cut-interval", cut_interval, DEFAULT_LOG_CUT_INTERVAL, faults_of),
            rebuild: given.rebuild.or(file.rebuild).unwrap_or(true),
            outward: given.outward.or(file.outward).unwrap_or(true),
            listen: listen::merge(&given.listen, file.listen, faults_of),
            http,
            cluster,
        };
        config.check(&mut faults);
        if faults.is_empty() { Ok(config) } else { Err(ConfigError::Faults(faults)) }
    }

    fn check(&self, faults: &mut Vec<String>) {
        if let Some(replicas) = self.replicas
            && let Err(error) = refrain_service::Replicas::new(u64::from(replicas))
        {
            faults.push(format!("replicas: {error}"));
        }
        if self.max_log_bytes < MIN_LOG_BYTES {
            let (is, least) = (ByteSize::bytes(self.max_log_bytes), ByteSize::bytes(MIN_LOG_BYTES));
            faults.push(format!("max-log-bytes: {is} is below the least, {least}"));
        }
        if !(1..=MAX_ENGINE_WORKERS).contains(&self.engine_workers) {
            faults.push(format!("engine-workers: {} is not in 1 to {MAX_ENGINE_WORKERS}", self.engine_workers));
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.max_connections) {
            faults.push(format!("max-connections: {} is not in 1 to {MAX_CONNECTIONS}", self.max_connections));
        }
        if let Some(address) = self.admin_listen
            && !address.ip().is_loopback()
        {
            faults.push(format!("admin-listen: {address} is not a loopback address"));
        }
        self.check_times(faults);
        self.cluster.check(self.insecure, faults);
    }

    fn check_times(&self, faults: &mut Vec<String>) {
        let text = refrain_service::format_duration;
        for (key, is) in
            [("checkpoint-interval", self.checkpoint_interval), ("log-cut-interval", self.log_cut_interval)]
        {
            if is < MIN_INTERVAL {
                faults.push(format!("{key}: {} is below the least, {}", text(is), text(MIN_INTERVAL)));
            }
        }
        if self.election_timeout < MIN_ELECTION {
            let (is, least) = (text(self.election_timeout), text(MIN_ELECTION));
            faults.push(format!("election-timeout: {is} is below the least, {least}"));
        }
        if self.heartbeat_interval.is_zero()
            || self.heartbeat_interval * HEARTBEATS_PER_ELECTION > self.election_timeout
        {
            let (is, election) = (text(self.heartbeat_interval), text(self.election_timeout));
            faults.push(format!(
                "heartbeat-interval: {is} must be at most a third of election-timeout, which is {election}"
            ));
        }
        if self.peer_timeout < self.election_timeout {
            let (is, election) = (text(self.peer_timeout), text(self.election_timeout));
            faults.push(format!("peer-timeout: {is} must not be below election-timeout, which is {election}"));
        }
        if self.lease < self.election_timeout * 2 {
            let (is, election) = (text(self.lease), text(self.election_timeout));
            faults.push(format!("lease: {is} must be at least twice election-timeout, which is {election}"));
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn bytes(key: &str, text: Option<String>, default: u64, faults: &mut Vec<String>) -> u64 {
    let Some(text) = text else { return default };
    text.parse::<ByteSize>().map_or_else(
        |error| {
            faults.push(format!("{key}: {text:?}: {error}"));
            default
        },
        ByteSize::get,
    )
}

fn duration(key: &str, text: Option<String>, default: Duration, faults: &mut Vec<String>) -> Duration {
    let Some(text) = text else { return default };
    refrain_service::parse_duration(&text).unwrap_or_else(|error| {
        faults.push(format!("{key}: {text:?}: {error}"));
        default
    })
}

#[cfg(test)]
mod tests;
