//! From a service's bundle to what its replicas and its proxy need.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use refrain_engine::replica::{Blueprint, RunLimits};
use refrain_engine::{LoadError, Platform};
use refrain_kernel::config::{GuestConfig, GuestPort, RestartPolicy};
use refrain_kernel::fs::{BundleError, BundleFiles};
use refrain_kernel::{Outbound, outbound};
use refrain_proxy::net::SocketOptions;
use refrain_proxy::tcp::ListenOptions;
use refrain_service::{
    AddressRange, Bundle, FuelPerTurn, IdleLimit, Keepalive, Manifest, OutboundHost, Port, Protocol, ServiceId,
};
use refrain_wire::control::Agreement;
use refrain_wire::{GroupId, IpRange};

/// A port as the proxy serves it.
#[derive(Debug, Clone)]
pub(crate) struct ServedPort {
    pub(crate) name: String,
    pub(crate) guest: u16,
    pub(crate) protocol: Protocol,
    /// Where the manifest has it listen.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where clients of its own machine find it.
    pub(crate) unix: Option<PathBuf>,
    /// How the proxy listens.
    pub(crate) options: ListenOptions,
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
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) parts: Parts,
}

/// What replicas are made of.
pub(crate) struct Parts {
    config: GuestConfig,
    files: BundleFiles,
    limits: RunLimits,
    /// The code, or why the service cannot run.
    pub(crate) code: Result<Arc<refrain_engine::Compiled>, Refused>,
}

/// Why a service cannot run. It is told of it; others run all the same.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Its module cannot.
    #[error(transparent)]
    Module(#[from] LoadError),
    /// A guest cannot be shown its files.
    #[error("its files cannot be given to a guest")]
    Files(#[source] BundleError),
    /// A component is to be given a listener, which its interfaces have no way for.
    #[error("port {0} has pass = true, and its program is a component, which makes its listeners by itself")]
    Passed(String),
}

/// From so many bytes on a program may take minutes to be compiled.
const LARGE_PROGRAM_BYTES: usize = 1 << 20;
/// What took so long is told when it is over.
const LONG: Duration = Duration::from_secs(2);

/// Has a program made ready to run, and tells what takes long, at its beginning and its end.
pub(crate) fn preparing<T>(service: &ServiceId, bytes: usize, work: impl FnOnce() -> T) -> T {
    let (is_large, began) = (bytes >= LARGE_PROGRAM_BYTES, Instant::now());
    if is_large {
        tracing::info!(%service, bytes, "a large program is made ready: it is compiled unless it was before");
    }
    let made = work();
    let took = began.elapsed();
    if is_large || took >= LONG {
        tracing::info!(%service, took = ?took, "the program is ready to run");
    }
    made
}

impl Service {
    /// Prepares a bundle; its module is compiled, or taken from the cache.
    #[must_use]
    pub fn prepare(bundle: Bundle, platform: &Platform, replicas: Option<u8>) -> Self {
        let Bundle { manifest, module, files, digest, .. } = bundle;
        let code = preparing(&manifest.id, module.len(), || platform.load(&module));
        let code = code.map(Arc::new).map_err(Refused::from);
        let passed = manifest.ports.iter().find(|port| port.pass);
        let code = code.and_then(|code| match passed.filter(|_| code.is_component()) {
            Some(port) => Err(Refused::Passed(port.name.to_string())),
            None => Ok(code),
        });
        let files = files.into_iter().map(|file| (file.path.as_str().as_bytes().to_vec(), Bytes::from(file.bytes)));
        let (files, code) = match BundleFiles::new(files) {
            Ok(files) => (files, code),
            Err(error) => (BundleFiles::new([]).expect("no file has a bad path"), Err(Refused::Files(error))),
        };
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
            manifest: Arc::new(manifest),
        }
    }

    /// Whether it can run.
    pub(crate) fn can_run(&self) -> bool {
        self.parts.code.is_ok()
    }

    /// Why it cannot run, in words; empty when it can.
    pub(crate) fn why_refused(&self) -> String {
        self.parts.code.as_ref().err().map(|refused| in_words(refused)).unwrap_or_default()
    }

    /// Why its guests cannot be saved in checkpoints, in words; nothing when they can.
    pub(crate) fn why_not_saved(&self) -> Vec<String> {
        let reasons = self.parts.code.as_ref().ok().and_then(|code| code.checkpointable.as_ref().err());
        reasons.map(|reasons| refrain_inspect::sentences(reasons)).unwrap_or_default()
    }

    /// What replicas of the group are made of; none when it cannot run.
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
        protocol: port.protocol,
        listen: port.listen.clone(),
        unix: port.unix.clone(),
        options: listen_options(port),
    });
    served.collect()
}

fn listen_options(port: &Port) -> ListenOptions {
    let keepalive = match port.keepalive {
        Keepalive::Off => None,
        Keepalive::After(time) => Some(time),
    };
    ListenOptions {
        socket: SocketOptions { nodelay: port.nodelay, keepalive, ..SocketOptions::default() },
        proxy_protocol_from: port.proxy_protocol.iter().map(ip_range).collect(),
    }
}

fn guest_port(port: &Port) -> GuestPort {
    GuestPort { port: port.guest.get(), datagram: port.protocol == Protocol::Udp, pass: port.pass }
}

