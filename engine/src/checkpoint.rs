//! Checkpoints: a replica's whole state at a position, as content-addressed chunks under one root.
//!
//! Guarantees: the root is a function of what the guest can see, so that equal replicas have equal roots whatever they
//! captured before; what is read back is what was written, or an error. A replica that was restored gives, from then
//! on, the same votes, effects and digests as the one that was captured (invariant 1).
//!
//! Reading order: `image` (a guest's memories and globals), [`Captured`] (an image, a kernel, a position), [`manifest`]
//! (the list of chunks, and the root), [`store`] (a folder), [`restore`] (back into an instance), [`fetch`] (which
//! chunk to ask of whom). Leaves to others: when a checkpoint is taken, and what its root is compared with.

mod archive;
mod captured;
pub mod chunk;
pub(crate) mod dirty;
pub mod fetch;
pub(crate) mod image;
pub mod manifest;
pub mod restore;
pub mod store;

pub use archive::CheckpointArchive;
pub use captured::Captured;
pub use chunk::{CHUNK_BYTES, ChunkError, ChunkId, ChunkSource};
pub use manifest::{Manifest, ManifestError, Root};
pub use restore::RestoreError;
pub use store::{CheckpointStore, StoreError};
