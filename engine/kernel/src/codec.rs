//! Encoding and decoding of the whole kernel: postcard for the tables, the file system's own format for files.
//!
//! Canonical: the value decides the bytes. Tables are vectors by index or sorted maps, nothing depends on
//! capacities or history that the guest cannot see.

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

impl Kernel {
    /// The kernel's bytes. Between turns only: effects of an unfinished turn are not part of them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let tables = postcard::to_stdvec(&self.tables).expect("plain tables always encode");
        let mut out = Vec::with_capacity(tables.len() + 4096);
        out.extend_from_slice(&(tables.len() as u64).to_le_bytes());
        out.extend_from_slice(&tables);
        self.fs.encode(&mut out);
        out
    }

    /// Reads a kernel of a guest with this configuration and bundle.
    pub fn decode(bytes: &[u8], config: GuestConfig, bundle: &BundleFiles) -> Result<Self, DecodeError> {
        let short = || DecodeError::Tables(postcard::Error::DeserializeUnexpectedEnd);
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
        let (tables, files) = rest.split_at_checked(length).ok_or_else(short)?;
        let (tables, rest) = postcard::take_from_bytes::<Tables>(tables).map_err(DecodeError::Tables)?;
        if !rest.is_empty() {
            return Err(DecodeError::Tables(postcard::Error::DeserializeBadEncoding));
        }
        let fs = Fs::decode(files, bundle).map_err(DecodeError::Files)?;
        Ok(Self::assemble(config, tables, fs))
    }

    /// Hashes everything that [`Kernel::encode`] writes; files by their cached digests.
    pub fn digest_into(&self, hasher: &mut blake3::Hasher) {
        let tables = postcard::to_stdvec(&self.tables).expect("plain tables always encode");
        hasher.update(&(tables.len() as u64).to_le_bytes());
        hasher.update(&tables);
        self.fs.digest_into(hasher);
    }
}
