//! HTTP over several nodes: a service on some of them, clients at another one, and nodes that die, stop, drain and come
//! back.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use refrain_tests::cluster::Cluster;
use refrain_tests::server::Server;
use refrain_tests::transcript::noise;
use refrain_tests::wait;
use serde_json::Value;

/// A component of `wasi:http` 0.2 that does what the path says; its source is beside it.
const GUEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/http/tests/guests/p2.wasm");
/// The nodes that have the service, and the one whose front end clients use.
const HOSTS: [u64; 2] = [1, 2];
const EDGE: u64 = 3;
/// Requests of one round of traffic.
const ROUND: usize = 50;
/// Bytes of a large body.
const LARGE: usize = 64 << 20;
/// What a hop may keep of it.
const KEPT: u64 = 48 << 20;

fn manifest(version: &str, more: &str) -> String {
    format!(
        "name = \"web\"\nnamespace = \"tests\"\nversion = \"{version}\"\nmodule = \"web.wasm\"\n\
         kind = \"http\"\nmode = \"stateless\"\n{more}\n[[routes]]\npath = \"/web/...\"\nrewrite = \"/\"\n"
    )
}

fn guest() -> Result<Vec<u8>> {
    std::fs::read(GUEST).with_context(|| format!("cannot read {GUEST}"))
}

/// Three nodes that do not run yet, of which two are given the service.
fn prepared(purpose: &str, more: &str) -> Result<Cluster> {
    let mut cluster = Cluster::new(purpose, 3)?;
    cluster.service(&manifest("1.0.0", more), &guest()?)?;
    cluster.without_services(EDGE);
    cluster.set("http", toml::Value::Array(vec!["127.0.0.1:0".into()]));
    cluster.set("peer-timeout", "1s").set("drain-timeout", "20s");
    Ok(cluster)
}

fn started(purpose: &str, more: &str) -> Result<Cluster> {
    let mut cluster = prepared(purpose, more)?;
    cluster.start()?;
    for node in HOSTS {
        until_state(&cluster, "1.0.0", node, "ready")?;
    }
    Ok(cluster)
}

/// A folder with a version of the service.
fn version(cluster: &Cluster, folder: &str, version: &str, more: &str) -> Result<PathBuf> {
    let folder = cluster.scratch().join(folder);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("service.toml"), manifest(version, more))?;
    std::fs::write(folder.join("web.wasm"), guest()?)?;
    Ok(folder)
}

fn http(server: &Server) -> Result<Value> {
    Ok(server.rctl_json(&["status"])?["http"].take())
}

/// A node of those that answer for a version, as the node of the clients sees it.
fn upstream(cluster: &Cluster, version: &str, node: u64) -> Result<Value> {
    let status = http(cluster.server(EDGE))?;
    let services = status["services"].as_array().cloned().unwrap_or_default();
    let service = services.into_iter().find(|service| service["version"] == version).unwrap_or_default();
    let upstreams = service["upstreams"].as_array().cloned().unwrap_or_default();
    Ok(upstreams.into_iter().find(|upstream| upstream["node"] == node).unwrap_or_default())
}

fn until_state(cluster: &Cluster, version: &str, node: u64, state: &str) -> Result<()> {
    wait::until(&format!("{version} at node {node} is {state}"), || {
        Ok((upstream(cluster, version, node)?["state"] == state).then_some(()))
    })
}

fn url(cluster: &Cluster, node: u64) -> Result<String> {
    let status = http(cluster.server(node))?;
    status["listens"][0].as_str().map(str::to_owned).with_context(|| format!("{status:#}"))
}

/// Runs curl; status and body.
fn curl(arguments: &[&str]) -> Result<(u16, Vec<u8>)> {
    let mut command = Command::new("curl");
    let output = command.args(["-s", "--max-time", "60", "-w", "%{stderr}%{http_code}"]).args(arguments).output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "curl {arguments:?}: {} {told}", output.status);
    Ok((told.trim().parse().with_context(|| format!("curl {arguments:?}: {told}"))?, output.stdout))
}

fn good(arguments: &[&str]) -> Result<String> {
    let (status, body) = curl(arguments)?;
    ensure!(status == 200, "curl {arguments:?}: {status} {}", String::from_utf8_lossy(&body));
    Ok(String::from_utf8(body)?)
}

/// Clients of the node without the service, each of whose answers has to be right.
struct Traffic<'a> {
    url: &'a str,
    until: AtomicBool,
    answered: AtomicUsize,
}

