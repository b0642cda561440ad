//! Paths of a bundle, and the reading of the files that `[files]` names.
//!
//! A host path never leaves the manifest's folder, not by `..` and not by a symbolic link. Within a folder that is
//! bundled as a whole symbolic links are refused: what a guest sees must not depend on what lies around the bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use walkdir::WalkDir;

use crate::bounds::{BUNDLE_FILES_BYTES_MAX, BUNDLE_FILES_MAX, GUEST_NAME_BYTES_MAX, GUEST_PATH_BYTES_MAX};
use crate::bundle::LoadError;

/// An absolute path in the guest's file system, in its only spelling: no `.`, `..`, empty part or slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestPath(String);

/// Why a text is no path of a guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestPathError {
    /// It does not begin with a slash.
    #[error("a guest path begins with `/`")]
    Relative,
    /// It is the root.
    #[error("the guest's root cannot be replaced; name a folder below it")]
    Root,
    /// It is not in its simplest spelling.
    #[error("a guest path has no `.`, no `..`, no `//` and no `/` at the end")]
    NotPlain,
    /// It has a NUL character.
    #[error("a path cannot have a NUL character")]
    Nul,
    /// Longer than the limit.
    #[error("{0} bytes, the limit is {GUEST_PATH_BYTES_MAX}")]
    TooLong(usize),
    /// One of its names is longer than the limit.
    #[error("a name of {0} bytes, the limit is {GUEST_NAME_BYTES_MAX}")]
    NameTooLong(usize),
}

impl GuestPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for GuestPath {
    type Err = GuestPathError;

