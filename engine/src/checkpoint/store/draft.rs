//! A checkpoint that is being written: its chunks are kept from being collected until it is finished or given up.

use std::fs::File;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{CheckpointStore, StoreError};
use crate::checkpoint::chunk::{ChunkError, ChunkId};
use crate::checkpoint::manifest::Manifest;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// The writer of one checkpoint, by way of a reference or of a share of the store.
pub struct Draft<S: Deref<Target = CheckpointStore>> {
    store: S,
    number: u64,
    /// The folder of chunks, opened before any was written: whatever goes wrong with their way to the disk from then on
    /// is told to who syncs it.
    chunks: Option<Result<File, StoreError>>,
    finished: bool,
}

impl<S: Deref<Target = CheckpointStore>> Draft<S> {
    pub(super) fn new(store: S) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        store.held.lock().drafts.insert(number, std::collections::BTreeSet::new());
        let chunks = Some(store.files.open_chunks());
        Self { store, number, chunks, finished: false }
    }

    /// Whether a chunk is there; from now on it stays.
    #[must_use]
    pub fn has(&self, id: &ChunkId) -> bool {
        self.hold(*id);
        self.store.has(id)
    }

    /// Stores a chunk, whose bytes the caller has checked. False when it was there already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, id: ChunkId, bytes: &[u8]) -> Result<bool, StoreError> {
        if self.has(&id) {
            return Ok(false);
        }
        self.store.files.write_chunk(&id, bytes).map(|()| true)
    }

    /// Writes the manifest, once all chunks are on the disk. Older checkpoints of the group are removed.
    ///
    /// # Errors
    /// When a chunk is missing, or something cannot be written; the checkpoint is not there then.
    pub fn finish(mut self, manifest: &Manifest) -> Result<(), StoreError> {
        if let Some(id) = manifest.chunks().into_iter().find(|id| !self.has(id)) {
            return Err(ChunkError::Missing { id }.into());
        }
        let chunks = self.chunks.take().expect("a draft is finished once")?;
        self.store.files.write_manifest(manifest, &chunks)?;
        self.finished = true;
        if let Err(error) = self.store.tidy(manifest.parts().group) {
            tracing::warn!(%error, "old checkpoints could not be removed");
        }
        Ok(())
    }

    /// Gives the checkpoint up, and keeps its chunks for another attempt.
    pub fn keep_chunks(mut self) {
        self.finished = true;
    }

    fn hold(&self, id: ChunkId) {
        if let Some(chunks) = self.store.held.lock().drafts.get_mut(&self.number) {
            chunks.insert(id);
        }
    }
}

impl<S: Deref<Target = CheckpointStore>> Drop for Draft<S> {
    fn drop(&mut self) {
        self.store.held.lock().end(self.number);
        if self.finished {
            return;
        }
        if let Err(error) = self.store.collect() {
            tracing::warn!(%error, "what an abandoned checkpoint left could not be removed");
        }
    }
}
