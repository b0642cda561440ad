//! A copy of a service's folder whose ports are any free ones, so that runs do not collide with each other or with
//! what the machine serves already.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const MANIFEST: &str = "service.toml";
const ANY_PORT: &str = "listen = \"127.0.0.1:0\"";

/// Copies manifest and module of the example `name` into `into`; the new folder.
pub fn copy(examples: &Path, name: &str, into: &Path) -> Result<PathBuf> {
    let (from, to) = (examples.join(name), into.join(name));
    fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
    let manifest = from.join(MANIFEST);
    let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    fs::write(to.join(MANIFEST), with_any_port(&text)).context("cannot write the manifest's copy")?;
    let module = from.join(name).with_extension("wasm");
    fs::copy(&module, to.join(name).with_extension("wasm"))
        .with_context(|| format!("cannot copy {}", module.display()))?;
    Ok(to)
}

/// Changes the lines of a copy's manifest.
pub fn change(folder: &Path, of: impl Fn(&str) -> String) -> Result<()> {
    let manifest = folder.join(MANIFEST);
    let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let changed: String = text.lines().map(of).flat_map(|line| [line, "\n".to_owned()]).collect();
    fs::write(&manifest, changed).with_context(|| format!("cannot write {}", manifest.display()))
}

/// The manifest with every `listen` line changed.
fn with_any_port(manifest: &str) -> String {
    manifest.lines().map(|line| if is_listen(line) { ANY_PORT } else { line }).flat_map(|line| [line, "\n"]).collect()
}

fn is_listen(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| key.trim() == "listen")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listen_addresses_change() {
        let manifest = "name = \"a\"\n[[ports]]\nguest = 7\n  listen = \"127.0.0.1:7007\"\nlistening = 1\n# listen\n";
        let expected = "name = \"a\"\n[[ports]]\nguest = 7\nlisten = \"127.0.0.1:0\"\nlistening = 1\n# listen\n";
        assert_eq!(with_any_port(manifest), expected);
    }
}
