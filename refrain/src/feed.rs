//! Committed entries on a node that is no member of the log: the newest are kept as they come, older ones are asked
//! for when a replica that catches up wants them. So are, on every node, turns of histories that are not here.

use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use refrain_wire::{GroupId, Position};
use tokio::sync::mpsc;

use crate::history::{EntrySource, SourceError};

/// The most payload bytes of entries that are kept.
const KEPT_BYTES: usize = 64 * 1024 * 1024;
/// How long a replica waits for entries of another node; it is dropped then, and its seat taken anew.
const PATIENCE: Duration = Duration::from_secs(30);
/// Questions that may wait; each replica that catches up has one at most.
pub(crate) const MAX_QUESTIONS: usize = 256;

pub(crate) type Entries = Vec<(Position, Bytes)>;

/// What a replica asks other nodes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Entries from a position on.
    Entries(Position),
    /// Turns of a group after a position, as histories have them.
    Turns(GroupId, Position),
}

/// A question for older entries, or for turns.
pub(crate) struct Older {
    /// What is wanted.
    pub(crate) wanted: Wanted,
    /// How much; one at least.
    pub(crate) max_bytes: usize,
    /// Where the answer goes.
    pub(crate) reply: SyncSender<Result<Entries, SourceError>>,
}

#[derive(Default)]
struct Newest {
    /// Every entry after this position is here.
    after: Position,
    entries: VecDeque<(Position, Bytes)>,
    bytes: usize,
}

/// Where questions go; whoever asks waits for the answer, on a thread of its own.
#[derive(Debug, Clone)]
pub(crate) struct Questions(Option<mpsc::Sender<Older>>);

impl Questions {
    /// Questions to whoever reads the other end.
    pub(crate) fn new(to: mpsc::Sender<Older>) -> Self {
        Self(Some(to))
    }

    /// What is not kept here cannot be read: where turns run inline, whoever would answer waits for the question to
    /// return.
    pub(crate) fn of_nobody() -> Self {
        Self(None)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When nobody has it, or nobody answers.
    pub(crate) fn ask(&self, wanted: Wanted, max_bytes: usize) -> Result<Entries, SourceError> {
        let failed = |text: &str| SourceError::Failed(text.to_owned());
        let to = self.0.as_ref().ok_or_else(|| failed("it is not kept here"))?;
        let (reply, answer) = sync_channel(1);
        let asked = to.try_send(Older { wanted, max_bytes, reply });
        asked.map_err(|_| failed("too many replicas ask for old entries at once"))?;
        match answer.recv_timeout(PATIENCE) {
            Ok(entries) => entries,
            Err(RecvTimeoutError::Timeout) => {
                Err(failed(&format!("no node sent them within {} s", PATIENCE.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(failed("the node is ending")),
        }
    }
}

/// The entries that this node got.
pub(crate) struct Recent {
    newest: Mutex<Newest>,
    questions: Questions,
}

impl Recent {
    /// Nothing yet; `questions` goes to whoever can ask other nodes.
    pub(crate) fn new(questions: Questions) -> Self {
        Self { newest: Mutex::default(), questions }
    }

    /// Nothing before a position will come: older entries are asked for.
    pub(crate) fn begin_after(&self, position: Position) {
        self.newest.lock().after = position;
    }

    /// Takes in the next committed entry.
    pub(crate) fn push(&self, position: Position, entry: Bytes) {
        let mut newest = self.newest.lock();
        newest.bytes += entry.len();
        newest.entries.push_back((position, entry));
        while newest.bytes > KEPT_BYTES && newest.entries.len() > 1 {
            let (position, entry) = newest.entries.pop_front().expect("there is more than one");
            newest.bytes -= entry.len();
            newest.after = position;
        }
    }

    fn kept(&self, from: Position, max_bytes: usize) -> Option<Entries> {
        let newest = self.newest.lock();
        if from <= newest.after {
            return None;
        }
        let start = newest.entries.partition_point(|(position, _)| *position < from);
        let mut bytes = 0;
        let fitting = newest.entries.range(start..).enumerate().take_while(|(nth, (_, entry))| {
            bytes += entry.len();
            *nth == 0 || bytes <= max_bytes
        });
        Some(fitting.map(|(_, entry)| entry.clone()).collect())
    }
}

impl EntrySource for Recent {
    fn read(&self, from: Position, max_bytes: usize) -> Result<Entries, SourceError> {
        if let Some(entries) = self.kept(from, max_bytes) {
            return Ok(entries);
        }
        self.questions.ask(Wanted::Entries(from), max_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(entries: &Entries) -> Vec<u64> {
        entries.iter().map(|(position, _)| position.0).collect()
    }

    #[test]
    fn recent_entries_are_read_here_and_older_ones_are_asked_for() {
        let (questions, mut asked) = mpsc::channel(1);
        let recent = Recent::new(Questions::new(questions));
        let half = Bytes::from(vec![0; KEPT_BYTES / 2]);
        recent.push(Position(3), half.clone());
        recent.push(Position(7), half.clone());
        assert_eq!(positions(&recent.read(Position(1), usize::MAX).unwrap()), [3, 7]);
        assert_eq!(positions(&recent.read(Position(1), 1).unwrap()), [3], "one when there is one");
        recent.push(Position(8), half);
        assert_eq!(positions(&recent.read(Position(4), usize::MAX).unwrap()), [7, 8]);
        let answering = std::thread::spawn(move || {
            let older = asked.blocking_recv().unwrap();
            assert_eq!(older.wanted, Wanted::Entries(Position(3)));
            older.reply.send(Ok(vec![(Position(3), Bytes::new())])).unwrap();
        });
        assert_eq!(positions(&recent.read(Position(3), 1).unwrap()), [3]);
        answering.join().unwrap();
        assert!(recent.read(Position(3), 1).unwrap_err().to_string().contains("too many"));
    }
}
