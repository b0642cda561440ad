//! Folders of the host as directories of a program that runs by itself: all of them are read in before it starts.
//!
//! A folder inside of another is the same directory to the program, as on the host. Files with several names keep them,
//! links are kept as they are, and what is neither file, directory nor link is left out and left alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use refrain_kernel::fs::{Follow, Fs, InodeId, Loaded, ROOT, Times};
use refrain_kernel::solo::Preopen;

/// The most files, directories and links that are read in.
const MAX_ENTRIES: usize = 1_000_000;

/// A folder that the program is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub host: PathBuf,
    /// The program's name for it.
    pub guest: Vec<u8>,
    /// Whether the program can only read it.
    pub read_only: bool,
}

/// Why a folder was not read in.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The host refused.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is something else.
    #[error("{}: is no folder", .0.display())]
    NoFolder(PathBuf),
    /// It is larger than the program's files may be.
    #[error("{}: with this file there are more than {limit} bytes; choose a smaller folder or raise --files", path.display())]
    TooLarge {
        /// Where it became too large.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// It has too much in it.
    #[error("{}: with this folder there are more than {MAX_ENTRIES} files; choose a smaller one", .0.display())]
    TooMany(PathBuf),
}

/// A folder that was read in, and whose changes are to be written back.
pub(super) struct Root {
    pub(super) host: PathBuf,
    pub(super) inode: InodeId,
}

/// What was read in.
pub(super) struct Mounted {
    pub(super) roots: Vec<Root>,
    /// The files before the program ran.
    pub(super) before: Fs,
    /// Permissions of the host's files, without bits that make a program another user's.
    pub(super) modes: BTreeMap<InodeId, u32>,
}

/// Reads the folders in.
pub(super) fn mount(fs: &mut Fs, folders: &[Folder], limit: u64) -> Result<(Vec<Preopen>, Mounted), FolderError> {
    let mut hosts = Vec::new();
    for folder in folders {
        let path = || folder.host.clone();
        let host = std::fs::canonicalize(&folder.host).map_err(|source| FolderError::Read { path: path(), source })?;
        if !host.is_dir() {
            return Err(FolderError::NoFolder(path()));
        }
        hosts.push(host);
    }
    let mut outer: Vec<&PathBuf> = hosts.iter().filter(|host| !is_inside_another(host, &hosts)).collect();
    outer.sort();
    outer.dedup();
    let mut loader = Loader { fs, modes: BTreeMap::new(), known: BTreeMap::new(), left: limit, limit, entries: 0 };
    let mut loaded = Vec::new();
    for (number, host) in outer.into_iter().enumerate() {
        loaded.push((host.clone(), loader.tree(host, number.to_string().as_bytes())?));
    }
    let modes = loader.modes;
    fs.end_loading();
    let inode_of = |host: &Path| {
        let (outer, inode) = loaded.iter().find(|(outer, _)| host.starts_with(outer)).expect("all were read in");
        let rest = host.strip_prefix(outer).expect("it starts with it").as_os_str().as_bytes();
        let path = if rest.is_empty() { b"." } else { rest };
        fs.lookup_at(*inode, path, Follow::No).expect("a folder was read in with what is in it")
    };
    let mut preopens = Vec::new();
    let mut roots: Vec<Root> = Vec::new();
    for (folder, host) in folders.iter().zip(&hosts) {
        let inode = inode_of(host);
        preopens.push(Preopen { name: folder.guest.clone(), inode, read_only: folder.read_only });
        if !folder.read_only {
            roots.push(Root { host: host.clone(), inode });
        }
    }
    // What is inside of another that is written back is written back with it.
    let written: Vec<PathBuf> = roots.iter().map(|root| root.host.clone()).collect();
    roots.retain(|root| !is_inside_another(&root.host, &written));
    roots.sort_by(|a, b| a.host.cmp(&b.host));
    roots.dedup_by(|a, b| a.host == b.host);
    let before = fs.clone();
    Ok((preopens, Mounted { roots, before, modes }))
}

fn is_inside_another(host: &Path, all: &[PathBuf]) -> bool {
    all.iter().any(|other| host != other && host.starts_with(other))
}

/// The times of something on the host.
fn times(metadata: &Metadata) -> Times {
    let ns = |seconds: i64, nanos: i64| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(nanos).unwrap_or(0))
    };
    Times {
        atime_ns: ns(metadata.atime(), metadata.atime_nsec()),
        mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
    }
}

struct Loader<'a> {
    fs: &'a mut Fs,
    modes: BTreeMap<InodeId, u32>,
    /// Files with several names, by device and inode.
    known: BTreeMap<(u64, u64), InodeId>,
    left: u64,
    limit: u64,
    entries: usize,
}

impl Loader<'_> {
    fn tree(&mut self, host: &Path, name: &[u8]) -> Result<InodeId, FolderError> {
        let metadata = read(host, std::fs::metadata)?;
        let root = self.fs.load(ROOT, name, Loaded::Directory, times(&metadata));
        let mut open = vec![(host.to_owned(), root)];
        while let Some((path, inode)) = open.pop() {
            for name in self.names(&path)? {
                let path = path.join(&name);
                let metadata = read(&path, std::fs::symlink_metadata)?;
                let below = self.entry(&path, name.as_bytes(), inode, &metadata)?;
                open.extend(below.map(|below| (path, below)));
            }
        }
        Ok(root)
    }

    /// In byte order, so that a run does not depend on the order that the host has them in.
    fn names(&mut self, path: &Path) -> Result<Vec<OsString>, FolderError> {
        let entries = read(path, |path| std::fs::read_dir(path)?.collect::<io::Result<Vec<_>>>())?;
        self.entries += entries.len();
        if self.entries > MAX_ENTRIES {
            return Err(FolderError::TooMany(path.to_owned()));
        }
        let mut names: Vec<OsString> = entries.into_iter().map(|entry| entry.file_name()).collect();
        names.sort();
        Ok(names)
    }

    /// Reads one entry in. The directory, where it is one.
    fn entry(
        &mut self,
        path: &Path,
        name: &[u8],
        dir: InodeId,
        metadata: &Metadata,
    ) -> Result<Option<InodeId>, FolderError> {
        let kind = metadata.file_type();
        let what = if kind.is_dir() {
            Loaded::Directory
        } else if kind.is_symlink() {
            Loaded::Symlink(read(path, std::fs::read_link)?.into_os_string().into_vec())
        } else if kind.is_file() {
            if let Some(known) = self.known.get(&(metadata.dev(), metadata.ino())) {
                self.fs.load_name(dir, name, *known);
                return Ok(None);
            }
            let too_large = || FolderError::TooLarge { path: path.to_owned(), limit: self.limit };
            // Asked before it is read, and counted as it was read: it may grow meanwhile.
            self.left.checked_sub(metadata.len()).ok_or_else(too_large)?;
            let content = read(path, std::fs::read)?;
            self.left = self.left.checked_sub(content.len() as u64).ok_or_else(too_large)?;
            Loaded::File(Bytes::from(content))
        } else {
            return Ok(None);
        };
        let inode = self.fs.load(dir, name, what, times(metadata));
        if kind.is_file() {
            self.modes.insert(inode, metadata.mode() & 0o777);
            if metadata.nlink() > 1 {
                self.known.insert((metadata.dev(), metadata.ino()), inode);
            }
        }
        Ok(kind.is_dir().then_some(inode))
    }
}

fn read<'p, T>(path: &'p Path, how: impl FnOnce(&'p Path) -> io::Result<T>) -> Result<T, FolderError> {
    how(path).map_err(|source| FolderError::Read { path: path.to_owned(), source })
}
