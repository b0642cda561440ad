//! The committed log as replicas read it: the batch source of engines that catch up, and the maker of live turns.
//!
//! The log's entries are raw; what they mean for a group (which submissions count, which epochs ended where) the
//! shard's state decided when they were committed, and these few marks are kept here, in memory, rebuilt at start.
//!
//! Of a group whose guests cannot be saved, what was cut from the log is in a file: `folder` keeps those of this node,
//! `file` is one of them, and `filling` brings turns into it. Where there is none, as on a node that is no member, other
//! nodes are asked.

mod file;
mod filling;
mod folder;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use refrain_engine::{BatchSource, TurnBatch};
use refrain_kernel::ShardEvent;
use refrain_sequencer::log::{OrderedLog, ReadError};
use refrain_sequencer::raft::RaftLog;
use refrain_sequencer::shard::{Applied, Group as LogGroup, RecordedTurn, ShardState};
use refrain_wire::outward::Owner;
use refrain_wire::{Entry, Epoch, GroupId, Position, Time};

use crate::feed::{Questions, Wanted};
pub(crate) use filling::HistoryError;
pub(crate) use folder::Histories;

/// Bytes of turns that are moved into a history at a time.
const MOVED_BYTES: usize = 4 * 1024 * 1024;

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
    created: BTreeMap<GroupId, Created>,
    epochs: Arc<[Epoch]>,
    committed: Position,
    /// What positions up to here mean is not known any more.
    forgotten: Position,
}

/// Where a group begins, and what its first turn brings of what was before.
#[derive(Debug, Clone, Default)]
struct Created {
    position: Position,
    /// The randomness of all terms.
    fold: [u8; 32],
    /// The epochs that may be given outward calls.
    owners: Vec<Owner>,
}

impl Created {
    fn events(&self) -> impl Iterator<Item = ShardEvent> {
        let owners = self.owners.iter().copied().map(ShardEvent::EpochOpened);
        [ShardEvent::Term(self.fold)].into_iter().chain(owners)
    }
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
    /// What this node keeps of entries that are gone; none when it is no member.
    kept: RwLock<Option<Arc<Histories>>>,
    /// Where turns are asked for that are not here.
    elsewhere: RwLock<Option<Questions>>,
}

impl History {
    /// Where entries are read from, once it is known.
    pub(crate) fn attach(&self, source: Arc<dyn EntrySource>) {
        *self.source.write() = Some(source);
    }

    /// Where histories are kept, if they are.
    pub(crate) fn attach_kept(&self, kept: Arc<Histories>) {
        *self.kept.write() = Some(kept);
    }

    /// Where turns are asked for that are not here.
    pub(crate) fn attach_elsewhere(&self, questions: Questions) {
        *self.elsewhere.write() = Some(questions);
    }

    /// The histories that this node keeps; none when it is no member.
    pub(crate) fn kept(&self) -> Option<Arc<Histories>> {
        self.kept.read().clone()
    }

    /// The epochs that replicas vote to from now on.
    pub(crate) fn set_epochs(&self, epochs: &[Epoch]) {
        self.marks.write().epochs = Arc::from(epochs);
    }

    /// Notes that `group` begins where an entry was applied.
    pub(crate) fn create(&self, group: GroupId, applied: &Applied) {
        let created = Created { position: applied.position, fold: applied.fold, owners: applied.owners.clone() };
        self.marks.write().created.insert(group, created);
    }

    /// The log begins with a state at a position: takes in its groups, whose records are not told.
    pub(crate) fn restore(&self, position: Position, groups: &BTreeMap<GroupId, LogGroup>) {
        let mut marks = self.marks.write();
        for (id, group) in groups.iter().filter(|(_, group)| group.created <= position) {
            marks.created.entry(*id).or_insert(Created { position: group.created, ..Created::default() });
        }
        marks.committed = marks.committed.max(position);
        marks.forget(position);
    }

    /// Whether a group can be replayed from its first turn on.
    pub(crate) fn has_beginning_of(&self, group: GroupId) -> bool {
        let marks = self.marks.read();
        let Some(created) = marks.created.get(&group).map(|created| created.position) else { return false };
        let kept = || self.kept().is_some_and(|kept| kept.begins_before(group, created));
        created > marks.forgotten || kept()
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
        let created = self.created.get(&group)?;
        if position < created.position {
            return None;
        }
        let shard = self.events(position, Some(created).filter(|created| created.position == position));
        let records = match records {
            None if shard.is_empty() => return None,
            records => records.unwrap_or_default(),
        };
        let epochs = Arc::clone(&self.epochs);
        Some(TurnBatch { group, position, previous, time, shard, records, epochs })
    }

