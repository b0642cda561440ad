//! Directories and reading them.
//!
//! A listing gives `.` and `..`, then the entries in the order in which their names were added (the bundle's in byte
//! order). Each entry keeps a cookie from a counter of its directory, so a listing that goes on from a cookie is
//! right whatever was added or removed since, even the entry of the cookie itself: what existed all the time comes
//! exactly once. Sorting by name instead would lose the place of a removed entry, as `rm -r` over wasi-libc does
//! with every buffer.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::Fs;
use super::inode::{FileKind, InodeId};
use crate::errno::Errno;

/// The longest name in a directory.
pub const MAX_NAME_BYTES: usize = 255;

const DOT_COOKIE: u64 = 1;
const DOT_DOT_COOKIE: u64 = 2;

/// The first cookie of a name.
pub(super) const FIRST_COOKIE: u64 = 3;

/// One entry of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Where a listing goes on after this entry.
    pub next_cookie: u64,
    /// The inode behind the name.
    pub inode: InodeId,
    /// What it is.
    pub kind: FileKind,
    /// The name.
    pub name: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) inode: InodeId,
    pub(super) cookie: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Directory {
    parent: InodeId,
    next_cookie: u64,
    entries: BTreeMap<Arc<[u8]>, Entry>,
    order: BTreeMap<u64, Arc<[u8]>>,
}

impl Directory {
    pub(super) fn new(parent: InodeId) -> Self {
        Self { parent, next_cookie: FIRST_COOKIE, entries: BTreeMap::new(), order: BTreeMap::new() }
    }

    /// A directory as it was encoded; its parent is not known yet. `None` when a cookie is used twice or is not
    /// below the counter.
    pub(super) fn restore(next_cookie: u64, entries: BTreeMap<Arc<[u8]>, Entry>) -> Option<Self> {
        let mut order = BTreeMap::new();
        for (name, entry) in &entries {
            let allowed = (FIRST_COOKIE..next_cookie).contains(&entry.cookie);
            if !allowed || order.insert(entry.cookie, Arc::clone(name)).is_some() {
                return None;
            }
        }
        Some(Self { parent: InodeId(0), next_cookie, entries, order })
    }

    pub(super) fn parent(&self) -> InodeId {
        self.parent
    }

    pub(super) fn set_parent(&mut self, parent: InodeId) {
        self.parent = parent;
    }

    pub(super) fn next_cookie(&self) -> u64 {
        self.next_cookie
    }

    pub(super) fn entries(&self) -> &BTreeMap<Arc<[u8]>, Entry> {
        &self.entries
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<InodeId> {
        self.entries.get(name).map(|entry| entry.inode)
    }

    /// Lets a name lead to an inode. A name that exists keeps its place in listings.
    pub(super) fn insert(&mut self, name: &[u8], inode: InodeId) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.inode = inode;
            return;
        }
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        let name: Arc<[u8]> = name.into();
        self.order.insert(cookie, Arc::clone(&name));
        self.entries.insert(name, Entry { inode, cookie });
    }

    pub(super) fn remove(&mut self, name: &[u8]) {
        if let Some(entry) = self.entries.remove(name) {
            self.order.remove(&entry.cookie);
        }
    }

    fn after(&self, cookie: u64) -> impl Iterator<Item = (&[u8], Entry)> {
        let rest = self.order.range((Bound::Excluded(cookie), Bound::Unbounded));
        rest.map(|(_, name)| (&name[..], self.entries[&name[..]]))
    }
}

