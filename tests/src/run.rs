//! `refrain run` as a user calls it, and the programs of `tests/guests`, built once in a process.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail, ensure};

use crate::native::ScratchFolder;
use crate::server::program;

/// What was built, and the script's words about what could not be.
#[derive(Debug)]
pub struct Programs {
    folder: ScratchFolder,
    left_out: String,
}

/// How a script begins a line about what it could not build.
const LEFT_OUT: &str = "left out: ";

static BUILT: Mutex<BTreeMap<&str, Arc<Programs>>> = Mutex::new(BTreeMap::new());

impl Programs {
    /// Builds those of `tests/guests/preview1`, at the first call.
    pub fn build() -> Result<Arc<Self>> {
        Self::build_folder("preview1")
    }

    /// Builds those of `tests/guests/preview2`, components, at the first call.
    pub fn build_components() -> Result<Arc<Self>> {
        Self::build_folder("preview2")
    }

    /// Builds that of `tests/guests/interfaces`, a component, at the first call.
    pub fn build_interfaces() -> Result<Arc<Self>> {
        Self::build_folder("interfaces")
    }

    /// Builds those of `tests/guests/sockets`, at the first call.
    pub fn build_sockets() -> Result<Arc<Self>> {
        Self::build_folder("sockets")
    }

    /// Builds a folder's programs. What cannot be built is told and left out; with `REFRAIN_REQUIRE_TOOLS` set that is an
    /// error.
    fn build_folder(name: &'static str) -> Result<Arc<Self>> {
        let mut built = BUILT.lock().map_err(|_| anyhow::anyhow!("an earlier build failed"))?;
        if let Some(built) = built.get(name) {
            return Ok(Arc::clone(built));
        }
        let folder = ScratchFolder::new(name)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(name).join("build");
        let output = Command::new(&script).arg(folder.path()).output().context("cannot build the programs")?;
        let left_out = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "the programs were not built:\n{left_out}");
        let left_any = left_out.lines().any(|line| line.starts_with(LEFT_OUT));
        let may_be = std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none();
        ensure!(may_be || !left_any, "not all programs were built: {left_out}");
        print!("{left_out}");
        let programs = Arc::new(Self { folder, left_out });
        built.insert(name, Arc::clone(&programs));
        Ok(programs)
    }

    /// The module of this name; none, with a line that says so, where it could not be built.
    pub fn module(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.folder.path().join(format!("{name}.wasm"));
        if !path.exists() {
            ensure!(!self.left_out.is_empty(), "{name} was not built, and nothing says why");
            println!("skipped {name}: {}", self.left_out);
            return Ok(None);
        }
        Ok(Some(std::fs::read(path)?))
    }

    /// What a script left besides programs; none where it could not.
    pub fn other(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.path().join(name)).filter(|path| path.exists())
    }

    /// Those that check functions of preview 1.
    pub fn checks(&self) -> Result<Vec<PathBuf>> {
        let entries =
            std::fs::read_dir(self.folder.path())?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let mut checks: Vec<PathBuf> =
            entries.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "wasm")).collect();
        checks.sort();
        ensure!(!checks.is_empty() || !self.left_out.is_empty(), "no program was built");
        Ok(checks)
    }
}

/// `refrain run` with these words.
pub fn refrain_run(words: &[&str]) -> Result<Command> {
    let mut command = Command::new(program("refrain")?);
    command.arg("run").args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Ran {
    /// What it printed, when it ended with 0 and said nothing on standard error.
    pub fn good(self) -> Result<String> {
        ensure!(self.code == Some(0) && self.err.is_empty(), "{self:?}");
        Ok(self.out)
    }
}

/// Runs it to its end.
pub fn ran(words: &[&str]) -> Result<Ran> {
    Ok(refrain_run(words)?.output().context("cannot run refrain")?.into())
}

/// The same with standard input.
pub fn ran_with_input(words: &[&str], input: &[u8]) -> Result<Ran> {
    let mut child = refrain_run(words)?.stdin(Stdio::piped()).spawn().context("cannot run refrain")?;
    let mut stdin = child.stdin.take().context("it has an input")?;
    let input = input.to_vec();
    // What it does not read breaks the pipe.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output()?;
    if writer.join().is_err() {
        bail!("the input could not be written");
    }
    Ok(output.into())
}

/// A run that goes on; it is killed on drop.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// Starts it.
    pub fn start(words: &[&str]) -> Result<Self> {
        Ok(Self(refrain_run(words)?.spawn().context("cannot run refrain")?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program of `tests/guests/preview1` that does what its arguments say.
pub fn tool() -> Result<Option<(ScratchFolder, PathBuf)>> {
    alone("preview1", "run/tool.wasm")
}

/// What the script of a folder of `tests/guests` makes of this name, in a folder that goes with it; none, with a line that says so, where it cannot
/// be built. Built alone, as a runner may give every test its own process.
pub fn alone(from: &str, made: &str) -> Result<Option<(ScratchFolder, PathBuf)>> {
    let folder = ScratchFolder::new("alone")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(from).join("build");
    let name = made.strip_suffix(".wasm").unwrap_or(made);
    let output = Command::new(&script).arg(folder.path()).arg(name).output().context("cannot build the program")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{made} was not built:\n{told}");
    let path = folder.path().join(made);
    if !path.exists() {
        ensure!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{told}");
        println!("skipped: {told}");
        return Ok(None);
    }
    Ok(Some((folder, path)))
}
