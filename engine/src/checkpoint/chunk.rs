//! The pieces that checkpoints are made of, named by their content.

use std::fmt;

/// The most bytes of a chunk: one page of linear memory.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// The BLAKE3 digest of a chunk's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub [u8; 32]);

impl ChunkId {
    /// The name of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({self})")
    }
}

/// Why a chunk could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// It is not there.
    #[error("chunk {id} is not there")]
    Missing {
        /// Which.
        id: ChunkId,
    },
    /// What is there is something else.
    #[error("chunk {id} is damaged: {what}")]
    Damaged {
        /// Which.
        id: ChunkId,
        /// In what way.
        what: String,
    },
    /// It could not be read.
    #[error("chunk {id} cannot be read")]
    Read {
        /// Which.
        id: ChunkId,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Where chunks are read from, by several threads at once. A call may wait until the chunk has come.
pub trait ChunkSource: Send + Sync {
    /// The bytes of a chunk, checked: their digest is `id`.
    ///
    /// # Errors
    /// The chunk is named in the error.
    fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>, ChunkError>;

    /// Fills `target` with a chunk that must be as long. What is in it after an error is undefined.
    ///
    /// # Errors
    /// The chunk is named in the error.
    fn chunk_into(&self, id: &ChunkId, target: &mut [u8]) -> Result<(), ChunkError> {
        let bytes = self.chunk(id)?;
        sized(id, bytes.len(), target.len())?;
        target.copy_from_slice(&bytes);
        Ok(())
    }
}

/// Checks that a chunk of `found` bytes has `expected`.
pub(crate) fn sized(id: &ChunkId, found: usize, expected: usize) -> Result<(), ChunkError> {
    if found == expected {
        return Ok(());
    }
    Err(ChunkError::Damaged { id: *id, what: format!("it has {found} bytes, expected {expected}") })
}

/// Checks that these are the bytes of `id`.
///
/// # Errors
/// [`ChunkError::Damaged`].
pub fn verify(id: &ChunkId, bytes: &[u8]) -> Result<(), ChunkError> {
    if bytes.len() > CHUNK_BYTES {
        let what = format!("it has {} bytes, more than {CHUNK_BYTES}", bytes.len());
        return Err(ChunkError::Damaged { id: *id, what });
    }
    let found = ChunkId::of(bytes);
    if found == *id { Ok(()) } else { Err(ChunkError::Damaged { id: *id, what: format!("its digest is {found}") }) }
}
