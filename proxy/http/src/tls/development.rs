//! A certificate for development: signed by itself, for names of this machine, with its key in a file that only its
//! owner can read. Browsers warn of it, `curl --cacert` takes it.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::CertificateFiles;

/// Why there is no development certificate.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// A name that a certificate cannot have, or no randomness.
    #[error("cannot make a certificate for {0}")]
    Make(String, #[source] rcgen::Error),
    /// A file.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

/// Writes `development.crt` and `development.key` in the folder, unless both are there already.
///
/// # Errors
/// When the names are no host names, or the files cannot be written.
pub fn write_development_certificate(folder: &Path, names: &[String]) -> Result<CertificateFiles, DevelopmentError> {
    let files = CertificateFiles { certificate: folder.join("development.crt"), key: folder.join("development.key") };
    if files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    let made = rcgen::generate_simple_self_signed(names);
    let made = made.map_err(|error| DevelopmentError::Make(names.join(", "), error))?;
    // The key first: a certificate without its key would be taken for a whole pair that is broken.
    write(&files.key, &made.signing_key.serialize_pem(), 0o600)?;
    write(&files.certificate, &made.cert.pem(), 0o644)?;
    Ok(files)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), DevelopmentError> {
    let fault = |error| DevelopmentError::Write(path.to_owned(), error);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(path).map_err(fault)?;
    file.write_all(text.as_bytes()).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_certificate_that_is_there_is_kept_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let files = write_development_certificate(folder.path(), &["localhost".into()]).unwrap();
        let before = std::fs::read(&files.certificate).unwrap();
        assert_eq!(std::fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
        write_development_certificate(folder.path(), &["localhost".into()]).unwrap();
        assert_eq!(std::fs::read(&files.certificate).unwrap(), before);
    }
}
