//! One file of the log: its name, its header and its life.
//!
//! A segment is created under a temporary name with its space reserved, gets its header, is synced and then gets
//! its final name. So a file with a segment's name always has a durable header, and a header that does not check
//! is damage, not a crash. Its bytes are zeros or were written in this one life of it: nothing is written twice
//! and segments are never used again. A log is cut by beginning a new segment at the cut (`first`), which
//! supersedes what earlier segments hold from there on; old bytes are never overwritten.
//!
//! Header, 64 bytes: `magic 8 | version u32 | crc32c u32 | sequence u64 | first u64 | generation 16 | nonce 16`;
//! the checksum covers the header with zeros in its own place.

use std::io::{self, IoSlice};
use std::sync::Arc;

use refrain_wire::Generation;

use crate::disk::{Disk, DiskFile};
use crate::frame::{Seed, u32_at, u64_at};

/// Bytes of a segment before its first frame.
pub(crate) const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"RFRNSEGM";
/// The version of segments and of the entries in them; see `docs/formats.md`.
pub(crate) const VERSION: u32 = 3;
/// Without records of outward calls and datagrams; read as they are.
const VERSION_2: u32 = 2;
const PREFIX: &str = "segment-";
const SUFFIX: &str = ".log";
/// The end of the name of a segment that is not in use yet.
pub(crate) const NEW_SUFFIX: &str = ".new";

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Segments are numbered in the order of their creation.
    pub(crate) sequence: u64,
    /// The index of its first entry.
    pub(crate) first: u64,
    /// The log's generation when it was created.
    pub(crate) generation: Generation,
    /// Secret and random.
    pub(crate) nonce: [u8; 16],
}

/// Why a header cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// It does not check.
    Damaged,
    /// It is whole, but of this other version.
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.first.to_le_bytes());
        out[32..48].copy_from_slice(&self.generation.0);
        out[48..64].copy_from_slice(&self.nonce);
        let crc = crc32c::crc32c(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(BadHeader::Damaged)?;
        let mut bytes: [u8; HEADER_BYTES] = bytes.try_into().expect("cut to this length");
        let crc = u32_at(&bytes, 12);
        bytes[12..16].fill(0);
        if !bytes.starts_with(MAGIC) || crc32c::crc32c(&bytes) != crc {
            return Err(BadHeader::Damaged);
        }
        match u32_at(&bytes, 8) {
            VERSION | VERSION_2 => Ok(Self {
                sequence: u64_at(&bytes, 16),
                first: u64_at(&bytes, 24),
                generation: Generation(bytes[32..48].try_into().expect("sixteen bytes")),
                nonce: bytes[48..64].try_into().expect("sixteen bytes"),
            }),
            other => Err(BadHeader::Version(other)),
        }
    }

    pub(crate) fn seed(&self) -> Seed {
        Seed(crc32c::crc32c(&self.nonce))
    }
}

/// The name of the segment with this number.
pub(crate) fn segment_name(sequence: u64) -> String {
    format!("{PREFIX}{sequence:016x}{SUFFIX}")
}

/// The number of the segment with this name; `None` for other files.
pub(crate) fn segment_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    u64::from_str_radix(digits, 16).ok().filter(|sequence| segment_name(*sequence) == name)
}

/// A file with reserved space that is to become the next segment.
pub(crate) struct Spare {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) sequence: u64,
    pub(crate) capacity: u64,
}

impl Spare {
    /// Reserves `capacity` bytes; on an error nothing is left behind.
    pub(crate) fn create(disk: &dyn Disk, sequence: u64, capacity: u64) -> io::Result<Self> {
        let name = segment_name(sequence) + NEW_SUFFIX;
        let file = disk.create(&name)?;
        if let Err(error) = file.preallocate(capacity) {
            // The next start removes it as well, so a failure here costs only space.
            let _ = disk.remove(&name);
            return Err(error);
        }
        Ok(Self { file, sequence, capacity })
    }

    /// Makes it the segment that begins at `first`; durable when this returns.
    pub(crate) fn activate(self, disk: &dyn Disk, header: &SegmentHeader) -> io::Result<Arc<dyn DiskFile>> {
        let name = segment_name(self.sequence);
        self.file.write_at(0, &[IoSlice::new(&header.encode())])?;
        self.file.sync()?;
        disk.rename(&(name.clone() + NEW_SUFFIX), &name)?;
        disk.sync_folder()?;
        Ok(self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop};
    use proptest::{prop_assert_eq, proptest};

    const HEADER: SegmentHeader =
        SegmentHeader { sequence: 2, first: 300, generation: Generation([7; 16]), nonce: [9; 16] };

    #[test]
    fn a_header_comes_back_and_only_segments_have_its_name() {
        assert_eq!(SegmentHeader::decode(&HEADER.encode()), Ok(HEADER));
        assert_eq!(segment_sequence(&segment_name(77)), Some(77));
        for name in ["meta", "segment-1.log", "segment-000000000000000g.log", "segment-0000000000000001.log.new"] {
            assert_eq!(segment_sequence(name), None, "{name}");
        }
    }

    #[test]
    fn a_header_of_another_version_is_told_from_a_damaged_one() {
        let mut bytes = HEADER.encode();
        bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Damaged));
        bytes[12..16].fill(0);
        let crc = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Version(1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = SegmentHeader::decode(&bytes);
        }

        #[test]
        fn a_flipped_bit_is_found(at in 0usize..64, bit in 0u8..8) {
            let mut bytes = HEADER.encode();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Damaged));
        }
    }
}
