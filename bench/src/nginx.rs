//! nginx before a server: one process with one worker's loop, connections kept on both sides.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::http_server::HttpServer;
use crate::ports;
use crate::process::Process;

/// Starts `program` on a free port, with what it writes in `run`.
pub fn start(program: &Path, run: &Path, upstream: SocketAddr) -> Result<HttpServer> {
    let folder = run.join("nginx");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let address = ports::free(1)?.remove(0);
    let file = folder.join("nginx.conf");
    fs::write(&file, settings(&folder, address, upstream)).context("cannot write nginx's settings")?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&folder).args(["-e", "stderr", "-c"]).arg(&file);
    HttpServer::wait_for(Process::start("nginx", &mut command, run)?, address, "/")
}

/// What a proxy tells the server behind it is set, as the other proxies do; nothing is logged. A connection is never
/// closed for the number of its requests, which would cost what is not measured elsewhere.
fn settings(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let temporary = |what: &str| format!("{what}_temp_path {};", folder.join(what).display());
    let temporary: Vec<String> = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(temporary).to_vec();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {};
error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    {}
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    upstream it {{
        server {upstream};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://it;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection \"\";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Request-Id $request_id;
        }}
    }}
}}
",
        folder.join("nginx.pid").display(),
        temporary.join("\n    "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_it_writes_is_in_its_folder() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let text = settings(Path::new("/data/nginx"), at(80), at(81));
        assert!(text.contains("listen 127.0.0.1:80;") && text.contains("server 127.0.0.1:81;"), "{text}");
        assert_eq!(text.matches("_temp_path /data/nginx/").count(), 5, "{text}");
        assert!(text.contains("pid /data/nginx/nginx.pid;"), "{text}");
    }
}
