//! The files of one guest: an in-memory file system with the rules of WASI preview 1.
//!
//! Guarantees: the same calls in the same order give the same value, the same answers and the same bytes from
//! [`Fs::encode`] on every replica. Nothing here reads a clock, draws a number or depends on an address; time is
//! what the caller passes as `now_ns`. A call that fails has changed nothing. Memory is bounded by the quota.
//!
//! Two layers: the files of the service's bundle are shared and never written ([`BundleFiles`]); a write copies the
//! 64 KiB chunk that it touches. The tree itself is built from the bundle at creation, so a deleted bundle file is
//! simply gone and needs no marker.
//!
//! Leaves to others: descriptors, their positions and rights (the kernel's descriptor table), which say by
//! [`Fs::retain`] and [`Fs::release`] how many handles an inode has.
//!
//! Rules come from POSIX.1-2024 (rename, unlink, link, open), from Linux where POSIX lets a choice, and from
//! `wasi_snapshot_preview1.witx`.

mod bundle;
mod chunk;
mod codec;
mod content;
mod data;
mod dir;
#[cfg(test)]
mod fixture;
mod inode;
mod load;
#[cfg(test)]
mod model;
mod names;
mod open;
mod path;
mod quota;
mod rename;
mod succession;
mod walked;

use std::collections::BTreeMap;

use crate::errno::Errno;

pub use bundle::{BundleError, BundleFiles};
pub use chunk::CHUNK_BYTES;
pub use codec::DecodeError;
pub use data::{MAX_FILE_BYTES, TimeChange};
pub use dir::{DirEntry, MAX_NAME_BYTES};
pub use inode::{FileKind, FileStat, InodeId};
pub use load::{Loaded, Times};
pub use names::MAX_LINKS;
pub use open::{OpenFlags, Opened};
pub use path::{Follow, MAX_PATH_BYTES, MAX_SYMLINKS};
pub use quota::{INODE_CHARGE_BYTES, NAME_CHARGE_BYTES, Usage};
pub use succession::SuccessionError;

use content::Content;
use dir::Directory;
use inode::{Inode, Node};
use quota::Quota;
use walked::Walked;

/// The root directory of every file system.
pub const ROOT: InodeId = InodeId(1);

/// A whole file system as one canonical value. A clone shares all content until one of the two writes it.
#[derive(Clone, Debug)]
pub struct Fs {
    bundle: BundleFiles,
    quota: Quota,
    next_inode: u64,
    inodes: BTreeMap<InodeId, Inode>,
    walked: Walked,
}

impl Fs {
    /// A file system that shows the bundle's files and lets the guest write up to `quota_bytes` besides them.
    #[must_use]
    pub fn new(bundle: &BundleFiles, quota_bytes: u64, now_ns: u64) -> Self {
        let mut fs = Self {
            bundle: bundle.clone(),
            quota: Quota::new(quota_bytes),
            next_inode: ROOT.0,
            inodes: BTreeMap::new(),
            walked: Walked::default(),
        };
        fs.insert(Node::Directory(Directory::new(ROOT)), now_ns);
        fs.named(ROOT);
        for (number, path, content) in bundle.files() {
            let mut components = path[1..].split(|byte| *byte == b'/').peekable();
            let mut dir = ROOT;
            while let Some(name) = components.next() {
                dir = if components.peek().is_some() {
                    fs.bundle_directory(dir, name, now_ns)
                } else {
                    let content = Content::from_bundle(number, content.clone());
                    fs.attach(dir, name, Node::File(content), now_ns)
                };
            }
        }
        fs.quota.grant(fs.charged_bytes());
        fs
    }

    /// One more handle of the inode is open.
    ///
    /// # Panics
    /// When the inode is unknown: the caller has just looked it up.
    pub fn retain(&mut self, id: InodeId) {
        let inode = self.inodes.get_mut(&id).expect("a handle is opened on a known inode");
        inode.opens = inode.opens.checked_add(1).expect("descriptor tables are far smaller than 2^32");
    }

    /// One handle of the inode is closed. The last one of an unlinked inode frees its content.
    ///
    /// # Panics
    /// When the inode has no open handle.
    pub fn release(&mut self, id: InodeId) {
        let inode = self.inodes.get_mut(&id).expect("an open handle keeps its inode");
        inode.opens = inode.opens.checked_sub(1).expect("each handle is released once");
        self.drop_if_unused(id);
    }

