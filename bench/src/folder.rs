//! The folder of a run: on a real disk, removed at the end.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Folder of the data under the target folder, when nothing else is said.
const DATA_FOLDER: &str = "bench-data";

/// Makes a folder of its own for this run, and warns when a sync there costs nothing.
pub fn create(data_dir: Option<&Path>) -> Result<TempDir> {
    let parent = match data_dir {
        Some(folder) => folder.to_owned(),
        None => target_folder()?.join(DATA_FOLDER),
    };
    fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let folder = TempDir::with_prefix_in("run-", &parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    let file_system = file_system(folder.path());
    if matches!(file_system.as_str(), "tmpfs" | "ramfs") {
        eprintln!(
            "bench: warning: {} is on {file_system}, where fdatasync does nothing: choose another folder with --data-dir",
            parent.display()
        );
    }
    Ok(folder)
}

/// The folder `release` or `debug` that this program lies in.
pub fn profile_folder() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot find this program's own file")?;
    Ok(program.parent().context("this program's file is in no folder")?.to_owned())
}

/// The name of the file system that holds `path`, or its number.
pub fn file_system(path: &Path) -> String {
    match rustix::fs::statfs(path) {
        Ok(stat) => name_of(u64::try_from(stat.f_type).unwrap_or_default()),
        Err(error) => error.to_string(),
    }
}

/// Numbers from statfs(2).
fn name_of(number: u64) -> String {
    let name = match number {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        0x794c_7630 => "overlayfs",
        0x6969 => "nfs",
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        other => return format!("{other:#x}"),
    };
    name.to_owned()
}

fn target_folder() -> Result<PathBuf> {
    let profile = profile_folder()?;
    Ok(profile.parent().map_or_else(|| profile.clone(), Path::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_file_systems_are_recognised() {
        assert_eq!(name_of(0x0102_1994), "tmpfs");
        assert_eq!(name_of(0x8584_58f6), "ramfs");
        assert_eq!(name_of(0x42), "0x42");
    }
}
