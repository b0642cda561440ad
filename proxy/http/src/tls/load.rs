//! A certificate and its key from their files, with an error for each thing that may be wrong with them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::CertificateFiles;

/// Most bytes of a file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file that cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file too long to be what it should be.
    #[error("{} has {bytes} bytes, the limit is {MAX_FILE_BYTES}", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// No certificate in the file.
    #[error("{} has no PEM certificate", .0.display())]
    NoCertificate(PathBuf),
    /// Something that is no PEM.
    #[error("{} is not valid PEM", .0.display())]
    Pem(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// No key in the file.
    #[error("{} has no PEM private key (PKCS#8, PKCS#1 or SEC1, not encrypted)", .0.display())]
    NoKey(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// A key of a kind that is not supported.
    #[error("the key in {} cannot be used", .0.display())]
    Key(PathBuf, #[source] rustls::Error),
    /// A key of another certificate.
    #[error("the key in {} does not belong to the certificate in {}", .key.display(), .certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// When the files were changed last; none for one that is not there.
pub(super) fn seen(files: &CertificateFiles) -> [Option<SystemTime>; 2] {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    [changed(&files.certificate), changed(&files.key)]
}

pub(super) fn load(files: &CertificateFiles) -> Result<Arc<CertifiedKey>, CertificateError> {
    let CertificateFiles { certificate, key } = files;
    let pem = read(certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| CertificateError::Pem(certificate.clone(), error))?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate(certificate.clone()));
    }
    let der =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| CertificateError::NoKey(key.clone(), error))?;
    let signing = rustls::crypto::ring::sign::any_supported_type(&der);
    let signing = signing.map_err(|error| CertificateError::Key(key.clone(), error))?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|source| {
        let (certificate, key) = (certificate.clone(), key.clone());
        CertificateError::Mismatch { certificate, key, source }
    })?;
    Ok(Arc::new(certified))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let fault = |error| CertificateError::Read(path.to_owned(), error);
    let bytes = std::fs::metadata(path).map_err(fault)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(CertificateError::TooLong { path: path.to_owned(), bytes });
    }
    std::fs::read(path).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::super::write_development_certificate;
    use super::*;

    fn pair(folder: &Path, name: &str) -> CertificateFiles {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        write_development_certificate(&folder, &[name.to_owned()]).unwrap()
    }

    #[test]
    fn each_fault_of_the_files_has_its_own_words() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (pair(folder.path(), "a"), pair(folder.path(), "b"));
        let good =
            |certificate: &Path, key: &Path| CertificateFiles { certificate: certificate.into(), key: key.into() };
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        let long = folder.path().join("long");
        std::fs::write(&long, vec![b'x'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1]).unwrap();
        let broken = folder.path().join("broken");
        std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
        assert!(load(&a).is_ok());
        for (files, words) in [
            (good(&a.certificate, &b.key), "does not belong"),
            (good(&folder.path().join("none"), &a.key), "cannot read"),
            (good(&empty, &a.key), "has no PEM certificate"),
            (good(&a.certificate, &empty), "has no PEM private key"),
            (good(&a.certificate, &a.certificate), "has no PEM private key"),
            (good(&long, &a.key), "the limit is 1048576"),
            (good(&broken, &a.key), "not valid PEM"),
        ] {
            let error = load(&files).unwrap_err().to_string();
            assert!(error.contains(words), "{error} should say {words}");
        }
    }
}
