//! Folders of services that listen on free ports: copies of examples, and guests of a test's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::native::Example;

/// Where every port listens in the manifest.
const ANY_PORT: &str = "127.0.0.1:0";

/// The folders, all in one.
#[derive(Debug)]
pub struct Services {
    root: PathBuf,
    folders: Vec<PathBuf>,
    /// `namespace/name` and the port's name.
    ports: Vec<(String, String)>,
}

impl Services {
    /// None yet; they will be in `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), folders: Vec::new(), ports: Vec::new() }
    }

    /// Adds a copy of an example, with changes to its manifest.
    pub fn example(&mut self, example: Example, change: impl FnOnce(&mut toml::Table)) -> Result<()> {
        let manifest = std::fs::read_to_string(example.folder().join("service.toml"))?;
        let mut manifest: toml::Table = manifest.parse().context("the manifest is no TOML")?;
        change(&mut manifest);
        let module = std::fs::read(example.folder().join(format!("{}.wasm", example.name())))?;
        self.add(&manifest.to_string(), &module)
    }

    /// Adds a service. Its module is written under the name that the manifest gives; its `listen` ports become free
    /// ones.
    pub fn add(&mut self, manifest: &str, module: &[u8]) -> Result<()> {
        let mut manifest: toml::Table = manifest.parse().context("the manifest is no TOML")?;
        let name = text(&manifest, "name")?;
        let file = text(&manifest, "module")?;
        let full_name = format!("{}/{name}", text(&manifest, "namespace")?);
        for port in manifest.get_mut("ports").and_then(toml::Value::as_array_mut).into_iter().flatten() {
            let port = port.as_table_mut().context("a port is no table")?;
            self.ports.push((full_name.clone(), text(port, "name")?));
            port.insert("listen".to_owned(), toml::Value::String(ANY_PORT.to_owned()));
        }
        let folder = self.root.join(&name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("service.toml"), manifest.to_string())?;
        std::fs::write(folder.join(file), module)?;
        self.folders.push(folder);
        Ok(())
    }

    /// All ports: `namespace/name`, and the port's name.
    pub fn ports(&self) -> &[(String, String)] {
        &self.ports
    }

    /// The folders, in the order in which they were added.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }
}

fn text(table: &toml::Table, key: &str) -> Result<String> {
    let value = table.get(key).and_then(toml::Value::as_str);
    value.map(str::to_owned).with_context(|| format!("the manifest has no {key}"))
}
