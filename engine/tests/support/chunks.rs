//! Checkpoints in memory, and restoring from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use refrain_engine::Replica;
use refrain_engine::checkpoint::chunk::verify;
use refrain_engine::checkpoint::{Captured, ChunkError, ChunkId, ChunkSource, Manifest};

use super::Rig;

/// Chunks in memory.
#[derive(Default, Clone)]
pub struct Chunks(pub BTreeMap<ChunkId, Arc<[u8]>>);

impl ChunkSource for Chunks {
    fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkError> {
        let bytes = self.0.get(id).ok_or(ChunkError::Missing { id: *id })?;
        verify(id, bytes)?;
        Ok(bytes.to_vec())
    }
}

impl Chunks {
    /// Takes everything of a checkpoint in.
    pub fn seal(&mut self, captured: &Captured) -> Manifest {
        let put = |id: ChunkId, bytes: &[u8]| {
            self.0.insert(id, bytes.into());
            Ok::<(), ()>(())
        };
        captured.seal(put).unwrap()
    }
}

/// A replica from a checkpoint, in the place of the one of `rig`.
pub fn restored(rig: &Rig, manifest: &Manifest, chunks: &Chunks) -> Rig {
    let opened = Manifest::open(manifest.bytes(), manifest.root()).unwrap();
    assert_eq!(&opened, manifest);
    let chunks = Arc::new(chunks.clone());
    let replica = Replica::restore(rig.replica.id(), rig.blueprint.clone(), &opened, chunks).unwrap();
    Rig { blueprint: rig.blueprint.clone(), replica, position: rig.position, micros: rig.micros }
}