impl Traffic<'_> {
    /// Runs `during` under it; how many requests were answered.
    fn around(url: &str, during: impl FnOnce(&Traffic<'_>) -> Result<()>) -> Result<usize> {
        let traffic = Traffic { url, until: AtomicBool::new(false), answered: AtomicUsize::new(0) };
        thread::scope(|scope| {
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| traffic.client())).collect();
            let happened = during(&traffic);
            traffic.until.store(true, Ordering::SeqCst);
            let ended: Result<()> =
                clients.into_iter().try_for_each(|client| client.join().expect("it does not panic"));
            ended.and(happened)
        })?;
        Ok(traffic.answered.load(Ordering::SeqCst))
    }

    fn client(&self) -> Result<()> {
        while !self.until.load(Ordering::SeqCst) {
            let mut command = Command::new("curl");
            command.args(["-s", "--max-time", "60", "-w", "%{http_code} %{size_download}\n"]);
            for _ in 0..ROUND {
                command.args(["-o", "/dev/null", self.url]);
            }
            let output = command.output()?;
            let told = String::from_utf8(output.stdout)?;
            let right = told.lines().filter(|line| *line == "200 13").count();
            ensure!(output.status.success() && right == ROUND, "{} {told}", output.status);
            self.answered.fetch_add(right, Ordering::SeqCst);
        }
        Ok(())
    }

    fn until_more(&self, more: usize) -> Result<()> {
        let wanted = self.answered.load(Ordering::SeqCst) + more;
        wait::until("requests are answered", || Ok((self.answered.load(Ordering::SeqCst) >= wanted).then_some(())))
    }
}

#[test]
fn a_node_without_a_service_sends_requests_to_the_nodes_that_have_it() -> Result<()> {
    let cluster = started("http-nodes", "")?;
    let clear = url(&cluster, EDGE)?;
    ensure!(good(&[&format!("{clear}/web/")])? == "hello, world\n");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let file = cluster.scratch().join("body");
        std::fs::write(&file, noise(7, 1_000_000))?;
        let echoed = curl(&[version, "--data-binary", &format!("@{}", file.display()), &format!("{clear}/web/echo")])?;
        ensure!(echoed == (200, noise(7, 1_000_000)), "{version}: {} with {} bytes", echoed.0, echoed.1.len());
    }
    ensure!(curl(&[&format!("{clear}/web/trap")])?.0 == 502);
    let asked = |version: &str| curl(&["-H", &format!("x-refrain-version: {version}"), &format!("{clear}/web/")]);
    ensure!(asked("1.0.0")?.0 == 200 && asked("2.0.0")?.0 == 503);
    ensure!(
        curl(&["-H", "x-refrain-target: tests/web@9.9.9", &format!("{clear}/web/")])?.0 == 200,
        "clients name none"
    );
    // Both take part, and each node prefers itself.
    Traffic::around(&format!("{clear}/web/"), |traffic| traffic.until_more(200))?;
    for node in HOSTS {
        ensure!(upstream(&cluster, "1.0.0", node)?["requests"].as_u64() > Some(0), "node {node}");
        let own = url(&cluster, node)?;
        ensure!(good(&[&format!("{own}/web/")])? == "hello, world\n");
    }
    let own = http(cluster.server(1))?;
    let by_node = own["services"][0]["upstreams"].as_array().cloned().unwrap_or_default();
    let for_others = own["services"][0]["for_others"].as_u64().unwrap_or(0);
    ensure!(for_others > 0 && own["services"][0]["answers"][1] == 1, "{own:#}");
    ensure!(by_node.len() == 2 && by_node[0]["requests"] == for_others + 1 && by_node[1]["requests"] == 0, "{own:#}");
    let metrics = good(&[&format!("http://{}/metrics", cluster.server(EDGE).admin_address()?)])?;
    let labels = "service=\"tests/web\",version=\"1.0.0\",node=\"1\"";
    ensure!(metrics.contains(&format!("refrain_http_upstream_state{{{labels},state=\"ready\"}} 1")), "{metrics}");
    Ok(())
}

