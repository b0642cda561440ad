//! The files of a guest that is replaced, for the program that takes over, with another bundle below them.
//!
//! What the guest wrote, made, moved or removed stays as it is. A file that it left as the bundle had it is the
//! bundle's affair: it becomes what the new bundle has at that path, and goes when that has none. A file that is new in
//! the bundle appears, unless the guest made one there. Where the two cannot be put together, nothing is changed and
//! the first path in the way is named.

use thiserror::Error;

use super::bundle::BundleFiles;
use super::content::Content;
use super::inode::{Inode, InodeId, Node};
use super::{Fs, ROOT};

/// Why a program cannot have the files of the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SuccessionError {
    /// The guest has something else where the bundle has a file or a directory.
    #[error("the bundle's file {path:?} has no place: the guest made something else at {at:?}")]
    NoPlace {
        /// The path of the bundle's file.
        path: String,
        /// What is in the way.
        at: String,
    },
    /// The files are larger than they may be.
    #[error("the guest's files take {used_bytes} bytes, limits.files is {limit_bytes} bytes")]
    Quota {
        /// What they take beyond the bundle's own.
        used_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// There are more inodes than there may be.
    #[error("the guest made {made} files, folders and links, limits.inodes is {limit}")]
    Inodes {
        /// How many there are beyond the number of the bundle's own.
        made: u64,
        /// The limit.
        limit: u64,
    },
}

/// What a path of a bundle leads to. Symbolic links are not followed: a bundle has none.
enum Place {
    /// An inode, and the directory that has its name.
    Found { dir: InodeId, id: InodeId },
    /// Nothing, and nothing is in the way.
    Free,
    /// What is no directory and would have to be one ends here.
    Blocked { end: usize },
}

