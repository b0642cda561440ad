//! A guest that calls other servers: agreed on, done once, the same for every replica, and only where its manifest allows.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use refrain_tests::cluster::Cluster;
use refrain_tests::guests::UNKNOWN_IMPORT;
use refrain_tests::load::Dice;
use refrain_tests::outside::{Manner, Outside};
use refrain_tests::programs::Program;
use refrain_tests::server::Site;
use refrain_tests::services::Services;
use refrain_tests::traffic::caller::{Caller, Calls};
use refrain_tests::traffic::{Client, Traffic};
use refrain_tests::wait;
use toml::Value;

/// Kills of the test that makes the most of them; `REFRAIN_KILL_ROUNDS` is another number.
const DEFAULT_KILL_ROUNDS: u64 = 10;

fn manifest(outbound: &[String]) -> String {
    manifest_of("caller", outbound)
}

fn manifest_of(name: &str, outbound: &[String]) -> String {
    let outbound: Vec<String> = outbound.iter().map(|entry| format!("{entry:?}")).collect();
    format!(
        "name = {name:?}\nnamespace = \"test\"\nversion = \"1.0.0\"\nmodule = \"caller.wasm\"\noutbound = [{}]\n\
         [limits]\noutward = 40\n[[ports]]\nname = \"line\"\nguest = 7000\nlisten = \"127.0.0.1:0\"\n",
        outbound.join(", ")
    )
}

fn tcp(outside: &Outside) -> String {
    outside.address().to_string()
}

fn udp(outside: &Outside) -> String {
    format!("{}/udp", outside.address())
}

/// `HOST PORT` of a server.
fn words(outside: &Outside) -> String {
    format!("{} {}", outside.address().ip(), outside.address().port())
}

/// A site with the guest, if it can be built here.
fn site(purpose: &str, outbound: &[String]) -> Result<Option<Site>> {
    let Some(module) = Program::Caller.module()? else { return Ok(None) };
    let mut site = Site::new(purpose)?;
    site.service(&manifest(outbound), &module)?;
    Ok(Some(site))
}

#[test]
fn a_server_is_called_once_for_all_replicas_which_know_the_same() -> Result<()> {
    let (echo, datagrams) = (Outside::start(Manner::Echo)?, Outside::datagrams()?);
    let Some(site) = site("outward", &[tcp(&echo), udp(&datagrams)])? else { return Ok(()) };
    let server = site.start()?;
    let mut caller = Caller::connect(server.address("caller"))?;
    for round in 0..20 {
        let answer = caller.ask(&format!("tcp {} hello {round}", words(&echo)))?;
        ensure!(answer.ends_with(&format!("hello {round}.")), "{answer}");
        let answer = caller.ask(&format!("udp {} ping {round}", words(&datagrams)))?;
        ensure!(answer.ends_with(&format!("PING {round}")), "{answer}");
        ensure!(caller.ask("clock")?.starts_with("ok "));
    }
    let once: Vec<String> = (0..20).map(|round| format!("hello {round}")).collect();
    assert_eq!(echo.lines(), once, "three replicas, one call each");
    assert_eq!(datagrams.lines(), (0..20).map(|round| format!("ping {round}")).collect::<Vec<_>>());
    ensure!(server.rctl(&["service", "audit", "test/caller"])?.status.success());
    server.until_equal("caller")?;
    Ok(())
}

#[test]
fn nothing_is_reached_that_the_manifest_does_not_name() -> Result<()> {
    let (allowed, other) = (Outside::start(Manner::Echo)?, Outside::start(Manner::Echo)?);
    let Some(site) = site("outward-deny", &[tcp(&allowed)])? else { return Ok(()) };
    let server = site.start()?;
    let mut caller = Caller::connect(server.address("caller"))?;
    assert_eq!(caller.ask(&format!("tcp {} x", words(&other)))?, "connect: EACCES");
    assert_eq!(caller.ask(&format!("udp {} x", words(&allowed)))?, "sendto: EACCES", "another protocol");
    ensure!(caller.ask("tcp nobody.example 80 x")?.starts_with("name: "));
    ensure!(caller.ask(&format!("tcp {} x", words(&allowed)))?.starts_with("ok 2 "));
    assert_eq!(other.lines(), [""; 0]);
    Ok(())
}

