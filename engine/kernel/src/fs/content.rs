//! The content of a regular file: a sparse map of chunks over an optional bundle file.
//!
//! A chunk that is not in the map shows the bundle file's bytes as far as they reach and zeros beyond, and costs
//! nothing. Work is proportional to the bytes given, never to the size of the file. The quota is checked by the
//! caller before.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::{self, CHUNK_BYTES, Chunk};

const CHUNK: u64 = CHUNK_BYTES as u64;

/// The part of a bundle file that is still seen where nothing was written.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) number: u32,
    pub(super) bytes: Bytes,
}

/// Invariants: a chunk's length is `chunk_limit` of its index, the base ends within the file and is not empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) size_bytes: u64,
    pub(super) base: Option<Base>,
    pub(super) chunks: BTreeMap<u64, Arc<Chunk>>,
}

impl Content {
    pub(super) fn from_bundle(number: u32, bytes: Bytes) -> Self {
        Self {
            size_bytes: bytes.len() as u64,
            base: (!bytes.is_empty()).then_some(Base { number, bytes }),
            chunks: BTreeMap::new(),
        }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn charge_bytes(&self) -> u64 {
        self.chunks.len() as u64 * CHUNK
    }

    /// What it costs to have every chunk of `start..end` written.
    pub(super) fn missing_bytes(&self, start: u64, end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        let (first, last) = (start / CHUNK, (end - 1) / CHUNK);
        let present = self.chunks.range(first..=last).count() as u64;
        (last - first + 1 - present) * CHUNK
    }

    /// Fills `buf` from `offset`; fewer bytes at the end of the file.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let left = self.size_bytes.saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        for (at, range) in pieces(offset, wanted) {
            let part = &mut buf[range];
            match self.chunks.get(&(at / CHUNK)) {
                Some(chunk) => {
                    let start = within(at);
                    part.copy_from_slice(&chunk.bytes()[start..start + part.len()]);
                }
                None => {
                    let known = self.base_bytes(at, part.len());
                    part[..known.len()].copy_from_slice(known);
                    part[known.len()..].fill(0);
                }
            }
        }
        wanted
    }

    /// Writes `data` at `offset`; a gap after the old end reads as zeros.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let end = offset + data.len() as u64;
        if offset / CHUNK > self.size_bytes / CHUNK {
            self.grow(offset);
        }
        self.size_bytes = self.size_bytes.max(end);
        for (at, range) in pieces(offset, data.len()) {
            self.write_piece(at, &data[range]);
        }
    }

    fn write_piece(&mut self, at: u64, part: &[u8]) {
        let (index, start) = (at / CHUNK, within(at));
        let limit = chunk_limit(self.size_bytes, index);
        if let Some(chunk) = self.chunks.get_mut(&index) {
            chunk::write(chunk, start, part, limit);
            return;
        }
        let fresh = if start == 0 && part.len() == limit {
            Arc::new(Chunk::new(part.to_vec()))
        } else {
            let mut seeded = self.seed(index);
            chunk::write(&mut seeded, start, part, limit);
            seeded
        };
        self.chunks.insert(index, fresh);
    }

    /// A file of exactly `size_bytes`: cut, or lengthened by zeros.
    pub(super) fn resize(&mut self, size_bytes: u64) {
        if size_bytes >= self.size_bytes {
            self.grow(size_bytes);
            return;
        }
        drop(self.chunks.split_off(&size_bytes.div_ceil(CHUNK)));
        self.size_bytes = size_bytes;
        let tail = size_bytes / CHUNK;
        if let Some(chunk) = self.chunks.get_mut(&tail) {
            chunk::resize(chunk, chunk_limit(size_bytes, tail));
        }
        if let Some(base) = &mut self.base {
            base.bytes.truncate(usize::try_from(size_bytes).unwrap_or(usize::MAX));
        }
        if size_bytes == 0 {
            self.base = None;
        }
    }

    fn grow(&mut self, size_bytes: u64) {
        let tail = self.size_bytes / CHUNK;
        self.size_bytes = size_bytes;
        if let Some(chunk) = self.chunks.get_mut(&tail) {
            chunk::resize(chunk, chunk_limit(size_bytes, tail));
        }
    }

    /// Has every chunk of `start..end` written, with the content that it shows already.
    pub(super) fn materialise(&mut self, start: u64, end: u64) {
        if end > self.size_bytes {
            self.grow(end);
        }
        for index in start / CHUNK..end.div_ceil(CHUNK) {
            if !self.chunks.contains_key(&index) {
                let mut seeded = self.seed(index);
                chunk::resize(&mut seeded, chunk_limit(self.size_bytes, index));
                self.chunks.insert(index, seeded);
            }
        }
    }

    /// A new chunk with what the bundle file shows at its place.
    fn seed(&self, index: u64) -> Arc<Chunk> {
        let shown = self.base_bytes(index * CHUNK, CHUNK_BYTES);
        Arc::new(Chunk::new(shown.to_vec()))
    }

    fn base_bytes(&self, at: u64, len: usize) -> &[u8] {
        let bytes = self.base.as_ref().map_or(&[][..], |base| &base.bytes);
        let start = usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
        &bytes[start..bytes.len().min(start.saturating_add(len))]
    }
}

