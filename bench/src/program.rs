//! Programs of other projects, where they are installed.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Where the program `name` is.
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(&env::var_os("PATH")?, name)
}

/// The same for one that has to be there; `package` is Debian's name of what holds it.
pub fn installed(name: &str, package: &str) -> Result<PathBuf> {
    find(name).with_context(|| format!("{name} is not installed. On Debian or Ubuntu: apt-get install -y {package}"))
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_installed_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find_in(folder.path().as_os_str(), "it"), None);
        std::fs::write(folder.path().join("it"), "").unwrap();
        assert_eq!(find_in(folder.path().as_os_str(), "it"), Some(folder.path().join("it")));
    }

    #[test]
    fn a_missing_program_is_told_with_its_package() {
        let error = installed("no-such-program", "some-package").unwrap_err().to_string();
        assert!(error.contains("no-such-program is not installed") && error.contains("some-package"), "{error}");
    }
}
