//! A Redis that syncs its log for every write: durable and not replicated.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::ports;
use crate::process::Process;

const START_LIMIT: Duration = Duration::from_secs(10);

/// A running Redis; ended when dropped.
pub struct RedisServer {
    _process: Process,
    address: SocketAddr,
}

impl RedisServer {
    /// Starts `program` on a free port, with its data in `run`.
    pub fn start(program: &Path, run: &Path) -> Result<Self> {
        let folder = run.join("redis");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        // redis-server takes port 0 for no port at all.
        let address = ports::free(1)?.remove(0);
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--daemonize", "no", "--dir"]);
        command.arg(&folder).args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        let mut process = Process::start("redis-server", &mut command, run)?;
        process.wait_for(START_LIMIT, |line| line.contains("eady to accept connections").then_some(()))?;
        Ok(Self { _process: process, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
