//! The edge of a whole server's HTTP front end: proxies in front, Unix sockets, what is no request, and its log.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use refrain_tests::native::ScratchFolder;
use refrain_tests::server::{Server, Site};
use refrain_tests::tools::{installed, output_of};
use refrain_tests::wait;
use serde_json::Value;

/// A component of `wasi:http` 0.2 that does what the path says; its source is beside it.
const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/http/tests/guests/p2.wasm");

fn manifest(version: &str) -> String {
    format!(
        "name = \"web\"\nnamespace = \"tests\"\nversion = \"{version}\"\nmodule = \"web.wasm\"\n\
         kind = \"http\"\nmode = \"stateless\"\n[[routes]]\npath = \"/...\"\n"
    )
}

/// A site whose front end listens on free ports, tells its access log, and has more arguments.
fn site(purpose: &str, arguments: &[&str]) -> Result<Site> {
    let mut site = Site::new(purpose)?;
    site.service(&manifest("1.0.0"), &std::fs::read(GUEST)?)?;
    site.argument("--access-log").argument("true");
    for argument in arguments {
        site.argument(argument);
    }
    Ok(site)
}

const BOTH: [&str; 4] = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"];

/// Where the front end listens: in clear, and with TLS.
fn addresses(server: &Server) -> Result<(SocketAddr, SocketAddr)> {
    let status = server.rctl_json(&["status"])?;
    let urls = status["http"]["listens"].as_array().context("it listens")?;
    let of = |scheme: &str| -> Result<SocketAddr> {
        let url = urls.iter().filter_map(Value::as_str).find_map(|url| url.strip_prefix(scheme));
        Ok(url.with_context(|| format!("{status:#}"))?.parse()?)
    };
    Ok((of("http://")?, of("https://")?))
}

fn curl(arguments: &[&str]) -> Result<String> {
    output_of(Command::new("curl").args(["-s", "-k", "--max-time", "60", "-w", "%{http_code}"]).args(arguments))
}