fn run_limits(manifest: &Manifest) -> RunLimits {
    RunLimits {
        memory_bytes: manifest.limits.memory.get(),
        table_elements: manifest.limits.tables,
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
        ports: manifest.ports.iter().map(guest_port).collect(),
        max_descriptors: limits.descriptors,
        max_flows: limits.flows,
        socket_buffer_bytes: limits.socket_buffer.get(),
        socket_buffers_bytes: limits.socket_buffers.get(),
        files_bytes: limits.files.get(),
        max_inodes: limits.inodes.into(),
        outbound: outbound(manifest),
        max_outward: limits.outward,
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

/// The rules of a manifest as the kernel asks them.
fn outbound(manifest: &Manifest) -> Outbound {
    let rule = |entry: &refrain_service::Outbound| outbound::Rule {
        host: host(&entry.host),
        ports: outbound::PortRange { first: entry.first_port, last: entry.last_port },
        protocol: match entry.protocol {
            Protocol::Tcp => outbound::Protocol::Tcp,
            Protocol::Udp => outbound::Protocol::Udp,
        },
        proxy_header: entry.proxy_header.map(|header| match header {
            refrain_service::ProxyHeader::V1 => outbound::ProxyHeader::V1,
            refrain_service::ProxyHeader::V2 => outbound::ProxyHeader::V2,
        }),
    };
    Outbound::new(manifest.outbound.iter().map(rule).collect())
}

fn host(host: &OutboundHost) -> outbound::Host {
    match host {
        OutboundHost::Name(name) => outbound::Host::name(name).expect("a manifest's names are checked"),
        OutboundHost::Below(name) => outbound::Host::below(name).expect("a manifest's names are checked"),
        OutboundHost::Any => outbound::Host::Any,
        OutboundHost::Range(range) => outbound::Host::Range(ip_range(range)),
    }
}

fn ip_range(range: &AddressRange) -> IpRange {
    IpRange::new(range.first(), range.prefix()).expect("a manifest's ranges are checked")
}

/// An error with its causes, in one line.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(outbound: &str) -> Manifest {
        let head = "name = \"a\"\nversion = \"1.0.0\"\nmodule = \"a.wasm\"\n";
        Manifest::parse(&format!("{head}outbound = [{outbound}]\n")).expect("a good manifest")
    }

    #[test]
    fn every_form_of_an_outbound_entry_means_in_the_kernel_what_the_manifest_says() {
        let rules = outbound(&manifest(
            r#""api.example.com:443", "*.internal:5432", "10.0.0.0/8:5432", "[fd00::/8]:53/udp", "*:80",
               "[::ffff:192.168.0.0/112]:1", { to = "1.1.1.1:8000-8010", proxy_protocol = "v2" }"#,
        ));
        assert!(rules.permits_name("api.example.com") && rules.permits_name("db.internal"));
        let permits = |address: &str, port, protocol, names: &[&str]| {
            rules.permits(address.parse().expect("an address"), port, protocol, names.iter().copied())
        };
        use outbound::Protocol::{Tcp, Udp};
        assert!(permits("8.8.8.8", 443, Tcp, &["api.example.com"]) && !permits("8.8.8.8", 443, Tcp, &[]));
        assert!(permits("10.1.1.1", 5432, Tcp, &[]) && !permits("10.1.1.1", 5433, Tcp, &["db.internal"]));
        assert!(permits("fd00::1", 53, Udp, &[]) && !permits("fd00::1", 53, Tcp, &[]));
        assert!(permits("8.8.8.8", 80, Tcp, &[]) && !permits("127.0.0.1", 80, Tcp, &["a.b"]));
        assert!(permits("192.168.255.1", 1, Tcp, &[]) && !permits("192.169.0.1", 1, Tcp, &[]));
        let rule = rules.rule_for([1, 1, 1, 1].into(), 8005, Tcp, std::iter::empty()).expect("permitted");
        assert_eq!(rule.proxy_header, Some(outbound::ProxyHeader::V2));
    }

    #[test]
    fn trusted_proxies_may_be_written_as_ipv4_within_ipv6() {
        let port = "[[ports]]\nname = \"p\"\nguest = 80\nlisten = \"127.0.0.1:0\"\n\
                    proxy_protocol = { from = [\"::ffff:10.0.0.0/104\", \"fd00::/8\"] }\n";
        let text = format!("name = \"a\"\nversion = \"1.0.0\"\nmodule = \"a.wasm\"\n{port}");
        let manifest = Manifest::parse(&text).expect("a good manifest");
        let trusted = listen_options(&manifest.ports[0]).proxy_protocol_from;
        let holds = |ip: &str| trusted.iter().any(|range| range.holds(ip.parse().expect("an address")));
        assert!(holds("10.255.0.1") && holds("fd00::1"));
        assert!(!holds("11.0.0.1") && !holds("::1"));
    }

    #[test]
    fn a_service_whose_files_no_guest_can_have_is_refused_and_nothing_else_ends() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/image-server");
        let mut bundle = Bundle::load(&folder).expect("the example is whole");
        let file = refrain_service::BundleFile { path: "/a".parse().expect("a path"), bytes: Vec::new() };
        bundle.files = vec![file.clone(), file];
        let platform = Platform::new(None).expect("this machine runs guests");
        let service = Service::prepare(bundle, &platform, None);
        assert!(!service.can_run() && service.blueprint(GroupId(1)).is_none());
        let told = "its files cannot be given to a guest: bundle path \"/a\" is given twice";
        assert_eq!(service.why_refused(), told);
    }

    #[test]
    fn without_outbound_the_guest_reaches_nothing() {
        assert!(guest_config(&manifest("")).outbound.is_empty());
    }
}
