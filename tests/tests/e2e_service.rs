//! One service as its operator sees it: whether it is ready and why not, everything about it, and what its guest wrote.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use refrain_tests::guests::{TALKER, talker_manifest};
use refrain_tests::lines::{Echoed, Lines};
use refrain_tests::native::Example;
use refrain_tests::server::{Server, Site, program};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn talker() -> Result<Vec<u8>> {
    Ok(wat::parse_str(TALKER)?)
}

/// Asks a talker once.
fn ask(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"x")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer == "PONG", "{answer:?}");
    Ok(())
}

/// What the guest wrote, as stream and line.
fn logged(server: &Server, arguments: &[&str]) -> Result<Vec<(String, String)>> {
    let told = server.rctl_json(&[&["service", "logs", "talker"], arguments].concat())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines = told["lines"].as_array().context("no lines")?;
    Ok(lines.iter().map(|line| (text(&line["stream"]), text(&line["line"]))).collect())
}

fn pair(stream: &str, line: &str) -> (String, String) {
    (stream.to_owned(), line.to_owned())
}

fn is_ready(service: &Value) -> bool {
    service["ready"]["ready"] == true
}

/// `rctl service logs --follow`, killed on drop.
struct Following(Child, Lines);

impl Following {
    fn start(site: &Site) -> Result<Self> {
        let mut command = Command::new(program("rctl")?);
        command.args(["service", "logs", "talker", "--follow", "--data-dir"]).arg(site.data_dir());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let lines = Lines::follow(child.stdout.take().context("no standard output")?, Echoed::No);
        Ok(Self(child, lines))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_guest_wrote_is_shown_once_followed_and_not_repeated_by_a_replay() -> Result<()> {
    let mut site = Site::new("service-logs")?;
    site.service(&talker_manifest("talker", ""), &talker()?)?;
    let server = site.start()?;
    let following = Following::start(&site)?;
    following.1.until("the first line", |line| line.ends_with("out  listening"))?;
    // Three replicas wrote it, and agreed on it.
    ensure!(logged(&server, &[])? == [pair("out", "listening")]);
    for _ in 0..3 {
        ask(server.address("talker"))?;
        following.1.until("a line of the client", |line| line.ends_with("err  client"))?;
    }
    let all = [pair("out", "listening"), pair("err", "client"), pair("err", "client"), pair("err", "client")];
    ensure!(logged(&server, &[])? == all);
    ensure!(logged(&server, &["--lines", "2"])? == all[2..]);
    let told = server.rctl_json(&["service", "logs", "talker"])?;
    let positions: Vec<u64> =
        told["lines"].as_array().into_iter().flatten().filter_map(|l| l["position"].as_u64()).collect();
    ensure!(positions.is_sorted() && positions[0] > 0, "{positions:?}");
    drop(following);
    server.kill()?;
    let server = site.start()?;
    ask(server.address("talker"))?;
    ensure!(logged(&server, &[])? == [pair("err", "client")], "{:?}", logged(&server, &[])?);
    server.terminate()
}

#[test]
fn a_service_is_ready_when_it_listens_on_every_port_and_says_which_one_is_missing() -> Result<()> {
    let mut site = Site::new("service-ready")?;
    let other = "[[ports]]\nname = \"other\"\nguest = 9\nlisten = \"127.0.0.1:0\"\n[ready]\ntimeout = \"1s\"\n";
    site.service(&talker_manifest("talker", ""), &talker()?)?;
    site.service(&talker_manifest("half", other), &talker()?)?;
    let server = site.start()?;
    ensure!(is_ready(&server.service("talker")?), "{:#}", server.service("talker")?);
    let half = server.until("half", "late", |service| {
        service["ready"]["reason"] == "not listening on port 9 yet, time limit of 1s over"
    })?;
    ensure!(half["state"] == "running" && !is_ready(&half), "{half:#}");
    let shown = String::from_utf8(server.rctl(&["service", "show", "half"])?.stdout)?;
    ensure!(shown.starts_with("tests/half@0.1.0: running, not ready: not listening on port 9 yet"), "{shown}");
    let table = String::from_utf8(server.rctl(&["status"])?.stdout)?;
    ensure!(table.contains("NOT READY") && table.contains("not listening on port 9 yet"), "{table}");
    server.terminate()
}

#[test]
fn a_probe_makes_a_service_ready_or_says_what_came_instead() -> Result<()> {
    let mut site = Site::new("service-probe")?;
    let probe = |expect: &str| {
        format!(
            "[ready]\nwhen = \"probe\"\ntimeout = \"1s\"\n\
             probe = {{ port = \"main\", send = \"x\", expect = \"{expect}\" }}\n"
        )
    };
    site.service(&talker_manifest("talker", &probe("PONG")), &talker()?)?;
    site.service(&talker_manifest("other", &probe("PANG")), &talker()?)?;
    let server = site.start()?;
    let talker = server.until("talker", "ready", is_ready)?;
    ensure!(talker["ready"]["reason"].is_null(), "{talker:#}");
    server.until("other", "late", |service| {
        service["ready"]["reason"] == "probe failed: no \"PANG\" in an answer of 4 bytes, time limit of 1s over"
    })?;
    // Once ready, it is not asked again; the other one is.
    let clients = logged(&server, &[])?.iter().filter(|(_, line)| line == "client").count();
    ensure!(clients == 1, "{clients} probes");
    let again = server.rctl_json(&["service", "show", "talker"])?;
    ensure!(again["ready_when"] == "the guest listens, and port main answers \"PONG\"", "{again:#}");
    server.terminate()
}

#[test]
fn show_tells_bundle_ports_seats_limits_and_rules_of_a_service() -> Result<()> {
    let mut site = Site::new("service-show")?;
    site.example(Example::Echo, |manifest| {
        let rules = ["api.example.com:443", "10.0.0.0/8:5432"].map(toml::Value::from);
        manifest.insert("outbound".to_owned(), toml::Value::Array(rules.to_vec()));
    })?;
    let server = site.start()?;
    let client = TcpStream::connect(server.address("echo"))?;
    let used = |shown: &Value, name: &str| {
        let limits = shown["limits"].as_array().into_iter().flatten();
        limits.clone().find(|limit| limit["name"] == name).and_then(|limit| limit["used"].as_u64())
    };
    server.until("echo", "connected", |service| service["flows"] == 1)?;
    let shown = server.rctl_json(&["service", "show", "echo"])?;
    ensure!(shown["quorum"] == 2, "{shown:#}");
    for (name, expected) in [("flows", 1), ("flows_per_client", 1), ("outward", 0)] {
        ensure!(used(&shown, name) == Some(expected), "{name} in {shown:#}");
    }
    ensure!(used(&shown, "tables").is_some_and(|elements| elements > 0), "{shown:#}");
    ensure!(used(&shown, "log_lines_per_second").is_some(), "{shown:#}");
    ensure!(used(&shown, "socket_buffers").is_none() && used(&shown, "idle").is_none(), "nobody counts them");
    ensure!(shown["outbound"] == serde_json::json!(["api.example.com:443", "10.0.0.0/8:5432"]), "{shown:#}");
    ensure!(is_ready(&shown["status"]) && shown["node"] == 1, "{shown:#}");
    let bundle = shown["bundle"].as_str().context("no bundle")?;
    ensure!(site.data_dir().join("bundles").join(bundle).is_dir(), "{bundle}");
    let address = server.address("echo").to_string();
    ensure!(shown["status"]["ports"][0]["listen"] == address.as_str(), "{shown:#}");
    ensure!(shown["status"]["seats"].as_array().is_some_and(|seats| seats.len() == 3), "{shown:#}");
    let text = String::from_utf8(server.rctl(&["service", "show", "echo"])?.stdout)?;
    for part in ["10.0.0.0/8:5432", &address, "outward", "inodes", "released up to position"] {
        ensure!(text.contains(part), "{part} is not in:\n{text}");
    }
    let refused = server.rctl(&["service", "show", "nobody/here"])?;
    ensure!(
        !refused.status.success()
            && String::from_utf8_lossy(&refused.stderr).contains("no service is called nobody/here")
    );
    drop(client);
    server.terminate()
}

#[test]
fn a_port_listens_on_every_address_of_its_list() -> Result<()> {
    let mut site = Site::new("service-addresses")?;
    site.service(&talker_manifest("talker", ""), &talker()?)?;
    let path = site.scratch().join("talker/service.toml");
    let manifest = std::fs::read_to_string(&path)?;
    let both = manifest.replace("\"127.0.0.1:0\"", "[\"127.0.0.1:0\", \"127.0.0.2:0\"]");
    ensure!(both != manifest, "{manifest}");
    std::fs::write(&path, both)?;
    let server = site.start()?;
    let service = server.service("talker")?;
    let port = &service["ports"][0];
    let places = [port["listen"].as_str(), port["also"][0].as_str()];
    for (place, ip) in places.into_iter().zip(["127.0.0.1", "127.0.0.2"]) {
        let address: SocketAddr = place.context("no address")?.parse()?;
        ensure!(address.ip().to_string() == ip, "{port:#}");
        ask(address)?;
    }
    server.terminate()
}