/// How many bytes the chunk at `index` holds in a file of `size_bytes`.
pub(super) fn chunk_limit(size_bytes: u64, index: u64) -> usize {
    let left = size_bytes.saturating_sub(index.saturating_mul(CHUNK));
    usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES))
}

fn within(at: u64) -> usize {
    usize::try_from(at % CHUNK).expect("less than a chunk")
}

/// Cuts `len` bytes at file offset `offset` at the chunk borders: file offset and range of the caller's buffer.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let step = (CHUNK_BYTES - within(at)).min(len - done);
        let range = done..done + step;
        done += step;
        (step > 0).then_some((at, range))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{CHUNK_BYTES, Content};

    const CHUNK: u64 = CHUNK_BYTES as u64;

    fn all(content: &Content) -> Vec<u8> {
        let mut buf = vec![0xee; usize::try_from(content.size_bytes).unwrap() + 3];
        let read = content.read(0, &mut buf);
        buf.truncate(read);
        buf
    }

    #[test]
    fn writes_across_chunk_borders_read_back() {
        let mut content = Content::default();
        let data: Vec<u8> = (0..3 * CHUNK_BYTES).map(|i| (i % 251) as u8).collect();
        content.write(CHUNK - 5, &data);
        content.write(2 * CHUNK - 1, b"XY");
        let mut expected = vec![0; CHUNK_BYTES - 5];
        expected.extend_from_slice(&data);
        expected[2 * CHUNK_BYTES - 1..2 * CHUNK_BYTES + 1].copy_from_slice(b"XY");
        assert_eq!(all(&content), expected);
        let mut part = [0; 4];
        assert_eq!(content.read(2 * CHUNK - 2, &mut part), 4);
        assert_eq!(part, expected[2 * CHUNK_BYTES - 2..2 * CHUNK_BYTES + 2]);
        assert_eq!(content.read(4 * CHUNK, &mut part), 0);
    }

    #[test]
    fn cut_bytes_never_come_back_when_the_file_grows_again() {
        let mut content = Content::from_bundle(0, Bytes::from(vec![3; CHUNK_BYTES + 10]));
        content.write(5, b"abc");
        content.resize(6);
        content.resize(2 * CHUNK);
        let mut expected = vec![3, 3, 3, 3, 3, b'a'];
        expected.resize(2 * CHUNK_BYTES, 0);
        assert_eq!(all(&content), expected);
        content.resize(0);
        content.write(CHUNK + 1, b"z");
        expected = vec![0; CHUNK_BYTES + 1];
        expected.push(b'z');
        assert_eq!(all(&content), expected);
    }

    #[test]
    fn a_write_copies_only_the_touched_chunk_of_a_bundle_file() {
        let bundle = Bytes::from(vec![9; 3 * CHUNK_BYTES]);
        let mut content = Content::from_bundle(0, bundle.clone());
        content.write(CHUNK + 1, b"x");
        assert_eq!(content.chunks.len(), 1);
        assert!(bundle.iter().all(|byte| *byte == 9));
        let mut expected = bundle.to_vec();
        expected[CHUNK_BYTES + 1] = b'x';
        assert_eq!(all(&content), expected);
    }

    #[test]
    fn a_write_leaves_the_chunks_it_does_not_touch_shared_with_a_clone() {
        let mut content = Content::default();
        content.write(0, &vec![1; 2 * CHUNK_BYTES]);
        let held = content.clone();
        content.write(0, b"x");
        assert!(Arc::ptr_eq(&content.chunks[&1], &held.chunks[&1]));
        assert_eq!(all(&held), vec![1; 2 * CHUNK_BYTES]);
    }

    #[test]
    fn materialising_changes_the_cost_and_not_the_content() {
        let mut content = Content::from_bundle(0, Bytes::from(vec![4; 100]));
        let missing = content.missing_bytes(50, CHUNK + 1);
        content.materialise(50, CHUNK + 1);
        assert_eq!(content.charge_bytes(), missing);
        let mut expected = vec![4; 100];
        expected.resize(CHUNK_BYTES + 1, 0);
        assert_eq!(all(&content), expected);
    }
}
