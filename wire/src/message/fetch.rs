//! A fetch: what a node lacks, from any other that has it.
//!
//! Requests may follow each other without waiting; answers come in their order. Entries are answered at once; a
//! bundle, a manifest or a chunk comes in pieces, in order, up to the last one. Whoever asked checks entries with
//! `Entry::decode`, turns against the chain of their history, and everything else against the digest that it asked for.

use bytes::{BufMut, Bytes};

use super::pieces::{Piece, put_piece, read_piece};
use super::{FIRST_BACK, FIRST_THERE, Message, bulky, count, fields, small, unknown};
use crate::limits::{MAX_ENTRY_BYTES, MAX_FETCH_ENTRIES, MAX_FETCH_ENTRIES_BYTES, MAX_TEXT_BYTES};
use crate::reader::{Reader, bounded, put_text};
use crate::stream::FrameQueue;
use crate::{DecodeError, GroupId, Position};

const GET_ENTRIES: u8 = FIRST_THERE;
const GET_BUNDLE: u8 = FIRST_THERE + 1;
const GET_MANIFEST: u8 = FIRST_THERE + 2;
const GET_CHUNK: u8 = FIRST_THERE + 3;
const GET_TURNS: u8 = FIRST_THERE + 4;
const ENTRIES: u8 = FIRST_BACK;
const PURGED: u8 = FIRST_BACK + 1;
const PIECE: u8 = FIRST_BACK + 2;
const MISSING: u8 = FIRST_BACK + 3;
const FAILED: u8 = FIRST_BACK + 4;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Get {
    /// Committed entries from a position on: answered by `Entries` or `Purged`.
    Entries {
        /// The first one wanted.
        from: Position,
        /// The most bytes of entries wanted; one entry comes all the same.
        max_bytes: u32,
    },
    /// A bundle in its canonical form, by its digest.
    Bundle([u8; 32]),
    /// The manifest of a checkpoint, by the root.
    Manifest([u8; 32]),
    /// A chunk of a checkpoint, by its digest.
    Chunk([u8; 32]),
    /// Turns of a group after a position, from its history and the log behind it: answered by `Entries`, each a turn as
    /// histories have it, or by `Failed`.
    Turns {
        /// The group.
        group: GroupId,
        /// The last position before those that are wanted.
        after: Position,
        /// The most bytes of turns wanted; one turn comes all the same.
        max_bytes: u32,
    },
}

impl Message for Get {
    fn encode(&self, out: &mut FrameQueue) {
        match self {
            Self::Entries { from, max_bytes } => small(out, GET_ENTRIES, |out| {
                out.put_u64_le(from.0);
                out.put_u32_le(*max_bytes);
            }),
            Self::Bundle(digest) => out.frame(GET_BUNDLE, digest),
            Self::Manifest(root) => out.frame(GET_MANIFEST, root),
            Self::Chunk(digest) => out.frame(GET_CHUNK, digest),
            Self::Turns { group, after, max_bytes } => small(out, GET_TURNS, |out| {
                out.put_u32_le(group.0);
                out.put_u64_le(after.0);
                out.put_u32_le(*max_bytes);
            }),
        }
    }

    fn decode(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        fields(payload, "fetch request", |reader| {
            Ok(match kind {
                GET_ENTRIES => {
                    Self::Entries { from: Position(reader.u64("fetch from")?), max_bytes: reader.u32("fetch bytes")? }
                }
                GET_BUNDLE => Self::Bundle(reader.array("bundle digest")?),
                GET_MANIFEST => Self::Manifest(reader.array("checkpoint root")?),
                GET_CHUNK => Self::Chunk(reader.array("chunk digest")?),
                GET_TURNS => Self::Turns {
                    group: GroupId(reader.u32("fetch group")?),
                    after: Position(reader.u64("fetch after")?),
                    max_bytes: reader.u32("fetch bytes")?,
                },
                _ => return unknown("fetch request kind", kind),
            })
        })
    }
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Entries, or turns, in ascending order of positions; none when nothing is committed there yet. Together at most 4 MiB
    /// and 64 KiB, and at most 16,384.
    Entries(Vec<(Position, Bytes)>),
    /// The entries that were asked for are given up.
    Purged {
        /// The first position that can be read.
        first: Position,
    },
    /// The next piece of what was asked for.
    Piece(Piece),
    /// This node does not have it.
    Missing,
    /// It has it and cannot give it.
    Failed(String),
}

impl Message for Answer {
    fn encode(&self, out: &mut FrameQueue) {
        match self {
            Self::Entries(entries) => {
                debug_assert!(entries.len() <= MAX_FETCH_ENTRIES, "entries are cut before they are sent");
                let bulk = entries.iter().map(|(_, bytes)| bytes);
                out.frame_with(ENTRIES, |out| put_entries(out, entries), bulk);
            }
            Self::Purged { first } => small(out, PURGED, |out| out.put_u64_le(first.0)),
            Self::Piece(piece) => bulky(out, PIECE, &piece.bytes, |out| put_piece(out, piece)),
            Self::Missing => out.frame(MISSING, &[]),
            Self::Failed(text) => small(out, FAILED, |out| put_text(out, text, MAX_TEXT_BYTES)),
        }
    }

    fn decode(kind: u8, payload: &Bytes) -> Result<Self, DecodeError> {
        fields(payload, "fetch answer", |reader| {
            Ok(match kind {
                ENTRIES => Self::Entries(read_entries(reader)?),
                PURGED => Self::Purged { first: Position(reader.u64("first position")?) },
                PIECE => Self::Piece(read_piece(reader, u64::MAX)?),
                MISSING => Self::Missing,
                FAILED => Self::Failed(reader.text("failure", MAX_TEXT_BYTES)?),
                _ => return unknown("fetch answer kind", kind),
            })
        })
    }
}

fn put_entries(out: &mut Vec<u8>, entries: &[(Position, Bytes)]) {
    out.put_u32_le(entries.len() as u32);
    for (position, bytes) in entries {
        out.put_u64_le(position.0);
        out.put_u32_le(bytes.len() as u32);
    }
}

fn read_entries(reader: &mut Reader<'_>) -> Result<Vec<(Position, Bytes)>, DecodeError> {
    let count = count(reader, "entry count", MAX_FETCH_ENTRIES, 12)?;
    let mut heads: Vec<(Position, usize)> = Vec::with_capacity(count);
    let mut total = 0;
    for _ in 0..count {
        let position = Position(reader.u64("entry position")?);
        if heads.last().is_some_and(|(last, _)| *last >= position) {
            return unknown("entry position order", position.0);
        }
        let length = reader.u32("entry length")? as usize;
        bounded("entry length", length, MAX_ENTRY_BYTES)?;
        total += length;
        bounded("length of entries", total, MAX_FETCH_ENTRIES_BYTES)?;
        heads.push((position, length));
    }
    heads.into_iter().map(|(position, length)| Ok((position, reader.take("entry", length)?))).collect()
}
