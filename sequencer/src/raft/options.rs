//! How a Raft log is kept, and why it cannot be.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use refrain_wire::{ClusterId, NodeId, Position};

use super::begin::Bootstrap;
use super::members::MAX_MEMBERS;
use super::membership::MAX_ADDRESS_BYTES;
use crate::net::{Net, Tcp};
use crate::recovery::OpenError;
use crate::segment_log::{ReadError, SegmentOptions};

/// When members give a leader up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionTimes {
    /// How long a member hears nothing before it wants an election: at random this or up to twice as much, after it
    /// has given the leader twice as much. Larger rides out pauses, smaller replaces a dead leader sooner. 500 ms.
    pub timeout: Duration,
    /// How often a leader says that it lives. At most a third of the timeout. 100 ms.
    pub heartbeat: Duration,
}

impl Default for ElectionTimes {
    fn default() -> Self {
        Self { timeout: Duration::from_millis(500), heartbeat: Duration::from_millis(100) }
    }
}

impl ElectionTimes {
    /// The longest time without a word after which a leader is given up; how long a leader leads on its own word.
    pub(crate) fn lease(&self) -> Duration {
        self.timeout * 2
    }

    pub(crate) fn config(&self) -> Result<Config, OpenRaftError> {
        let millis = |time: Duration| time.as_millis() as u64;
        let heartbeat = millis(self.heartbeat);
        if heartbeat == 0 || self.timeout < self.heartbeat * 3 {
            let reason = format!(
                "a heartbeat of {:?} needs an election timeout of three times that, not {:?}",
                self.heartbeat, self.timeout
            );
            return Err(OpenRaftError::Options { reason });
        }
        let config = Config {
            cluster_name: "refrain".to_owned(),
            heartbeat_interval: heartbeat,
            heartbeat_min_interval: Some(0),
            election_timeout_min: millis(self.timeout),
            election_timeout_max: millis(self.lease()),
            snapshot_policy: SnapshotPolicy::Never,
            // Only `cut` makes snapshots, and says by that what may go.
            max_in_snapshot_log_to_keep: 0,
            purge_batch_size: 1,
            install_snapshot_timeout: 60_000,
            max_payload_entries: 1024,
            // A member that led must be elected again, so that every start has a term of its own.
            enable_leader_restore: Some(false),
            enable_pre_vote: Some(true),
            // Entries go to the others while they go to this disk.
            broadcast_submitted_on_append: Some(true),
            // A member without its log is refused at its stream; one that lost a part gets it again.
            allow_log_reversion: Some(true),
            backoff: format!("{}ms {heartbeat}ms ...{}ms", (heartbeat / 2).max(1), 4 * heartbeat),
            ..Config::default()
        };
        config.validate().map_err(|error| OpenRaftError::Options { reason: error.to_string() })
    }
}

/// How a Raft log is kept.
#[derive(Clone)]
pub struct RaftOptions {
    /// This member's number; never used again for another one, nor for this one without its disk.
    pub node: NodeId,
    /// The cluster; streams of another one are refused.
    pub cluster: ClusterId,
    /// Where the other members reach this one; may be empty for one that stays alone.
    pub address: String,
    /// The members, for a member that knows no log yet.
    pub members: Bootstrap,
    /// When leaders are given up.
    pub election: ElectionTimes,
    /// The way to other members.
    pub net: Arc<dyn Net>,
    /// The files.
    pub segments: SegmentOptions,
    /// The most bytes of entries on disk: a warning at 80 %, refusal at 100 %. `None` for no limit.
    pub max_log_bytes: Option<u64>,
    /// The sink gets no entries before this position.
    pub deliver_from: Position,
}

impl Default for RaftOptions {
    fn default() -> Self {
        Self {
            node: NodeId(1),
            cluster: ClusterId([0; 16]),
            address: String::new(),
            members: Bootstrap::Alone,
            election: ElectionTimes::default(),
            net: Arc::new(Tcp),
            segments: SegmentOptions::default(),
            max_log_bytes: None,
            deliver_from: Position(1),
        }
    }
}

impl RaftOptions {
    pub(crate) fn check(&self) -> Result<(), OpenRaftError> {
        let initial: Vec<&String> = match &self.members {
            Bootstrap::Initial(members) => members.values().collect(),
            Bootstrap::Alone | Bootstrap::Join => Vec::new(),
        };
        let count = initial.len();
        match initial.into_iter().chain([&self.address]).find(|address| address.len() > MAX_ADDRESS_BYTES) {
            Some(address) => Err(OpenRaftError::Options {
                reason: format!("an address has {} bytes, the limit is {MAX_ADDRESS_BYTES}", address.len()),
            }),
            None if count > MAX_MEMBERS => {
                let reason = format!("there are {count} initial members, the limit is {MAX_MEMBERS}");
                Err(OpenRaftError::Options { reason })
            }
            None => Ok(()),
        }
    }
}

/// Why a Raft log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenRaftError {
    /// The options make no sense.
    #[error("the options of the log are wrong: {reason}")]
    Options {
        /// What is wrong.
        reason: String,
    },
    /// The files cannot be opened.
    #[error(transparent)]
    Files(#[from] OpenError),
    /// Entries cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry's members cannot be decoded.
    #[error("the members in entry {index} cannot be decoded")]
    Members {
        /// The entry.
        index: u64,
    },
    /// Entries were given up, but what stands for them is gone.
    #[error("the log begins at entry {first}, and there is no snapshot of what lies before")]
    MissingSnapshot {
        /// The first entry that is there.
        first: u64,
    },
    /// There is no randomness.
    #[error("cannot get randomness")]
    Entropy(#[source] std::io::Error),
    /// The member could not take office.
    #[error("member {node} could not take office: {reason}")]
    Office {
        /// The member.
        node: NodeId,
        /// What Raft says.
        reason: String,
    },
}
