//! A front end that runs: started, given new plans, looked at, drained.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::metrics::Metrics;
use crate::plan::{Plan, PlanError};
use crate::serve::{BindError, Bound, Shared, SpawnError, Threads, bind};
use crate::settings::{Listen, ListenAt, MAX_THREADS, Settings};
use crate::tls::{CertificateError, Tls};

/// Why a front end does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A number of the settings.
    #[error("{what}: {value} is not from {min} to {max}")]
    Bound {
        /// Which one.
        what: &'static str,
        /// What it is.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// The plan.
    #[error(transparent)]
    Plan(#[from] ReloadError),
    /// A listener with TLS, and a plan without a certificate.
    #[error("{0:?} speaks TLS and the plan has no certificate")]
    NoCertificate(ListenAt),
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A thread.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// Why a plan is not taken. The one before it stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The plan itself.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// No certificate, and a listener that needs one.
    #[error("a listener speaks TLS and the plan has no certificate")]
    NoCertificate,
}

/// A front end. Dropping it cuts all connections off.
#[derive(Debug)]
pub struct Front {
    shared: Arc<Shared>,
    threads: Threads,
    addresses: Vec<ListenAt>,
    loops: usize,
    has_tls: bool,
}

impl Front {
    /// Opens all listeners, then starts the threads.
    ///
    /// # Errors
    /// When anything is wrong with the settings, the plan, its certificates or the addresses: nothing runs then.
    pub fn start(settings: &Settings, plan: Plan) -> Result<Self, StartError> {
        check(settings)?;
        plan.validate().map_err(ReloadError::from)?;
        let prepared = Tls::read(&plan.certificates).map_err(ReloadError::from)?;
        let bound = bind_all(&settings.listeners, &plan, settings.threads)?;
        let addresses = bound.iter().map(|bound| bound.at.clone()).collect();
        let has_tls = bound.iter().any(|bound| bound.is_tls);
        let shared = Shared::new(settings.clone(), plan);
        shared.tls.take(prepared);
        let threads = Threads::start(&shared, bound, settings.threads)?;
        Ok(Self { shared, threads, addresses, loops: settings.threads, has_tls })
    }

    /// Listens at more addresses.
    ///
    /// # Errors
    /// When one of them cannot be listened at, or speaks TLS and the plan has no certificate: it listens at none of them
    /// then.
    pub fn listen(&mut self, listeners: &[Listen]) -> Result<(), StartError> {
        let bound = bind_all(listeners, &self.shared.current.get().plan, self.loops)?;
        self.addresses.extend(bound.iter().map(|bound| bound.at.clone()));
        self.has_tls |= bound.iter().any(|bound| bound.is_tls);
        self.threads.listen(bound);
        Ok(())
    }

    /// Serves a stream of another front end, whose [`Dial`](crate::Dial) made it: requests for releases that have a
    /// handler here, and those of its owner. Says whether it does; a front end that drains, or has too many, does not.
    #[must_use]
    pub fn serve_inner(&self, stream: std::net::TcpStream) -> bool {
        self.threads.take_inner(stream)
    }

    /// Where it listens, in the order of the settings, with the ports that were taken.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAt] {
        &self.addresses
    }

    /// Follows another plan from the next request on. Requests that have begun keep theirs.
    ///
    /// # Errors
    /// When the plan or one of its certificates cannot be used; the one before stays in force.
    pub fn reload(&self, plan: Plan) -> Result<(), ReloadError> {
        plan.validate()?;
        if self.has_tls && plan.certificates.is_empty() {
            return Err(ReloadError::NoCertificate);
        }
        let prepared = Tls::read(&plan.certificates)?;
        self.shared.tls.take(prepared);
        self.shared.current.swap(plan);
        Ok(())
    }

    /// What has been counted so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.shared)
    }

    /// Changes when an upstream begins or ceases to be well. Closed when the front end has ended.
    #[must_use]
    pub fn health(&self) -> tokio::sync::watch::Receiver<()> {
        self.shared.health.subscribe()
    }

    /// Takes no more connections, tells clients to go elsewhere (`connection: close`, GOAWAY), waits for the answers
    /// under way, and cuts off what is left after `limit`. Blocks: not for a thread that runs futures. Returns how many connections were cut off.
    #[must_use]
    pub fn drain(self, limit: Duration) -> u32 {
        self.threads.drain(Instant::now() + limit)
    }
}

fn bind_all(listeners: &[Listen], plan: &Plan, loops: usize) -> Result<Vec<Bound>, StartError> {
    let needs = listeners.iter().find(|listen| listen.is_tls);
    if let (Some(listen), true) = (needs, plan.certificates.is_empty()) {
        return Err(StartError::NoCertificate(listen.at.clone()));
    }
    let bound = listeners.iter().map(|listen| bind(listen, loops));
    Ok(bound.collect::<Result<_, _>>()?)
}

fn check(settings: &Settings) -> Result<(), StartError> {
    let limits = &settings.connection;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let hour = 3_600_000;
    let proxies = settings.proxies.as_ref().map_or(hour, |proxies| millis(proxies.patience));
    for (what, value, min, max) in [
        ("threads", settings.threads as u64, 1, MAX_THREADS as u64),
        ("connections", limits.connections.into(), 1, 1 << 24),
        ("connections of a client", limits.client_connections.into(), 1, 1 << 24),
        ("bytes of a head", limits.head_bytes as u64, 8192, 1 << 20),
        ("headers of a head", limits.headers as u64, 1, 1000),
        ("bytes of a target", limits.uri_bytes as u64, 1, 65_534),
        ("streams of a connection", limits.streams.into(), 1, 65_536),
        ("bytes kept for a slow client", limits.write_bytes as u64, 8192, 1 << 26),
        ("pending resets", limits.pending_resets as u64, 1, 65_536),
        ("resets for errors", limits.error_resets as u64, 1, 65_536),
        ("milliseconds of silence of a peer", millis(settings.inner.patience), 100, hour),
        ("milliseconds for a header of a proxy", proxies, 10, hour),
        ("milliseconds for a head", millis(limits.head), 10, hour),
        ("milliseconds between requests", millis(limits.idle), 10, hour),
        ("milliseconds without a write", millis(limits.write_idle), 10, hour),
    ] {
        if !(min..=max).contains(&value) {
            return Err(StartError::Bound { what, value, min, max });
        }
    }
    Ok(())
}
