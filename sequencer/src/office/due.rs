//! What an office asks for, and what it is told at its beginning.

use std::collections::BTreeSet;
use std::time::Duration;

use refrain_wire::{Control, GroupId, NodeId, Position, Seat, Time};

use super::seats::Loads;
use crate::shard::ShardState;

/// How a leader conducts its office.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long the epoch of a proxy lives without a submission or renewal. 5 s.
    pub lease: Duration,
    /// How long an engine may be gone before its seats are given to others. 2 s.
    pub grace: Duration,
    /// How long after taking office an engine that holds seats may take to say that it is there, and how long a seat
    /// waits for an engine that is configured and not there rather than go to one that holds another seat of its group,
    /// where there are more seats than engines. 5 s.
    pub settle: Duration,
    /// The same where every seat of the group can have an engine of its own: an engine that restarts or is mended finds
    /// its seat, and until then the loss of another one is not the loss of two seats. None: no longer than `settle`.
    pub apart: Option<Duration>,
    /// How long an engine must have been there before a seat moves to it from one that has two of a group. 5 s. None:
    /// seats whose replicas are well never move.
    pub rebalance: Option<Duration>,
    /// Whether a seat that diverged is taken anew by itself; else an operator decides. True.
    pub rebuild: bool,
    /// The nodes that are to run replicas; empty when that is not known.
    pub engines: BTreeSet<NodeId>,
    /// How long until something that was asked for and not seen in the log is asked for again; later ones take up to
    /// sixteen times as long. 1 s.
    pub ask_again: Duration,
    /// Batches of a group between two audits. 10,000.
    pub audit_batches: u64,
    /// Batches of a group after which a checkpoint is asked for. 500: raising it makes joins replay more.
    pub checkpoint_batches: u64,
    /// Bytes of a group's batches after which a checkpoint is asked for. 8 MiB.
    pub checkpoint_bytes: u64,
    /// Bytes of a guest's memory that changed, after which a checkpoint is asked for. 64 MiB: raising it makes captures
    /// fewer and longer.
    pub checkpoint_dirty_bytes: u64,
    /// Positions after which a checkpoint of a group is asked for that had any turn since the last one: what the log
    /// keeps for groups in which little happens. 100,000.
    pub checkpoint_distance: u64,
    /// The least time between two checkpoints of a group. 1 s.
    pub checkpoint_pause: Duration,
    /// How long engines that are slow to prepare an upgrade are waited for when a majority of seats is ready. 10 s.
    pub upgrade_patience: Duration,
    /// How long a majority of seats may take to prepare an upgrade before it is given up. 10 min.
    pub upgrade_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(5),
            grace: Duration::from_secs(2),
            settle: Duration::from_secs(5),
            apart: None,
            rebalance: Some(Duration::from_secs(5)),
            rebuild: true,
            engines: BTreeSet::new(),
            ask_again: Duration::from_secs(1),
            audit_batches: 10_000,
            checkpoint_batches: 500,
            checkpoint_bytes: 8 * 1024 * 1024,
            checkpoint_dirty_bytes: 64 * 1024 * 1024,
            checkpoint_distance: 100_000,
            checkpoint_pause: Duration::from_secs(1),
            upgrade_patience: Duration::from_secs(10),
            upgrade_limit: Duration::from_secs(600),
        }
    }
}

/// Something that an operator should know. Told once each time that it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alert {
    /// The seat diverged twice within an hour and is kept out.
    KeptOut(Seat),
    /// No engine that is there can replay the group: its compatibility key is another.
    NoEngine,
    /// The checkpoint asked for at this position was not agreed on for so long that it was given up.
    GivenUp(Position),
    /// All replicas captured, and no state has a majority: an audit is asked for.
    RootsDiffer(Position),
}

/// What is due.
#[derive(Debug, Default)]
pub struct Due {
    /// Controls to be ordered.
    pub controls: Vec<(GroupId, Control)>,
    /// Turns to be ordered, and the time for which they were wanted.
    pub ticks: Vec<(GroupId, Time)>,
    /// What has gone wrong.
    pub alerts: Vec<(GroupId, Alert)>,
    /// Engines that are to prepare a bundle for a group.
    pub prepare: Vec<(NodeId, GroupId, [u8; 32])>,
    /// Upgrades that nobody prepares any more, and why, in words.
    pub given_up: Vec<(GroupId, String)>,
}

/// One look at all groups that something happened to.
pub(super) struct Look<'a> {
    pub(super) now: Duration,
    pub(super) log_time: Time,
    pub(super) shard: &'a ShardState,
    /// How many seats engines have, once somebody wants to know.
    pub(super) loads: Option<Loads>,
}

/// What one group wants.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) controls: Vec<Control>,
    pub(super) alerts: BTreeSet<Alert>,
    /// When to look at the group again.
    pub(super) look_again: Option<Duration>,
}

impl Wanted {
    /// Looks at the group again at `at`, or before.
    pub(super) fn by(&mut self, at: Duration) {
        self.look_again = Some(self.look_again.map_or(at, |before| before.min(at)));
    }
}
