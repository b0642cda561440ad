//! Services that are upgraded while they work: files stay, what does not start is rolled back everywhere, and nodes that
//! were away find the way.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use refrain_tests::cluster::Cluster;
use refrain_tests::doors::Doors;
use refrain_tests::guests;
use refrain_tests::http::{HttpClient, put, request};
use refrain_tests::native::{Example, ScratchFolder};
use refrain_tests::rctl::Rctl;
use refrain_tests::server::{Server, Site};
use refrain_tests::services::{other_version, version_of};
use refrain_tests::traffic::uploader::Uploader;
use refrain_tests::traffic::{Client, Traffic};
use refrain_tests::transcript::noise;
use serde_json::Value;

const IMAGES: &str = "image-server";
const IMAGE_BYTES: usize = 200_000;
const NODES: [u64; 3] = [1, 2, 3];

/// Runs an upgrade; its status as the operator sees it, and whether it came about.
fn upgrade(server: &Server, folder: &Path) -> Result<(Value, bool)> {
    let folder = folder.display().to_string();
    let output = server.rctl(&["service", "upgrade", IMAGES, &folder, "-o", "json", "--timeout", "60s"])?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    let status = serde_json::from_slice(&output.stdout).with_context(said)?;
    Ok((status, output.status.success()))
}

/// The same, which must come about.
fn upgraded(server: &Server, folder: &Path) -> Result<Value> {
    let (status, done) = upgrade(server, folder)?;
    ensure!(done && status["state"] == "done", "{status:#}");
    Ok(status)
}

/// What an upgrade that is refused at once says.
fn refusal(server: &Server, folder: &Path) -> Result<String> {
    let output = server.rctl(&["service", "upgrade", IMAGES, &folder.display().to_string()])?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "it was not refused");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn version(server: &Server) -> Result<String> {
    let service = server.service(IMAGES)?;
    let name = service["name"].as_str().context("it has a name")?;
    Ok(name.rsplit('@').next().unwrap_or_default().to_owned())
}

fn until_version(server: &Server, wanted: &str) -> Result<()> {
    let end = format!("@{wanted}");
    server.until(IMAGES, wanted, |service| service["name"].as_str().is_some_and(|name| name.ends_with(&end)))?;
    Ok(())
}

fn store(server: &Server, name: &str, image: &[u8]) -> Result<()> {
    let reply = HttpClient::connect(server.address(IMAGES))?.exchange(put(name, image))?;
    ensure!(matches!(reply.status, 201 | 204), "PUT {name} was answered with {}", reply.status);
    Ok(())
}

fn holds(server: &Server, name: &str, image: &[u8]) -> Result<()> {
    let request = request(&format!("GET {name}"), "", b"");
    let reply = HttpClient::connect(server.address(IMAGES))?.exchange(request)?;
    ensure!(reply.status == 200 && reply.body() == image, "{name} is not what was stored: {}", reply.status);
    Ok(())
}

fn exits() -> Vec<u8> {
    wat::parse_str(guests::EXIT).expect("the text is a module")
}

fn three(purpose: &str) -> Result<Cluster> {
    let mut cluster = Cluster::new(purpose, 3)?;
    cluster.example(Example::ImageServer, |_| {})?;
    cluster.start()?;
    cluster.until_equal(IMAGES)?;
    Ok(cluster)
}

fn uploaders(count: u64, nodes: &[u64]) -> Vec<(u64, Box<dyn Client>)> {
    let clients = (0..count).map(|number| Box::new(Uploader::new(number, IMAGE_BYTES)) as Box<dyn Client>);
    nodes.iter().copied().cycle().zip(clients).collect()
}

#[test]
fn images_stay_over_an_upgrade_under_load() -> Result<()> {
    let site = Site::of("upgrade-load", &[Example::ImageServer])?;
    let server = site.start()?;
    let next = other_version(site.scratch(), Example::ImageServer, "0.2.0", |_| {})?;
    let image = noise(1, IMAGE_BYTES);
    store(&server, "/lake.jpg", &image)?;
    let doors = Doors::default();
    doors.open(1, server.served().clone());
    let traffic = Traffic::start(&doors, uploaders(3, &[1]));
    traffic.until_more(20)?;
    let status = upgraded(&server, &next)?;
    ensure!(status["from"] == "examples/image-server@0.1.0" && status["to"] == "examples/image-server@0.2.0");
    ensure!(status["engines"][0]["step"] == "ready" && status["position"].as_u64() > Some(0), "{status:#}");
    traffic.until_more(20)?;
    traffic.stop()?.check(&doors, 1)?;
    holds(&server, "/lake.jpg", &image)?;
    ensure!(version(&server)? == "0.2.0");
    server.rctl_json(&["service", "audit", IMAGES])?;
    server.until_equal(IMAGES)?;
    Ok(())
}