#[test]
fn a_name_is_looked_up_as_the_machine_does_and_pinned() -> Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
    // What ends in a number is no name that a manifest takes.
    let is_number = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    let name = if is_number { "localhost".to_owned() } else { host };
    let Some(site) = site("outward-name", &[format!("{name}:9")])? else { return Ok(()) };
    let server = site.start()?;
    let mut caller = Caller::connect(server.address("caller"))?;
    let answer = caller.ask(&format!("name {name}"))?;
    match (name.as_str(), 0).to_socket_addrs() {
        Ok(addresses) => {
            for address in addresses {
                ensure!(answer.split(' ').any(|word| word == address.ip().to_string()), "{address} is not in {answer}");
            }
        }
        Err(_) => ensure!(answer.starts_with("name: "), "{answer}"),
    }
    ensure!(caller.ask("name localhost")?.contains("127.0.0.1"));
    ensure!(caller.ask("name elsewhere.example")?.starts_with("name: "), "no rule names it");
    Ok(())
}

#[test]
fn outside_servers_that_misbehave_are_told_to_the_guest_and_harm_nobody() -> Result<()> {
    let large = std::env::var("REFRAIN_LARGE_ANSWER").ok().and_then(|size| size.parse().ok()).unwrap_or(32_000_000);
    let slow = Outside::start(Manner::Slow(Duration::from_millis(50)))?;
    let (garbage, reset) = (Outside::start(Manner::Garbage)?, Outside::start(Manner::Reset)?);
    let (bytes, silent) = (Outside::start(Manner::Bytes(large))?, Outside::start(Manner::Silent)?);
    let gone: SocketAddr = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.local_addr()?
    };
    let mut outbound: Vec<String> = [&slow, &garbage, &reset, &bytes, &silent].map(tcp).into();
    outbound.push(gone.to_string());
    let Some(site) = site("outward-bad", &outbound)? else { return Ok(()) };
    let server = site.start()?;
    let mut caller = Caller::connect(server.address("caller"))?;
    assert_eq!(caller.ask(&format!("tcp {} {} x", gone.ip(), gone.port()))?, "connect: ECONNREFUSED");
    ensure!(caller.ask(&format!("tcp {} slowly", words(&slow)))?.starts_with("ok 7 "));
    ensure!(caller.ask(&format!("tcp {} x", words(&garbage)))?.starts_with("ok 10000 "));
    ensure!(caller.ask(&format!("tcp {} x", words(&reset)))?.contains("ECONNRESET"));
    let before = server.resident_bytes()?;
    let answer = caller.ask(&format!("tcp {} x", words(&bytes)))?;
    ensure!(answer.starts_with(&format!("ok {large} ")), "{answer}");
    let grown = server.resident_bytes()?.saturating_sub(before);
    ensure!(grown < 400_000_000, "{grown} bytes more after an answer of {large}");
    // The guest waits for one that never answers; the server is drained in spite of it.
    caller.say(&format!("tcp {} x", words(&silent)))?;
    wait::until("the silent server's call", || Ok((!silent.lines().is_empty()).then_some(())))?;
    server.until_equal("caller")?;
    server.terminate()
}

