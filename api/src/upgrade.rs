//! An upgrade of a service to another bundle, and how far it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is stored: a bundle that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBundle {
    /// Its digest, 64 hexadecimal digits.
    pub bundle: String,
}

/// Has a service run another bundle, which the server has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// Its digest, 64 hexadecimal digits.
    pub bundle: String,
}

/// The last upgrade of a service, as far as the node that is asked knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeStatus {
    /// `namespace/name`.
    pub service: String,
    /// What it ran before: `namespace/name@version`.
    pub from: String,
    /// What it is to run: `namespace/name@version`, or the bundle's digest as long as no more is known of it.
    pub to: String,
    /// The digest of the bundle.
    pub bundle: String,
    /// Where it stands.
    pub state: UpgradeState,
    /// The position at which all replicas try it, once it is in the log.
    pub position: Option<u64>,
    /// Why it was refused or rolled back.
    pub reason: Option<String>,
    /// Engines that prepare it, by node.
    pub engines: Vec<EnginePreparation>,
}

/// How far one engine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnginePreparation {
    /// Its node.
    pub node: u64,
    /// What it does.
    pub step: PreparationStep,
    /// Why it failed.
    pub reason: Option<String>,
}

/// Where an upgrade stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeState {
    /// Engines fetch and compile it.
    Preparing,
    /// It is in the log, and what comes of it is not known here yet.
    Ordered,
    /// The service runs it.
    Done,
    /// It did not start; what ran before goes on.
    RolledBack,
    /// It did not get into the log; nothing has changed.
    Refused,
    /// A word of a later version.
    #[serde(other)]
    Unknown,
}

/// What an engine does for an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreparationStep {
    /// It fetches the bundle.
    Fetching,
    /// It compiles the module.
    Compiling,
    /// Replicas can run it.
    Ready,
    /// It cannot be run there.
    Failed,
    /// A word of a later version.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for PreparationStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fetching => "fetching",
            Self::Compiling => "compiling",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        })
    }
}
