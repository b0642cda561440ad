//! HTTP on this node: stateless components, and the front end that sends requests to them and to replicated services
//! that speak HTTP.
//!
//! - `cluster`: which ones the log has, and how that is changed and followed
//! - `component`: a stateless service as the front end calls it
//! - `deployments`: which ones run here, over restarts
//! - `error`: why it cannot be done
//! - `hosted`: what is told to other nodes of it; `nodes`: what they tell
//! - `lines`: what their guests write
//! - `routes`: from manifests to the front end's plan
//! - `status`: what is told of all of it
//!
//! A component that cannot run is told, and the others run all the same. The front end runs on threads of its own, and
//! begins when there is something that it could serve, and on a node of a cluster at once, as others may send requests. Whatever changes is a new plan: requests that have begun keep
//! the one that they began with, and the components in it.

mod cluster;
mod component;
mod deployments;
mod error;
mod hosted;
mod lines;
mod nodes;
mod routes;
mod status;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use refrain_front::{CertificateFiles, Front, Listen, ListenAt, Plan, StartError};
use refrain_http_host::{Host, HostError};
use refrain_service::{Bundle, Manifest, ServiceId};
use refrain_wire::{NodeId, Position};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config::{Config, Endpoint, HttpConfig};
use crate::shard::{Commands, Deployed, Said, Served};
use component::Component;
use deployments::Deployment;
pub use error::HttpError;
use hosted::{Condition, Everything, Hosted, Teller};
use nodes::Nodes;

/// Where the front end listens when nothing is said.
const DEFAULT_PORT: u16 = 8000;
/// Where the certificate for development is kept, in the data folder.
const DEVELOPMENT_FOLDER: &str = "tls";
/// The names of the certificate for development.
const DEVELOPMENT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long other nodes may take to be told that this one ends.
const TOLD: Duration = Duration::from_secs(1);
/// The share of a service's requests that its only version has.
const WHOLE: u16 = 100;

/// HTTP on this node.
pub struct Http {
    config: HttpConfig,
    data_dir: PathBuf,
    node: NodeId,
    /// What the node is to others; none of a node alone.
    cluster: Option<InCluster>,
    state: Mutex<State>,
    /// Components run here.
    hosts: bool,
    /// What the log says, up to which position this node has followed it, and who takes changes.
    deployed: Deployed,
    followed: watch::Sender<Position>,
    /// What was written last of what runs here.
    written: Mutex<Option<Vec<Deployment>>>,
    first: OnceLock<Commands>,
    /// What other nodes are told.
    everything: watch::Sender<Arc<Everything>>,
    /// What guests of components wrote.
    lines: lines::Kept,
    /// Made with the first component.
    host: Mutex<Option<Host>>,
}

/// A node among others.
#[derive(Debug, Clone, Copy)]
struct InCluster {
    /// Clients connect to it.
    is_proxy: bool,
    /// How long a node may be silent before it counts as dead.
    patience: Duration,
}

#[derive(Default)]
struct State {
    components: Vec<Component>,
    /// What was deployed before and cannot run now: it is remembered, and tried again at the next start.
    kept: Vec<Deployment>,
    /// Replicated services that have routes.
    routed: Vec<Manifest>,
    /// Where ports of theirs listen, by full name and port.
    served: BTreeMap<(String, String), Endpoint>,
    nodes: Nodes,
    /// What the log says.
    said: Said,
    front: Option<Front>,
    /// The front end follows an older plan, as the last one could not be followed.
    has_stale_plan: bool,
    /// The front end listens for clients.
    listens: bool,
    is_ending: bool,
}

