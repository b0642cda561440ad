//! `wasmtime serve` of wasmtime's own command line: a component of `wasi:http` without a proxy before it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::http_server::HttpServer;
use crate::ports;
use crate::process::Process;

/// Starts `program` with a component on a free port, with what it writes in `run`. An instance serves so many requests.
pub fn serve(program: &Path, run: &Path, component: &Path, reuse: u32) -> Result<HttpServer> {
    let address = ports::free(1)?.remove(0);
    let mut command = Command::new(program);
    // `cli` is what components of stock toolchains import beside HTTP.
    command.args(["serve", "-S", "cli", "--addr", &address.to_string()]);
    command.args(["--max-instance-reuse-count", &reuse.to_string()]).arg(component);
    let name = format!("wasmtime-{}", address.port());
    HttpServer::wait_for(Process::start(&name, &mut command, run)?, address, "/")
}
