//! A folder of checkpoints that is looked at and left as it is: a stopped node's, or a copy.

use std::path::Path;

use refrain_wire::{GroupId, Position};

use super::chunk::{CHUNK_BYTES, ChunkError, ChunkId, ChunkSource, sized, verify};
use super::manifest::{Manifest, Root};
use super::store::StoreError;
use super::store::files::Files;

/// The folder of a [`super::CheckpointStore`], to be read. Nothing in it is changed, not even what is damaged.
pub struct CheckpointArchive {
    files: Files,
}

impl CheckpointArchive {
    /// The checkpoints in a folder; none when it is not there.
    #[must_use]
    pub fn open(folder: &Path) -> Self {
        Self { files: Files::at(folder) }
    }

    /// The checkpoints of a group, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self, group: GroupId) -> Result<Vec<(Position, Root)>, StoreError> {
        let mut all = self.files.manifests(group)?;
        all.sort_unstable();
        Ok(all)
    }

    /// A checkpoint.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub fn manifest(&self, group: GroupId, (position, root): (Position, Root)) -> Result<Manifest, StoreError> {
        self.files.manifest(group, position, root)
    }
}

impl ChunkSource for CheckpointArchive {
    fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkError> {
        let mut bytes = vec![0; CHUNK_BYTES];
        let length = self.files.chunk_into(id, &mut bytes)?;
        bytes.truncate(length);
        verify(id, &bytes)?;
        Ok(bytes)
    }

    fn chunk_into(&self, id: &ChunkId, target: &mut [u8]) -> Result<(), ChunkError> {
        let length = self.files.chunk_into(id, target)?;
        verify(id, &target[..length])?;
        sized(id, length, target.len())
    }
}