impl Http {
    /// Nothing is served yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let of_cluster = InCluster { is_proxy: config.cluster.roles.proxy, patience: config.peer_timeout };
        Self {
            config: config.http.clone(),
            data_dir: config.data_dir.clone(),
            node: config.cluster.node,
            cluster: config.cluster.listen.map(|_| of_cluster),
            hosts: config.cluster.roles.engine,
            deployed: Deployed::default(),
            followed: watch::Sender::default(),
            written: Mutex::default(),
            first: OnceLock::new(),
            state: Mutex::default(),
            everything: watch::Sender::default(),
            lines: lines::Kept::default(),
            host: Mutex::default(),
        }
    }

    /// Loads the stateless services that were given, and those that were deployed before; `replicated` are the manifests
    /// of the others. Tells those that cannot run, and why.
    ///
    /// # Errors
    /// When there are no threads for components, or the list of what is deployed cannot be read or written.
    pub fn load(
        &self,
        given: Vec<Bundle>,
        replicated: impl Iterator<Item = Manifest>,
    ) -> Result<Vec<(String, String)>, HttpError> {
        let mut refused = Vec::new();
        for manifest in replicated.filter(|manifest| !manifest.routes.is_empty()) {
            let mut state = self.state.lock();
            state.routed.push(manifest);
            if let Some(fault) = state.fault() {
                let manifest = state.routed.pop().expect("it was pushed");
                refused.push((format!("{} over HTTP", manifest.id), fault));
            }
        }
        let before = deployments::read(&self.data_dir)?;
        let weight_of = |id: &ServiceId| before.iter().find(|one| one.service == id.to_string()).map(|one| one.weight);
        let mut all: Vec<(Bundle, Option<u16>)> = Vec::new();
        for deployment in &before {
            if given.iter().all(|bundle| bundle.manifest.id.to_string() != deployment.service) {
                match deployment.open(&self.data_dir) {
                    Ok(bundle) => all.push((bundle, Some(deployment.weight))),
                    Err(reason) => {
                        refused.push((deployment.service.clone(), reason));
                        self.state.lock().kept.push(deployment.clone());
                    }
                }
            }
        }
        all.extend(given.into_iter().map(|bundle| (weight_of(&bundle.manifest.id), bundle)).map(|(w, b)| (b, w)));
        for (bundle, weight) in all {
            let service = bundle.manifest.id.to_string();
            let in_log = before.iter().find(|one| one.service == service).map_or(0, |one| one.in_log);
            let loaded = Component::load(&self.host()?, &bundle);
            let taken = loaded.and_then(|mut component| {
                component.set_in_log(Position(in_log));
                self.state.lock().try_take(component, weight)
            });
            if let Err(reason) = taken {
                self.state.lock().kept.extend(before.iter().find(|one| one.service == service).cloned());
                refused.push((service, reason));
            }
        }
        let mut state = self.state.lock();
        state.weigh_unweighed();
        if before != state.deployments() {
            deployments::write(&self.data_dir, &state.deployments())?;
        }
        Ok(refused)
    }

    /// Starts the front end, if there is anything that it could serve or it was told where to listen, or if the node is
    /// one of a cluster, whose first shard takes these commands.
    ///
    /// # Errors
    /// When an address is taken, a certificate is wrong, or there is no thread.
    pub fn begin(self: &Arc<Self>, first: Commands) -> Result<(), HttpError> {
        let mut state = self.state.lock();
        if self.cluster.is_some() || self.should_listen(&state) {
            self.follow_plan(&mut state)?;
        }
        drop(state);
        let Some(InCluster { patience, .. }) = self.cluster else { return Ok(()) };
        // Once, here.
        let _ = self.first.set(first.clone());
        let followed = nodes::follow(self, first.clone(), patience).and_then(|()| cluster::follow(self, first));
        followed.map_err(HttpError::Nodes)
    }

    /// Where the first shard says which stateless services its log has.
    #[must_use]
    pub fn deployed(&self) -> &Deployed {
        &self.deployed
    }

    /// Whether there is anything that clients could want, or somebody said where to listen.
    fn should_listen(&self, state: &State) -> bool {
        let is_asked = self.config.http.is_some() || !self.config.https.is_empty();
        let is_proxy = self.cluster.is_some_and(|cluster| cluster.is_proxy);
        let elsewhere = || state.nodes.values().any(|node| !node.hosts.is_empty());
        is_asked || !state.components.is_empty() || !state.routed.is_empty() || (is_proxy && elsewhere())
    }

    /// Whether streams of other nodes are served now.
    #[must_use]
    pub fn takes_streams(&self) -> bool {
        let state = self.state.lock();
        state.front.is_some() && !state.is_ending
    }

    /// Serves a stream of another node's front end, which was welcomed.
    ///
    /// # Errors
    /// When there is no front end, or it takes no more.
    pub fn serve_stream(&self, stream: std::net::TcpStream) -> std::io::Result<()> {
        let taken = self.state.lock().front.as_ref().is_some_and(|front| front.serve_inner(stream));
        taken.then_some(()).ok_or_else(|| std::io::Error::other("the HTTP front end takes no more streams"))
    }

    /// Tells other nodes what is hosted here, if that has changed.
    fn tell(&self) {
        let mut state = self.state.lock();
        if !state.has_stale_plan || state.is_ending || self.follow_plan(&mut state).is_err() {
            self.tell_state(&state);
        }
    }

    fn tell_state(&self, state: &State) {
        if self.cluster.is_none() {
            return;
        }
        let now = Everything { services: self.hosted(state), is_last: state.is_ending };
        self.everything.send_if_modified(|known| {
            let is_new = **known != now;
            if is_new {
                *known = Arc::new(now);
            }
            is_new
        });
    }

    fn hosted(&self, state: &State) -> BTreeMap<String, Hosted> {
        let metrics = state.front.as_ref().map(Front::metrics);
        let is_ready = |component: &Component| {
            let releases = metrics.iter().flat_map(|metrics| &metrics.releases);
            let version = component.manifest().id.version.as_semver();
            let mut same = releases.filter(|of| of.service == component.service() && of.version == *version);
            let mut upstreams = same.next().into_iter().flat_map(|release| &release.upstreams);
            upstreams.any(|upstream| upstream.name == routes::HERE && upstream.is_ready)
        };
        let of = |component: &Component| Hosted {
            bundle: component.digest().to_string(),
            weight: component.weight(),
            requests: routes::requests_at_once(component.manifest()),
            condition: match is_ready(component) {
                _ if state.is_ending => Condition::Draining,
                true => Condition::Ready,
                false => Condition::Waiting,
            },
            manifest: component.manifest_text(),
        };
        state.components.iter().map(|component| (component.manifest().id.to_string(), of(component))).collect()
    }

    /// Sends requests to ports of replicated services from now on where these listen.
    ///
    /// # Errors
    /// See [`refrain_front::ReloadError`].
    pub fn follow(&self, served: &[Served]) -> Result<(), HttpError> {
        let of = |served: &Served| Some(((served.service.clone(), served.port.clone()), served.at.clone().ok()?));
        let served: BTreeMap<_, _> = served.iter().filter_map(of).collect();
        let mut state = self.state.lock();
        if state.served == served || state.is_ending {
            return Ok(());
        }
        state.served = served;
        if state.front.is_some() { self.follow_plan(&mut state) } else { Ok(()) }
    }

    /// Whether it sends requests to replicated services.
    #[must_use]
    pub fn follows_others(&self) -> bool {
        !self.state.lock().routed.is_empty()
    }

    /// Runs a version beside the others of its service, or instead of the one of its number; in a cluster on every node.
    /// Blocks while it is compiled, on a thread for that, of a runtime.
    ///
    /// # Errors
    /// When it cannot run; nothing has changed then.
    pub fn deploy(&self, bundle: &Bundle, weight: Option<u16>) -> Result<(), HttpError> {
        let service = bundle.manifest.id.to_string();
        if bundle.manifest.mode != refrain_service::Mode::Stateless {
            return Err(HttpError::Replicated { service });
        }
        let loaded = Component::load(&self.host()?, bundle);
        let component = loaded.map_err(|reason| HttpError::Component { service, reason })?;
        if self.cluster.is_some() {
            return self.order_deploy(&component, weight);
        }
        self.change(|state| {
            let id = &component.manifest().id;
            let former = state.find(id).map(Component::weight);
            let is_first = !state.components.iter().any(|other| is_same_service(&other.manifest().id, id));
            let default = former.unwrap_or(if is_first { WHOLE } else { 0 });
            state.take(component, Some(weight.unwrap_or(default)));
            Ok(())
        })
    }

    /// Shifts requests between versions of a service.
    ///
    /// # Errors
    /// When a version does not run, or all shares would be 0.
    pub fn weigh(&self, service: &str, weights: &BTreeMap<String, u16>) -> Result<(), HttpError> {
        if self.cluster.is_some() {
            return self.order_weights(service, weights);
        }
        self.change(|state| {
            for (version, weight) in weights {
                let unknown = state.unknown(service, version);
                state.find_version(service, version).ok_or(unknown)?.set_weight(*weight);
            }
            if state.of(service).all(|component| component.weight() == 0) {
                return Err(HttpError::NoWeight { service: service.to_owned() });
            }
            Ok(())
        })
    }

    /// Sends a version no more requests. Those under way end, and the component with them.
    ///
    /// # Errors
    /// When it does not run, or what is left of the service has no share.
    pub fn remove(&self, service: &str, version: &str) -> Result<(), HttpError> {
        if self.cluster.is_some() {
            return self.order_removal(service, version);
        }
        self.change(|state| {
            let unknown = state.unknown(service, version);
            let is_it = |component: &Component| component.is_version(service, version);
            let known = state.kept.len() + state.components.len();
            state.kept.retain(|kept| kept.service != format!("{service}@{version}"));
            state.components.retain(|component| !is_it(component));
            if state.kept.len() + state.components.len() == known {
                return Err(unknown);
            }
            if state.of(service).count() > 0 && state.of(service).all(|component| component.weight() == 0) {
                return Err(HttpError::NoWeight { service: service.to_owned() });
            }
            Ok(())
        })
    }

    /// Changes what runs, follows it and remembers it; as before when any of that fails.
    fn change(&self, change: impl FnOnce(&mut State) -> Result<(), HttpError>) -> Result<(), HttpError> {
        let mut state = self.state.lock();
        let before = (state.components.clone(), state.kept.clone());
        let changed = change(&mut state).and_then(|()| {
            self.follow_plan(&mut state)?;
            Ok(deployments::write(&self.data_dir, &state.deployments())?)
        });
        if changed.is_err() {
            (state.components, state.kept) = before;
            if state.front.is_some() && self.follow_plan(&mut state).is_err() {
                tracing::error!("the routes of before cannot be followed any more");
            }
        }
        changed
    }

    /// Follows what is known now. What cannot be followed is tried again by [`Self::tell`].
    fn follow_plan(&self, state: &mut State) -> Result<(), HttpError> {
        if state.is_ending {
            return Err(HttpError::Ending);
        }
        let followed = self.try_plan(state);
        state.has_stale_plan = followed.is_err();
        followed
    }

    fn try_plan(&self, state: &mut State) -> Result<(), HttpError> {
        self.lines.lock().retain(|service| state.components.iter().any(|component| component.service() == service));
        let mut plan =
            routes::plan(&state.components, &state.nodes, &state.said.services, &state.routed, &state.served);
        plan.certificates = self.certificates()?;
        plan.trusted.clone_from(&self.config.trusted);
        plan.access_log = self.config.access_log;
        let should_listen = self.should_listen(state) && !state.listens;
        let front = match &mut state.front {
            Some(front) => {
                front.reload(plan)?;
                front
            }
            None => state.front.insert(self.start(plan)?),
        };
        if should_listen {
            self.listen(front)?;
            state.listens = true;
        }
        self.tell_state(state);
        Ok(())
    }

    /// Has other nodes send their requests elsewhere, takes no more and lets those under way end, for at most `limit`.
    /// Blocks, on a thread for that, of a runtime.
    pub fn drain(&self, limit: Duration) {
        let until = Instant::now() + limit;
        {
            let mut state = self.state.lock();
            state.is_ending = true;
            self.tell_state(&state);
        }
        // Whoever was told lets go: nodes that do not read are waited for shortly.
        let told = async { tokio::time::timeout(TOLD.min(limit), self.everything.closed()).await };
        if Handle::current().block_on(told).is_err() {
            tracing::debug!("not all nodes were told that this one ends");
        }
        let front = self.state.lock().front.take();
        let limit = until.saturating_duration_since(Instant::now());
        let cut = front.map_or(0, |front| front.drain(limit));
        if cut > 0 {
            tracing::warn!(connections = cut, "connections of HTTP did not end in time and were cut off");
        }
    }

    fn host(&self) -> Result<Host, HostError> {
        let mut host = self.host.lock();
        match &*host {
            Some(host) => Ok(host.clone()),
            None => Ok(host.insert(Host::new(component::settings(&self.data_dir, Arc::clone(&self.lines)))?).clone()),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateFiles>, HttpError> {
        if self.config.https.is_empty() || !self.config.certificates.is_empty() {
            return Ok(self.config.certificates.clone());
        }
        let folder = self.data_dir.join(DEVELOPMENT_FOLDER);
        std::fs::create_dir_all(&folder)
            .map_err(|error| refrain_front::DevelopmentError::Write(folder.clone(), error))?;
        Ok(vec![refrain_front::write_development_certificate(&folder, &DEVELOPMENT_NAMES.map(str::to_owned))?])
    }

    /// Starts a front end that listens nowhere.
    fn start(&self, plan: Plan) -> Result<Front, HttpError> {
        let mut settings = refrain_front::Settings::default();
        settings.threads = self.config.threads.unwrap_or(settings.threads);
        if let Some(cluster) = self.cluster {
            settings.inner.owner = Some(Arc::new(Teller(self.everything.clone())));
            settings.inner.patience = cluster.patience;
        }
        Ok(Front::start(&settings, plan)?)
    }

    fn listen(&self, front: &mut Front) -> Result<(), HttpError> {
        let default = [Endpoint::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)))];
        let asked = self.config.http.as_deref();
        let mut begin = |plain: &[Endpoint]| {
            let plain = plain.iter().map(|endpoint| listen(endpoint, false));
            let secure = self.config.https.iter().map(|endpoint| listen(endpoint, true));
            front.listen(&plain.chain(secure).collect::<Vec<_>>())
        };
        match (asked, begin(asked.unwrap_or(&default))) {
            // Nobody asked for this port: any will do.
            (None, Err(StartError::Bind(_))) => {
                Ok(begin(&[Endpoint::Address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))])?)
            }
            (_, listens) => Ok(listens?),
        }
    }
}

