//! The file of a snapshot: what stands for all entries up to some point.
//!
//! `RFRNSNAP | version u32 | crc32c u32 | head length u32 | state length u64 | head | state`, little endian. The
//! checksum covers everything after itself. The file is written under another name, synced, and renamed, so there is
//! always the old one or the new one, whole. What head and state say is the business of the log's user.

use std::io::{self, IoSlice};

use bytes::{Bytes, BytesMut};

use crate::disk::Disk;
use crate::frame::{u32_at, u64_at};
use crate::recovery::{OpenError, io_error};

/// The name of the file.
pub(crate) const SNAPSHOT_FILE: &str = "snapshot";
/// Its name while it is written.
pub(crate) const NEW_SNAPSHOT_FILE: &str = "snapshot.new";
/// The largest state of a shard, in bytes: what nodes without a member take, too.
pub const MAX_SNAPSHOT_BYTES: u64 = refrain_wire::limits::MAX_STATE_BYTES as u64;

const MAGIC: &[u8; 8] = b"RFRNSNAP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 28;
/// The longest head, in bytes.
const MAX_HEAD_BYTES: u32 = 4096;

/// A snapshot as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Where it stands, as the log's user encodes it.
    pub head: Bytes,
    /// The state.
    pub state: Bytes,
}

impl SnapshotFile {
    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..20].copy_from_slice(&(self.head.len() as u32).to_le_bytes());
        out[20..].copy_from_slice(&(self.state.len() as u64).to_le_bytes());
        let crc = [&out[16..], &self.head, &self.state].into_iter().fold(0, crc32c::crc32c_append);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// How many bytes the file has.
    pub(crate) fn file_bytes(&self) -> u64 {
        (HEADER_BYTES + self.head.len() + self.state.len()) as u64
    }

    /// Writes the file in place of an older one; durable when this returns.
    pub(crate) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let file = disk.create(NEW_SNAPSHOT_FILE)?;
        file.preallocate(self.file_bytes())?;
        let header = self.header();
        file.write_at(0, &[IoSlice::new(&header), IoSlice::new(&self.head), IoSlice::new(&self.state)])?;
        file.sync()?;
        disk.rename(NEW_SNAPSHOT_FILE, SNAPSHOT_FILE)?;
        disk.sync_folder()
    }

    /// Reads the file; `None` when there is none.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Self>, OpenError> {
        let file = match disk.open(SNAPSHOT_FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(disk, SNAPSHOT_FILE, "open")(error)),
        };
        let damaged = || OpenError::DamagedFile { path: disk.path(SNAPSHOT_FILE), what: "snapshot" };
        let len = file.size().map_err(io_error(disk, SNAPSHOT_FILE, "read the size of"))?;
        if len > MAX_SNAPSHOT_BYTES + u64::from(MAX_HEAD_BYTES) + HEADER_BYTES as u64 {
            return Err(damaged());
        }
        let mut bytes = BytesMut::zeroed(len as usize);
        let read = file.read_at(0, &mut bytes).map_err(io_error(disk, SNAPSHOT_FILE, "read"))?;
        bytes.truncate(read);
        Self::decode(bytes.freeze()).map(Some).ok_or_else(damaged)
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        if !header.starts_with(MAGIC) || u32_at(header, 8) != VERSION {
            return None;
        }
        let (crc, head_len, state_len) = (u32_at(header, 12), u32_at(header, 16), u64_at(header, 20));
        let whole = u64::from(head_len).checked_add(state_len)?.checked_add(HEADER_BYTES as u64)?;
        if head_len > MAX_HEAD_BYTES || whole != bytes.len() as u64 || crc32c::crc32c(&bytes[16..]) != crc {
            return None;
        }
        let mut rest = bytes.split_off(HEADER_BYTES);
        let head = rest.split_to(head_len as usize);
        Some(Self { head, state: rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;
    use proptest::prelude::{any, prop};
    use proptest::{prop_assert, proptest};

    fn snapshot(number: u8) -> SnapshotFile {
        SnapshotFile { head: Bytes::from(vec![number; 9]), state: Bytes::from(vec![number; 3000]) }
    }

    #[test]
    fn a_crash_at_any_operation_leaves_the_old_snapshot_or_the_new_one() {
        for stop in 0..8 {
            for seed in 0..20 {
                let disk = SimDisk::new();
                snapshot(1).write(&disk).unwrap();
                disk.stop_after(disk.operations() + stop);
                let written = snapshot(2).write(&disk).is_ok();
                disk.crash(seed);
                let found = SnapshotFile::read(&disk).unwrap().unwrap();
                assert!(found == snapshot(2) || (!written && found == snapshot(1)), "stop {stop} seed {seed}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error_that_names_the_file() {
        for at in [3, 14, 22, 30, 2000] {
            let disk = SimDisk::new();
            snapshot(1).write(&disk).unwrap();
            disk.flip_bit(SNAPSHOT_FILE, at, 1);
            let error = SnapshotFile::read(&disk).unwrap_err();
            assert_eq!(error.to_string(), "sim/snapshot: the snapshot is damaged or of an unknown version");
        }
        assert_eq!(SnapshotFile::read(&SimDisk::new()).unwrap(), None);
    }

    #[test]
    fn the_bytes_of_a_snapshot_are_fixed() {
        let disk = SimDisk::new();
        let file = SnapshotFile { head: Bytes::from_static(b"head"), state: Bytes::from_static(b"the state") };
        file.write(&disk).unwrap();
        let mut bytes = vec![0; 64];
        let len = disk.open(SNAPSHOT_FILE).unwrap().read_at(0, &mut bytes).unwrap();
        let expected = [
            &b"RFRNSNAP"[..],
            &[1, 0, 0, 0],
            &crc32c::crc32c(&[&[4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0][..], b"headthe state"].concat()).to_le_bytes(),
            &[4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0],
            b"headthe state",
        ]
        .concat();
        assert_eq!(bytes[..len], expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(SnapshotFile::decode(Bytes::from(bytes)).is_none());
        }
    }
}