#[test]
fn the_log_decides_what_runs_after_a_restart() -> Result<()> {
    let mut site = Site::of("upgrade-restart", &[Example::ImageServer])?;
    let next = other_version(site.scratch(), Example::ImageServer, "0.2.0", |manifest| {
        let arguments = ["--port", "8080", "--max-file", "1000"];
        manifest.insert("args".to_owned(), arguments.map(toml::Value::from).to_vec().into());
    })?;
    let server = site.start()?;
    let image = noise(2, 900);
    store(&server, "/small.jpg", &image)?;
    upgraded(&server, &next)?;
    server.terminate()?;
    // The folder of the former version: it is said what to do, and the log decides.
    let server = site.start()?;
    let said = server.log().until("that it was upgraded", |line| line.contains("was upgraded at position"))?;
    ensure!(said.contains("rctl service upgrade examples/image-server"), "{said}");
    ensure!(version(&server)? == "0.2.0");
    holds(&server, "/small.jpg", &image)?;
    let large = HttpClient::connect(server.address(IMAGES))?.exchange(put("/large.jpg", &noise(3, 1001)))?;
    ensure!(large.status == 413, "the new version's arguments are not in force: {}", large.status);
    server.kill()?;
    // That of the version in force.
    site.give(&[&next]);
    let server = site.start()?;
    ensure!(server.log().count("was upgraded at position") == 0);
    holds(&server, "/small.jpg", &image)?;
    // And back.
    let former = version_of(site.scratch(), Example::ImageServer, "0.1.1", &module()?, |_| {})?;
    upgraded(&server, &former)?;
    store(&server, "/large.jpg", &noise(3, 1001))?;
    holds(&server, "/small.jpg", &image)?;
    server.until_equal(IMAGES)?;
    Ok(())
}

fn module() -> Result<Vec<u8>> {
    Ok(std::fs::read(Example::ImageServer.folder().join("image-server.wasm"))?)
}

#[test]
fn what_an_upgrade_may_not_change_is_named() -> Result<()> {
    let site = Site::of("upgrade-refused", &[Example::ImageServer])?;
    let server = site.start()?;
    let next = other_version(site.scratch(), Example::ImageServer, "0.2.0", |manifest| {
        manifest.insert("replicas".to_owned(), 5.into());
        manifest.insert("agreement".to_owned(), "all".into());
    })?;
    let said = refusal(&server, &next)?;
    for part in ["replicas is 3 and would become 5", "rctl service scale", "agreement is majority and would become all"]
    {
        ensure!(said.contains(part), "{said}");
    }
    let same = refusal(&server, &version_of(site.scratch(), Example::ImageServer, "0.1.0", &module()?, |_| {})?)?;
    ensure!(same.contains("runs bundle") && same.contains("already"), "{same}");
    let import = wat::parse_str(guests::UNKNOWN_IMPORT)?;
    let broken = version_of(site.scratch(), Example::ImageServer, "0.3.0", &import, |_| {})?;
    let (status, done) = upgrade(&server, &broken)?;
    let reason = status["reason"].as_str().unwrap_or_default();
    ensure!(!done && status["state"] == "refused" && reason.contains("launch_rockets"), "{status:#}");
    let other = version_of(site.scratch(), Example::KvServer, "9.0.0", &module()?, |_| {})?;
    ensure!(refusal(&server, &other)?.contains("holds examples/kv-server, not examples/image-server"));
    ensure!(version(&server)? == "0.1.0");
    Ok(())
}

#[test]
fn a_version_that_does_not_start_is_rolled_back_on_all_nodes() -> Result<()> {
    let mut cluster = three("upgrade-broken")?;
    let scratch = ScratchFolder::new("upgrade-broken-versions")?;
    let broken = version_of(scratch.path(), Example::ImageServer, "0.2.0", &exits(), |_| {})?;
    let image = noise(4, IMAGE_BYTES);
    store(cluster.server(1), "/lake.jpg", &image)?;
    let mut kept = HttpClient::connect(cluster.server(2).address(IMAGES))?;
    ensure!(kept.exchange(request("GET /lake.jpg", "", b""))?.body() == image);
    for _ in 0..2 {
        let (status, done) = upgrade(cluster.server(1), &broken)?;
        ensure!(!done && status["state"] == "rolled-back", "{status:#}");
        ensure!(status["reason"] == "it ended at its start: exited with code 3", "{status:#}");
        ensure!(status["engines"].as_array().map(Vec::len) == Some(3), "{status:#}");
        for id in NODES {
            until_version(cluster.server(id), "0.1.0")?;
        }
        // The log has it again before the same version can be tried anew.
        for id in NODES {
            let said = cluster.server(id).log().clone();
            said.until("that it was rolled back", |line| line.contains("the upgrade was rolled back"))?;
        }
        cluster.until_equal(IMAGES)?;
    }
    ensure!(kept.exchange(request("GET /lake.jpg", "", b""))?.body() == image, "a connection did not go on");
    let good = other_version(scratch.path(), Example::ImageServer, "0.3.0", |_| {})?;
    upgraded(cluster.server(3), &good)?;
    cluster.until_equal(IMAGES)?;
    for id in NODES {
        until_version(cluster.server(id), "0.3.0")?;
        holds(cluster.server(id), "/lake.jpg", &image)?;
    }
    // Everything is replayed from the log, the failed tries as well.
    cluster.kill_all()?;
    cluster.start()?;
    cluster.until_equal(IMAGES)?;
    holds(cluster.server(2), "/lake.jpg", &image)
}