impl State {
    /// Takes a component in, if the routes of all can be followed with it; else why not, in words.
    fn try_take(&mut self, component: Component, weight: Option<u16>) -> Result<(), String> {
        let before = self.components.clone();
        self.take(component, weight);
        match self.fault() {
            None => Ok(()),
            Some(fault) => {
                self.components = before;
                Err(fault)
            }
        }
    }

    /// Why the routes of all that is here cannot be followed, in words.
    fn fault(&self) -> Option<String> {
        let mut components = self.components.clone();
        // Shares are given when all are there.
        components.iter_mut().for_each(|component| component.set_weight(component.weight().max(1)));
        let faults = self.routed.iter().flat_map(routes::faults).collect::<Vec<_>>();
        if !faults.is_empty() {
            return Some(faults.join("; "));
        }
        let plan = routes::plan(&components, &Nodes::new(), &BTreeMap::new(), &self.routed, &self.served);
        plan.validate().err().map(|fault| fault.to_string())
    }

    /// Takes a component in; one of its version goes.
    fn take(&mut self, mut component: Component, weight: Option<u16>) {
        self.components.retain(|other| other.manifest().id != component.manifest().id);
        self.kept.retain(|kept| kept.service != component.manifest().id.to_string());
        if let Some(weight) = weight {
            component.set_weight(weight);
        }
        self.components.push(component);
        self.components.sort_by(|one, other| one.manifest().id.cmp(&other.manifest().id));
    }

