//! What a node keeps of a replica that diverged: `DATA_DIR/forensics/NAMESPACE/NAME/POSITION-seatN/report.json`, and
//! how it is found there.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The name of the report in the folder of a forensic bundle.
pub const FORENSIC_REPORT_FILE: &str = "report.json";
/// The folder of forensic bundles in a data folder.
pub const FORENSICS_FOLDER: &str = "forensics";

/// The most bytes of a report.
const MAX_REPORT_BYTES: u64 = 64 * 1024;

/// One replica that voted against the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForensicReport {
    /// `namespace/name`.
    pub service: String,
    /// Its group.
    pub group: u32,
    /// The seat.
    pub seat: u8,
    /// The holder's number.
    pub incarnation: u32,
    /// The node that ran it.
    pub node: u64,
    /// Where it voted against the others.
    pub position: u64,
    /// What it voted, in hexadecimal.
    pub voted: String,
    /// What the others agreed on.
    pub agreed: String,
    /// The position of the record that put it out.
    pub recorded_at: u64,
    /// Its state when it was taken away; absent when that could not be had.
    pub state: Option<ForensicState>,
    /// Why there is no state, or less of it.
    pub note: Option<String>,
    /// The last checkpoint that was agreed on before.
    pub checkpoint: Option<ForensicCheckpoint>,
    /// The BLAKE3 digest of its module.
    pub module: String,
    /// The digest of its bundle.
    pub bundle: String,
    /// What ran it.
    pub engine: ForensicEngine,
    /// Where.
    pub host: ForensicHost,
    /// When it was written: seconds since 1970, by the node's clock.
    pub unix_seconds: u64,
}

/// The state of a replica after its last turn. Its manifest is in the file `manifest`, its chunks in the folder `state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForensicState {
    /// Its last turn, which may lie behind the one that it diverged at.
    pub position: u64,
    /// The digest of all its turns.
    pub running_digest: String,
    /// The root of its state.
    pub root: String,
    /// Whether the guest's call stack is in it.
    pub with_stack: bool,
    /// Whether the bytes are kept, or their digests alone.
    pub bytes_kept: bool,
    /// How many bytes the state has.
    pub bytes: u64,
}

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForensicCheckpoint {
    /// After which turn.
    pub position: u64,
    /// Its root.
    pub root: String,
}

/// A build of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForensicEngine {
    /// Its version.
    pub version: String,
    /// The BLAKE3 digest of the program; absent when it could not be read.
    pub program: Option<String>,
    /// Its compatibility key.
    pub key: String,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForensicHost {
    /// Its name.
    pub name: String,
    /// Its kernel.
    pub kernel: String,
    /// Its processor.
    pub processor: String,
}

impl ForensicReport {
    /// The name of its folder, below that of its service.
    #[must_use]
    pub fn folder_name(&self) -> String {
        format!("{}-seat{}", self.position, self.seat)
    }

    /// Reads the report of a forensic bundle.
    ///
    /// # Errors
    /// When it is not there, or is none.
    pub fn read(bundle: &Path) -> io::Result<Self> {
        let path = bundle.join(FORENSIC_REPORT_FILE);
        let invalid = |what: String| io::Error::new(ErrorKind::InvalidData, format!("{}: {what}", path.display()));
        let length = fs::metadata(&path)?.len();
        if length > MAX_REPORT_BYTES {
            return Err(invalid(format!("{length} bytes, the limit is {MAX_REPORT_BYTES}")));
        }
        serde_json::from_slice(&fs::read(&path)?).map_err(|error| invalid(error.to_string()))
    }

    /// The forensic bundles of a data folder, oldest first, each with its folder. What cannot be read as one is left
    /// out.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn list(data_dir: &Path) -> io::Result<Vec<(PathBuf, Self)>> {
        let mut found = Vec::new();
        for namespace in folders(&data_dir.join(FORENSICS_FOLDER))? {
            for service in folders(&namespace)? {
                for bundle in folders(&service)? {
                    if let Ok(report) = Self::read(&bundle) {
                        found.push((bundle, report));
                    }
                }
            }
        }
        found.sort_by_key(|(_, report)| (report.unix_seconds, report.recorded_at, report.seat));
        Ok(found)
    }
}

/// The folders in a folder; those whose names begin with a dot are being written.
fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && !entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.push(entry.path());
        }
    }
    Ok(found)
}
