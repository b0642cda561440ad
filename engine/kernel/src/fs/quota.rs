//! What a guest may store, in bytes, and how many inodes it may make.
//!
//! Content counts in whole chunks, and each inode and each name has a fixed charge that covers the memory they take,
//! so the quota bounds memory whatever the guest creates. The tree of the bundle counts as well, but a grant of the
//! same size is added to the limit: deleting bundle files never takes room away and never makes it negative. Inodes are
//! counted in the same way: those of the bundle's tree come on top. How many there may be is not part of the state: the
//! kernel sets it by what the guest is given, anew wherever the state is read.

use crate::errno::Errno;

/// What an inode costs besides its content.
pub const INODE_CHARGE_BYTES: u64 = 512;

/// What a name in a directory costs, whatever its length.
pub const NAME_CHARGE_BYTES: u64 = 512;

/// How much a guest has stored and how much it may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Charged bytes beyond those of the bundle's own tree.
    pub used_bytes: u64,
    /// The limit for them.
    pub limit_bytes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Quota {
    pub(super) limit_bytes: u64,
    pub(super) granted_bytes: u64,
    pub(super) used_bytes: u64,
    /// The most inodes that may exist, those of the bundle's tree included.
    pub(super) max_inodes: u64,
}

impl Quota {
    /// No limit of inodes but that of their charge.
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, granted_bytes: 0, used_bytes: 0, max_inodes: u64::MAX }
    }

    /// Accounts for the bundle's tree, on top of the limit.
    pub(super) fn grant(&mut self, bytes: u64) {
        self.granted_bytes = bytes;
        self.used_bytes = bytes;
    }

    /// Takes `bytes`, or answers `Nospc` and takes nothing.
    pub(super) fn charge(&mut self, bytes: u64) -> Result<(), Errno> {
        let used = self.used_bytes.checked_add(bytes).ok_or(Errno::Nospc)?;
        if used > self.ceiling_bytes() {
            return Err(Errno::Nospc);
        }
        self.used_bytes = used;
        Ok(())
    }

    pub(super) fn refund(&mut self, bytes: u64) {
        self.used_bytes = self.used_bytes.checked_sub(bytes).expect("only what was charged is refunded");
    }

    pub(super) fn ceiling_bytes(&self) -> u64 {
        self.limit_bytes.saturating_add(self.granted_bytes)
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { used_bytes: self.used_bytes.saturating_sub(self.granted_bytes), limit_bytes: self.limit_bytes }
    }
}

#[cfg(test)]
mod tests {
    use crate::errno::Errno;
    use crate::fs::fixture::{bundle, create, empty, file, write};
    use crate::fs::{CHUNK_BYTES, Follow, Fs, INODE_CHARGE_BYTES, NAME_CHARGE_BYTES, OpenFlags, ROOT};

    const FILE: u64 = INODE_CHARGE_BYTES + NAME_CHARGE_BYTES;
    const CHUNK: u64 = CHUNK_BYTES as u64;

    #[test]
    fn content_up_to_the_limit_fits_and_one_byte_more_changes_nothing() {
        let mut fs = empty(FILE + 2 * CHUNK);
        let a = create(&mut fs, "a");
        write(&mut fs, a, 0, &vec![7; 2 * CHUNK_BYTES]).unwrap();
        assert_eq!(fs.usage().used_bytes, fs.usage().limit_bytes);
        let before = crate::fs::fixture::encoded(&fs);
        assert_eq!(write(&mut fs, a, 2 * CHUNK, b"x"), Err(Errno::Nospc));
        assert_eq!(fs.append(a, b"x", 9), Err(Errno::Nospc));
        assert_eq!(fs.allocate(a, 2 * CHUNK, 1, 9), Err(Errno::Nospc));
        assert_eq!(crate::fs::fixture::encoded(&fs), before);
    }

    #[test]
    fn names_and_inodes_count_at_the_limit_and_above() {
        let mut fs = empty(2 * FILE);
        create(&mut fs, "a");
        fs.mkdir(ROOT, b"d", 1).unwrap();
        let before = crate::fs::fixture::encoded(&fs);
        assert_eq!(fs.mkdir(ROOT, b"e", 1), Err(Errno::Nospc));
        assert_eq!(fs.symlink(b"a", ROOT, b"s", 1), Err(Errno::Nospc));
        let hard = fs.link(ROOT, b"a", Follow::No, ROOT, b"b", 1);
        assert_eq!(hard, Err(Errno::Nospc));
        let made = fs.open_at(ROOT, b"f", Follow::Yes, OpenFlags::CREATE, 1);
        assert_eq!(made.map(|opened| opened.inode), Err(Errno::Nospc));
        assert_eq!(crate::fs::fixture::encoded(&fs), before);
        fs.rename(ROOT, b"a", ROOT, b"d/moved", 1).unwrap();
    }

