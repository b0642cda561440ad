//! The one place that writes a log's files; runs on the flush worker.
//!
//! Everything that is queued is handled in order. Appends that stand together become one write and one sync, and
//! are called back after it, in order. An append is never split over two segments. Space for it is reserved
//! before anything of it is written: when the disk is full the append fails, the log is as it was, and the next
//! append may succeed. Any other error of a write or sync is final: all that wait and all that come later fail
//! with it.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::disk::{Disk, Entropy};
use crate::frame::{END_OF_INDEXES, EntryId, FRAME_BYTES, LogEntry};
use crate::index::Segment;
use crate::meta::{META_FILE, Meta, MetaFile};
use crate::observe::{Observers, Written};
use crate::segment::{HEADER_BYTES, NEW_SUFFIX, SegmentHeader, Spare, segment_name};
use crate::shared::{Op, Shared};
use crate::snapshot::{NEW_SNAPSHOT_FILE, SNAPSHOT_FILE, SnapshotFile};

/// Called once with the outcome of a write, on the flush worker.
pub type Done = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

/// Why entries were not written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// No space could be reserved. Nothing was written; the log goes on.
    #[error("{path}: the disk is full, {needed_bytes} bytes are needed")]
    DiskFull {
        /// The file that could not get its space.
        path: PathBuf,
        /// How many bytes it needs.
        needed_bytes: u64,
    },
    /// The entries do not follow the log's end.
    #[error("entry {found} cannot follow, the next entry of the log is {expected}")]
    Gap {
        /// The index that would follow.
        expected: u64,
        /// The index that was given.
        found: u64,
    },
    /// No entry can have such an index.
    #[error("entry {index} is beyond the end of every log, {END_OF_INDEXES}")]
    BeyondEnd {
        /// The index.
        index: u64,
    },
    /// The log failed, now or earlier, and takes nothing more.
    #[error("the log has failed and takes nothing more")]
    Failed(#[source] Arc<Fault>),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// The error that ended a log. What was acknowledged before it is safe as far as the disk keeps its promises.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot {action}")]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// What was tried.
    pub action: &'static str,
    /// What the disk said.
    pub source: io::Error,
}

/// Sizes and durability of a log's files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) segment_bytes: u64,
    pub(crate) sync: bool,
}

/// Checks that an entry may have this index.
pub(crate) fn check_index(index: u64) -> Result<(), WriteError> {
    if index < END_OF_INDEXES { Ok(()) } else { Err(WriteError::BeyondEnd { index }) }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What waits for the next write.
#[derive(Default)]
struct Pending {
    appends: Vec<(Vec<LogEntry>, Done)>,
    bytes: u64,
}

pub(crate) struct Writer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) entropy: Entropy,
    pub(crate) shape: Shape,
    pub(crate) meta_file: MetaFile,
    pub(crate) spare: Option<Spare>,
    pub(crate) next_sequence: u64,
    /// Entries below it are durable.
    pub(crate) durable: u64,
    /// The index that the next append must begin with.
    pub(crate) planned: u64,
    pub(crate) last: Option<EntryId>,
    pub(crate) closed: bool,
    pub(crate) observer: Observers,
}

impl Writer {
    /// Does everything that is queued.
    pub(crate) fn run(&mut self) {
        loop {
            let ops = self.shared.take();
            if ops.is_empty() {
                return;
            }
            let mut pending = Pending::default();
            for op in ops {
                match op {
                    Op::Append { entries, done } => self.plan(&mut pending, entries, done),
                    other => {
                        self.flush(&mut pending);
                        self.control(other);
                    }
                }
            }
            self.flush(&mut pending);
        }
    }

    fn usable(&self) -> Result<(), WriteError> {
        match self.shared.fault() {
            Some(fault) => Err(WriteError::Failed(fault)),
            None if self.closed => Err(WriteError::Closed),
            None => Ok(()),
        }
    }

