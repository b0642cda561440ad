//! Processes of a cluster that stop and keep their sockets, as on a machine that hangs: nobody waits for them for long,
//! and they catch up.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use refrain_tests::cluster::Cluster;
use refrain_tests::native::Example;
use refrain_tests::three::{KV, NODES, others, seats, started, until_its_seat_is_active};
use refrain_tests::traffic::{Traffic, writers};
use refrain_tests::wait;

/// How long rates are taken before and after a pause.
const BESIDE: Duration = Duration::from_secs(5);

#[test]
fn a_paused_leader_is_replaced_and_follows_when_it_goes_on() -> Result<()> {
    let cluster = started("paused-leader")?;
    let leader = cluster.leader()?;
    let rest = others(leader);
    let traffic = Traffic::start(cluster.doors(), writers(8, &rest));
    traffic.until_more(500)?;
    cluster.server(leader).freeze()?;
    traffic.until_more(2000)?;
    let next = cluster.leader_among(&rest)?;
    ensure!(next != leader);
    cluster.server(leader).thaw()?;
    traffic.until_more(500)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    until_its_seat_is_active(cluster.server(leader), leader)?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), leader)
}

#[test]
fn both_followers_paused_for_a_moment_cost_no_connection_and_no_write() -> Result<()> {
    let cluster = started("paused-followers")?;
    let leader = cluster.leader()?;
    let traffic = Traffic::start(cluster.doors(), writers(8, &[leader]));
    traffic.until_more(500)?;
    for _ in 0..3 {
        for id in others(leader) {
            cluster.server(id).freeze()?;
        }
        // Longer than a leader counts on its followers, shorter than the lease of its proxy.
        wait::pause(Duration::from_millis(1500));
        for id in others(leader) {
            cluster.server(id).thaw()?;
        }
        traffic.until_more(500)?;
    }
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), 1)
}

/// `REFRAIN_PAUSE_SECONDS=60` pauses for a minute.
#[test]
fn a_replica_paused_under_load_delays_nobody_and_is_as_the_others_afterwards() -> Result<()> {
    let cluster = started("paused-replica")?;
    let leader = cluster.leader()?;
    let paused = others(leader)[0];
    let seconds = std::env::var("REFRAIN_PAUSE_SECONDS").ok().map_or(Ok(5), |text| text.parse())?;
    let pause = Duration::from_secs(seconds);
    let traffic = Traffic::start(cluster.doors(), writers(8, &[leader]));
    traffic.until_more(500)?;
    let before = traffic.rate_over(pause.min(BESIDE));
    cluster.server(paused).freeze()?;
    let during = traffic.rate_over(pause);
    cluster.server(paused).thaw()?;
    let after = traffic.rate_over(pause.min(BESIDE));
    println!(
        "answers a second: {before:.0} before, {during:.0} with a replica paused for {seconds} s, {after:.0} after"
    );
    let mut outcome = traffic.stop()?;
    println!("longest time without an answer: {:?}", outcome.longest_gap);
    outcome.unbroken_but_at(&[])?;
    until_its_seat_is_active(cluster.server(paused), paused)?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), paused)
}

/// Three members and a node that follows the log from one of them.
fn with_a_fourth(purpose: &str, roles: &[&str]) -> Result<Cluster> {
    let mut cluster = Cluster::new(purpose, 4)?;
    cluster.example(Example::KvServer, |_| {})?;
    cluster.roles(4, roles).start()?;
    cluster.until_equal(KV)?;
    Ok(cluster)
}

#[test]
fn a_proxy_that_followed_a_paused_member_follows_another_one() -> Result<()> {
    let mut cluster = with_a_fourth("paused-member", &["proxy"])?;
    // Whichever member it follows is among those that are paused in turn; the leader is another one each time.
    let mut clients = writers(4, &[4]);
    for paused in NODES {
        let heir = others(paused)[0];
        if cluster.leader_among(&NODES)? != heir {
            cluster.server(heir).rctl_json(&["sequencer", "transfer", &heir.to_string()])?;
        }
        let traffic = Traffic::start(cluster.doors(), clients);
        traffic.until_more(200)?;
        cluster.server(paused).freeze()?;
        traffic.until_more(1000)?;
        cluster.server(paused).thaw()?;
        let mut outcome = traffic.stop()?;
        outcome.unbroken_but_at(&[])?;
        outcome.check(cluster.doors(), 4)?;
        clients = outcome.again(&[4]);
        until_its_seat_is_active(cluster.server(paused), paused)?;
    }
    cluster.terminate(4)
}

#[test]
fn the_leader_notices_an_engine_that_says_nothing_and_gives_its_seat_away() -> Result<()> {
    let cluster = with_a_fourth("paused-engine", &["engine"])?;
    let leader = cluster.leader_among(&NODES)?;
    let holders = |service: &serde_json::Value| -> Vec<u64> {
        seats(service).iter().filter_map(|seat| seat["node"].as_u64()).collect()
    };
    let status = cluster.server(leader).service(KV)?;
    let Some(paused) = holders(&status).into_iter().find(|id| *id != leader) else { bail!("{status:#}") };
    let traffic = Traffic::start(cluster.doors(), writers(4, &[leader]));
    cluster.server(paused).freeze()?;
    let moved = cluster.server(leader).until(KV, "active without the silent engine", |service| {
        let well = seats(service).iter().filter(|seat| seat["state"] == "active" && seat["node"] != paused);
        well.count() == NODES.len()
    })?;
    ensure!(!holders(&moved).contains(&paused));
    cluster.server(paused).thaw()?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), leader)
}
