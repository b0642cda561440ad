//! Turns into a history's file until it comes to what the log says, and why it does not.

use std::io;

use refrain_sequencer::shard::{Recorded, RecordedTurn};
use refrain_wire::Position;

use super::file::HistoryFile;

/// Why a history is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The shard's state is of an earlier version, which knew no histories.
    #[error("what it comes to is not known")]
    Unknown,
    /// The disk.
    #[error("its file cannot be written")]
    Disk(#[from] io::Error),
    /// The turns could not be had.
    #[error("its turns cannot be had: {0}")]
    Turns(String),
    /// Whoever was asked has no more turns yet; those that came are kept.
    #[error("nobody has its turns after position {last} yet: {found} of {wanted} bytes are here")]
    Short {
        /// The last turn that is here.
        last: Position,
        /// What there is.
        found: u64,
        /// What there should be.
        wanted: u64,
    },
    /// The turns are others than the log says.
    #[error("its turns up to position {position} come to {found} bytes, or others, and the log says {wanted}")]
    Others {
        /// Up to where.
        position: Position,
        /// What there is.
        found: u64,
        /// What there should be.
        wanted: u64,
    },
}

/// Appends turns to a file until it comes to what the log says at a position.
pub(super) fn fill(
    file: &HistoryFile,
    position: Position,
    wanted: &Recorded,
    mut next: impl FnMut(Position) -> Result<Vec<RecordedTurn>, String>,
) -> Result<(), HistoryError> {
    while file.recorded().bytes < wanted.bytes {
        let mut turns = next(file.last()).map_err(HistoryError::Turns)?;
        if turns.is_empty() {
            return Err(HistoryError::Short { last: file.last(), found: file.recorded().bytes, wanted: wanted.bytes });
        }
        turns.truncate(turns.partition_point(|turn| turn.position <= position));
        if turns.is_empty() {
            // Whoever gave them has all up to there.
            break;
        }
        file.append(&turns)?;
    }
    let found = file.recorded();
    if found == *wanted {
        return Ok(());
    }
    Err(HistoryError::Others { position, found: found.bytes, wanted: wanted.bytes })
}

/// Whether a file is, or can be continued to, what the log says.
pub(super) fn could_become(file: &HistoryFile, wanted: &Recorded) -> bool {
    let found = file.recorded();
    found.after == wanted.after && (found.bytes < wanted.bytes || found == *wanted)
}