/// What a client gets that sends these bytes.
fn told(to: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(bytes)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Waits for a line of the access log with all of this.
fn logged(server: &Server, parts: &[&str]) -> Result<String> {
    server.log().until(&parts.join(" and "), |line| parts.iter().all(|part| line.contains(part)))
}

/// A header of version 2 for a connection from there.
fn version_2(client: [u8; 4]) -> Vec<u8> {
    let ends = [&client[..], &[192, 0, 2, 1], &4711_u16.to_be_bytes(), &80_u16.to_be_bytes()].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &ends].concat()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn a_proxy_in_front_says_by_the_proxy_protocol_who_the_client_is_before_tls_too() -> Result<()> {
    let server = site("http-proxied", &[&BOTH[..], &["--http-proxy-protocol", "127.0.0.1"]].concat())?.start()?;
    let (clear, secure) = addresses(&server)?;
    for url in [format!("http://{clear}/"), format!("https://{secure}/")] {
        for version in ["--http1.1", "--http2"] {
            ensure!(curl(&[version, "--haproxy-protocol", &url])? == "hello, world\n200");
        }
    }
    let first = format!("PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n{GET}");
    ensure!(told(clear, first.as_bytes())?.starts_with("HTTP/1.1 200 "));
    logged(&server, &["client=203.0.113.7", "status=200"])?;
    ensure!(told(clear, &[&version_2([203, 0, 113, 8]), GET.as_bytes()].concat())?.starts_with("HTTP/1.1 200 "));
    logged(&server, &["client=203.0.113.8", "status=200"])?;
    let without = told(clear, GET.as_bytes())?;
    ensure!(without.starts_with("HTTP/1.1 400 ") && without.contains("x-refrain-error: proxy-header"), "{without}");
    logged(&server, &["client=127.0.0.1", "status=400", "begins with no PROXY protocol header"])?;
    // From elsewhere it is no header.
    let garbage = output_of(
        Command::new("curl")
            .args(["-s", "--interface", "127.0.0.2", "--haproxy-protocol", "-w", "%{http_code}"])
            .arg(format!("http://{clear}/")),
    )?;
    ensure!(garbage.ends_with("400"), "{garbage}");
    logged(&server, &["client=127.0.0.2", "status=400", "malformed"])?;
    server.terminate()
}

/// HAProxy in front; killed on drop.
struct InFront(Child);

impl Drop for InFront {
    fn drop(&mut self) {
        // Nothing can be done about a process that is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn haproxy_in_front_sends_both_versions_of_the_header() -> Result<()> {
    let Some(haproxy) = installed("haproxy")? else { return Ok(()) };
    let server = site("http-haproxy", &[&BOTH[..], &["--http-proxy-protocol", "127.0.0.1/32"]].concat())?.start()?;
    let (clear, _) = addresses(&server)?;
    for version in ["send-proxy", "send-proxy-v2"] {
        let scratch = ScratchFolder::new("http-haproxy-run")?;
        let socket = scratch.path().join("in");
        let file = scratch.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n mode tcp\n timeout client 60s\n timeout server 60s\n timeout connect 60s\n\
             frontend in\n bind {} accept-proxy\n default_backend out\nbackend out\n server one {clear} {version}\n",
            socket.display()
        );
        std::fs::write(&file, text)?;
        let mut command = Command::new(&haproxy);
        let in_front = InFront(command.arg("-f").arg(&file).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?);
        let mut stream = wait::until("haproxy listens", || Ok(std::os::unix::net::UnixStream::connect(&socket).ok()))?;
        let client = if version == "send-proxy" { "203.0.113.17" } else { "203.0.113.18" };
        write!(stream, "PROXY TCP4 {client} 192.0.2.1 1 2\r\n{GET}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        logged(&server, &[&format!("client={client}"), "status=200"])?;
        drop(in_front);
    }
    server.terminate()
}

fn mode_of(path: &Path) -> Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

#[test]
fn a_unix_socket_is_for_the_owner_and_the_group_and_goes_with_the_server() -> Result<()> {
    let scratch = ScratchFolder::new("http-unix-socket")?;
    let path = scratch.path().join("web");
    let (at, shown) = (format!("unix:{}", path.display()), path.display().to_string());
    // That of a server that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path)?);
    let server = site("http-unix", &["--http", &at])?.start()?;
    ensure!(curl(&["--unix-socket", &shown, "http://a/"])? == "hello, world\n200");
    ensure!(mode_of(&path)? == 0o660, "{:o}", mode_of(&path)?);
    let refused = site("http-unix-again", &["--http", &at])?.refused()?;
    ensure!(refused.contains(&shown) && refused.contains("a server listens there already"), "{refused}");
    ensure!(curl(&["--unix-socket", &shown, "http://a/"])? == "hello, world\n200");
    server.terminate()?;
    ensure!(!path.exists(), "the file is gone");
    Ok(())
}

#[test]
fn who_speaks_tls_or_http_at_the_wrong_port_is_told_so_and_counted() -> Result<()> {
    let server = site("http-wrong-port", &BOTH)?.start()?;
    let (clear, secure) = addresses(&server)?;
    ensure!(curl(&[&format!("http://{secure}/")])? == "the plain HTTP request was sent to HTTPS port\n400");
    logged(&server, &["status=400", "plain-on-tls"])?;
    let output = Command::new("curl").args(["-s", "-k", &format!("https://{clear}/")]).output()?;
    ensure!(!output.status.success());
    logged(&server, &["status=400", "tls-on-plain", "hello of TLS"])?;
    let untrusting = Command::new("curl").args(["-s", &format!("https://{secure}/")]).output()?;
    ensure!(!untrusting.status.success());
    logged(&server, &["status=400", "tls-failed"])?;
    let metrics = curl(&[&format!("http://{}/metrics", server.admin_address()?)])?;
    for code in ["plain-on-tls", "tls-on-plain", "tls-failed"] {
        let line = format!("refrain_http_faults_total{{code=\"{code}\"}} 1");
        ensure!(metrics.lines().any(|told| told == line), "{metrics}");
    }
    server.terminate()
}

#[test]
fn what_clients_may_do_is_said_in_the_configuration() -> Result<()> {
    let headers = ["--http-headers", "5", "--http-idle-timeout", "2s"];
    let rate = ["--http-client-rate", "1", "--http-client-burst", "2"];
    let server = site("http-limits", &[&BOTH[..], &headers, &rate].concat())?.start()?;
    let (clear, _) = addresses(&server)?;
    let get = |headers: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    let refused = told(clear, get(&"X-A: b\r\n".repeat(6)).as_bytes())?;
    ensure!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    // Its connection is closed before the reader's patience ends.
    let answer = told(clear, get("").as_bytes())?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answers = told(clear, get("").repeat(20).as_bytes())?;
    ensure!(answers.contains("HTTP/1.1 429 ") && answers.contains("client-too-fast"), "{answers}");
    server.terminate()
}

#[test]
fn who_asks_for_http_2_by_an_upgrade_is_answered_over_http_1_1() -> Result<()> {
    let server = site("http-h2c", &BOTH)?.start()?;
    let (clear, _) = addresses(&server)?;
    let answer = curl(&["--http2", "-w", "%{http_version} ", &format!("http://{clear}/")])?;
    ensure!(answer == "hello, world\n1.1 ", "{answer}");
    let body =
        curl(&["--http2", "-w", "", "--data-binary", "x".repeat(9000).as_str(), &format!("http://{clear}/echo")])?;
    ensure!(body == "x".repeat(9000), "a body comes back whole");
    server.terminate()
}
