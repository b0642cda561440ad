//! The disk of a simulated machine: the sequencer's [`SimDisk`], whose faults it passes on, and mutants of it.
//!
//! Why not turmoil's file system: `docs/adr/2026-11-25-simulation-on-turmoil.md`.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use refrain_sequencer::disk::{Disk, DiskFile};
use refrain_sequencer::sim::SimDisk;

use crate::dice::Dice;

/// A way in which the log's code could be wrong about its disk, put in on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskMutant {
    /// As it should be.
    #[default]
    None,
    /// Entries are not synced.
    SkipSync,
    /// The meta file, which holds the vote, is not written any more once the log has begun.
    ForgetVote,
}

/// The file that holds the vote.
const META_FILE: &str = "meta";
/// Writes of it until the log has begun, two for every state.
const FIRST_META_WRITES: u64 = 10;

impl DiskMutant {
    fn skips_sync(self, name: &str) -> bool {
        self == Self::SkipSync && is_segment(name)
    }

    fn forgets(self, name: &str) -> bool {
        self == Self::ForgetVote && name == META_FILE
    }
}

fn is_segment(name: &str) -> bool {
    name.starts_with("segment-")
}

/// The disk; clones share it.
#[derive(Clone)]
pub struct NodeDisk {
    disk: SimDisk,
    mutant: DiskMutant,
    /// Writes of the meta file.
    meta_writes: Arc<AtomicU64>,
}

impl NodeDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(mutant: DiskMutant) -> Self {
        Self { disk: SimDisk::new(), mutant, meta_writes: Arc::default() }
    }

    fn file(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let forgets = self.mutant.forgets(name).then(|| self.meta_writes.clone());
        Arc::new(NodeFile { file, skips_sync: self.mutant.skips_sync(name), forgets })
    }

    /// The disk itself, to break.
    #[must_use]
    pub fn sim(&self) -> &SimDisk {
        &self.disk
    }

    /// Flips a bit somewhere in one of the segments; false when there is nothing in them.
    pub fn flip_somewhere(&self, dice: &mut Dice) -> bool {
        let names = self.disk.list().unwrap_or_default();
        let segments: Vec<&String> = names.iter().filter(|name| is_segment(name)).collect();
        if segments.is_empty() {
            return false;
        }
        let name = *dice.pick(&segments);
        let Some(size) = self.disk.open(name).ok().and_then(|file| file.size().ok()).filter(|size| *size > 0) else {
            return false;
        };
        self.disk.flip_bit(name, dice.below(size), dice.below(8) as u8);
        true
    }
}

impl Disk for NodeDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.disk.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.disk.create(name)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}

struct NodeFile {
    file: Arc<dyn DiskFile>,
    skips_sync: bool,
    forgets: Option<Arc<AtomicU64>>,
}

impl DiskFile for NodeFile {
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let forgotten = |writes: &Arc<AtomicU64>| writes.fetch_add(1, Ordering::Relaxed) >= FIRST_META_WRITES;
        if self.forgets.as_ref().is_some_and(forgotten) { Ok(()) } else { self.file.write_at(offset, parts) }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }

    fn sync(&self) -> io::Result<()> {
        if self.skips_sync { Ok(()) } else { self.file.sync() }
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.file.preallocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}
