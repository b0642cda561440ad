//! `rctl service dev`: builds a stateless service and runs it, again and again as its files change. Requests that are
//! under way end with the version that they began with; one that does not build or run changes nothing. Other versions of the
//! service get no more requests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::park_timeout;
use std::time::{Duration, SystemTime};

use refrain_service::HostPath;

use crate::client::Client;
use crate::error::RctlError;
use crate::output::Output;
use crate::{build, deploy, resolve};

/// Between two looks at the files.
const PACE: Duration = Duration::from_millis(300);
/// Folders whose files are made, not written.
const MADE: [&str; 6] = ["target", "out", "dist", "build", "node_modules", "__pycache__"];
/// Most files that are looked at.
const MAX_FILES: usize = 20_000;

/// When each file was changed last, and how long it is.
type Seen = BTreeMap<PathBuf, (SystemTime, u64)>;

/// Goes on until it is interrupted.
pub fn run(client: &Client, dir: &Path, wasm_opt: Option<PathBuf>) -> Result<Output, RctlError> {
    let manifest = build::read_manifest(dir)?;
    if manifest.mode == refrain_service::Mode::Replicated {
        return Err(resolve::of_replicated(&format!("{}/{}", manifest.id.namespace, manifest.id.name), "service dev"));
    }
    let mut seen = None;
    loop {
        let now = look(dir);
        if seen.as_ref() != Some(&now) {
            match once(client, dir, wasm_opt.clone()) {
                Ok(text) => eprintln!("{text}"),
                Err(error) => eprintln!("rctl: {}", error.told()),
            }
            // What is changed during the build is built again.
            seen = Some(now);
        }
        park_timeout(PACE);
    }
}

fn once(client: &Client, dir: &Path, wasm_opt: Option<PathBuf>) -> Result<String, RctlError> {
    let built = build::run(dir, false, wasm_opt)?;
    if built.has_failed() {
        return Ok(built.shown(false));
    }
    Ok(deploy::instead(client, dir)?.shown(false))
}

/// All files but those that are made and hidden ones.
fn look(dir: &Path) -> Seen {
    let manifest = build::read_manifest(dir);
    let made = manifest.map(|manifest| [Some(manifest.module), manifest.build.output]).unwrap_or_default();
    let is_made = |path: &Path| made.iter().flatten().any(|made: &HostPath| path == dir.join(made.as_str()));
    let (mut seen, mut folders) = (Seen::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        // A folder that is gone by now has none.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            // A file that is gone by now is none.
            let Ok(metadata) = entry.metadata() else { continue };
            if name.starts_with('.') || is_made(&path) || seen.len() >= MAX_FILES {
                continue;
            }
            if metadata.is_dir() {
                if !MADE.contains(&name.as_ref()) {
                    folders.push(path);
                }
            } else {
                let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                seen.insert(path, (changed, metadata.len()));
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn sources_are_looked_at_and_what_is_made_of_them_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["src", "target", "out", "node_modules/x"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        let manifest = "name = \"a\"\nversion = \"1.0.0\"\nmodule = \"a.wasm\"\n[build]\noutput = \"out.wasm\"\n";
        fs::write(at("service.toml"), manifest).unwrap();
        for path in ["src/lib.rs", "a.wasm", "out.wasm", "target/x", "out/try.c", "node_modules/x/y", ".hidden"] {
            fs::write(at(path), "1").unwrap();
        }
        let before = look(folder.path());
        assert_eq!(before.keys().cloned().collect::<Vec<_>>(), [at("service.toml"), at("src/lib.rs")]);
        fs::write(at("a.wasm"), "22").unwrap();
        assert_eq!(look(folder.path()), before);
        fs::write(at("src/lib.rs"), "22").unwrap();
        assert_ne!(look(folder.path()), before);
    }
}
