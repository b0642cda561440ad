//! The frame of one entry on disk.
//!
//! `len u32 | crc32c u32 | term u64 | node u64 | index u64 | ordinal u32 | kind u8 | payload (len bytes)`, 37
//! bytes before the payload, little endian. The checksum covers the segment's secret nonce, then the length, then
//! everything after the checksum. The nonce binds a frame to its segment: neither the bytes of another segment
//! nor bytes that a client chose can pass for a frame.
//!
//! `ordinal` says how many entries before this one were not yet known to be durable when it was written: all
//! entries before `index - ordinal` were. [`crate::recovery`] needs that to tell a torn tail from damage.

use bytes::Bytes;
use refrain_wire::limits::MAX_ENTRY_BYTES;

/// Bytes of a frame before its payload.
pub const FRAME_BYTES: usize = 37;
/// The most payload bytes in one frame.
pub const MAX_PAYLOAD_BYTES: usize = MAX_ENTRY_BYTES;

/// No entry has this index or a higher one, no segment and no slot of the meta file this number, and nobody leads in a
/// term as high: so one can be added to any of them. A log of a million entries a second gets there in 146,000 years;
/// files and members that say otherwise are refused.
pub const END_OF_INDEXES: u64 = 1 << 62;

/// What identifies an entry in every member's log: two entries with equal ids are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct EntryId {
    /// The term of the leader that made it.
    pub term: u64,
    /// That leader.
    pub node: u64,
    /// Its place in the log, counted from 0.
    pub index: u64,
}

/// What an entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Nothing: a leader's first entry.
    Blank = 1,
    /// A wire entry.
    Batches = 2,
    /// The members from here on.
    Membership = 3,
}

impl EntryKind {
    pub(crate) fn decode(value: u8) -> Option<Self> {
        [Self::Blank, Self::Batches, Self::Membership].into_iter().find(|kind| *kind as u8 == value)
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its id.
    pub id: EntryId,
    /// What it carries.
    pub kind: EntryKind,
    /// The carried bytes.
    pub payload: Bytes,
}

impl LogEntry {
    /// How many bytes the entry takes in a segment.
    #[must_use]
    pub fn frame_bytes(&self) -> u64 {
        (FRAME_BYTES + self.payload.len()) as u64
    }

    /// The frame's bytes before the payload.
    pub(crate) fn header(&self, seed: Seed, ordinal: u32) -> [u8; FRAME_BYTES] {
        let mut out = [0; FRAME_BYTES];
        out[0..4].copy_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out[8..16].copy_from_slice(&self.id.term.to_le_bytes());
        out[16..24].copy_from_slice(&self.id.node.to_le_bytes());
        out[24..32].copy_from_slice(&self.id.index.to_le_bytes());
        out[32..36].copy_from_slice(&ordinal.to_le_bytes());
        out[36] = self.kind as u8;
        let crc = crc32c::crc32c_append(seed.of_header(&out), &self.payload);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }
}

/// The checksum's starting value in one segment: that of its nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) u32);

impl Seed {
    fn of_header(self, header: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &header[..4]), &header[8..FRAME_BYTES])
    }
}

/// The fields of a frame's header, not yet checked against the checksum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameHeader {
    pub(crate) id: EntryId,
    pub(crate) kind: EntryKind,
    pub(crate) ordinal: u32,
    pub(crate) payload_len: usize,
    crc: u32,
    partial: u32,
}

impl FrameHeader {
    /// Reads a header; `None` when no frame begins with these bytes.
    pub(crate) fn decode(seed: Seed, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FRAME_BYTES)?;
        let payload_len = u32_at(bytes, 0) as usize;
        if payload_len > MAX_PAYLOAD_BYTES {
            return None;
        }
        Some(Self {
            id: EntryId { term: u64_at(bytes, 8), node: u64_at(bytes, 16), index: u64_at(bytes, 24) },
            ordinal: u32_at(bytes, 32),
            kind: EntryKind::decode(bytes[36])?,
            payload_len,
            crc: u32_at(bytes, 4),
            partial: seed.of_header(bytes),
        })
    }

    pub(crate) fn frame_len(&self) -> usize {
        FRAME_BYTES + self.payload_len
    }

    /// The first entry that was not known to be durable when this one was written.
    pub(crate) fn durable_before(&self) -> u64 {
        self.id.index.saturating_sub(u64::from(self.ordinal))
    }

    pub(crate) fn matches(&self, payload: &[u8]) -> bool {
        crc32c::crc32c_append(self.partial, payload) == self.crc
    }
}

/// Reads the frame at the start of `bytes` and checks it.
pub(crate) fn decode_frame(seed: Seed, bytes: &[u8]) -> Option<FrameHeader> {
    let header = FrameHeader::decode(seed, bytes)?;
    let payload = bytes.get(FRAME_BYTES..header.frame_len())?;
    header.matches(payload).then_some(header)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    fn entry(payload: &'static [u8]) -> LogEntry {
        LogEntry {
            id: EntryId { term: 3, node: 1, index: 9 },
            kind: EntryKind::Batches,
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn the_bytes_of_a_frame_are_fixed() {
        let entry = entry(b"ab");
        let bytes = [entry.header(Seed(0), 2).as_slice(), b"ab"].concat();
        assert_eq!(
            bytes,
            [
                2, 0, 0, 0, 64, 217, 171, 82, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
                2, 0, 0, 0, 2, b'a', b'b'
            ]
        );
    }

    #[test]
    fn a_frame_of_another_segment_is_no_frame() {
        let entry = entry(b"ab");
        let bytes = [entry.header(Seed(7), 0).as_slice(), b"ab"].concat();
        assert!(decode_frame(Seed(7), &bytes).is_some());
        assert!(decode_frame(Seed(8), &bytes).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), seed: u32) {
            let _ = decode_frame(Seed(seed), &bytes);
        }

        #[test]
        fn a_flipped_bit_is_found(at in 0usize..39, bit in 0u8..8, ordinal: u32) {
            let entry = entry(b"ab");
            let mut bytes = [entry.header(Seed(5), ordinal).as_slice(), b"ab"].concat();
            let header = decode_frame(Seed(5), &bytes).unwrap();
            prop_assert_eq!(header.id, entry.id);
            prop_assert_eq!(header.ordinal, ordinal);
            bytes[at] ^= 1 << bit;
            prop_assert!(decode_frame(Seed(5), &bytes).is_none());
        }
    }
}