    fn from_str(text: &str) -> Result<Self, GuestPathError> {
        let parts = text.strip_prefix('/').ok_or(GuestPathError::Relative)?;
        if parts.is_empty() {
            return Err(GuestPathError::Root);
        }
        if text.contains('\0') {
            return Err(GuestPathError::Nul);
        }
        if text.len() > GUEST_PATH_BYTES_MAX {
            return Err(GuestPathError::TooLong(text.len()));
        }
        if parts.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(GuestPathError::NotPlain);
        }
        if let Some(name) = parts.split('/').find(|name| name.len() > GUEST_NAME_BYTES_MAX) {
            return Err(GuestPathError::NameTooLong(name.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A path relative to the manifest's folder that does not leave it, with `/` between its parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPath(String);

/// Why a text is no path within the manifest's folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPathError {
    /// Nothing there.
    #[error("a path cannot be empty")]
    Empty,
    /// It begins at the root.
    #[error("the path must be relative to the manifest's folder")]
    Absolute,
    /// It has `..`.
    #[error("the path must not leave the manifest's folder: `..` is not allowed")]
    Leaves,
    /// It has a NUL character.
    #[error("a path cannot have a NUL character")]
    Nul,
}

impl HostPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part: what a program that was started from this path would call itself.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostPath {
    type Err = HostPathError;

    fn from_str(text: &str) -> Result<Self, HostPathError> {
        if text.is_empty() {
            return Err(HostPathError::Empty);
        }
        if text.contains('\0') {
            return Err(HostPathError::Nul);
        }
        let mut parts = Vec::new();
        for component in Path::new(text).components() {
            match component {
                Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
                Component::CurDir => {}
                Component::ParentDir => return Err(HostPathError::Leaves),
                Component::RootDir | Component::Prefix(_) => return Err(HostPathError::Absolute),
            }
        }
        Ok(Self(if parts.is_empty() { ".".to_owned() } else { parts.join("/") }))
    }
}

/// One file of a bundle as the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFile {
    /// Where the guest finds it.
    pub path: GuestPath,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Where a path within the folder really is; an error when it leads out of it.
pub(crate) fn resolve(root: &Path, path: &HostPath) -> Result<PathBuf, LoadError> {
    let wanted = root.join(path.as_str());
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| LoadError::Read { path, source }
    };
    let real_root = root.canonicalize().map_err(io(root))?;
    let real = wanted.canonicalize().map_err(io(&wanted))?;
    if !real.starts_with(&real_root) {
        return Err(LoadError::Outside { path: wanted, real });
    }
    Ok(real)
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let error = |source| LoadError::Read { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(error)?;
    if !metadata.is_file() {
        return Err(error(io::Error::other("not a regular file")));
    }
    let too_large = |bytes| LoadError::TooLarge { path: path.to_owned(), bytes, limit };
    // A file of holes is told by its length, before a byte of it is read.
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    let file = std::fs::File::open(path).map_err(error)?;
    let mut bytes = Vec::new();
    // The length can change after it was looked at, so the read itself is bounded too.
    io::Read::read_to_end(&mut io::Read::take(file, limit + 1), &mut bytes).map_err(error)?;
    if bytes.len() as u64 > limit { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

/// All files of `[files]`, sorted by guest path.
pub(crate) fn collect(root: &Path, entries: &BTreeMap<GuestPath, HostPath>) -> Result<Vec<BundleFile>, LoadError> {
    let mut files = BTreeMap::new();
    let mut left = BUNDLE_FILES_BYTES_MAX;
    for (guest, host) in entries {
        for (path, source) in expand(&resolve(root, host)?, guest)? {
            let bytes = read_bounded(&source, left)?;
            left -= bytes.len() as u64;
            if files.insert(path.clone(), bytes).is_some() {
                return Err(LoadError::Twice { path });
            }
            if files.len() > BUNDLE_FILES_MAX {
                return Err(LoadError::TooManyFiles);
            }
        }
    }
    if let Some((outer, inner)) = file_and_folder(files.keys()) {
        return Err(LoadError::FileAndFolder { outer, inner });
    }
    let sorted = files.into_iter();
    Ok(sorted.map(|(path, bytes)| BundleFile { path, bytes }).collect())
}

/// A path that is a file's and also a folder's, and a file in that folder, if there are such two.
pub(crate) fn file_and_folder<'p>(paths: impl Iterator<Item = &'p GuestPath>) -> Option<(GuestPath, GuestPath)> {
    let paths: BTreeSet<&GuestPath> = paths.collect();
    paths.iter().find_map(|outer| {
        let below = GuestPath(format!("{outer}/"));
        let inner = paths.range::<GuestPath, _>(&below..).next().filter(|path| path.0.starts_with(&below.0))?;
        Some(((*outer).clone(), (*inner).clone()))
    })
}

/// A file as itself, a folder as all files below it.
fn expand(source: &Path, guest: &GuestPath) -> Result<Vec<(GuestPath, PathBuf)>, LoadError> {
    if source.is_file() {
        return Ok(vec![(guest.clone(), source.to_owned())]);
    }
    let mut found = Vec::new();
    for entry in WalkDir::new(source).follow_links(false) {
        let entry = entry.map_err(|error| LoadError::Read {
            path: error.path().unwrap_or(source).to_owned(),
            source: error.into(),
        })?;
        let path = entry.path().to_owned();
        if entry.file_type().is_symlink() {
            return Err(LoadError::Link { path });
        }
        if entry.file_type().is_dir() {
            continue;
        }
        if found.len() >= BUNDLE_FILES_MAX {
            return Err(LoadError::TooManyFiles);
        }
        let below = path.strip_prefix(source).expect("a walk stays below its start");
        let Some(below) = below.to_str() else {
            return Err(LoadError::NotUtf8 { path });
        };
        let name = GuestPath::from_str(&format!("{guest}/{below}"))
            .map_err(|source| LoadError::GuestPath { path: path.clone(), source })?;
        found.push((name, path));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_path_has_one_spelling() {
        assert!("/etc/app.conf".parse::<GuestPath>().is_ok());
        for (text, error) in [
            ("etc", GuestPathError::Relative),
            ("", GuestPathError::Relative),
            ("/", GuestPathError::Root),
            ("/a/", GuestPathError::NotPlain),
            ("/a//b", GuestPathError::NotPlain),
            ("/a/../b", GuestPathError::NotPlain),
            ("/a\0", GuestPathError::Nul),
        ] {
            assert_eq!(text.parse::<GuestPath>(), Err(error), "{text:?}");
        }
        let at_limit = format!("/{}", "a/".repeat(2047) + "a");
        assert!(at_limit.parse::<GuestPath>().is_ok());
        let above = format!("{at_limit}a").parse::<GuestPath>();
        assert_eq!(above, Err(GuestPathError::TooLong(4097)));
        let name = format!("/a/{}", "é".repeat(127) + "a");
        assert!(name.parse::<GuestPath>().is_ok());
        assert_eq!(format!("{name}a/b").parse::<GuestPath>(), Err(GuestPathError::NameTooLong(256)));
    }

    #[test]
    fn a_host_path_stays_below_the_manifest() {
        assert_eq!("./a//b".parse::<HostPath>().unwrap().as_str(), "a/b");
        assert_eq!(".".parse::<HostPath>().unwrap().as_str(), ".");
        assert_eq!("a/b.wasm".parse::<HostPath>().unwrap().file_name(), "b.wasm");
        for (text, error) in [
            ("", HostPathError::Empty),
            ("/etc", HostPathError::Absolute),
            ("../x", HostPathError::Leaves),
            ("a/../../x", HostPathError::Leaves),
        ] {
            assert_eq!(text.parse::<HostPath>(), Err(error), "{text:?}");
        }
    }
}
