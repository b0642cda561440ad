//! Chunks that were fetched: in memory, so that a guest can be put back at once, and in the store when they are many.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use refrain_engine::checkpoint::store::Draft;
use refrain_engine::checkpoint::{CheckpointStore, ChunkId, Manifest, StoreError};

/// The most bytes that are held in memory; what comes then goes to the store first.
const MAX_BYTES: usize = 256 * 1024 * 1024;

#[derive(Default)]
struct Held {
    chunks: HashMap<ChunkId, Bytes>,
    bytes: usize,
    fetched: u64,
}

/// The chunks of one checkpoint on its way. From its first look at the store on, nothing that the checkpoint names is
/// removed there.
pub(in crate::shard) struct Stash {
    draft: Mutex<Option<Draft<Arc<CheckpointStore>>>>,
    held: Mutex<Held>,
}

impl Stash {
    pub(super) fn new(store: &Arc<CheckpointStore>) -> Self {
        Self { draft: Mutex::new(Some(store.shared_draft())), held: Mutex::default() }
    }

    /// Chunks of the checkpoint that the store has.
    pub(super) fn there(&self, manifest: &Manifest) -> std::collections::BTreeSet<ChunkId> {
        let draft = self.draft.lock();
        let all = manifest.chunks().into_iter();
        draft.as_ref().map(|draft| all.filter(|id| draft.has(id)).collect()).unwrap_or_default()
    }

    /// Takes in a chunk whose bytes were checked.
    pub(super) fn take(&self, id: ChunkId, bytes: Bytes) {
        let mut held = self.held.lock();
        held.bytes += bytes.len();
        held.fetched += bytes.len() as u64;
        held.chunks.insert(id, bytes);
    }

    /// Whether some of it should go to the store before more comes.
    pub(super) fn is_full(&self) -> bool {
        self.held.lock().bytes > MAX_BYTES
    }

    /// Bytes that came from peers.
    pub(super) fn fetched_bytes(&self) -> u64 {
        self.held.lock().fetched
    }

    /// A chunk that is in memory.
    pub(super) fn get(&self, id: &ChunkId) -> Option<Bytes> {
        self.held.lock().chunks.get(id).cloned()
    }

    /// Writes what is in memory to the store. Takes a while.
    pub(super) fn spill(&self) -> Result<(), StoreError> {
        let chunks = {
            let mut held = self.held.lock();
            held.bytes = 0;
            std::mem::take(&mut held.chunks)
        };
        let draft = self.draft.lock();
        let Some(draft) = draft.as_ref() else { return Ok(()) };
        chunks.iter().try_for_each(|(id, bytes)| draft.put(*id, bytes).map(drop))
    }

    /// Makes the checkpoint one of the store. Takes a while.
    pub(in crate::shard) fn store(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let spilled = self.spill();
        let draft = self.draft.lock().take();
        if matches!(spilled, Err(StoreError::Full { .. })) {
            // The log needs the space more than the next try needs these chunks: dropping the draft removes them.
            drop(draft);
            return spilled;
        }
        let Some(draft) = draft else { return spilled };
        match spilled {
            Ok(()) => draft.finish(manifest),
            Err(error) => {
                draft.keep_chunks();
                Err(error)
            }
        }
    }
}

impl Drop for Stash {
    fn drop(&mut self) {
        // A try that failed: the next one finds what this one stored.
        if let Some(draft) = self.draft.lock().take() {
            draft.keep_chunks();
        }
    }
}
