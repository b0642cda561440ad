//! What replicas are made of, and where a replica that is upgraded finds the next program.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use refrain_kernel::GuestConfig;
use refrain_kernel::fs::BundleFiles;
use refrain_wire::GroupId;

pub use crate::guest::RunLimits;
use crate::module::Compiled;

/// What a service's replicas have in common, as long as it runs one bundle.
#[derive(Clone)]
pub struct Blueprint {
    /// The group.
    pub group: GroupId,
    /// The BLAKE3 digest of the bundle: everything below follows from it.
    pub digest: [u8; 32],
    /// The code.
    pub compiled: Arc<Compiled>,
    /// What the guest is given.
    pub config: GuestConfig,
    /// The read-only files.
    pub bundle: BundleFiles,
    /// What bounds the guest.
    pub limits: RunLimits,
}

/// A group and the digest of a bundle.
type Key = (GroupId, [u8; 32]);

/// The blueprints of an engine by group and bundle. A replica that meets an upgrade looks here; where the bundle is not
/// at hand, this host fails it, and another replica takes the seat when it is.
#[derive(Default)]
pub struct Blueprints(RwLock<BTreeMap<Key, Arc<Blueprint>>>);

impl Blueprints {
    /// Keeps a blueprint.
    pub fn put(&self, blueprint: Arc<Blueprint>) {
        self.0.write().insert((blueprint.group, blueprint.digest), blueprint);
    }

    /// That of a bundle.
    #[must_use]
    pub fn get(&self, group: GroupId, bundle: &[u8; 32]) -> Option<Arc<Blueprint>> {
        self.0.read().get(&(group, *bundle)).cloned()
    }

    /// Forgets those of a group that nobody needs any more.
    pub fn retain(&self, group: GroupId, needed: impl Fn(&[u8; 32]) -> bool) {
        self.0.write().retain(|(id, bundle), _| *id != group || needed(bundle));
    }
}
