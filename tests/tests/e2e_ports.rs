//! How clients reach a service: by datagrams, over Unix sockets, by IPv6, and behind proxies that tell whose connection it
//! is; and what is told of a port that nobody can reach.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use refrain_tests::guests::{TALKER, talker_manifest};
use refrain_tests::native::{Example, ScratchFolder};
use refrain_tests::outside::{Manner, Outside};
use refrain_tests::programs::Program;
use refrain_tests::server::{Server, Site};
use refrain_tests::tools::{installed, output_of};
use refrain_tests::wait;
use serde_json::Value;

/// How long one datagram is waited for before another is sent.
const ONE_TRY: Duration = Duration::from_millis(500);

fn is_ready(service: &Value) -> bool {
    service["ready"]["ready"] == true
}

/// A manifest of the program that tells who asks, with this in its port and after it.
fn teller_manifest(port: &str, more: &str) -> String {
    format!(
        "name = \"teller\"\nnamespace = \"test\"\nversion = \"1.0.0\"\nmodule = \"teller.wasm\"\n\
         [[ports]]\nname = \"ask\"\nguest = 7000\nlisten = \"127.0.0.1:0\"\n{port}{more}"
    )
}

/// A site with that program, if it can be built here.
fn teller(purpose: &str, port: &str, more: &str) -> Result<Option<Site>> {
    let Some(module) = Program::Teller.module()? else { return Ok(None) };
    let mut site = Site::new(purpose)?;
    site.service(&teller_manifest(port, more), &module)?;
    Ok(Some(site))
}

/// Sends bytes on a connection of its own, and returns the line that comes back and where it was sent from.
fn told(address: SocketAddr, bytes: &str) -> Result<(String, SocketAddr)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(wait::PATIENCE))?;
    let local = stream.local_addr()?;
    stream.write_all(bytes.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok((line, local))
}

/// Asks by datagrams until an answer comes, as one who uses them does.
fn heard(socket: &UdpSocket, text: &str) -> Result<String> {
    socket.set_read_timeout(Some(ONE_TRY))?;
    wait::until("an answer", || {
        socket.send(text.as_bytes())?;
        let mut buffer = [0; 2048];
        Ok(socket.recv(&mut buffer).ok().map(|count| String::from_utf8_lossy(&buffer[..count]).into_owned()))
    })
}

#[test]
fn a_guest_that_serves_datagrams_is_ready_and_answers_each_peer() -> Result<()> {
    let Some(site) = teller("ports-udp", "protocol = \"udp\"\n", "")? else { return Ok(()) };
    let server = site.start()?;
    server.until("teller", "ready", is_ready)?;
    let clients = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
    for client in &clients {
        client.connect(server.address("teller"))?;
    }
    for round in 0..5 {
        for client in &clients {
            let expected = format!("udp 127.0.0.1 {} round {round}", client.local_addr()?.port());
            wait::until("the answer of this round", || {
                Ok((heard(client, &format!("round {round}"))? == expected).then_some(()))
            })?;
        }
    }
    ensure!(server.rctl(&["service", "audit", "test/teller"])?.status.success());
    server.until_equal("teller")?;
    server.terminate()
}

#[test]
fn a_datagram_port_that_the_guest_does_not_use_keeps_its_service_from_being_ready() -> Result<()> {
    let mut site = Site::new("ports-udp-missing")?;
    let other = "[[ports]]\nname = \"other\"\nguest = 9\nprotocol = \"udp\"\nlisten = \"127.0.0.1:0\"\n";
    site.service(&talker_manifest("half", other), &wat::parse_str(TALKER)?)?;
    let server = site.start()?;
    let half = server.until("half", "running", |service| service["state"] == "running")?;
    let reason = half["ready"]["reason"].as_str().unwrap_or_default();
    ensure!(!is_ready(&half) && reason.starts_with("not listening on port 9 yet"), "{half:#}");
    server.terminate()
}