#[test]
fn a_node_that_is_killed_under_load_costs_no_request_and_comes_back() -> Result<()> {
    let mut cluster = started("http-nodes-kill", "")?;
    let clear = format!("{}/web/", url(&cluster, EDGE)?);
    let answered = Traffic::around(&clear, |traffic| {
        for node in HOSTS {
            traffic.until_more(200)?;
            cluster.kill(node)?;
            until_state(&cluster, "1.0.0", node, "down")?;
            traffic.until_more(200)?;
            cluster.start_node(node)?;
            until_state(&cluster, "1.0.0", node, "ready")?;
        }
        Ok(())
    })?;
    ensure!(answered >= 800);
    cluster.terminate(EDGE)
}

#[test]
fn a_node_that_drains_under_load_costs_no_request() -> Result<()> {
    let mut cluster = started("http-nodes-drain", "")?;
    let clear = format!("{}/web/", url(&cluster, EDGE)?);
    Traffic::around(&clear, |traffic| {
        for node in HOSTS {
            traffic.until_more(200)?;
            cluster.terminate(node)?;
            traffic.until_more(200)?;
            cluster.start_node(node)?;
            until_state(&cluster, "1.0.0", node, "ready")?;
        }
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_request_under_way_is_answered_by_a_node_that_drains() -> Result<()> {
    let mut cluster = started("http-nodes-under-way", "")?;
    let slow = format!("{}/web/sleep?3000", url(&cluster, EDGE)?);
    thread::scope(|scope| {
        // Each of these is at one of the nodes, and neither can be sent twice.
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| curl(&["-X", "POST", &slow]))).collect();
        wait::until("they are at both", || {
            let under_way =
                |node| Ok::<_, anyhow::Error>(upstream(&cluster, "1.0.0", node)?["in_flight"].as_u64() > Some(0));
            Ok((under_way(1)? && under_way(2)?).then_some(()))
        })?;
        cluster.terminate(1)?;
        for client in clients {
            ensure!(client.join().expect("it does not panic")?.0 == 200);
        }
        Ok(())
    })
}

#[test]
fn a_node_that_is_paused_is_left_alone_until_it_goes_on() -> Result<()> {
    let cluster = started("http-nodes-pause", "")?;
    let clear = format!("{}/web/", url(&cluster, EDGE)?);
    Traffic::around(&clear, |traffic| {
        traffic.until_more(200)?;
        cluster.server(1).freeze()?;
        traffic.until_more(400)?;
        until_state(&cluster, "1.0.0", 1, "down")?;
        cluster.server(1).thaw()?;
        until_state(&cluster, "1.0.0", 1, "ready")?;
        traffic.until_more(200)
    })?;
    Ok(())
}

#[test]
fn a_large_body_passes_a_hop_that_keeps_little_of_it() -> Result<()> {
    let cluster = started("http-nodes-large", "")?;
    let echo = format!("{}/web/echo", url(&cluster, EDGE)?);
    let (sent, back) = (cluster.scratch().join("sent"), cluster.scratch().join("back"));
    std::fs::write(&sent, noise(3, LARGE))?;
    let resident = || [1, 2, EDGE].map(|node| cluster.server(node).resident_bytes());
    // Once with little, so that what everything needs is there.
    ensure!(curl(&["--data-binary", "x", &echo])?.0 == 200);
    let before = resident();
    let most = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let watch = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::SeqCst) {
                for (now, before) in resident().into_iter().zip(&before) {
                    let before = before.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                    let grown = usize::try_from(now?.saturating_sub(*before))?;
                    most.fetch_max(grown, Ordering::SeqCst);
                }
                wait::pause(std::time::Duration::from_millis(5));
            }
            Ok(())
        });
        let answered = curl(&[
            "-o",
            &back.display().to_string(),
            "--limit-rate",
            "64M",
            "-H",
            "expect:",
            "-T",
            &sent.display().to_string(),
            "-X",
            "POST",
            &echo,
        ]);
        over.store(true, Ordering::SeqCst);
        watch.join().expect("it does not panic")?;
        ensure!(answered?.0 == 200);
        Ok(())
    })?;
    ensure!(std::fs::read(&back)? == noise(3, LARGE), "another body came back");
    let most = most.load(Ordering::SeqCst) as u64;
    ensure!(most < KEPT, "a node has grown by {most} bytes");
    Ok(())
}

