//! Lists on their way: cut between effects into parts that fit into a frame, and put together again.
//!
//! A part: `channel u16 | part u32 | last u8 | position u64 | before 32 | count u32`, then `count` entries of 37 bytes
//! (`EffectEntry`), then their payloads. A list without effects is one part. Payloads are not copied, neither when a
//! list is cut nor when it is joined.
//!
//! Leaves to the proxy: whether the list gives the digest that was agreed on, and the payloads theirs.

use std::collections::BTreeMap;
use std::iter::Peekable;

use bytes::BufMut;

use super::{count, unknown};
use crate::effect::EFFECT_ENTRY_BYTES;
use crate::limits::{MAX_EFFECT_BYTES, MAX_LIST_PART_BYTES};
use crate::reader::{Reader, bounded};
use crate::turn::{Effect, TurnEffects};
use crate::{DecodeError, EffectEntry, Position, RunningDigest};

/// Bytes of a part before its entries.
const HEAD_BYTES: usize = 51;
/// What a list counts for besides its payloads, an effect: what it takes in memory.
const EFFECT_SHARE_BYTES: usize = size_of::<Effect>();

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPart {
    /// The channel of the seat that made it.
    pub channel: u16,
    /// Which part, counted from 0.
    pub part: u32,
    /// Whether it is the last one.
    pub last: bool,
    /// The turn, with the effects of this part alone.
    pub turn: TurnEffects,
}

/// Cuts a list into parts; the effects of another proxy's flows may be left out. See [`list_parts`].
pub struct ListParts<'a, I: Iterator<Item = &'a Effect>> {
    channel: u16,
    next: Option<u32>,
    position: Position,
    before: RunningDigest,
    effects: Peekable<I>,
}

/// The parts of a list, in order; `effects` have at most 256 KiB of payload each.
pub fn list_parts<'a, I: IntoIterator<Item = &'a Effect>>(
    channel: u16,
    position: Position,
    before: RunningDigest,
    effects: I,
) -> ListParts<'a, I::IntoIter> {
    ListParts { channel, next: Some(0), position, before, effects: effects.into_iter().peekable() }
}

impl<'a, I: Iterator<Item = &'a Effect>> Iterator for ListParts<'a, I> {
    type Item = ListPart;

    fn next(&mut self) -> Option<ListPart> {
        let part = self.next?;
        let mut room = MAX_LIST_PART_BYTES - HEAD_BYTES;
        let mut effects = Vec::new();
        while let Some(effect) = self.effects.next_if(|effect| size(effect) <= room) {
            room -= size(effect);
            effects.push(effect.clone());
        }
        let last = self.effects.peek().is_none();
        assert!(last || !effects.is_empty(), "an effect has at most {MAX_EFFECT_BYTES} bytes of payload");
        self.next = (!last).then_some(part + 1);
        let turn = TurnEffects { position: self.position, before: self.before, effects };
        Some(ListPart { channel: self.channel, part, last, turn })
    }
}

fn size(effect: &Effect) -> usize {
    EFFECT_ENTRY_BYTES + effect.payload.len()
}

/// A part up to its payloads.
pub(super) fn put_head(out: &mut Vec<u8>, part: &ListPart) {
    let effects = &part.turn.effects;
    out.reserve(HEAD_BYTES + effects.len() * EFFECT_ENTRY_BYTES);
    out.put_u16_le(part.channel);
    out.put_u32_le(part.part);
    out.put_u8(u8::from(part.last));
    out.put_u64_le(part.turn.position.0);
    out.put_slice(&part.turn.before.0);
    out.put_u32_le(effects.len() as u32);
    let mut entry = [0; EFFECT_ENTRY_BYTES];
    for effect in effects {
        debug_assert_eq!(effect.entry.length as usize, effect.payload.len(), "an entry has its payload's length");
        effect.entry.put(&mut entry);
        out.put_slice(&entry);
    }
}

