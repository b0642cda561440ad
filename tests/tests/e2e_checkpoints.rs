//! Checkpoints in whole servers: the log is cut behind them, and replicas begin with them, in the middle of the work.

use anyhow::{Context, Result, ensure};
use refrain_tests::cluster::Cluster;
use refrain_tests::http::{HttpClient, put, request};
use refrain_tests::native::Example;
use refrain_tests::resp::RespClient;
use refrain_tests::server::{Server, Site};
use refrain_tests::three::{KV, active_seats, others_have_everything, prepared, seats};
use refrain_tests::traffic::{Traffic, writers};
use refrain_tests::transcript::noise;
use refrain_tests::wait;

/// Checkpoints and cuts so often that a test sees many.
const OFTEN: [(&str, &str); 2] = [("checkpoint-interval", "200ms"), ("log-cut-interval", "200ms")];
const BATCHES: i64 = 50;

fn often(cluster: &mut Cluster) {
    for (key, value) in OFTEN {
        cluster.set(key, value);
    }
    cluster.set("checkpoint-batches", BATCHES);
}

fn log_number(server: &Server, key: &str) -> Result<u64> {
    server.rctl_json(&["status"])?["log"][key].as_u64().with_context(|| format!("the log has no {key}"))
}

fn first_position(server: &Server) -> Result<u64> {
    log_number(server, "first_position")
}

/// Waits until a server's log begins after a position.
fn until_cut_behind(server: &Server, position: u64) -> Result<u64> {
    wait::until(&format!("the log is cut behind position {position}"), || {
        let first = first_position(server)?;
        Ok((first > position).then_some(first))
    })
}

fn until_all_active(server: &Server) -> Result<()> {
    server.until(KV, "active in all seats", |service| {
        !seats(service).is_empty() && active_seats(service) == seats(service).len()
    })?;
    Ok(())
}

#[test]
fn a_killed_server_comes_back_from_its_checkpoint_behind_which_the_log_was_cut() -> Result<()> {
    let mut site = Site::of("cut", &[Example::KvServer])?;
    for (key, value) in OFTEN {
        site.argument(&format!("--{key}={value}"));
    }
    site.argument(&format!("--checkpoint-batches={BATCHES}"));
    let mut keys = 0..;
    for round in 0..3 {
        let server = site.start()?;
        let begin = log_number(&server, "last_position")?;
        let mut client = RespClient::connect(server.address(KV))?;
        let last = wait::until("the log is cut", || {
            let key = keys.next().expect("numbers do not end");
            ensure!(client.words(&format!("SET key{key} {round}"))? == b"+OK\r\n");
            let cut = key % 50 == 0 && first_position(&server)? > begin;
            Ok(cut.then_some(key))
        })?;
        server.kill()?;
        let server = site.start()?;
        ensure!(first_position(&server)? > begin, "the log begins at its beginning again");
        let mut client = RespClient::connect(server.address(KV))?;
        let count = String::from_utf8(client.words("DBSIZE")?)?;
        ensure!(count == format!(":{}\r\n", last + 1), "{count}");
        ensure!(client.words(&format!("GET key{last}"))? == format!("$1\r\n{round}\r\n").into_bytes());
        server.until_equal(KV)?;
        server.rctl_json(&["service", "audit", KV])?;
        server.until_equal(KV)?;
        server.terminate()?;
    }
    Ok(())
}

#[test]
fn a_node_that_was_away_while_the_log_was_cut_begins_with_a_checkpoint() -> Result<()> {
    let mut cluster = prepared("away", &[Example::KvServer])?;
    often(&mut cluster);
    cluster.start()?;
    cluster.until_equal(KV)?;
    let leader = cluster.leader()?;
    let away = if leader == 3 { 2 } else { 3 };
    let traffic = Traffic::start(cluster.doors(), writers(4, &[leader]));
    traffic.until_more(200)?;
    let missed = log_number(cluster.server(away), "last_position")?;
    cluster.kill(away)?;
    traffic.until_more(1000)?;
    until_cut_behind(cluster.server(leader), missed)?;
    cluster.start_node(away)?;
    until_all_active(cluster.server(leader))?;
    traffic.until_more(500)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), away)?;
    ensure!(first_position(cluster.server(away))? > missed);
    // Whoever holds the state now is all that is left of it.
    cluster.kill(leader)?;
    outcome.check(cluster.doors(), away)
}

#[test]
fn a_frozen_node_begins_anew_when_the_log_was_cut_meanwhile() -> Result<()> {
    let mut cluster = prepared("frozen-long", &[Example::KvServer])?;
    often(&mut cluster);
    // A frozen proxy holds the log until its lease is over.
    cluster.set("lease", "1500ms");
    cluster.start()?;
    cluster.until_equal(KV)?;
    let leader = cluster.leader()?;
    let frozen = if leader == 3 { 2 } else { 3 };
    let traffic = Traffic::start(cluster.doors(), writers(4, &[leader]));
    traffic.until_more(200)?;
    let missed = log_number(cluster.server(frozen), "last_position")?;
    cluster.server(frozen).freeze()?;
    traffic.until_more(1000)?;
    until_cut_behind(cluster.server(leader), missed + 1000)?;
    cluster.server(frozen).thaw()?;
    until_all_active(cluster.server(leader))?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), frozen)
}

