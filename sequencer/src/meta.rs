//! The small state of a log besides its entries: identity, vote, what is committed, purged and agreed on.
//!
//! One file of two slots, which hold the same: the newest valid one counts. A slot is
//! `magic 8 | version u32 | crc32c u32 | sequence u64 | length u32 | payload`, and the checksum covers everything
//! after itself. A state is acknowledged when both slots have it durably, the first one before the second is touched. So a
//! write that is torn leaves what was acknowledged last, and one slot that goes bad later, with the vote in it, loses nothing.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use refrain_wire::Generation;

use crate::disk::{Disk, DiskFile};
use crate::frame::{EntryId, u32_at, u64_at};
use crate::recovery::{OpenError, io_error, within};

mod codec;

/// The name of the file.
pub(crate) const META_FILE: &str = "meta";
const NEW_META_FILE: &str = "meta.new";
const MAGIC: &[u8; 8] = b"RFRNMETA";
const VERSION: u32 = 1;
const SLOT_BYTES: usize = 4096;
const FRAME_BYTES: usize = 28;
/// The most bytes that the members' description may have.
pub const MAX_MEMBERSHIP_BYTES: usize = 3072;

/// For whom a member voted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// In which term.
    pub term: u64,
    /// The candidate.
    pub node: u64,
    /// Whether a majority voted so too.
    pub committed: bool,
}

/// What the meta file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The identity of the log's history.
    pub generation: Generation,
    /// The log is, or was until its process ended, written without syncs: what it held cannot be proved.
    pub unsynced: bool,
    /// The log has begun: its generation is that of all members.
    pub begun: bool,
    /// The last vote.
    pub vote: Option<Vote>,
    /// An entry that is known to be committed and durable; newer ones may be as well.
    pub committed: Option<EntryId>,
    /// The last entry that was given up.
    pub purged: Option<EntryId>,
    /// The members as the user of the log encodes them; at most [`MAX_MEMBERSHIP_BYTES`].
    pub membership: Bytes,
}

impl Meta {
    /// The state of a log that has just begun.
    #[must_use]
    pub fn new(generation: Generation) -> Self {
        Self {
            generation,
            unsynced: false,
            begun: false,
            vote: None,
            committed: None,
            purged: None,
            membership: Bytes::new(),
        }
    }
}

/// The open file.
pub(crate) struct MetaFile {
    file: Arc<dyn DiskFile>,
    sequence: u64,
    /// One of the slots does not have the newest state: it is damaged, or a write was interrupted.
    halved: bool,
}

impl MetaFile {
    /// Creates the file; durable when this returns.
    pub(crate) fn create(disk: &dyn Disk, meta: &Meta) -> Result<Self, OpenError> {
        let file = disk.create(NEW_META_FILE).map_err(io_error(disk, NEW_META_FILE, "create"))?;
        file.preallocate(2 * SLOT_BYTES as u64).map_err(io_error(disk, NEW_META_FILE, "reserve space for"))?;
        let mut this = Self { file, sequence: 0, halved: false };
        this.write(meta, true).map_err(io_error(disk, NEW_META_FILE, "write"))?;
        disk.rename(NEW_META_FILE, META_FILE).map_err(io_error(disk, META_FILE, "rename"))?;
        disk.sync_folder().map_err(io_error(disk, "", "sync"))?;
        Ok(this)
    }

    /// Reads the file; `None` when there is none. What it returns is durable.
    pub(crate) fn open(disk: &dyn Disk) -> Result<Option<(Self, Meta)>, OpenError> {
        let file = match disk.open(META_FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(disk, META_FILE, "open")(error)),
        };
        // A process that was killed may have left a newer slot in the page cache alone.
        file.sync().map_err(io_error(disk, META_FILE, "sync"))?;
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        file.read_at(0, &mut bytes).map_err(io_error(disk, META_FILE, "read"))?;
        let slots: Vec<_> = bytes.chunks(SLOT_BYTES).map(decode_slot).collect();
        let halved = slots[0] != slots[1];
        let newest = slots.into_iter().flatten().max_by_key(|(sequence, _)| *sequence);
        let (sequence, meta) =
            newest.ok_or_else(|| OpenError::DamagedFile { path: disk.path(META_FILE), what: "content" })?;
        within(disk, META_FILE, "slot", sequence)?;
        within(disk, META_FILE, "term of the vote", meta.vote.map_or(0, |vote| vote.term))?;
        within(disk, META_FILE, "committed entry", meta.committed.map_or(0, |id| id.index))?;
        within(disk, META_FILE, "purged entry", meta.purged.map_or(0, |id| id.index))?;
        Ok(Some((Self { file, sequence, halved }, meta)))
    }

    /// Has both slots hold the state that the file was opened with.
    pub(crate) fn mend(&mut self, disk: &dyn Disk, meta: &Meta) -> Result<(), OpenError> {
        if !self.halved {
            return Ok(());
        }
        tracing::warn!(path = %disk.path(META_FILE).display(), "one of two copies is damaged or older: it is written again");
        self.write(meta, true).map_err(io_error(disk, META_FILE, "write"))
    }

    /// Writes both slots, durably; without `sync` only the first one, and the second keeps what was durable last.
    pub(crate) fn write(&mut self, meta: &Meta, sync: bool) -> io::Result<()> {
        let slot = encode_slot(self.sequence + 1, meta);
        self.file.write_at(0, &[IoSlice::new(&slot)])?;
        if sync {
            self.file.sync()?;
            self.file.write_at(SLOT_BYTES as u64, &[IoSlice::new(&slot)])?;
            self.file.sync()?;
        }
        self.halved = !sync;
        self.sequence += 1;
        Ok(())
    }
}