    /// A service of whose versions none has a share gives all of it to its highest one.
    fn weigh_unweighed(&mut self) {
        for at in 0..self.components.len() {
            let id = self.components[at].manifest().id.clone();
            let mut same = self.components.iter().filter(|other| is_same_service(&other.manifest().id, &id));
            let has_share = same.clone().any(|component| component.weight() > 0);
            let is_highest = same.all(|other| routes::rank(&other.manifest().id) <= routes::rank(&id));
            if !has_share && is_highest {
                self.components[at].set_weight(WHOLE);
            }
        }
    }

    fn of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Component> {
        self.components.iter().filter(move |component| component.service() == service)
    }

    fn find(&self, id: &ServiceId) -> Option<&Component> {
        self.components.iter().find(|component| component.manifest().id == *id)
    }

    fn find_version(&mut self, service: &str, version: &str) -> Option<&mut Component> {
        self.components.iter_mut().find(|component| component.is_version(service, version))
    }

    fn unknown(&self, service: &str, version: &str) -> HttpError {
        let running: Vec<String> = self.of(service).map(|one| one.manifest().id.version.to_string()).collect();
        let running = if running.is_empty() { "none".to_owned() } else { running.join(", ") };
        HttpError::Unknown { service: service.to_owned(), version: version.to_owned(), running }
    }

    fn deployments(&self) -> Vec<Deployment> {
        let mut all: Vec<Deployment> = self.components.iter().map(Deployment::of).chain(self.kept.clone()).collect();
        all.sort_by(|one, other| one.service.cmp(&other.service));
        all
    }
}

fn is_same_service(one: &ServiceId, other: &ServiceId) -> bool {
    (&one.namespace, &one.name) == (&other.namespace, &other.name)
}

fn listen(endpoint: &Endpoint, is_tls: bool) -> Listen {
    let at = match endpoint {
        Endpoint::Address(address) => ListenAt::Tcp(*address),
        Endpoint::Path(path) => ListenAt::Unix(path.clone()),
    };
    Listen { at, is_tls }
}

/// HTTP, for the threads that ask something of it.
pub type Shared = Arc<Http>;
