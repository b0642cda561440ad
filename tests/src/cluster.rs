//! A cluster of `refrain node` processes, as an operator starts them: files of their own, free ports, folders that
//! outlive them. They run on this machine's loopback interface, or on hosts of the test's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value as Seat;
use toml::{Table, Value};

use crate::doors::Doors;
use crate::hosts::{Hosts, on_host};
use crate::native::{Example, ScratchFolder};
use crate::ports;
use crate::rctl::Rctl;
use crate::server::{Server, Starting, program};
use crate::services::Services;
use crate::wait;

/// The nodes; those that run are killed on drop.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    services: Services,
    settings: Table,
    /// Keys of the cluster file besides the nodes.
    of_cluster: Table,
    environment: Vec<(String, String)>,
    doors: Doors,
    scratch: Arc<ScratchFolder>,
    /// Node 1 is on host 1, and so on. Gone after the nodes.
    hosts: Option<Hosts>,
}

#[derive(Debug)]
struct Node {
    id: u64,
    /// Where the others reach it.
    address: SocketAddr,
    folder: PathBuf,
    data_dir: PathBuf,
    /// What only this node is told.
    settings: Table,
    environment: Vec<(String, String)>,
    /// What the cluster file says that it does; everything when that is empty.
    roles: Vec<String>,
    /// It is `refrain up`, which the others join, and no `refrain node`.
    embedded: bool,
    server: Option<Server>,
}

impl Node {
    fn cluster_path(&self) -> PathBuf {
        self.folder.join("cluster.toml")
    }
}

impl Cluster {
    /// Nodes 1 to `count` on the loopback interface, with every role; none runs yet.
    pub fn new(purpose: &str, count: u64) -> Result<Self> {
        let scratch = Arc::new(ScratchFolder::new(purpose)?);
        let services = Services::new(&scratch.path().join("services"));
        let (nodes, settings, doors) = (Vec::new(), Table::new(), Doors::default());
        let environment = Vec::new();
        let of_cluster = Table::new();
        let mut cluster = Self { nodes, services, settings, of_cluster, environment, doors, scratch, hosts: None };
        cluster.set("admin-listen", "127.0.0.1:0").set("drain-timeout", "2s");
        for id in 1..=count {
            let address = ports::free()?;
            let folder = cluster.scratch.path().join(format!("node-{id}"));
            // Only its owner may look into it, or the server refuses to put its token there.
            private_folder(&folder)?;
            let (data_dir, settings) = (folder.join("data"), Table::new());
            let (environment, roles, embedded, server) = (Vec::new(), Vec::new(), false, None);
            let node = Node { id, address, folder, data_dir, settings, environment, roles, embedded, server };
            cluster.nodes.push(node);
        }
        Ok(cluster)
    }

    /// The same with each node on a host of its own.
    pub fn on_hosts(purpose: &str, count: u8, hosts: Hosts) -> Result<Self> {
        let mut cluster = Self::new(purpose, u64::from(count))?;
        // The nodes talk unencrypted, and nobody else is on this network.
        cluster.set("insecure", true);
        for (id, node) in (1..).zip(&mut cluster.nodes) {
            node.address = SocketAddr::new(hosts.address(id), node.address.port());
        }
        cluster.hosts = Some(hosts);
        Ok(cluster)
    }

    /// The hosts that the nodes are on.
    pub fn hosts(&self) -> &Hosts {
        self.hosts.as_ref().expect("the cluster was made with hosts")
    }

    /// The namespace of a node's host.
    fn host_of(&self, id: u64) -> Option<PathBuf> {
        Some(self.hosts.as_ref()?.path(u8::try_from(id).expect("numbers of hosts are small")))
    }

    /// Gives a node these roles alone.
    pub fn roles(&mut self, id: u64, roles: &[&str]) -> &mut Self {
        self.node_mut(id).roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self
    }

