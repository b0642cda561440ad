//! The canonical form of a file system: bytes, digest, and back.
//!
//! Little endian; inodes by number, names and chunks in order, nothing that can be counted from the rest (link
//! counts, parents, used quota) and no capacities, so one state has one form. Content of the bundle is named by the
//! number of its file. The digest covers the same information, with a hash in the place of a chunk's bytes.
//!
//! ```text
//! version u8 | bundle digest 32 | quota limit u64, granted u64 | next inode u64 | inodes u64 | inode...
//! inode: number u64, kind u8, opens u32, atime u64, mtime u64, ctime u64, then by kind
//!   directory: next cookie u64, names u64, (length u8, name, inode u64, cookie u64)...
//!   file: size u64, base (0 | 1, bundle file u32, shown bytes u64), chunks u64, (index u64, bytes up to the file's end)...
//!   symbolic link: length u16, target
//! ```
//!
//! For checkpoints there is a second form, version 2: it is what is digested, with the content handed over apart.
//!
//! Decoding takes nothing on trust: it allocates only for bytes that are there and refuses every state that the
//! operations could not have made.

use std::collections::BTreeMap;

use thiserror::Error;

use super::bundle::BundleFiles;
use super::chunk::Chunk;
use super::inode::{FileKind, Inode, InodeId, Node};
use super::names::MAX_LINKS;
use super::quota::Quota;
use super::walked::Walked;
use super::{Fs, ROOT};

mod node;

const VERSION: u8 = 1;
/// With the BLAKE3 digest of each chunk in the place of its bytes.
const VERSION_PARTS: u8 = 2;

/// Why bytes are no file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("encoded files end too early")]
    Truncated,
    /// Bytes follow the end.
    #[error("{0} bytes follow the encoded files")]
    Trailing(usize),
    /// A format that this build does not know.
    #[error("encoded files have version {0}, which is not the expected one")]
    Version(u8),
    /// The files were encoded over another bundle.
    #[error("encoded files belong to another bundle")]
    Bundle,
    /// A rule of the format is broken.
    #[error("inode {inode} of encoded files: {rule}")]
    Inode {
        /// The number of the inode.
        inode: u64,
        /// The rule.
        rule: &'static str,
    },
    /// A piece of content that is named by its digest is not there, or has not the length that it must have.
    #[error("inode {inode} of encoded files: its content {} is missing or has another length", hex(digest))]
    Content {
        /// The number of the inode.
        inode: u64,
        /// The digest.
        digest: [u8; 32],
    },
    /// The content is larger than the quota.
    #[error("encoded files use {used_bytes} bytes, above the limit of {limit_bytes} bytes")]
    Quota {
        /// What is used, the bundle's tree included.
        used_bytes: u64,
        /// What may be used, the bundle's tree included.
        limit_bytes: u64,
    },
}

fn hex(digest: &[u8; 32]) -> blake3::Hash {
    blake3::Hash::from_bytes(*digest)
}

/// Takes the canonical form piece by piece.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
    fn chunk(&mut self, chunk: &Chunk);

    fn number(&mut self, number: u64) {
        self.put(&number.to_le_bytes());
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn chunk(&mut self, chunk: &Chunk) {
        self.extend_from_slice(chunk.bytes());
    }
}

/// Takes digests in the place of content, and hands the content over.
struct Parts<'a> {
    out: &'a mut Vec<u8>,
    content: &'a mut dyn FnMut([u8; 32], &[u8]),
}

impl Sink for Parts<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn chunk(&mut self, chunk: &Chunk) {
        let digest = *chunk.hash().as_bytes();
        self.put(&digest);
        (self.content)(digest, chunk.bytes());
    }
}

/// Gathers small pieces, since a hasher is slow on them.
struct Digester<'a> {
    hasher: &'a mut blake3::Hasher,
    gathered: Vec<u8>,
}

impl Digester<'_> {
    const GATHERED_BYTES: usize = 16 * 1024;

    fn flush(&mut self) {
        self.hasher.update(&self.gathered);
        self.gathered.clear();
    }
}

