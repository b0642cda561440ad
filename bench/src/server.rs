//! `refrain up` with copies of examples, in a data folder of its own.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use refrain_api::Status;

use crate::process::Process;
use crate::{admin, service_copy};

/// How long a server may take to be ready, which includes compiling the modules.
const START_LIMIT: Duration = Duration::from_secs(120);

/// What the server promises about an answered request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk.
    Fsync,
    /// Nothing.
    None,
}

impl Durability {
    /// As the server's option has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::None => "none",
        }
    }
}

/// A running server; ended when dropped.
pub struct Server {
    process: Process,
    data: PathBuf,
    served: Vec<(String, SocketAddr)>,
    started_in: Duration,
}

impl Server {
    /// Starts `program` with copies of these examples; everything is kept in the new folder `folder`. Returns when
    /// every service is served. `variables` are those of its environment; `code` is a folder whose compiled code it may
    /// take.
    pub fn start(
        program: &Path,
        examples: &Path,
        services: &[&str],
        durability: Durability,
        folder: &Path,
        variables: &[(&str, &str)],
        code: Option<&Path>,
    ) -> Result<Self> {
        // A folder of its own, so that `rctl` still finds the server that the user has running.
        let runtime = folder.join("runtime");
        for path in [folder, &runtime] {
            let made = DirBuilder::new().mode(0o700).create(path);
            made.with_context(|| format!("cannot create {}", path.display()))?;
        }
        let data = folder.join("data");
        if let Some(code) = code {
            DirBuilder::new().mode(0o700).create(&data).context("cannot create the data folder")?;
            symlink(code, data.join("code")).context("cannot link to the compiled code")?;
        }
        let mut command = Command::new(program);
        command.arg("up");
        for name in services {
            command.arg(service_copy::copy(examples, name, &folder.join("services"))?);
        }
        command.arg("--data-dir").arg(&data);
        command.args(["--durability", durability.as_str(), "--admin-listen", "127.0.0.1:0", "--drain-timeout", "1s"]);
        for name in std::env::vars_os().map(|(name, _)| name).filter(changes_the_server) {
            command.env_remove(name);
        }
        command.env("XDG_RUNTIME_DIR", &runtime).envs(variables.iter().copied());
        let begin = Instant::now();
        let mut process = Process::start("refrain", &mut command, folder)?;
        let mut served = Vec::new();
        process.wait_for(START_LIMIT, |line| {
            served.extend(serving(line));
            (line == "ready").then_some(())
        })?;
        let server = Self { process, data, served, started_in: begin.elapsed() };
        for name in services {
            server.address(name)?;
        }
        Ok(server)
    }

    /// Where the example `name` is served.
    pub fn address(&self, name: &str) -> Result<SocketAddr> {
        match self.served.iter().find(|(served, _)| served == name) {
            Some((_, address)) => Ok(*address),
            None => bail!("refrain does not serve {name}: {}", self.process.errors()),
        }
    }

    /// How long it took from the start of its process until every service was served.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks the admin API.
    pub fn status(&self) -> Result<Status> {
        admin::status(&self.data)
    }
}

/// Settings of the caller's environment that would change what is measured.
pub fn changes_the_server(name: &OsString) -> bool {
    let prefixes = ["REFRAIN_", "OTEL_"];
    name.to_str().is_some_and(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)) || name == "RUST_LOG")
}

/// The example and its address in `serving NAMESPACE/NAME[@VERSION] (...) on ADDRESS`, or on the URL of its routes.
pub fn serving(line: &str) -> Option<(String, SocketAddr)> {
    let rest = line.strip_prefix("serving ")?;
    let service = rest.split_whitespace().next()?;
    let (_, address) = rest.rsplit_once(" on ")?;
    let unversioned = service.split('@').next()?;
    let name = unversioned.rsplit('/').next()?;
    let address = address.trim();
    let address = address.strip_prefix("http://").and_then(|url| url.split('/').next()).unwrap_or(address);
    Some((name.to_owned(), address.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_addresses_are_found_in_what_the_server_prints() {
        let address = SocketAddr::from(([127, 0, 0, 1], 7007));
        for line in [
            "serving examples/echo on 127.0.0.1:7007",
            "serving examples/echo (echo, 3 replicas) on 127.0.0.1:7007",
            "serving examples/echo@0.1.0 (echo, 3 replicas) on 127.0.0.1:7007",
            "serving examples/echo@0.1.0 (http, stateless) on http://127.0.0.1:7007/echo/...",
        ] {
            assert_eq!(serving(line), Some(("echo".to_owned(), address)), "{line}");
        }
        for line in ["not serving examples/echo: no module", "ready", "serving examples/echo on a socket"] {
            assert_eq!(serving(line), None, "{line}");
        }
    }

    #[test]
    fn settings_of_the_caller_do_not_reach_the_server() {
        assert!(changes_the_server(&"REFRAIN_DURABILITY".into()));
        assert!(changes_the_server(&"RUST_LOG".into()));
        assert!(!changes_the_server(&"PATH".into()));
    }
}
