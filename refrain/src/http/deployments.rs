//! Which stateless services run on this node, over its restarts: `deployments.json` in the data folder, whose bundles
//! are kept beside those of replicated services. Written whole under another name, synced and renamed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use refrain_service::Bundle;
use serde::{Deserialize, Serialize};

use super::component::Component;
use crate::service::in_words;

const FILE: &str = "deployments.json";
/// Most bytes of the file: thousands of entries.
const MAX_BYTES: u64 = 4 << 20;

/// Why the list cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error("{step} {}", path.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It is larger than its limit.
    #[error("{} has {bytes} bytes, the limit is {MAX_BYTES}", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is not what was written.
    #[error("{} cannot be understood", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// One version of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deployment {
    /// `namespace/name@version`.
    pub(super) service: String,
    /// The digest of its bundle.
    pub(super) bundle: String,
    /// Its share of the service's requests.
    pub(super) weight: u16,
    /// Where the cluster's log was when it said so last; 0, and not there, when only this node does.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) in_log: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(position: &u64) -> bool {
    *position == 0
}

impl Deployment {
    pub(super) fn of(component: &Component) -> Self {
        let (service, bundle) = (component.manifest().id.to_string(), component.digest().to_string());
        Self { service, bundle, weight: component.weight(), in_log: component.in_log().0 }
    }

    /// Its bundle; why it cannot be had, in words, if it cannot.
    pub(super) fn open(&self, data_dir: &Path) -> Result<Bundle, String> {
        let digest = self.bundle.parse().map_err(|error| format!("{:?}: {error}", self.bundle))?;
        let opened = Bundle::open(&data_dir.join("bundles"), digest);
        opened.map_err(|error| in_words(&error))
    }
}

/// What ran last.
pub(super) fn read(data_dir: &Path) -> Result<Vec<Deployment>, StoreError> {
    let path = data_dir.join(FILE);
    let fault = |source| StoreError::Io { step: "cannot read", path: path.clone(), source };
    let bytes = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    if bytes > MAX_BYTES {
        return Err(StoreError::TooLarge { path, bytes });
    }
    let text = fs::read(&path).map_err(fault)?;
    serde_json::from_slice(&text).map_err(|source| StoreError::Parse { path, source })
}

/// Keeps what runs now.
pub(super) fn write(data_dir: &Path, all: &[Deployment]) -> Result<(), StoreError> {
    let path = data_dir.join(FILE);
    let new = data_dir.join(format!("{FILE}.new"));
    let text = serde_json::to_vec_pretty(all).expect("texts and numbers are always JSON");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    written.map_err(|source| StoreError::Io { step: "cannot write", path: new.clone(), source })?;
    let renamed = fs::rename(&new, &path).and_then(|()| File::open(data_dir)?.sync_all());
    renamed.map_err(|source| StoreError::Io { step: "cannot rename", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(weight: u16) -> Deployment {
        Deployment { service: "examples/hello@1.0.0".into(), bundle: "0".repeat(64), weight, in_log: u64::from(weight) }
    }

    #[test]
    fn what_was_written_is_read_and_nothing_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
        write(folder.path(), &[one(7), one(0)]).unwrap();
        assert_eq!(read(folder.path()).unwrap(), [one(7), one(0)]);
        write(folder.path(), &[]).unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
    }

    #[test]
    fn a_file_that_is_damaged_or_too_large_is_told_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "[{\"service\": 1}]").unwrap();
        assert!(matches!(read(folder.path()), Err(StoreError::Parse { .. })));
        let spaces = |bytes: u64| [vec![b' '; bytes as usize - 2], b"[]".to_vec()].concat();
        fs::write(&path, spaces(MAX_BYTES)).unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
        fs::write(&path, spaces(MAX_BYTES + 1)).unwrap();
        assert!(matches!(read(folder.path()), Err(StoreError::TooLarge { .. })));
        assert!(path.exists());
    }

    #[test]
    fn a_bundle_that_is_gone_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(one(1).open(folder.path()).is_err());
        assert!(Deployment { bundle: "x".into(), ..one(1) }.open(folder.path()).is_err());
    }
}