#[test]
fn a_replay_goes_on_with_every_bundle_that_the_service_was_given() -> Result<()> {
    let mut site = Site::of("upgrade-replay", &[Example::ImageServer])?;
    site.argument("--log-cut-interval").argument("1h");
    let scratch = ScratchFolder::new("upgrade-replay-versions")?;
    let server = site.start()?;
    let image = noise(9, IMAGE_BYTES);
    store(&server, "/lake.jpg", &image)?;
    let second = other_version(scratch.path(), Example::ImageServer, "0.2.0", |_| {})?;
    let status = upgraded(&server, &second)?;
    let (first_at, bundle) = (status["position"].as_u64(), status["bundle"].as_str().map(str::to_owned));
    let (first_at, bundle) = first_at.zip(bundle).context("it has a position and a bundle")?;
    let broken = version_of(scratch.path(), Example::ImageServer, "0.3.0", &exits(), |_| {})?;
    let (status, done) = upgrade(&server, &broken)?;
    ensure!(!done && status["state"] == "rolled-back", "{status:#}");
    let third = other_version(scratch.path(), Example::ImageServer, "0.4.0", |_| {})?;
    upgraded(&server, &third)?;
    store(&server, "/hill.jpg", &image)?;
    let digest = server.until_equal(IMAGES)?;
    server.kill()?;

    let rctl = Rctl::new(&site.data_dir());
    let output = rctl.run(&["replay", IMAGES, "--print-from", &first_at.to_string()])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && text.contains(&format!("digest {digest} ")), "{digest}: {text}");
    // The one that did not start is followed by the record that goes back.
    ensure!(text.matches("the service is given bundle").count() == 4, "{text}");
    // The next version's first calls are told in the turn of the upgrade.
    let turn =
        text.split("position ").find(|turn| turn.starts_with(&format!("{first_at} "))).context("no such turn")?;
    ensure!(turn.contains("upgrade to bundle") && turn.contains("  call "), "{turn}");

    // Without a bundle the way ends before it.
    std::fs::remove_dir_all(site.data_dir().join("bundles").join(bundle))?;
    let output = rctl.run(&["replay", IMAGES])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains(&format!("upgraded at position {first_at}")), "{said}");
    let before = (first_at - 1).to_string();
    ensure!(rctl.run(&["replay", IMAGES, "--to", &before])?.status.success());
    Ok(())
}

#[test]
fn a_node_that_was_away_takes_part_in_the_upgrade_when_it_comes_back() -> Result<()> {
    let mut cluster = three("upgrade-away")?;
    let scratch = ScratchFolder::new("upgrade-away-versions")?;
    let image = noise(5, IMAGE_BYTES);
    store(cluster.server(1), "/lake.jpg", &image)?;
    cluster.kill(3)?;
    let second = other_version(scratch.path(), Example::ImageServer, "0.2.0", |_| {})?;
    let third = other_version(scratch.path(), Example::ImageServer, "0.3.0", |_| {})?;
    for next in [&second, &third] {
        upgraded(cluster.server(1), next)?;
    }
    cluster.start_node(3)?;
    until_version(cluster.server(3), "0.3.0")?;
    cluster.until_equal(IMAGES)?;
    holds(cluster.server(3), "/lake.jpg", &image)?;
    // It has what it fetched: without the others' bundles it comes back too.
    cluster.kill_all()?;
    cluster.start()?;
    cluster.until_equal(IMAGES)?;
    holds(cluster.server(3), "/lake.jpg", &image)
}

#[test]
fn an_engine_killed_right_at_the_upgrade_comes_back_with_the_new_version() -> Result<()> {
    let mut cluster = three("upgrade-killed")?;
    let scratch = ScratchFolder::new("upgrade-killed-versions")?;
    let image = noise(6, IMAGE_BYTES);
    store(cluster.server(1), "/lake.jpg", &image)?;
    let leader = cluster.leader()?;
    for (nth, victim) in NODES.into_iter().filter(|id| *id != 1).enumerate() {
        let next = other_version(scratch.path(), Example::ImageServer, &format!("0.{}.0", nth + 2), |_| {})?;
        let log = cluster.server(victim).log().clone();
        let (operators, victims) = (cluster.server(1), cluster.server(victim));
        let (status, struck) = std::thread::scope(|scope| {
            let upgrading = scope.spawn(move || upgrade(operators, &next));
            let ordered = log.until("that it is in the log", |line| line.contains("upgrade ordered"));
            let struck = ordered.and_then(|_| victims.strike());
            (upgrading.join().expect("the operator does not panic"), struck)
        });
        struck?;
        let (status, done) = status.with_context(|| format!("node {victim} was killed, {leader} led"))?;
        ensure!(done, "{status:#}");
        cluster.kill(victim)?;
        cluster.start_node(victim)?;
        until_version(cluster.server(victim), &format!("0.{}.0", nth + 2))?;
        cluster.until_equal(IMAGES)?;
        holds(cluster.server(victim), "/lake.jpg", &image)?;
    }
    Ok(())
}
