//! Renaming, by the rules of POSIX `rename`.

use super::Fs;
use super::inode::{InodeId, Node};
use super::path::{Follow, Located, Name};
use crate::errno::Errno;

/// What one step from a directory to its parent costs, in units of one plain instruction.
const PARENT_WORK: u64 = 50;

impl Fs {
    /// Moves a name, and replaces what has the new name: a file replaces a file, a directory an empty directory.
    /// Two names of the same file stay as they are.
    ///
    /// # Errors
    /// Those of both walks; `Inval` for a directory into itself; `Isdir`, `Notdir`, `Notempty` for what cannot be
    /// replaced; `Busy` when a path ends in `.` or `..`.
    pub fn rename(
        &mut self,
        old_dir: InodeId,
        old_path: &[u8],
        new_dir: InodeId,
        new_path: &[u8],
        now_ns: u64,
    ) -> Result<(), Errno> {
        let old = self.locate_name(old_dir, old_path)?;
        let moved = old.found.ok_or(Errno::Noent)?;
        let new = self.locate_name(new_dir, new_path)?;
        self.check_alive(new.dir)?;
        if new.found == Some(moved) {
            return Ok(());
        }
        self.check_rename(moved, &new)?;
        self.move_name(&old, moved, &new, now_ns);
        Ok(())
    }

    fn locate_name(&self, dir: InodeId, path: &[u8]) -> Result<Name, Errno> {
        match self.locate(dir, path, Follow::No)? {
            Located::Name(name) => Ok(name),
            Located::Directory(_) => Err(Errno::Busy),
        }
    }

    fn check_rename(&self, moved: InodeId, new: &Name) -> Result<(), Errno> {
        let moves_directory = self.directory(moved).is_ok();
        if moves_directory && self.is_within(new.dir, moved) {
            return Err(Errno::Inval);
        }
        match new.found.map(|id| self.directory(id)) {
            Some(Ok(_)) if !moves_directory => Err(Errno::Isdir),
            Some(Err(_)) if moves_directory => Err(Errno::Notdir),
            Some(Ok(entries)) if !entries.is_empty() => Err(Errno::Notempty),
            None if new.slash && !moves_directory => Err(Errno::Notdir),
            _ => Ok(()),
        }
    }

    /// Whether `dir` is `ancestor` or lies below it.
    fn is_within(&self, dir: InodeId, ancestor: InodeId) -> bool {
        let mut here = dir;
        while here != ancestor {
            self.walked.add(PARENT_WORK);
            match self.directory(here).map(|directory| directory.parent()) {
                Ok(parent) if parent != here => here = parent,
                _ => return false,
            }
        }
        true
    }

