//! The bundles of this node: those that the operator gave, those in the data folder, those that other nodes have.
//!
//! Modules are compiled on threads for that, never on the loop thread, but at the start, when nothing else runs. A
//! bundle that several ask for at once is obtained once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use refrain_engine::Platform;
use refrain_engine::replica::{Blueprint, Blueprints};
use refrain_service::{Bundle, BundleDigest};
use refrain_wire::message::uplink::Preparation;
use refrain_wire::{Digest, GroupId};
use tokio::sync::Notify;

use super::Inner;
use crate::service::Service;

/// The bundles of this node.
pub(super) struct Catalog {
    platform: Platform,
    store: PathBuf,
    replicas: Option<u8>,
    /// Services that the operator gave and that can run.
    pub(super) given: Vec<Arc<Service>>,
    /// Services whose modules cannot run.
    pub(super) refused: Vec<Arc<Service>>,
    /// What replicas of this node are made of, also in the middle of an upgrade.
    pub(super) blueprints: Arc<Blueprints>,
    /// Groups that wait for their bundle.
    pub(super) waiting: RefCell<BTreeSet<GroupId>>,
    prepared: RefCell<BTreeMap<[u8; 32], Arc<Service>>>,
    /// Bundles that are being fetched or compiled.
    busy: RefCell<BTreeSet<[u8; 32]>>,
    freed: Notify,
}

impl Catalog {
    /// `store` is where bundles are kept; `replicas` replaces what manifests say.
    pub(super) fn new(platform: Platform, store: PathBuf, replicas: Option<u8>, services: Vec<Arc<Service>>) -> Self {
        let (given, refused): (Vec<_>, Vec<_>) = services.into_iter().partition(|service| service.can_run());
        let prepared = given.iter().map(|service| (service.bundle, Arc::clone(service))).collect();
        Self {
            platform,
            store,
            replicas,
            given,
            refused,
            blueprints: Arc::default(),
            waiting: RefCell::default(),
            prepared: RefCell::new(prepared),
            busy: RefCell::default(),
            freed: Notify::new(),
        }
    }

    /// The compatibility key of this build.
    pub(super) fn key(&self) -> Digest {
        self.platform.key()
    }

    pub(super) fn get(&self, bundle: &[u8; 32]) -> Option<Arc<Service>> {
        self.prepared.borrow().get(bundle).cloned()
    }

    /// Opens a bundle of the data folder and compiles its module here and now.
    pub(super) fn prepare_now(&self, bundle: [u8; 32]) -> anyhow::Result<Arc<Service>> {
        let opened = Bundle::open(&self.store, BundleDigest::new(bundle))?;
        let service = Arc::new(Service::prepare(opened, &self.platform, self.replicas));
        self.prepared.borrow_mut().insert(bundle, Arc::clone(&service));
        Ok(service)
    }

    /// The same, on another thread.
    async fn prepare(&self, bundle: [u8; 32]) -> anyhow::Result<Arc<Service>> {
        let (platform, replicas) = (self.platform.clone(), self.replicas);
        let opened = self.open(bundle);
        let opened = opened.await?;
        let prepared = tokio::task::spawn_blocking(move || Arc::new(Service::prepare(opened, &platform, replicas)));
        let service = prepared.await?;
        self.prepared.borrow_mut().insert(bundle, Arc::clone(&service));
        Ok(service)
    }

    /// Opens a bundle of the data folder.
    pub(super) async fn open(&self, bundle: [u8; 32]) -> anyhow::Result<Bundle> {
        let store = self.store.clone();
        let opening = tokio::task::spawn_blocking(move || Bundle::open(&store, BundleDigest::new(bundle)));
        Ok(opening.await??)
    }

    /// What replicas of a group are made of that run a bundle, if it is prepared and can run.
    pub(super) fn blueprint(&self, group: GroupId, bundle: &[u8; 32]) -> Option<Arc<Blueprint>> {
        if let Some(known) = self.blueprints.get(group, bundle) {
            return Some(known);
        }
        let made = self.get(bundle)?.blueprint(group)?;
        self.blueprints.put(Arc::clone(&made));
        Some(made)
    }

    /// Forgets prepared bundles that nobody needs any more; they stay in the data folder.
    pub(super) fn retain(&self, needed: &BTreeMap<GroupId, BTreeSet<[u8; 32]>>) {
        let given: BTreeSet<[u8; 32]> = self.given.iter().map(|service| service.bundle).collect();
        let all: BTreeSet<[u8; 32]> = needed.values().flatten().copied().collect();
        self.prepared.borrow_mut().retain(|bundle, _| all.contains(bundle) || given.contains(bundle));
        for (group, bundles) in needed {
            self.blueprints.retain(*group, |bundle| bundles.contains(bundle));
        }
    }
}

/// A bundle that is being obtained, until this is dropped.
struct Busy<'a>(&'a Catalog, [u8; 32]);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.borrow_mut().remove(&self.1);
        self.0.freed.notify_waiters();
    }
}

impl Inner {
    /// A bundle's service: prepared already, or fetched and compiled now, of which `tell` is told.
    ///
    /// # Errors
    /// When no node that can be reached has the bundle. One whose module cannot run is no error here.
    pub(super) async fn obtain_service(
        &self,
        bundle: [u8; 32],
        tell: impl Fn(Preparation),
    ) -> anyhow::Result<Arc<Service>> {
        let _busy = loop {
            if let Some(service) = self.catalog.get(&bundle) {
                return Ok(service);
            }
            let freed = self.catalog.freed.notified();
            if self.catalog.busy.borrow_mut().insert(bundle) {
                break Busy(&self.catalog, bundle);
            }
            freed.await;
        };
        tell(Preparation::Fetching);
        self.obtain_bundle(bundle).await?;
        tell(Preparation::Compiling);
        self.catalog.prepare(bundle).await
    }
}
