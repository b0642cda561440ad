//! A cluster of `refrain node` processes on the loopback interface, as an operator starts them: a file and a data
//! folder each, compiled modules shared, so that a node that starts again has nothing to compile.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use refrain_api::{SeatState, ServiceStatus, Status};

use crate::log_lines::LogLines;
use crate::pause::pause;
use crate::process::Process;
use crate::{admin, ports, server, service_copy};

/// How long nodes may take to be ready, which includes compiling the modules.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long a state that is on its way may take.
const STATE_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at a state that is on its way.
const STEP: Duration = Duration::from_millis(20);
/// What the nodes write to their logs.
const LOG_FILTER: &str = "info,refrain::join=debug,refrain::access=warn,openraft=off";

/// Every role.
pub const ALL: &[&str] = &["proxy", "sequencer", "engine"];

/// What a cluster is made of.
pub struct Layout<'a> {
    /// Examples that it serves.
    pub services: &'a [&'a str],
    /// The roles of each node; the first has the number 1.
    pub nodes: &'a [&'a [&'a str]],
    /// Keys of `node.toml` with their values as TOML has them, beyond what every node here is told.
    pub settings: &'a [(&'a str, &'a str)],
}

/// The nodes; those that run are killed when dropped.
pub struct Cluster {
    program: PathBuf,
    nodes: Vec<Node>,
}

struct Node {
    id: u64,
    folder: PathBuf,
    starts: u32,
    running: Option<Running>,
}

struct Running {
    process: Process,
    served: Vec<(String, SocketAddr)>,
}

impl Node {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Cluster {
    /// Writes the files of all nodes below the new folder `folder`; none runs yet. `code` is where compiled modules
    /// are kept.
    pub fn create(program: &Path, examples: &Path, code: &Path, folder: &Path, layout: &Layout<'_>) -> Result<Self> {
        private_folder(folder)?;
        fs::create_dir_all(code).with_context(|| format!("cannot create {}", code.display()))?;
        let addresses = ports::free(layout.nodes.len())?;
        let mut file = String::new();
        for (id, (address, roles)) in (1..).zip(addresses.iter().zip(layout.nodes)) {
            file += &format!("[[node]]\nid = {id}\naddress = \"{address}\"\nroles = {roles:?}\n");
        }
        let cluster_file = folder.join("cluster.toml");
        fs::write(&cluster_file, file).context("cannot write the cluster file")?;
        let mut services = Vec::new();
        for name in layout.services {
            services.push(service_copy::copy(examples, name, &folder.join("services"))?);
        }
        let mut nodes = Vec::new();
        for id in (1..).take(layout.nodes.len()) {
            let node = Node { id, folder: folder.join(format!("node-{id}")), starts: 0, running: None };
            private_folder(&node.folder)?;
            private_folder(&node.data())?;
            symlink(code, node.data().join("code")).context("cannot link to the compiled modules")?;
            let mut file = format!(
                "node = {id}\ncluster = {cluster_file:?}\ndata-dir = {:?}\nservices = {services:?}\n\
                 admin-listen = \"127.0.0.1:0\"\ndrain-timeout = \"1s\"\n",
                node.data()
            );
            for (key, value) in layout.settings {
                file += &format!("{key} = {value}\n");
            }
            fs::write(node.folder.join("node.toml"), file).context("cannot write a node's file")?;
            nodes.push(node);
        }
        Ok(Self { program: program.to_owned(), nodes })
    }

    /// Starts these nodes at once; returns when they are ready.
    pub fn start(&mut self, ids: &[u64]) -> Result<()> {
        // All of them before the first is ready: a member alone has no leader.
        for id in ids {
            self.spawn(*id)?;
        }
        for id in ids {
            let running = self.running_mut(*id)?;
            let Running { process, served } = running;
            process.wait_for(START_LIMIT, |line| {
                served.extend(server::serving(line));
                (line == "ready").then_some(())
            })?;
        }
        Ok(())
    }

