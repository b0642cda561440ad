//! A `refrain up` of its own, as a user starts it: real process, free ports, a data folder that can outlive it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lines::{Echoed, Lines};
use crate::native::{Example, ScratchFolder};
use crate::rctl::{Rctl, Running};
use crate::services::Services;
use crate::wait::{self, PATIENCE};

/// How long a server may take to be ready that has to compile megabytes first.
const PATIENCE_WITH_LARGE_MODULES: Duration = Duration::from_secs(600);

/// The service folders and the data folder of a server: what stays when its process is killed.
#[derive(Debug)]
pub struct Site {
    scratch: Arc<ScratchFolder>,
    services: Services,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    data_dir: PathBuf,
}

impl Site {
    /// A site without services.
    pub fn new(purpose: &str) -> Result<Self> {
        let scratch = Arc::new(ScratchFolder::new(purpose)?);
        let (services, data_dir) = (Services::new(scratch.path()), scratch.path().join("data"));
        Ok(Self { scratch, services, arguments: Vec::new(), environment: Vec::new(), data_dir })
    }

    /// A site with copies of examples that listen on free ports.
    pub fn of(purpose: &str, examples: &[Example]) -> Result<Self> {
        let mut site = Self::new(purpose)?;
        for example in examples {
            site.example(*example, |_| {})?;
        }
        Ok(site)
    }

    /// Adds a copy of an example, with changes to its manifest.
    pub fn example(&mut self, example: Example, change: impl FnOnce(&mut toml::Table)) -> Result<&mut Self> {
        self.services.example(example, change)?;
        Ok(self)
    }

    /// Adds a service. Its module is written under the name that the manifest gives; its `listen` ports become free
    /// ones.
    pub fn service(&mut self, manifest: &str, module: &[u8]) -> Result<&mut Self> {
        self.services.add(manifest, module)?;
        Ok(self)
    }

    /// Gives the server these folders and no others from now on.
    pub fn give(&mut self, folders: &[&Path]) -> &mut Self {
        self.services.replace(folders);
        self
    }

    /// Adds an argument of `refrain up`.
    pub fn argument(&mut self, argument: &str) -> &mut Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Takes all added arguments back.
    pub fn without_arguments(&mut self) -> &mut Self {
        self.arguments.clear();
        self
    }

