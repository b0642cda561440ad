//! A folder of checkpoints: chunks, compressed, each in a file that is named by its content, and manifests.
//!
//! ```text
//! chunks/ab/abcd...            a chunk: one zstd frame
//! groups/7/00000000000000001234-abcd....manifest
//! ```
//!
//! Guarantees: a manifest is there only when all of its chunks were, and were on the disk, before it; what is read is
//! what was written, or an error. Files appear under their names whole. A full disk costs the checkpoint that was being
//! written and nothing else. The two newest positions of a group are kept, and those that were agreed on last; chunks that
//! no manifest and no [`Draft`] names are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use refrain_wire::{GroupId, Position};

use super::captured::Captured;
use super::chunk::{CHUNK_BYTES, ChunkError, ChunkId, ChunkSource, sized, verify};
use super::manifest::{Manifest, ManifestError, Root};

mod draft;
pub(super) mod files;
mod names;

pub use draft::Draft;
use files::Files;

/// How many positions of a group are kept, besides those that were agreed on.
const KEPT_POSITIONS: usize = 2;
/// The most manifests of one group; different roots at one position are kept to be compared.
const MAX_MANIFESTS: usize = 16;

/// Why checkpoints cannot be stored or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("no space for the checkpoint at {path}")]
    Full {
        /// What was being written.
        path: PathBuf,
    },
    /// A file cannot be used.
    #[error("cannot {what} {path}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A manifest is not what its name says, or is one of another version.
    #[error("the manifest {path} cannot be used")]
    Manifest {
        /// Its file.
        path: PathBuf,
        /// In what way.
        #[source]
        source: ManifestError,
    },
    /// A chunk of a checkpoint is not there or not whole.
    #[error("a chunk is of no use")]
    Chunk(#[from] ChunkError),
}

/// Chunks that are kept though no manifest that was looked at names them.
#[derive(Default)]
struct Held {
    /// Those of checkpoints that are not complete yet, by draft.
    drafts: BTreeMap<u64, BTreeSet<ChunkId>>,
    /// How many threads are removing chunks.
    collecting: usize,
    /// Those of drafts that ended while some thread was: it may have read the manifests before the draft's was there.
    ended: BTreeSet<ChunkId>,
}

impl Held {
    fn has(&self, id: &ChunkId) -> bool {
        self.ended.contains(id) || self.drafts.values().any(|chunks| chunks.contains(id))
    }

    fn end(&mut self, draft: u64) {
        let chunks = self.drafts.remove(&draft).unwrap_or_default();
        if self.collecting > 0 {
            self.ended.extend(chunks);
        }
    }
}

/// A thread that removes chunks, until this is dropped.
struct Collecting<'a>(&'a Mutex<Held>);

impl<'a> Collecting<'a> {
    fn begin(held: &'a Mutex<Held>) -> Self {
        held.lock().collecting += 1;
        Self(held)
    }
}

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        let mut held = self.0.lock();
        held.collecting -= 1;
        if held.collecting == 0 {
            held.ended.clear();
        }
    }
}

/// The folder. Used by several threads at once, of one process.
pub struct CheckpointStore {
    files: Files,
    held: Mutex<Held>,
    /// The agreed checkpoints of each group.
    agreed: Mutex<BTreeMap<GroupId, Vec<Root>>>,
}

