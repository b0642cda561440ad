//! The committed log as replicas read it: the batch source of engines that catch up, and the maker of live turns.
//!
//! The log's entries are raw; what they mean for a group (which submissions count, which epochs ended where) the
//! shard's state decided when they were committed, and these few marks are kept here, in memory, rebuilt at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use refrain_engine::{BatchSource, TurnBatch};
use refrain_kernel::ShardEvent;
use refrain_sequencer::log::{OrderedLog, ReadError};
use refrain_sequencer::raft::RaftLog;
use refrain_sequencer::shard::Group as LogGroup;
use refrain_wire::{Entry, Epoch, GroupId, Position, Time};

/// What a position means beyond its entry's bytes.
#[derive(Debug, Clone, Default)]
struct Mark {
    /// Events of the shard.
    events: Vec<ShardEvent>,
    /// Batches that count, where they are not the entry's own.
    replaced: Option<BTreeMap<GroupId, Bytes>>,
}

#[derive(Default)]
struct Marks {
    marks: BTreeMap<Position, Mark>,
    /// Where each group begins, and the randomness of all terms before.
    created: BTreeMap<GroupId, (Position, [u8; 32])>,
    epochs: Arc<[Epoch]>,
    committed: Position,
    /// What positions up to here mean is not known any more.
    forgotten: Position,
}

/// Where committed entries are read from: this node's own log, or what other nodes sent and send.
pub(crate) trait EntrySource: Send + Sync {
    /// Committed entries from `from` on, in order: at most `max_bytes`, but one when there is one. May block; called on
    /// threads of the engine.
    ///
    /// # Errors
    /// Whoever asked cannot go on.
    fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<(Position, Bytes)>, SourceError>;
}

/// Why entries cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SourceError {
    /// They were given up.
    #[error("entries before position {first} are given up")]
    Purged {
        /// The first that can be read.
        first: Position,
    },
    /// Something else, in words.
    #[error("{0}")]
    Failed(String),
}

impl EntrySource for RaftLog {
    fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<(Position, Bytes)>, SourceError> {
        OrderedLog::read(self, from, max_bytes).map_err(|error| match error {
            ReadError::Purged { first, .. } => SourceError::Purged { first: Position(first) },
            other => SourceError::Failed(other.to_string()),
        })
    }
}

/// The committed log and what its positions mean.
#[derive(Default)]
pub(crate) struct History {
    source: RwLock<Option<Arc<dyn EntrySource>>>,
    marks: RwLock<Marks>,
}

impl History {
    /// Where entries are read from, once it is known.
    pub(crate) fn attach(&self, source: Arc<dyn EntrySource>) {
        *self.source.write() = Some(source);
    }

    /// The epochs that replicas vote to from now on.
    pub(crate) fn set_epochs(&self, epochs: &[Epoch]) {
        self.marks.write().epochs = Arc::from(epochs);
    }

    /// Notes that `group` begins at `position`, with the randomness of all terms before, folded.
    pub(crate) fn create(&self, group: GroupId, position: Position, fold: [u8; 32]) {
        self.marks.write().created.insert(group, (position, fold));
    }

    /// The log begins with a state at a position: takes in its groups, whose records are not told.
    pub(crate) fn restore(&self, position: Position, groups: &BTreeMap<GroupId, LogGroup>) {
        let mut marks = self.marks.write();
        for (id, group) in groups.iter().filter(|(_, group)| group.created <= position) {
            marks.created.entry(*id).or_insert((group.created, [0; 32]));
        }
        marks.committed = marks.committed.max(position);
        marks.forget(position);
    }

    /// Whether a group can be replayed from its first turn on.
    pub(crate) fn has_beginning_of(&self, group: GroupId) -> bool {
        let marks = self.marks.read();
        marks.created.get(&group).is_some_and(|(created, _)| *created > marks.forgotten)
    }

    /// Nobody reads what was committed up to a position any more.
    pub(crate) fn forget(&self, position: Position) {
        self.marks.write().forget(position);
    }