#[test]
fn a_version_gets_requests_where_it_says_that_it_is_well_and_nowhere_else() -> Result<()> {
    let mut cluster = prepared("http-nodes-well", "")?;
    for (node, health) in [(1, "/trap"), (2, "/")] {
        let folder = version(&cluster, &format!("of-{node}"), "1.0.0", &format!("[http]\nhealth = \"{health}\""))?;
        cluster.set_on(node, "services", toml::Value::Array(vec![folder.display().to_string().into()]));
    }
    cluster.start()?;
    until_state(&cluster, "1.0.0", 1, "waiting")?;
    until_state(&cluster, "1.0.0", 2, "ready")?;
    let clear = format!("{}/web/", url(&cluster, EDGE)?);
    Traffic::around(&clear, |traffic| traffic.until_more(200))?;
    ensure!(upstream(&cluster, "1.0.0", 1)?["requests"] == 0);
    // Not even those of its own clients, as long as there is another one.
    ensure!(good(&[&format!("{}/web/", url(&cluster, 1)?)])? == "hello, world\n");
    cluster.terminate(2)?;
    let (status, _) = curl(&[&clear])?;
    ensure!(status == 503, "nobody is well: {status}");
    Ok(())
}

/// The versions that a node hosts itself, with their shares.
fn hosted(cluster: &Cluster, node: u64) -> Result<Vec<String>> {
    let status = http(cluster.server(node))?;
    let services = status["services"].as_array().cloned().unwrap_or_default();
    let here = services.iter().filter(|service| !service["instances"].is_null());
    Ok(here.map(|service| format!("{}={}", service["version"].as_str().unwrap_or(""), service["weight"])).collect())
}

fn until_hosted(cluster: &Cluster, node: u64, wanted: &[&str]) -> Result<()> {
    let mut last = Vec::new();
    let hosts = wait::until(&format!("node {node} hosts {wanted:?}"), || {
        last = hosted(cluster, node)?;
        Ok((last == wanted).then_some(()))
    });
    hosts.with_context(|| format!("it hosts {last:?}"))
}

fn deploy(cluster: &Cluster, node: u64, folder: &std::path::Path) -> Result<Value> {
    cluster.server(node).rctl_json(&["service", "deploy", &folder.display().to_string()])
}

#[test]
fn a_version_that_is_deployed_at_one_node_takes_over_on_all_of_them_under_load() -> Result<()> {
    let mut cluster = started("http-nodes-shift", "[env]\nVERSION = \"1.0.0\"")?;
    let clear = url(&cluster, EDGE)?;
    let (hello, env) = (format!("{clear}/web/"), format!("{clear}/web/env"));
    let second = version(&cluster, "second", "1.1.0", "[env]\nVERSION = \"1.1.0\"")?;
    let share = |of: usize| -> Result<usize> {
        let seen: Vec<String> = (0..of).map(|_| good(&[&env])).collect::<Result<_>>()?;
        Ok(seen.iter().filter(|text| text.contains("1.1.0")).count())
    };
    Traffic::around(&hello, |traffic| {
        deploy(&cluster, 2, &second)?;
        for node in [1, 2, EDGE] {
            until_hosted(&cluster, node, &["1.0.0=100", "1.1.0=0"])?;
        }
        ensure!(share(20)? == 0, "a second version gets nothing yet");
        traffic.until_more(100)?;
        cluster.server(1).rctl_json(&["service", "weights", "web", "1.0.0=90", "1.1.0=10"])?;
        for node in [1, 2, EDGE] {
            until_hosted(&cluster, node, &["1.0.0=90", "1.1.0=10"])?;
        }
        let tenth = share(200)?;
        ensure!((1..80).contains(&tenth), "{tenth} of 200");
        traffic.until_more(100)?;
        cluster.server(EDGE).rctl_json(&["service", "weights", "web", "1.0.0=0", "1.1.0=100"])?;
        for node in [1, 2, EDGE] {
            until_hosted(&cluster, node, &["1.0.0=0", "1.1.0=100"])?;
        }
        ensure!(share(50)? == 50);
        cluster.server(2).rctl_json(&["service", "remove", "web", "1.0.0"])?;
        for node in [1, 2, EDGE] {
            until_hosted(&cluster, node, &["1.1.0=100"])?;
        }
        traffic.until_more(100)
    })?;
    // One that was away has what was changed meanwhile, and none of what it was given.
    cluster.terminate(1)?;
    let third = version(&cluster, "third", "1.2.0", "[env]\nVERSION = \"1.2.0\"")?;
    // It may have led the log: until another node does, nothing is ordered.
    wait::until("the third version is deployed", || Ok(deploy(&cluster, EDGE, &third).ok()))?;
    cluster.start_node(1)?;
    until_hosted(&cluster, 1, &["1.1.0=100", "1.2.0=0"])?;
    let refused = cluster.server(2).rctl(&["service", "remove", "web", "1.0.0"])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && told.contains("those that do: 1.1.0, 1.2.0"), "{told}");
    // What was removed altogether meanwhile is not there again.
    cluster.terminate(1)?;
    for version in ["1.2.0", "1.1.0"] {
        let remove = || cluster.server(2).rctl_json(&["service", "remove", "web", version]);
        wait::until("the version is removed", || Ok(remove().ok()))?;
    }
    cluster.without_services(1);
    cluster.start_node(1)?;
    [1, 2, EDGE].into_iter().try_for_each(|node| until_hosted(&cluster, node, &[]))
}

