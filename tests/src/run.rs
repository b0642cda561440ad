//! `refrain run` as a user calls it, and the programs of `tests/guests/preview1`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::native::ScratchFolder;
use crate::server::program;

/// Programs that were built for one test.
#[derive(Debug)]
pub struct Programs {
    folder: ScratchFolder,
}

impl Programs {
    /// Builds all of them, or those that are named.
    fn build(names: &[&str]) -> Result<Self> {
        let folder = ScratchFolder::new("preview1")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/preview1/build");
        let output = Command::new(&script).arg(folder.path()).args(names).output();
        let output = output.context("cannot build the programs")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the programs were not built:\n{told}");
        print!("{told}");
        Ok(Self { folder })
    }

    /// Those that check functions of preview 1, as far as they can be built here: at least the C ones where all tools are
    /// to be there.
    pub fn checks() -> Result<(Self, Vec<PathBuf>)> {
        let programs = Self::build(&[])?;
        let entries = std::fs::read_dir(programs.folder.path())?;
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let is_module = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
        let mut checks: Vec<PathBuf> = paths.into_iter().filter(is_module).collect();
        checks.sort();
        let has_all = checks.iter().any(|path| path.ends_with("paths.wasm"));
        ensure!(has_all || std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "there is no C compiler for Wasm");
        Ok((programs, checks))
    }

    /// The one that does what its arguments say; none, with a line that says so, where it cannot be built.
    pub fn tool() -> Result<Option<(Self, PathBuf)>> {
        let programs = Self::build(&["run/tool"])?;
        let tool = programs.folder.path().join("run/tool.wasm");
        if !tool.exists() {
            ensure!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "there is no C compiler for Wasm");
            println!("skipped: there is no C compiler for Wasm");
            return Ok(None);
        }
        Ok(Some((programs, tool)))
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
