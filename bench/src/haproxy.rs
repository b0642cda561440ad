//! HAProxy before a server: one process with one thread, connections kept on both sides.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::http_server::HttpServer;
use crate::ports;
use crate::process::Process;

/// Starts `program` on a free port, with its settings in `run`.
pub fn start(program: &Path, run: &Path, upstream: SocketAddr) -> Result<HttpServer> {
    let address = ports::free(1)?.remove(0);
    let file = run.join("haproxy.cfg");
    fs::write(&file, settings(address, upstream)).context("cannot write HAProxy's settings")?;
    let mut command = Command::new(program);
    command.args(["-db", "-f"]).arg(&file);
    HttpServer::wait_for(Process::start("haproxy", &mut command, run)?, address, "/")
}

/// What a proxy tells the server behind it is set, as the other proxies do; nothing is logged.
fn settings(address: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 10s
    timeout client 75s
    timeout server 60s
    timeout http-keep-alive 75s
    http-reuse always
frontend clients
    bind {address}
    unique-id-format %[uuid]
    unique-id-header X-Request-Id
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend it
backend it
    server it {upstream}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_stands_between_two_addresses() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let text = settings(at(80), at(81));
        assert!(text.contains("bind 127.0.0.1:80\n") && text.contains("server it 127.0.0.1:81\n"), "{text}");
        assert!(text.contains("nbthread 1\n"), "{text}");
    }
}