    #[test]
    fn inodes_are_made_up_to_their_limit_and_one_more_changes_nothing() {
        let bundle = bundle(&[("/a/b/c", vec![]), ("/a/b/d", vec![]), ("/a/e", vec![]), ("/f", vec![])]);
        let mut fs = Fs::new(&bundle, 1 << 20, 0);
        fs.limit_inodes(3);
        assert_eq!(fs.inodes_made(), 0);
        let kept = create(&mut fs, "1");
        fs.mkdir(ROOT, b"2", 1).unwrap();
        fs.symlink(b"1", ROOT, b"3", 1).unwrap();
        assert_eq!(fs.inodes_made(), 3);
        let before = crate::fs::fixture::encoded(&fs);
        assert_eq!(fs.mkdir(ROOT, b"4", 1), Err(Errno::Nospc));
        assert_eq!(fs.symlink(b"1", ROOT, b"4", 1), Err(Errno::Nospc));
        let made = fs.open_at(ROOT, b"4", Follow::Yes, OpenFlags::CREATE, 1);
        assert_eq!(made.map(|opened| opened.inode), Err(Errno::Nospc));
        assert_eq!(crate::fs::fixture::encoded(&fs), before);
        // Another name of an inode is none, and an unlinked one that is open still is.
        fs.link(ROOT, b"1", Follow::No, ROOT, b"hard", 1).unwrap();
        fs.retain(kept);
        fs.unlink(ROOT, b"1", 1).unwrap();
        fs.unlink(ROOT, b"hard", 1).unwrap();
        assert_eq!(fs.mkdir(ROOT, b"4", 1), Err(Errno::Nospc));
        fs.release(kept);
        fs.mkdir(ROOT, b"4", 1).unwrap();
        fs.unlink(ROOT, b"f", 1).unwrap();
        fs.mkdir(ROOT, b"5", 1).unwrap();
        assert_eq!(fs.mkdir(ROOT, b"6", 1), Err(Errno::Nospc));
    }

    #[test]
    fn a_limit_of_no_inodes_leaves_the_bundle_alone() {
        let mut fs = Fs::new(&bundle(&[("/a/b", vec![1])]), 1 << 20, 0);
        fs.limit_inodes(0);
        assert_eq!(fs.mkdir(ROOT, b"d", 1), Err(Errno::Nospc));
        let b = file(&fs, "a/b");
        write(&mut fs, b, 0, b"x").unwrap();
        assert_eq!(fs.inodes_made(), 0);
    }

    #[test]
    fn truncate_and_the_last_close_of_a_deleted_file_refund() {
        let mut fs = empty(FILE + 3 * CHUNK);
        let a = create(&mut fs, "a");
        write(&mut fs, a, 0, &vec![1; 3 * CHUNK_BYTES]).unwrap();
        fs.set_size(a, CHUNK + 1, 2).unwrap();
        assert_eq!(fs.usage().used_bytes, FILE + 2 * CHUNK);
        fs.retain(a);
        fs.unlink(ROOT, b"a", 3).unwrap();
        assert_eq!(fs.usage().used_bytes, INODE_CHARGE_BYTES + 2 * CHUNK);
        fs.release(a);
        assert_eq!(fs.usage().used_bytes, 0);
    }

    #[test]
    fn holes_are_free() {
        let mut fs = empty(FILE + CHUNK);
        let a = create(&mut fs, "a");
        fs.set_size(a, 1 << 50, 1).unwrap();
        write(&mut fs, a, 1 << 49, b"x").unwrap();
        assert_eq!(fs.usage().used_bytes, FILE + CHUNK);
    }

    #[test]
    fn the_bundle_is_free_and_each_chunk_copied_up_counts() {
        let bundle = bundle(&[("/etc/big", vec![3; 3 * CHUNK_BYTES])]);
        let mut fs = Fs::new(&bundle, CHUNK, 0);
        assert_eq!(fs.usage().used_bytes, 0);
        let big = file(&fs, "etc/big");
        write(&mut fs, big, 5, b"x").unwrap();
        assert_eq!(fs.usage().used_bytes, CHUNK);
        assert_eq!(write(&mut fs, big, CHUNK, b"x"), Err(Errno::Nospc));
        fs.unlink(ROOT, b"etc/big", 1).unwrap();
        assert_eq!(fs.usage().used_bytes, 0);
    }
}
