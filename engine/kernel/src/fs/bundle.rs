//! The read-only layer: the files of a service's bundle, built once and shared by all its replicas in a process.
//!
//! Guarantees: files are in byte order of their paths, so a file's number is the same everywhere; the digest covers
//! paths and content. Contents are `Bytes` and are never copied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::dir::MAX_NAME_BYTES;
use super::path::MAX_PATH_BYTES;

/// Why a list of bundle files was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    /// The path does not begin with a slash, or has an empty component, `.`, `..` or a zero byte.
    #[error("bundle path {0:?} is not a plain absolute path")]
    NotPlain(String),
    /// The path or one of its components is too long.
    #[error(
        "bundle path of {bytes} bytes or one of its names is too long (limits {MAX_PATH_BYTES} and {MAX_NAME_BYTES} bytes): {path:?}"
    )]
    TooLong {
        /// The path.
        path: String,
        /// Its length.
        bytes: usize,
    },
    /// Two files have the same path.
    #[error("bundle path {0:?} is given twice")]
    Twice(String),
    /// A file's path is also the directory of another file.
    #[error("bundle path {0:?} is both a file and a directory")]
    FileAndDirectory(String),
    /// More files than a number of 32 bits counts.
    #[error("bundle has too many files (limit {})", u32::MAX)]
    TooMany,
}

/// The files of a bundle; a cheap handle.
#[derive(Clone, Debug)]
pub struct BundleFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Vec<(Vec<u8>, Bytes)>,
    digest: blake3::Hash,
    inode_count: u64,
}

impl BundleFiles {
    /// Takes (absolute guest path, content) pairs in any order.
    ///
    /// # Errors
    /// When a path is not plain, too long, given twice, or file and directory at once.
    pub fn new(entries: impl IntoIterator<Item = (Vec<u8>, Bytes)>) -> Result<Self, BundleError> {
        let mut files = BTreeMap::new();
        for (path, content) in entries {
            check_path(&path)?;
            if files.contains_key(&path) {
                return Err(BundleError::Twice(shown(&path)));
            }
            files.insert(path, content);
        }
        u32::try_from(files.len()).map_err(|_| BundleError::TooMany)?;
        for path in files.keys() {
            for end in (1..path.len()).filter(|end| path[*end] == b'/') {
                if files.contains_key(&path[..end]) {
                    return Err(BundleError::FileAndDirectory(shown(&path[..end])));
                }
            }
        }
        let mut hasher = blake3::Hasher::new();
        for (path, content) in &files {
            hasher.update(&(path.len() as u64).to_le_bytes());
            hasher.update(path);
            hasher.update(&(content.len() as u64).to_le_bytes());
            hasher.update(content);
        }
        let inode_count = 1 + inodes_below_root(files.keys());
        Ok(Self(Arc::new(Inner { files: files.into_iter().collect(), digest: hasher.finalize(), inode_count })))
    }

    /// The digest over all paths and contents.
    #[must_use]
    pub fn digest(&self) -> &blake3::Hash {
        &self.0.digest
    }

    /// How many inodes its tree has: the root, directories, files.
    pub(super) fn inode_count(&self) -> u64 {
        self.0.inode_count
    }

    /// Number, path and content of each file in byte order of the paths.
    pub(super) fn files(&self) -> impl Iterator<Item = (u32, &[u8], &Bytes)> {
        let numbered = (0..).zip(&self.0.files);
        numbered.map(|(number, (path, content))| (number, path.as_slice(), content))
    }

    pub(super) fn content(&self, number: u32) -> Option<&Bytes> {
        let file = self.0.files.get(usize::try_from(number).ok()?)?;
        Some(&file.1)
    }

    /// Number and content of the file at a path.
    pub(super) fn find(&self, path: &[u8]) -> Option<(u32, &Bytes)> {
        let at = self.0.files.binary_search_by(|(known, _)| known.as_slice().cmp(path)).ok()?;
        Some((u32::try_from(at).ok()?, &self.0.files[at].1))
    }

    /// The path of a file.
    pub(super) fn path(&self, number: u32) -> Option<&[u8]> {
        let file = self.0.files.get(usize::try_from(number).ok()?)?;
        Some(&file.0)
    }

    /// Whether the file of this number begins with these bytes.
    pub(super) fn shows(&self, number: u32, bytes: &[u8]) -> bool {
        self.content(number).is_some_and(|content| content.starts_with(bytes))
    }
}