/// What a node says that it cannot serve.
fn problems(cluster: &Cluster, node: u64) -> Result<Vec<String>> {
    let status = http(cluster.server(node))?;
    let problems = status["problems"].as_array().cloned().unwrap_or_default();
    Ok(problems.iter().filter_map(|problem| problem["service"].as_str().map(str::to_owned)).collect())
}

#[test]
fn a_version_that_a_node_cannot_have_is_left_out_there_and_tried_again() -> Result<()> {
    let cluster = started("http-nodes-left-out", "")?;
    let clear = url(&cluster, EDGE)?;
    // Where the node would keep bundles is a file.
    let bundles = cluster.data_dir(EDGE).join("bundles");
    if bundles.exists() {
        std::fs::remove_dir_all(&bundles)?;
    }
    std::fs::write(&bundles, "")?;
    deploy(&cluster, 1, &version(&cluster, "second", "1.1.0", "[env]\nVERSION = \"1.1.0\"")?)?;
    let both = ["tests/web@1.0.0", "tests/web@1.1.0"];
    wait::until("the node says what it cannot run", || Ok((problems(&cluster, EDGE)? == both).then_some(())))?;
    let shown = String::from_utf8_lossy(&cluster.server(EDGE).rctl(&["status"])?.stdout).into_owned();
    ensure!(shown.contains("not served  tests/web@1.1.0: "), "{shown}");
    let metrics = good(&[&format!("http://{}/metrics", cluster.server(EDGE).admin_address()?)])?;
    ensure!(metrics.contains("refrain_http_problem{service=\"tests/web@1.1.0\"} 1"), "{metrics}");
    // It follows what it can follow, and others answer.
    cluster.server(EDGE).rctl_json(&["service", "weights", "web", "1.0.0=0", "1.1.0=50"])?;
    Traffic::around(&format!("{clear}/web/"), |traffic| traffic.until_more(100))?;
    ensure!(good(&[&format!("{clear}/web/env")])?.contains("1.1.0"));
    std::fs::remove_file(&bundles)?;
    until_hosted(&cluster, EDGE, &["1.0.0=0", "1.1.0=50"])?;
    ensure!(problems(&cluster, EDGE)?.is_empty());
    Ok(())
}

#[test]
fn another_bundle_under_a_number_takes_its_place_also_where_the_first_one_is_given() -> Result<()> {
    let mut cluster = started("http-nodes-bundle", "[env]\nVERSION = \"first\"")?;
    cluster.terminate(1)?;
    let other = version(&cluster, "other", "1.0.0", "[env]\nVERSION = \"other\"")?;
    // Node 1 may have led the log.
    wait::until("the other bundle is deployed", || Ok(deploy(&cluster, 2, &other).ok()))?;
    cluster.start_node(1)?;
    for node in [1, 2, EDGE] {
        let env = format!("{}/web/env", url(&cluster, node)?);
        wait::until(&format!("node {node} hosts the other bundle"), || {
            let is_hosted = hosted(&cluster, node)? == ["1.0.0=100"];
            Ok((is_hosted && good(&[&env])?.contains("other")).then_some(()))
        })?;
    }
    // What is removed is not taken over from nodes that have not followed that yet.
    cluster.server(2).rctl_json(&["service", "remove", "web", "1.0.0"])?;
    let next = version(&cluster, "next", "2.0.0", "")?;
    // The node itself may not know of the removal yet: its change is refused then.
    wait::until("the next version is deployed", || Ok(deploy(&cluster, EDGE, &next).ok()))?;
    [EDGE, 1, 2].into_iter().try_for_each(|node| until_hosted(&cluster, node, &["2.0.0=100"]))
}
