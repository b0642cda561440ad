//! Opening: from a path to the inode that a descriptor will stand for.
//!
//! A descriptor is the caller's: after [`Fs::open_at`] it takes a handle with [`Fs::retain`] before it makes any
//! other call.

use super::Fs;
use super::content::Content;
use super::inode::{FileKind, InodeId, Node};
use super::path::{Follow, Located, Name};
use super::quota::{INODE_CHARGE_BYTES, NAME_CHARGE_BYTES};
use crate::errno::Errno;

/// How to open; preview 1's `oflags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags {
    /// Make a file when there is none.
    pub create: bool,
    /// Fail when there is one (with `create`).
    pub exclusive: bool,
    /// Cut the file to no bytes.
    pub truncate: bool,
    /// Fail when it is no directory.
    pub directory: bool,
}

impl OpenFlags {
    /// Only what exists, as it is.
    pub const NONE: Self = Self { create: false, exclusive: false, truncate: false, directory: false };
    /// What exists, or a new file.
    pub const CREATE: Self = Self { create: true, ..Self::NONE };
}

/// What was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The inode; not yet retained.
    pub inode: InodeId,
    /// What it is; never a symbolic link.
    pub kind: FileKind,
    /// Whether this call made it.
    pub created: bool,
}

impl Fs {
    /// Finds or makes what `path` names.
    ///
    /// # Errors
    /// Those of the walk; `Exist`, `Isdir`, `Notdir` as the flags say; `Loop` for a symbolic link that is not to be
    /// followed; `Inval` for `create` with `directory`; `Nospc` when a new file does not fit.
    pub fn open_at(
        &mut self,
        dir: InodeId,
        path: &[u8],
        follow: Follow,
        flags: OpenFlags,
        now_ns: u64,
    ) -> Result<Opened, Errno> {
        if flags.create && flags.directory {
            return Err(Errno::Inval);
        }
        let new_only = flags.create && flags.exclusive;
        let follow = if new_only { Follow::No } else { follow };
        let found = match self.locate(dir, path, follow)? {
            Located::Directory(found) => found,
            Located::Name(name) => match name.found {
                Some(found) => found,
                None if flags.create => return self.create_file(&name, now_ns),
                None => return Err(Errno::Noent),
            },
        };
        if new_only {
            return Err(Errno::Exist);
        }
        self.open_found(found, flags, now_ns)
    }

    fn open_found(&mut self, inode: InodeId, flags: OpenFlags, now_ns: u64) -> Result<Opened, Errno> {
        let kind = self.inode(inode)?.kind();
        match kind {
            FileKind::Symlink => return Err(Errno::Loop),
            FileKind::Directory if flags.create || flags.truncate => return Err(Errno::Isdir),
            FileKind::File if flags.directory => return Err(Errno::Notdir),
            FileKind::File if flags.truncate => self.set_size(inode, 0, now_ns)?,
            FileKind::Directory | FileKind::File => {}
        }
        Ok(Opened { inode, kind, created: false })
    }

    fn create_file(&mut self, free: &Name, now_ns: u64) -> Result<Opened, Errno> {
        if free.slash {
            return Err(Errno::Isdir);
        }
        self.check_alive(free.dir)?;
        self.check_inode()?;
        self.quota.charge(INODE_CHARGE_BYTES + NAME_CHARGE_BYTES)?;
        let node = Node::File(Content::default());
        Ok(Opened { inode: self.attach(free.dir, &free.name, node, now_ns), kind: FileKind::File, created: true })
    }
}

#[cfg(test)]
mod tests {
    use super::{FileKind, Follow, OpenFlags, Opened};
    use crate::errno::Errno;
    use crate::fs::fixture::{create, empty, read, write};
    use crate::fs::{Fs, ROOT};

    const EXCLUSIVE: OpenFlags = OpenFlags { exclusive: true, ..OpenFlags::CREATE };
    const TRUNCATE: OpenFlags = OpenFlags { truncate: true, ..OpenFlags::NONE };
    const DIRECTORY: OpenFlags = OpenFlags { directory: true, ..OpenFlags::NONE };

    fn open(fs: &mut Fs, path: &str, flags: OpenFlags) -> Result<Opened, Errno> {
        fs.open_at(ROOT, path.as_bytes(), Follow::Yes, flags, 5)
    }

