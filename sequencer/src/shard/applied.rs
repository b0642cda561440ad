//! What one entry means.

use refrain_wire::outward::Owner;
use refrain_wire::{Batch, Control, Epoch, GroupId, Position, ProxyId, ShardControl, SubmissionId, Time};

/// An epoch that an entry opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedEpoch {
    /// For which proxy.
    pub proxy: ProxyId,
    /// What it chose to know its record by.
    pub nonce: u64,
    /// The epoch it got.
    pub epoch: Epoch,
    /// Whether guests' outward calls may be given to it.
    pub outward: bool,
}

/// The randomness of a leader's term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermEntropy {
    /// The term.
    pub term: u64,
    /// What keys the generators of all groups from here on, with that of earlier terms.
    pub entropy: [u8; 32],
}

/// What one entry means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Where the entry stands.
    pub position: Position,
    /// Log time; never less than before.
    pub time: Time,
    /// What each group is given, in ascending order; never the shard's own group, never an empty batch.
    pub batches: Vec<Batch>,
    /// Submissions that count.
    pub accepted: Vec<SubmissionId>,
    /// Submissions that were dropped.
    pub dropped: Vec<SubmissionId>,
    /// Epochs that begin, in force from the next position.
    pub opened: Vec<OpenedEpoch>,
    /// Epochs that a record asked for which was sent twice: nothing changes, and its sender learns its epoch.
    pub reopened: Vec<OpenedEpoch>,
    /// Epochs that end, by a record of their own or because their proxy opened a new one. Their flows are reset
    /// after the records of this entry.
    pub ended: Vec<Epoch>,
    /// The randomness of a new term: what groups that exist take in.
    pub term: Option<TermEntropy>,
    /// The randomness of all terms before this entry, folded: what a group that this entry creates takes in first.
    pub fold: [u8; 32],
    /// Where this entry has a batch of a group that was not there: the epochs before it to which outward calls may be given.
    pub owners: Vec<Owner>,
    /// A service was placed on another shard.
    pub placed: bool,
    /// Changes of stateless services that were honoured.
    pub deployed: Vec<ShardControl>,
    /// Controls of groups that were honoured.
    pub controls: Vec<(GroupId, Control)>,
    /// Controls that made no sense and were dropped.
    pub ignored: Vec<(GroupId, Control)>,
    /// Groups are given less than the entry has for them: whoever reads the entry later needs `batches` as well.
    pub cut: bool,
}

impl Applied {
    /// The epochs that begin here and may be given outward calls, from the next position on.
    pub fn opened_owners(&self) -> impl Iterator<Item = Owner> {
        let outward = self.opened.iter().filter(|opened| opened.outward);
        outward.map(|opened| Owner { proxy: opened.proxy, epoch: opened.epoch })
    }

    /// Whether every group has a turn here: the shard itself has something for them.
    #[must_use]
    pub fn concerns_all(&self) -> bool {
        self.term.is_some() || !self.ended.is_empty() || self.opened_owners().next().is_some()
    }
}