fn encode_slot(sequence: u64, meta: &Meta) -> Vec<u8> {
    let payload = codec::encode(meta);
    let mut out = Vec::with_capacity(FRAME_BYTES + payload.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&payload);
    let crc = crc32c::crc32c(&out[16..]);
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode_slot(slot: &[u8]) -> Option<(u64, Meta)> {
    if slot.len() < FRAME_BYTES || !slot.starts_with(MAGIC) || u32_at(slot, 8) != VERSION {
        return None;
    }
    let len = u32_at(slot, 24) as usize;
    let body = slot.get(16..FRAME_BYTES.checked_add(len)?)?;
    if crc32c::crc32c(body) != u32_at(slot, 12) {
        return None;
    }
    Some((u64_at(slot, 16), codec::decode(&slot[FRAME_BYTES..FRAME_BYTES + len])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::END_OF_INDEXES;
    use crate::sim::SimDisk;
    use proptest::prelude::{any, prop};
    use proptest::{prop_assert, proptest};

    fn meta(term: u64) -> Meta {
        let id = EntryId { term, node: 1, index: 7 * term };
        Meta {
            generation: Generation([4; 16]),
            unsynced: true,
            begun: true,
            vote: Some(Vote { term, node: 3, committed: true }),
            committed: Some(id),
            purged: None,
            membership: Bytes::from(vec![9; MAX_MEMBERSHIP_BYTES]),
        }
    }

    #[test]
    fn a_crash_at_any_operation_leaves_the_last_acknowledged_state_or_the_next() {
        for stop in 0..16 {
            for seed in 0..8 {
                let disk = SimDisk::new();
                let mut file = MetaFile::create(&disk, &meta(0)).unwrap();
                disk.stop_after(disk.operations() + stop);
                let acknowledged = (1..=6).take_while(|term| file.write(&meta(*term), true).is_ok()).count() as u64;
                disk.crash(seed);
                let (_, found) = MetaFile::open(&disk).unwrap().unwrap();
                assert!(found == meta(acknowledged) || found == meta(acknowledged + 1), "stop {stop} seed {seed}");
            }
        }
    }

    #[test]
    fn one_bad_slot_loses_nothing_and_two_are_an_error() {
        for bad in [30, SLOT_BYTES as u64 + 30] {
            let disk = SimDisk::new();
            let mut file = MetaFile::create(&disk, &meta(1)).unwrap();
            file.write(&meta(2), true).unwrap();
            disk.flip_bit(META_FILE, bad, 0);
            let (mut file, found) = MetaFile::open(&disk).unwrap().unwrap();
            assert_eq!(found, meta(2), "{bad}");
            file.mend(&disk, &found).unwrap();
            disk.flip_bit(META_FILE, SLOT_BYTES as u64 + 60 - bad, 0);
            assert_eq!(MetaFile::open(&disk).unwrap().unwrap().1, meta(2), "the bad one was written again");
            disk.flip_bit(META_FILE, bad, 0);
            let Err(error) = MetaFile::open(&disk) else { panic!("opened") };
            assert_eq!(error.to_string(), "sim/meta: the content is damaged or of an unknown version");
        }
    }

    #[test]
    fn what_is_written_without_a_sync_leaves_the_durable_state_in_the_second_slot() {
        let disk = SimDisk::new();
        let mut file = MetaFile::create(&disk, &meta(1)).unwrap();
        (2..=4).for_each(|term| file.write(&meta(term), false).unwrap());
        assert_eq!(MetaFile::open(&disk).unwrap().unwrap().1, meta(4));
        disk.flip_bit(META_FILE, 30, 0);
        assert_eq!(MetaFile::open(&disk).unwrap().unwrap().1, meta(1));
    }

    #[test]
    fn a_file_of_two_states_is_made_whole() {
        let disk = SimDisk::new();
        let mut file = MetaFile::create(&disk, &meta(1)).unwrap();
        file.write(&meta(2), false).unwrap();
        let (mut file, found) = MetaFile::open(&disk).unwrap().unwrap();
        file.mend(&disk, &found).unwrap();
        disk.flip_bit(META_FILE, 30, 0);
        assert_eq!(MetaFile::open(&disk).unwrap().unwrap().1, meta(2));
    }

    #[test]
    fn numbers_are_taken_below_their_end_and_not_at_it() {
        let opened = |sequence: u64, term: u64, index: u64| {
            let disk = SimDisk::new();
            let mut meta = meta(1);
            meta.vote = Some(Vote { term, node: 3, committed: true });
            meta.purged = Some(EntryId { term: 1, node: 1, index });
            MetaFile::create(&disk, &meta).unwrap();
            let file = disk.open(META_FILE).unwrap();
            file.write_at(0, &[IoSlice::new(&encode_slot(sequence, &meta))]).unwrap();
            MetaFile::open(&disk).err().map(|error| error.to_string())
        };
        let end = END_OF_INDEXES;
        assert_eq!(opened(end - 1, end - 1, end - 1), None);
        for (sequence, term, index, what) in [
            (end, 1, 1, "slot"),
            (u64::MAX, 1, 1, "slot"),
            (2, end, 1, "term of the vote"),
            (2, 1, end, "purged entry"),
            (2, 1, u64::MAX, "purged entry"),
        ] {
            let number = sequence.max(term).max(index);
            let told = format!("sim/meta: the {what} has the number {number}, the end is {end}");
            assert_eq!(opened(sequence, term, index), Some(told));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_slot(&bytes);
            let _ = codec::decode(&bytes);
        }

        #[test]
        fn a_flipped_bit_is_found(at in 0usize..3000, bit in 0u8..8) {
            let mut slot = encode_slot(5, &meta(2));
            slot[at] ^= 1 << bit;
            prop_assert!(decode_slot(&slot).is_none());
        }
    }
}
