//! A bundle as one run of bytes, for the way between nodes; whoever unpacks it checks the digest.
//!
//! `version u8 = 1 | manifest u32 + text | module u32 + bytes | files u32 | (path u32 + text, content u32 + bytes)*`,
//! little endian. The longest bundle that is taken has [`MAX_PACKED_BYTES`], and its parts have the limits of a folder's.

use crate::bounds::{
    BUNDLE_FILES_BYTES_MAX, BUNDLE_FILES_MAX, GUEST_PATH_BYTES_MAX, MANIFEST_BYTES_MAX, MODULE_BYTES_MAX,
};
use crate::bundle::Bundle;
use crate::canonical::BundleDigest;
use crate::fault::Faults;
use crate::files::{self, BundleFile, GuestPath};
use crate::manifest::Manifest;

/// The most bytes of a packed bundle: every part at its limit, and the lengths before them.
pub const MAX_PACKED_BYTES: usize = (MANIFEST_BYTES_MAX + MODULE_BYTES_MAX + BUNDLE_FILES_BYTES_MAX) as usize
    + BUNDLE_FILES_MAX * (GUEST_PATH_BYTES_MAX + 8)
    + 13;
const VERSION: u8 = 1;

/// Why bytes are not the bundle that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The form is another one.
    #[error("a packed bundle has version {found}, {VERSION} is known")]
    Version {
        /// What stands there.
        found: u8,
    },
    /// It ends too early, or goes on after its end.
    #[error("a packed bundle is damaged at its {what}")]
    Damaged {
        /// Where.
        what: &'static str,
    },
    /// A part is larger than its limit.
    #[error("the {what} of a packed bundle: {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Too many files.
    #[error("a packed bundle has {files} files, the limit is {BUNDLE_FILES_MAX}")]
    TooManyFiles {
        /// How many it says that it has.
        files: usize,
    },
    /// Its files are not in the order of their paths, or one is there twice.
    #[error("the files of a packed bundle are not in order: {path} follows {before}")]
    Order {
        /// The file.
        path: GuestPath,
        /// What stands before it.
        before: GuestPath,
    },
    /// A guest path is a file and a folder.
    #[error("a packed bundle makes {outer} a file and, with {inner}, also a folder")]
    FileAndFolder {
        /// The file.
        outer: GuestPath,
        /// What lies below it.
        inner: GuestPath,
    },
    /// The manifest is not valid.
    #[error("the manifest of a packed bundle has {0}")]
    Manifest(Faults),
    /// It is another bundle.
    #[error("bundle {found} came where {wanted} was asked for")]
    Digest {
        /// What came.
        found: BundleDigest,
        /// What was asked for.
        wanted: BundleDigest,
    },
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("a part of a bundle is below 4 GiB").to_le_bytes());
    out.extend_from_slice(bytes);
}

struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn number(&mut self, what: &'static str) -> Result<usize, UnpackError> {
        let (number, rest) = self.0.split_first_chunk::<4>().ok_or(UnpackError::Damaged { what })?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*number) as usize)
    }

    /// A part that may have `limit` bytes with the `before` of its like that came already. What is too long is told by
    /// what it says of itself, whether it is there or not.
    fn bounded(&mut self, what: &'static str, before: u64, limit: u64) -> Result<&'a [u8], UnpackError> {
        let bytes = before + Self(self.0).number(what)? as u64;
        if bytes > limit { Err(UnpackError::TooLarge { what, bytes, limit }) } else { self.bytes(what) }
    }

    fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], UnpackError> {
        let length = self.number(what)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(UnpackError::Damaged { what })?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self, what: &'static str, limit: u64) -> Result<&'a str, UnpackError> {
        std::str::from_utf8(self.bounded(what, 0, limit)?).map_err(|_| UnpackError::Damaged { what })
    }

    /// The files, in the order of their paths.
    fn files(&mut self) -> Result<Vec<BundleFile>, UnpackError> {
        let count = self.number("number of files")?;
        if count > BUNDLE_FILES_MAX {
            return Err(UnpackError::TooManyFiles { files: count });
        }
        let (mut files, mut bytes) = (Vec::<BundleFile>::new(), 0);
        for _ in 0..count {
            let what = "path of a file";
            let path = self.text(what, GUEST_PATH_BYTES_MAX as u64)?;
            let path: GuestPath = path.parse().map_err(|_| UnpackError::Damaged { what })?;
            if let Some(before) = files.last().filter(|before| before.path >= path) {
                return Err(UnpackError::Order { path, before: before.path.clone() });
            }
            let content = self.bounded("files", bytes, BUNDLE_FILES_BYTES_MAX)?;
            bytes += content.len() as u64;
            files.push(BundleFile { path, bytes: content.to_vec() });
        }
        if let Some((outer, inner)) = files::file_and_folder(files.iter().map(|file| &file.path)) {
            return Err(UnpackError::FileAndFolder { outer, inner });
        }
        Ok(files)
    }
}

impl Bundle {
    /// The bundle's bytes.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let files: usize = self.files.iter().map(|file| file.bytes.len() + 256).sum();
        let mut out = Vec::with_capacity(self.manifest_text.len() + self.module.len() + files + 64);
        out.push(VERSION);
        put(&mut out, self.manifest_text.as_bytes());
        put(&mut out, &self.module);
        out.extend_from_slice(&(self.files.len() as u32).to_le_bytes());
        for file in &self.files {
            put(&mut out, file.path.as_str().as_bytes());
            put(&mut out, &file.bytes);
        }
        out
    }

    /// Reads a packed bundle.
    ///
    /// # Errors
    /// When it is damaged, not valid, or not the one that is wanted.
    pub fn unpack(bytes: &[u8], wanted: BundleDigest) -> Result<Self, UnpackError> {
        let bundle = Self::unpack_stored(bytes, wanted)?;
        match Faults::of(bundle.outdated.clone()) {
            Some(faults) => Err(UnpackError::Manifest(faults)),
            None => Ok(bundle),
        }
    }

    /// The same of one that another node has stored, maybe when it was of an earlier version of Refrain.
    ///
    /// # Errors
    /// As with [`unpack`](Self::unpack), but what is refused in new bundles alone is taken.
    pub fn unpack_stored(bytes: &[u8], wanted: BundleDigest) -> Result<Self, UnpackError> {
        let (version, rest) = bytes.split_first().ok_or(UnpackError::Damaged { what: "version" })?;
        if *version != VERSION {
            return Err(UnpackError::Version { found: *version });
        }
        let mut parts = Parts(rest);
        let text = parts.text("manifest", MANIFEST_BYTES_MAX)?;
        let (manifest, outdated) = Manifest::parse_stored(text).map_err(UnpackError::Manifest)?;
        let module = parts.bounded("module", 0, MODULE_BYTES_MAX)?.to_vec();
        let files = parts.files()?;
        if !parts.0.is_empty() {
            return Err(UnpackError::Damaged { what: "end" });
        }
        let bundle = Self { outdated, ..Self::of(manifest, text.to_owned(), module, files) };
        if bundle.digest != wanted {
            return Err(UnpackError::Digest { found: bundle.digest, wanted });
        }
        Ok(bundle)
    }
}
