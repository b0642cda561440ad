//! The configuration of `refrain up`: flag over environment over file over default, all faults told at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::UpArgs;

/// Whether an answer waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// It does: what was answered survives a loss of power.
    #[default]
    Fsync,
    /// It does not: the last moments are lost with the machine.
    None,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    services: Option<Vec<PathBuf>>,
    replicas: Option<u8>,
    data_dir: Option<PathBuf>,
    durability: Option<Durability>,
    admin_listen: Option<SocketAddr>,
    allow_fault_injection: Option<bool>,
    max_log_bytes: Option<String>,
    engine_workers: Option<usize>,
    max_connections: Option<u32>,
    drain_timeout: Option<String>,
}

/// What holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Config {
    pub(crate) services: Vec<PathBuf>,
    pub(crate) replicas: Option<u8>,
    pub(crate) data_dir: PathBuf,
    pub(crate) durability: Durability,
    /// None: the default port, or a free one when that is taken.
    pub(crate) admin_listen: Option<SocketAddr>,
    pub(crate) allow_fault_injection: bool,
    pub(crate) max_log_bytes: u64,
    pub(crate) engine_workers: usize,
    pub(crate) max_connections: u32,
    #[serde(serialize_with = "duration_text")]
    pub(crate) drain_timeout: Duration,
}

fn duration_text<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&refrain_service::format_duration(*duration))
}

/// What is wrong with a configuration: every fault, not the first alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration file {path} is not valid")]
    Parse { path: PathBuf, source: toml::de::Error },
    #[error("the configuration has {} fault(s):\n  {}", .0.len(), .0.join("\n  "))]
    Faults(Vec<String>),
}

const DEFAULT_MAX_LOG_BYTES: u64 = 16 << 30;
/// Two segments must fit, or nothing could ever be appended.
const MIN_LOG_BYTES: u64 = 128 << 20;
const DEFAULT_MAX_CONNECTIONS: u32 = 20_000;
const MAX_CONNECTIONS: u32 = 500_000;
const MAX_ENGINE_WORKERS: usize = 256;
const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

impl Config {
    /// Merges flags, file and defaults, and checks the result.
    pub(crate) fn resolve(args: UpArgs) -> Result<Self, ConfigError> {
        let file = args.config.as_deref().map_or_else(|| Ok(File::default()), read)?;
        let mut faults = Vec::new();
        let max_log_bytes = args.max_log_bytes.or(file.max_log_bytes);
        let drain_timeout = args.drain_timeout.or(file.drain_timeout);
        let config = Self {
            services: if args.services.is_empty() { file.services.unwrap_or_default() } else { args.services },
            replicas: args.replicas.or(file.replicas),
            data_dir: (args.data_dir.or(file.data_dir))
                .unwrap_or_else(|| refrain_api::discovery::DEFAULT_DATA_DIR.into()),
            durability: args.durability.or(file.durability).unwrap_or_default(),
            admin_listen: args.admin_listen.or(file.admin_listen),
            allow_fault_injection: args.allow_fault_injection || file.allow_fault_injection.unwrap_or(false),
            max_log_bytes: bytes("max-log-bytes", max_log_bytes, DEFAULT_MAX_LOG_BYTES, &mut faults),
            engine_workers: args.engine_workers.or(file.engine_workers).unwrap_or_else(cores),
            max_connections: args.max_connections.or(file.max_connections).unwrap_or(DEFAULT_MAX_CONNECTIONS),
            drain_timeout: duration("drain-timeout", drain_timeout, DEFAULT_DRAIN, &mut faults),
        };
        config.check(&mut faults);
        if faults.is_empty() { Ok(config) } else { Err(ConfigError::Faults(faults)) }
    }

    fn check(&self, faults: &mut Vec<String>) {
        if let Some(replicas) = self.replicas
            && let Err(error) = refrain_service::Replicas::new(u64::from(replicas))
        {
            faults.push(format!("replicas: {error}"));
        }
        if self.max_log_bytes < MIN_LOG_BYTES {
            faults.push(format!("max-log-bytes: {} is below the least, {MIN_LOG_BYTES}", self.max_log_bytes));
        }
        if !(1..=MAX_ENGINE_WORKERS).contains(&self.engine_workers) {
            faults.push(format!("engine-workers: {} is not in 1 to {MAX_ENGINE_WORKERS}", self.engine_workers));
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.max_connections) {
            faults.push(format!("max-connections: {} is not in 1 to {MAX_CONNECTIONS}", self.max_connections));
        }
        if let Some(address) = self.admin_listen
            && !address.ip().is_loopback()
        {
            faults.push(format!("admin-listen: {address} is not a loopback address"));
        }
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn bytes(key: &str, text: Option<String>, default: u64, faults: &mut Vec<String>) -> u64 {
    let Some(text) = text else { return default };
    text.parse::<refrain_service::ByteSize>().map_or_else(
        |error| {
            faults.push(format!("{key}: {text:?}: {error}"));
            default
        },
        refrain_service::ByteSize::get,
    )
}

fn duration(key: &str, text: Option<String>, default: Duration, faults: &mut Vec<String>) -> Duration {
    let Some(text) = text else { return default };
    refrain_service::parse_duration(&text).unwrap_or_else(|error| {
        faults.push(format!("{key}: {text:?}: {error}"));
        default
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_that_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refrain.toml");
        std::fs::write(&path, "replicas = 5\ndata-dir = \"elsewhere\"\ndrain-timeout = \"3s\"\n").unwrap();
        let args = UpArgs { config: Some(path), replicas: Some(1), ..UpArgs::default() };
        let config = Config::resolve(args).unwrap();
        assert_eq!(config.replicas, Some(1));
        assert_eq!(config.data_dir, PathBuf::from("elsewhere"));
        assert_eq!(config.drain_timeout, Duration::from_secs(3));
        assert_eq!(config.max_connections, DEFAULT_MAX_CONNECTIONS);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let args = UpArgs {
            replicas: Some(2),
            max_log_bytes: Some("1MiB".into()),
            drain_timeout: Some("soon".into()),
            admin_listen: Some("192.0.2.1:1".parse().unwrap()),
            max_connections: Some(0),
            engine_workers: Some(0),
            ..UpArgs::default()
        };
        let ConfigError::Faults(faults) = Config::resolve(args).unwrap_err() else { panic!("faults expected") };
        assert_eq!(faults.len(), 6, "{faults:#?}");
    }

    #[test]
    fn an_unknown_key_of_the_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refrain.toml");
        std::fs::write(&path, "replica = 5\n").unwrap();
        let error = Config::resolve(UpArgs { config: Some(path), ..UpArgs::default() }).unwrap_err();
        assert!(matches!(error, ConfigError::Parse { .. }), "{error:?}");
    }
}