/// Each name of an absolute path with the offset of its end.
fn names(path: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut at = 0;
    path[1..].split(|byte| *byte == b'/').map(move |name| {
        at += 1 + name.len();
        (name, at)
    })
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

impl Fs {
    /// These files over another bundle and with another quota, without any open handle.
    ///
    /// # Errors
    /// When a file of the bundle has no place, or everything together is above the quota.
    pub fn succeed(&self, bundle: &BundleFiles, quota_bytes: u64, now_ns: u64) -> Result<Self, SuccessionError> {
        let mut fs = self.clone();
        fs.close_all();
        if fs.bundle.digest() != bundle.digest() {
            fs.exchange_bundle(bundle, now_ns)?;
        }
        fs.quota.limit_bytes = quota_bytes;
        fs.quota.granted_bytes = Self::new(bundle, quota_bytes, now_ns).quota.granted_bytes;
        fs.quota.used_bytes = fs.charged_bytes();
        if fs.quota.used_bytes > fs.quota.ceiling_bytes() {
            let used_bytes = fs.quota.usage().used_bytes;
            return Err(SuccessionError::Quota { used_bytes, limit_bytes: quota_bytes });
        }
        Ok(fs)
    }

    /// Nobody holds a handle any more: what has no name is gone.
    fn close_all(&mut self) {
        self.inodes.retain(|_, inode| inode.links > 0);
        self.inodes.values_mut().for_each(|inode| inode.opens = 0);
    }

    fn exchange_bundle(&mut self, bundle: &BundleFiles, now_ns: u64) -> Result<(), SuccessionError> {
        let former = std::mem::replace(&mut self.bundle, bundle.clone());
        for (number, path, content) in former.files() {
            let Place::Found { dir, id } = self.place(path) else { continue };
            if !self.is_untouched(id, number, content.len()) {
                continue;
            }
            match bundle.find(path) {
                Some((number, content)) => self.replace(id, Content::from_bundle(number, content.clone()), now_ns),
                None => self.remove_bundled(path, dir, now_ns),
            }
        }
        self.rebase(&former, bundle);
        for (number, path, content) in bundle.files() {
            if former.find(path).is_none() {
                self.add_bundled(path, Content::from_bundle(number, content.clone()), now_ns)?;
            }
        }
        Ok(())
    }

    fn place(&self, path: &[u8]) -> Place {
        let (mut dir, mut at) = (ROOT, ROOT);
        let mut end = 0;
        for (name, next) in names(path) {
            let Ok(directory) = self.directory(at) else { return Place::Blocked { end } };
            let Some(id) = directory.get(name) else { return Place::Free };
            (dir, at, end) = (at, id, next);
        }
        Place::Found { dir, id: at }
    }

    /// Whether a file is as the bundle's file of this number was.
    fn is_untouched(&self, id: InodeId, number: u32, length: usize) -> bool {
        let Some(Inode { node: Node::File(content), links: 1, .. }) = self.inodes.get(&id) else { return false };
        let whole = content.chunks.is_empty() && content.size_bytes == length as u64;
        let base = content.base.as_ref().map(|base| (base.number, base.bytes.len()));
        // An empty file of the bundle has no base.
        whole && base == (length > 0).then_some((number, length))
    }

    fn replace(&mut self, id: InodeId, content: Content, now_ns: u64) {
        let inode = self.inodes.get_mut(&id).expect("it was found just now");
        let Node::File(before) = &mut inode.node else { return };
        let bytes = |content: &Content| content.base.as_ref().map(|base| base.bytes.clone());
        let changed = bytes(before) != bytes(&content);
        *before = content;
        if changed {
            inode.modified(now_ns);
        }
    }

    /// Removes a file of the former bundle, and the directories above it that are empty then.
    fn remove_bundled(&mut self, path: &[u8], dir: InodeId, now_ns: u64) {
        let mut dir = dir;
        let ends: Vec<(&[u8], usize)> = names(path).collect();
        for (name, _) in ends.iter().rev() {
            let Some(id) = self.directory(dir).ok().and_then(|entries| entries.get(name)) else { return };
            if self.directory(id).is_ok_and(|entries| !entries.is_empty()) {
                return;
            }
            let above = self.directory(dir).map_or(ROOT, |entries| entries.parent());
            self.edit_directory(dir, now_ns, |entries| entries.remove(name));
            self.forget_name(id, now_ns);
            dir = above;
        }
    }

    /// What the guest kept of the former bundle's files is found in the new one, or becomes the guest's own.
    fn rebase(&mut self, former: &BundleFiles, bundle: &BundleFiles) {
        for inode in self.inodes.values_mut() {
            let Node::File(content) = &mut inode.node else { continue };
            let Some(base) = &mut content.base else { continue };
            // Those that were replaced show the new bundle's bytes already.
            if bundle.shows(base.number, &base.bytes) {
                continue;
            }
            let same = former.path(base.number).and_then(|path| bundle.find(path));
            match same.filter(|(_, bytes)| bytes.starts_with(&base.bytes)) {
                Some((number, bytes)) => (base.number, base.bytes) = (number, bytes.slice(..base.bytes.len())),
                None => {
                    let shown = base.bytes.len() as u64;
                    content.materialise(0, shown);
                    content.base = None;
                }
            }
        }
    }

    fn add_bundled(&mut self, path: &[u8], content: Content, now_ns: u64) -> Result<(), SuccessionError> {
        let blocked = |end: usize| SuccessionError::NoPlace { path: shown(path), at: shown(&path[..end]) };
        match self.place(path) {
            Place::Found { id, .. } if matches!(self.inodes[&id].node, Node::File(_)) => return Ok(()),
            Place::Found { .. } => return Err(blocked(path.len())),
            Place::Blocked { end } => return Err(blocked(end)),
            Place::Free => {}
        }
        let mut dir = ROOT;
        for (name, end) in names(path) {
            if end == path.len() {
                self.attach(dir, name, Node::File(content), now_ns);
                break;
            }
            dir = self.bundle_directory(dir, name, now_ns);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
