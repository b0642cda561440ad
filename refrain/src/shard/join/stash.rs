//! Chunks on their way: in memory, so that a guest is put back while they come, and in the store when they are many.
//!
//! Who reads a chunk that is neither here nor in the store waits for it, until the transfer is over.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use refrain_engine::checkpoint::store::Draft;
use refrain_engine::checkpoint::{CheckpointStore, ChunkError, ChunkId, ChunkSource, Manifest, StoreError};

/// The most bytes that are held in memory; what comes then goes to the store first.
const MAX_BYTES: usize = 256 * 1024 * 1024;

#[derive(Default)]
struct Held {
    chunks: HashMap<ChunkId, Bytes>,
    bytes: usize,
    fetched: u64,
    /// Chunks that are in the store.
    stored: BTreeSet<ChunkId>,
    /// Nothing comes any more.
    over: bool,
    /// The disk had no space for some of them.
    no_space: bool,
    /// Some are being written to the store.
    spilling: bool,
}

/// The chunks of one checkpoint on its way. From its first look at the store on, nothing that the checkpoint names is
/// removed there.
pub(in crate::shard) struct Stash {
    store: Arc<CheckpointStore>,
    draft: Mutex<Option<Draft<Arc<CheckpointStore>>>>,
    held: Mutex<Held>,
    came: Condvar,
}

impl Stash {
    pub(in crate::shard) fn new(store: Arc<CheckpointStore>) -> Self {
        let draft = Mutex::new(Some(store.shared_draft()));
        Self { store, draft, held: Mutex::default(), came: Condvar::new() }
    }

    /// Where everything is in the end.
    pub(super) fn kept_in(&self) -> &Arc<CheckpointStore> {
        &self.store
    }

    /// Chunks of the checkpoint that the store has. Takes a while.
    pub(super) fn there(&self, manifest: &Manifest) -> BTreeSet<ChunkId> {
        let stored: BTreeSet<ChunkId> = {
            let draft = self.draft.lock();
            let all = manifest.chunks().into_iter();
            draft.as_ref().map(|draft| all.filter(|id| draft.has(id)).collect()).unwrap_or_default()
        };
        self.held.lock().stored = stored.clone();
        self.came.notify_all();
        stored
    }

    /// Takes in a chunk whose bytes were checked; writes some to the store first when there are too many. Takes a while
    /// then.
    ///
    /// # Errors
    /// When there is no room.
    pub(super) fn take(&self, id: ChunkId, bytes: Bytes) -> Result<(), StoreError> {
        let full = {
            let mut held = self.held.lock();
            let length = bytes.len();
            if held.chunks.insert(id, bytes).is_none() {
                held.bytes += length;
                held.fetched += length as u64;
            }
            held.bytes > MAX_BYTES
        };
        self.came.notify_all();
        if full { self.spill() } else { Ok(()) }
    }

    /// The transfer is over: nobody is to wait for what has not come.
    pub(super) fn end(&self) {
        self.held.lock().over = true;
        self.came.notify_all();
    }

    /// Whether what came is being written to the store, which may take long: nothing else is taken in meanwhile.
    pub(super) fn is_spilling(&self) -> bool {
        self.held.lock().spilling
    }

    /// Bytes that came from peers.
    pub(super) fn fetched_bytes(&self) -> u64 {
        self.held.lock().fetched
    }

    /// A chunk that is in memory, perhaps after a while; none when the store is to be asked.
    fn wait_for(&self, id: &ChunkId) -> Option<Bytes> {
        let mut held = self.held.lock();
        loop {
            if let Some(bytes) = held.chunks.get(id) {
                return Some(bytes.clone());
            }
            if held.over || held.stored.contains(id) {
                return None;
            }
            self.came.wait(&mut held);
        }
    }