/// Each path's file, and those of its directories that the path before is not in. Sorted paths have what a directory
/// holds side by side.
fn inodes_below_root<'p>(paths: impl Iterator<Item = &'p Vec<u8>>) -> u64 {
    let (mut count, mut before) = (0, &[][..]);
    for path in paths {
        let shared = path.iter().zip(before).take_while(|(a, b)| a == b).count();
        // What is shared ends within a name, or with the slash after a directory that both are in.
        count += path[shared.max(1)..].iter().filter(|byte| **byte == b'/').count() as u64 + 1;
        before = path;
    }
    count
}

fn check_path(path: &[u8]) -> Result<(), BundleError> {
    let Some(relative) = path.strip_prefix(b"/") else {
        return Err(BundleError::NotPlain(shown(path)));
    };
    let names = || relative.split(|byte| *byte == b'/');
    if names().any(|name| matches!(name, b"" | b"." | b"..") || name.contains(&0)) {
        return Err(BundleError::NotPlain(shown(path)));
    }
    if path.len() > MAX_PATH_BYTES || names().any(|name| name.len() > MAX_NAME_BYTES) {
        return Err(BundleError::TooLong { path: shown(path), bytes: path.len() });
    }
    Ok(())
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{BundleError, BundleFiles};
    use crate::fs::fixture::{bundle, read, tree};
    use crate::fs::{Fs, MAX_NAME_BYTES};

    fn build(paths: &[&str]) -> Result<BundleFiles, BundleError> {
        let entry = |path: &&str| (path.as_bytes().to_vec(), Bytes::from_static(b"x"));
        BundleFiles::new(paths.iter().map(entry))
    }

    #[test]
    fn bundle_files_appear_with_their_directories() {
        let bundle = bundle(&[("/www/b.html", b"b".to_vec()), ("/www/a/i", b"i".to_vec()), ("/z", vec![])]);
        let fs = Fs::new(&bundle, 0, 5);
        assert_eq!(tree(&fs), ["www/", "www/a/", "www/a/i", "www/b.html", "z"]);
        assert_eq!(read(&fs, "www/a/i"), b"i");
    }

    #[test]
    fn inodes_are_counted_as_the_tree_has_them() {
        for paths in [
            &[][..],
            &["/a"],
            &["/a", "/b"],
            &["/a/b/c/d"],
            &["/a/b", "/a/bc", "/a/b-/x", "/a/b.c/x", "/a-/f", "/a./f", "/ab/f"],
            &["/a/b/c", "/a/b/d", "/a/e/f", "/a/g", "/h/i/j", "/h/i/k/l", "/hi"],
        ] {
            let bundle = build(paths).unwrap();
            let names = tree(&Fs::new(&bundle, 0, 0)).len() as u64;
            assert_eq!(bundle.inode_count(), names + 1, "{paths:?}");
        }
    }

    #[test]
    fn the_order_given_changes_neither_numbers_nor_digest() {
        let (one, two) = (build(&["/a", "/b"]).unwrap(), build(&["/b", "/a"]).unwrap());
        assert_eq!(one.digest(), two.digest());
        assert_ne!(one.digest(), build(&["/a", "/c"]).unwrap().digest());
    }

    #[test]
    fn paths_that_are_not_plain_are_refused() {
        for path in ["a", "", "/", "/a/", "//a", "/./a", "/a/..", "/a\0"] {
            let refused = BundleError::NotPlain(path.to_owned());
            assert_eq!(build(&[path]).err(), Some(refused), "{path:?}");
        }
        assert_eq!(build(&["/a", "/a"]).err(), Some(BundleError::Twice("/a".into())));
        let both = build(&["/a/b", "/a.x", "/a"]).err();
        assert_eq!(both, Some(BundleError::FileAndDirectory("/a".into())));
    }

    #[test]
    fn a_name_of_255_bytes_is_taken_and_one_of_256_refused() {
        let name = |bytes| format!("/{}", "n".repeat(bytes));
        assert!(build(&[&name(MAX_NAME_BYTES)]).is_ok());
        let refused = build(&[&name(MAX_NAME_BYTES + 1)]).err();
        assert!(matches!(refused, Some(BundleError::TooLong { bytes: 257, .. })));
    }
}
