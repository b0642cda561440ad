//! What can go wrong, with a stable code for `-o json`.

use std::error::Error;
use std::path::PathBuf;

use refrain_api::ErrorBody;
use refrain_api::discovery::FindError;
use refrain_instrument::InstrumentError;
use refrain_service::{Faults, LoadError, NameError};

use crate::resolve::Mode;

/// The services that a command is for which is not for those of this mode.
fn other(mode: Mode) -> &'static str {
    match mode {
        Mode::Replicated => "stateless ones",
        Mode::Stateless => "replicated ones",
    }
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum RctlError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("no refrain server at {address} (from {source_name}): {reason}; start one with `refrain up`")]
    NoServer { address: String, source_name: String, reason: String },
    #[error("the server at {address} did not answer within {seconds} s; what was asked may still happen")]
    Timeout { address: String, seconds: f64 },
    #[error("the connection to the server at {address} broke: {reason}; what was asked may still have happened")]
    Broken { address: String, reason: String },
    #[error("what answers at {address} is no refrain server: {reason}")]
    NotRefrain { address: String, reason: String },
    #[error("the server at {address} refuses the token (from {source_name}): {body}")]
    Unauthorized { address: String, source_name: String, body: ErrorBody },
    #[error("{0}")]
    Api(ErrorBody),
    #[error("no service is called {name}; there are: {known}")]
    NoService { name: String, known: String },
    #[error(
        "{service} is a {mode} service, and `rctl {command}` is for {}; for {service} there are: {commands}",
        other(*mode)
    )]
    OtherMode { service: String, mode: Mode, command: &'static str, commands: String },
    #[error("{service} has no [[routes]], so the front end sends it no requests{instead}")]
    NoRoute { service: String, instead: String },
    #[error("{service} is not served: {reason}")]
    NotServed { service: String, reason: String },
    #[error("the front end listens nowhere in clear; it listens at {listens}")]
    NotInClear { listens: String },
    #[error("{name} is not unique, say which: {candidates}")]
    Ambiguous { name: String, candidates: String },
    #[error("{name:?} is no name of a service, expected namespace/name or name")]
    ServiceName { name: String, source: NameError },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{} is there already; nothing was written", path.display())]
    Exists { path: PathBuf },
    #[error("{} is not empty; nothing was written", path.display())]
    NotEmpty { path: PathBuf },
    #[error("--sdk is for --lang rust alone")]
    NoSdk,
    #[error("cannot use the service in {}", path.display())]
    Bundle { path: PathBuf, source: LoadError },
    #[error("another upgrade of {service} has followed, to {to}; `rctl status` tells what runs")]
    Overtaken { service: String, to: String },
    #[error("{} holds {found}, not {wanted}", path.display())]
    OtherService { path: PathBuf, found: String, wanted: String },
    #[error("{} has {faults}", path.display())]
    Manifest { path: PathBuf, faults: Faults },
    #[error("{} is not UTF-8: byte {at} cannot be read", path.display())]
    NotUtf8 { path: PathBuf, at: usize },
    #[error("no answer from {url}: {reason}")]
    Invoke { url: String, reason: String },
    #[error("build.command failed ({status}): {command}")]
    Command { command: String, status: std::process::ExitStatus },
    #[error("build.command could not be run: {command}")]
    NoShell { command: String, source: std::io::Error },
    #[error("{} has {bytes} bytes, the limit is {limit}", path.display())]
    TooLarge { path: PathBuf, bytes: u64, limit: u64 },
    #[error(transparent)]
    Instrument(#[from] InstrumentError),
    #[error("no forensic bundle is called {name}; there are: {known}")]
    NoBundle { name: String, known: String },
    #[error("cannot run the server's program {}; name it with --refrain", path.display())]
    NoProgram { path: PathBuf, source: std::io::Error },
    #[error("the folder's name {text:?} is no name of a service; give one with --name")]
    FolderName { text: String, source: NameError },
}

impl RctlError {
    /// The same, of one of several shards that were asked one after the other.
    pub fn of_shard(self, shard: u16, of: usize) -> Self {
        match self {
            Self::Api(ErrorBody { code, message }) if of > 1 => {
                let before = if shard > 0 { "; it was done on the shards before" } else { "" };
                Self::Api(ErrorBody { code, message: format!("shard {shard}: {message}{before}") })
            }
            other => other,
        }
    }

    /// The whole story in one line: the error and its causes.
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }

    /// The same as `{"code": ..., "message": ...}`.
    pub fn json(&self) -> String {
        let body = serde_json::json!({ "code": self.code(), "message": self.told() });
        format!("{body:#}")
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Find(_) | Self::NoServer { .. } => "no-server",
            Self::Timeout { .. } => "client-timeout",
            Self::Broken { .. } => "connection-broken",
            Self::NotRefrain { .. } => "not-refrain",
            Self::Unauthorized { body, .. } | Self::Api(body) => body.code.as_str(),
            Self::NoService { .. } => "service-not-found",
            Self::OtherMode { .. } => "other-mode",
            Self::NoRoute { .. } => "no-route",
            Self::NotServed { .. } => "not-served",
            Self::NotInClear { .. } => "not-in-clear",
            Self::Ambiguous { .. } => "ambiguous-name",
            Self::ServiceName { .. } | Self::FolderName { .. } => "bad-name",
            Self::Read { .. } => "cannot-read",
            Self::Write { .. } => "cannot-write",
            Self::Bundle { .. } => "bad-bundle",
            Self::OtherService { .. } => "other-service",
            Self::Overtaken { .. } => "overtaken",
            Self::Exists { .. } => "exists",
            Self::NotEmpty { .. } => "not-empty",
            Self::NoSdk => "wrong-usage",
            Self::Manifest { .. } | Self::NotUtf8 { .. } => "bad-manifest",
            Self::Invoke { .. } => "no-answer",
            Self::Command { .. } | Self::NoShell { .. } => "build-failed",
            Self::TooLarge { .. } => "too-large",
            Self::Instrument(InstrumentError::NoWasmOpt) => "no-wasm-opt",
            Self::Instrument(_) => "not-instrumented",
            Self::NoBundle { .. } => "bundle-not-found",
            Self::NoProgram { .. } => "no-program",
        }
    }
}
