//! Bundles on disk, each in a folder named by its digest, so that a data folder needs nothing outside itself.
//!
//! `<dir>/<digest>/service.toml` is the manifest as given, `module.wasm` the module, `files/<n>` the n-th file in the
//! order of the guest paths, `index` the guest paths, one a line, with backslashes and line ends escaped.
//! A bundle appears whole or not at all: it is written under a temporary name, synced, renamed. It is verified against
//! its digest when it is opened. Two bundles that differ in their `listen` addresses alone share a folder; the later
//! one's `service.toml` is kept.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use crate::bounds::{BUNDLE_FILES_BYTES_MAX, BUNDLE_FILES_MAX, MANIFEST_BYTES_MAX, MODULE_BYTES_MAX};
use crate::bundle::{Bundle, LoadError, MANIFEST_FILE};
use crate::canonical::BundleDigest;
use crate::fault::Faults;
use crate::files::{BundleFile, GuestPath, read_bounded};
use crate::manifest::Manifest;

const MODULE_FILE: &str = "module.wasm";
const FILES_FOLDER: &str = "files";
const INDEX_FILE: &str = "index";
/// Threads that sync what a bundle consists of.
const SYNCING_THREADS: usize = 8;
/// As many paths as a bundle may have files, each escaped to at most twice its length.
const INDEX_BYTES_MAX: u64 = 2 * (crate::bounds::GUEST_PATH_BYTES_MAX as u64 + 1) * BUNDLE_FILES_MAX as u64;

/// Why a bundle could not be stored.
#[derive(Debug, thiserror::Error)]
#[error("cannot store bundle {digest}: {step} {}", path.display())]
pub struct StoreError {
    /// Which bundle.
    pub digest: BundleDigest,
    /// What was being done.
    pub step: &'static str,
    /// With what.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

/// Why a stored bundle could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A part could not be read.
    #[error("cannot open bundle {digest}")]
    Read {
        /// Which bundle.
        digest: BundleDigest,
        /// What could not be read, and why.
        source: LoadError,
    },
    /// The stored manifest is not valid.
    #[error("the stored manifest of bundle {digest} has {faults}")]
    Manifest {
        /// Which bundle.
        digest: BundleDigest,
        /// What is wrong.
        faults: Faults,
    },
    /// The list of files cannot be read.
    #[error("line {line} of the list of files of bundle {digest} is damaged")]
    Index {
        /// Which bundle.
        digest: BundleDigest,
        /// Which line, from 1.
        line: usize,
    },
    /// What is there is not what was stored.
    #[error("bundle {digest} is damaged: its content has the digest {found}")]
    Damaged {
        /// What was asked for.
        digest: BundleDigest,
        /// What is there.
        found: BundleDigest,
    },
}

impl Bundle {
    /// Stores the bundle below `dir` and returns its folder. Storing it again costs a verification. When this
    /// returns, the bundle survives a loss of power.
    pub fn store(&self, dir: &Path) -> Result<PathBuf, StoreError> {
        let folder = dir.join(self.digest.to_string());
        let at = |step, path: &Path| {
            let (digest, path) = (self.digest, path.to_owned());
            move |source| StoreError { digest, step, path, source }
        };
        fs::create_dir_all(dir).map_err(at("creating", dir))?;
        match Self::open(dir, self.digest) {
            Ok(stored) if stored.manifest_text == self.manifest_text => return Ok(folder),
            Ok(_) => {
                let temporary = folder.join(format!(".{MANIFEST_FILE}.{}", std::process::id()));
                let manifest = self.manifest_text.as_bytes();
                write_synced(&temporary, manifest).map_err(at("writing", &temporary))?;
                let path = folder.join(MANIFEST_FILE);
                fs::rename(&temporary, &path).map_err(at("replacing", &path))?;
                sync_folder(&folder).map_err(at("syncing", &folder))?;
                return Ok(folder);
            }
            Err(_) => {}
        }
        let temporary = dir.join(format!(".{}.{}", self.digest, std::process::id()));
        remove(&temporary).map_err(at("removing", &temporary))?;
        self.write_all(&temporary).map_err(at("writing", &temporary))?;
        // Only a damaged bundle is still there under this name.
        remove(&folder).map_err(at("removing", &folder))?;
        fs::rename(&temporary, &folder).map_err(at("renaming to", &folder))?;
        sync_folder(dir).map_err(at("syncing", dir))?;
        Ok(folder)
    }

