//! Finds the server's binary, and lets cargo bring it up to date when cargo started this program: figures of an old
//! build would be worse than none.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::folder;

/// Name of the server's program.
const REFRAIN: &str = "refrain";

/// The binary that was asked for, else the one beside this program.
pub fn refrain(asked: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = asked {
        return path.canonicalize().with_context(|| format!("cannot find {}", path.display()));
    }
    let profile = folder::profile_folder()?;
    if let Some(cargo) = env::var_os("CARGO") {
        build(Path::new(&cargo), &profile)?;
    }
    let path = profile.join(REFRAIN);
    if !path.is_file() {
        bail!(
            "there is no {}: build it with `cargo build --release --bins`, name it with --refrain PATH, \
             or measure without it with --native-only",
            path.display()
        );
    }
    Ok(path)
}

/// Builds into the folder that this program lies in, with the same profile.
fn build(cargo: &Path, profile: &Path) -> Result<()> {
    let target = profile.parent().context("the target folder has no parent")?;
    let mut command = Command::new(cargo);
    // All programs at once, as the README does: one package alone would have wasmtime compiled with other features.
    command.args(["build", "--workspace", "--bins", "--manifest-path"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).arg("--target-dir").arg(target);
    match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => eprintln!("bench: warning: not built with --release, the figures say little"),
        Some(name) => {
            command.args(["--profile", name]);
        }
    }
    eprintln!("bench: building {REFRAIN}");
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("building {REFRAIN} failed ({status}); --native-only measures without it");
    }
    Ok(())
}
