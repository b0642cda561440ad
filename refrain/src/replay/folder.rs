//! A data folder that no node uses: a stopped node's, or a copy.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use refrain_api::ForensicReport;
use refrain_engine::checkpoint::CheckpointArchive;
use refrain_sequencer::disk::lock_shared;
use refrain_sequencer::raft::{Archive, ArchiveError};
use refrain_service::{Bundle, BundleDigest};
use refrain_wire::ShardId;

use crate::config::{further_shards, shard_dir};

/// An open folder. Nodes are kept from it as long as it is open; several replays share it.
pub struct Folder {
    path: PathBuf,
    shard_dir: PathBuf,
    log: Archive,
    checkpoints: CheckpointArchive,
    _lock: Option<File>,
}

impl Folder {
    /// Opens a data folder, with the log of its first shard.
    ///
    /// # Errors
    /// When a node runs on it, or it has no log that can be read.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::open_shard(path, ShardId::FIRST)
    }

    /// Opens a data folder once for each of its shards.
    ///
    /// # Errors
    /// When a node runs on it, or a log cannot be read.
    pub fn open_all(path: &Path) -> anyhow::Result<Vec<Self>> {
        let mut all = vec![Self::open(path)?];
        let further = further_shards(path).with_context(|| format!("cannot look for shards in {}", path.display()))?;
        for shard in further {
            match Self::open_shard(path, shard) {
                Ok(folder) => all.push(folder),
                // The node has never taken part in it.
                Err(error) if matches!(error.downcast_ref(), Some(ArchiveError::NoLog { .. })) => {}
                Err(error) => return Err(error.context(format!("shard {shard}"))),
            }
        }
        Ok(all)
    }

    fn open_shard(path: &Path, shard: ShardId) -> anyhow::Result<Self> {
        let lock = match lock_shared(&path.join("lock")) {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                bail!("a node runs on {}: stop it, or replay a copy of the folder", path.display())
            }
            Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
        };
        let shard_dir = shard_dir(path, shard);
        let log = Archive::open(&shard_dir.join("log"))?;
        let checkpoints = CheckpointArchive::open(&shard_dir.join("checkpoints"));
        Ok(Self { path: path.to_owned(), shard_dir, log, checkpoints, _lock: lock })
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
        CheckpointArchive::open(&self.shard_dir.join("checkpoints"))
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
