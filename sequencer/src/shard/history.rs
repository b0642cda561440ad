//! What a group was given: its turns one after another, how many bytes they take, and a chain of digests over them.
//!
//! A group whose guests cannot be saved in checkpoints has nothing but its history to begin replicas with. Members keep
//! it in a file before they cut the log. The shard's state tells how long that file is and what its chain comes to, so
//! it is checked against what the log says, whoever it came from, and every member and proxy knows alike when it is full.
//!
//! Pure. `docs/formats.md` draws a turn. Leaves to others: files, limits.

use bytes::Bytes;
use refrain_wire::limits::MAX_ENTRY_BYTES;
use refrain_wire::outward::Owner;
use refrain_wire::{DecodeError, Epoch, Position, ProxyId, Time};

/// Bytes that a history has for each turn besides the turn's own: its length and the beginning of the chain.
pub const HISTORY_FRAME_BYTES: usize = 12;
/// The most bytes of a turn in a history: no entry has more for a group.
pub const MAX_TURN_BYTES: usize = MAX_ENTRY_BYTES;
/// Bytes of a turn before its terms.
const HEAD_BYTES: usize = 21;
/// The byte above those of the time: whether epochs follow that were opened.
const OPENED_AT: usize = 15;
/// Bytes of an epoch that was opened.
const OWNER_BYTES: usize = 6;

/// The turns of a group after a position, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The last position before them.
    pub after: Position,
    /// What they take in a history, frames included.
    pub bytes: u64,
    /// BLAKE3 of what it was before and a turn's bytes, for each turn; zero before the first.
    pub chain: [u8; 32],
}

impl Recorded {
    /// None yet.
    #[must_use]
    pub fn since(after: Position) -> Self {
        Self { after, bytes: 0, chain: [0; 32] }
    }

    /// Takes in the next turn: its bytes, in parts.
    pub fn add(&mut self, parts: &[&[u8]]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.chain);
        for part in parts {
            hasher.update(part);
            self.bytes += part.len() as u64;
        }
        self.chain = *hasher.finalize().as_bytes();
        self.bytes += HISTORY_FRAME_BYTES as u64;
    }
}

/// One turn of a group as histories have it: everything that a replica is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedTurn {
    /// Where it stands.
    pub position: Position,
    /// Log time.
    pub time: Time,
    /// The randomness that it brings: that of all terms before in the group's first turn, and that of a new term.
    pub terms: Vec<[u8; 32]>,
    /// Epochs that end.
    pub ended: Vec<Epoch>,
    /// Epochs that may be given outward calls from the next turn on; in the group's first turn those from before, too.
    pub opened: Vec<Owner>,
    /// The group's records.
    pub records: Bytes,
}

impl RecordedTurn {
    /// The turn's bytes but for the records, which follow.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + 32 * self.terms.len() + 4 * self.ended.len());
        out.extend_from_slice(&self.position.0.to_le_bytes());
        out.extend_from_slice(&self.time.micros().to_le_bytes());
        out[OPENED_AT] = u8::from(!self.opened.is_empty());
        out.push(self.terms.len() as u8);
        out.extend_from_slice(&(self.ended.len() as u32).to_le_bytes());
        self.terms.iter().for_each(|term| out.extend_from_slice(term));
        self.ended.iter().for_each(|epoch| out.extend_from_slice(&epoch.0.to_le_bytes()));
        if !self.opened.is_empty() {
            out.extend_from_slice(&(self.opened.len() as u32).to_le_bytes());
            for owner in &self.opened {
                out.extend_from_slice(&owner.epoch.0.to_le_bytes());
                out.extend_from_slice(&owner.proxy.0.to_le_bytes());
            }
        }
        out
    }

    /// The turn's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = self.head();
        out.extend_from_slice(&self.records);
        Bytes::from(out)
    }

    /// Reads what [`RecordedTurn::encode`] wrote; the records share `bytes`.
    ///
    /// # Errors
    /// When the bytes are no turn.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let (what, left) = ("turn of a history", bytes.len());
        let short = |needed| DecodeError::Short { what, needed, left };
        let head = bytes.get(..HEAD_BYTES).ok_or(short(HEAD_BYTES))?;
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("it has eight bytes"));
        let (micros, opens) = (number(8) & Time::MAX.micros(), head[OPENED_AT]);
        if opens > 1 {
            return Err(DecodeError::Unknown { what: "flag of opened epochs in a turn", value: u64::from(opens) });
        }
        let terms = usize::from(head[16]);
        let ended = u32::from_le_bytes(head[17..HEAD_BYTES].try_into().expect("it has four bytes")) as usize;
        // 2^32 epochs and 255 terms: no overflow.
        let ends_at = HEAD_BYTES + 32 * terms;
        let records_at = ends_at + 4 * ended;
        let fields = bytes.get(HEAD_BYTES..records_at).ok_or(short(records_at))?;
        let (terms, ended) = fields.split_at(32 * terms);
        let (opened, records_at) = if opens == 1 { read_opened(bytes, records_at)? } else { (Vec::new(), records_at) };
        Ok(Self {
            position: Position(number(0)),
            time: Time::from_micros(micros),
            terms: terms.as_chunks::<32>().0.to_vec(),
            ended: ended.as_chunks::<4>().0.iter().map(|epoch| Epoch(u32::from_le_bytes(*epoch))).collect(),
            opened,
            records: bytes.slice(records_at..),
        })
    }
}

/// Reads the epochs that were opened, which stand at `at`; returns where the records begin.
fn read_opened(bytes: &Bytes, at: usize) -> Result<(Vec<Owner>, usize), DecodeError> {
    let short = |needed| DecodeError::Short { what: "turn of a history", needed, left: bytes.len() };
    let count = bytes.get(at..at + 4).ok_or(short(at + 4))?;
    let count = u32::from_le_bytes(count.try_into().expect("it has four bytes")) as usize;
    if count == 0 {
        return Err(DecodeError::Unknown { what: "count of opened epochs in a turn", value: 0 });
    }
    let end = at + 4 + count * OWNER_BYTES;
    let owners = bytes.get(at + 4..end).ok_or(short(end))?;
    let owner = |bytes: &[u8; OWNER_BYTES]| Owner {
        epoch: Epoch(u32::from_le_bytes(bytes[..4].try_into().expect("it has four bytes"))),
        proxy: ProxyId(u16::from_le_bytes(bytes[4..].try_into().expect("it has two bytes"))),
    };
    Ok((owners.as_chunks::<OWNER_BYTES>().0.iter().map(owner).collect(), end))
}
