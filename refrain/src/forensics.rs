//! The state in a forensic bundle: [`refrain_api::ForensicReport`] says where bundles are and what is in their reports.
//!
//! ```text
//! forensics/NAMESPACE/NAME/POSITION-seatN/report.json   what happened
//!                                         manifest      the state's manifest: digests down to the page
//!                                         state/        its bytes, as a folder of checkpoints
//! ```

use std::path::Path;

use anyhow::{Context as _, bail};
use refrain_api::ForensicReport;
use refrain_engine::checkpoint::manifest::MAX_MANIFEST_BYTES;
use refrain_engine::checkpoint::{Manifest, Root};

/// The folder of a bundle that has the state's bytes.
pub(crate) const STATE_FOLDER: &str = "state";
/// The file with the state's manifest.
pub(crate) const MANIFEST_FILE: &str = "manifest";

/// The manifest of a bundle's state.
pub(crate) fn manifest(bundle: &Path, report: &ForensicReport) -> anyhow::Result<Manifest> {
    let root = report.state.as_ref().and_then(|state| blake3::Hash::from_hex(&state.root).ok());
    let root = Root(*root.context("the report names no state")?.as_bytes());
    let path = bundle.join(MANIFEST_FILE);
    let length = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if length > MAX_MANIFEST_BYTES as u64 {
        bail!("{} has {length} bytes, the limit is {MAX_MANIFEST_BYTES}", path.display());
    }
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Manifest::open(&bytes, root).with_context(|| format!("{} is of no use", path.display()))
}