    /// Sets a variable in the environment of one node.
    pub fn variable_on(&mut self, id: u64, name: &str, value: &str) -> &mut Self {
        self.node_mut(id).environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives a node no services: it runs what the log has.
    pub fn without_services(&mut self, id: u64) -> &mut Self {
        self.set_on(id, "services", Value::Array(Vec::new()))
    }

    /// Puts the data folder of one node somewhere else.
    pub fn data_in(&mut self, id: u64, folder: &Path) -> &mut Self {
        self.node_mut(id).data_dir = folder.to_owned();
        self
    }

    /// A folder for whatever else a test needs; removed with the cluster.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Adds a copy of an example, with changes to its manifest, as a service of every node that starts from now on.
    pub fn example(&mut self, example: Example, change: impl FnOnce(&mut Table)) -> Result<&mut Self> {
        self.services.example(example, change)?;
        Ok(self)
    }

    /// Adds a service of a test's own, likewise.
    pub fn service(&mut self, manifest: &str, module: &[u8]) -> Result<&mut Self> {
        self.services.add(manifest, module)?;
        Ok(self)
    }

    /// Sets a key in the files of all nodes that start from now on.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.settings.insert(key.to_owned(), value.into());
        self
    }

    /// Has so many shards, and these services on these of them, on nodes that start from now on.
    pub fn shards(&mut self, count: u16, place: &[(&str, u16)]) -> &mut Self {
        let entry = |(service, shard): &(&str, u16)| {
            let entry = [("service", Value::from(*service)), ("shard", i64::from(*shard).into())];
            Value::from(Table::from_iter(entry.map(|(key, value)| (key.to_owned(), value))))
        };
        self.of_cluster.insert("shards".to_owned(), i64::from(count).into());
        self.of_cluster.insert("place".to_owned(), place.iter().map(entry).collect::<Vec<_>>().into());
        self
    }

