//! Finds the server's binary, and lets cargo bring it up to date when cargo started this program: figures of an old
//! build would be worse than none.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::folder;

/// What can be built, and how.
struct Program {
    /// For people, and as the option that names another one.
    name: &'static str,
    /// Where it lies, in the folder of the profile.
    path: &'static str,
    /// What cargo is told.
    build: &'static [&'static str],
}

/// The server. All programs at once, as the README does: one package alone would have wasmtime compiled with other
/// features.
const REFRAIN: Program = Program { name: "refrain", path: "refrain", build: &["--workspace", "--bins"] };
/// The front end alone.
const FRONT: Program =
    Program { name: "front", path: "examples/front", build: &["--package", "refrain-front", "--example", "front"] };

/// The server that was asked for, else the one beside this program.
pub fn refrain(asked: Option<&Path>) -> Result<PathBuf> {
    REFRAIN.find(asked)
}

/// The same of the front end alone.
pub fn front(asked: Option<&Path>) -> Result<PathBuf> {
    FRONT.find(asked)
}

impl Program {
    fn find(&self, asked: Option<&Path>) -> Result<PathBuf> {
        if let Some(path) = asked {
            return path.canonicalize().with_context(|| format!("cannot find {}", path.display()));
        }
        let profile = folder::profile_folder()?;
        if let Some(cargo) = env::var_os("CARGO") {
            self.build(Path::new(&cargo), &profile)?;
        }
        let path = profile.join(self.path);
        if !path.is_file() {
            bail!(
                "there is no {}: build it with `cargo build --release {}`, name it with --{} PATH, \
                 or measure without it with --native-only",
                path.display(),
                self.build.join(" "),
                self.name
            );
        }
        Ok(path)
    }

    /// Builds into the folder that this program lies in, with the same profile.
    fn build(&self, cargo: &Path, profile: &Path) -> Result<()> {
        let target = profile.parent().context("the target folder has no parent")?;
        let mut command = Command::new(cargo);
        command.arg("build").args(self.build).arg("--manifest-path");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).arg("--target-dir").arg(target);
        match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => eprintln!("bench: warning: not built with --release, the figures say little"),
            Some(name) => {
                command.args(["--profile", name]);
            }
        }
        let name = self.name;
        eprintln!("bench: building {name}");
        let status = command.status().context("cannot start cargo")?;
        if !status.success() {
            bail!("building {name} failed ({status}); --native-only measures without it");
        }
        Ok(())
    }
}
