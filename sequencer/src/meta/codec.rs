//! The payload of a slot: `generation 16 | flags u8 | vote 17 | committed 24 | purged 24 | membership`, where a
//! flag says whether the vote, the committed and the purged entry are there.

use bytes::Bytes;
use refrain_wire::Generation;

use super::{MAX_MEMBERSHIP_BYTES, Meta, Vote};
use crate::frame::{EntryId, u64_at};

const UNSYNCED: u8 = 1;
const HAS_VOTE: u8 = 2;
const VOTE_COMMITTED: u8 = 4;
const HAS_COMMITTED: u8 = 8;
const HAS_PURGED: u8 = 16;
const BEGUN: u8 = 32;
const FIXED_BYTES: usize = 81;

pub(super) fn encode(meta: &Meta) -> Vec<u8> {
    debug_assert!(meta.membership.len() <= MAX_MEMBERSHIP_BYTES, "checked when it is set");
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(meta.unsynced, UNSYNCED)
        | flag(meta.vote.is_some(), HAS_VOTE)
        | flag(meta.vote.is_some_and(|vote| vote.committed), VOTE_COMMITTED)
        | flag(meta.committed.is_some(), HAS_COMMITTED)
        | flag(meta.purged.is_some(), HAS_PURGED)
        | flag(meta.begun, BEGUN);
    let mut out = Vec::with_capacity(FIXED_BYTES + meta.membership.len());
    out.extend_from_slice(&meta.generation.0);
    out.push(flags);
    out.extend_from_slice(&meta.vote.map_or(0, |vote| vote.term).to_le_bytes());
    out.extend_from_slice(&meta.vote.map_or(0, |vote| vote.node).to_le_bytes());
    for id in [meta.committed, meta.purged] {
        let id = id.unwrap_or_default();
        for field in [id.term, id.node, id.index] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }
    out.extend_from_slice(&meta.membership);
    out
}

pub(super) fn decode(bytes: &[u8]) -> Option<Meta> {
    let fixed = bytes.get(..FIXED_BYTES)?;
    let membership = &bytes[FIXED_BYTES..];
    let flags = fixed[16];
    if flags >= 64 || membership.len() > MAX_MEMBERSHIP_BYTES {
        return None;
    }
    let id = |at| EntryId { term: u64_at(fixed, at), node: u64_at(fixed, at + 8), index: u64_at(fixed, at + 16) };
    let vote = Vote { term: u64_at(fixed, 17), node: u64_at(fixed, 25), committed: flags & VOTE_COMMITTED != 0 };
    Some(Meta {
        generation: Generation(fixed[..16].try_into().expect("sixteen bytes")),
        unsynced: flags & UNSYNCED != 0,
        begun: flags & BEGUN != 0,
        vote: (flags & HAS_VOTE != 0).then_some(vote),
        committed: (flags & HAS_COMMITTED != 0).then(|| id(33)),
        purged: (flags & HAS_PURGED != 0).then(|| id(57)),
        membership: Bytes::copy_from_slice(membership),
    })
}
