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
    /// Bytes of the largest module.
    largest: usize,
}

/// Modules above this take long to compile.
const LARGE_BYTES: usize = 512 * 1024;

impl Services {
    /// None yet; they will be in `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), folders: Vec::new(), ports: Vec::new(), largest: 0 }
    }

    /// Adds a copy of an example, with changes to its manifest.
    pub fn example(&mut self, example: Example, change: impl FnOnce(&mut toml::Table)) -> Result<()> {
        let manifest = std::fs::read_to_string(example.folder().join("service.toml"))?;
        let mut manifest: toml::Table = manifest.parse().context("the manifest is no TOML")?;
        change(&mut manifest);
        let module = example.module()?;
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
            if port.contains_key("listen") || !port.contains_key("unix") {
                port.insert("listen".to_owned(), toml::Value::String(ANY_PORT.to_owned()));
            }
        }
        let folder = self.root.join(&name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("service.toml"), manifest.to_string())?;
        std::fs::write(folder.join(file), module)?;
        self.largest = self.largest.max(module.len());
        self.folders.push(folder);
        Ok(())
    }

    /// All ports: `namespace/name`, and the port's name.
    pub fn ports(&self) -> &[(String, String)] {
        &self.ports
    }

    /// Whether a module is so large that it takes long to compile.
    pub fn are_large(&self) -> bool {
        self.largest > LARGE_BYTES
    }

    /// Has these folders and no others; nothing is removed.
    pub fn replace(&mut self, folders: &[&Path]) {
        self.folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
        let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
        let modules = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "wasm"));
        let bytes = modules.filter_map(|module| usize::try_from(module.metadata().ok()?.len()).ok());
        self.largest = bytes.fold(self.largest, usize::max);
    }

    /// The folders, in the order in which they were added.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }
}

/// Sends requests below a path of the front end to the image server's port, by a change to its manifest.
pub fn route(manifest: &mut toml::Table, path: &str) {
    let route = [("path", path), ("rewrite", "/"), ("port", "http")];
    let route: toml::Table = route.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    manifest.insert("routes".to_owned(), vec![toml::Value::Table(route)].into());
}

/// A folder below `root` with another version of an example: the manifest says `version` and is changed, and the module
/// has one more section, which does nothing.
pub fn other_version(
    root: &Path,
    example: Example,
    version: &str,
    change: impl FnOnce(&mut toml::Table),
) -> Result<PathBuf> {
    let mut module = example.module()?;
    module.extend(custom_section(version));
    version_of(root, example, version, &module, change)
}

/// The same with a module of the test's own.
pub fn version_of(
    root: &Path,
    example: Example,
    version: &str,
    module: &[u8],
    change: impl FnOnce(&mut toml::Table),
) -> Result<PathBuf> {
    let manifest = std::fs::read_to_string(example.folder().join("service.toml"))?;
    let mut manifest: toml::Table = manifest.parse().context("the manifest is no TOML")?;
    manifest.insert("version".to_owned(), version.into());
    change(&mut manifest);
    let mut services = Services::new(&root.join(version));
    services.add(&manifest.to_string(), module)?;
    Ok(services.folders()[0].clone())
}

/// A custom section without content.
fn custom_section(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("versions are short");
    assert!(length < 0x7f, "both lengths are one byte");
    [&[0, length + 1, length], name.as_bytes()].concat()
}

fn text(table: &toml::Table, key: &str) -> Result<String> {
    let value = table.get(key).and_then(toml::Value::as_str);
    value.map(str::to_owned).with_context(|| format!("the manifest has no {key}"))
}
