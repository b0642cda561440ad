//! Compiled code of one server, kept for others.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::server::Server;

/// Where a server keeps it, in its data folder.
const CODE: &str = "code";

/// Copies what a server has compiled into the folder `into`.
pub fn keep(server: &Server, into: &Path) -> Result<()> {
    copy(&server.data().join(CODE), into)
}

/// Files and folders of `from`.
fn copy(from: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, into.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to).context("cannot copy compiled code")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_copied_with_what_is_in_them() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, into) = (scratch.path().join("from"), scratch.path().join("into"));
        fs::create_dir_all(from.join("components")).unwrap();
        fs::write(from.join("one"), "1").unwrap();
        fs::write(from.join("components/two"), "2").unwrap();
        copy(&from, &into).unwrap();
        assert_eq!(fs::read(into.join("one")).unwrap(), b"1");
        assert_eq!(fs::read(into.join("components/two")).unwrap(), b"2");
    }
}