#[test]
fn calls_in_progress_when_the_process_dies_are_made_by_nobody_again() -> Result<()> {
    let silent = Outside::start(Manner::Silent)?;
    let echo = Outside::start(Manner::Echo)?;
    let Some(site) = site("outward-crash", &[tcp(&silent), tcp(&echo)])? else { return Ok(()) };
    let mut server = site.start()?;
    for round in 0..3 {
        let mut caller = Caller::connect(server.address("caller"))?;
        caller.say(&format!("many {} 8 round {round}", words(&silent)))?;
        wait::until("eight calls", || Ok((silent.lines().len() == 8 * (round + 1)).then_some(())))?;
        server.kill()?;
        server = site.start()?;
        let mut again = Caller::connect(server.address("caller"))?;
        ensure!(again.ask(&format!("tcp {} after", words(&echo)))?.ends_with("after."), "the guest goes on");
    }
    let mut lines = silent.lines();
    lines.sort();
    let mut each: Vec<String> = (0..3).flat_map(|round| (0..8).map(move |n| format!("round {round} {n}"))).collect();
    each.sort();
    assert_eq!(lines, each, "no call was made twice");
    assert_eq!(echo.lines(), ["after"; 3]);
    server.until_equal("caller")?;
    Ok(())
}

#[test]
fn when_the_owners_node_dies_the_guest_is_told_that_it_may_have_happened() -> Result<()> {
    let silent = Outside::start(Manner::Silent)?;
    let echo = Outside::start(Manner::Echo)?;
    let Some(module) = Program::Caller.module()? else { return Ok(()) };
    let mut cluster = Cluster::new("outward-cluster", 3)?;
    cluster.service(&manifest(&[tcp(&silent), tcp(&echo)]), &module)?;
    cluster.start()?;
    // Node 1 has the lowest proxy: it makes the calls of all.
    let mut caller = Caller::connect(cluster.server(2).address("caller"))?;
    ensure!(caller.ask(&format!("tcp {} before", words(&echo)))?.ends_with("before."));
    caller.say(&format!("many {} 8 call", words(&silent)))?;
    wait::until("eight calls", || Ok((silent.lines().len() == 8).then_some(())))?;
    cluster.kill(1)?;
    let told = caller.heard().context("the client on another node keeps its connection")?;
    ensure!(told == "ok 0 8 ECONNRESET", "{told}");
    ensure!(caller.ask(&format!("tcp {} after", words(&echo)))?.ends_with("after."), "the next proxy makes them now");
    assert_eq!(silent.lines().len(), 8, "no call was made twice");
    assert_eq!(echo.lines(), ["before", "after"]);
    cluster.start_node(1)?;
    cluster.until_equal("caller")
}

#[test]
fn no_call_is_made_twice_whoever_is_killed_and_at_whatever_moment() -> Result<()> {
    const SERVICES: [&str; 2] = ["caller", "other"];
    // Node 1 has the lowest proxy, and nothing else: it makes the calls of all who do not make their own.
    const PROXY: u64 = 1;
    let rounds = std::env::var("REFRAIN_KILL_ROUNDS").map_or(Ok(DEFAULT_KILL_ROUNDS), |text| text.parse())?;
    let (echo, datagrams) = (Arc::new(Outside::start(Manner::Echo)?), Arc::new(Outside::datagrams()?));
    let Some(module) = Program::Caller.module()? else { return Ok(()) };
    let mut cluster = Cluster::new("outward-kills", 4)?;
    for name in SERVICES {
        cluster.service(&manifest_of(name, &[tcp(&echo), udp(&datagrams)]), &module)?;
    }
    cluster.roles(PROXY, &["proxy"]).set("lease", "2s").start()?;
    let clients = SERVICES.map(|name| Box::new(Calls::new(name, &echo, &datagrams)) as Box<dyn Client>);
    let traffic = Traffic::start(cluster.doors(), [PROXY, 3].into_iter().zip(clients));
    let mut dice = Dice::new(19);
    for round in 0..rounds {
        // Between the first and the last step of some call.
        traffic.until_more(1 + dice.below(40)).with_context(|| format!("before kill {round}"))?;
        wait::pause(Duration::from_micros(dice.below(30_000)));
        let killed = if dice.below(2) == 0 { PROXY } else { 2 + dice.below(3) };
        cluster.kill(killed)?;
        // Else it comes back while the lease of its proxy's last epoch lasts.
        if dice.below(2) == 0 {
            traffic.until_more(10).with_context(|| format!("without node {killed} in round {round}"))?;
        }
        cluster.start_node(killed)?;
    }
    traffic.until_more(10)?;
    let mut outcome = traffic.stop()?;
    for node in cluster.ids() {
        outcome.check(cluster.doors(), node)?;
    }
    for name in SERVICES {
        cluster.server(2).rctl_json(&["service", "audit", &format!("test/{name}")])?;
        cluster.until_equal(name)?;
    }
    Ok(())
}

