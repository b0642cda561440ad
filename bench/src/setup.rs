//! What the measurements share: where things are, how much to do, and the servers to measure.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::args::Args;
use crate::cluster::{Cluster, Layout};
use crate::process::Process;
use crate::report::Side;
use crate::server::{Durability, Server};
use crate::{build, folder, native, program};

/// What the measurements share.
pub struct Setup {
    /// Do a tenth, for a trial.
    pub quick: bool,
    examples: PathBuf,
    refrain: Option<PathBuf>,
    front: Option<PathBuf>,
    wasmtime: Option<PathBuf>,
    run: TempDir,
    servers: Cell<u32>,
}

/// One server to measure; ended when dropped.
pub struct Target {
    /// Whose it is.
    pub side: Side,
    /// Where it listens.
    pub address: SocketAddr,
    _running: Running,
}

enum Running {
    Native(#[expect(dead_code, reason = "held until the target is dropped")] Process),
    Refrain(#[expect(dead_code, reason = "held until the target is dropped")] Server),
}

impl Setup {
    /// Finds everything and makes the folder of this run; `with_refrain` when the server will be needed, `with_front` when
    /// the front end alone will.
    pub fn new(args: &Args, with_refrain: bool, with_front: bool) -> Result<Self> {
        let examples = args.examples.canonicalize();
        let examples = examples.with_context(|| format!("cannot find the examples in {}", args.examples.display()))?;
        let wasmtime = match &args.wasmtime {
            Some(asked) => Some(asked.canonicalize().with_context(|| format!("cannot find {}", asked.display()))?),
            None => program::find("wasmtime"),
        };
        let wanted = |needed: bool| needed && !args.native_only;
        Ok(Self {
            quick: args.quick,
            examples,
            refrain: wanted(with_refrain).then(|| build::refrain(args.refrain.as_deref())).transpose()?,
            front: wanted(with_front).then(|| build::front(args.front.as_deref())).transpose()?,
            wasmtime,
            run: folder::create(args.data_dir.as_deref())?,
            servers: Cell::new(0),
        })
    }

    /// The folder of this run.
    pub fn folder(&self) -> &Path {
        self.run.path()
    }

    /// Leaves the folder of this run in place, with what the servers wrote.
    pub fn keep(&mut self) -> &Path {
        self.run.disable_cleanup(true);
        self.run.path()
    }

    /// `full`, or much less for a trial.
    pub fn scaled(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(10) } else { full }
    }

    /// The same of a time.
    pub fn scaled_time(&self, full: Duration) -> Duration {
        if self.quick { full / 10 } else { full }
    }

    /// Starts the example natively.
    pub fn native(&self, name: &str) -> Result<Target> {
        let (process, address) = native::start(&self.examples, name, self.folder())?;
        Ok(Target { side: Side::Native, address, _running: Running::Native(process) })
    }

    /// Starts any other program that prints where it listens, as the examples do.
    pub fn native_program(&self, name: &str, command: &mut Command) -> Result<Target> {
        let (process, address) = native::wait_for_address(name, command, self.folder())?;
        Ok(Target { side: Side::Native, address, _running: Running::Native(process) })
    }

    /// Starts Refrain with these examples, unless it is not to be measured.
    pub fn refrain(&self, services: &[&str], durability: Durability) -> Result<Option<Server>> {
        self.refrain_with_code(services, durability, None)
    }

    /// The same with the compiled code of the folder `code`.
    pub fn refrain_with_code(
        &self,
        services: &[&str],
        durability: Durability,
        code: Option<&Path>,
    ) -> Result<Option<Server>> {
        let Some(program) = &self.refrain else { return Ok(None) };
        let folder = self.next_folder("refrain");
        Server::start(program, &self.examples, services, durability, &folder, &[], code).map(Some)
    }

    /// Starts all these services of a folder, in one server.
    ///
    /// # Errors
    /// Also when Refrain is not to be measured.
    pub fn services_of(&self, folder: &Path, names: &[&str], durability: Durability) -> Result<Server> {
        let program = self.refrain.as_deref().context("Refrain is not to be measured")?;
        Server::start(program, folder, names, durability, &self.next_folder("refrain"), &[], None)
    }

    /// Starts this build of the server, or another one, with variables of its environment.
    pub fn variant(&self, side: Side, other: Option<&Path>, name: &str, variables: &[(&str, &str)]) -> Result<Target> {
        let program = other.or(self.refrain.as_deref()).context("Refrain is not to be measured")?;
        let folder = self.next_folder("refrain");
        let server = Server::start(program, &self.examples, &[name], Durability::Fsync, &folder, variables, None)?;
        Ok(Target { side, address: server.address(name)?, _running: Running::Refrain(server) })
    }

    /// Starts a service of this folder.
    pub fn service_of(&self, side: Side, folder: &Path, name: &str, durability: Durability) -> Result<Target> {
        let server = self.services_of(folder, &[name], durability)?;
        Ok(Target { side, address: server.address(name)?, _running: Running::Refrain(server) })
    }

    /// The folder of the examples.
    pub fn examples(&self) -> &Path {
        &self.examples
    }

    /// Writes the files of a cluster, whose nodes are then started one by one.
    ///
    /// # Errors
    /// Also when Refrain is not to be measured.
    pub fn cluster(&self, layout: &Layout<'_>) -> Result<Cluster> {
        let program = self.refrain.as_deref().context("a cluster of Refrain is not measured with --native-only")?;
        Cluster::create(program, &self.examples, &self.folder().join("code"), &self.next_folder("cluster"), layout)
    }

    /// The front end alone, unless Refrain is not to be measured.
    pub fn front(&self) -> Option<&Path> {
        self.front.as_deref()
    }

    /// wasmtime's command line, where it is installed.
    pub fn wasmtime(&self) -> Option<&Path> {
        if self.wasmtime.is_none() {
            eprintln!(
                "bench: wasmtime is not installed (cargo install wasmtime-cli), nor named with --wasmtime: left out"
            );
        }
        self.wasmtime.as_deref()
    }

    /// Whether Refrain is to be measured.
    pub fn has_refrain(&self) -> bool {
        self.refrain.is_some()
    }

    /// A name that no other server of this run has.
    fn next_folder(&self, what: &str) -> PathBuf {
        let number = self.servers.get();
        self.servers.set(number + 1);
        self.folder().join(format!("{what}-{number}"))
    }

    /// Starts the example natively, and under Refrain unless that is not to be measured.
    pub fn both(&self, name: &str, durability: Durability) -> Result<Vec<Target>> {
        let mut targets = vec![self.native(name)?];
        if let Some(server) = self.refrain(&[name], durability)? {
            targets.push(Target {
                side: Side::Refrain,
                address: server.address(name)?,
                _running: Running::Refrain(server),
            });
        }
        Ok(targets)
    }
}
