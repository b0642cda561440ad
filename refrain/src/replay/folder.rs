//! A data folder that no node uses: a stopped node's, or a copy.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use refrain_api::ForensicReport;
use refrain_engine::checkpoint::CheckpointArchive;
use refrain_sequencer::disk::lock_shared;
use refrain_sequencer::raft::Archive;
use refrain_service::{Bundle, BundleDigest};

/// An open folder. Nodes are kept from it as long as it is open; several replays share it.
pub struct Folder {
    path: PathBuf,
    log: Archive,
    checkpoints: CheckpointArchive,
    _lock: Option<File>,
}

impl Folder {
    /// Opens a data folder.
    ///
    /// # Errors
    /// When a node runs on it, or it has no log that can be read.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let lock = match lock_shared(&path.join("lock")) {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                bail!("a node runs on {}: stop it, or replay a copy of the folder", path.display())
            }
            Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
        };
        let log = Archive::open(&path.join("log"))?;
        let checkpoints = CheckpointArchive::open(&path.join("checkpoints"));
        Ok(Self { path: path.to_owned(), log, checkpoints, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Archive {
        &self.log
    }

    /// Its checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> &CheckpointArchive {
        &self.checkpoints
    }

    /// The checkpoints again, for a replica that goes on from one.
    #[must_use]
    pub fn chunks(&self) -> CheckpointArchive {
        CheckpointArchive::open(&self.path.join("checkpoints"))
    }

    /// A bundle that its services run.
    ///
    /// # Errors
    /// When it is not there or damaged.
    pub fn bundle(&self, digest: [u8; 32]) -> anyhow::Result<Bundle> {
        Ok(Bundle::open(&self.path.join("bundles"), BundleDigest::new(digest))?)
    }

    /// The forensic bundles of a service, oldest position first, each with its folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn forensics(&self, service: &str) -> anyhow::Result<Vec<(PathBuf, ForensicReport)>> {
        let mut all = ForensicReport::list(&self.path)?;
        all.retain(|(_, report)| report.service == service);
        all.sort_by_key(|(_, report)| (report.position, report.seat));
        Ok(all)
    }
}