    #[test]
    fn create_makes_a_file_once() {
        let mut fs = empty(1 << 20);
        assert_eq!(open(&mut fs, "a", OpenFlags::NONE), Err(Errno::Noent));
        let made = open(&mut fs, "a", OpenFlags::CREATE).unwrap();
        assert!(made.created && made.kind == FileKind::File);
        let again = open(&mut fs, "a", OpenFlags::CREATE).unwrap();
        assert!(!again.created && again.inode == made.inode);
        assert_eq!(open(&mut fs, "a", EXCLUSIVE), Err(Errno::Exist));
        assert!(open(&mut fs, "b", EXCLUSIVE).unwrap().created);
        assert_eq!(open(&mut fs, "new/", OpenFlags::CREATE), Err(Errno::Isdir));
        assert_eq!(open(&mut fs, "a/b", OpenFlags::CREATE), Err(Errno::Notdir));
        assert_eq!(open(&mut fs, "x/b", OpenFlags::CREATE), Err(Errno::Noent));
    }

    #[test]
    fn truncate_empties_a_file_and_plain_open_keeps_it() {
        let mut fs = empty(1 << 20);
        let a = create(&mut fs, "a");
        write(&mut fs, a, 0, b"abc").unwrap();
        open(&mut fs, "a", OpenFlags::CREATE).unwrap();
        assert_eq!(read(&fs, "a"), b"abc");
        open(&mut fs, "a", TRUNCATE).unwrap();
        assert_eq!(read(&fs, "a"), b"");
    }

    #[test]
    fn directories_open_only_without_create_or_truncate() {
        let mut fs = empty(1 << 20);
        let dir = fs.mkdir(ROOT, b"d", 1).unwrap();
        create(&mut fs, "f");
        assert_eq!(open(&mut fs, "d/", DIRECTORY).unwrap().inode, dir);
        assert_eq!(open(&mut fs, ".", DIRECTORY).unwrap().inode, ROOT);
        assert_eq!(open(&mut fs, "f", DIRECTORY), Err(Errno::Notdir));
        assert_eq!(open(&mut fs, "d", OpenFlags::CREATE), Err(Errno::Isdir));
        assert_eq!(open(&mut fs, "d", EXCLUSIVE), Err(Errno::Exist));
        assert_eq!(open(&mut fs, ".", EXCLUSIVE), Err(Errno::Exist));
        assert_eq!(open(&mut fs, "d", TRUNCATE), Err(Errno::Isdir));
        let both = OpenFlags { create: true, ..DIRECTORY };
        assert_eq!(open(&mut fs, "e", both), Err(Errno::Inval));
    }

    #[test]
    fn symlinks_are_followed_only_when_asked_and_never_by_exclusive() {
        let mut fs = empty(1 << 20);
        let a = create(&mut fs, "a");
        fs.symlink(b"a", ROOT, b"l", 1).unwrap();
        fs.symlink(b"later", ROOT, b"dangling", 1).unwrap();
        assert_eq!(open(&mut fs, "l", OpenFlags::NONE).unwrap().inode, a);
        let not = fs.open_at(ROOT, b"l", Follow::No, OpenFlags::NONE, 1);
        assert_eq!(not, Err(Errno::Loop));
        assert_eq!(open(&mut fs, "dangling", EXCLUSIVE), Err(Errno::Exist));
        assert_eq!(open(&mut fs, "dangling", OpenFlags::NONE), Err(Errno::Noent));
        let made = open(&mut fs, "dangling", OpenFlags::CREATE).unwrap();
        assert_eq!(fs.lookup_at(ROOT, b"later", Follow::No), Ok(made.inode));
    }

    #[test]
    fn a_removed_directory_takes_no_new_names() {
        let mut fs = empty(1 << 20);
        let dir = fs.mkdir(ROOT, b"d", 1).unwrap();
        fs.retain(dir);
        fs.rmdir(ROOT, b"d", 1).unwrap();
        let made = fs.open_at(dir, b"f", Follow::Yes, OpenFlags::CREATE, 1);
        assert_eq!(made, Err(Errno::Noent));
        assert_eq!(fs.mkdir(dir, b"e", 1), Err(Errno::Noent));
        create(&mut fs, "f");
        assert_eq!(fs.rename(ROOT, b"f", dir, b"f", 1), Err(Errno::Noent));
    }
}
