//! The committed log as this node sees it: its own member's, or what other members send.

use std::cell::RefCell;
use std::sync::Arc;

use refrain_sequencer::raft::RaftLog;
use refrain_sequencer::sequencer::Sequencer;
use refrain_sequencer::shard::{Applied, ShardState};
use refrain_wire::{DecodeError, Entry, Generation, Position};

use crate::feed::Recent;
use crate::history::EntrySource;

/// What a node without a member knows of the log.
pub(super) struct Feed {
    pub(super) state: RefCell<ShardState>,
    pub(super) recent: Arc<Recent>,
    /// The log's identity, once a member told it.
    pub(super) generation: RefCell<Option<Generation>>,
}

impl Feed {
    /// Applies the next committed entry.
    pub(super) fn apply(&self, entry: &Entry) -> Result<Applied, DecodeError> {
        self.state.borrow_mut().apply(entry)
    }
}

/// The driver of this node's member.
pub(super) type Member = Sequencer<Arc<RaftLog>>;

/// Where committed entries come from.
pub(super) enum View {
    /// This node is a member.
    Member(Member),
    /// Other nodes are.
    Feed(Box<Feed>),
}

impl View {
    /// Looks at the shard's state. `look` must not call the view.
    pub(super) fn with_shard<T>(&self, look: impl FnOnce(&ShardState) -> T) -> T {
        match self {
            Self::Member(member) => member.with_shard(look),
            Self::Feed(feed) => look(&feed.state.borrow()),
        }
    }

    /// The last entry that was applied here.
    pub(super) fn position(&self) -> Position {
        self.with_shard(ShardState::position)
    }

    /// This node's member, if it has one.
    pub(super) fn member(&self) -> Option<&Member> {
        match self {
            Self::Member(member) => Some(member),
            Self::Feed(_) => None,
        }
    }

    /// Where replicas read entries.
    pub(super) fn source(&self) -> Arc<dyn EntrySource> {
        match self {
            Self::Member(member) => Arc::clone(member.log()) as Arc<dyn EntrySource>,
            Self::Feed(feed) => Arc::clone(&feed.recent) as Arc<dyn EntrySource>,
        }
    }

    /// The identity of the log's history; none before it is known.
    pub(super) fn generation(&self) -> Option<Generation> {
        match self {
            Self::Member(member) => member.log().known_generation(),
            Self::Feed(feed) => *feed.generation.borrow(),
        }
    }
}
