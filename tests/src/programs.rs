//! Programs of `tests/guests` as guests: small servers, some of them around SQLite and Lua from their packages' sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::server::Site;

/// What can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// A SQL shell over TCP.
    SqliteShell,
    /// A Lua script server over TCP.
    LuaServer,
    /// A server that calls others.
    Caller,
    /// A server that tells who asks, over TCP and UDP.
    Teller,
}

/// Why one cannot be built: what `tests/guests/build` says then.
const NOT_HERE: [&str; 3] =
    ["no C compiler for wasm32-wasi", "the sources cannot be fetched", "needs wasm-opt for exceptions"];

impl Program {
    /// The folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SqliteShell => "sqlite-shell",
            Self::LuaServer => "lua-server",
            Self::Caller => "caller",
            Self::Teller => "teller",
        }
    }

    /// Its folder.
    pub fn folder(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(self.name())
    }

    /// Its module as compiled, from beside this test if it was built there already. None where the machine cannot build
    /// it; where everything is to be there, that is an error.
    pub fn module(self) -> Result<Option<Vec<u8>>> {
        let out = std::env::current_exe()?.with_file_name("programs");
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/build");
        let output = Command::new(build).arg("--plain").arg("--out").arg(&out).arg(self.name()).output();
        let output = output.context("cannot run tests/guests/build")?;
        if output.status.success() {
            return Ok(Some(std::fs::read(out.join(format!("{}.wasm", self.name())))?));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if !NOT_HERE.iter().any(|words| said.contains(words)) {
            bail!("{} cannot be built: {said}", self.name());
        }
        ensure!(std::env::var_os("REFRAIN_REQUIRE_TOOLS").is_none(), "{said}");
        println!("skipped: {said}");
        Ok(None)
    }

    /// A site with this program as a service of three replicas. None where it cannot be built.
    pub fn site(self, purpose: &str) -> Result<Option<Site>> {
        let Some(module) = self.module()? else { return Ok(None) };
        let mut site = Site::new(purpose)?;
        let manifest = std::fs::read_to_string(self.folder().join("service.toml"))?;
        site.service(&manifest, &module)?;
        if self == Self::LuaServer {
            std::fs::copy(self.folder().join("counter.lua"), site.scratch().join(self.name()).join("counter.lua"))?;
        }
        Ok(Some(site))
    }
}
