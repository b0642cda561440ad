//! A bundle as one run of bytes, for the way between nodes; whoever unpacks it checks the digest.
//!
//! `version u8 = 1 | manifest u32 + text | module u32 + bytes | files u32 | (path u32 + text, content u32 + bytes)*`,
//! little endian. The longest bundle that is taken has [`MAX_PACKED_BYTES`].

use crate::bounds::BUNDLE_FILES_MAX;
use crate::bundle::Bundle;
use crate::canonical::BundleDigest;
use crate::fault::Faults;
use crate::files::{BundleFile, GuestPath};
use crate::manifest::Manifest;

/// The most bytes of a packed bundle: 1 GiB.
pub const MAX_PACKED_BYTES: usize = 1 << 30;
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

    fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], UnpackError> {
        let length = self.number(what)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(UnpackError::Damaged { what })?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, UnpackError> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| UnpackError::Damaged { what })
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
        let (version, rest) = bytes.split_first().ok_or(UnpackError::Damaged { what: "version" })?;
        if *version != VERSION {
            return Err(UnpackError::Version { found: *version });
        }
        let mut parts = Parts(rest);
        let text = parts.text("manifest")?;
        let manifest = Manifest::parse(text).map_err(UnpackError::Manifest)?;
        let module = parts.bytes("module")?.to_vec();
        let count = parts.number("number of files")?;
        if count > BUNDLE_FILES_MAX {
            return Err(UnpackError::Damaged { what: "number of files" });
        }
        let mut files = Vec::new();
        for _ in 0..count {
            let path = parts.text("path of a file")?;
            let path: GuestPath = path.parse().map_err(|_| UnpackError::Damaged { what: "path of a file" })?;
            files.push(BundleFile { path, bytes: parts.bytes("file")?.to_vec() });
        }
        if !parts.0.is_empty() {
            return Err(UnpackError::Damaged { what: "end" });
        }
        let bundle = Self::of(manifest, text.to_owned(), module, files);
        if bundle.digest != wanted {
            return Err(UnpackError::Digest { found: bundle.digest, wanted });
        }
        Ok(bundle)
    }
}
