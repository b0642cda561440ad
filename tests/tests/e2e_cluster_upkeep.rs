//! What operators do to a cluster while clients go on: restarting every node, growing, losing the first machine.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use refrain_tests::cluster::Cluster;
use refrain_tests::native::Example;
use refrain_tests::server::Server;
use refrain_tests::three::{
    KV, NODES, active_seats, others, others_have_everything, prepared, seats, until_its_seat_is_active,
};
use refrain_tests::tools::{installed, output_of};
use refrain_tests::traffic::{Traffic, crowd, writers};

const ALL: [Example; 3] = [Example::Echo, Example::ImageServer, Example::KvServer];

/// Every seat of a service is active, each on a node of its own.
fn until_spread(server: &Server) -> Result<()> {
    let spread = server.until(KV, "active on three nodes", |service| {
        let nodes: BTreeSet<u64> = seats(service).iter().filter_map(|seat| seat["node"].as_u64()).collect();
        active_seats(service) == NODES.len() && nodes.len() == NODES.len()
    });
    spread.map(drop)
}

#[test]
fn every_node_is_restarted_and_no_client_of_another_one_notices() -> Result<()> {
    let mut cluster = prepared("rolling", &ALL)?;
    cluster.set("drain-timeout", "1s").start()?;
    for example in ALL {
        cluster.until_equal(example.name())?;
    }
    let mut clients = crowd(&NODES);
    for restarted in NODES {
        let traffic = Traffic::start(cluster.doors(), clients);
        traffic.until_more(500)?;
        cluster.terminate(restarted)?;
        traffic.until_more(500)?;
        cluster.start_node(restarted)?;
        until_its_seat_is_active(cluster.server(restarted), restarted)?;
        traffic.until_more(500)?;
        let mut outcome = traffic.stop()?;
        outcome.unbroken_but_at(&[restarted])?;
        outcome.check(cluster.doors(), others(restarted)[0])?;
        clients = outcome.again(&NODES);
    }
    ALL.into_iter().try_for_each(|example| cluster.until_equal(example.name()))
}

#[test]
fn everything_restarted_at_once_goes_on_where_it_was() -> Result<()> {
    let mut cluster = prepared("all-again", &ALL)?;
    cluster.start()?;
    let mut clients = crowd(&NODES);
    for _ in 0..2 {
        let traffic = Traffic::start(cluster.doors(), clients);
        traffic.until_more(1000)?;
        cluster.kill_all()?;
        let mut outcome = traffic.stop()?;
        cluster.start()?;
        for id in NODES {
            outcome.check(cluster.doors(), id)?;
        }
        clients = outcome.again(&NODES);
    }
    ALL.into_iter().try_for_each(|example| cluster.until_equal(example.name()))
}

/// Runs the benchmark against a port, again and again until it is stopped.
fn benchmark(program: &Path, port: u16, stop: &AtomicBool) -> Result<u64> {
    let port = port.to_string();
    let mut runs = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &port, "-c", "10", "-n", "2000", "-t", "set,incr", "-q"]);
        let said = output_of(command.stdin(Stdio::null()))?;
        ensure!(!said.contains("rror"), "{said}");
        runs += 1;
    }
    Ok(runs)
}

/// Three members, the seats on three nodes by themselves, all while a benchmark runs; then the first machine is lost.
#[test]
fn one_node_grows_under_a_benchmark_and_its_machine_is_lost() -> Result<()> {
    let Some(program) = installed("redis-benchmark")? else { return Ok(()) };
    let mut cluster = Cluster::new("grown", NODES.len() as u64)?;
    cluster.example(Example::KvServer, |_| {})?;
    cluster.example(Example::KvServer, |manifest| drop(manifest.insert("name".to_owned(), "kv-bench".into())))?;
    cluster.embedded(1).set_on(2, "join", true).set_on(3, "join", true);
    cluster.start_node(1)?;
    let traffic = Traffic::start(cluster.doors(), writers(3, &[1]));
    traffic.until_more(200)?;
    let stop = AtomicBool::new(false);
    // Node 1 alone is asked by the benchmark; the others join it meanwhile.
    let port = cluster.server(1).address("kv-bench").port();
    let runs = std::thread::scope(|scope| {
        let running = scope.spawn(|| benchmark(&program, port, &stop));
        let grown = [2, 3].into_iter().try_for_each(|id| {
            cluster.join(id, 1)?;
            traffic.until_more(200)
        });
        let grown = grown.and_then(|()| until_spread(cluster.server(1))).and_then(|()| traffic.until_more(200));
        stop.store(true, Ordering::Relaxed);
        let runs = running.join().expect("the benchmark does not panic");
        grown.and(runs)
    })?;
    ensure!(runs > 0, "the benchmark never ended a run");
    let list = cluster.server(1).rctl_json(&["sequencer", "list"])?;
    let voters = list["members"].as_array().context("no members")?.iter().filter(|member| member["voter"] == true);
    ensure!(voters.count() == NODES.len(), "{list:#}");
    cluster.kill(1)?;
    cluster.lose_disk(1)?;
    others_have_everything(&cluster, traffic, 1)
}

#[test]
fn a_seat_goes_back_to_an_engine_that_was_away_for_long() -> Result<()> {
    let mut cluster = prepared("back-again", &[Example::KvServer])?;
    // Fewer engines than seats: those of one that is away are not kept free for long.
    cluster.roles(3, &["sequencer", "proxy"]).start()?;
    cluster.until_equal(KV)?;
    let held_by = |service: &serde_json::Value, node: u64| {
        seats(service).iter().filter(|seat| seat["node"] == node && seat["state"] == "active").count()
    };
    let traffic = Traffic::start(cluster.doors(), writers(4, &[1, 3]));
    cluster.kill(2)?;
    cluster.server(1).until(KV, "active on node 1 alone", |service| held_by(service, 1) == NODES.len())?;
    traffic.until_more(500)?;
    cluster.start_node(2)?;
    until_its_seat_is_active(cluster.server(2), 2)?;
    let spread = cluster.server(1).service(KV)?;
    ensure!(held_by(&spread, 1) == NODES.len() - 1, "{spread:#}");
    traffic.until_more(500)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), 2)
}
