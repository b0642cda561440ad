//! Content and attributes of an inode that the caller holds open or has just looked up.
//!
//! A write takes all its bytes or fails and changes nothing; there are no short writes. Reads set the access time
//! as `relatime` does on Linux, so that reading alone seldom changes the state: only when it is not younger than
//! the last change or is a day old.

use super::Fs;
use super::content::Content;
use super::inode::{FileStat, Inode, InodeId, Node};
use crate::errno::Errno;

/// The largest size of a file: offsets are signed in POSIX.
pub const MAX_FILE_BYTES: u64 = i64::MAX as u64;

const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// New times of an inode, in nanoseconds; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeChange {
    /// Access time.
    pub atime_ns: Option<u64>,
    /// Time of the last change of content.
    pub mtime_ns: Option<u64>,
}

impl Fs {
    /// Reads into `buf` from `offset` and tells how many bytes; fewer than asked for only at the end of the file.
    ///
    /// # Errors
    /// `Isdir` for a directory, `Inval` for a symbolic link.
    pub fn read_at(&mut self, id: InodeId, offset: u64, buf: &mut [u8], now_ns: u64) -> Result<usize, Errno> {
        let inode = self.inode_mut(id)?;
        let read = content(inode)?.read(offset, buf);
        let changed_ns = inode.mtime_ns.max(inode.ctime_ns);
        let age_ns = now_ns.saturating_sub(inode.atime_ns);
        if read > 0 && (inode.atime_ns <= changed_ns || age_ns >= DAY_NS) {
            inode.atime_ns = now_ns;
        }
        Ok(read)
    }

    /// Writes all of `data` at `offset`. A gap behind the old end reads as zeros.
    ///
    /// # Errors
    /// `Isdir`, `Inval` as [`Fs::read_at`]; `Fbig` above [`MAX_FILE_BYTES`]; `Nospc` when the quota does not allow it.
    pub fn write_at(&mut self, id: InodeId, offset: u64, data: &[u8], now_ns: u64) -> Result<(), Errno> {
        let written = content(self.inode(id)?)?;
        if data.is_empty() {
            return Ok(());
        }
        let end = end_of(offset, data.len() as u64)?;
        self.quota.charge(written.missing_bytes(offset, end))?;
        self.edit_content(id, now_ns, |content| content.write(offset, data));
        Ok(())
    }

    /// Writes all of `data` at the end of the file and tells where that was.
    ///
    /// # Errors
    /// As [`Fs::write_at`].
    pub fn append(&mut self, id: InodeId, data: &[u8], now_ns: u64) -> Result<u64, Errno> {
        let offset = content(self.inode(id)?)?.size_bytes();
        self.write_at(id, offset, data, now_ns)?;
        Ok(offset)
    }

    /// Cuts the file, or lengthens it by zeros that take no room.
    ///
    /// # Errors
    /// `Isdir`, `Inval` as [`Fs::read_at`]; `Fbig` above [`MAX_FILE_BYTES`].
    pub fn set_size(&mut self, id: InodeId, size_bytes: u64, now_ns: u64) -> Result<(), Errno> {
        let before = content(self.inode(id)?)?.charge_bytes();
        end_of(size_bytes, 0)?;
        let after = self.edit_content(id, now_ns, |content| {
            content.resize(size_bytes);
            content.charge_bytes()
        });
        self.quota.refund(before - after);
        Ok(())
    }

    /// Takes the room for a range, so that writes there cannot fail for want of it, and lengthens the file to its end.
    ///
    /// # Errors
    /// As [`Fs::write_at`]; `Inval` for an empty range.
    pub fn allocate(&mut self, id: InodeId, offset: u64, len: u64, now_ns: u64) -> Result<(), Errno> {
        let present = content(self.inode(id)?)?;
        if len == 0 {
            return Err(Errno::Inval);
        }
        let end = end_of(offset, len)?;
        self.quota.charge(present.missing_bytes(offset, end))?;
        self.edit_content(id, now_ns, |content| content.materialise(offset, end));
        Ok(())
    }