    /// Writes what is in memory to the store. Takes a while.
    pub(super) fn spill(&self) -> Result<(), StoreError> {
        // One thread at a time: the next one finds what this one left.
        let draft = self.draft.lock();
        let chunks = {
            let mut held = self.held.lock();
            held.spilling = true;
            held.chunks.clone()
        };
        let written = match draft.as_ref() {
            Some(draft) => chunks.iter().try_for_each(|(id, bytes)| draft.put(*id, bytes).map(drop)),
            None => Ok(()),
        };
        let mut held = self.held.lock();
        held.spilling = false;
        if let Err(error) = written {
            held.no_space |= matches!(error, StoreError::Full { .. });
            return Err(error);
        }
        for id in chunks.into_keys() {
            if let Some(bytes) = held.chunks.remove(&id) {
                held.bytes -= bytes.len();
            }
            held.stored.insert(id);
        }
        Ok(())
    }

    /// Makes the checkpoint one of the store. Takes a while.
    pub(in crate::shard) fn store(&self, manifest: &Manifest) -> Result<(), StoreError> {
        self.spill()?;
        match self.draft.lock().take() {
            Some(draft) => draft.finish(manifest),
            None => Ok(()),
        }
    }
}

impl ChunkSource for Stash {
    fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkError> {
        match self.wait_for(id) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => self.store.chunk(id),
        }
    }

    fn chunk_into(&self, id: &ChunkId, target: &mut [u8]) -> Result<(), ChunkError> {
        match self.wait_for(id) {
            Some(bytes) if bytes.len() == target.len() => {
                target.copy_from_slice(&bytes);
                Ok(())
            }
            _ => self.store.chunk_into(id, target),
        }
    }
}

impl Drop for Stash {
    fn drop(&mut self) {
        // A try that failed: the next one finds what this one stored, unless the log needs the space more.
        if let Some(draft) = self.draft.lock().take()
            && !self.held.lock().no_space
        {
            draft.keep_chunks();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stash(folder: &tempfile::TempDir) -> Arc<Stash> {
        Arc::new(Stash::new(Arc::new(CheckpointStore::open(folder.path()).unwrap())))
    }

    fn chunk(text: &'static str) -> (ChunkId, Bytes) {
        (ChunkId::of(text.as_bytes()), Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_reader_waits_for_its_chunk_and_no_longer_than_the_transfer_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let stash = stash(&folder);
        let ((came, bytes), (never, _)) = (chunk("came"), chunk("never"));
        let readers: Vec<_> = [came, never]
            .into_iter()
            .map(|id| {
                let stash = Arc::clone(&stash);
                std::thread::spawn(move || stash.chunk(&id))
            })
            .collect();
        stash.take(came, bytes.clone()).unwrap();
        stash.take(came, bytes.clone()).unwrap();
        assert_eq!(stash.fetched_bytes(), bytes.len() as u64, "the same again does not count");
        stash.end();
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert_eq!(*read[0].as_ref().unwrap(), bytes);
        assert!(matches!(read[1], Err(ChunkError::Missing { id }) if id == never));
    }

    #[test]
    fn what_went_to_the_store_is_read_from_there_and_found_by_the_next_try() {
        let folder = tempfile::tempdir().unwrap();
        let (id, bytes) = chunk("spilled");
        let first = stash(&folder);
        first.take(id, bytes.clone()).unwrap();
        first.spill().unwrap();
        assert_eq!(first.chunk(&id).unwrap(), bytes);
        drop(first);
        assert_eq!(stash(&folder).store.chunk(&id).unwrap(), bytes);
    }

    #[test]
    fn threads_that_spill_at_once_write_each_chunk_and_count_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let stash = stash(&folder);
        let all: Vec<_> = (0..200u32).map(|nth| Bytes::copy_from_slice(&nth.to_le_bytes())).collect();
        all.iter().for_each(|bytes| stash.take(ChunkId::of(bytes), bytes.clone()).unwrap());
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| stash.spill().unwrap()))));
        let left = stash.held.lock().bytes;
        assert_eq!((left, stash.fetched_bytes()), (0, 800));
        assert!(all.iter().all(|bytes| stash.chunk(&ChunkId::of(bytes)).unwrap() == *bytes));
    }
}
