//! A disk in memory that forgets and breaks on purpose, for tests of this crate and of others.
//!
//! Every write since the last `sync` of its file is unsynced, and so is every change of names since the last
//! `sync_folder`. [`SimDisk::crash`] keeps, drops or tears (keeps a prefix or a suffix of) each unsynced write by itself, and
//! keeps or drops each change of names by itself. Injected: the end of the process after n operations, an error
//! at the n-th sync, a full disk, a flipped bit.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, Entropy};

mod content;

use content::{Change, Content, Dice};

#[derive(Debug, Clone)]
enum NameChange {
    Create(String, usize),
    Remove(String),
    Rename(String, String),
}

#[derive(Debug, Default)]
struct State {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    operations: u64,
    stop_after: Option<u64>,
    syncs: u64,
    fail_sync_at: Option<u64>,
    capacity: Option<u64>,
}

/// The disk; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk without limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many operations that change the disk (writes, syncs, names) were done since the start or last crash.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Every operation that changes the disk fails once `operations` were done: the process is dead.
    pub fn stop_after(&self, operations: u64) {
        self.0.lock().stop_after = Some(operations);
    }

    /// The n-th sync from now on fails, counted from 1; its writes stay unsynced.
    pub fn fail_sync(&self, nth: u64) {
        let mut state = self.0.lock();
        state.fail_sync_at = Some(state.syncs + nth);
    }

    /// How many bytes all files may have together; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// How many bytes all files have together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    /// Flips one bit, durably.
    ///
    /// # Panics
    /// When there is no such file or offset.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) {
        let mut state = self.0.lock();
        let inode = state.names[name];
        state.contents[inode].flip(offset as usize, bit);
    }

    /// A new process may use the disk after [`SimDisk::stop_after`]: the old one was killed, the power stayed, so
    /// unsynced changes are still seen and still unsynced.
    pub fn restart(&self) {
        self.0.lock().stop_after = None;
    }

    /// The power goes: unsynced changes are kept, dropped or torn as `seed` decides, and all injected faults end.
    pub fn crash(&self, seed: u64) {
        let mut dice = Dice::new(seed);
        let mut state = self.0.lock();
        for content in &mut state.contents {
            content.crash(&mut dice);
        }
        for change in std::mem::take(&mut state.unsynced_names) {
            if dice.roll(2) == 0 {
                apply_name(&mut state.durable_names, &change);
            }
        }
        state.names = state.durable_names.clone();
        state.operations = 0;
        state.syncs = 0;
        state.stop_after = None;
        state.fail_sync_at = None;
    }
}

/// Numbers that look random and are the same on every run.
#[must_use]
pub fn sim_entropy(seed: u64) -> Entropy {
    let dice = Mutex::new(Dice::new(seed));
    Arc::new(move |buffer| {
        let mut dice = dice.lock();
        buffer.iter_mut().for_each(|byte| *byte = dice.roll(256) as u8);
        Ok(())
    })
}

fn apply_name(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Create(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.contents[*inode].len()).sum()
    }

    fn operate(&mut self) -> io::Result<()> {
        if self.stop_after.is_some_and(|after| self.operations >= after) {
            return Err(io::Error::other("the simulated process has ended"));
        }
        self.operations += 1;
        Ok(())
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        self.operate()?;
        apply_name(&mut self.names, &change);
        self.unsynced_names.push(change);
        Ok(())
    }

    fn known(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, inode: usize, change: Change) -> io::Result<()> {
        let grows = change.end().saturating_sub(self.contents[inode].len());
        if self.capacity.is_some_and(|capacity| grows > 0 && self.used() + grows > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.operate()?;
        self.contents[inode].change(change);
        Ok(())
    }

    fn count_sync(&mut self) -> io::Result<()> {
        self.operate()?;
        self.syncs += 1;
        if self.fail_sync_at == Some(self.syncs) {
            return Err(io::Error::other("injected sync error"));
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.0.lock().known(name)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        let inode = state.contents.len();
        state.contents.push(Content::default());
        state.change_name(NameChange::Create(name.to_owned(), inode))?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.known(name)?;
        state.change_name(NameChange::Remove(name.to_owned()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.known(from)?;
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.count_sync()?;
        state.unsynced_names.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("sim").join(name)
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.disk.0.lock().change(self.inode, Change::Write(offset, bytes))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.disk.0.lock().contents[self.inode].read(offset, into))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.count_sync()?;
        state.contents[self.inode].sync();
        Ok(())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.disk.0.lock().change(self.inode, Change::Extend(len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.0.lock().change(self.inode, Change::SetLen(len))
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().contents[self.inode].len())
    }
}
