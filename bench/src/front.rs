//! The front end of Refrain alone before a server: the example `front` of `refrain-front`, with one loop thread.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::http_server::HttpServer;
use crate::ports;
use crate::process::Process;

/// Starts `program` on a free port.
pub fn start(program: &Path, run: &Path, upstream: SocketAddr) -> Result<HttpServer> {
    let address = ports::free(1)?.remove(0);
    let mut command = Command::new(program);
    command.arg(address.to_string()).arg(upstream.to_string());
    HttpServer::wait_for(Process::start_with_input("front", &mut command, run)?, address, "/")
}