#[test]
fn a_node_that_cannot_run_the_service_makes_the_calls_that_it_is_given() -> Result<()> {
    let echo = Outside::start(Manner::Echo)?;
    let Some(module) = Program::Caller.module()? else { return Ok(()) };
    let mut cluster = Cluster::new("outward-stranger", 3)?;
    let manifest = format!("replicas = 1\n{}", manifest(&[tcp(&echo)]));
    let mut broken = Services::new(&cluster.scratch().join("broken"));
    broken.add(&manifest, &wat::parse_str(UNKNOWN_IMPORT)?)?;
    let folder = |path: &std::path::Path| Value::from(vec![Value::from(path.display().to_string())]);
    // Node 1 has the lowest proxy and cannot run what the others do.
    cluster.roles(1, &["sequencer", "proxy"]).set_on(1, "services", folder(&broken.folders()[0]));
    cluster.without_services(2).without_services(3).start()?;
    cluster.terminate(2)?;
    let mut good = Services::new(&cluster.scratch().join("good"));
    good.add(&manifest, &module)?;
    cluster.set_on(2, "services", folder(&good.folders()[0]));
    cluster.start_node(2)?;
    let mut caller = Caller::connect(cluster.server(2).address("caller"))?;
    for round in 0..3 {
        ensure!(caller.ask("name localhost")?.contains("127.0.0.1"));
        let answer = caller.ask(&format!("tcp {} hello {round}", words(&echo)))?;
        ensure!(answer.ends_with(&format!("hello {round}.")), "{answer}");
    }
    assert_eq!(echo.lines(), ["hello 0", "hello 1", "hello 2"]);
    let log = cluster.server(1).log().so_far();
    ensure!(log.iter().any(|line| line.contains("this node does not take part in it")), "{log:#?}");
    Ok(())
}

#[test]
fn a_replay_of_the_log_makes_no_call_and_says_what_was_called() -> Result<()> {
    let (echo, datagrams) = (Outside::start(Manner::Echo)?, Outside::datagrams()?);
    let Some(site) = site("outward-replay", &[tcp(&echo), udp(&datagrams)])? else { return Ok(()) };
    let server = site.start()?;
    let mut caller = Caller::connect(server.address("caller"))?;
    for line in [format!("tcp {} one", words(&echo)), format!("udp {} two", words(&datagrams)), "clock".to_owned()] {
        ensure!(caller.ask(&line)?.starts_with("ok "));
    }
    drop(caller);
    server.terminate()?;
    let folder = site.data_dir();
    let replay = std::process::Command::new(refrain_tests::server::program("refrain")?)
        .args(["replay", "test/caller", "--print-from", "1", "--data-dir"])
        .arg(&folder)
        .output()?;
    let text = String::from_utf8_lossy(&replay.stdout);
    ensure!(replay.status.success(), "{text}{}", String::from_utf8_lossy(&replay.stderr));
    for said in [echo.address().to_string(), datagrams.address().to_string()] {
        ensure!(text.contains(&said), "{said} is not in\n{text}");
    }
    assert_eq!((echo.lines().len(), datagrams.lines().len()), (1, 1), "nobody was called again");
    Ok(())
}
