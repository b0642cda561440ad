//! From a service's bundle to what its replicas and its proxy need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use refrain_engine::replica::{Blueprint, RunLimits};
use refrain_engine::{LoadError, Platform};
use refrain_kernel::Outbound;
use refrain_kernel::config::{GuestConfig, GuestPort, RestartPolicy};
use refrain_kernel::fs::BundleFiles;
use refrain_service::{Bundle, FuelPerTurn, IdleLimit, Manifest};
use refrain_wire::GroupId;
use refrain_wire::control::Agreement;

/// A port as the proxy serves it.
#[derive(Debug, Clone)]
pub(crate) struct ServedPort {
    pub(crate) name: String,
    pub(crate) guest: u16,
    pub(crate) listen: SocketAddr,
}

/// A service as the shard runs it.
pub struct Service {
    /// `namespace/name`.
    pub(crate) name: String,
    /// `namespace/name@version`.
    pub(crate) full_name: String,
    pub(crate) ports: Vec<ServedPort>,
    pub(crate) bundle: [u8; 32],
    pub(crate) seats: u8,
    pub(crate) agreement: Agreement,
    pub(crate) flows: u32,
    pub(crate) flows_per_client: u32,
    pub(crate) socket_buffer_bytes: u64,
    pub(crate) socket_buffers_bytes: u64,
    pub(crate) idle: Option<Duration>,
    /// The limit of its history, where its guests cannot be saved.
    pub(crate) history_bytes: u64,
    /// What it was made of.
    pub(crate) manifest: Manifest,
    pub(crate) parts: Parts,
}

/// What replicas are made of.
pub(crate) struct Parts {
    config: GuestConfig,
    files: BundleFiles,
    limits: RunLimits,
    /// The code, or why the module cannot run.
    pub(crate) code: Result<Arc<refrain_engine::Compiled>, LoadError>,
}

impl Service {
    /// Prepares a bundle; its module is compiled, or taken from the cache.
    #[must_use]
    pub fn prepare(bundle: Bundle, platform: &Platform, replicas: Option<u8>) -> Self {
        let Bundle { manifest, module, files, digest, .. } = bundle;
        let code = platform.load(&module).map(Arc::new);
        let files = files.into_iter().map(|file| (file.path.as_str().as_bytes().to_vec(), Bytes::from(file.bytes)));
        let files = BundleFiles::new(files).expect("a bundle's paths are absolute and unique");
        let limits = &manifest.limits;
        Self {
            name: format!("{}/{}", manifest.id.namespace, manifest.id.name),
            full_name: manifest.id.to_string(),
            ports: ports(&manifest),
            bundle: *digest.as_bytes(),
            seats: replicas.unwrap_or(manifest.replicas.get()),
            agreement: match manifest.agreement {
                refrain_service::Agreement::Majority => Agreement::Majority,
                refrain_service::Agreement::All => Agreement::All,
                refrain_service::Agreement::None => Agreement::None,
            },
            flows: limits.flows,
            flows_per_client: limits.flows_per_client,
            socket_buffer_bytes: limits.socket_buffer.get(),
            socket_buffers_bytes: limits.socket_buffers.get(),
            idle: match limits.idle {
                IdleLimit::Off => None,
                IdleLimit::After(duration) => Some(duration),
            },
            history_bytes: limits.history.get(),
            parts: Parts { config: guest_config(&manifest), files, limits: run_limits(&manifest), code },
            manifest,
        }
    }

    /// Whether the module can run.
    pub(crate) fn can_run(&self) -> bool {
        self.parts.code.is_ok()
    }

    /// Why the module cannot run, in words; empty when it can.
    pub(crate) fn why_refused(&self) -> String {
        self.parts.code.as_ref().err().map(in_words).unwrap_or_default()
    }

    /// Why its guests cannot be saved in checkpoints, in words; nothing when they can.
    pub(crate) fn why_not_saved(&self) -> Vec<String> {
        let reasons = self.parts.code.as_ref().ok().and_then(|code| code.checkpointable.as_ref().err());
        reasons.into_iter().flatten().map(ToString::to_string).collect()
    }

    /// What replicas of the group are made of; none when the module cannot run.
    #[must_use]
    pub fn blueprint(&self, group: GroupId) -> Option<Arc<Blueprint>> {
        let compiled = Arc::clone(self.parts.code.as_ref().ok()?);
        let (config, bundle) = (self.parts.config.clone(), self.parts.files.clone());
        let (digest, limits) = (self.bundle, self.parts.limits);
        Some(Arc::new(Blueprint { group, digest, compiled, config, bundle, limits }))
    }
}

fn ports(manifest: &Manifest) -> Vec<ServedPort> {
    let served = manifest.ports.iter().map(|port| ServedPort {
        name: port.name.to_string(),
        guest: port.guest.get(),
        listen: port.listen,
    });
    served.collect()
}

fn run_limits(manifest: &Manifest) -> RunLimits {
    RunLimits {
        memory_bytes: manifest.limits.memory.get(),
        fuel_per_turn: match manifest.limits.fuel_per_turn {
            FuelPerTurn::Off => None,
            FuelPerTurn::Limit(fuel) => Some(fuel),
        },
    }
}

fn guest_config(manifest: &Manifest) -> GuestConfig {
    let limits = &manifest.limits;
    let program = manifest.id.name.to_string().into_bytes();
    let arguments = manifest.args.iter().map(|argument| argument.clone().into_bytes());
    GuestConfig {
        args: std::iter::once(program).chain(arguments).collect(),
        env: manifest.env.iter().map(|(key, value)| format!("{key}={value}").into_bytes()).collect(),
        ports: manifest
            .ports
            .iter()
            .map(|port| GuestPort { port: port.guest.get(), datagram: false, pass: port.pass })
            .collect(),
        max_descriptors: limits.descriptors,
        max_flows: limits.flows,
        socket_buffer_bytes: limits.socket_buffer.get(),
        socket_buffers_bytes: limits.socket_buffers.get(),
        files_bytes: limits.files.get(),
        outbound: Outbound::default(),
        max_outward: 1024,
        log_lines_per_second: limits.log_lines_per_second,
        restart: match manifest.restart.policy {
            refrain_service::RestartPolicy::Always => RestartPolicy::Always,
            refrain_service::RestartPolicy::OnFailure => RestartPolicy::OnFailure,
            refrain_service::RestartPolicy::Never => RestartPolicy::Never,
        },
        backoff: manifest.restart.backoff,
        backoff_max: manifest.restart.backoff_max,
    }
}

/// An error with its causes, in one line.
fn in_words(error: &LoadError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}
