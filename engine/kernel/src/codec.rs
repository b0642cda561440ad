//! Encoding and decoding of the whole kernel: postcard for the tables, the file system's own format for files.
//!
//! Canonical: the value decides the bytes. Tables are vectors by index or sorted maps, nothing depends on
//! capacities or history that the guest cannot see.
//!
//! Two forms: whole, and for checkpoints with the digest of each piece of written file content in its place, so that
//! content that did not change is neither copied nor hashed again.

use crate::config::GuestConfig;
use crate::fs::{BundleFiles, Fs};
use crate::kernel::{Kernel, Tables};

/// Why bytes are not a kernel.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The tables cannot be read.
    #[error("kernel tables cannot be decoded")]
    Tables(#[source] postcard::Error),
    /// The files cannot be read.
    #[error("kernel files cannot be decoded")]
    Files(#[source] crate::fs::DecodeError),
}

/// A kernel as it was between two turns. It shares file content with the kernel that it was taken from.
#[derive(Clone)]
pub struct Snapshot {
    tables: Tables,
    fs: Fs,
}

impl Snapshot {
    /// The kernel's bytes without file content, each piece of which is handed to `content` with its BLAKE3 digest.
    #[must_use]
    pub fn encode(&self, content: &mut dyn FnMut([u8; 32], &[u8])) -> Vec<u8> {
        let mut out = tables_bytes(&self.tables);
        self.fs.encode_parts(&mut out, content);
        out
    }
}

fn tables_bytes(tables: &Tables) -> Vec<u8> {
    let tables = postcard::to_stdvec(tables).expect("plain tables always encode");
    let mut out = Vec::with_capacity(tables.len() + 4096);
    out.extend_from_slice(&(tables.len() as u64).to_le_bytes());
    out.extend_from_slice(&tables);
    out
}

fn split(bytes: &[u8]) -> Result<(Tables, &[u8]), DecodeError> {
    let short = || DecodeError::Tables(postcard::Error::DeserializeUnexpectedEnd);
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
    let (tables, files) = rest.split_at_checked(length).ok_or_else(short)?;
    let (tables, rest) = postcard::take_from_bytes::<Tables>(tables).map_err(DecodeError::Tables)?;
    if !rest.is_empty() {
        return Err(DecodeError::Tables(postcard::Error::DeserializeBadEncoding));
    }
    Ok((tables, files))
}

impl Kernel {
    /// The kernel as it is now, between two turns: cheap, whatever the files hold.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { tables: self.tables.clone(), fs: self.fs.clone() }
    }

    /// Reads what [`Snapshot::encode`] wrote; `content` finds a piece of file content by its digest, and has checked
    /// it.
    pub fn decode_parts(
        bytes: &[u8],
        config: GuestConfig,
        bundle: &BundleFiles,
        content: &mut dyn FnMut(&[u8; 32]) -> Option<Vec<u8>>,
    ) -> Result<Self, DecodeError> {
        let (tables, files) = split(bytes)?;
        let fs = Fs::decode_parts(files, bundle, content).map_err(DecodeError::Files)?;
        Ok(Self::assemble(config, tables, fs))
    }

    /// The kernel's bytes. Between turns only: effects of an unfinished turn are not part of them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = tables_bytes(&self.tables);
        self.fs.encode(&mut out);
        out
    }

    /// Reads a kernel of a guest with this configuration and bundle.
    pub fn decode(bytes: &[u8], config: GuestConfig, bundle: &BundleFiles) -> Result<Self, DecodeError> {
        let (tables, files) = split(bytes)?;
        let fs = Fs::decode(files, bundle).map_err(DecodeError::Files)?;
        Ok(Self::assemble(config, tables, fs))
    }

    /// Hashes everything that [`Kernel::encode`] writes; files by their cached digests.
    pub fn digest_into(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&tables_bytes(&self.tables));
        self.fs.digest_into(hasher);
    }
}