    /// The attributes.
    ///
    /// # Errors
    /// `Badf` for an unknown inode.
    pub fn stat(&self, id: InodeId) -> Result<FileStat, Errno> {
        Ok(self.inode(id)?.stat(id))
    }

    /// Sets access and modification time; the change time becomes `now_ns`.
    ///
    /// # Errors
    /// `Badf` for an unknown inode.
    pub fn set_times(&mut self, id: InodeId, change: TimeChange, now_ns: u64) -> Result<(), Errno> {
        let inode = self.inode_mut(id)?;
        inode.atime_ns = change.atime_ns.unwrap_or(inode.atime_ns);
        inode.mtime_ns = change.mtime_ns.unwrap_or(inode.mtime_ns);
        inode.ctime_ns = now_ns;
        Ok(())
    }

    /// Nothing to do: what a turn wrote is as durable as the log that it came from.
    ///
    /// # Errors
    /// `Badf` for an unknown inode.
    pub fn sync(&self, id: InodeId) -> Result<(), Errno> {
        self.inode(id).map(|_| ())
    }

    fn edit_content<T>(&mut self, id: InodeId, now_ns: u64, edit: impl FnOnce(&mut Content) -> T) -> T {
        let inode = self.inodes.get_mut(&id).expect("the caller looked at it");
        inode.modified(now_ns);
        match &mut inode.node {
            Node::File(content) => edit(content),
            Node::Directory(_) | Node::Symlink(_) => unreachable!("the caller looked at its content"),
        }
    }
}

fn content(inode: &Inode) -> Result<&Content, Errno> {
    match &inode.node {
        Node::File(content) => Ok(content),
        Node::Directory(_) => Err(Errno::Isdir),
        Node::Symlink(_) => Err(Errno::Inval),
    }
}

