//! One chunk of written file content.
//!
//! Chunks are shared by reference and copied when one of several owners writes. A chunk's bytes end where the file
//! ends, so equal content has one form. The hash is kept until the next write: an audit hashes what changed.

use std::sync::{Arc, OnceLock};

/// Content is stored, shared, hashed and charged in pieces of this size.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Up to here a chunk's memory doubles as it grows; above, it takes the full size at once and never moves again.
const SMALL_BYTES: usize = 4096;

#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    hash: OnceLock<blake3::Hash>,
}

impl Chunk {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        debug_assert!(bytes.len() <= CHUNK_BYTES);
        Self { bytes, hash: OnceLock::new() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn hash(&self) -> &blake3::Hash {
        self.hash.get_or_init(|| blake3::hash(&self.bytes))
    }

    /// Writes `part` at `start`. The chunk ends up with at least `limit` bytes; gaps are zero.
    fn write(&mut self, start: usize, part: &[u8], limit: usize) {
        self.hash.take();
        self.reserve(limit);
        if self.bytes.len() < start {
            self.bytes.resize(start, 0);
        }
        let over = part.len().min(self.bytes.len() - start);
        self.bytes[start..start + over].copy_from_slice(&part[..over]);
        self.bytes.extend_from_slice(&part[over..]);
        if self.bytes.len() < limit {
            self.bytes.resize(limit, 0);
        }
    }

    fn resize(&mut self, len: usize) {
        self.hash.take();
        self.reserve(len);
        self.bytes.resize(len, 0);
    }

    fn reserve(&mut self, len: usize) {
        if len > self.bytes.capacity() {
            let room = if len <= SMALL_BYTES { len.next_power_of_two() } else { CHUNK_BYTES };
            self.bytes.reserve_exact(room - self.bytes.len());
        }
    }
}

/// Writes into a chunk: in place when this is its only owner, else into a copy. A write of the whole chunk copies
/// nothing old.
pub(super) fn write(chunk: &mut Arc<Chunk>, start: usize, part: &[u8], limit: usize) {
    if start == 0 && part.len() == limit && Arc::get_mut(chunk).is_none() {
        *chunk = Arc::new(Chunk::new(part.to_vec()));
    } else {
        Arc::make_mut(chunk).write(start, part, limit);
    }
}

/// Cuts a chunk, or lengthens it with zeros.
pub(super) fn resize(chunk: &mut Arc<Chunk>, len: usize) {
    if chunk.bytes.len() == len {
        return;
    }
    match Arc::get_mut(chunk) {
        Some(own) => own.resize(len),
        None => {
            let kept = &chunk.bytes[..len.min(chunk.bytes.len())];
            let mut copy = Chunk::new(kept.to_vec());
            copy.resize(len);
            *chunk = Arc::new(copy);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{CHUNK_BYTES, Chunk, SMALL_BYTES, resize, write};

    #[test]
    fn appends_to_an_owned_chunk_never_move_it_once_it_is_not_small() {
        let mut chunk = Arc::new(Chunk::default());
        write(&mut chunk, 0, &[1; SMALL_BYTES + 1], SMALL_BYTES + 1);
        let place = chunk.bytes().as_ptr();
        for end in (SMALL_BYTES + 2)..=CHUNK_BYTES {
            write(&mut chunk, end - 1, &[2], end);
        }
        assert_eq!(chunk.bytes().len(), CHUNK_BYTES);
        assert_eq!(chunk.bytes().as_ptr(), place);
    }

    #[test]
    fn writing_a_shared_chunk_leaves_the_other_owner_its_bytes_and_hash() {
        let mut chunk = Arc::new(Chunk::new(vec![1; 10]));
        let other = Arc::clone(&chunk);
        let hash = *other.hash();
        write(&mut chunk, 3, &[9], 10);
        write(&mut chunk, 0, &[8], 10);
        resize(&mut chunk, 12);
        assert_eq!(other.bytes(), [1; 10]);
        assert_eq!(*other.hash(), hash);
        assert_eq!(chunk.bytes(), [8, 1, 1, 9, 1, 1, 1, 1, 1, 1, 0, 0]);
        assert_eq!(*chunk.hash(), blake3::hash(chunk.bytes()));
    }

    #[test]
    fn the_hash_follows_every_kind_of_change() {
        let mut chunk = Arc::new(Chunk::new(vec![5; 20]));
        let check = |chunk: &Arc<Chunk>| assert_eq!(*chunk.hash(), blake3::hash(chunk.bytes()));
        check(&chunk);
        write(&mut chunk, 0, &[6; 20], 20);
        check(&chunk);
        write(&mut chunk, 19, &[7, 7], 21);
        check(&chunk);
        resize(&mut chunk, 4);
        check(&chunk);
        resize(&mut chunk, 6);
        check(&chunk);
    }
}
