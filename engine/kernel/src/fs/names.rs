//! Making and removing names: directories, hard links, symbolic links.

use super::Fs;
use super::dir::Directory;
use super::inode::{InodeId, Node};
use super::path::{Follow, Located, Name, check_text};
use super::quota::{INODE_CHARGE_BYTES, NAME_CHARGE_BYTES};
use crate::errno::Errno;

/// How many names a file may have.
pub const MAX_LINKS: u32 = 65_000;

impl Fs {
    /// Makes an empty directory.
    ///
    /// # Errors
    /// Those of the walk, `Exist`, `Nospc`.
    pub fn mkdir(&mut self, dir: InodeId, path: &[u8], now_ns: u64) -> Result<InodeId, Errno> {
        let free = self.locate_free(dir, path)?;
        self.check_inode()?;
        self.quota.charge(INODE_CHARGE_BYTES + NAME_CHARGE_BYTES)?;
        let node = Node::Directory(Directory::new(free.dir));
        Ok(self.attach(free.dir, &free.name, node, now_ns))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Those of the walk, `Notdir`, `Notempty`; `Inval` when the path ends in `.` or `..`.
    pub fn rmdir(&mut self, dir: InodeId, path: &[u8], now_ns: u64) -> Result<(), Errno> {
        let Located::Name(name) = self.locate(dir, path, Follow::No)? else {
            return Err(Errno::Inval);
        };
        let found = name.found.ok_or(Errno::Noent)?;
        if !self.directory(found)?.is_empty() {
            return Err(Errno::Notempty);
        }
        self.remove_name(&name, found, now_ns);
        Ok(())
    }

    /// Removes a name of a file or symbolic link. What has no name left lives until its last handle is released.
    ///
    /// # Errors
    /// Those of the walk, `Isdir` for a directory.
    pub fn unlink(&mut self, dir: InodeId, path: &[u8], now_ns: u64) -> Result<(), Errno> {
        let Located::Name(name) = self.locate(dir, path, Follow::No)? else {
            return Err(Errno::Isdir);
        };
        let found = name.found.ok_or(Errno::Noent)?;
        if self.directory(found).is_ok() {
            return Err(Errno::Isdir);
        }
        self.remove_name(&name, found, now_ns);
        Ok(())
    }

    /// Gives a file or symbolic link one more name.
    ///
    /// # Errors
    /// Those of both walks, `Perm` for a directory, `Exist`, `Mlink` above [`MAX_LINKS`], `Nospc`.
    pub fn link(
        &mut self,
        old_dir: InodeId,
        old_path: &[u8],
        follow: Follow,
        new_dir: InodeId,
        new_path: &[u8],
        now_ns: u64,
    ) -> Result<(), Errno> {
        let id = self.lookup_at(old_dir, old_path, follow)?;
        if self.directory(id).is_ok() {
            return Err(Errno::Perm);
        }
        let free = self.locate_free(new_dir, new_path)?;
        if free.slash {
            return Err(Errno::Noent);
        }
        if self.inode(id)?.links >= MAX_LINKS {
            return Err(Errno::Mlink);
        }
        self.quota.charge(NAME_CHARGE_BYTES)?;
        self.add_name(free.dir, &free.name, id, now_ns);
        self.inode_mut(id)?.ctime_ns = now_ns;
        Ok(())
    }

    /// Makes a symbolic link that stands for `target`, relative to the link's directory.
    ///
    /// # Errors
    /// Those of the walk, `Exist`, `Nospc`; for the target `Perm` when it is absolute, `Noent` when it is empty,
    /// `Nametoolong`, `Inval` for a zero byte.
    pub fn symlink(&mut self, target: &[u8], dir: InodeId, path: &[u8], now_ns: u64) -> Result<(), Errno> {
        check_text(target)?;
        let free = self.locate_free(dir, path)?;
        if free.slash {
            return Err(Errno::Noent);
        }
        let charge = INODE_CHARGE_BYTES + NAME_CHARGE_BYTES + target.len() as u64;
        self.check_inode()?;
        self.quota.charge(charge)?;
        self.attach(free.dir, &free.name, Node::Symlink(target.into()), now_ns);
        Ok(())
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// Those of the walk, `Inval` when it is no symbolic link.
    pub fn readlink(&self, dir: InodeId, path: &[u8]) -> Result<&[u8], Errno> {
        let id = self.lookup_at(dir, path, Follow::No)?;
        match &self.inode(id)?.node {
            Node::Symlink(target) => Ok(target),
            Node::File(_) | Node::Directory(_) => Err(Errno::Inval),
        }
    }

    fn remove_name(&mut self, name: &Name, id: InodeId, now_ns: u64) {
        self.edit_directory(name.dir, now_ns, |entries| entries.remove(&name.name));
        self.forget_name(id, now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::{Follow, MAX_LINKS};
    use crate::errno::Errno;
    use crate::fs::fixture::{create, empty, read, tree, write};
    use crate::fs::{Fs, INODE_CHARGE_BYTES, MAX_PATH_BYTES, NAME_CHARGE_BYTES, ROOT};

    #[test]
    fn directories_are_made_once_and_removed_when_empty() {
        let mut fs = empty(1 << 20);
        fs.mkdir(ROOT, b"d/", 1).unwrap();
        assert_eq!(fs.mkdir(ROOT, b"d", 1), Err(Errno::Exist));
        assert_eq!(fs.mkdir(ROOT, b".", 1), Err(Errno::Exist));
        assert_eq!(fs.mkdir(ROOT, b"x/y", 1), Err(Errno::Noent));
        create(&mut fs, "d/f");
        assert_eq!(fs.rmdir(ROOT, b"d", 1), Err(Errno::Notempty));
        assert_eq!(fs.rmdir(ROOT, b"d/f", 1), Err(Errno::Notdir));
        assert_eq!(fs.rmdir(ROOT, b"d/.", 1), Err(Errno::Inval));
        assert_eq!(fs.rmdir(ROOT, b"x", 1), Err(Errno::Noent));
        fs.unlink(ROOT, b"d/f", 1).unwrap();
        fs.rmdir(ROOT, b"d/", 1).unwrap();
        assert!(tree(&fs).is_empty());
    }

    #[test]
    fn unlink_takes_files_and_links_but_no_directories() {
        let mut fs = empty(1 << 20);
        fs.mkdir(ROOT, b"d", 1).unwrap();
        create(&mut fs, "f");
        fs.symlink(b"d", ROOT, b"l", 1).unwrap();
        for path in [&b"d"[..], b"d/", b".", b"l/"] {
            assert_eq!(fs.unlink(ROOT, path, 1), Err(Errno::Isdir));
        }
        assert_eq!(fs.unlink(ROOT, b"f/", 1), Err(Errno::Notdir));
        assert_eq!(fs.unlink(ROOT, b"x", 1), Err(Errno::Noent));
        fs.unlink(ROOT, b"l", 1).unwrap();
        fs.unlink(ROOT, b"f", 1).unwrap();
        assert_eq!(tree(&fs), ["d/"]);
    }

    #[test]
    fn an_unlinked_file_lives_until_its_last_handle_is_released() {
        let mut fs = empty(1 << 20);
        let f = create(&mut fs, "f");
        fs.retain(f);
        fs.retain(f);
        write(&mut fs, f, 0, b"abc").unwrap();
        fs.unlink(ROOT, b"f", 9).unwrap();
        fs.release(f);
        assert_eq!(fs.append(f, b"d", 9), Ok(3));
        let stat = fs.stat(f).unwrap();
        assert_eq!((stat.links, stat.size_bytes), (0, 4));
        fs.release(f);
        assert_eq!(fs.stat(f).err(), Some(Errno::Badf));
        assert_eq!(fs.usage().used_bytes, 0);
    }

    #[test]
    fn hard_links_share_one_file() {
        let mut fs = empty(1 << 20);
        let a = create(&mut fs, "a");
        fs.link(ROOT, b"a", Follow::No, ROOT, b"b", 5).unwrap();
        assert_eq!(fs.stat(a).unwrap().ctime_ns, 5);
        write(&mut fs, a, 0, b"abc").unwrap();
        assert_eq!(read(&fs, "b"), b"abc");
        assert_eq!(fs.stat(a).unwrap().links, 2);
        fs.unlink(ROOT, b"a", 6).unwrap();
        let stat = fs.stat(a).unwrap();
        assert_eq!((stat.links, stat.ctime_ns), (1, 6));
    }

    #[test]
    fn links_to_directories_over_names_and_with_a_slash_are_refused() {
        let mut fs = empty(1 << 20);
        fs.mkdir(ROOT, b"d", 1).unwrap();
        create(&mut fs, "a");
        fs.symlink(b"a", ROOT, b"l", 1).unwrap();
        let mut link = |old: &[u8], follow, new: &[u8]| fs.link(ROOT, old, follow, ROOT, new, 1);
        assert_eq!(link(b"d", Follow::No, b"e"), Err(Errno::Perm));
        assert_eq!(link(b"a", Follow::No, b"l"), Err(Errno::Exist));
        assert_eq!(link(b"a", Follow::No, b"x/"), Err(Errno::Noent));
        assert_eq!(link(b"x", Follow::No, b"y"), Err(Errno::Noent));
        assert_eq!(link(b"l", Follow::No, b"l2"), Ok(()));
        assert_eq!(link(b"l", Follow::Yes, b"a2"), Ok(()));
        assert_eq!(fs.readlink(ROOT, b"l2"), Ok(&b"a"[..]));
        assert_eq!(fs.readlink(ROOT, b"a2"), Err(Errno::Inval));
    }

    #[test]
    fn a_file_takes_65000_names_and_not_one_more() {
        let mut fs = empty(u64::from(MAX_LINKS) * NAME_CHARGE_BYTES + INODE_CHARGE_BYTES + 4096);
        let a = create(&mut fs, "0");
        let name = |index: u32| index.to_string().into_bytes();
        let link = |fs: &mut Fs, index| fs.link(ROOT, b"0", Follow::No, ROOT, &name(index), 1);
        for index in 1..MAX_LINKS {
            link(&mut fs, index).unwrap();
        }
        assert_eq!(link(&mut fs, MAX_LINKS), Err(Errno::Mlink));
        assert_eq!(fs.stat(a).unwrap().links, MAX_LINKS);
    }

    #[test]
    fn symlink_targets_are_kept_as_given_within_limits() {
        let mut fs = empty(1 << 20);
        fs.symlink(b"../no/where//", ROOT, b"l", 1).unwrap();
        assert_eq!(fs.readlink(ROOT, b"l"), Ok(&b"../no/where//"[..]));
        assert_eq!(fs.symlink(b"", ROOT, b"e", 1), Err(Errno::Noent));
        assert_eq!(fs.symlink(b"a\0", ROOT, b"e", 1), Err(Errno::Inval));
        assert_eq!(fs.symlink(b"x", ROOT, b"l", 1), Err(Errno::Exist));
        assert_eq!(fs.symlink(b"x", ROOT, b"e/", 1), Err(Errno::Noent));
        let longest = vec![b'x'; MAX_PATH_BYTES];
        fs.symlink(&longest, ROOT, b"long", 1).unwrap();
        let above = [&longest[..], b"x"].concat();
        assert_eq!(fs.symlink(&above, ROOT, b"e", 1), Err(Errno::Nametoolong));
    }
}