    /// The shard's events at a position. A group's first turn brings what was before it as well.
    fn events(&self, position: Position, created: Option<&Created>) -> Vec<ShardEvent> {
        let own = self.marks.get(&position).into_iter().flat_map(|mark| mark.events.iter().cloned());
        created.into_iter().flat_map(Created::events).chain(own).collect()
    }

    fn records(&self, group: GroupId, entry: &Entry) -> Option<Bytes> {
        match self.marks.get(&entry.position).and_then(|mark| mark.replaced.as_ref()) {
            Some(replaced) => replaced.get(&group).cloned(),
            None => entry.batches.iter().find(|batch| batch.group == group).map(|batch| batch.records.clone()),
        }
    }
}

/// Why turns were not read.
#[derive(Debug, thiserror::Error)]
enum ReadTurns {
    /// They are not in the log any more, or never were on this node.
    #[error("the log was cut behind position {behind}, and this begins at {from}")]
    Cut {
        /// The last position that is gone.
        behind: Position,
        /// The first that is wanted.
        from: Position,
    },
    #[error("{0}")]
    Failed(String),
}

impl History {
    /// Turns of a group after a position: from its history, or from the log behind it. Empty at the end.
    ///
    /// # Errors
    /// When they are not on this node.
    pub(crate) fn turns(&self, group: GroupId, after: Position, max_bytes: usize) -> Result<Vec<TurnBatch>, String> {
        self.turns_here(group, after, max_bytes).map_err(|error| error.to_string())
    }

    fn turns_here(&self, group: GroupId, after: Position, max_bytes: usize) -> Result<Vec<TurnBatch>, ReadTurns> {
        let mut gone = None;
        loop {
            let (created, forgotten) = {
                let marks = self.marks.read();
                (marks.created.get(&group).map(|created| created.position), marks.forgotten)
            };
            let created = created.ok_or_else(|| ReadTurns::Failed(format!("group {group} is not in the log")))?;
            // Whoever asks may be another node, with any number.
            let Some(next) = after.0.checked_add(1).map(Position) else { return Ok(Vec::new()) };
            let behind = forgotten.max(gone.unwrap_or_default());
            let mut from = next.max(created);
            if from <= behind {
                let before = Position(from.0.saturating_sub(1));
                let kept = self.kept().and_then(|kept| kept.read(group, before, behind, max_bytes));
                let kept = kept.ok_or(ReadTurns::Cut { behind, from })?;
                if !kept.is_empty() {
                    return Ok(self.batches(group, after, kept));
                }
                from = behind.next();
            }
            match self.turns_of_log(group, from, after, max_bytes) {
                // It was cut meanwhile: what is gone is in the history now, where there is one.
                Err(ReadTurns::Cut { behind: now, .. }) if gone < Some(now) => gone = Some(now),
                other => return other,
            }
        }
    }

    fn turns_of_log(
        &self,
        group: GroupId,
        mut from: Position,
        mut previous: Position,
        max_bytes: usize,
    ) -> Result<Vec<TurnBatch>, ReadTurns> {
        let source = self.source.read().clone();
        let source = source.ok_or_else(|| ReadTurns::Failed("the log is not open yet".to_owned()))?;
        let committed = self.marks.read().committed;
        let mut turns = Vec::new();
        while turns.is_empty() && from <= committed {
            let entries = source.read(from, max_bytes).map_err(|error| match error {
                SourceError::Purged { first } => ReadTurns::Cut { behind: Position(first.0.saturating_sub(1)), from },
                error => ReadTurns::Failed(format!("reading the log from {from}: {error}")),
            })?;
            let Some((last, _)) = entries.last() else { break };
            // Positions of another node may be any.
            let Some(next) = last.0.checked_add(1).map(Position) else { break };
            for (position, bytes) in entries.iter().filter(|(position, _)| *position <= committed) {
                let entry = Entry::decode(*position, bytes);
                let entry = entry.map_err(|error| ReadTurns::Failed(format!("entry {position}: {error}")))?;
                let marks = self.marks.read();
                if *position <= marks.forgotten {
                    return Err(ReadTurns::Cut { behind: marks.forgotten, from });
                }
                let records = marks.records(group, &entry);
                if let Some(turn) = marks.turn(group, previous, *position, entry.time, records) {
                    previous = turn.position;
                    turns.push(turn);
                }
            }
            from = next;
        }
        Ok(turns)
    }