impl CheckpointStore {
    /// Opens the folder, or makes it. Chunks that a crash left without a manifest are checked: whole ones stay, so that
    /// a transfer goes on where it was.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let files = Files::open(folder)?;
        let store = Self { files, held: Mutex::default(), agreed: Mutex::default() };
        let named = store.named_chunks()?;
        for id in store.files.chunks()? {
            if !named.contains(&id) {
                // Reading a damaged chunk removes it.
                drop(store.chunk(&id));
            }
        }
        Ok(store)
    }

    /// Hashes and stores what was captured. Afterwards its memory is free.
    ///
    /// # Errors
    /// Nothing of it is kept then.
    pub fn save(&self, captured: &Captured) -> Result<Manifest, StoreError> {
        let saved = self.write(captured);
        if saved.is_ok() {
            captured.stored()
        } else {
            captured.lost()
        }
        saved
    }

    fn write(&self, captured: &Captured) -> Result<Manifest, StoreError> {
        let draft = self.draft();
        let manifest = captured.seal(|id, bytes| draft.put(id, bytes).map(drop))?;
        draft.finish(&manifest)?;
        Ok(manifest)
    }

    /// A checkpoint that is to be written chunk by chunk.
    pub fn draft(&self) -> Draft<&Self> {
        Draft::new(self)
    }

    /// The same, for whoever outlives a borrow.
    pub fn shared_draft(self: &Arc<Self>) -> Draft<Arc<Self>> {
        Draft::new(Arc::clone(self))
    }

    /// Whether a chunk is there.
    #[must_use]
    pub fn has(&self, id: &ChunkId) -> bool {
        self.files.has(id)
    }

    /// Whether a checkpoint is there with every chunk. Looks at as many files as it has chunks.
    ///
    /// # Errors
    /// When its manifest is damaged or cannot be read.
    pub fn holds(&self, group: GroupId, root: Root) -> Result<bool, StoreError> {
        let manifest = self.manifest(group, root)?;
        Ok(manifest.is_some_and(|manifest| manifest.chunks().iter().all(|id| self.has(id))))
    }

    /// The checkpoints of a group, newest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self, group: GroupId) -> Result<Vec<(Position, Root)>, StoreError> {
        let mut all = self.files.manifests(group)?;
        all.sort_unstable_by(|one, other| other.cmp(one));
        Ok(all)
    }

    /// The manifest of a checkpoint; `None` when it is not there.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub fn manifest(&self, group: GroupId, root: Root) -> Result<Option<Manifest>, StoreError> {
        let position = self.list(group)?.into_iter().find(|(_, found)| *found == root).map(|(position, _)| position);
        let Some(position) = position else { return Ok(None) };
        self.files.manifest(group, position, root).map(Some)
    }

    /// The manifest with a root, whatever its group; `None` when it is not there.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub fn find(&self, root: Root) -> Result<Option<Manifest>, StoreError> {
        for group in self.files.groups()? {
            if let Some(manifest) = self.manifest(group, root)? {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }

    /// These checkpoints of a group were agreed on last: they are kept until others are.
    pub fn agreed(&self, group: GroupId, roots: &[Root]) {
        self.agreed.lock().insert(group, roots.to_vec());
    }

    /// Removes everything of a group.
    ///
    /// # Errors
    /// When files cannot be removed.
    pub fn remove_group(&self, group: GroupId) -> Result<(), StoreError> {
        self.agreed.lock().remove(&group);
        self.files.remove_group(group)?;
        self.collect()
    }

    /// Keeps what is to be kept of a group, and removes the rest.
    fn tidy(&self, group: GroupId) -> Result<(), StoreError> {
        let agreed = self.agreed.lock().get(&group).cloned().unwrap_or_default();
        let all = self.list(group)?;
        let mut positions: Vec<Position> = all.iter().map(|(position, _)| *position).collect();
        positions.dedup();
        positions.truncate(KEPT_POSITIONS);
        for (index, (position, root)) in all.iter().enumerate() {
            let kept = agreed.contains(root) || (positions.contains(position) && index < MAX_MANIFESTS);
            if !kept {
                self.files.remove_manifest(group, *position, *root)?;
            }
        }
        self.collect()
    }

    /// Removes chunks that nothing names.
    fn collect(&self) -> Result<(), StoreError> {
        let collecting = Collecting::begin(&self.held);
        // In this order: a chunk that is stored after the list was made is not in it.
        let there = self.files.chunks()?;
        let named = self.named_chunks()?;
        for id in there.iter().filter(|id| !named.contains(id)) {
            // With the lock: a draft that wants the chunk from now on finds that it is gone.
            let held = self.held.lock();
            if !held.has(id) {
                self.files.remove_chunk(id)?;
            }
        }
        drop(collecting);
        Ok(())
    }

    /// The chunks of all manifests. A damaged manifest names none, and is removed; one of another version is somebody
    /// else's, and an error.
    fn named_chunks(&self) -> Result<BTreeSet<ChunkId>, StoreError> {
        let mut named = BTreeSet::new();
        for group in self.files.groups()? {
            for (position, root) in self.files.manifests(group)? {
                match self.files.manifest(group, position, root) {
                    Ok(manifest) => named.extend(manifest.chunks()),
                    Err(error @ StoreError::Manifest { source: ManifestError::Version(_), .. }) => return Err(error),
                    Err(error @ StoreError::Manifest { .. }) => {
                        tracing::warn!(%group, %position, %error, "damaged manifest removed");
                        self.files.remove_manifest(group, position, root)?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(named)
    }
}

impl CheckpointStore {
    /// Reads a chunk and checks it. A damaged one is removed, so that it is fetched or written again.
    fn read(&self, id: &ChunkId, target: &mut [u8]) -> Result<usize, ChunkError> {
        let length = self.files.chunk_into(id, target);
        let read = length.and_then(|length| verify(id, &target[..length]).map(|()| length));
        if let Err(error @ ChunkError::Damaged { .. }) = &read {
            tracing::warn!(%error, "damaged chunk removed");
            if let Err(error) = self.files.remove_chunk(id) {
                tracing::warn!(%error, "it could not be removed");
            }
        }
        read
    }
}

impl ChunkSource for CheckpointStore {
    fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkError> {
        let mut bytes = vec![0; CHUNK_BYTES];
        let length = self.read(id, &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn chunk_into(&self, id: &ChunkId, target: &mut [u8]) -> Result<(), ChunkError> {
        let length = self.read(id, target)?;
        sized(id, length, target.len())
    }
}
