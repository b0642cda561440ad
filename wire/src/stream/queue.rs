//! Frames that wait to be written: small ones gathered in one buffer, large payloads passed on without a copy.
//!
//! It is a [`Buf`] with vectored chunks: whoever writes it hands out everything that waits with few calls. It has no
//! limit of its own; who fills it looks at [`FrameQueue::len`] and holds back.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::{FRAME_HEADER_BYTES, frame_header};
use crate::Vote;

/// Pieces below this are copied: a copy is cheaper than a piece of its own.
const COPY_BELOW_BYTES: usize = 4096;
/// A gathering buffer is closed from here on, so that it is not moved as it grows.
const GATHER_BYTES: usize = 64 * 1024;

/// Frames that wait to be written.
#[derive(Debug, Default)]
pub struct FrameQueue {
    closed: VecDeque<Bytes>,
    closed_bytes: usize,
    open: Vec<u8>,
    /// Bytes at the beginning of `open` that are written already.
    written: usize,
}

impl FrameQueue {
    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.closed_bytes + self.open.len() - self.written
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a frame.
    pub fn frame(&mut self, kind: u8, payload: &[u8]) {
        self.frame_with(kind, |out| out.extend_from_slice(payload), std::iter::empty());
    }

    /// Adds a frame whose payload is what `fill` appends, and then the pieces. Large pieces are not copied.
    pub fn frame_with<'a>(
        &mut self,
        kind: u8,
        fill: impl FnOnce(&mut Vec<u8>),
        pieces: impl Iterator<Item = &'a Bytes> + Clone,
    ) {
        let start = self.open.len();
        self.open.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        fill(&mut self.open);
        let (before, filled) = self.open.split_at_mut(start + FRAME_HEADER_BYTES);
        let all = std::iter::once(&*filled).chain(pieces.clone().map(|piece| &**piece));
        before[start..].copy_from_slice(&frame_header(kind, all));
        pieces.for_each(|piece| self.piece(piece));
        if self.open.len() >= GATHER_BYTES {
            self.close();
        }
    }

    /// Adds a vote.
    pub fn vote(&mut self, vote: &Vote) {
        self.open.extend_from_slice(&vote.encode());
    }

    /// Adds bytes that are no frame: a greeting.
    pub fn unframed(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        fill(&mut self.open);
    }

    fn piece(&mut self, piece: &Bytes) {
        if piece.len() < COPY_BELOW_BYTES {
            self.open.extend_from_slice(piece);
            return;
        }
        self.close();
        self.closed_bytes += piece.len();
        self.closed.push_back(piece.clone());
    }

    fn close(&mut self) {
        let mut gathered = Bytes::from(std::mem::take(&mut self.open));
        gathered.advance(std::mem::take(&mut self.written));
        if !gathered.is_empty() {
            self.closed_bytes += gathered.len();
            self.closed.push_back(gathered);
        }
    }
}

impl Buf for FrameQueue {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.closed.front().map_or(&self.open[self.written..], |bytes| bytes)
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let open = &self.open[self.written..];
        let chunks = self.closed.iter().map(|bytes| &**bytes).chain((!open.is_empty()).then_some(open));
        out.iter_mut().zip(chunks).map(|(slot, chunk)| *slot = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len(), "advanced by {count} of {} bytes", self.len());
        while let Some(front) = self.closed.front_mut() {
            if count < front.len() {
                front.advance(count);
                self.closed_bytes -= count;
                return;
            }
            count -= front.len();
            self.closed_bytes -= front.len();
            self.closed.pop_front();
        }
        self.written += count;
        if self.written == self.open.len() {
            self.open.clear();
            self.written = 0;
        }
    }
}
