//! The README's commands, run in a copy of the tree as a newcomer would, print what the README shows.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use refrain_tests::console::{Terminal, steps};
use refrain_tests::native::ScratchFolder;
use refrain_tests::server::program;
use refrain_tests::tools::{installed, output_of};

/// Programs that the README's commands may need, besides those that every system has.
const PROGRAMS: &[&str] = &["curl", "redis-cli"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Copies what belongs to the repository, without what was built.
fn copy_tree(to: &Path) -> Result<()> {
    let files =
        output_of(Command::new("git").current_dir(root()).args(["ls-files", "-co", "--exclude-standard", "-z"]))?;
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let (from, to) = (root().join(file), to.join(file));
        // A file that was deleted and not committed is still listed.
        if !from.is_file() {
            continue;
        }
        std::fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        std::fs::copy(&from, &to).with_context(|| file.to_owned())?;
    }
    Ok(())
}

#[test]
fn every_command_of_the_readme_prints_what_it_shows() -> Result<()> {
    let steps = steps(&std::fs::read_to_string(root().join("README.md"))?);
    ensure!(!steps.is_empty(), "the README shows no commands");
    for name in PROGRAMS {
        let needed = steps.iter().any(|step| step.command.contains(name));
        if needed && installed(name)?.is_none() {
            return Ok(());
        }
    }
    let folder = ScratchFolder::new("readme")?;
    copy_tree(folder.path())?;
    let refrain = program("refrain")?;
    let mut terminal = Terminal::new(folder.path(), refrain.parent().context("a program is in a folder")?);
    steps.iter().try_for_each(|step| terminal.run(step))
}