    fn plan(&mut self, pending: &mut Pending, entries: Vec<LogEntry>, done: Done) {
        match self.make_room(pending, &entries) {
            Ok(bytes) => {
                self.planned += entries.len() as u64;
                self.last = entries.last().map(|entry| entry.id).or(self.last);
                pending.bytes += bytes;
                pending.appends.push((entries, done));
            }
            Err(error) => {
                self.shared.index.lock().cut(self.planned, self.last);
                done(Err(error));
            }
        }
    }

    /// Sees to it that the active segment can take the entries after what is pending; returns their bytes.
    fn make_room(&mut self, pending: &mut Pending, entries: &[LogEntry]) -> Result<u64, WriteError> {
        self.usable()?;
        let found = entries.first().map_or(self.planned, |entry| entry.id.index);
        if found != self.planned {
            return Err(WriteError::Gap { expected: self.planned, found });
        }
        let bytes = entries.iter().map(LogEntry::frame_bytes).sum();
        if pending.bytes + bytes > self.shared.index.lock().free() {
            self.flush(pending);
            self.usable()?;
            if bytes > self.shared.index.lock().free() {
                self.prepare(bytes)?;
                self.roll(self.planned)?;
            }
        }
        Ok(bytes)
    }

    /// Reserves the next segment, large enough for `bytes` of frames.
    pub(crate) fn prepare(&mut self, bytes: u64) -> Result<(), WriteError> {
        let capacity = self.shape.segment_bytes.max(bytes + HEADER_BYTES as u64);
        if let Some(spare) = self.spare.take_if(|spare| spare.capacity < capacity) {
            self.remove(&[segment_name(spare.sequence) + NEW_SUFFIX])?;
        }
        if self.spare.is_none() {
            let created = Spare::create(&*self.disk, self.next_sequence, capacity);
            self.spare = Some(created.map_err(|error| self.space_error(error, capacity))?);
            self.next_sequence += 1;
        }
        let room = self.spare.as_ref().map_or(0, |spare| spare.capacity - HEADER_BYTES as u64);
        self.shared.set_spare(room);
        Ok(())
    }

    fn space_error(&self, error: io::Error, needed_bytes: u64) -> WriteError {
        let name = segment_name(self.next_sequence) + NEW_SUFFIX;
        if is_full(&error) {
            return WriteError::DiskFull { path: self.disk.path(&name), needed_bytes };
        }
        self.fail(&name, "reserve space for")(error)
    }

    /// Ends the active segment and begins the next one at `first`; the log is durable up to there afterwards.
    pub(crate) fn roll(&mut self, first: u64) -> Result<(), WriteError> {
        self.seal()?;
        let spare = self.spare.take().expect("reserved by prepare");
        let mut nonce = [0; 16];
        (self.entropy)(&mut nonce).map_err(self.fail("", "get randomness for"))?;
        let header =
            SegmentHeader { sequence: spare.sequence, first, generation: self.shared.meta.lock().generation, nonce };
        let name = segment_name(spare.sequence);
        let capacity = spare.capacity;
        let file = spare.activate(&*self.disk, &header).map_err(self.fail(&name, "begin"))?;
        self.shared.set_spare(0);
        self.shared.index.lock().segments.push(Segment {
            name,
            file,
            seed: header.seed(),
            first,
            offsets: Vec::new(),
            end: HEADER_BYTES as u64,
            capacity,
        });
        Ok(())
    }

    /// Makes the active segment durable and gives its unused space back.
    fn seal(&mut self) -> Result<(), WriteError> {
        self.sync_active()?;
        let index = self.shared.index.lock();
        if let Some(active) = index.segments.last()
            && let Err(error) = active.file.set_len(active.end)
        {
            tracing::warn!(segment = active.name, %error, "cannot give unused space back");
        }
        Ok(())
    }

    fn sync_active(&mut self) -> Result<(), WriteError> {
        let active = self.shared.index.lock().segments.last().map(|active| (active.name.clone(), active.file.clone()));
        if let Some((name, file)) = active {
            file.sync().map_err(self.fail(&name, "sync"))?;
        }
        self.durable = self.planned;
        Ok(())
    }