impl Sink for Digester<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= Self::GATHERED_BYTES {
            self.flush();
        }
    }

    fn chunk(&mut self, chunk: &Chunk) {
        self.put(chunk.hash().as_bytes());
    }
}

impl Fs {
    /// Appends the canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.write_to(VERSION, out);
    }

    /// Appends the canonical form with digests in the place of content, and hands each piece of content to `content`.
    pub(crate) fn encode_parts(&self, out: &mut Vec<u8>, content: &mut dyn FnMut([u8; 32], &[u8])) {
        self.write_to(VERSION_PARTS, &mut Parts { out, content });
    }

    /// Hashes the canonical form. Chunks that were hashed before and not written since cost 32 bytes each.
    pub fn digest_into(&self, hasher: &mut blake3::Hasher) {
        let mut digester = Digester { hasher, gathered: Vec::with_capacity(2 * Digester::GATHERED_BYTES) };
        self.write_to(VERSION, &mut digester);
        digester.flush();
    }

    /// Reads the canonical form, which fills `bytes`, over the bundle that it was encoded with.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`Fs::encode`] writes for some state.
    pub fn decode(bytes: &[u8], bundle: &BundleFiles) -> Result<Self, DecodeError> {
        Self::read_from(VERSION, Reader { rest: bytes, content: None }, bundle)
    }

    /// Reads what [`Fs::encode_parts`] wrote; `content` finds a piece by its digest, and has checked it.
    pub(crate) fn decode_parts(bytes: &[u8], bundle: &BundleFiles, content: Find<'_>) -> Result<Self, DecodeError> {
        Self::read_from(VERSION_PARTS, Reader { rest: bytes, content: Some(content) }, bundle)
    }

    fn read_from(expected: u8, mut reader: Reader<'_>, bundle: &BundleFiles) -> Result<Self, DecodeError> {
        let version = reader.byte()?;
        if version != expected {
            return Err(DecodeError::Version(version));
        }
        if reader.take(32)? != bundle.digest().as_bytes() {
            return Err(DecodeError::Bundle);
        }
        let mut quota = Quota::new(reader.number()?);
        quota.grant(reader.number()?);
        let next_inode = reader.number()?;
        let (inodes, walked) = (BTreeMap::new(), Walked::default());
        let mut fs = Self { bundle: bundle.clone(), quota, next_inode, inodes, walked };
        for _ in 0..reader.number()? {
            let id = reader.number()?;
            let above_last = fs.inodes.last_key_value().is_none_or(|(last, _)| last.0 < id);
            check(above_last && id > 0 && id < fs.next_inode, id, "number out of order")?;
            let inode = reader.inode(id, bundle)?;
            fs.inodes.insert(InodeId(id), inode);
        }
        if !reader.rest.is_empty() {
            return Err(DecodeError::Trailing(reader.rest.len()));
        }
        fs.relink()?;
        fs.recount()?;
        Ok(fs)
    }

    fn write_to(&self, version: u8, out: &mut impl Sink) {
        out.put(&[version]);
        out.put(self.bundle.digest().as_bytes());
        out.number(self.quota.limit_bytes);
        out.number(self.quota.granted_bytes);
        out.number(self.next_inode);
        out.number(self.inodes.len() as u64);
        for (id, inode) in &self.inodes {
            out.number(id.0);
            out.put(&[inode.kind() as u8]);
            out.put(&inode.opens.to_le_bytes());
            for time_ns in [inode.atime_ns, inode.mtime_ns, inode.ctime_ns] {
                out.number(time_ns);
            }
            match &inode.node {
                Node::Directory(directory) => node::write_directory(out, directory),
                Node::File(content) => node::write_content(out, content),
                Node::Symlink(target) => node::write_symlink(out, target),
            }
        }
    }

    /// Counts links and finds parents, and checks that the names make one tree.
    fn relink(&mut self) -> Result<(), DecodeError> {
        let root = self.inodes.get(&ROOT).map(Inode::kind);
        check(root == Some(FileKind::Directory), ROOT.0, "the root is a directory")?;
        let mut names = Vec::new();
        for (id, inode) in &self.inodes {
            if let Node::Directory(directory) = &inode.node {
                names.extend(directory.entries().values().map(|entry| (*id, entry.inode)));
            }
        }
        names.push((ROOT, ROOT));
        for (dir, id) in names {
            let inode = self.inodes.get_mut(&id);
            let inode = inode.ok_or(broken(id.0, "a name leads to it and it is not there"))?;
            check(inode.links < MAX_LINKS, id.0, "it has too many names")?;
            inode.links += 1;
            if let Node::Directory(directory) = &mut inode.node {
                check(inode.links == 1, id.0, "a directory has one name")?;
                directory.set_parent(dir);
            }
        }
        self.check_unnamed()?;
        self.check_tree()
    }

    /// What has no name is held by a handle, and is empty when it is a directory.
    fn check_unnamed(&mut self) -> Result<(), DecodeError> {
        for (id, inode) in self.inodes.iter_mut().filter(|(_, inode)| inode.links == 0) {
            check(inode.opens > 0, id.0, "neither a name nor a handle holds it")?;
            if let Node::Directory(directory) = &mut inode.node {
                check(directory.is_empty(), id.0, "a removed directory is empty")?;
                directory.set_parent(*id);
            }
        }
        Ok(())
    }

    /// Every named directory is reached from the root. Each has one name, so the walk ends.
    fn check_tree(&self) -> Result<(), DecodeError> {
        let mut open = vec![ROOT];
        let mut reached = 0;
        while let Some(dir) = open.pop() {
            reached += 1;
            if let Ok(directory) = self.directory(dir) {
                let below = directory.entries().values().map(|entry| entry.inode);
                open.extend(below.filter(|id| self.directory(*id).is_ok()));
            }
        }
        let named = |inode: &&Inode| inode.links > 0 && inode.kind() == FileKind::Directory;
        let all = self.inodes.values().filter(named).count();
        check(reached == all, ROOT.0, "not every directory is below it")
    }

    fn recount(&mut self) -> Result<(), DecodeError> {
        self.quota.used_bytes = self.charged_bytes();
        if self.quota.used_bytes > self.quota.ceiling_bytes() {
            return Err(DecodeError::Quota {
                used_bytes: self.quota.used_bytes,
                limit_bytes: self.quota.ceiling_bytes(),
            });
        }
        Ok(())
    }
}

