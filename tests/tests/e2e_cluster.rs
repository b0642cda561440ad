//! Clusters of real processes that lose nodes: nothing acknowledged is lost, and whoever lives on serves.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use refrain_tests::native::Example;
use refrain_tests::three::{
    KV, NODES, active_seats, client, others, others_have_everything, prepared, seats, started, until_its_seat_is_active,
};
use refrain_tests::traffic::{Traffic, writers};
use refrain_tests::wait;

#[test]
fn any_node_serves_what_another_one_acknowledged() -> Result<()> {
    let cluster = started("any-node")?;
    ensure!(client(&cluster, 1)?.words("SET lake deep")? == b"+OK\r\n");
    for id in NODES {
        ensure!(client(&cluster, id)?.words("GET lake")? == b"$4\r\ndeep\r\n", "node {id}");
    }
    cluster.until_equal(KV)?;
    for id in NODES {
        cluster.server(id).until(KV, "active and equal on three nodes", |service| {
            let nodes: BTreeSet<u64> = seats(service).iter().filter_map(|seat| seat["node"].as_u64()).collect();
            let positions: BTreeSet<u64> = seats(service).iter().filter_map(|seat| seat["position"].as_u64()).collect();
            active_seats(service) == NODES.len() && nodes == BTreeSet::from(NODES) && positions.len() == 1
        })?;
    }
    Ok(())
}

#[test]
fn the_leader_dies_under_load_and_nothing_acknowledged_is_lost() -> Result<()> {
    let mut cluster = started("dead-leader")?;
    let leader = cluster.leader()?;
    let [proxy, other] = others(leader)[..] else { bail!("there are three nodes") };
    let traffic = Traffic::start(cluster.doors(), writers(8, &[proxy]));
    traffic.until_more(1000)?;
    cluster.kill(leader)?;
    traffic.until_more(1000)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    outcome.check(cluster.doors(), other)?;
    cluster.start_node(leader)?;
    until_its_seat_is_active(cluster.server(leader), leader)?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), leader)
}

#[test]
fn a_paused_follower_slows_nobody_and_catches_up() -> Result<()> {
    let cluster = started("paused")?;
    let leader = cluster.leader()?;
    let [proxy, paused] = others(leader)[..] else { bail!("there are three nodes") };
    let traffic = Traffic::start(cluster.doors(), writers(8, &[leader, proxy]));
    traffic.until_more(500)?;
    cluster.server(paused).freeze()?;
    traffic.pulse().forget_gaps();
    traffic.until_more(2000)?;
    cluster.server(paused).thaw()?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    ensure!(outcome.longest_gap < Duration::from_secs(1), "nobody was answered for {:?}", outcome.longest_gap);
    until_its_seat_is_active(cluster.server(paused), paused)?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), paused)
}

#[test]
fn all_nodes_killed_at_once_come_back_with_everything() -> Result<()> {
    let mut cluster = started("all-dead")?;
    let traffic = Traffic::start(cluster.doors(), writers(6, &NODES));
    traffic.until_more(1500)?;
    cluster.kill_all()?;
    let mut outcome = traffic.stop()?;
    cluster.start()?;
    for id in NODES {
        outcome.check(cluster.doors(), id)?;
    }
    cluster.until_equal(KV)
}

#[test]
fn a_minority_refuses() -> Result<()> {
    let mut cluster = prepared("minority", &[Example::KvServer])?;
    cluster.set("lease", "2s").start()?;
    cluster.until_equal(KV)?;
    let mut before = client(&cluster, 3)?;
    ensure!(before.words("SET lake deep")? == b"+OK\r\n");
    cluster.kill(1)?;
    cluster.kill(2)?;
    match before.words("SET lake dry") {
        Ok(reply) => bail!("a minority answered {:?}", String::from_utf8_lossy(&reply)),
        Err(error) => {
            let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            let waited = matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut));
            ensure!(!waited, "the connection was neither answered nor ended");
        }
    }
    let output = cluster.server(3).rctl(&["service", "audit", KV])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && said.contains("leader"), "{said}");
    cluster.start_node(1)?;
    for id in [1, 3] {
        wait::until(&format!("node {id} serves again"), || {
            let reply = client(&cluster, id).and_then(|mut client| client.words(&format!("SET hill{id} high")));
            Ok(reply.is_ok_and(|reply| reply == b"+OK\r\n").then_some(()))
        })?;
    }
    ensure!(client(&cluster, 1)?.words("GET hill3")? == b"$4\r\nhigh\r\n");
    cluster.server(3).rctl_json(&["service", "audit", KV])?;
    Ok(())
}

#[test]
fn one_node_grows_to_three_and_its_first_machine_may_be_lost() -> Result<()> {
    let mut cluster = prepared("growing", &[Example::KvServer])?;
    cluster.embedded(1).set_on(2, "join", true).set_on(3, "join", true);
    cluster.start_node(1)?;
    let traffic = Traffic::start(cluster.doors(), writers(4, &[1]));
    traffic.until_more(500)?;
    for id in [2, 3] {
        cluster.join(id, 1)?;
        traffic.until_more(200)?;
    }
    wait::until("three members vote", || {
        let list = cluster.server(1).rctl_json(&["sequencer", "list"])?;
        let members = list["members"].as_array().context("no members")?;
        let voters = members.iter().filter(|member| member["voter"] == true).count();
        Ok((voters == NODES.len()).then_some(()))
    })?;
    cluster.kill(1)?;
    others_have_everything(&cluster, traffic, 1)
}

#[test]
fn a_member_that_lost_its_disk_is_told_to_take_a_new_id() -> Result<()> {
    let mut cluster = started("lost-disk")?;
    ensure!(client(&cluster, 1)?.words("SET lake deep")? == b"+OK\r\n");
    cluster.terminate(3)?;
    cluster.lose_disk(3)?;
    let said = cluster.refused(3)?;
    ensure!(said.contains("needs a new id"), "{said}");
    ensure!(client(&cluster, 2)?.words("GET lake")? == b"$4\r\ndeep\r\n");
    Ok(())
}

#[test]
fn a_bundle_that_is_missing_or_damaged_is_fetched_from_another_node() -> Result<()> {
    let mut cluster = started("lost-bundle")?;
    ensure!(client(&cluster, 1)?.words("SET lake deep")? == b"+OK\r\n");
    for (id, damaged) in [(2, false), (3, true)] {
        cluster.terminate(id)?;
        // What is not given is known from the log alone.
        cluster.without_services(id);
        let bundles = cluster.data_dir(id).join("bundles");
        for entry in std::fs::read_dir(&bundles)? {
            let bundle = entry?.path();
            match damaged {
                true => std::fs::write(bundle.join("module.wasm"), b"something else")?,
                false => std::fs::remove_dir_all(bundle)?,
            }
        }
        cluster.start_node(id)?;
        ensure!(client(&cluster, id)?.words("GET lake")? == b"$4\r\ndeep\r\n", "node {id}");
        until_its_seat_is_active(cluster.server(id), id)?;
    }
    cluster.until_equal(KV)
}
