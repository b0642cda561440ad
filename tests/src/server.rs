//! A `refrain up` of its own, as a user starts it: real process, free ports, a data folder that can outlive it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::native::{Example, ScratchFolder};

/// How long a server may take to say that it is ready, or a condition to come about.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service folders and the data folder of a server: what stays when its process is killed.
#[derive(Debug)]
pub struct Site {
    scratch: Arc<ScratchFolder>,
    services: Vec<PathBuf>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    data_dir: PathBuf,
}

impl Site {
    /// A site without services.
    pub fn new(purpose: &str) -> Result<Self> {
        let scratch = Arc::new(ScratchFolder::new(purpose)?);
        let data_dir = scratch.path().join("data");
        Ok(Self { scratch, services: Vec::new(), arguments: Vec::new(), environment: Vec::new(), data_dir })
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
        let manifest = std::fs::read_to_string(example.folder().join("service.toml"))?;
        let mut manifest: toml::Table = manifest.parse().context("the manifest is no TOML")?;
        change(&mut manifest);
        let module = std::fs::read(example.folder().join(format!("{}.wasm", example.name())))?;
        self.service(&manifest.to_string(), &module)
    }

    /// Adds a service. Its module is written under the name that the manifest gives; its `listen` ports become free
    /// ones.
    pub fn service(&mut self, manifest: &str, module: &[u8]) -> Result<&mut Self> {
        let mut manifest: toml::Table = manifest.parse().context("the manifest is no TOML")?;
        let name = manifest["name"].as_str().context("the manifest has no name")?.to_owned();
        let file = manifest["module"].as_str().context("the manifest has no module")?.to_owned();
        for port in manifest.get_mut("ports").and_then(toml::Value::as_array_mut).into_iter().flatten() {
            port["listen"] = toml::Value::String("127.0.0.1:0".to_owned());
        }
        let folder = self.scratch.path().join(&name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("service.toml"), manifest.to_string())?;
        std::fs::write(folder.join(file), module)?;
        self.services.push(folder);
        Ok(self)
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
        let mut child = self.spawn()?;
        let log = Lines::follow(child.stderr.take().context("no standard error")?, Echoed::Yes);
        match Server::wait_ready(&mut child) {
            Ok((served, output)) => Ok(Server {
                child,
                served,
                output,
                log,
                data_dir: self.data_dir(),
                _scratch: Arc::clone(&self.scratch),
            }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    fn spawn(&self) -> Result<Child> {
        let mut command = Command::new(program("refrain")?);
        command
            .arg("up")
            .args(&self.services)
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--admin-listen", "127.0.0.1:0", "--drain-timeout", "2s"])
            .args(&self.arguments)
            .env("XDG_RUNTIME_DIR", self.scratch.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().context("cannot start refrain")
    }

    /// Starts a server that must refuse to start; returns what it said.
    pub fn refused(&self) -> Result<String> {
        let mut command = Command::new(program("refrain")?);
        command.arg("up").args(&self.services).arg("--data-dir").arg(self.data_dir()).args(&self.arguments);
        command.args(["--admin-listen", "127.0.0.1:0"]).env("XDG_RUNTIME_DIR", self.scratch.path());
        let output = command.stdin(Stdio::null()).output()?;
        ensure!(!output.status.success(), "it started");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A running server. It is killed on drop.
#[derive(Debug)]
pub struct Server {
    child: Child,
    served: BTreeMap<String, SocketAddr>,
    output: Lines,
    log: Lines,
    data_dir: PathBuf,
    /// Its folders stay as long as it runs.
    _scratch: Arc<ScratchFolder>,
}

impl Server {
    fn wait_ready(child: &mut Child) -> Result<(BTreeMap<String, SocketAddr>, Lines)> {
        let lines = Lines::follow(child.stdout.take().context("no standard output")?, Echoed::No);
        lines.until("ready", |line| line == "ready").context("the server did not say that it is ready")?;
        Ok((lines.so_far().iter().filter_map(|line| served(line)).collect(), lines))
    }

    /// Where a service listens, by its name without the namespace.
    pub fn address(&self, service: &str) -> SocketAddr {
        *self.served.get(service).unwrap_or_else(|| panic!("{service} is not among {:?}", self.served))
    }

    /// What it has printed on standard output.
    pub fn output(&self) -> Vec<String> {
        self.output.so_far()
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
        let sent = Command::new("kill").arg(self.pid().to_string()).status()?;
        ensure!(sent.success(), "the process is gone already");
        Ok(())
    }

    /// Waits until it has ended by itself, which must be with exit code 0.
    pub fn ended_well(mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    /// Runs `rctl` against it.
    pub fn rctl(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(program("rctl")?);
        Ok(command.args(arguments).arg("--data-dir").arg(&self.data_dir).stdin(Stdio::null()).output()?)
    }

    /// Runs `rctl -o json`, which must succeed.
    pub fn rctl_json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let output = self.rctl(&all)?;
        ensure!(output.status.success(), "rctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The status of a service, by its name without namespace and version.
    pub fn service(&self, name: &str) -> Result<Value> {
        let status = self.rctl_json(&["status"])?;
        let services = status["services"].as_array().context("no services in the status")?;
        let named = |service: &&Value| {
            let full = service["name"].as_str().unwrap_or_default();
            full.split('/').next_back().and_then(|rest| rest.split('@').next()) == Some(name)
        };
        services.iter().find(named).cloned().with_context(|| format!("{name} is not in the status"))
    }

    /// Waits until the status of a service fulfils a condition; returns it.
    pub fn until(&self, name: &str, what: &str, fulfilled: impl Fn(&Value) -> bool) -> Result<Value> {
        let start = Instant::now();
        loop {
            let service = self.service(name)?;
            if fulfilled(&service) {
                return Ok(service);
            }
            if start.elapsed() > PATIENCE {
                bail!("{name} is not {what} after {PATIENCE:?}: {service:#}");
            }
            std::thread::yield_now();
        }
    }

    /// Waits until all seats of a service are active at one position with one digest; returns it.
    pub fn until_equal(&self, name: &str) -> Result<String> {
        let service = self.until(name, "equal in all seats", |service| {
            let seats = service["seats"].as_array().cloned().unwrap_or_default();
            let first = seats.first().cloned().unwrap_or_default();
            let alike = |seat: &Value| {
                seat["state"] == "active" && seat["digest"] == first["digest"] && seat["position"] == first["position"]
            };
            !seats.is_empty() && seats.iter().all(alike)
        })?;
        Ok(service["seats"][0]["digest"].as_str().unwrap_or_default().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether lines are repeated on the test's own standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Echoed {
    Yes,
    No,
}

/// What a process prints, as it comes.
#[derive(Clone, Debug)]
pub struct Lines(Arc<(Mutex<Said>, Condvar)>);

#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    /// Nothing more will come.
    ended: bool,
}

impl Lines {
    fn follow(stream: impl std::io::Read + Send + 'static, echoed: Echoed) -> Self {
        let lines = Self(Arc::default());
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if echoed == Echoed::Yes && !line.contains("TRACE") {
                    eprintln!("{line}");
                }
                kept.said().lines.push(line);
                kept.0.1.notify_all();
            }
            kept.said().ended = true;
            kept.0.1.notify_all();
        });
        lines
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.0.lock().expect("no panic while it is held")
    }

    /// All lines until now.
    pub fn so_far(&self) -> Vec<String> {
        self.said().lines.clone()
    }

    /// How many lines hold a text.
    pub fn count(&self, text: &str) -> usize {
        self.said().lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line and returns it.
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.said();
        let mut seen = 0;
        loop {
            if let Some(line) = said.lines[seen..].iter().find(|line| wanted(line)) {
                return Ok(line.clone());
            }
            seen = said.lines.len();
            ensure!(!said.ended, "the process ended and no line said {what}");
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "no line says {what} after {PATIENCE:?}");
            said = self.0.1.wait_timeout(said, left).expect("no panic while it is held").0;
        }
    }
}

/// `serving NAMESPACE/NAME@VERSION (...) on ADDRESS`.
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