/// Finds a piece of content by its digest.
type Find<'a> = &'a mut dyn FnMut(&[u8; 32]) -> Option<Vec<u8>>;

struct Reader<'a> {
    rest: &'a [u8],
    /// None in the whole form, which has the content in it.
    content: Option<Find<'a>>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The bytes of a chunk of this inode, of which there must be `len`.
    fn chunk(&mut self, inode: u64, len: usize) -> Result<Vec<u8>, DecodeError> {
        if self.content.is_none() {
            return Ok(self.take(len)?.to_vec());
        }
        let digest = self.array()?;
        let found = self.content.as_mut().and_then(|find| find(&digest));
        found.filter(|bytes| bytes.len() == len).ok_or(DecodeError::Content { inode, digest })
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn inode(&mut self, id: u64, bundle: &BundleFiles) -> Result<Inode, DecodeError> {
        let kind = self.byte()?;
        let opens = u32::from_le_bytes(self.array()?);
        let (atime_ns, mtime_ns, ctime_ns) = (self.number()?, self.number()?, self.number()?);
        let node = match kind {
            kind if kind == FileKind::Directory as u8 => Node::Directory(self.directory(id)?),
            kind if kind == FileKind::File as u8 => Node::File(self.content(id, bundle)?),
            kind if kind == FileKind::Symlink as u8 => Node::Symlink(self.symlink(id)?),
            _ => return Err(broken(id, "unknown kind")),
        };
        Ok(Inode { node, links: 0, opens, atime_ns, mtime_ns, ctime_ns })
    }
}

fn broken(inode: u64, rule: &'static str) -> DecodeError {
    DecodeError::Inode { inode, rule }
}

fn check(holds: bool, inode: u64, rule: &'static str) -> Result<(), DecodeError> {
    if holds { Ok(()) } else { Err(broken(inode, rule)) }
}

#[cfg(test)]
mod tests;