    fn write_all(&self, folder: &Path) -> io::Result<()> {
        let files = folder.join(FILES_FOLDER);
        fs::create_dir_all(&files)?;
        let mut index = String::new();
        let mut written = vec![folder.to_owned(), files.clone()];
        let mut write = |path: PathBuf, bytes: &[u8]| {
            fs::write(&path, bytes)?;
            written.push(path);
            Ok::<_, io::Error>(())
        };
        for (number, file) in self.files.iter().enumerate() {
            write(files.join(number.to_string()), &file.bytes)?;
            index.push_str(&escape(file.path.as_str()));
            index.push('\n');
        }
        write(folder.join(INDEX_FILE), index.as_bytes())?;
        write(folder.join(MODULE_FILE), &self.module)?;
        write(folder.join(MANIFEST_FILE), self.manifest_text.as_bytes())?;
        sync_all(&written)
    }

    /// Opens a stored bundle and verifies that it is what was stored, by this version of Refrain or an earlier one.
    pub fn open(dir: &Path, digest: BundleDigest) -> Result<Self, OpenError> {
        let folder = dir.join(digest.to_string());
        let read = |name: &Path, limit| {
            read_bounded(&folder.join(name), limit).map_err(|source| OpenError::Read { digest, source })
        };
        let manifest_text = read(Path::new(MANIFEST_FILE), MANIFEST_BYTES_MAX)?;
        let manifest_text = String::from_utf8_lossy(&manifest_text).into_owned();
        let manifest = Manifest::parse_stored(&manifest_text);
        let (manifest, outdated) = manifest.map_err(|faults| OpenError::Manifest { digest, faults })?;
        let module = read(Path::new(MODULE_FILE), MODULE_BYTES_MAX)?;
        let index = read(Path::new(INDEX_FILE), INDEX_BYTES_MAX)?;
        let mut files = Vec::new();
        let mut left = BUNDLE_FILES_BYTES_MAX;
        for (number, line) in String::from_utf8_lossy(&index).lines().enumerate() {
            let path: Option<GuestPath> = unescape(line).and_then(|path| path.parse().ok());
            let path = path.filter(|_| number < BUNDLE_FILES_MAX);
            let path = path.ok_or(OpenError::Index { digest, line: number + 1 })?;
            let name = Path::new(FILES_FOLDER).join(number.to_string());
            let bytes = read(&name, left)?;
            left -= bytes.len() as u64;
            files.push(BundleFile { path, bytes });
        }
        let bundle = Self { outdated, ..Self::of(manifest, manifest_text, module, files) };
        if bundle.digest != digest {
            return Err(OpenError::Damaged { digest, found: bundle.digest });
        }
        Ok(bundle)
    }
}

/// A path on one line: only what would break the line is escaped.
fn escape(path: &str) -> String {
    path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(line: &str) -> Option<String> {
    let mut path = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => path.push(match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            }),
            c => path.push(c),
        }
    }
    Some(path)
}

/// By several threads: a file system makes one commit for all who wait for it, and one after another for who comes later.
fn sync_all(paths: &[PathBuf]) -> io::Result<()> {
    let sync = |paths: &[PathBuf]| paths.iter().try_for_each(|path| File::open(path)?.sync_all());
    thread::scope(|scope| {
        let begin = |share| thread::Builder::new().spawn_scoped(scope, move || sync(share));
        let shares = paths.chunks(paths.len().div_ceil(SYNCING_THREADS).max(1));
        let syncing = shares.map(begin).collect::<io::Result<Vec<_>>>()?;
        syncing.into_iter().try_for_each(|thread| thread.join().expect("syncing does not panic"))
    })
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
