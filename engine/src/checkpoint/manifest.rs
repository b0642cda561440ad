//! The manifest of a checkpoint: everything that is not in a chunk, and the names of all chunks. Its digest is the root.
//!
//! ```text
//! "RFCK" | version u16 | group u32 | position u64 | running digest 32 | bundle digest 32 | compatibility key 16
//! guest u8: 0 none | 1, then flags u8 (1: memory was refused)
//!   memories u8 | memory: pages u32, chunks u32, (page u32, chunk 32)...
//!   globals u32 | 16 bytes each
//! kernel: bytes u64 | chunk 32 for each 64 KiB of it
//! contents u32 | chunk 32 each, in order
//! ```
//!
//! Canonical: pages and contents rise, a chunk of zeros is never named, nothing follows the end.

use std::collections::BTreeSet;
use std::fmt;

use refrain_inspect::asyncify::MAX_MEMORIES;
use refrain_wire::{Digest, GroupId, Position, RunningDigest};

use super::chunk::{CHUNK_BYTES, ChunkId};

mod codec;
mod difference;

pub use difference::Difference;

/// The most bytes of a manifest.
pub const MAX_MANIFEST_BYTES: usize = 64 * 1024 * 1024;
/// The version of the format.
const VERSION: u16 = 2;
/// Pages of a 32-bit memory.
pub const MAX_PAGES: u32 = 65_536;

/// The BLAKE3 digest of a manifest: two replicas with equal roots have equal states.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root(pub [u8; 32]);

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

/// Why bytes are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// They are something else than was asked for.
    #[error("the manifest has the root {found}, expected {expected}")]
    Root {
        /// What was asked for.
        expected: Root,
        /// What it is.
        found: Root,
    },
    /// They end too early, or are no manifest at all.
    #[error("the manifest ends too early, in {inside}")]
    Truncated {
        /// What is cut.
        inside: &'static str,
    },
    /// A rule of the format is broken.
    #[error("the manifest is not valid: {rule}")]
    Rule {
        /// The rule.
        rule: &'static str,
    },
    /// A version that this build does not know.
    #[error("the manifest has version {0}, expected {VERSION}")]
    Version(u16),
}

/// A memory: its size and its chunks that are not zero, each with the number of its page, which rise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryParts {
    /// Pages of 64 KiB.
    pub pages: u32,
    /// Page and chunk.
    pub chunks: Vec<(u32, ChunkId)>,
}

/// A guest that waits: what it has besides its kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestParts {
    /// It was refused memory.
    pub memory_refused: bool,
    /// In the order of their indices, that of the stored stack included.
    pub memories: Vec<MemoryParts>,
    /// The bits of its mutable globals in the order of their indices.
    pub globals: Vec<u128>,
}

/// Bytes cut in chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// How many bytes.
    pub bytes: u64,
    /// A chunk for each 64 KiB.
    pub chunks: Vec<ChunkId>,
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The group.
    pub group: GroupId,
    /// After which turn.
    pub position: Position,
    /// The digest of all turns up to there.
    pub running: RunningDigest,
    /// The BLAKE3 digest of the bundle that its guest runs.
    pub bundle: [u8; 32],
    /// The compatibility key of the engine.
    pub key: Digest,
    /// The guest, if it was not between two runs.
    pub guest: Option<GuestParts>,
    /// The kernel, with digests in the place of file content.
    pub kernel: Blob,
    /// The file content, in the order of the names, each once.
    pub contents: Vec<ChunkId>,
}

/// A manifest that is what its root says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    root: Root,
    bytes: Vec<u8>,
    parts: Parts,
}

impl Manifest {
    /// The manifest of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let bytes = codec::encode(&parts);
        Self { root: root_of(&bytes), bytes, parts }
    }

    /// Reads a manifest that must have this root.
    ///
    /// # Errors
    /// When it has another, or breaks a rule.
    pub fn open(bytes: &[u8], root: Root) -> Result<Self, ManifestError> {
        let found = root_of(bytes);
        if found != root {
            return Err(ManifestError::Root { expected: root, found });
        }
        Ok(Self { root, bytes: bytes.to_vec(), parts: codec::decode(bytes)? })
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> Root {
        self.root
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Every chunk that it needs, each once, in the order of their names.
    #[must_use]
    pub fn chunks(&self) -> Vec<ChunkId> {
        let mut all: Vec<ChunkId> = self.named().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The same, in the order in which a replica that is restored reads them.
    #[must_use]
    pub fn chunks_as_read(&self) -> Vec<ChunkId> {
        let mut seen = BTreeSet::new();
        self.named().filter(|id| seen.insert(*id)).collect()
    }

    fn named(&self) -> impl Iterator<Item = ChunkId> {
        let guest = self.parts.guest.iter().flat_map(|guest| &guest.memories).flat_map(|memory| &memory.chunks);
        self.parts.kernel.chunks.iter().chain(&self.parts.contents).chain(guest.map(|(_, id)| id)).copied()
    }

    /// Bytes of the guest's memories that are not zero, of its kernel and of its files.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        let memories = self.parts.guest.iter().flat_map(|guest| &guest.memories);
        let chunks = memories.map(|memory| memory.chunks.len()).sum::<usize>() + self.parts.contents.len();
        chunks as u64 * CHUNK_BYTES as u64 + self.parts.kernel.bytes
    }
}

fn root_of(bytes: &[u8]) -> Root {
    Root(*blake3::hash(bytes).as_bytes())
}

#[cfg(test)]
mod tests;
