//! A folder of the real file system that is only read. A shared lock keeps a process that writes it out.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::real::{LOCK_FILE, read_at};
use super::{Disk, DiskFile};

/// A folder that nobody writes meanwhile. Everything that would change it is an error, but syncs, which have nothing to
/// do.
#[derive(Debug)]
pub struct ReadOnlyDisk {
    folder: PathBuf,
    _lock: Option<File>,
}

impl ReadOnlyDisk {
    /// Opens a folder that must be there.
    ///
    /// # Errors
    /// `WouldBlock` when a process writes it, else what the file system says.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        std::fs::read_dir(&folder)?;
        let lock = lock_shared(&folder.join(LOCK_FILE))?;
        Ok(Self { folder, _lock: lock })
    }
}

/// Holds the lock of a file together with other readers; none where there is no such file.
///
/// # Errors
/// `WouldBlock` when a process holds it for itself.
pub fn lock_shared(path: &Path) -> io::Result<Option<File>> {
    let lock = match File::open(path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    flock(&lock, FlockOperation::NonBlockingLockShared)?;
    Ok(Some(lock))
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(ErrorKind::ReadOnlyFilesystem, "the folder is only read"))
}

impl Disk for ReadOnlyDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ReadOnlyFile(File::open(self.path(name))?)))
    }

    fn create(&self, _name: &str) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        super::real::list(&self.folder)
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        refused()
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        refused()
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

struct ReadOnlyFile(File);

impl DiskFile for ReadOnlyFile {
    fn write_at(&self, _offset: u64, _parts: &[IoSlice<'_>]) -> io::Result<()> {
        refused()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        read_at(&self.0, offset, into)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn preallocate(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_folder_that_is_written_is_not_read_and_the_other_way_round() {
        let temp = tempfile::tempdir().unwrap();
        let writer = RealDisk::open(temp.path()).unwrap();
        assert_eq!(ReadOnlyDisk::open(temp.path()).unwrap_err().kind(), ErrorKind::WouldBlock);
        writer.create("f").unwrap();
        drop(writer);
        let readers = [ReadOnlyDisk::open(temp.path()).unwrap(), ReadOnlyDisk::open(temp.path()).unwrap()];
        assert_eq!(RealDisk::open(temp.path()).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(readers[0].list().unwrap(), ["f"]);
        let file = readers[0].open("f").unwrap();
        assert!(readers[0].create("g").is_err() && readers[0].remove("f").is_err() && file.set_len(1).is_err());
    }
}
