//! Several shards in one process and on several nodes: services on each, each with its own log, leader and end.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use refrain_tests::cluster::Cluster;
use refrain_tests::http::HttpClient;
use refrain_tests::load::{Ledger, Progress};
use refrain_tests::native::Example;
use refrain_tests::resp::RespClient;
use refrain_tests::server::{Server, Site};
use refrain_tests::three::{KV, NODES, others, prepared};
use refrain_tests::traffic::{Traffic, crowd, writers};

const ALL: [Example; 3] = [Example::KvServer, Example::ImageServer, Example::Echo];
/// Keys are on the second of two shards, pictures and echo on the first.
const PLACES: [(&str, u16); 3] = [("examples/kv-server", 1), ("examples/image-server", 0), ("examples/echo", 0)];

fn site_of_two(purpose: &str) -> Result<Site> {
    let mut site = Site::of(purpose, &ALL)?;
    site.argument("--shards").argument("2");
    for (service, shard) in PLACES {
        site.argument("--place").argument(&format!("{service}={shard}"));
    }
    Ok(site)
}

fn shard_of(server: &Server, service: &str) -> Result<Option<u64>> {
    Ok(server.service(service)?["shard"].as_u64())
}

fn set(address: SocketAddr, words: &str) -> Result<()> {
    let reply = RespClient::connect(address)?.words(words)?;
    ensure!(reply == b"+OK\r\n", "{words}: {:?}", String::from_utf8_lossy(&reply));
    Ok(())
}

