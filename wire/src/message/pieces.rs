//! Something large, cut into pieces of at most 1 MiB, and put together again.

use bytes::{BufMut, Bytes, BytesMut};

use super::{bulk, unknown};
use crate::DecodeError;
use crate::limits::MAX_PIECE_BYTES;
use crate::reader::{Reader, bounded};

/// One piece. Not empty, unless the whole is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the whole.
    pub total: u64,
    /// Where in the whole these bytes begin.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl Piece {
    /// Whether the whole ends with this piece.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.offset + self.bytes.len() as u64 == self.total
    }

    /// `whole` in pieces, in order, without a copy.
    pub fn cut(whole: &Bytes) -> impl Iterator<Item = Self> + '_ {
        let total = whole.len() as u64;
        (0..whole.len().div_ceil(MAX_PIECE_BYTES).max(1)).map(move |index| {
            let from = index * MAX_PIECE_BYTES;
            let bytes = whole.slice(from..whole.len().min(from + MAX_PIECE_BYTES));
            Self { total, offset: from as u64, bytes }
        })
    }
}

/// The fields of a piece before its bytes.
pub(super) fn put_piece(out: &mut Vec<u8>, piece: &Piece) {
    debug_assert!(piece.bytes.len() <= MAX_PIECE_BYTES, "a piece is cut before it is sent");
    out.put_u64_le(piece.total);
    out.put_u64_le(piece.offset);
}

/// A piece of a whole of at most `limit` bytes; it takes the rest of the payload.
pub(super) fn read_piece(reader: &mut Reader<'_>, limit: u64) -> Result<Piece, DecodeError> {
    let total = reader.u64("piece total")?;
    if total > limit {
        return Err(DecodeError::TooLarge { what: "piece total", value: total, limit });
    }
    let offset = reader.u64("piece offset")?;
    let bytes = bulk(reader, "piece length", MAX_PIECE_BYTES)?;
    let end = offset.saturating_add(bytes.len() as u64);
    if end > total {
        return Err(DecodeError::TooLarge { what: "piece end", value: end, limit: total });
    }
    if bytes.is_empty() && total > 0 {
        return Err(DecodeError::Short { what: "piece", needed: 1, left: 0 });
    }
    Ok(Piece { total, offset, bytes })
}

/// Puts the pieces of one thing together. They must come in order.
#[derive(Debug)]
pub struct Assembly {
    max_bytes: usize,
    total: Option<u64>,
    joined: BytesMut,
}

impl Assembly {
    /// For a whole of at most `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, total: None, joined: BytesMut::new() }
    }

    /// Bytes that are there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.joined.len()
    }

    /// Whether nothing is there yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    /// Takes the next piece; the whole when it was the last one, and then the next thing may begin.
    ///
    /// # Errors
    /// When the whole is too large, or the piece does not follow on the one before. What was there is dropped then.
    pub fn push(&mut self, piece: &Piece) -> Result<Option<Bytes>, DecodeError> {
        if let Err(error) = self.check(piece) {
            *self = Self::new(self.max_bytes);
            return Err(error);
        }
        self.total = Some(piece.total);
        if piece.is_last() && self.joined.is_empty() {
            self.total = None;
            return Ok(Some(piece.bytes.clone()));
        }
        self.joined.extend_from_slice(&piece.bytes);
        if !piece.is_last() {
            return Ok(None);
        }
        self.total = None;
        Ok(Some(std::mem::take(&mut self.joined).freeze()))
    }

    fn check(&self, piece: &Piece) -> Result<(), DecodeError> {
        bounded("piece total", usize::try_from(piece.total).unwrap_or(usize::MAX), self.max_bytes)?;
        if self.total.is_some_and(|total| total != piece.total) {
            return unknown("piece total", piece.total);
        }
        let end = piece.offset.saturating_add(piece.bytes.len() as u64);
        if piece.offset != self.joined.len() as u64 || end > piece.total {
            return unknown("piece offset", piece.offset);
        }
        Ok(())
    }
}
