//! Files from outside for a program that runs by itself: put in before it starts, compared when it has ended.
//!
//! What is loaded is not checked as a guest's calls are: a symbolic link may have any target (following one that leads
//! out is refused when it is followed), and names are what the other side has. The quota counts only what the guest adds.

use std::sync::Arc;

use bytes::Bytes;

use super::Fs;
use super::chunk::CHUNK_BYTES;
use super::content::Content;
use super::dir::Directory;
use super::inode::{InodeId, Node};

/// Times of a loaded inode, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Last read.
    pub atime_ns: u64,
    /// Last change of content.
    pub mtime_ns: u64,
    /// Last change of content or attributes.
    pub ctime_ns: u64,
}

/// What is loaded under a name.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// An empty directory.
    Directory,
    /// A file with this content, which is shared and copied only where it is written.
    File(Bytes),
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
}

impl Fs {
    /// Puts `what` under a name that is free.
    ///
    /// # Panics
    /// When `dir` is no directory.
    pub fn load(&mut self, dir: InodeId, name: &[u8], what: Loaded, times: Times) -> InodeId {
        let node = match what {
            Loaded::Directory => Node::Directory(Directory::new(dir)),
            Loaded::File(content) => Node::File(Content::from_bundle(0, content)),
            Loaded::Symlink(target) => Node::Symlink(target.into()),
        };
        let before = self.inodes[&dir].clone();
        let id = self.attach(dir, name, node, times.ctime_ns);
        let parent = self.inodes.get_mut(&dir).expect("it was there");
        (parent.atime_ns, parent.mtime_ns, parent.ctime_ns) = (before.atime_ns, before.mtime_ns, before.ctime_ns);
        self.set_loaded_times(id, times);
        id
    }

    /// Gives what was loaded one more name.
    ///
    /// # Panics
    /// When `dir` is no directory.
    pub fn load_name(&mut self, dir: InodeId, name: &[u8], id: InodeId) {
        let directory = self.inodes.get_mut(&dir).expect("it was loaded");
        match &mut directory.node {
            Node::Directory(entries) => entries.insert(name, id),
            Node::File(_) | Node::Symlink(_) => panic!("names are loaded into directories"),
        }
        self.named(id);
    }

    /// Sets all three times.
    pub fn set_loaded_times(&mut self, id: InodeId, times: Times) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            (inode.atime_ns, inode.mtime_ns, inode.ctime_ns) = (times.atime_ns, times.mtime_ns, times.ctime_ns);
        }
    }

    /// Everything that was loaded costs the guest nothing.
    pub fn end_loading(&mut self) {
        let charged = self.charged_bytes();
        self.quota.grant(charged);
    }

    /// Whether a file or symbolic link has the content that it had in `before`. Cheap where nothing was written.
    #[must_use]
    pub fn has_content_of(&self, id: InodeId, before: &Self) -> bool {
        match (self.inodes.get(&id).map(|inode| &inode.node), before.inodes.get(&id).map(|inode| &inode.node)) {
            (Some(Node::File(now)), Some(Node::File(then))) => is_same(now, then),
            (Some(Node::Symlink(now)), Some(Node::Symlink(then))) => now == then,
            _ => false,
        }
    }

    /// The parts of a file that are not holes, as offsets and lengths in ascending order; parts may overlap.
    #[must_use]
    pub fn stored_parts(&self, id: InodeId) -> Vec<(u64, u64)> {
        let Some(Node::File(content)) = self.inodes.get(&id).map(|inode| &inode.node) else { return Vec::new() };
        let base = content.base.iter().map(|base| (0, base.bytes.len() as u64));
        let chunks =
            content.chunks.iter().map(|(index, chunk)| (index * CHUNK_BYTES as u64, chunk.bytes().len() as u64));
        base.chain(chunks).collect()
    }

    /// Copies a file's content from `offset`, or a symbolic link's target; fewer bytes at its end.
    #[must_use]
    pub fn copy_content(&self, id: InodeId, offset: u64, buf: &mut [u8]) -> usize {
        match self.inodes.get(&id).map(|inode| &inode.node) {
            Some(Node::File(content)) => content.read(offset, buf),
            Some(Node::Symlink(target)) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| target.get(offset..)).unwrap_or_default();
                let copied = rest.len().min(buf.len());
                buf[..copied].copy_from_slice(&rest[..copied]);
                copied
            }
            _ => 0,
        }
    }
}

fn is_same(now: &Content, then: &Content) -> bool {
    let base = |content: &Content| content.base.as_ref().map(|base| (base.bytes.as_ptr(), base.bytes.len()));
    let chunks = now.chunks.len() == then.chunks.len()
        && (now.chunks.iter().zip(&then.chunks)).all(|((a, now), (b, then))| a == b && Arc::ptr_eq(now, then));
    now.size_bytes == then.size_bytes && base(now) == base(then) && chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::Errno;
    use crate::fs::fixture::{empty, read, tree, write};
    use crate::fs::{Follow, ROOT};

    const TIMES: Times = Times { atime_ns: 3, mtime_ns: 2, ctime_ns: 4 };

    fn loaded() -> (Fs, InodeId) {
        let mut fs = empty(0);
        let d = fs.load(ROOT, b"d", Loaded::Directory, TIMES);
        let f = fs.load(d, b"f", Loaded::File(Bytes::from_static(b"abc")), TIMES);
        fs.load_name(ROOT, b"same", f);
        fs.load(d, b"out", Loaded::Symlink(b"/etc/passwd".to_vec()), TIMES);
        fs.end_loading();
        (fs, f)
    }

    #[test]
    fn what_is_loaded_shows_as_it_was_and_costs_nothing() {
        let (fs, f) = loaded();
        assert_eq!(tree(&fs), ["d/", "d/f", "d/out", "same"]);
        assert_eq!(read(&fs, "same"), b"abc");
        let stat = fs.stat(f).unwrap();
        assert_eq!((stat.links, stat.atime_ns, stat.mtime_ns, stat.ctime_ns), (2, 3, 2, 4));
        let dir = fs.stat(fs.lookup_at(ROOT, b"d", Follow::No).unwrap()).unwrap();
        assert_eq!(dir.mtime_ns, 2, "loading into a directory leaves its times");
        assert_eq!(fs.usage().used_bytes, 0);
    }

    #[test]
    fn a_link_that_leads_out_is_kept_and_not_followed() {
        let (fs, _) = loaded();
        assert_eq!(fs.readlink(ROOT, b"d/out"), Ok(&b"/etc/passwd"[..]));
        assert_eq!(fs.lookup_at(ROOT, b"d/out", Follow::Yes), Err(Errno::Perm));
    }

    #[test]
    fn content_is_the_same_until_it_is_written() {
        let (before, f) = loaded();
        let mut fs = before.clone();
        assert!(fs.has_content_of(f, &before));
        fs.set_loaded_times(f, Times { mtime_ns: 9, ..TIMES });
        assert!(fs.has_content_of(f, &before));
        fs.quota.limit_bytes = 1 << 20;
        write(&mut fs, f, 1, b"x").unwrap();
        assert!(!fs.has_content_of(f, &before));
        let mut buf = [0; 8];
        assert_eq!(fs.copy_content(f, 1, &mut buf), 2);
        assert_eq!(&buf[..2], b"xc");
    }
}
