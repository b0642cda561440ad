//! HTTP on this node: stateless components, and the front end that sends requests to them and to replicated services
//! that speak HTTP.
//!
//! - `component`: a stateless service as the front end calls it
//! - `routes`: from manifests to the front end's plan
//!
//! A component is loaded before anything listens; one that cannot run is told, and the others run all the same. The
//! front end runs on threads of its own, and only where there is something that it could serve.

mod component;
mod routes;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use refrain_front::{CertificateFiles, Front, Listen, ListenAt, Plan, ReloadError, StartError};
use refrain_http_host::{Host, HostError};
use refrain_service::{Bundle, Manifest};

use crate::config::{Endpoint, HttpConfig};
use crate::shard::Served;
use component::Component;

/// Where the front end listens when nothing is said.
const DEFAULT_PORT: u16 = 8000;
/// Where the certificate for development is kept, in the data folder.
const DEVELOPMENT_FOLDER: &str = "tls";
/// The names of the certificate for development.
const DEVELOPMENT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The host of components.
    #[error("components cannot be run")]
    Host(#[from] HostError),
    /// The certificate for development.
    #[error("there is no certificate")]
    Certificate(#[from] refrain_front::DevelopmentError),
    /// The front end.
    #[error("the HTTP front end cannot start")]
    Start(#[from] StartError),
    /// A plan.
    #[error("the routes cannot be followed")]
    Plan(#[from] ReloadError),
}

/// What is to be served over HTTP, before anything listens.
pub struct Prepared {
    components: Vec<Component>,
    /// Stateless services that cannot run, and why.
    pub refused: Vec<(String, String)>,
    /// Replicated services that have routes.
    routed: Vec<Manifest>,
    config: HttpConfig,
}

impl Prepared {
    /// Compiles the stateless services, or takes their code from the cache; `replicated` are the manifests of the
    /// others.
    ///
    /// # Errors
    /// When this machine cannot run components. A component that cannot run is in `refused`.
    pub fn new(
        config: HttpConfig,
        data_dir: &Path,
        stateless: &[Bundle],
        replicated: impl Iterator<Item = Manifest>,
    ) -> Result<Self, HttpError> {
        let (mut components, mut routed, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for manifest in replicated.filter(|manifest| !manifest.routes.is_empty()) {
            match routes::faults(&manifest) {
                faults if faults.is_empty() => routed.push(manifest),
                faults => refused.push((format!("{} over HTTP", manifest.id), faults.join("; "))),
            }
        }
        if !stateless.is_empty() {
            let host = Host::new(component::settings(data_dir))?;
            for bundle in stateless {
                match Component::load(&host, bundle) {
                    Ok(component) => components.push(component),
                    Err(reason) => refused.push((bundle.manifest.id.to_string(), reason)),
                }
            }
        }
        Ok(Self { components, refused, routed, config })
    }

    /// Starts the front end; none when there is nothing to serve and nowhere that it was told to listen.
    ///
    /// # Errors
    /// When an address is taken, or a route or a certificate is wrong.
    pub fn start(self, data_dir: &Path) -> Result<Option<Http>, HttpError> {
        let Self { components, routed, config, .. } = self;
        if components.is_empty() && routed.is_empty() && config.http.is_none() && config.https.is_empty() {
            return Ok(None);
        }
        let certificates = certificates(&config, data_dir)?;
        let served = BTreeMap::new();
        let parts = Parts { components, routed, config, certificates };
        let front = start(&parts, parts.plan(&served))?;
        Ok(Some(Http { front, parts }))
    }
}

/// What plans are made of.
struct Parts {
    components: Vec<Component>,
    routed: Vec<Manifest>,
    config: HttpConfig,
    certificates: Vec<CertificateFiles>,
}

impl Parts {
    fn plan(&self, served: &BTreeMap<(String, String), Endpoint>) -> Plan {
        let mut plan = routes::plan(&self.components, &self.routed, served);
        plan.certificates.clone_from(&self.certificates);
        plan.trusted.clone_from(&self.config.trusted);
        plan.access_log = self.config.access_log;
        plan
    }
}

/// HTTP as it is served.
pub struct Http {
    front: Front,
    parts: Parts,
}

impl Http {
    /// Sends requests to ports of replicated services from now on where these listen.
    ///
    /// # Errors
    /// See [`ReloadError`].
    pub fn follow(&self, served: &[Served]) -> Result<(), HttpError> {
        let of = |served: &Served| Some(((served.service.clone(), served.port.clone()), served.at.clone().ok()?));
        self.front.reload(self.parts.plan(&served.iter().filter_map(of).collect()))?;
        Ok(())
    }

    /// What is served and where, in lines for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let secure = self.parts.config.https.len();
        let addresses = self.front.addresses();
        let plain = addresses.len() - secure;
        let base = |(nth, at): (usize, &ListenAt)| {
            let scheme = if nth < plain { "http" } else { "https" };
            match at {
                ListenAt::Tcp(address) => format!("{scheme}://{address}"),
                ListenAt::Unix(path) => format!("{scheme}+unix:{}", path.display()),
            }
        };
        let bases: Vec<String> = addresses.iter().enumerate().map(base).collect();
        let manifests = self.parts.components.iter().map(Component::manifest).chain(&self.parts.routed);
        manifests.map(|manifest| routes::line(manifest, &bases)).collect()
    }

    /// Takes no more requests and lets those under way end, for at most `limit`. Blocks.
    pub fn drain(self, limit: Duration) {
        let cut = self.front.drain(limit);
        if cut > 0 {
            tracing::warn!(connections = cut, "connections of HTTP did not end in time and were cut off");
        }
    }
}

fn certificates(config: &HttpConfig, data_dir: &Path) -> Result<Vec<CertificateFiles>, HttpError> {
    if config.https.is_empty() || !config.certificates.is_empty() {
        return Ok(config.certificates.clone());
    }
    let folder = data_dir.join(DEVELOPMENT_FOLDER);
    let names = DEVELOPMENT_NAMES.map(str::to_owned);
    let files = refrain_front::write_development_certificate(&folder, &names)?;
    tracing::warn!(certificate = %files.certificate.display(), "no certificate is given: HTTPS has one for development");
    Ok(vec![files])
}

fn start(parts: &Parts, plan: Plan) -> Result<Front, HttpError> {
    let default = [Endpoint::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)))];
    let plain = parts.config.http.as_deref();
    let listeners = |plain: &[Endpoint]| {
        let listen = |endpoint: &Endpoint, is_tls| Listen { at: listen_at(endpoint), is_tls };
        let plain = plain.iter().map(|endpoint| listen(endpoint, false));
        plain.chain(parts.config.https.iter().map(|endpoint| listen(endpoint, true))).collect()
    };
    let begin = |plain: &[Endpoint]| {
        let mut settings = refrain_front::Settings { listeners: listeners(plain), ..Default::default() };
        settings.threads = parts.config.threads.unwrap_or(settings.threads);
        Front::start(&settings, plan.clone())
    };
    match (plain, begin(plain.unwrap_or(&default))) {
        // Nobody asked for this port: any will do.
        (None, Err(StartError::Bind(_))) => {
            Ok(begin(&[Endpoint::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))])?)
        }
        (_, started) => Ok(started?),
    }
}

fn listen_at(endpoint: &Endpoint) -> ListenAt {
    match endpoint {
        Endpoint::Address(address) => ListenAt::Tcp(*address),
        Endpoint::Path(path) => ListenAt::Unix(path.clone()),
    }
}
