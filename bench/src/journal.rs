//! A file whose space is reserved and was written with zeros, so that a sync writes data and no metadata: the least
//! that any log with durability pays.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::fdatasync;

/// The file begins again at its start when it is full.
const FILE_BYTES: u64 = 8 << 20;

/// The file, and where the next bytes go.
pub struct Journal {
    file: File,
    offset: u64,
}

impl Journal {
    /// Makes the file.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let zeros = vec![0; FILE_BYTES as usize];
        file.write_all_at(&zeros, 0).with_context(|| format!("cannot write {}", path.display()))?;
        file.sync_all().with_context(|| format!("cannot sync {}", path.display()))?;
        Ok(Self { file, offset: 0 })
    }

    /// Writes bytes; returns when they are on the disk.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u64;
        ensure!(len <= FILE_BYTES, "{len} bytes are more than the {FILE_BYTES} of the file");
        if self.offset + len > FILE_BYTES {
            self.offset = 0;
        }
        self.file.write_all_at(bytes, self.offset).context("cannot write")?;
        fdatasync(&self.file).context("cannot sync")?;
        self.offset += len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_used_again_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::create(&path).unwrap();
        journal.offset = FILE_BYTES - 3;
        journal.append(b"end").unwrap();
        assert_eq!(journal.offset, FILE_BYTES);
        journal.append(b"start").unwrap();
        assert_eq!(journal.offset, 5);
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes.starts_with(b"start") && bytes.ends_with(b"end"));
        assert_eq!(bytes.len() as u64, FILE_BYTES);
    }

    #[test]
    fn more_bytes_than_the_file_has_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(&folder.path().join("journal")).unwrap();
        assert!(journal.append(&vec![1; FILE_BYTES as usize]).is_ok());
        assert!(journal.append(&vec![1; FILE_BYTES as usize + 1]).is_err());
    }
}