    /// Writes what is pending and calls it back.
    fn flush(&mut self, pending: &mut Pending) {
        let pending = std::mem::take(pending);
        if pending.appends.is_empty() {
            return;
        }
        let outcome = self.usable().and_then(|()| self.write(&pending));
        for (_, done) in pending.appends {
            done(outcome.clone());
        }
    }

    fn write(&mut self, pending: &Pending) -> Result<(), WriteError> {
        let (name, file, seed, end) = {
            let index = self.shared.index.lock();
            let active = index.segments.last().expect("a log has an active segment");
            (active.name.clone(), active.file.clone(), active.seed, active.end)
        };
        let entries = || pending.appends.iter().flat_map(|(entries, _)| entries);
        let headers: Vec<[u8; FRAME_BYTES]> = entries()
            .map(|entry| entry.header(seed, u32::try_from(entry.id.index - self.durable).unwrap_or(u32::MAX)))
            .collect();
        let parts: Vec<IoSlice<'_>> = headers
            .iter()
            .zip(entries())
            .flat_map(|(header, entry)| [IoSlice::new(header), IoSlice::new(&entry.payload)])
            .collect();
        let began = self.now();
        file.write_at(end, &parts).map_err(self.fail(&name, "write to"))?;
        let written = self.now();
        if self.shape.sync {
            file.sync().map_err(self.fail(&name, "sync"))?;
            self.durable = self.planned;
        }
        self.tell(pending, began.zip(written));
        let mut index = self.shared.index.lock();
        for entry in entries() {
            index.note_written(entry.frame_bytes());
        }
        index.evict();
        Ok(())
    }

    /// The time, when somebody is to be told.
    fn now(&self) -> Option<Instant> {
        self.observer.as_ref().map(|_| Instant::now())
    }

    fn tell(&self, pending: &Pending, times: Option<(Instant, Instant)>) {
        let (Some(observer), Some((began, written))) = (&self.observer, times) else { return };
        let first = pending.appends.first().and_then(|(entries, _)| Some(entries.first()?.id.index));
        let last = pending.appends.last().and_then(|(entries, _)| Some(entries.last()?.id.index));
        let (Some(first), Some(last)) = (first, last) else { return };
        let synced = self.now().filter(|_| self.shape.sync);
        observer.written(&Written { first, last, began, written, synced });
    }

    fn control(&mut self, op: Op) {
        let (outcome, done) = match op {
            Op::Append { .. } => unreachable!("appends are planned"),
            Op::Prepare { bytes, done } => (self.usable().and_then(|()| self.prepare(bytes)), done),
            Op::FitSnapshot { bytes, done } => (self.usable().and_then(|()| self.fit_snapshot(bytes)), done),
            Op::Truncate { from, last, done } => (self.usable().and_then(|()| self.truncate(from, last)), done),
            Op::Purge { upto, done } => (self.usable().and_then(|()| self.purge(upto)), done),
            Op::Meta { change, done } => (self.usable().and_then(|()| self.change_meta(change)), done),
            Op::Snapshot { file, done } => (self.usable().and_then(|()| self.write_snapshot(&file)), done),
            Op::Close { done } => (self.usable().and_then(|()| self.close()), done),
        };
        done(outcome);
    }

    fn truncate(&mut self, from: u64, last: Option<EntryId>) -> Result<(), WriteError> {
        if from >= self.planned {
            return Ok(());
        }
        self.prepare(0)?;
        self.roll(from)?;
        self.restart_at(from, last)
    }

    /// The log goes on at `next` in the segment just begun.
    fn restart_at(&mut self, next: u64, last: Option<EntryId>) -> Result<(), WriteError> {
        self.planned = next;
        self.durable = next;
        self.last = last;
        let dropped = {
            let mut index = self.shared.index.lock();
            index.cut(next, last);
            index.written = next;
            index.drop_empty()
        };
        self.remove(&dropped)
    }