impl Fs {
    /// The entries after `cookie` (0 for all).
    ///
    /// # Errors
    /// `Notdir`, or `Noent` for a directory that was removed.
    pub fn readdir(&self, dir: InodeId, cookie: u64) -> Result<impl Iterator<Item = DirEntry<'_>>, Errno> {
        self.check_alive(dir)?;
        let directory = self.directory(dir)?;
        let dots = [(DOT_COOKIE, dir, &b"."[..]), (DOT_DOT_COOKIE, directory.parent, b"..")];
        let dots = dots.into_iter().filter(move |(own, ..)| *own > cookie);
        let names = directory.after(cookie);
        let names = names.map(|(name, entry)| (entry.cookie, entry.inode, name));
        Ok(dots.chain(names).map(|(next_cookie, inode, name)| DirEntry {
            next_cookie,
            inode,
            kind: self.inodes[&inode].kind(),
            name,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{FileKind, Fs, InodeId};
    use crate::errno::Errno;
    use crate::fs::ROOT;
    use crate::fs::fixture::{create, empty};

    fn names(fs: &Fs, dir: InodeId, cookie: u64) -> Vec<String> {
        let entries = fs.readdir(dir, cookie).unwrap();
        let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
        entries.map(|entry| text(entry.name)).collect()
    }

    #[test]
    fn a_listing_begins_with_the_dots_and_tells_inode_and_kind() {
        let mut fs = empty(1 << 20);
        let dir = fs.mkdir(ROOT, b"d", 1).unwrap();
        let sub = fs.mkdir(dir, b"s", 1).unwrap();
        fs.symlink(b"x", dir, b"l", 1).unwrap();
        let listed: Vec<_> =
            fs.readdir(dir, 0).unwrap().map(|entry| (entry.name.to_vec(), entry.inode, entry.kind)).collect();
        assert_eq!(listed[0], (b".".to_vec(), dir, FileKind::Directory));
        assert_eq!(listed[1], (b"..".to_vec(), ROOT, FileKind::Directory));
        assert_eq!(listed[2], (b"s".to_vec(), sub, FileKind::Directory));
        assert_eq!(listed[3].2, FileKind::Symlink);
        assert_eq!(names(&fs, ROOT, 0), [".", "..", "d"]);
    }

    #[test]
    fn a_listing_goes_on_after_any_cookie() {
        let mut fs = empty(1 << 20);
        for name in ["a", "b", "c"] {
            create(&mut fs, name);
        }
        let cookies: Vec<u64> = fs.readdir(ROOT, 0).unwrap().map(|entry| entry.next_cookie).collect();
        let whole = names(&fs, ROOT, 0);
        for (index, cookie) in cookies.iter().enumerate() {
            assert_eq!(names(&fs, ROOT, *cookie), whole[index + 1..]);
        }
        assert!(names(&fs, ROOT, u64::MAX).is_empty());
    }

    #[test]
    fn removing_each_entry_as_it_is_listed_meets_every_entry_once() {
        let mut fs = empty(1 << 20);
        for index in 0..50 {
            create(&mut fs, &format!("f{index:02}"));
        }
        let (mut cookie, mut seen) = (2, 0);
        loop {
            let next = fs.readdir(ROOT, cookie).unwrap().next();
            let Some((name, after)) = next.map(|entry| (entry.name.to_vec(), entry.next_cookie)) else {
                break;
            };
            fs.unlink(ROOT, &name, 1).unwrap();
            cookie = after;
            seen += 1;
        }
        assert_eq!(seen, 50);
    }

    #[test]
    fn entries_added_or_replaced_during_a_listing_neither_hide_nor_double_others() {
        let mut fs = empty(1 << 20);
        for name in ["b", "d", "tmp"] {
            create(&mut fs, name);
        }
        let at_b = fs.readdir(ROOT, 2).unwrap().next().unwrap().next_cookie;
        create(&mut fs, "a");
        fs.rename(ROOT, b"tmp", ROOT, b"b", 1).unwrap();
        assert_eq!(names(&fs, ROOT, at_b), ["d", "a"]);
    }

    #[test]
    fn a_removed_directory_has_no_listing() {
        let mut fs = empty(1 << 20);
        let dir = fs.mkdir(ROOT, b"d", 1).unwrap();
        fs.retain(dir);
        fs.rmdir(ROOT, b"d", 1).unwrap();
        assert_eq!(fs.readdir(dir, 0).err(), Some(Errno::Noent));
        let file = create(&mut fs, "f");
        assert_eq!(fs.readdir(file, 0).err(), Some(Errno::Notdir));
    }
}