#[test]
fn a_node_without_a_member_follows_a_log_that_was_cut() -> Result<()> {
    let mut cluster = Cluster::new("no-member", 4)?;
    cluster.example(Example::KvServer, |_| {})?;
    cluster.roles(4, &["proxy", "engine"]);
    often(&mut cluster);
    cluster.set("replicas", 3);
    cluster.start()?;
    let traffic = Traffic::start(cluster.doors(), writers(4, &[1]));
    traffic.until_more(200)?;
    let missed = log_number(cluster.server(1), "last_position")?;
    cluster.kill(4)?;
    traffic.until_more(1000)?;
    until_cut_behind(cluster.server(1), missed)?;
    cluster.start_node(4)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    until_all_active(cluster.server(1))?;
    outcome.check(cluster.doors(), 4)
}

#[test]
fn the_only_machine_with_replicas_is_lost_after_the_log_was_cut() -> Result<()> {
    let mut cluster = prepared("mirrored", &[Example::KvServer])?;
    often(&mut cluster);
    cluster.embedded(1).set_on(2, "join", true).set_on(3, "join", true);
    cluster.start_node(1)?;
    let traffic = Traffic::start(cluster.doors(), writers(4, &[1]));
    traffic.until_more(500)?;
    let begin = until_cut_behind(cluster.server(1), 1)?;
    for id in [2, 3] {
        cluster.join(id, 1)?;
    }
    traffic.until_more(500)?;
    // They cut their own logs only when they have copies of the checkpoint.
    for id in [2, 3] {
        until_cut_behind(cluster.server(id), begin)?;
    }
    cluster.kill(1)?;
    others_have_everything(&cluster, traffic, 1)
}

#[test]
fn replicas_that_join_in_the_middle_of_uploads_are_not_noticed() -> Result<()> {
    let mut cluster = prepared("joins", &[Example::ImageServer])?;
    often(&mut cluster);
    cluster.start()?;
    let image = noise(5, 10 << 20);
    for round in 0..10 {
        let mut client = HttpClient::connect(cluster.server(1 + round % 3).address("image-server"))?;
        let upload = put(&format!("/picture{}.jpg", round % 3), &image);
        let (first, second) = upload.split_at(upload.len() / 2);
        client.send(first)?;
        let seat = (round % 3).to_string();
        cluster.server(1).rctl_json(&["service", "rebuild", "image-server", "--seat", &seat])?;
        client.send(second)?;
        let status = client.reply(false)?.status;
        ensure!(status == 201 || status == 200 || status == 204, "round {round}: {status}");
        let back = client.exchange(request(&format!("GET /picture{}.jpg", round % 3), "", b""))?;
        ensure!(back.body() == image, "round {round}: the image came back changed");
    }
    cluster.until_equal("image-server")?;
    cluster.server(2).rctl_json(&["service", "audit", "image-server"])?;
    cluster.until_equal("image-server")
}

#[test]
fn a_replica_that_diverged_is_rebuilt_by_itself_and_the_second_time_stays_out() -> Result<()> {
    let mut site = Site::of("rebuild", &[Example::KvServer])?;
    for (key, value) in OFTEN {
        site.argument(&format!("--{key}={value}"));
    }
    let server = site.argument("--checkpoint-batches=50").argument("--allow-fault-injection").start()?;
    let mut client = RespClient::connect(server.address(KV))?;
    for key in 0..200 {
        ensure!(client.words(&format!("SET key{key} value"))? == b"+OK\r\n");
    }
    until_cut_behind(&server, 1)?;
    server.rctl_json(&["service", "corrupt-replica", KV, "--seat", "2"])?;
    server.until(KV, "rebuilt in seat 2", |service| {
        let seat = &service["seats"][2];
        seat["state"] == "active" && seat["reason"].as_str().is_some_and(|reason| reason.contains("diverged"))
    })?;
    ensure!(client.words("GET key7")? == b"$5\r\nvalue\r\n");
    server.rctl_json(&["service", "audit", KV])?;
    server.until_equal(KV)?;
    server.rctl_json(&["service", "corrupt-replica", KV, "--seat", "2"])?;
    server.until(KV, "quarantined in seat 2", |service| service["seats"][2]["state"] == "quarantined")?;
    server.log().until("an alert", |line| line.contains("KeptOut"))?;
    for _ in 0..3 {
        server.rctl_json(&["service", "audit", KV])?;
    }
    ensure!(server.service(KV)?["seats"][2]["state"] == "quarantined", "it was rebuilt again");
    server.rctl_json(&["service", "rebuild", KV, "--seat", "2"])?;
    server.until_equal(KV)?;
    Ok(())
}
