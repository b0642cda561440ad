//! The log of a member that does not run, read and left as it is: for replays and forensics.
//!
//! Guarantees: what is read is what the member had on its disk, checked as at a start; nothing is written. Which of it
//! was committed the files know only in part: a member that votes alone has committed all that it holds, another one
//! notes from time to time how far it knows. Entries beyond that may have been replaced by others since.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use refrain_wire::{Generation, Position};

use super::{membership, read_snapshot};
use crate::disk::{Disk, ReadOnlyDisk};
use crate::frame::{EntryKind, LogEntry};
use crate::index::{Found, Index};
use crate::meta::{META_FILE, Meta, MetaFile};
use crate::recovery::{OpenError, recover};
use crate::segment_log::{ReadError, read_run};

/// Why a folder cannot be read as a log.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A member runs on it.
    #[error("a running node writes the log in {path}: stop it, or copy the folder")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no log in {path}")]
    NoLog {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be opened.
    #[error("cannot open the log in {path}")]
    Open {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Files are damaged.
    #[error(transparent)]
    Damaged(#[from] OpenError),
    /// An entry cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The files of a member.
pub struct Archive {
    disk: ReadOnlyDisk,
    meta: Meta,
    index: Index,
    snapshot: Option<(Position, Bytes)>,
    certain: Position,
}

impl Archive {
    /// Opens the log in a folder, and keeps members from running on it as long as it is open.
    ///
    /// # Errors
    /// When a member runs on it, when there is no log, or when it is damaged.
    pub fn open(folder: &Path) -> Result<Self, ArchiveError> {
        let path = folder.to_owned();
        let disk = ReadOnlyDisk::open(folder).map_err(|source| match source.kind() {
            ErrorKind::WouldBlock => ArchiveError::InUse { path: path.clone() },
            ErrorKind::NotFound => ArchiveError::NoLog { path: path.clone() },
            _ => ArchiveError::Open { path: path.clone(), source },
        })?;
        let Some((_, meta)) = MetaFile::open(&disk)? else { return Err(ArchiveError::NoLog { path }) };
        let first = meta.purged.map_or(0, |id| id.index + 1);
        let durable = meta.committed.map_or(0, |id| id.index + 1);
        let recovered = recover(&disk, first, durable)?;
        let snapshot = read_snapshot(&disk)?.map(|kept| (kept.position(), kept.state));
        if first > snapshot.as_ref().map_or(0, |(position, _)| position.0 + 1) {
            let what = "purged log, whose snapshot is missing: its meta file";
            return Err(OpenError::DamagedFile { path: disk.path(META_FILE), what }.into());
        }
        let index = Index::new(recovered.segments, first, recovered.next, recovered.last.or(meta.purged), 0);
        let mut archive = Self { disk, meta, index, snapshot, certain: Position(0) };
        archive.certain = archive.known_committed()?;
        Ok(archive)
    }

    /// The identity of the log's history.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.meta.generation
    }

    /// The state that stands for everything up to its position, where the log was cut.
    #[must_use]
    pub fn snapshot(&self) -> Option<(Position, &Bytes)> {
        self.snapshot.as_ref().map(|(position, state)| (*position, state))
    }

    /// The first entry that can be read.
    #[must_use]
    pub fn first(&self) -> Position {
        Position(self.index.first.max(1))
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> Position {
        Position(self.index.next().saturating_sub(1))
    }

    /// The last entry that is known to be committed.
    #[must_use]
    pub fn certain(&self) -> Position {
        self.certain
    }

    /// Entries with batches from `from` on, in order: at most `max_bytes`, but one when there is one.
    ///
    /// # Errors
    /// When entries were given up, or cannot be read back as they were written.
    pub fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<(Position, Bytes)>, ReadError> {
        let mut at = from.0.max(1);
        while at < self.index.next() {
            let run = self.run(at, max_bytes)?;
            at += run.len().max(1) as u64;
            let batches = run.into_iter().filter(|entry| entry.kind == EntryKind::Batches);
            let batches: Vec<_> = batches.map(|entry| (Position(entry.id.index), entry.payload)).collect();
            if !batches.is_empty() {
                return Ok(batches);
            }
        }
        Ok(Vec::new())
    }

    fn run(&self, from: u64, max_bytes: usize) -> Result<Vec<LogEntry>, ReadError> {
        if from < self.index.first {
            return Err(ReadError::Purged { index: from, first: self.index.first });
        }
        match self.index.find(from, u64::MAX, max_bytes) {
            None => Ok(Vec::new()),
            Some(Found::Cached(entries)) => Ok(entries),
            Some(Found::Disk(run)) => read_run(&self.disk, &run),
        }
    }

    /// As a start of the member would take it.
    fn known_committed(&self) -> Result<Position, ReadError> {
        let noted = Position(self.meta.committed.map_or(0, |id| id.index));
        let Some((id, members)) = membership::stored(&self.meta.membership) else { return Ok(noted) };
        let purged = self.meta.purged.is_some_and(|purged| id.index <= purged.index);
        let stands = purged || self.run(id.index, 0)?.first().is_some_and(|entry| entry.id == id);
        let alone = stands && members.voter_ids().count() == 1;
        Ok(if alone { self.last() } else { noted })
    }
}