pub(super) fn read_part(reader: &mut Reader<'_>) -> Result<ListPart, DecodeError> {
    bounded("list part length", reader.left(), MAX_LIST_PART_BYTES)?;
    let channel = reader.u16("list channel")?;
    let part = reader.u32("list part")?;
    let last = reader.flag("list last")?;
    let position = Position(reader.u64("list position")?);
    let before = RunningDigest(reader.array("list running digest")?);
    let effects = read_effects(reader)?;
    Ok(ListPart { channel, part, last, turn: TurnEffects { position, before, effects } })
}

fn read_effects(reader: &mut Reader<'_>) -> Result<Vec<Effect>, DecodeError> {
    let count = count(reader, "effect count", MAX_LIST_PART_BYTES / EFFECT_ENTRY_BYTES, EFFECT_ENTRY_BYTES)?;
    let entries = (0..count)
        .map(|_| EffectEntry::decode(&reader.take("effect", EFFECT_ENTRY_BYTES)?))
        .collect::<Result<Vec<_>, _>>()?;
    entries
        .into_iter()
        .map(|entry| {
            let length = entry.length as usize;
            bounded("effect length", length, MAX_EFFECT_BYTES)?;
            Ok(Effect { entry, payload: reader.take("effect payload", length)? })
        })
        .collect()
}

#[derive(Debug)]
struct Joined {
    parts: u32,
    bytes: usize,
    turn: TurnEffects,
}

/// Joins the parts that arrive on one stream. Lists of several channels may come mixed; those of one channel come one
/// after another.
#[derive(Debug)]
pub struct ListAssembler {
    max_bytes: usize,
    bytes: usize,
    lists: BTreeMap<u16, Joined>,
}

impl ListAssembler {
    /// Keeps at most `max_bytes` for all lists that are not whole yet together: payloads, and what an effect takes.
    /// [`crate::limits::DEFAULT_LIST_BYTES`] says how much is enough.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, lists: BTreeMap::new() }
    }

    /// What is kept for lists that are not whole.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a part; the channel and the whole list when it was the last one.
    ///
    /// # Errors
    /// When the part does not follow on the one before, or too much would be kept. The list is dropped then.
    pub fn push(&mut self, part: ListPart) -> Result<Option<(u16, TurnEffects)>, DecodeError> {
        let channel = part.channel;
        let before = self.take(channel);
        let mut joined = follow(before, &part)?;
        let mut effects = part.turn.effects;
        joined.bytes += effects.iter().map(|effect| EFFECT_SHARE_BYTES + effect.payload.len()).sum::<usize>();
        bounded("length of lists", self.bytes.saturating_add(joined.bytes), self.max_bytes)?;
        joined.parts += 1;
        if joined.turn.effects.is_empty() {
            joined.turn.effects = effects;
        } else {
            joined.turn.effects.append(&mut effects);
        }
        if part.last {
            return Ok(Some((channel, joined.turn)));
        }
        self.bytes += joined.bytes;
        self.lists.insert(channel, joined);
        Ok(None)
    }

    /// Drops what is there of a channel: it was bound again.
    pub fn forget(&mut self, channel: u16) {
        self.take(channel);
    }

    fn take(&mut self, channel: u16) -> Option<Joined> {
        let joined = self.lists.remove(&channel)?;
        self.bytes -= joined.bytes;
        Some(joined)
    }
}

/// What the part is to be added to.
fn follow(joined: Option<Joined>, part: &ListPart) -> Result<Joined, DecodeError> {
    let TurnEffects { position, before, .. } = part.turn;
    let joined = joined.unwrap_or_else(|| Joined {
        parts: 0,
        bytes: 0,
        turn: TurnEffects { position, before, effects: Vec::new() },
    });
    if part.part != joined.parts {
        return unknown("list part", part.part);
    }
    if joined.turn.position != position {
        return unknown("list position", position.0);
    }
    if joined.turn.before != before {
        return unknown("list running digest of part", part.part);
    }
    if part.turn.effects.is_empty() && !(part.last && part.part == 0) {
        return unknown("effect count", 0u8);
    }
    Ok(joined)
}