    fn purge(&mut self, upto: EntryId) -> Result<(), WriteError> {
        check_index(upto.index)?;
        let first = upto.index + 1;
        // By the index alone: what is given up is given up, whoever made it.
        let further =
            move |meta: &mut Meta| meta.purged = meta.purged.filter(|id| id.index > upto.index).or(Some(upto));
        self.change_meta(Box::new(further))?;
        if first > self.planned {
            self.prepare(0)?;
            self.roll(first)?;
            self.shared.index.lock().cut(0, Some(upto));
            self.restart_at(first, Some(upto))?;
        }
        let dropped = self.shared.index.lock().drop_below(first);
        self.remove(&dropped)
    }

    /// Reserves the segment that a log begins anew with, and tries whether a snapshot would fit beside it.
    fn fit_snapshot(&mut self, bytes: u64) -> Result<(), WriteError> {
        self.prepare(0)?;
        let reserved = self.disk.create(NEW_SNAPSHOT_FILE).and_then(|file| file.preallocate(bytes));
        match self.disk.remove(NEW_SNAPSHOT_FILE) {
            // A full disk may not even have had space for its name.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.fail(NEW_SNAPSHOT_FILE, "remove")(error));
            }
            _ => {}
        }
        reserved.map_err(|error| match is_full(&error) {
            true => WriteError::DiskFull { path: self.disk.path(SNAPSHOT_FILE), needed_bytes: bytes },
            false => self.fail(NEW_SNAPSHOT_FILE, "reserve space for")(error),
        })
    }

    fn write_snapshot(&self, file: &SnapshotFile) -> Result<(), WriteError> {
        file.write(&*self.disk).map_err(|error| {
            if !is_full(&error) {
                return self.fail(SNAPSHOT_FILE, "write")(error);
            }
            // What there is of the new file takes space that the log needs.
            if let Err(error) = self.disk.remove(NEW_SNAPSHOT_FILE) {
                tracing::warn!(%error, "cannot remove a snapshot that found no space");
            }
            WriteError::DiskFull { path: self.disk.path(SNAPSHOT_FILE), needed_bytes: file.file_bytes() }
        })
    }

    fn remove(&self, names: &[String]) -> Result<(), WriteError> {
        for name in names {
            self.disk.remove(name).map_err(self.fail(name, "remove"))?;
        }
        if names.is_empty() {
            return Ok(());
        }
        self.disk.sync_folder().map_err(self.fail("", "sync"))
    }

    fn change_meta(&mut self, change: Box<dyn FnOnce(&mut Meta) + Send>) -> Result<(), WriteError> {
        let mut meta = self.shared.meta.lock().clone();
        change(&mut meta);
        if self.shape.sync {
            self.note_committed(&mut meta);
        }
        self.meta_file.write(&meta, self.shape.sync).map_err(self.fail(META_FILE, "write"))?;
        *self.shared.meta.lock() = meta;
        Ok(())
    }

    fn note_committed(&self, meta: &mut Meta) {
        let committed = *self.shared.committed.lock();
        meta.committed = meta.committed.max(committed.filter(|id| id.index < self.durable));
    }

    fn close(&mut self) -> Result<(), WriteError> {
        self.sync_active()?;
        let mut meta = self.shared.meta.lock().clone();
        self.note_committed(&mut meta);
        meta.unsynced = false;
        self.meta_file.write(&meta, true).map_err(self.fail(META_FILE, "write"))?;
        if let Some(spare) = self.spare.take() {
            self.remove(&[segment_name(spare.sequence) + NEW_SUFFIX])?;
        }
        self.closed = true;
        Ok(())
    }

    /// Makes the log refuse everything from now on.
    fn fail(&self, name: &str, action: &'static str) -> impl FnOnce(io::Error) -> WriteError + use<> {
        let path = self.disk.path(name);
        let shared = self.shared.clone();
        move |source| WriteError::Failed(shared.fail(Fault { path, action, source }))
    }
}
