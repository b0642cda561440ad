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
use refrain_sequencer::log::OrderedLog;
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
    /// Where each group begins.
    created: BTreeMap<GroupId, Position>,
    last_turn: BTreeMap<GroupId, Position>,
    epochs: Arc<[Epoch]>,
    committed: Position,
}

/// The committed log and what its positions mean.
pub(crate) struct History<L> {
    log: RwLock<Option<Arc<L>>>,
    marks: RwLock<Marks>,
}

impl<L> Default for History<L> {
    fn default() -> Self {
        Self { log: RwLock::new(None), marks: RwLock::default() }
    }
}

impl<L: OrderedLog> History<L> {
    /// The log, once it is open.
    pub(crate) fn attach(&self, log: Arc<L>) {
        *self.log.write() = Some(log);
    }

    /// The epochs that replicas vote to from now on.
    pub(crate) fn set_epochs(&self, epochs: &[Epoch]) {
        self.marks.write().epochs = Arc::from(epochs);
    }

    /// Notes that `group` begins at `position`.
    pub(crate) fn create(&self, group: GroupId, position: Position) {
        self.marks.write().created.insert(group, position);
    }

    /// The last position at which a group has a turn; 0 for a group that is not known.
    pub(crate) fn last_turn(&self, group: GroupId) -> Position {
        self.marks.read().last_turn.get(&group).copied().unwrap_or_default()
    }

    /// Notes a committed position: the groups that were given a batch, its events, and its batches where they are not
    /// the entry's own.
    pub(crate) fn commit(
        &self,
        position: Position,
        given: impl Iterator<Item = GroupId>,
        events: Vec<ShardEvent>,
        replaced: Option<BTreeMap<GroupId, Bytes>>,
    ) {
        let mut marks = self.marks.write();
        marks.committed = position;
        marks.last_turn.extend(given.map(|group| (group, position)));
        if !events.is_empty() {
            let everyone: Vec<GroupId> = marks.created.keys().copied().collect();
            marks.last_turn.extend(everyone.into_iter().map(|group| (group, position)));
        }
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
    fn turn(
        &self,
        group: GroupId,
        previous: Position,
        position: Position,
        time: Time,
        records: Option<Bytes>,
    ) -> Option<TurnBatch> {
        let created = *self.created.get(&group)?;
        if position < created {
            return None;
        }
        let shard = self.events(created, position);
        let records = match records {
            None if shard.is_empty() => return None,
            records => records.unwrap_or_default(),
        };
        let epochs = Arc::clone(&self.epochs);
        Some(TurnBatch { group, position, previous, time, shard, records, epochs })
    }

    /// The shard's events at a position. A group's first turn brings the entropy of every term before it as well.
    fn events(&self, created: Position, position: Position) -> Vec<ShardEvent> {
        let mut events = Vec::new();
        if position == created {
            let earlier = self.marks.range(..created).flat_map(|(_, mark)| &mark.events);
            events.extend(earlier.filter(|event| matches!(event, ShardEvent::Term(_))).cloned());
        }
        if let Some(mark) = self.marks.get(&position) {
            events.extend(mark.events.iter().cloned());
        }
        events
    }

    fn records(&self, group: GroupId, entry: &Entry) -> Option<Bytes> {
        match self.marks.get(&entry.position).and_then(|mark| mark.replaced.as_ref()) {
            Some(replaced) => replaced.get(&group).cloned(),
            None => entry.batches.iter().find(|batch| batch.group == group).map(|batch| batch.records.clone()),
        }
    }
}

impl<L: OrderedLog> BatchSource for History<L> {
    fn read(&self, group: GroupId, after: Position, max_bytes: usize) -> Result<Vec<Arc<TurnBatch>>, String> {
        let log = self.log.read().clone().ok_or("the log is not open yet")?;
        let (created, committed) = {
            let marks = self.marks.read();
            (marks.created.get(&group).copied(), marks.committed)
        };
        let created = created.ok_or_else(|| format!("group {group} is not in the log"))?;
        let (mut from, mut previous) = (after.next().max(created), after);
        let mut turns = Vec::new();
        while turns.is_empty() && from <= committed {
            let entries = log.read(from, max_bytes).map_err(|error| format!("reading the log from {from}: {error}"))?;
            let Some((last, _)) = entries.last() else { break };
            from = last.next();
            for (position, bytes) in entries.iter().filter(|(position, _)| *position <= committed) {
                let entry = Entry::decode(*position, bytes).map_err(|error| format!("entry {position}: {error}"))?;
                let marks = self.marks.read();
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