    /// Sets a variable of the environment of all nodes that start from now on.
    pub fn variable(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a key in the file of one node.
    pub fn set_on(&mut self, id: u64, key: &str, value: impl Into<Value>) -> &mut Self {
        self.node_mut(id).settings.insert(key.to_owned(), value.into());
        self
    }

    /// Has a node started as `refrain up`, alone, so that others can join it.
    pub fn embedded(&mut self, id: u64) -> &mut Self {
        self.node_mut(id).embedded = true;
        self
    }

    /// Starts all nodes that do not run, and waits until they are ready.
    pub fn start(&mut self) -> Result<()> {
        let waiting: Vec<u64> = self.nodes.iter().filter(|node| node.server.is_none()).map(|node| node.id).collect();
        self.start_nodes(&waiting)
    }

    /// Starts these nodes at once, and waits until they are ready.
    pub fn start_nodes(&mut self, waiting: &[u64]) -> Result<()> {
        // All of them before the first is ready: a member alone has no leader.
        let starting: Vec<Starting> = waiting.iter().map(|id| self.spawn(*id)).collect::<Result<_>>()?;
        for (id, starting) in waiting.iter().zip(starting) {
            self.now_runs(*id, starting)?;
        }
        Ok(())
    }

    /// Starts one node and waits until it is ready.
    pub fn start_node(&mut self, id: u64) -> Result<()> {
        ensure!(self.node(id).server.is_none(), "node {id} runs already");
        let starting = self.spawn(id)?;
        self.now_runs(id, starting)
    }

    /// Starts one node that was told to join, has a running one add it to the log, and waits until it is ready.
    pub fn join(&mut self, id: u64, through: u64) -> Result<()> {
        let starting = self.spawn(id)?;
        let address = self.peer_address(id).to_string();
        let id_text = id.to_string();
        let mut add = vec!["sequencer", "add", &id_text, &address];
        let several = self.of_cluster.get("shards").and_then(Value::as_integer).is_some_and(|count| count > 1);
        if several {
            add.extend(["--shard", "all"]);
        }
        self.server(through).rctl_json(&add)?;
        self.now_runs(id, starting)
    }

    /// Starts a node that must end by itself; returns what it said.
    pub fn refused(&self, id: u64) -> Result<String> {
        self.spawn(id)?.refused().with_context(|| format!("node {id}"))
    }

    /// The data folder of a node.
    pub fn data_dir(&self, id: u64) -> &Path {
        &self.node(id).data_dir
    }

    /// Removes the data folder of a node that does not run.
    pub fn lose_disk(&self, id: u64) -> Result<()> {
        ensure!(self.node(id).server.is_none(), "node {id} runs");
        let folder = &self.node(id).data_dir;
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
    }

    fn now_runs(&mut self, id: u64, starting: Starting) -> Result<()> {
        let server = starting.ready().with_context(|| format!("node {id}"))?;
        self.doors.open(id, server.served().clone());
        self.node_mut(id).server = Some(server);
        Ok(())
    }

    /// Ends a node as a crash would.
    pub fn kill(&mut self, id: u64) -> Result<()> {
        self.take(id)?.kill()
    }

    /// Ends all running nodes as a power cut would, one right after the other.
    pub fn kill_all(&mut self) -> Result<()> {
        self.running().into_iter().try_for_each(|id| self.kill(id))
    }

    /// Asks a node to end and waits until it has; it must drain cleanly.
    pub fn terminate(&mut self, id: u64) -> Result<()> {
        self.take(id)?.terminate().with_context(|| format!("node {id}"))
    }

    /// Waits until a node that runs has ended by itself with an error; returns what it said.
    pub fn failed(&mut self, id: u64) -> Result<String> {
        self.take(id)?.failed().with_context(|| format!("node {id}"))
    }

    /// A node that runs.
    pub fn server(&self, id: u64) -> &Server {
        self.node(id).server.as_ref().unwrap_or_else(|| panic!("node {id} does not run"))
    }

    /// Where services can be reached, through the nodes that run.
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// The numbers of all nodes.
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// The numbers of the nodes that run.
    pub fn running(&self) -> Vec<u64> {
        self.nodes.iter().filter(|node| node.server.is_some()).map(|node| node.id).collect()
    }

    /// Where a node listens for others.
    pub fn peer_address(&self, id: u64) -> SocketAddr {
        self.node(id).address
    }

    /// The node whose member leads, when it says so itself and the given nodes agree.
    pub fn leader_among(&self, ids: &[u64]) -> Result<u64> {
        wait::until(&format!("nodes {ids:?} have a leader"), || {
            let leaders: Vec<Option<u64>> = ids.iter().map(|id| self.leader_as_seen_by(*id)).collect();
            let first = leaders.first().copied().flatten();
            Ok(first.filter(|leader| ids.contains(leader) && leaders.iter().all(|other| *other == first)))
        })
    }

    /// The node whose member leads, when all running nodes agree.
    pub fn leader(&self) -> Result<u64> {
        self.leader_among(&self.running())
    }

    /// The node whose member leads the log of one of several shards, when all running nodes agree.
    pub fn leader_of(&self, shard: usize) -> Result<u64> {
        let running = self.running();
        wait::until(&format!("nodes {running:?} have a leader of shard {shard}"), || {
            let seen_by =
                |id: &u64| self.server(*id).rctl_json(&["status"]).ok()?["shards"][shard]["log"]["leader"].as_u64();
            let leaders: Vec<Option<u64>> = running.iter().map(seen_by).collect();
            let first = leaders.first().copied().flatten();
            Ok(first.filter(|leader| running.contains(leader) && leaders.iter().all(|other| *other == first)))
        })
    }

    /// None also while the node does not answer.
    fn leader_as_seen_by(&self, id: u64) -> Option<u64> {
        self.server(id).rctl_json(&["status"]).ok()?["log"]["leader"].as_u64()
    }

    /// Waits until the running nodes have every seat of a service, active at one position with one digest. Each node is
    /// asked for its own seats alone: only there is their digest known.
    pub fn until_equal(&self, service: &str) -> Result<()> {
        let mut seen = Vec::new();
        let equal = wait::until(&format!("{service} is equal in all seats"), || {
            seen.clear();
            let mut count = 0;
            for id in self.running() {
                let seats = self.server(id).service(service)?["seats"].as_array().cloned().unwrap_or_default();
                count = count.max(seats.len());
                seen.extend(seats.into_iter().filter(|seat| seat["node"] == id));
            }
            let alike = |seat: &Seat| ["digest", "position"].iter().all(|key| seat[*key] == seen[0][*key]);
            let equal = seen.iter().all(|seat| seat["state"] == "active" && alike(seat));
            Ok((equal && count > 0 && seen.len() == count).then_some(()))
        });
        equal.with_context(|| format!("{seen:#?}"))
    }

    fn take(&mut self, id: u64) -> Result<Server> {
        self.doors.close(id);
        self.node_mut(id).server.take().with_context(|| format!("node {id} does not run"))
    }

    fn node(&self, id: u64) -> &Node {
        self.nodes.iter().find(|node| node.id == id).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    fn node_mut(&mut self, id: u64) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// Writes the files of a node and starts it.
    fn spawn(&self, id: u64) -> Result<Starting> {
        let node = self.node(id);
        // A cluster file of its own: nobody reads it while it is written.
        let files = [(self.cluster_file(), node.cluster_path()), (self.node_file(node), node.folder.join("node.toml"))];
        for (table, path) in files {
            std::fs::write(&path, table.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let host = self.host_of(id);
        let mut command = on_host(host.as_deref(), &program("refrain")?);
        command.envs(node.environment.iter().map(|(name, value)| (name, value)));
        match node.embedded {
            true => command.arg("up").args(self.services.folders()),
            false => command.arg("node"),
        };
        command.arg("--config").arg(node.folder.join("node.toml")).env("XDG_RUNTIME_DIR", &node.folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Starting::spawn(&mut command, Rctl::new(&node.data_dir).on(host), &self.scratch)
    }

    fn cluster_file(&self) -> Table {
        let entry = |node: &Node| {
            let mut entry = Table::new();
            entry.insert("id".to_owned(), integer(node.id));
            entry.insert("address".to_owned(), node.address.to_string().into());
            if !node.roles.is_empty() {
                entry.insert("roles".to_owned(), node.roles.clone().into());
            }
            entry
        };
        let nodes: Vec<Table> = self.nodes.iter().map(entry).collect();
        let mut file = self.of_cluster.clone();
        file.insert("node".to_owned(), nodes.into());
        file
    }

    fn node_file(&self, node: &Node) -> Table {
        let text = |path: &Path| Value::from(path.display().to_string());
        let mut file = Table::from_iter([("data-dir".to_owned(), text(&node.data_dir))]);
        if node.embedded {
            file.insert("peer-listen".to_owned(), node.address.to_string().into());
            file.extend(self.of_cluster.clone());
        } else {
            let services: Vec<Value> = self.services.folders().iter().map(|folder| text(folder)).collect();
            file.insert("node".to_owned(), integer(node.id));
            file.insert("cluster".to_owned(), text(&node.cluster_path()));
            file.insert("services".to_owned(), services.into());
        }
        if self.hosts.is_some() {
            let here = SocketAddr::new(node.address.ip(), 0).to_string();
            let listen = |(service, port): &(String, String)| {
                let entry = [("service", service), ("port", port), ("address", &here)];
                Value::from(Table::from_iter(entry.map(|(key, value)| (key.to_owned(), value.as_str().into()))))
            };
            file.insert("listen".to_owned(), self.services.ports().iter().map(listen).collect::<Vec<_>>().into());
        }
        file.extend(self.settings.clone());
        file.extend(node.settings.clone());
        file
    }
}

fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).expect("numbers of nodes are small"))
}

/// A folder that only its owner may look into.
fn private_folder(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    made.with_context(|| format!("cannot create {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedded_node_is_told_where_others_reach_it_and_of_no_cluster() {
        let mut cluster = Cluster::new("embedded", 1).unwrap();
        cluster.embedded(1);
        let file = cluster.node_file(cluster.node(1));
        assert_eq!(file["peer-listen"].as_str(), Some(cluster.peer_address(1).to_string().as_str()));
        assert!(file.get("node").is_none() && file.get("cluster").is_none() && file.get("services").is_none());
    }

    #[test]
    fn the_files_name_all_nodes_and_what_each_is_told() {
        let mut cluster = Cluster::new("files", 2).unwrap();
        cluster.example(Example::Echo, |_| {}).unwrap();
        cluster.set("election-timeout", "150ms").set_on(2, "join", true);
        let file = cluster.cluster_file();
        let nodes = file["node"].as_array().unwrap();
        assert_eq!((nodes.len(), nodes[1]["id"].as_integer()), (2, Some(2)));
        let file = cluster.node_file(cluster.node(2));
        assert_eq!((file["node"].as_integer(), file["join"].as_bool()), (Some(2), Some(true)));
        assert_eq!(file["election-timeout"].as_str(), Some("150ms"));
    }
}
