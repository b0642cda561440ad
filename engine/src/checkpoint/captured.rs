//! A replica's whole state as it was after one turn, ready to be hashed and stored.

use std::time::Duration;

use refrain_kernel::Snapshot;
use refrain_wire::{Digest, GroupId, Position, RunningDigest};

use super::chunk::{CHUNK_BYTES, ChunkId};
use super::image::{Image, MemoryImage};
use super::manifest::{Blob, GuestParts, Manifest, MemoryParts, Parts};
use crate::replica::Blueprint;

/// What was copied at the end of a turn. Nothing in it changes any more.
pub struct Captured {
    group: GroupId,
    position: Position,
    running: RunningDigest,
    bundle: [u8; 32],
    key: Digest,
    guest: Option<Image>,
    kernel: Snapshot,
    pause: Duration,
}

impl std::fmt::Debug for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Captured(group {} position {})", self.group, self.position)
    }
}

impl Captured {
    pub(crate) fn new(
        blueprint: &Blueprint,
        (position, running): (Position, RunningDigest),
        guest: Option<Image>,
        kernel: Snapshot,
        pause: Duration,
    ) -> Self {
        let (bundle, key) = (blueprint.digest, blueprint.compiled.platform.key());
        Self { group: blueprint.group, position, running, bundle, key, guest, kernel, pause }
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// How long the replica stood still for it.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// After which turn.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Hashes the state and hands every chunk that was not stored before to `put`.
    ///
    /// # Errors
    /// The first one of `put`.
    pub fn seal<E>(&self, mut put: impl FnMut(ChunkId, &[u8]) -> Result<(), E>) -> Result<Manifest, E> {
        let guest = match &self.guest {
            Some(image) => Some(seal_guest(image, &mut put)?),
            None => None,
        };
        let (mut contents, mut failed) = (Vec::new(), None);
        let kernel = self.kernel.encode(&mut |digest, bytes| {
            let id = ChunkId(digest);
            contents.push(id);
            if failed.is_none() {
                failed = put(id, bytes).err();
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        contents.sort_unstable();
        contents.dedup();
        let kernel = seal_blob(&kernel, &mut put)?;
        let Self { group, position, running, bundle, key, .. } = *self;
        Ok(Manifest::new(Parts { group, position, running, bundle, key, guest, kernel, contents }))
    }

    /// It could not be stored: the next one starts afresh.
    pub fn lost(&self) {
        if let Some(image) = &self.guest {
            image.lost.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Frees the copied memory: every chunk is stored.
    pub fn stored(&self) {
        let memories = self.guest.iter().flat_map(|image| &image.memories);
        memories.flatten().flatten().for_each(|page| page.give_up());
    }
}

fn seal_guest<E>(image: &Image, put: &mut impl FnMut(ChunkId, &[u8]) -> Result<(), E>) -> Result<GuestParts, E> {
    let memories: Result<Vec<_>, E> = image.memories.iter().map(|memory| seal_memory(memory, put)).collect();
    Ok(GuestParts { memory_refused: image.memory_refused, memories: memories?, globals: image.globals.clone() })
}

fn seal_memory<E>(
    memory: &MemoryImage,
    put: &mut impl FnMut(ChunkId, &[u8]) -> Result<(), E>,
) -> Result<MemoryParts, E> {
    let mut chunks = Vec::new();
    for (index, page) in memory.iter().enumerate() {
        if let Some(page) = page {
            page.look(|bytes| put(page.id_of(bytes), bytes)).transpose()?;
            chunks.push((index as u32, page.id()));
        }
    }
    Ok(MemoryParts { pages: memory.len() as u32, chunks })
}

fn seal_blob<E>(bytes: &[u8], put: &mut impl FnMut(ChunkId, &[u8]) -> Result<(), E>) -> Result<Blob, E> {
    let mut chunks = Vec::with_capacity(bytes.len().div_ceil(CHUNK_BYTES));
    for chunk in bytes.chunks(CHUNK_BYTES) {
        let id = ChunkId::of(chunk);
        put(id, chunk)?;
        chunks.push(id);
    }
    Ok(Blob { bytes: bytes.len() as u64, chunks })
}