    /// Turns as replicas take them, the first after a position.
    fn batches(&self, group: GroupId, after: Position, turns: Vec<RecordedTurn>) -> Vec<TurnBatch> {
        let epochs = Arc::clone(&self.marks.read().epochs);
        let mut previous = after;
        let batch = |turn: RecordedTurn| {
            let terms = turn.terms.into_iter().map(ShardEvent::Term);
            let opened = turn.opened.into_iter().map(ShardEvent::EpochOpened);
            let shard = terms.chain(opened).chain(turn.ended.into_iter().map(ShardEvent::EpochEnded)).collect();
            let (position, time, records) = (turn.position, turn.time, turn.records);
            let epochs = Arc::clone(&epochs);
            TurnBatch {
                group,
                position,
                previous: std::mem::replace(&mut previous, position),
                time,
                shard,
                records,
                epochs,
            }
        };
        turns.into_iter().map(batch).collect()
    }

    /// Turns that other nodes have, up to what is committed here.
    fn turns_elsewhere(&self, group: GroupId, after: Position, max_bytes: usize) -> Result<Vec<TurnBatch>, String> {
        let questions = self.elsewhere.read().clone().ok_or("no other node can be asked")?;
        let turns = questions.ask(Wanted::Turns(group, after), max_bytes).map_err(|error| error.to_string())?;
        let committed = self.marks.read().committed;
        let mut decoded: Vec<RecordedTurn> = Vec::with_capacity(turns.len());
        for (position, bytes) in turns.into_iter().take_while(|(position, _)| *position <= committed) {
            decoded.push(decode_turn(position, &bytes)?);
        }
        Ok(self.batches(group, after, decoded))
    }

    /// Completes the history of a group that this node should keep, with turns of other nodes.
    ///
    /// # Errors
    /// When they cannot be had or kept, or are not what the log says.
    pub(crate) fn complete(&self, group: GroupId) -> Result<(), HistoryError> {
        let (Some(kept), Some(questions)) = (self.kept(), self.elsewhere.read().clone()) else { return Ok(()) };
        kept.complete(group, |after| {
            let turns = questions.ask(Wanted::Turns(group, after), MOVED_BYTES).map_err(|error| error.to_string())?;
            turns.into_iter().map(|(position, bytes)| decode_turn(position, &bytes)).collect()
        })
    }

    /// Sees to it that the histories of groups are kept up to the position of a state, at which the log is to be cut.
    ///
    /// # Errors
    /// The first group whose history is not, and why.
    pub(crate) fn keep(&self, shard: &ShardState, groups: &[GroupId]) -> Result<(), (GroupId, HistoryError)> {
        let Some(kept) = self.kept().filter(|_| !groups.is_empty()) else { return Ok(()) };
        kept.extend(shard, groups, |group, after| {
            Ok(self.turns(group, after, MOVED_BYTES)?.iter().map(recorded).collect())
        })
    }
}

/// A turn as histories have it.
pub(crate) fn recorded(turn: &TurnBatch) -> RecordedTurn {
    let (mut terms, mut opened, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for event in &turn.shard {
        match event {
            ShardEvent::Term(entropy) => terms.push(*entropy),
            ShardEvent::EpochOpened(owner) => opened.push(*owner),
            ShardEvent::EpochEnded(epoch) => ended.push(*epoch),
        }
    }
    let (position, time, records) = (turn.position, turn.time, turn.records.clone());
    RecordedTurn { position, time, terms, ended, opened, records }
}

/// A turn that another node sent for a position.
pub(crate) fn decode_turn(position: Position, bytes: &Bytes) -> Result<RecordedTurn, String> {
    let turn = RecordedTurn::decode(bytes).map_err(|error| format!("turn {position} of another node: {error}"))?;
    if turn.position != position {
        return Err(format!("another node sent turn {} for turn {position}", turn.position));
    }
    Ok(turn)
}

impl BatchSource for History {
    fn read(&self, group: GroupId, after: Position, max_bytes: usize) -> Result<Vec<Arc<TurnBatch>>, String> {
        let turns = match self.turns_here(group, after, max_bytes) {
            Err(here @ ReadTurns::Cut { .. }) => {
                let elsewhere = self.turns_elsewhere(group, after, max_bytes);
                elsewhere.map_err(|there| format!("{here}; of other nodes: {there}"))
            }
            here => here.map_err(|error| error.to_string()),
        };
        Ok(turns?.into_iter().map(Arc::new).collect())
    }
}