    fn move_name(&mut self, old: &Name, moved: InodeId, new: &Name, now_ns: u64) {
        self.edit_directory(old.dir, now_ns, |entries| entries.remove(&old.name));
        self.edit_directory(new.dir, now_ns, |entries| entries.insert(&new.name, moved));
        let inode = self.inodes.get_mut(&moved).expect("the old name led to it");
        inode.ctime_ns = now_ns;
        if let Node::Directory(directory) = &mut inode.node {
            directory.set_parent(new.dir);
        }
        if let Some(replaced) = new.found {
            self.forget_name(replaced, now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::errno::Errno;
    use crate::fs::fixture::{create, empty, read, tree, write};
    use crate::fs::{Follow, Fs, ROOT};

    fn rename(fs: &mut Fs, old: &str, new: &str) -> Result<(), Errno> {
        fs.rename(ROOT, old.as_bytes(), ROOT, new.as_bytes(), 8)
    }

    /// a/b/, e/, f ("f"), g ("g"), l -> f
    fn start() -> Fs {
        let mut fs = empty(1 << 20);
        fs.mkdir(ROOT, b"a", 1).unwrap();
        fs.mkdir(ROOT, b"a/b", 1).unwrap();
        fs.mkdir(ROOT, b"e", 1).unwrap();
        for name in ["f", "g"] {
            let file = create(&mut fs, name);
            write(&mut fs, file, 0, name.as_bytes()).unwrap();
        }
        fs.symlink(b"f", ROOT, b"l", 1).unwrap();
        fs
    }

    #[test]
    fn a_file_moves_and_replaces_a_file() {
        let mut fs = start();
        rename(&mut fs, "f", "a/b/new").unwrap();
        assert_eq!(read(&fs, "a/b/new"), b"f");
        let used = fs.usage().used_bytes;
        rename(&mut fs, "a/b/new", "g").unwrap();
        assert_eq!(read(&fs, "g"), b"f");
        assert!(fs.usage().used_bytes < used);
        assert_eq!(tree(&fs), ["a/", "a/b/", "e/", "g", "l"]);
    }

    #[test]
    fn an_open_replaced_file_keeps_its_content() {
        let mut fs = start();
        let g = fs.lookup_at(ROOT, b"g", Follow::No).unwrap();
        fs.retain(g);
        rename(&mut fs, "f", "g").unwrap();
        let mut buf = [0; 2];
        assert_eq!(fs.read_at(g, 0, &mut buf, 1), Ok(1));
        assert_eq!((buf[0], fs.stat(g).unwrap().links), (b'g', 0));
    }

    #[test]
    fn a_directory_moves_with_all_below_and_replaces_an_empty_one() {
        let mut fs = start();
        let a = fs.lookup_at(ROOT, b"a", Follow::No).unwrap();
        rename(&mut fs, "a/", "e/").unwrap();
        assert_eq!(tree(&fs), ["e/", "e/b/", "f", "g", "l"]);
        rename(&mut fs, "e/b", "c/").unwrap();
        rename(&mut fs, "e", "c/e").unwrap();
        assert_eq!(fs.lookup_at(ROOT, b"c/e", Follow::No), Ok(a));
        let c = fs.lookup_at(ROOT, b"c", Follow::No).unwrap();
        let parent = fs.readdir(a, 1).unwrap().next().unwrap();
        assert_eq!((parent.name, parent.inode), (&b".."[..], c));
    }

    #[test]
    fn a_directory_does_not_move_into_itself() {
        let mut fs = start();
        assert_eq!(rename(&mut fs, "a", "a/x"), Err(Errno::Inval));
        assert_eq!(rename(&mut fs, "a", "a/b/x"), Err(Errno::Inval));
        assert_eq!(rename(&mut fs, "a", "a/b"), Err(Errno::Inval));
        assert_eq!(rename(&mut fs, "a/b", "a"), Err(Errno::Notempty));
    }

    #[test]
    fn what_cannot_be_replaced_stays() {
        let mut fs = start();
        for (old, new, errno) in [
            ("f", "e", Errno::Isdir),
            ("f", "e/", Errno::Isdir),
            ("e", "f", Errno::Notdir),
            ("e", "a", Errno::Notempty),
            ("f", "new/", Errno::Notdir),
            ("f/", "new", Errno::Notdir),
            ("x", "y", Errno::Noent),
            ("f", "x/y", Errno::Noent),
            ("f", ".", Errno::Busy),
            ("a/..", "y", Errno::Busy),
            ("f", "../y", Errno::Perm),
        ] {
            assert_eq!(rename(&mut fs, old, new), Err(errno), "{old} to {new}");
        }
        assert_eq!(tree(&fs), tree(&start()));
    }

    #[test]
    fn two_names_of_one_file_stay_as_they_are() {
        let mut fs = start();
        fs.link(ROOT, b"f", Follow::No, ROOT, b"h", 1).unwrap();
        rename(&mut fs, "f", "h").unwrap();
        rename(&mut fs, "a", "a").unwrap();
        assert_eq!(tree(&fs), ["a/", "a/b/", "e/", "f", "g", "h", "l"]);
    }

    #[test]
    fn a_symbolic_link_moves_itself() {
        let mut fs = start();
        rename(&mut fs, "l", "g").unwrap();
        assert_eq!(fs.readlink(ROOT, b"g"), Ok(&b"f"[..]));
    }
}
