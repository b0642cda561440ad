//! The front end of this node: which plan it follows, and where it listens.
//!
//! Whatever changes is a new plan. A service whose part of the plan cannot be followed is left out, told and counted; the
//! others go on. A plan that cannot be followed at all, as a certificate is broken or a port is taken, is tried again, and
//! the one before holds meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use refrain_front::{CertificateFiles, ClientHeader, Front, HeaderError, Listen, ListenAt, Plan, Proxies, StartError};
use refrain_proxy::proxy_protocol::{Parsed, parse};
use tokio::sync::watch;

use super::hosted::Teller;
use super::state::{Problems, State};
use super::{Http, HttpError, routes};
use crate::config::Endpoint;

/// Where the front end listens when nothing is said.
const DEFAULT_PORT: u16 = 8000;
/// Where the certificate for development is kept, in the data folder.
const DEVELOPMENT_FOLDER: &str = "tls";
/// The names of the certificate for development.
const DEVELOPMENT_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Http {
    /// Whether there is anything that clients could want, or somebody said where to listen.
    pub(super) fn should_listen(&self, state: &State) -> bool {
        let is_asked = self.config.http.is_some() || !self.config.https.is_empty();
        let is_proxy = self.cluster.is_some_and(|cluster| cluster.is_proxy);
        let elsewhere = || state.nodes.values().any(|node| !node.hosts.is_empty());
        is_asked || !state.components.is_empty() || !state.routed.is_empty() || (is_proxy && elsewhere())
    }

    /// Follows what is known now. What cannot be followed is tried again: see `telling`.
    pub(super) fn follow_plan(&self, state: &mut State) -> Result<(), HttpError> {
        if state.is_ending {
            return Err(HttpError::Ending);
        }
        let followed = self.try_plan(state);
        state.has_stale_plan = followed.is_err();
        if state.has_stale_plan {
            self.stale.notify_one();
        }
        followed
    }

    /// The same, for who can do nothing else about it.
    pub(super) fn follow_or_warn(&self, state: &mut State) {
        match self.follow_plan(state) {
            Ok(()) | Err(HttpError::Ending) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the routes cannot be followed, those of before hold until they can");
            }
        }
    }

    fn try_plan(&self, state: &mut State) -> Result<(), HttpError> {
        self.lines.lock().retain(|service| state.components.iter().any(|component| component.service() == service));
        let routes::Planned { mut plan, left_out, shadowed } = routes::plan(&state.known());
        plan.certificates = self.certificates()?;
        plan.trusted.clone_from(&self.config.trusted);
        plan.client = self.config.client;
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
        tell_left_out(&state.left_out, &left_out);
        for (service, reason) in
            shadowed.iter().filter(|(service, reason)| state.shadowed.get(*service) != Some(reason))
        {
            tracing::warn!(service, reason, "two services have the same route");
        }
        (state.left_out, state.shadowed) = (left_out, shadowed);
        self.tell_state(state);
        Ok(())
    }

    /// Changes when an upstream here begins or ceases to be well; none before the front end is there.
    pub(super) fn health(&self) -> Option<watch::Receiver<()>> {
        self.state.lock().front.as_ref().map(Front::health)
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
        settings.connection.clone_from(&self.config.connection);
        if !self.config.proxy_protocol.is_empty() {
            settings.proxies = Some(Proxies::new(self.config.proxy_protocol.clone(), read_header));
        }
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

/// Reads a header of the PROXY protocol, as it is read for services.
fn read_header(bytes: &[u8]) -> Result<Option<ClientHeader>, HeaderError> {
    Ok(match parse(bytes)? {
        Parsed::Incomplete => None,
        Parsed::Header { length, source } => Some(ClientHeader { length, client: source.map(|source| source.ip()) }),
    })
}

/// Tells operators what the plan does without, and what it has again, once each.
fn tell_left_out(before: &Problems, now: &Problems) {
    for (service, reason) in now.iter().filter(|(service, reason)| before.get(*service) != Some(reason)) {
        tracing::error!(service, reason, "the routes of a service cannot be followed: it is left out");
    }
    for service in before.keys().filter(|service| !now.contains_key(*service)) {
        tracing::info!(service, "the service is not left out any more");
    }
}

fn listen(endpoint: &Endpoint, is_tls: bool) -> Listen {
    let at = match endpoint {
        Endpoint::Address(address) => ListenAt::Tcp(*address),
        Endpoint::Path(path) => ListenAt::Unix(path.clone()),
    };
    Listen { at, is_tls }
}