    /// Sets a variable of the server's environment.
    pub fn variable(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts the data folder somewhere else. Nobody removes it then.
    pub fn data_in(&mut self, folder: &Path) -> &mut Self {
        self.data_dir = folder.to_owned();
        self
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }

    /// A folder for whatever else a test needs; removed with the site.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Starts a server and waits until it is ready.
    pub fn start(&self) -> Result<Server> {
        let mut command = Command::new(program("refrain")?);
        command
            .arg("up")
            .args(self.services.folders())
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--admin-listen", "127.0.0.1:0", "--drain-timeout", "2s"])
            .args(&self.arguments)
            .env("XDG_RUNTIME_DIR", self.scratch.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let patience = if self.services.are_large() { PATIENCE_WITH_LARGE_MODULES } else { PATIENCE };
        Starting::spawn(&mut command, Rctl::new(&self.data_dir), &self.scratch)?.ready_within(patience)
    }

    /// Starts a server that must refuse to start; returns what it said.
    pub fn refused(&self) -> Result<String> {
        let mut command = Command::new(program("refrain")?);
        command.arg("up").args(self.services.folders()).arg("--data-dir").arg(self.data_dir()).args(&self.arguments);
        command.args(["--admin-listen", "127.0.0.1:0"]).env("XDG_RUNTIME_DIR", self.scratch.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.stdin(Stdio::null()).output()?;
        ensure!(!output.status.success(), "it started");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A server that was started and may not be ready yet. It is killed on drop.
#[derive(Debug)]
pub struct Starting(Server);

impl Starting {
    /// Starts a command that is to become a server; `rctl` finds it, and `scratch` stays as long as it runs.
    pub fn spawn(command: &mut Command, rctl: Rctl, scratch: &Arc<ScratchFolder>) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let output = Lines::follow(child.stdout.take().context("no standard output")?, Echoed::No);
        let log = Lines::follow(child.stderr.take().context("no standard error")?, Echoed::Yes);
        let _scratch = Arc::clone(scratch);
        Ok(Self(Server { child, served: BTreeMap::new(), output, log, rctl, _scratch }))
    }

    /// Waits until it is ready.
    pub fn ready(self) -> Result<Server> {
        self.ready_within(PATIENCE)
    }

    /// The same with another limit.
    pub fn ready_within(mut self, limit: Duration) -> Result<Server> {
        let ready = self.0.output.until_within(limit, "ready", |line| line == "ready");
        ready.context("the server did not say that it is ready")?;
        self.0.served = self.0.output.so_far().iter().filter_map(|line| served(line)).collect();
        Ok(self.0)
    }

    /// Waits until it has ended by itself, which must be with an error; returns what it said.
    pub fn refused(self) -> Result<String> {
        self.0.failed()
    }
}

/// A running server. It is killed on drop.
#[derive(Debug)]
pub struct Server {
    child: Child,
    served: BTreeMap<String, SocketAddr>,
    output: Lines,
    log: Lines,
    rctl: Rctl,
    /// Its folders stay as long as it runs.
    _scratch: Arc<ScratchFolder>,
}

impl Server {
    /// Where a service listens, by its name without the namespace.
    pub fn address(&self, service: &str) -> SocketAddr {
        *self.served.get(service).unwrap_or_else(|| panic!("{service} is not among {:?}", self.served))
    }

    /// What it has printed on standard output.
    pub fn output(&self) -> Vec<String> {
        self.output.so_far()
    }

    /// Where its admin API listens.
    pub fn admin_address(&self) -> Result<SocketAddr> {
        let lines = self.output();
        let told = lines.iter().find_map(|line| line.strip_prefix("admin API at http://")?.split(',').next());
        Ok(told.context("it did not say where its admin API is")?.parse()?)
    }

    /// What it has printed on standard error.
    pub fn log(&self) -> &Lines {
        &self.log
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that the process holds now.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the process has no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// Ends the process as a crash would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end and waits until it has; it must drain cleanly.
    pub fn terminate(self) -> Result<()> {
        self.ask_to_end()?;
        self.ended_well()
    }

    /// Sends SIGTERM.
    pub fn ask_to_end(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Kills the process without waiting for its end.
    pub fn strike(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// Stops the process: it keeps its sockets and does nothing.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a stopped process go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("the process is gone already")
    }

    /// All services with where they listen, by their names without the namespace.
    pub fn served(&self) -> &BTreeMap<String, SocketAddr> {
        &self.served
    }

    /// Waits until it has ended by itself, which must be with exit code 0.
    pub fn ended_well(mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    /// Waits until it has ended by itself, which must be with an error; returns what it said.
    pub fn failed(mut self) -> Result<String> {
        let ended = wait::until("the end of a server that must fail", || Ok(self.child.try_wait()?))?;
        ensure!(!ended.success(), "it ended with {ended}");
        self.log.until_end()?;
        Ok(self.log.so_far().join("\n"))
    }

    /// Runs `rctl` against it.
    pub fn rctl(&self, arguments: &[&str]) -> Result<Output> {
        self.rctl.run(arguments)
    }

    /// Starts `rctl` with what goes on until it is dropped.
    pub fn start_rctl(&self, arguments: &[&str]) -> Result<Running> {
        self.rctl.start(arguments)
    }

    /// Runs `rctl -o json`, which must succeed.
    pub fn rctl_json(&self, arguments: &[&str]) -> Result<Value> {
        self.rctl.json(arguments)
    }

    /// The status of a service, by its name without namespace and version.
    pub fn service(&self, name: &str) -> Result<Value> {
        self.rctl.service(name)
    }

    /// Waits until the status of a service fulfils a condition; returns it.
    pub fn until(&self, name: &str, what: &str, fulfilled: impl Fn(&Value) -> bool) -> Result<Value> {
        self.rctl.until(name, what, fulfilled)
    }

    /// Waits until all seats of a service are active at one position with one digest; returns it.
    pub fn until_equal(&self, name: &str) -> Result<String> {
        self.rctl.until_equal(name)
    }

    /// The same, at most so long.
    pub fn equal_within(&self, patience: Duration, name: &str) -> Result<String> {
        self.rctl.equal_within(patience, name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `serving NAMESPACE/NAME@VERSION (...) on ADDRESS`: the service's name and the address.
fn served(line: &str) -> Option<(String, SocketAddr)> {
    let rest = line.strip_prefix("serving ")?;
    let (service, _) = rest.split_once(' ')?;
    let name = service.split('/').next_back()?.split('@').next()?;
    Some((name.to_owned(), rest.rsplit(" on ").next()?.parse().ok()?))
}

/// A program of this workspace, built beside this test.
pub fn program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).map(Path::to_owned).context("the test has no target folder")?;
    let path = folder.join(name);
    ensure!(path.is_file(), "{} is missing: build the workspace's programs first", path.display());
    Ok(path)
}
