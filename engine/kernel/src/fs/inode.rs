//! Inodes: what a file, directory or symbolic link is besides its names.

use serde::{Deserialize, Serialize};

use super::content::Content;
use super::dir::Directory;
use super::quota::INODE_CHARGE_BYTES;

/// The number of an inode. Numbers count up and are never used again in one file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InodeId(pub u64);

/// What an inode is. The numbers are those of preview 1's `filetype`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory = 3,
    /// A regular file.
    File = 4,
    /// A symbolic link.
    Symlink = 7,
}

/// The attributes of an inode, as preview 1's `filestat` wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// The inode's number.
    pub inode: InodeId,
    /// What it is.
    pub kind: FileKind,
    /// Names that lead to it. A directory has one, or none when it was removed and is still open.
    pub links: u32,
    /// Bytes of a file or of a link's target; 0 for a directory.
    pub size_bytes: u64,
    /// Last read, in nanoseconds.
    pub atime_ns: u64,
    /// Last change of content, in nanoseconds.
    pub mtime_ns: u64,
    /// Last change of content or attributes, in nanoseconds.
    pub ctime_ns: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Content),
    Directory(Directory),
    Symlink(Box<[u8]>),
}

#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) node: Node,
    pub(super) links: u32,
    pub(super) opens: u32,
    pub(super) atime_ns: u64,
    pub(super) mtime_ns: u64,
    pub(super) ctime_ns: u64,
}

impl Inode {
    pub(super) fn new(node: Node, now_ns: u64) -> Self {
        Self { node, links: 0, opens: 0, atime_ns: now_ns, mtime_ns: now_ns, ctime_ns: now_ns }
    }

    pub(super) fn kind(&self) -> FileKind {
        match self.node {
            Node::File(_) => FileKind::File,
            Node::Directory(_) => FileKind::Directory,
            Node::Symlink(_) => FileKind::Symlink,
        }
    }

    pub(super) fn stat(&self, inode: InodeId) -> FileStat {
        FileStat {
            inode,
            kind: self.kind(),
            links: self.links,
            size_bytes: match &self.node {
                Node::File(content) => content.size_bytes(),
                Node::Directory(_) => 0,
                Node::Symlink(target) => target.len() as u64,
            },
            atime_ns: self.atime_ns,
            mtime_ns: self.mtime_ns,
            ctime_ns: self.ctime_ns,
        }
    }

    /// The content changed at `now_ns`.
    pub(super) fn modified(&mut self, now_ns: u64) {
        self.mtime_ns = now_ns;
        self.ctime_ns = now_ns;
    }

    /// What the inode costs, without its names.
    pub(super) fn charge_bytes(&self) -> u64 {
        INODE_CHARGE_BYTES
            + match &self.node {
                Node::File(content) => content.charge_bytes(),
                Node::Directory(_) => 0,
                Node::Symlink(target) => target.len() as u64,
            }
    }

    /// How many names it holds as a directory.
    pub(super) fn name_count(&self) -> u64 {
        match &self.node {
            Node::Directory(entries) => entries.len() as u64,
            Node::File(_) | Node::Symlink(_) => 0,
        }
    }
}