fn end_of(offset: u64, len: u64) -> Result<u64, Errno> {
    let end = offset.checked_add(len).ok_or(Errno::Fbig)?;
    if end > MAX_FILE_BYTES {
        return Err(Errno::Fbig);
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::{DAY_NS, MAX_FILE_BYTES, TimeChange};
    use crate::errno::Errno;
    use crate::fs::fixture::{create, empty, read, write};
    use crate::fs::{CHUNK_BYTES, Follow, InodeId, ROOT};

    #[test]
    fn reads_and_writes_work_at_any_offset() {
        let mut fs = empty(1 << 20);
        let a = create(&mut fs, "a");
        write(&mut fs, a, 3, b"abc").unwrap();
        assert_eq!(fs.append(a, b"de", 2), Ok(6));
        write(&mut fs, a, 4, b"X").unwrap();
        assert_eq!(read(&fs, "a"), b"\0\0\0aXcde");
        let mut buf = [9; 4];
        assert_eq!(fs.read_at(a, 6, &mut buf, 3), Ok(2));
        assert_eq!(buf, [b'd', b'e', 9, 9]);
        assert_eq!(fs.read_at(a, 8, &mut buf, 3), Ok(0));
        assert_eq!(fs.read_at(a, u64::MAX, &mut buf, 3), Ok(0));
    }

    #[test]
    fn an_empty_write_changes_nothing() {
        let mut fs = empty(1 << 20);
        let a = create(&mut fs, "a");
        let before = fs.stat(a).unwrap();
        fs.write_at(a, u64::MAX, b"", 77).unwrap();
        assert_eq!(fs.stat(a).unwrap(), before);
    }

    #[test]
    fn the_largest_file_is_taken_and_one_byte_more_is_not() {
        let mut fs = empty(1 << 20);
        let a = create(&mut fs, "a");
        fs.set_size(a, MAX_FILE_BYTES, 1).unwrap();
        assert_eq!(fs.set_size(a, MAX_FILE_BYTES + 1, 1), Err(Errno::Fbig));
        write(&mut fs, a, MAX_FILE_BYTES - 1, b"x").unwrap();
        assert_eq!(write(&mut fs, a, MAX_FILE_BYTES, b"x"), Err(Errno::Fbig));
        assert_eq!(write(&mut fs, a, u64::MAX, b"x"), Err(Errno::Fbig));
        assert_eq!(fs.allocate(a, u64::MAX, 2, 1), Err(Errno::Fbig));
        assert_eq!(fs.allocate(a, 0, MAX_FILE_BYTES, 1), Err(Errno::Nospc));
        assert_eq!(fs.stat(a).unwrap().size_bytes, MAX_FILE_BYTES);
    }

    #[test]
    fn allocate_lengthens_with_zeros_and_later_writes_there_are_free() {
        let mut fs = empty(1 << 20);
        let a = create(&mut fs, "a");
        write(&mut fs, a, 0, b"abc").unwrap();
        assert_eq!(fs.allocate(a, 0, 0, 1), Err(Errno::Inval));
        fs.allocate(a, 2, 2 * CHUNK_BYTES as u64, 1).unwrap();
        let used = fs.usage().used_bytes;
        write(&mut fs, a, CHUNK_BYTES as u64, b"x").unwrap();
        assert_eq!(fs.usage().used_bytes, used);
        let content = read(&fs, "a");
        assert_eq!(content.len(), 2 * CHUNK_BYTES + 2);
        assert_eq!(content[..4], *b"abc\0");
        assert_eq!(content[CHUNK_BYTES], b'x');
    }

    #[test]
    fn times_are_those_of_the_caller() {
        let mut fs = empty(1 << 20);
        let a = create(&mut fs, "a");
        fs.write_at(a, 0, b"abc", 20).unwrap();
        let times = |fs: &crate::fs::Fs| {
            let stat = fs.stat(a).unwrap();
            (stat.atime_ns, stat.mtime_ns, stat.ctime_ns)
        };
        assert_eq!(times(&fs), (1, 20, 20));
        fs.read_at(a, 0, &mut [0], 30).unwrap();
        fs.read_at(a, 0, &mut [0], 40).unwrap();
        assert_eq!(times(&fs), (30, 20, 20));
        fs.read_at(a, 0, &mut [0], 30 + DAY_NS).unwrap();
        assert_eq!(times(&fs), (30 + DAY_NS, 20, 20));
        fs.set_size(a, 3, 50).unwrap();
        assert_eq!(times(&fs), (30 + DAY_NS, 50, 50));
        let change = TimeChange { atime_ns: Some(7), mtime_ns: None };
        fs.set_times(a, change, 60).unwrap();
        assert_eq!(times(&fs), (7, 50, 60));
        fs.mkdir(ROOT, b"d", 70).unwrap();
        let root = fs.stat(ROOT).unwrap();
        assert_eq!((root.mtime_ns, root.ctime_ns), (70, 70));
    }

    #[test]
    fn directories_and_links_have_no_content() {
        let mut fs = empty(1 << 20);
        fs.symlink(b"x", ROOT, b"l", 1).unwrap();
        let link = fs.lookup_at(ROOT, b"l", Follow::No).unwrap();
        assert_eq!(fs.stat(link).unwrap().size_bytes, 1);
        for (inode, errno) in [(ROOT, Errno::Isdir), (link, Errno::Inval), (InodeId(99), Errno::Badf)] {
            assert_eq!(fs.read_at(inode, 0, &mut [0], 1), Err(errno));
            assert_eq!(fs.write_at(inode, 0, b"x", 1), Err(errno));
            assert_eq!(fs.append(inode, b"x", 1), Err(errno));
            assert_eq!(fs.set_size(inode, 0, 1), Err(errno));
            assert_eq!(fs.allocate(inode, 0, 1, 1), Err(errno));
        }
        assert_eq!(fs.sync(ROOT), Ok(()));
        assert_eq!(fs.sync(InodeId(99)), Err(Errno::Badf));
    }
}
