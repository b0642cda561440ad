//! A server of HTTP/1.1 that is told where to listen: waited for until it answers, ended when dropped.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::http;
use crate::pause::pause;
use crate::process::Process;

/// How long one may take to answer, which may include compiling.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at one that does not listen yet.
const STEP: Duration = Duration::from_millis(10);

/// A server that answers.
pub struct HttpServer {
    process: Process,
    address: SocketAddr,
}

impl HttpServer {
    /// Waits until the process answers a `GET` of `path` with 200 on the address that it was told.
    pub fn wait_for(mut process: Process, address: SocketAddr, path: &str) -> Result<Self> {
        let begin = Instant::now();
        loop {
            match http::status(address, path) {
                Ok(200) => return Ok(Self { process, address }),
                Ok(status) => bail!("{address} answers {status}; {}", process.errors()),
                // It does not listen yet.
                Err(_) if begin.elapsed() < START_LIMIT && process.runs() => pause(STEP),
                Err(error) => return Err(error.context(process.errors())),
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::ports;
    use crate::upstream::Upstream;

    fn sleeper(script: &str, folder: &std::path::Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("it", &mut command, folder).unwrap()
    }

    #[test]
    fn a_server_is_ready_when_it_answers() {
        let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start().unwrap());
        let process = sleeper("exec sleep 1000", folder.path());
        let id = process.id();
        // The connection stays open behind the answer, whose end is known by its length.
        let server = HttpServer::wait_for(process, upstream.address(), "/").unwrap();
        assert_eq!((server.address(), server.id()), (upstream.address(), id));
    }

    #[test]
    fn a_server_that_ends_before_it_answers_is_told_with_its_errors() {
        let folder = tempfile::tempdir().unwrap();
        let address = ports::free(1).unwrap().remove(0);
        let process = sleeper("echo address in use >&2; exit 1", folder.path());
        let error = HttpServer::wait_for(process, address, "/").err().unwrap();
        assert!(format!("{error:#}").contains("address in use"), "{error:#}");
    }
}
