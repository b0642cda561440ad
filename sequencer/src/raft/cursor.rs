//! Reading the fields of a message, and writing those that several share. `None` means that the bytes end too early
//! or have no meaning.
//!
//! A vote is `term u64 | node u64 | committed u8`; the id of an entry that may be absent is
//! `present u8 | term u64 | index u64`.

use bytes::Bytes;

use super::types::{LogId, Vote, to_log_id};
use crate::frame::{END_OF_INDEXES, EntryId};

/// A place in received bytes.
pub(crate) struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next bytes, sharing the buffer.
    pub(crate) fn take(&mut self, len: usize) -> Option<Bytes> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.bytes.get(self.at..self.at.checked_add(N)?)?;
        self.at += N;
        bytes.try_into().ok()
    }

    /// A count, and so many items of `size` bytes each.
    pub(crate) fn counted(&mut self, size: usize) -> Option<Bytes> {
        let count = self.u32()? as usize;
        self.take(count.checked_mul(size)?)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A term, or the index of an entry: one can be added to it.
    fn bounded(&mut self) -> Option<u64> {
        self.u64().filter(|number| *number < END_OF_INDEXES)
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(crate) fn vote(&mut self) -> Option<Vote> {
        let mut vote = Vote::new(self.bounded()?, self.u64()?);
        vote.committed = self.flag()?;
        Some(vote)
    }

    /// The outer `None` is for bytes without meaning, the inner one for no entry.
    #[expect(clippy::option_option, reason = "an id that may be absent, in bytes that may be bad")]
    pub(crate) fn log_id(&mut self) -> Option<Option<LogId>> {
        let (present, term, index) = (self.flag()?, self.bounded()?, self.bounded()?);
        Some(present.then(|| to_log_id(EntryId { term, node: 0, index })))
    }

    pub(crate) fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        rest
    }

    pub(crate) fn end(&self) -> Option<()> {
        (self.at == self.bytes.len()).then_some(())
    }
}

pub(crate) fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.extend_from_slice(&vote.leader_id.term.to_le_bytes());
    out.extend_from_slice(&vote.leader_id.voted_for.to_le_bytes());
    out.push(u8::from(vote.committed));
}

pub(crate) fn put_log_id(out: &mut Vec<u8>, id: Option<LogId>) {
    out.push(u8::from(id.is_some()));
    out.extend_from_slice(&id.map_or(0, |id| id.leader_id.term).to_le_bytes());
    out.extend_from_slice(&id.map_or(0, |id| id.index).to_le_bytes());
}