    /// Notes a committed position: its events, and its batches where they are not the entry's own.
    pub(crate) fn commit(
        &self,
        position: Position,
        events: Vec<ShardEvent>,
        replaced: Option<BTreeMap<GroupId, Bytes>>,
    ) {
        let mut marks = self.marks.write();
        marks.committed = position;
        if !events.is_empty() || replaced.is_some() {
            marks.marks.insert(position, Mark { events, replaced });
        }
    }

    /// The turn of `group` at a position, if there is one: `records` are those that count.
    pub(crate) fn turn(
        &self,
        group: GroupId,
        previous: Position,
        position: Position,
        time: Time,
        records: Option<Bytes>,
    ) -> Option<Arc<TurnBatch>> {
        self.marks.read().turn(group, previous, position, time, records).map(Arc::new)
    }
}

impl Marks {
    fn forget(&mut self, position: Position) {
        self.forgotten = self.forgotten.max(position);
        self.marks = self.marks.split_off(&self.forgotten.next());
    }

    fn turn(
        &self,
        group: GroupId,
        previous: Position,
        position: Position,
        time: Time,
        records: Option<Bytes>,
    ) -> Option<TurnBatch> {
        let (created, fold) = *self.created.get(&group)?;
        if position < created {
            return None;
        }
        let shard = self.events(position, (position == created).then_some(fold));
        let records = match records {
            None if shard.is_empty() => return None,
            records => records.unwrap_or_default(),
        };
        let epochs = Arc::clone(&self.epochs);
        Some(TurnBatch { group, position, previous, time, shard, records, epochs })
    }

    /// The shard's events at a position. A group's first turn brings the randomness of all terms before it as well.
    fn events(&self, position: Position, earlier_terms: Option<[u8; 32]>) -> Vec<ShardEvent> {
        let own = self.marks.get(&position).into_iter().flat_map(|mark| mark.events.iter().cloned());
        earlier_terms.map(ShardEvent::Term).into_iter().chain(own).collect()
    }

    fn records(&self, group: GroupId, entry: &Entry) -> Option<Bytes> {
        match self.marks.get(&entry.position).and_then(|mark| mark.replaced.as_ref()) {
            Some(replaced) => replaced.get(&group).cloned(),
            None => entry.batches.iter().find(|batch| batch.group == group).map(|batch| batch.records.clone()),
        }
    }
}

impl BatchSource for History {
    fn read(&self, group: GroupId, after: Position, max_bytes: usize) -> Result<Vec<Arc<TurnBatch>>, String> {
        let source = self.source.read().clone().ok_or("the log is not open yet")?;
        let (created, committed, forgotten) = {
            let marks = self.marks.read();
            (marks.created.get(&group).map(|(position, _)| *position), marks.committed, marks.forgotten)
        };
        let created = created.ok_or_else(|| format!("group {group} is not in the log"))?;
        let (mut from, mut previous) = (after.next().max(created), after);
        if from <= forgotten {
            return Err(format!("the log was cut behind position {forgotten}, and this begins at {from}"));
        }
        let mut turns = Vec::new();
        while turns.is_empty() && from <= committed {
            let read = source.read(from, max_bytes);
            let entries = read.map_err(|error| format!("reading the log from {from}: {error}"))?;
            let Some((last, _)) = entries.last() else { break };
            from = last.next();
            for (position, bytes) in entries.iter().filter(|(position, _)| *position <= committed) {
                let entry = Entry::decode(*position, bytes).map_err(|error| format!("entry {position}: {error}"))?;
                let marks = self.marks.read();
                if *position <= marks.forgotten {
                    return Err(format!("the log was cut behind position {} meanwhile", marks.forgotten));
                }
                let records = marks.records(group, &entry);
                if let Some(turn) = marks.turn(group, previous, *position, entry.time, records) {
                    previous = turn.position;
                    turns.push(Arc::new(turn));
                }
            }
        }
        Ok(turns)
    }
}