/// A site with the image server at a path alone, which a probe asks too.
fn at_a_path(purpose: &str, path: &str) -> Result<Site> {
    let mut site = Site::new(purpose)?;
    site.example(Example::ImageServer, |manifest| {
        let port = manifest["ports"][0].as_table_mut().expect("a port is a table");
        port.remove("listen");
        port.insert("unix".to_owned(), path.into());
        let probe = "port = \"http\"\nsend = \"GET / HTTP/1.0\\r\\n\\r\\n\"\nexpect = \"HTTP/1.\"\n";
        let ready = format!("when = \"probe\"\n[probe]\n{probe}");
        manifest.insert("ready".to_owned(), ready.parse::<toml::Table>().expect("it is TOML").into());
    })?;
    Ok(site)
}

fn serves(server: &Server, place: &str) -> bool {
    let shown = |line: &String| line.starts_with("serving examples/image-server@") && line.ends_with(place);
    server.output().iter().any(shown)
}

#[test]
fn a_service_at_a_path_is_shown_probed_and_served_and_two_nodes_of_a_machine_each_have_theirs() -> Result<()> {
    let Some(curl) = installed("curl")? else { return Ok(()) };
    let folder = ScratchFolder::new("ports-paths")?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let site = at_a_path("ports-unix", &path("http.sock"))?;
    let server = site.start()?;
    let place = format!("unix:{}", path("http.sock"));
    ensure!(serves(&server, &format!(" on {place}")), "{:#?}", server.output());
    let shown = server.until("image-server", "ready", is_ready)?;
    ensure!(shown["ports"][0]["listen"] == place.as_str() && shown["ports"][0]["also"].is_null(), "{shown:#}");
    let told = String::from_utf8(server.rctl(&["service", "show", "image-server"])?.stdout)?;
    ensure!(told.contains(&place) && !told.contains("nowhere"), "{told}");
    let ask = |path: &str| {
        let mut command = Command::new(&curl);
        output_of(command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", path, "http://x/"]))
    };
    assert_eq!(ask(&path("http.sock"))?, "200");

    // A second one with the same path runs without it, and says so.
    let mut second = at_a_path("ports-unix-second", &path("http.sock"))?;
    let other = second.start()?;
    let reason = format!("cannot listen on {place} for port \"http\"");
    let not_served = |line: &String| line.starts_with("not serving examples/image-server@") && line.contains(&reason);
    ensure!(other.output().iter().any(not_served), "{:#?}", other.output());
    let shown = other.service("image-server")?;
    ensure!(!is_ready(&shown) && shown["ports"][0]["listen"] == "", "{shown:#}");
    ensure!(shown["ready"]["reason"].as_str().is_some_and(|told| told.contains(&reason)), "{shown:#}");
    other.terminate()?;
    assert_eq!(ask(&path("http.sock"))?, "200", "the first one's file is its own");
    // With one of its own it serves.
    second.argument("--listen").argument(&format!("examples/image-server/http=unix:{}", path("other.sock")));
    let other = second.start()?;
    ensure!(serves(&other, &format!(" on unix:{}", path("other.sock"))), "{:#?}", other.output());
    other.until("image-server", "ready", is_ready)?;
    assert_eq!(ask(&path("other.sock"))?, "200");
    other.terminate()?;
    server.terminate()?;
    ensure!(std::fs::read_dir(folder.path())?.next().is_none(), "both files are gone");
    Ok(())
}

#[test]
fn an_address_that_is_taken_keeps_nobody_from_serving_the_rest_and_is_used_when_it_is_free() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let mut site = Site::new("ports-taken")?;
    for name in ["talker", "other"] {
        site.service(&talker_manifest(name, ""), &wat::parse_str(TALKER)?)?;
    }
    site.argument("--listen").argument(&format!("tests/other/main={}", taken.local_addr()?));
    let server = site.start()?;
    let other = server.service("other")?;
    let reason = other["ready"]["reason"].as_str().unwrap_or_default();
    ensure!(reason.starts_with(&format!("cannot listen on {}", taken.local_addr()?)), "{other:#}");
    server.until("talker", "ready", is_ready)?;
    ensure!(told(server.address("talker"), "x")?.0 == "PONG");
    let shown = server.rctl(&["service", "show", "other"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.contains("not ready: cannot listen on") && shown.contains("on nowhere"), "{shown}");
    let address = taken.local_addr()?;
    drop(taken);
    server.until("other", "ready", is_ready)?;
    ensure!(told(address, "x")?.0 == "PONG");
    server.terminate()
}

#[test]
fn a_trusted_proxy_tells_whose_connection_it_is_and_must() -> Result<()> {
    let probe = "[ready]\nwhen = \"probe\"\nprobe = { port = \"ask\", send = \"probe\", expect = \" probe\" }\n";
    let Some(site) = teller("ports-proxied", "proxy_protocol = { from = [\"127.0.0.1\"] }\n", probe)? else {
        return Ok(());
    };
    let server = site.start()?;
    // The probe, too, begins with a header.
    server.until("teller", "ready", is_ready)?;
    let address = server.address("teller");
    let (line, _) = told(address, "PROXY TCP4 203.0.113.7 192.0.2.1 4321 80\r\nwho\n")?;
    assert_eq!(line, "tcp 203.0.113.7 4321 who\n");
    let (line, _) = told(address, "PROXY TCP6 2001:db8::7 2001:db8::1 4321 80\r\nwho\n")?;
    assert_eq!(line, "tcp 2001:db8::7 4321 who\n");
    let (line, local) = told(address, "PROXY UNKNOWN\r\nwho\n")?;
    assert_eq!(line, format!("tcp 127.0.0.1 {} who\n", local.port()));
    ensure!(!told(address, "who, without a header\n").is_ok_and(|(line, _)| !line.is_empty()), "it was served");
    server.until_equal("teller")?;
    server.terminate()
}

#[test]
fn a_server_is_told_whose_call_it_is_where_the_manifest_wants_it() -> Result<()> {
    let (told, untold) = (Outside::start(Manner::Echo)?, Outside::start(Manner::Echo)?);
    let Some(module) = Program::Caller.module()? else { return Ok(()) };
    let manifest = format!(
        "name = \"caller\"\nnamespace = \"test\"\nversion = \"1.0.0\"\nmodule = \"caller.wasm\"\n\
         outbound = [{{ to = \"{}\", proxy_protocol = \"v1\" }}, \"{}\"]\n\
         [[ports]]\nname = \"line\"\nguest = 7000\nlisten = \"127.0.0.1:0\"\n",
        told.address(),
        untold.address()
    );
    let mut site = Site::new("ports-header")?;
    site.service(&manifest, &module)?;
    let server = site.start()?;
    for outside in [&told, &untold] {
        let line = format!("tcp {} {} hello\n", outside.address().ip(), outside.address().port());
        let (answer, _) = self::told(server.address("caller"), &line)?;
        ensure!(answer.starts_with("ok "), "{answer}");
    }
    let line = told.lines().first().cloned().context("it was called")?;
    let whole = format!(" {}", told.address().port());
    ensure!(line.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 ") && line.ends_with(&whole), "{line}");
    assert_eq!(untold.lines(), ["hello"]);
    server.terminate()
}

#[test]
fn clients_come_by_ipv6_and_are_shown_so() -> Result<()> {
    if TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: there is no IPv6 here");
        return Ok(());
    }
    let udp = "[[ports]]\nname = \"datagrams\"\nguest = 7000\nprotocol = \"udp\"\nlisten = \"127.0.0.1:0\"\n";
    let Some(mut site) = teller("ports-ipv6", "", udp)? else { return Ok(()) };
    for port in ["ask", "datagrams"] {
        site.argument("--listen").argument(&format!("test/teller/{port}=[::1]:0"));
    }
    let server = site.start()?;
    let service = server.until("teller", "ready", is_ready)?;
    let place = |port: usize| -> Result<SocketAddr> {
        Ok(service["ports"][port]["listen"].as_str().context("it listens")?.parse()?)
    };
    let (line, local) = told(place(0)?, "who\n")?;
    assert_eq!(line, format!("tcp ::1 {} who\n", local.port()));
    let client = UdpSocket::bind("[::1]:0")?;
    client.connect(place(1)?)?;
    assert_eq!(heard(&client, "who")?, format!("udp ::1 {} who", client.local_addr()?.port()));
    server.until_equal("teller")?;
    server.terminate()
}