fn told(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn services_of_both_shards_lose_nothing_when_the_process_is_killed() -> Result<()> {
    let site = site_of_two("two-shards")?;
    let (mut keys, mut images) = (Ledger::new(0), Ledger::new(1));
    for round in 0..3 {
        let server = site.start()?;
        ensure!((shard_of(&server, KV)?, shard_of(&server, "image-server")?) == (Some(1), Some(0)), "round {round}");
        let (kv, image) = (server.address(KV), server.address("image-server"));
        keys.check_keys(kv)?;
        images.check_images(image)?;
        let (of_keys, of_images) = (Progress::default(), Progress::default());
        std::thread::scope(|scope| {
            let writers =
                [scope.spawn(|| keys.write_keys(kv, &of_keys)), scope.spawn(|| images.write_images(image, &of_images))];
            let patience = std::time::Duration::from_secs(60);
            let reached = of_keys.until(300, patience).and(of_images.until(3, patience));
            let killed = server.kill();
            of_keys.stop();
            of_images.stop();
            for writer in writers {
                writer.join().expect("a writer does not panic")?;
            }
            reached.and(killed)
        })?;
    }
    let server = site.start()?;
    keys.check_keys(server.address(KV))?;
    images.check_images(server.address("image-server"))?;
    [KV, "image-server", "echo"].iter().try_for_each(|service| server.until_equal(service).map(drop))?;
    server.terminate()
}

#[test]
fn one_admin_api_tells_and_commands_all_shards() -> Result<()> {
    let mut site = site_of_two("one-api")?;
    site.variable("OTEL_TRACES_SAMPLER", "always_on");
    let server = site.start()?;
    set(server.address(KV), "SET lake deep")?;
    let reply = HttpClient::connect(server.address("image-server"))?.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    ensure!(!reply.body().is_empty());
    let status = server.rctl_json(&["status"])?;
    let positions: Vec<Option<u64>> = (0..2).map(|n| status["shards"][n]["log"]["committed"].as_u64()).collect();
    ensure!(positions.iter().all(|at| at.is_some_and(|at| at > 1)), "{status:#}");
    let generations = (&status["shards"][0]["log"]["generation"], &status["shards"][1]["log"]["generation"]);
    ensure!(generations.0 != generations.1, "two shards have one log: {status:#}");
    let shown = told(&server.rctl(&["status"])?);
    ensure!(shown.contains("\nshard 0 ") && shown.contains("\nshard 1 ") && shown.contains(" SHARD "), "{shown}");
    for service in [KV, "image-server"] {
        server.rctl_json(&["service", "kill-replica", service, "--seat", "1"])?;
        server.until_equal(service)?;
        server.rctl_json(&["service", "audit", service])?;
    }
    members_of_each(&server)?;
    metrics_of_each(server.admin_address()?)?;
    for (service, shard) in [(KV, 1), ("image-server", 0)] {
        let traces = server.rctl_json(&["trace", service])?;
        let traces = traces["traces"].as_array().context("no traces")?;
        let is_its = |trace: &serde_json::Value| {
            trace["shard"] == shard && trace["service"].as_str().is_some_and(|name| name.ends_with(service))
        };
        ensure!(!traces.is_empty() && traces.iter().all(is_its), "{traces:#?}");
    }
    let data_dir = site.data_dir();
    ensure!(data_dir.join("log").is_dir() && data_dir.join("shards/1/log").is_dir());
    server.terminate()?;
    for service in [KV, "image-server"] {
        replays(&data_dir, service)?;
    }
    Ok(())
}

fn members_of_each(server: &Server) -> Result<()> {
    let list = server.rctl_json(&["sequencer", "list"])?;
    let shards: Vec<_> = list.as_array().context("no list of shards")?.iter().map(|one| &one["shard"]).collect();
    ensure!(shards == [0, 1], "{list:#}");
    let one = server.rctl_json(&["sequencer", "list", "--shard", "1"])?;
    ensure!(one["shard"] == 1 && one["leader"] == 1, "{one:#}");
    let asked = server.rctl(&["sequencer", "remove", "9"])?;
    ensure!(!asked.status.success() && told(&asked).contains("say which one (--shard N, or --shard all)"));
    let none = server.rctl(&["sequencer", "list", "--shard", "2"])?;
    ensure!(!none.status.success() && told(&none).contains("this node has 2, numbered from 0"), "{}", told(&none));
    Ok(())
}

fn metrics_of_each(admin: SocketAddr) -> Result<()> {
    let reply = HttpClient::connect(admin)?.exchange("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let text = String::from_utf8(reply.body().to_vec())?;
    for wanted in
        ["refrain_term{shard=\"0\"} ", "refrain_term{shard=\"1\"} ", "{shard=\"1\",service=\"examples/kv-server\""]
    {
        ensure!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
    ensure!(text.matches("# TYPE refrain_term ").count() == 1, "{text}");
    Ok(())
}

/// A replay finds the log that has the service, and agrees with it.
fn replays(data_dir: &std::path::Path, service: &str) -> Result<()> {
    let rctl = refrain_tests::rctl::Rctl::new(data_dir);
    let output = rctl.run(&["replay", service])?;
    let said = told(&output);
    ensure!(output.status.success() && said.contains(&format!("examples/{service}: ")), "{said}");
    Ok(())
}

#[test]
fn shards_are_added_and_services_stay_where_they_are() -> Result<()> {
    let mut site = Site::of("more-shards", &[Example::KvServer])?;
    let server = site.start()?;
    set(server.address(KV), "SET lake deep")?;
    server.terminate()?;

    site.example(Example::Echo, |_| {})?;
    site.argument("--shards").argument("3").argument("--place").argument("examples/echo=2");
    let server = site.start()?;
    ensure!((shard_of(&server, KV)?, shard_of(&server, "echo")?) == (Some(0), Some(2)));
    ensure!(RespClient::connect(server.address(KV))?.words("GET lake")? == b"$4\r\ndeep\r\n");
    server.until_equal("echo")?;
    server.kill()?;

    // Nothing need be said of it again: the log knows.
    site.without_arguments().argument("--shards").argument("4");
    let server = site.start()?;
    ensure!((shard_of(&server, KV)?, shard_of(&server, "echo")?) == (Some(0), Some(2)));
    server.terminate()?;

    site.argument("--place").argument("examples/kv-server=1");
    let said = site.refused()?;
    ensure!(said.contains("examples/kv-server is on shard 0 and stays there"), "{said}");
    site.without_arguments().argument("--shards").argument("4").argument("--place").argument("examples/echo=1");
    let said = site.refused()?;
    ensure!(said.contains("examples/echo is on shard 2 and stays there"), "{said}");
    site.without_arguments();
    let said = site.refused()?;
    ensure!(said.contains("has shard 3") && said.contains("Say shards = 4"), "{said}");
    site.argument("--shards").argument("65");
    let said = site.refused()?;
    ensure!(said.contains("shards: 65 is not in 1 to 64"), "{said}");
    Ok(())
}

/// Three nodes with two shards, led by different nodes: the first by node 1, the second by node 2.
fn led_by_two(purpose: &str) -> Result<Cluster> {
    let mut cluster = prepared(purpose, &ALL)?;
    cluster.shards(2, &PLACES).start()?;
    for (shard, wanted) in [(0, 1), (1, 2)] {
        if cluster.leader_of(shard)? != wanted {
            let (shard, wanted) = (shard.to_string(), wanted.to_string());
            cluster.server(3).rctl_json(&["sequencer", "transfer", &wanted, "--shard", &shard])?;
        }
        ensure!(cluster.leader_of(shard)? == wanted, "shard {shard}");
    }
    [KV, "image-server", "echo"].iter().try_for_each(|service| cluster.until_equal(service))?;
    Ok(cluster)
}

#[test]
fn a_node_that_leads_one_of_two_shards_dies_and_both_go_on() -> Result<()> {
    let mut cluster = led_by_two("two-leaders")?;
    let mut clients = crowd(&others(2));
    for (lost, next) in [(2, 1), (1, 2)] {
        let alive = others(lost);
        let traffic = Traffic::start(cluster.doors(), clients);
        traffic.until_more(500)?;
        cluster.kill(lost)?;
        traffic.until_more(1000)?;
        let mut outcome = traffic.stop()?;
        outcome.unbroken_but_at(&[])?;
        alive.iter().try_for_each(|id| outcome.check(cluster.doors(), *id))?;
        cluster.start_node(lost)?;
        [KV, "image-server", "echo"].iter().try_for_each(|service| cluster.until_equal(service))?;
        outcome.check(cluster.doors(), lost)?;
        clients = outcome.again(&others(next));
    }
    Ok(())
}

#[test]
fn a_cluster_gets_another_shard_node_by_node() -> Result<()> {
    let mut cluster = prepared("cluster-shards", &[Example::KvServer])?;
    cluster.start()?;
    cluster.until_equal(KV)?;
    let traffic = Traffic::start(cluster.doors(), writers(4, &NODES));
    traffic.until_more(200)?;
    cluster.shards(2, &[("examples/echo", 1)]);
    for id in NODES {
        cluster.terminate(id)?;
        // It is ready before the others know of the shard, as nothing is on it.
        cluster.start_node(id)?;
        traffic.until_more(200)?;
    }
    let mut outcome = traffic.stop()?;
    outcome.check(cluster.doors(), 1)?;
    cluster.leader_of(1)?;
    ensure!(shard_of(cluster.server(1), KV)? == Some(0));
    cluster.example(Example::Echo, |_| {})?;
    NODES.iter().try_for_each(|id| cluster.terminate(*id))?;
    cluster.start()?;
    for id in NODES {
        ensure!(shard_of(cluster.server(id), "echo")? == Some(1) && shard_of(cluster.server(id), KV)? == Some(0));
    }
    cluster.until_equal("echo")?;
    outcome.check(cluster.doors(), 2)
}

#[test]
fn a_process_with_two_shards_grows_to_three_nodes_and_may_be_lost() -> Result<()> {
    let mut cluster = prepared("growing-shards", &ALL)?;
    cluster.shards(2, &PLACES).embedded(1).set_on(2, "join", true).set_on(3, "join", true);
    cluster.start_node(1)?;
    let traffic = Traffic::start(cluster.doors(), crowd(&[1]));
    traffic.until_more(300)?;
    for id in [2, 3] {
        cluster.join(id, 1)?;
        traffic.until_more(100)?;
    }
    let list = cluster.server(1).rctl_json(&["sequencer", "list"])?;
    let voters = |shard: usize| list[shard]["members"].as_array().map_or(0, Vec::len);
    if (voters(0), voters(1)) != (3, 3) {
        bail!("{list:#}");
    }
    cluster.kill(1)?;
    traffic.until_more(500)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[1])?;
    others(1).into_iter().try_for_each(|id| outcome.check(cluster.doors(), id))
}

#[test]
fn a_shard_that_fails_ends_its_nodes_process_and_the_others_go_on() -> Result<()> {
    let mut cluster = led_by_two("failed-shard")?;
    let traffic = Traffic::start(cluster.doors(), crowd(&others(3)));
    traffic.until_more(200)?;
    cluster.kill(3)?;
    std::fs::remove_dir_all(cluster.data_dir(3).join("shards/1"))?;
    let said = cluster.refused(3)?;
    ensure!(said.contains("the log of shard 1 has failed: node 3 has no log"), "{said}");
    traffic.until_more(200)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    outcome.check(cluster.doors(), 1)
}

/// A member with so many shards, and a proxy that was told of so many others.
fn told_differently(purpose: &str, (of_member, place): (u16, &[(&str, u16)]), of_proxy: u16) -> Result<Cluster> {
    let mut cluster = Cluster::new(purpose, 2)?;
    ALL.iter().try_for_each(|example| cluster.example(*example, |_| {}).map(drop))?;
    cluster.roles(2, &["proxy"]).shards(of_member, place).start_node(1)?;
    cluster.shards(of_proxy, &[]).start_node(2)?;
    Ok(cluster)
}

#[test]
fn a_node_that_was_told_fewer_shards_says_so_and_serves_what_it_has() -> Result<()> {
    let cluster = told_differently("fewer-shards", (2, &PLACES), 1)?;
    let proxy = cluster.server(2);
    proxy.log().until("that a service is on a shard which it lacks", |line| {
        line.contains("examples/kv-server is on shard 1, and the configuration has shards 0 to 0")
    })?;
    let image = proxy.address("image-server");
    ensure!(HttpClient::connect(image)?.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n")?.status == 200);
    ensure!(!proxy.served().contains_key(KV), "{:?}", proxy.served());
    let asked = proxy.rctl(&["service", "audit", "examples/kv-server"])?;
    ensure!(!asked.status.success(), "{}", told(&asked));
    Ok(())
}

#[test]
fn a_node_that_was_told_more_shards_is_turned_away_in_words() -> Result<()> {
    let cluster = told_differently("further-shards", (1, &[]), 2)?;
    let log = cluster.server(1).log();
    log.until("that a stream of the shard was turned away", |line| {
        line.contains("this node has no shard 1 that runs") && line.contains("`shards` is 1 here")
    })?;
    set(cluster.server(2).address(KV), "SET lake deep")?;
    ensure!(shard_of(cluster.server(2), KV)? == Some(0));
    Ok(())
}
