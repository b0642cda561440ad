//! A bundle: everything that a replica needs to run a service, in memory, with its digest.

use std::path::{Path, PathBuf};

use crate::bounds::{BUNDLE_FILES_BYTES_MAX, BUNDLE_FILES_MAX, MANIFEST_BYTES_MAX, MODULE_BYTES_MAX};
use crate::canonical::{self, BundleDigest};
use crate::fault::{Fault, Faults};
use crate::files::{self, BundleFile, GuestPath, GuestPathError};
use crate::manifest::Manifest;

/// The name of the manifest within a service's folder.
pub const MANIFEST_FILE: &str = "service.toml";

/// A service, complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest as its author wrote it.
    pub manifest_text: String,
    /// The module's bytes.
    pub module: Vec<u8>,
    /// Its files, sorted by guest path.
    pub files: Vec<BundleFile>,
    /// The digest over everything but the addresses that the proxy listens on; the folder of a stored bundle.
    pub digest: BundleDigest,
    /// What the manifest of a stored bundle has that is refused in new ones: it has no effect, or that of the nearest
    /// value that is allowed.
    pub outdated: Vec<Fault>,
}

/// Why a service's folder could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The manifest is not UTF-8.
    #[error("{} is not UTF-8: byte {at} cannot be read", path.display())]
    ManifestNotUtf8 {
        /// Which.
        path: PathBuf,
        /// The first wrong byte.
        at: usize,
    },
    /// The manifest is wrong.
    #[error("{} has {faults}", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// All that is wrong.
        faults: Faults,
    },
    /// A file is larger than its limit.
    #[error("{} has {bytes} bytes, the limit here is {limit}", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// What is allowed (of the files, what the others have left of the bundle's limit).
        limit: u64,
    },
    /// Too many files.
    #[error("[files] names more than {BUNDLE_FILES_MAX} files ({BUNDLE_FILES_BYTES_MAX} bytes are allowed in all)")]
    TooManyFiles,
    /// A symbolic link leads out of the manifest's folder.
    #[error("{} leads out of the manifest's folder, to {}", path.display(), real.display())]
    Outside {
        /// The path as written.
        path: PathBuf,
        /// Where it leads.
        real: PathBuf,
    },
    /// A symbolic link in a bundled folder.
    #[error("{} is a symbolic link; a bundled folder holds files and folders alone", path.display())]
    Link {
        /// Which.
        path: PathBuf,
    },
    /// A file name that no guest could be told.
    #[error("the name of {} is not UTF-8", path.display())]
    NotUtf8 {
        /// Which.
        path: PathBuf,
    },
    /// A file in a bundled folder has no valid guest path.
    #[error("{} cannot appear in the guest", path.display())]
    GuestPath {
        /// Which.
        path: PathBuf,
        /// Why.
        source: GuestPathError,
    },
    /// Two entries of `[files]` give the same guest path.
    #[error("two entries of [files] give the guest file {path}")]
    Twice {
        /// Which.
        path: GuestPath,
    },
    /// A guest path is a file and a folder.
    #[error("[files] makes {outer} a file and, with {inner}, also a folder")]
    FileAndFolder {
        /// The file.
        outer: GuestPath,
        /// What lies below it.
        inner: GuestPath,
    },
}

impl Bundle {
    /// Loads the service in a folder: its `service.toml`, and the module and files that it names.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        let path = dir.join(MANIFEST_FILE);
        let manifest_text = String::from_utf8(files::read_bounded(&path, MANIFEST_BYTES_MAX)?)
            .map_err(|error| LoadError::ManifestNotUtf8 { path: path.clone(), at: error.utf8_error().valid_up_to() })?;
        let manifest = Manifest::parse(&manifest_text).map_err(|faults| LoadError::Manifest { path, faults })?;
        Self::load_rest(dir, manifest, manifest_text)
    }

    /// The same for one that is run: what is stored in `store` already may have what is refused in new ones.
    pub fn load_to_run(dir: &Path, store: &Path) -> Result<Self, LoadError> {
        let refused = match Self::load(dir) {
            Err(LoadError::Manifest { path, faults }) => LoadError::Manifest { path, faults },
            loaded => return loaded,
        };
        let Ok(manifest_text) = files::read_bounded(&dir.join(MANIFEST_FILE), MANIFEST_BYTES_MAX) else {
            return Err(refused);
        };
        let manifest_text = String::from_utf8_lossy(&manifest_text).into_owned();
        let Ok((manifest, outdated)) = Manifest::parse_stored(&manifest_text) else { return Err(refused) };
        let bundle = Self { outdated, ..Self::load_rest(dir, manifest, manifest_text)? };
        if Self::open(store, bundle.digest).is_ok() { Ok(bundle) } else { Err(refused) }
    }

    fn load_rest(dir: &Path, manifest: Manifest, manifest_text: String) -> Result<Self, LoadError> {
        let module = files::resolve(dir, &manifest.module)?;
        let module = files::read_bounded(&module, MODULE_BYTES_MAX)?;
        let files = files::collect(dir, &manifest.files)?;
        Ok(Self::of(manifest, manifest_text, module, files))
    }

    /// Puts a bundle together from its parts. The files must be sorted by guest path.
    pub(crate) fn of(manifest: Manifest, manifest_text: String, module: Vec<u8>, files: Vec<BundleFile>) -> Self {
        let digest = canonical::digest(&manifest, &module, &files);
        Self { manifest, manifest_text, module, files, digest, outdated: Vec::new() }
    }
}
