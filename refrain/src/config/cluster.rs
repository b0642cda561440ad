//! The cluster file, the same on every node: which nodes there are, where they listen for each other, what they do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use refrain_wire::{ClusterId, NodeId, ProxyId, ShardId};
use serde::{Deserialize, Serialize};

use super::shards::{MAX_SHARDS, PlaceAt, Shards};

/// What a node can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Clients connect to it.
    Proxy,
    /// It is a member of the log.
    Sequencer,
    /// It runs replicas.
    Engine,
}

/// The roles of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// Clients connect to it.
    pub proxy: bool,
    /// It is a member of the log.
    pub sequencer: bool,
    /// It runs replicas.
    pub engine: bool,
}

impl Roles {
    /// Every role.
    pub const ALL: Self = Self { proxy: true, sequencer: true, engine: true };

    pub(super) fn list(self) -> Vec<Role> {
        let all = [(self.proxy, Role::Proxy), (self.sequencer, Role::Sequencer), (self.engine, Role::Engine)];
        all.into_iter().filter(|(has, _)| *has).map(|(_, role)| role).collect()
    }
}

impl Serialize for Roles {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list().serialize(serializer)
    }
}

impl From<Vec<Role>> for Roles {
    fn from(roles: Vec<Role>) -> Self {
        let has = |role| roles.contains(&role);
        Self { proxy: has(Role::Proxy), sequencer: has(Role::Sequencer), engine: has(Role::Engine) }
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Role>::deserialize(deserializer).map(Self::from)
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its number, 1 to 65,535; never used again for another one.
    pub id: u64,
    /// Where the others reach it.
    pub address: SocketAddr,
    /// What it does.
    #[serde(default = "every_role")]
    pub roles: Roles,
}

fn every_role() -> Roles {
    Roles::ALL
}

/// The file, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default = "default_name")]
    name: String,
    shards: Option<u16>,
    #[serde(default)]
    place: Vec<PlaceAt>,
    #[serde(default, rename = "node")]
    nodes: Vec<Node>,
}

fn default_name() -> String {
    DEFAULT_NAME.to_owned()
}

/// The name of a cluster that was given none; `refrain up` has it too, so that it can grow.
const DEFAULT_NAME: &str = "default";
/// The most nodes of a cluster.
const MAX_NODES: usize = 256;
const MAX_NAME_BYTES: usize = 64;

/// The cluster as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name: nodes of another cluster are turned away.
    pub name: String,
    /// This node.
    pub node: NodeId,
    /// What this node does.
    pub roles: Roles,
    /// Where this node listens for others; none when it is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// The cluster runs already, and this node was added to it.
    pub join: bool,
    /// Its shards: every node runs all of them.
    #[serde(flatten)]
    pub shards: Shards,
    /// The one of them that this configuration is for.
    #[serde(skip)]
    pub shard: ShardId,
    /// Where the file is; none of `refrain up`, which has none.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// All nodes that the file names.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// One node with every role.
    #[must_use]
    pub fn alone(listen: Option<SocketAddr>) -> Self {
        let nodes = listen.map(|address| Node { id: 1, address, roles: Roles::ALL });
        Self {
            name: default_name(),
            node: NodeId(1),
            roles: Roles::ALL,
            listen,
            join: false,
            shards: Shards::default(),
            shard: ShardId::FIRST,
            file: None,
            nodes: nodes.into_iter().collect(),
        }
    }

    pub(super) fn of(file: File, node: NodeId, roles: Option<Vec<Role>>, join: bool, faults: &mut Vec<String>) -> Self {
        let found = file.nodes.iter().find(|known| known.id == node.0).cloned();
        if found.is_none() {
            let known: Vec<String> = file.nodes.iter().map(|known| known.id.to_string()).collect();
            faults.push(format!("node: {node} is not in the cluster file, which has {}", known.join(", ")));
        }
        if roles.as_ref().is_some_and(Vec::is_empty) {
            faults.push("roles: a node needs at least one".to_owned());
        }
        let theirs = found.as_ref().map_or(Roles::ALL, |node| node.roles);
        Self {
            name: file.name,
            node,
            roles: roles.map_or(theirs, Roles::from),
            listen: found.map(|node| node.address),
            join,
            shards: Shards::merge((file.shards, file.place), (None, &[]), faults),
            shard: ShardId::FIRST,
            file: None,
            nodes: file.nodes,
        }
    }

    /// What streams and traces of this shard name: nodes of other clusters, and other shards, have nothing to say to
    /// it.
    #[must_use]
    pub fn id(&self) -> ClusterId {
        self.id_of(self.shard)
    }

    /// What those of another shard name. The first shard of a cluster has no number in its id: a cluster with one shard
    /// is the same to nodes that know of no others.
    #[must_use]
    pub fn id_of(&self, shard: ShardId) -> ClusterId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"refrain cluster ").update(self.name.as_bytes());
        if shard != ShardId::FIRST {
            hasher.update(b"\0shard ").update(&shard.0.to_le_bytes());
        }
        let hash = hasher.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        ClusterId(id)
    }

    /// Whose id that is, if it is one of this cluster's, whether or not this node runs that shard.
    #[must_use]
    pub fn shard_of(&self, id: ClusterId) -> Option<ShardId> {
        (0..MAX_SHARDS).map(ShardId).find(|shard| self.id_of(*shard) == id)
    }

    /// This node's proxy, as the log knows it.
    #[must_use]
    pub fn proxy(&self) -> ProxyId {
        ProxyId(u16::try_from(self.node.0).expect("the number of a node was checked"))
    }

    /// The nodes that are members of the log from its beginning.
    pub fn members(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.roles.sequencer)
    }

    pub(super) fn check(&self, insecure: bool, faults: &mut Vec<String>) {
        if self.name.is_empty() || self.name.len() > MAX_NAME_BYTES {
            faults.push(format!(
                "cluster name: {:?} has {} bytes, 1 to {MAX_NAME_BYTES} are allowed",
                self.name,
                self.name.len()
            ));
        }
        if self.nodes.len() > MAX_NODES {
            faults.push(format!("cluster: {} nodes are more than {MAX_NODES}", self.nodes.len()));
        }
        let (mut ids, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for node in &self.nodes {
            if !(1..=u64::from(u16::MAX)).contains(&node.id) {
                faults.push(format!("cluster: node {} is not in 1 to {}", node.id, u16::MAX));
            }
            if !ids.insert(node.id) {
                faults.push(format!("cluster: node {} is there twice", node.id));
            }
            if !addresses.insert(node.address) {
                faults.push(format!("cluster: two nodes have the address {}", node.address));
            }
        }
        self.shards.check(faults);
        let members = self.members().count();
        if !self.nodes.is_empty() && !self.join && !matches!(members, 1 | 3 | 5) {
            faults.push(format!("cluster: {members} nodes have the role sequencer; a log has 1, 3 or 5 members"));
        }
        if let Some(address) = self.listen.filter(|address| !address.ip().is_loopback() && !insecure) {
            faults.push(format!(
                "{address} is not a loopback address; nodes talk unencrypted, say --insecure to allow it"
            ));
        }
    }
}
