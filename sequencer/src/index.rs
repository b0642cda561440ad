//! Where each entry is: four bytes an entry, and the recent entries themselves.
//!
//! The cache holds a run of entries that ends with the newest. Entries that are not yet on disk are always in it;
//! the others leave it, oldest first, when it is over its limit.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::frame::{EntryId, LogEntry, Seed};

/// A segment and where its entries begin.
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) seed: Seed,
    pub(crate) first: u64,
    pub(crate) offsets: Vec<u32>,
    /// Where the last entry ends.
    pub(crate) end: u64,
    pub(crate) capacity: u64,
}

impl Segment {
    fn next(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }

    fn end_of(&self, slot: usize) -> u64 {
        self.offsets.get(slot + 1).map_or(self.end, |offset| u64::from(*offset))
    }
}

/// A run of frames to be read from disk, beginning with entry `first`.
pub(crate) struct DiskRun {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) seed: Seed,
    pub(crate) offset: u64,
    pub(crate) len: usize,
    pub(crate) first: u64,
    pub(crate) count: usize,
}

/// Where a run of entries is.
pub(crate) enum Found {
    Cached(Vec<LogEntry>),
    Disk(DiskRun),
}

/// All entries of a log.
pub(crate) struct Index {
    pub(crate) segments: Vec<Segment>,
    /// Entries below it are on disk.
    pub(crate) written: u64,
    /// The first entry that was not given up.
    pub(crate) first: u64,
    /// The id of the last entry, written or waiting.
    pub(crate) last: Option<EntryId>,
    cache: VecDeque<LogEntry>,
    cache_bytes: usize,
    cache_limit: usize,
}

impl Index {
    pub(crate) fn new(segments: Vec<Segment>, first: u64, next: u64, last: Option<EntryId>, limit: usize) -> Self {
        Self { segments, written: next, first, last, cache: VecDeque::new(), cache_bytes: 0, cache_limit: limit }
    }

    /// The index after the last entry, written or waiting.
    pub(crate) fn next(&self) -> u64 {
        self.cache.back().map_or(self.written, |entry| entry.id.index + 1)
    }

    /// Bytes of all segments up to their last entry.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }

    /// Bytes that the last segment can still take.
    pub(crate) fn free(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.capacity.saturating_sub(segment.end))
    }

    /// Takes an entry that waits for its write.
    pub(crate) fn push(&mut self, entry: LogEntry) {
        self.last = Some(entry.id);
        self.cache_bytes += entry.payload.len();
        self.cache.push_back(entry);
    }

    /// Notes that the next entry stands in the last segment, `bytes` long.
    pub(crate) fn note_written(&mut self, bytes: u64) {
        let segment = self.segments.last_mut().expect("there is an active segment");
        segment.offsets.push(u32::try_from(segment.end).expect("segments are smaller than 4 GiB"));
        segment.end += bytes;
        self.written += 1;
    }

    /// Lets go of cached entries above the limit.
    pub(crate) fn evict(&mut self) {
        while self.cache_bytes > self.cache_limit {
            match self.cache.front() {
                Some(entry) if entry.id.index < self.written => {
                    self.cache_bytes -= entry.payload.len();
                    self.cache.pop_front();
                }
                _ => break,
            }
        }
    }

    /// Forgets all entries from `from` on. `last` is the id of the entry before.
    pub(crate) fn cut(&mut self, from: u64, last: Option<EntryId>) {
        while self.cache.back().is_some_and(|entry| entry.id.index >= from) {
            let entry = self.cache.pop_back().expect("just seen");
            self.cache_bytes -= entry.payload.len();
        }
        for segment in &mut self.segments {
            let keep = from.saturating_sub(segment.first) as usize;
            if keep < segment.offsets.len() {
                segment.end = u64::from(segment.offsets[keep]);
                segment.offsets.truncate(keep);
            }
        }
        self.written = self.written.min(from);
        self.last = last;
    }

    /// Removes segments that hold nothing at or above `first`, except the last; returns their names.
    pub(crate) fn drop_below(&mut self, first: u64) -> Vec<String> {
        self.first = self.first.max(first);
        while self.cache.front().is_some_and(|entry| entry.id.index < first) {
            let entry = self.cache.pop_front().expect("just seen");
            self.cache_bytes -= entry.payload.len();
        }
        self.drop_segments(|segment| segment.next() <= first)
    }

    /// Removes segments without entries, except the last; returns their names.
    pub(crate) fn drop_empty(&mut self) -> Vec<String> {
        self.drop_segments(|segment| segment.offsets.is_empty())
    }

    fn drop_segments(&mut self, gone: impl Fn(&Segment) -> bool) -> Vec<String> {
        let Some(active) = self.segments.pop() else {
            return Vec::new();
        };
        let (dropped, kept) = self.segments.drain(..).partition(gone);
        self.segments = kept;
        self.segments.push(active);
        let dropped: Vec<Segment> = dropped;
        dropped.into_iter().map(|segment| segment.name).collect()
    }

    /// Finds entries from `from` below `to`: at most `max_bytes` of them, but at least one when it is there.
    pub(crate) fn find(&self, from: u64, to: u64, max_bytes: usize) -> Option<Found> {
        let to = to.min(self.next());
        if from < self.first || from >= to {
            return None;
        }
        let cached_from = self.cache.front().map_or(u64::MAX, |entry| entry.id.index);
        if from >= cached_from {
            return Some(Found::Cached(self.find_cached((from - cached_from) as usize, to - from, max_bytes)));
        }
        self.find_on_disk(from, to.min(cached_from), max_bytes).map(Found::Disk)
    }

    fn find_cached(&self, skip: usize, count: u64, max_bytes: usize) -> Vec<LogEntry> {
        let mut bytes = 0;
        self.cache
            .iter()
            .skip(skip)
            .take(count as usize)
            .enumerate()
            .take_while(|(n, entry)| {
                bytes += entry.payload.len();
                *n == 0 || bytes <= max_bytes
            })
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    fn find_on_disk(&self, from: u64, to: u64, max_bytes: usize) -> Option<DiskRun> {
        let at = self.segments.partition_point(|segment| segment.next() <= from);
        let segment = self.segments.get(at).filter(|segment| segment.first <= from)?;
        let slot = (from - segment.first) as usize;
        let most = (to.min(segment.next()) - from) as usize;
        let offset = u64::from(segment.offsets[slot]);
        let mut count = 1;
        while count < most && (segment.end_of(slot + count) - offset) as usize <= max_bytes {
            count += 1;
        }
        Some(DiskRun {
            name: segment.name.clone(),
            file: segment.file.clone(),
            seed: segment.seed,
            offset,
            len: (segment.end_of(slot + count - 1) - offset) as usize,
            first: from,
            count,
        })
    }
}
