//! Programs of other projects that tests use where they are installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

/// Where a program is; none, with a line that says so, when it is not installed. With `REFRAIN_REQUIRE_TOOLS` set that
/// is an error.
pub fn installed(name: &str) -> Result<Option<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        ensure!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{name} is not installed");
        println!("skipped: {name} is not installed");
    }
    Ok(found)
}

/// Runs a command that must end well; returns what it printed.
pub fn output_of(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.success(), "{command:?} ended with {status}:\n{out}{err}");
    Ok(out.into_owned())
}

/// Runs headless Chromium, which is at `program`, on a page with a profile of its own; returns what it printed.
pub fn chromium(program: &Path, profile: &Path, arguments: &[&str], url: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--disable-dev-shm-usage", "--window-size=800,600"]).args(arguments);
    command.arg(format!("--user-data-dir={}", profile.display())).arg(url);
    output_of(&mut command)
}