    /// What calls have cost since this was asked last that go along paths, in units of one plain instruction.
    pub fn take_walked(&self) -> u64 {
        self.walked.take()
    }

    /// What the guest uses of its quota.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.quota.usage()
    }

    /// Lets the guest have so many inodes besides those of the bundle's tree. Those that are there stay.
    pub fn limit_inodes(&mut self, made: u64) {
        self.quota.max_inodes = made.saturating_add(self.bundle.inode_count());
    }

    /// How many inodes there are beyond the number of the bundle's tree.
    #[must_use]
    pub fn inodes_made(&self) -> u64 {
        (self.inodes.len() as u64).saturating_sub(self.bundle.inode_count())
    }

    /// `Nospc` when there may not be one inode more.
    fn check_inode(&self) -> Result<(), Errno> {
        if self.inodes.len() as u64 >= self.quota.max_inodes { Err(Errno::Nospc) } else { Ok(()) }
    }

    fn bundle_directory(&mut self, dir: InodeId, name: &[u8], now_ns: u64) -> InodeId {
        let known = self.directory(dir).ok().and_then(|entries| entries.get(name));
        known.unwrap_or_else(|| self.attach(dir, name, Node::Directory(Directory::new(dir)), now_ns))
    }

    fn inode(&self, id: InodeId) -> Result<&Inode, Errno> {
        self.inodes.get(&id).ok_or(Errno::Badf)
    }

    fn inode_mut(&mut self, id: InodeId) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&id).ok_or(Errno::Badf)
    }

    fn directory(&self, id: InodeId) -> Result<&Directory, Errno> {
        match &self.inode(id)?.node {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) | Node::Symlink(_) => Err(Errno::Notdir),
        }
    }

    /// The directory, when names may be added to it: one that was removed takes none.
    fn check_alive(&self, dir: InodeId) -> Result<(), Errno> {
        self.directory(dir)?;
        if self.inode(dir)?.links == 0 {
            return Err(Errno::Noent);
        }
        Ok(())
    }

    /// Stores a new inode that has no name yet. The caller has charged the quota.
    fn insert(&mut self, node: Node, now_ns: u64) -> InodeId {
        let id = InodeId(self.next_inode);
        self.next_inode += 1;
        self.inodes.insert(id, Inode::new(node, now_ns));
        id
    }

    /// Stores a new inode under a name that is free. The caller has charged the quota.
    fn attach(&mut self, dir: InodeId, name: &[u8], node: Node, now_ns: u64) -> InodeId {
        let id = self.insert(node, now_ns);
        self.add_name(dir, name, id, now_ns);
        id
    }

    fn named(&mut self, id: InodeId) {
        let inode = self.inodes.get_mut(&id).expect("the name leads to an inode");
        inode.links += 1;
    }

    fn add_name(&mut self, dir: InodeId, name: &[u8], id: InodeId, now_ns: u64) {
        self.edit_directory(dir, now_ns, |entries| entries.insert(name, id));
        self.named(id);
    }

    fn edit_directory<T>(&mut self, dir: InodeId, now_ns: u64, edit: impl FnOnce(&mut Directory) -> T) -> T {
        let inode = self.inodes.get_mut(&dir).expect("the caller resolved it");
        inode.modified(now_ns);
        match &mut inode.node {
            Node::Directory(entries) => edit(entries),
            Node::File(_) | Node::Symlink(_) => unreachable!("paths resolve to names in directories"),
        }
    }

    /// Accounts for one name less of the inode, and frees it when nothing else holds it.
    fn forget_name(&mut self, id: InodeId, now_ns: u64) {
        self.quota.refund(NAME_CHARGE_BYTES);
        let inode = self.inodes.get_mut(&id).expect("the name led to an inode");
        inode.links -= 1;
        inode.ctime_ns = now_ns;
        if let Node::Directory(entries) = &mut inode.node {
            entries.set_parent(id);
        }
        self.drop_if_unused(id);
    }

    fn drop_if_unused(&mut self, id: InodeId) {
        if self.inodes[&id].links == 0 && self.inodes[&id].opens == 0 {
            let inode = self.inodes.remove(&id).expect("looked at just now");
            self.quota.refund(inode.charge_bytes());
        }
    }

    /// The charge of everything that exists, counted anew.
    fn charged_bytes(&self) -> u64 {
        let charge = |inode: &Inode| inode.charge_bytes() + inode.name_count() * NAME_CHARGE_BYTES;
        self.inodes.values().map(charge).sum()
    }
}
