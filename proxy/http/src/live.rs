//! The plan in force, ready for use: routes in order, releases with their loads. Swapped as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use semver::Version;
use tokio::sync::watch;

use crate::balance::{ReleaseLoad, ReleaseState, UpstreamLoad, UpstreamState};
use crate::plan::{Endpoint, Plan, Release, Service};
use crate::route::{Catalogue, Table};
use crate::upstream::Address;

/// A plan with what belongs to it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) plan: Plan,
    pub(crate) table: Table,
    /// By service; the highest version first.
    pub(crate) releases: HashMap<String, Vec<Arc<ReleaseState>>>,
}

impl Live {
    /// What `before` knows of a release or upstream of the same name is taken over.
    pub(crate) fn new(plan: Plan, before: Option<&Self>) -> Self {
        let table = Table::new(&plan.routes);
        let releases = plan.services.iter().map(|service| (service.name.clone(), build_releases(service, before)));
        Self { table, releases: releases.collect(), plan }
    }

    pub(crate) fn release(&self, service: &str, version: &Version) -> Option<&Arc<ReleaseState>> {
        self.releases.get(service)?.iter().find(|release| release.plan.version == *version)
    }

    pub(crate) fn all_releases(&self) -> impl Iterator<Item = &Arc<ReleaseState>> {
        self.releases.values().flatten()
    }
}

fn build_releases(service: &Service, before: Option<&Live>) -> Vec<Arc<ReleaseState>> {
    let name: Arc<str> = service.name.as_str().into();
    let build = |release: &Release| {
        let before = before.and_then(|live| live.release(&service.name, &release.version));
        Arc::new(build_release(&name, release, before))
    };
    let mut releases: Vec<Arc<ReleaseState>> = service.releases.iter().map(build).collect();
    releases.sort_by(|a, b| b.plan.version.cmp(&a.plan.version));
    releases
}

fn build_release(service: &Arc<str>, release: &Release, before: Option<&Arc<ReleaseState>>) -> ReleaseState {
    let load = before.map_or_else(|| Arc::new(ReleaseLoad::default()), |before| Arc::clone(&before.load));
    let upstreams = release.upstreams.iter().map(|upstream| {
        let known = before.and_then(|before| before.upstreams.iter().find(|known| known.plan.name == upstream.name));
        let is_asked = release.health.is_some() && !matches!(upstream.endpoint, Endpoint::Inner(_));
        let load = known.map_or_else(|| Arc::new(UpstreamLoad::new(!is_asked)), |known| Arc::clone(&known.load));
        UpstreamState { plan: upstream.clone(), address: Address::of(&upstream.endpoint), load }
    });
    ReleaseState::new(Arc::clone(service), release.clone(), upstreams.collect(), load)
}

impl Catalogue for Live {
    type Release = Arc<ReleaseState>;

    fn releases<'a>(&'a self, service: &str) -> impl Iterator<Item = (&'a Version, &'a Arc<ReleaseState>)> {
        let releases = self.releases.get(service).map_or(&[][..], Vec::as_slice);
        releases.iter().map(|release| (&release.plan.version, release))
    }

    fn is_well(&self, release: &Arc<ReleaseState>) -> bool {
        release.upstreams.iter().any(|upstream| !upstream.plan.is_draining && upstream.is_ready())
    }
}

/// Where the loops look for the plan in force.
#[derive(Debug)]
pub(crate) struct Current {
    /// Rises with each plan, so that a loop that has the newest one takes no lock.
    number: AtomicU64,
    live: Mutex<Arc<Live>>,
    /// Wakes the loops, so that one without requests does not keep a plan alive that is no longer in force.
    swapped: watch::Sender<()>,
}

impl Current {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            number: AtomicU64::new(0),
            live: Mutex::new(Arc::new(Live::new(plan, None))),
            swapped: watch::Sender::new(()),
        }
    }

    pub(crate) fn swap(&self, plan: Plan) {
        let mut live = self.live.lock();
        *live = Arc::new(Live::new(plan, Some(&live)));
        self.number.fetch_add(1, Ordering::Release);
        self.swapped.send_replace(());
    }

    /// Changes with each plan.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.swapped.subscribe()
    }

    pub(crate) fn get(&self) -> Arc<Live> {
        Arc::clone(&self.live.lock())
    }
}

/// A loop's own handle to the plan in force.
#[derive(Debug)]
pub(crate) struct Follower {
    number: u64,
    live: Arc<Live>,
}

impl Follower {
    pub(crate) fn new(current: &Current) -> Self {
        let number = current.number.load(Ordering::Acquire);
        Self { number, live: current.get() }
    }

    /// The plan in force.
    pub(crate) fn live(&mut self, current: &Current) -> &Arc<Live> {
        let number = current.number.load(Ordering::Acquire);
        if number != self.number {
            *self = Self { number, live: current.get() };
        }
        &self.live
    }
}
