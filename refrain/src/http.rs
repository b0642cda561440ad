//! HTTP on this node: stateless components, and the front end that sends requests to them and to replicated services
//! that speak HTTP.
//!
//! What a node has:
//! - `load`: at its start
//! - `state`: now; `deployments`: over restarts
//! - `component`: a stateless service as the front end calls it; `lines`: what its guests write
//!
//! Who says what there is to be:
//! - `alone`: the node itself, when there are no others
//! - `cluster`: all nodes together, by the log; `log`: how each follows it
//!
//! What nodes tell each other of it:
//! - `hosted`: what is told; `telling`: when
//! - `nodes`: who tells; `hearing`: what is heard
//!
//! What comes of it:
//! - `versions`, `routes`: the front end's plan; `front`: how it is followed
//! - `status`, `show`: what operators are told; `error`: why something cannot be done
//!
//! A component that cannot run is told, and the others run all the same. The front end runs on threads of its own. It
//! begins when there is something that it could serve, and on a node of a cluster at once, as others may send requests.
//! Whatever changes is a new plan: requests that have begun keep the one that they began with, and the components in it.

mod alone;
mod cluster;
mod component;
mod deployments;
mod error;
mod front;
mod hearing;
mod hosted;
mod lines;
mod load;
mod log;
mod nodes;
mod routes;
mod show;
mod state;
mod status;
mod telling;
mod versions;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use refrain_http_host::{Host, HostError};
use refrain_service::{Bundle, Mode};
use refrain_wire::NodeId;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::config::{Config, HttpConfig};
use crate::shard::{Commands, Deployed, Served};
use component::Component;
use deployments::Deployment;
pub use error::HttpError;
use hosted::Everything;
use log::Followed;
use state::State;

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
    /// What the log says, how far this node has followed it, and who takes changes.
    deployed: Deployed,
    followed: watch::Sender<Followed>,
    first: OnceLock<Commands>,
    /// What was written last of what runs here.
    written: Mutex<Option<Vec<Deployment>>>,
    /// What other nodes are told.
    everything: watch::Sender<Arc<Everything>>,
    /// Told when a plan could not be followed.
    stale: Notify,
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
            state: Mutex::default(),
            hosts: config.cluster.roles.engine,
            deployed: Deployed::default(),
            followed: watch::Sender::default(),
            first: OnceLock::new(),
            written: Mutex::default(),
            everything: watch::Sender::default(),
            stale: Notify::new(),
            lines: lines::Kept::default(),
            host: Mutex::default(),
        }
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
        let followed = nodes::follow(self, first.clone(), patience).and_then(|()| log::follow(self, first));
        followed.map_err(HttpError::Nodes)
    }

    /// Where the first shard says which stateless services its log has.
    #[must_use]
    pub fn deployed(&self) -> &Deployed {
        &self.deployed
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

    /// Sends requests to ports of replicated services from now on where these listen, by the routes that they have now.
    /// What cannot be followed now is tried again when it is asked for again.
    pub fn follow(&self, served: &[Served]) {
        let mut state = self.state.lock();
        let has_changed = state.take_served(served);
        if (has_changed || state.has_stale_plan) && (state.front.is_some() || self.should_listen(&state)) {
            self.follow_or_warn(&mut state);
        }
    }

    /// Runs a version beside the others of its service, or instead of the one of its number; in a cluster on every node.
    /// Blocks while it is compiled, on a thread for that, of a runtime.
    ///
    /// # Errors
    /// When it cannot run; nothing has changed then.
    pub fn deploy(&self, bundle: &Bundle, weight: Option<u16>) -> Result<(), HttpError> {
        let service = bundle.manifest.id.to_string();
        if bundle.manifest.mode != Mode::Stateless {
            return Err(HttpError::Replicated { service });
        }
        let loaded = Component::load(&self.host()?, bundle);
        let component = loaded.map_err(|reason| HttpError::Component { service, reason })?;
        match self.cluster {
            Some(_) => self.order_deploy(&component, weight),
            None => self.take(component, weight),
        }
    }

    /// Shifts requests between versions of a service.
    ///
    /// # Errors
    /// When a version does not run, or all shares would be 0.
    pub fn weigh(&self, service: &str, weights: &BTreeMap<String, u16>) -> Result<(), HttpError> {
        match self.cluster {
            Some(_) => self.order_weights(service, weights),
            None => self.set_weights(service, weights),
        }
    }

    /// Sends a version no more requests. Those under way end, and the component with them.
    ///
    /// # Errors
    /// When it does not run, or what is left of the service has no share.
    pub fn remove(&self, service: &str, version: &str) -> Result<(), HttpError> {
        match self.cluster {
            Some(_) => self.order_removal(service, version),
            None => self.drop_version(service, version),
        }
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
}

/// HTTP, for the threads that ask something of it.
pub type Shared = Arc<Http>;