    fn spawn(&mut self, id: u64) -> Result<()> {
        let program = self.program.clone();
        let node = self.node_mut(id)?;
        node.starts += 1;
        let mut command = Command::new(program);
        command.arg("node").arg("--config").arg(node.folder.join("node.toml"));
        for name in std::env::vars_os().map(|(name, _)| name).filter(server::changes_the_server) {
            command.env_remove(name);
        }
        command.env("XDG_RUNTIME_DIR", &node.folder).env("RUST_LOG", LOG_FILTER);
        let name = format!("node-{id}-{}", node.starts);
        let process = Process::start(&name, &mut command, &node.folder)?;
        node.running = Some(Running { process, served: Vec::new() });
        Ok(())
    }

    /// Ends a node as a crash would.
    pub fn kill(&mut self, id: u64) -> Result<()> {
        let running = self.node_mut(id)?.running.take();
        running.with_context(|| format!("node {id} does not run"))?.process.kill();
        Ok(())
    }

    /// Removes the checkpoints that a node keeps, which does not run.
    pub fn lose_checkpoints(&mut self, id: u64) -> Result<()> {
        let node = self.node_mut(id)?;
        if node.running.is_some() {
            bail!("node {id} runs");
        }
        let folder = node.data().join("checkpoints");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// Where a node serves the example `name`.
    pub fn address(&self, id: u64, name: &str) -> Result<SocketAddr> {
        let running = self.running(id)?;
        match running.served.iter().find(|(served, _)| served == name) {
            Some((_, address)) => Ok(*address),
            None => bail!("node {id} does not serve {name}: {}", running.process.errors()),
        }
    }

    /// Asks a node for its status.
    pub fn status(&self, id: u64) -> Result<Status> {
        admin::status(&self.node(id)?.data()).with_context(|| format!("node {id}"))
    }

    /// What a node that runs has written to its log since it started.
    pub fn log_of(&self, id: u64) -> Result<LogLines> {
        LogLines::open(self.running(id)?.process.errors_path())
    }

    /// The numbers of the nodes that run.
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.iter().filter(|node| node.running.is_some()).map(|node| node.id).collect()
    }

    /// The node that leads, when it says so itself.
    pub fn leader(&self) -> Result<u64> {
        self.until("a node leads", |cluster| {
            let leads = |id: &u64| cluster.status(*id).is_ok_and(|status| status.log.leader == Some(*id));
            Ok(cluster.ids().into_iter().find(leads))
        })
    }

    /// Waits until every seat of a service has an active replica; its status then.
    pub fn until_active(&self, name: &str) -> Result<ServiceStatus> {
        self.until("every seat is active", |cluster| {
            let Ok(status) = cluster.status(cluster.leader()?) else { return Ok(None) };
            Ok(service(status, name).filter(|service| service.seats.iter().all(|seat| seat.state == SeatState::Active)))
        })
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Result<Option<T>>) -> Result<T> {
        let start = Instant::now();
        while start.elapsed() < STATE_LIMIT {
            if let Some(found) = look(self)? {
                return Ok(found);
            }
            pause(STEP);
        }
        bail!("{what}: not so after {} s", STATE_LIMIT.as_secs())
    }

    fn running(&self, id: u64) -> Result<&Running> {
        self.node(id)?.running.as_ref().with_context(|| format!("node {id} does not run"))
    }

    fn running_mut(&mut self, id: u64) -> Result<&mut Running> {
        self.node_mut(id)?.running.as_mut().with_context(|| format!("node {id} does not run"))
    }

    fn node(&self, id: u64) -> Result<&Node> {
        self.nodes.iter().find(|node| node.id == id).with_context(|| format!("there is no node {id}"))
    }

    fn node_mut(&mut self, id: u64) -> Result<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id).with_context(|| format!("there is no node {id}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // At once: one after the other they would elect leaders meanwhile.
        self.nodes.iter_mut().filter_map(|node| node.running.take()).for_each(|running| running.process.kill());
    }
}

/// What a status says of the example `name`.
fn service(status: Status, name: &str) -> Option<ServiceStatus> {
    let named = |service: &ServiceStatus| {
        let unversioned = service.name.split('@').next().unwrap_or_default();
        unversioned.rsplit('/').next() == Some(name)
    };
    status.services.into_iter().find(named)
}

/// A folder that only its owner may look into, or the server refuses to put its token there.
fn private_folder(folder: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().mode(0o700).create(folder);
    made.with_context(|| format!("cannot create {}", folder.display()))
}
