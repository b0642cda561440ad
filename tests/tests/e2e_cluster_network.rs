//! Clusters on hosts of their own whose network is cut: between nodes both ways and one way, and a whole machine.

use std::io::ErrorKind;

use anyhow::{Result, bail, ensure};
use refrain_tests::cluster::Cluster;
use refrain_tests::hosts::Hosts;
use refrain_tests::native::Example;
use refrain_tests::resp::RespClient;
use refrain_tests::three::{KV, NODES, client, on_hosts, others, until_it_writes, until_its_seat_is_active};
use refrain_tests::traffic::{Traffic, writers};

/// The connection ends, or a new one is refused: nothing is answered, and nobody is left waiting.
fn is_cut_off(client: &mut RespClient, words: &str) -> Result<()> {
    match client.words(words) {
        Ok(reply) => bail!("{words} was answered with {:?}", String::from_utf8_lossy(&reply)),
        Err(error) => {
            let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            let waited = matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut));
            ensure!(!waited, "the connection was neither answered nor ended");
            Ok(())
        }
    }
}

/// Everybody is at one position again, and all that was acknowledged is there through every node.
fn heals(cluster: &Cluster, traffic: Traffic, cut: u64) -> Result<()> {
    cluster.hosts().heal()?;
    traffic.until_more(500)?;
    until_it_writes(cluster, cut)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[cut])?;
    until_its_seat_is_active(cluster.server(cut), cut)?;
    cluster.until_equal(KV)?;
    NODES.into_iter().try_for_each(|id| outcome.check(cluster.doors(), id))
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_and_its_clients_are_told() -> Result<()> {
    let Some(cluster) = on_hosts("cut-leader")? else { return Ok(()) };
    let leader = cluster.leader()?;
    let mut there = client(&cluster, leader)?;
    ensure!(there.words("SET lake deep")? == b"+OK\r\n" && there.words("DEL lake")? == b":1\r\n");
    let traffic = Traffic::start(cluster.doors(), writers(9, &NODES));
    traffic.until_more(500)?;
    cluster.hosts().isolate(u8::try_from(leader)?)?;
    is_cut_off(&mut there, "SET lake dry")?;
    let next = cluster.leader_among(&others(leader))?;
    ensure!(next != leader);
    traffic.until_more(1000)?;
    let status = cluster.server(leader).rctl_json(&["status"])?;
    ensure!(status["log"]["leader"].is_null(), "it names a leader that it cannot reach: {status:#}");
    heals(&cluster, traffic, leader)
}

#[test]
fn a_leader_that_hears_nobody_is_replaced() -> Result<()> {
    let Some(cluster) = on_hosts("deaf-leader")? else { return Ok(()) };
    let leader = cluster.leader()?;
    let traffic = Traffic::start(cluster.doors(), writers(6, &others(leader)));
    traffic.until_more(500)?;
    for other in others(leader) {
        cluster.hosts().deafen(u8::try_from(leader)?, u8::try_from(other)?)?;
    }
    let next = cluster.leader_among(&others(leader))?;
    ensure!(next != leader);
    traffic.until_more(1000)?;
    heals(&cluster, traffic, leader)
}

#[test]
fn a_leader_that_nobody_hears_is_replaced() -> Result<()> {
    let Some(cluster) = on_hosts("mute-leader")? else { return Ok(()) };
    let leader = cluster.leader()?;
    let traffic = Traffic::start(cluster.doors(), writers(6, &others(leader)));
    traffic.until_more(500)?;
    for other in others(leader) {
        cluster.hosts().deafen(u8::try_from(other)?, u8::try_from(leader)?)?;
    }
    let next = cluster.leader_among(&others(leader))?;
    ensure!(next != leader);
    traffic.until_more(1000)?;
    heals(&cluster, traffic, leader)
}

#[test]
fn a_follower_that_is_cut_off_says_so_and_the_others_do_not_notice() -> Result<()> {
    let Some(cluster) = on_hosts("cut-follower")? else { return Ok(()) };
    let leader = cluster.leader()?;
    let cut = others(leader)[0];
    let mut there = client(&cluster, cut)?;
    ensure!(there.words("GET lake")? == b"$-1\r\n");
    let traffic = Traffic::start(cluster.doors(), writers(6, &others(cut)));
    traffic.until_more(500)?;
    cluster.hosts().isolate(u8::try_from(cut)?)?;
    is_cut_off(&mut there, "SET lake dry")?;
    let refused = cluster.server(cut).rctl(&["service", "audit", KV])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && said.contains("no leader of the log can be reached"), "{said}");
    let status = cluster.server(cut).rctl_json(&["status"])?;
    ensure!(status["log"]["leader"].is_null() && status["proxy"]["epoch"] == 0, "{status:#}");
    traffic.until_more(1000)?;
    ensure!(cluster.leader_among(&others(cut))? == leader, "the leader has not changed");
    heals(&cluster, traffic, cut)?;
    ensure!(cluster.leader()? == leader, "and stays when the follower is back");
    Ok(())
}

/// No packet tells anybody that the machine is gone: connections to it stay open, and are found to be dead.
#[test]
fn a_machine_that_vanishes_is_missed_by_nobody_for_long() -> Result<()> {
    let Some(hosts) = Hosts::new(4)? else { return Ok(()) };
    let mut cluster = Cluster::on_hosts("vanished", 4, hosts)?;
    cluster.example(Example::KvServer, |_| {})?;
    cluster.roles(4, &["proxy"]).start()?;
    cluster.until_equal(KV)?;
    let mut clients = writers(4, &[4]);
    for vanished in NODES {
        let traffic = Traffic::start(cluster.doors(), clients);
        traffic.until_more(200)?;
        cluster.hosts().unplug(u8::try_from(vanished)?)?;
        traffic.until_more(1000)?;
        cluster.leader_among(&others(vanished))?;
        cluster.hosts().plug(u8::try_from(vanished)?)?;
        let mut outcome = traffic.stop()?;
        outcome.unbroken_but_at(&[])?;
        outcome.check(cluster.doors(), 4)?;
        clients = outcome.again(&[4]);
        until_its_seat_is_active(cluster.server(vanished), vanished)?;
        cluster.leader()?;
    }
    Ok(())
}
