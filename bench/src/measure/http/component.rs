//! The components that are measured, as services of a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::setup::Setup;

/// Guests of the tests of the host of components: `/` greets, and `/spin` never ends.
const GUESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/http/tests/guests");

/// A committed component.
#[derive(Debug, Clone, Copy)]
pub enum Component {
    /// A guest of the tests, by the end of its version of `wasi:http`.
    Guest(&'static str),
    /// An example.
    Example(&'static str),
}

impl Component {
    /// Its file.
    pub fn file(self, setup: &Setup) -> PathBuf {
        match self {
            Self::Guest(name) => Path::new(GUESTS).join(name).with_extension("wasm"),
            Self::Example(name) => setup.examples().join(name).join(name).with_extension("wasm"),
        }
    }

    /// Makes a service `name` of it in `all`, which answers below `/NAME/` what the component answers below `/`. `http` is
    /// the section of that name of its manifest.
    pub fn service(self, setup: &Setup, all: &Path, name: &str, http: &str) -> Result<()> {
        let folder = all.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(folder.join("service.toml"), manifest(name, http)).context("cannot write a manifest")?;
        let (from, to) = (self.file(setup), folder.join(name).with_extension("wasm"));
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }
}

/// Where requests of the service go.
pub fn path(name: &str, of_component: &str) -> String {
    format!("/{name}{of_component}")
}

fn manifest(name: &str, http: &str) -> String {
    format!(
        "name = \"{name}\"\nnamespace = \"bench\"\nversion = \"1.0.0\"\nmodule = \"{name}.wasm\"\nkind = \"http\"\n\
         mode = \"stateless\"\n\n[http]\n{http}\n\n[[routes]]\npath = \"/{name}/...\"\nrewrite = \"/\"\n"
    )
}

#[cfg(test)]
mod tests {
    use refrain_service::Manifest;

    use super::*;

    #[test]
    fn the_manifest_is_one_and_its_route_is_where_requests_go() {
        let manifest = Manifest::parse(&manifest("hello", "reuse = 128")).unwrap();
        assert_eq!(manifest.http.reuse, (128, 128));
        assert_eq!(manifest.routes[0].path, "/hello/...");
        assert_eq!(path("hello", "/"), "/hello/");
    }

    #[test]
    fn the_guests_are_there() {
        for name in ["p2", "p3"] {
            assert!(Path::new(GUESTS).join(name).with_extension("wasm").is_file(), "{name}");
        }
    }
}
