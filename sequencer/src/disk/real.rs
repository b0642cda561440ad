//! A folder of the real file system. An exclusive lock on it keeps a second process out.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::{Errno, pwritev};

use super::{Disk, DiskFile};

pub(super) const LOCK_FILE: &str = "lock";
/// The most parts that one `pwritev` takes (`IOV_MAX` of Linux).
const MAX_PARTS: usize = 1024;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A folder that this process alone uses.
#[derive(Debug)]
pub struct RealDisk {
    folder: PathBuf,
    handle: File,
    _lock: File,
}

impl RealDisk {
    /// Creates `folder` where it is missing, readable by its owner alone, and locks it.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds the lock, else what the file system says.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let missing: Vec<PathBuf> = folder.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
        builder.recursive(true).create(&folder)?;
        let lock = owner_only().create(true).truncate(false).open(folder.join(LOCK_FILE))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        // The name of each folder that was made, and that of this one in any case: a former start may have been cut off.
        for named in missing.iter().map(PathBuf::as_path).chain([folder.as_path()]) {
            if let Some(parent) = named.parent() {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                File::open(parent)?.sync_all()?;
            }
        }
        let handle = File::open(&folder)?;
        Ok(Self { folder, handle, _lock: lock })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Disk for RealDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(owner_only().open(self.path(name))?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = owner_only().create(true).truncate(true).open(self.path(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        list(&self.folder)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, mut offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        for group in parts.chunks(MAX_PARTS) {
            offset = write_group(&self.0, offset, group)?;
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        read_at(&self.0, offset, into)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(&self.0, len),
            Err(error) => Err(error.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// The names of a folder's files, without that of the lock.
pub(super) fn list(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| *name != LOCK_FILE).map(str::to_owned));
    }
    Ok(names)
}

/// Fills `into` from `offset`; fewer bytes only at the end of the file.
pub(super) fn read_at(file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn write_group(file: &File, mut offset: u64, parts: &[IoSlice<'_>]) -> io::Result<u64> {
    let mut parts = parts.to_vec();
    let mut left = parts.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match pwritev(file, left, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                IoSlice::advance_slices(&mut left, count);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(offset)
}

/// For file systems that cannot reserve space: the bytes are written, from the file's end on.
fn write_zeros(file: &File, len: u64) -> io::Result<()> {
    let mut at = file.metadata()?.len();
    while at < len {
        let count = (len - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opening_of_a_folder_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let first = RealDisk::open(temp.path()).unwrap();
        assert_eq!(RealDisk::open(temp.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(RealDisk::open(temp.path()).is_ok());
    }

    #[test]
    fn more_parts_than_one_call_takes_are_all_written() {
        let temp = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(temp.path()).unwrap();
        let file = disk.create("f").unwrap();
        file.preallocate(8192).unwrap();
        let bytes: Vec<[u8; 3]> = (0..2500u32).map(|i| [i as u8, (i >> 8) as u8, 7]).collect();
        let parts: Vec<IoSlice<'_>> = bytes.iter().map(|b| IoSlice::new(b)).collect();
        file.write_at(5, &parts).unwrap();
        let mut back = vec![0; 7500];
        assert_eq!(file.read_at(5, &mut back).unwrap(), 7500);
        assert_eq!(back, bytes.concat());
        assert_eq!(file.size().unwrap(), 8192);
        assert_eq!(disk.list().unwrap(), ["f"]);
    }
}
