//! Members of the log that an operator removes or has lead: a removed one ends and says so, and commands follow whoever
//! leads.

use anyhow::{Result, ensure};
use refrain_tests::native::Example;
use refrain_tests::three::{KV, NODES, client, others, prepared, started};
use refrain_tests::traffic::{Traffic, writers};

/// What a node says that was removed; it must say it, and end.
fn ends(cluster: &mut refrain_tests::cluster::Cluster, removed: u64) -> Result<()> {
    let said = cluster.failed(removed)?;
    let told = format!("the log has failed: node {removed} is no member of the log");
    ensure!(said.contains(&told) && said.contains("`roles` without `sequencer`"), "{said}");
    Ok(())
}

#[test]
fn a_removed_member_ends_and_goes_on_as_a_node_without_a_log() -> Result<()> {
    let mut cluster = started("removed")?;
    let removed = others(cluster.leader()?)[0];
    let asked = others(removed)[0];
    let traffic = Traffic::start(cluster.doors(), writers(4, &others(removed)));
    traffic.until_more(200)?;
    cluster.server(asked).rctl_json(&["sequencer", "remove", &removed.to_string()])?;
    ends(&mut cluster, removed)?;
    // It is told again at each start, until it is another node.
    let said = cluster.refused(removed)?;
    ensure!(said.contains("is no member of the log"), "{said}");
    cluster.set_on(removed, "roles", vec!["engine", "proxy"]).start_node(removed)?;
    ensure!(client(&cluster, removed)?.words("GET nothing")? == b"$-1\r\n");
    traffic.until_more(200)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[removed])?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), removed)
}

#[test]
fn a_leader_that_is_removed_answers_and_ends() -> Result<()> {
    let mut cluster = started("removed-leader")?;
    let leader = cluster.leader()?;
    // The node that is asked loses its leader by what it asks for.
    let asked = others(leader)[0];
    cluster.server(asked).rctl_json(&["sequencer", "remove", &leader.to_string()])?;
    cluster.server(asked).rctl_json(&["service", "audit", KV])?;
    ends(&mut cluster, leader)?;
    let list = cluster.server(asked).rctl_json(&["sequencer", "list"])?;
    let members: Vec<u64> =
        list["members"].as_array().into_iter().flatten().filter_map(|member| member["node"].as_u64()).collect();
    ensure!(members == others(leader), "{list:#}");
    Ok(())
}

#[test]
fn commands_right_after_a_transfer_follow_the_new_leader() -> Result<()> {
    let mut cluster = prepared("follow-leader", &[Example::KvServer])?;
    cluster.start()?;
    cluster.until_equal(KV)?;
    for round in 0..9 {
        let (leads, asked) = (NODES[round % 3], NODES[round / 3]);
        cluster.server(asked).rctl_json(&["sequencer", "transfer", &leads.to_string()])?;
        cluster.server(asked).rctl_json(&["service", "audit", KV])?;
        for other in others(asked) {
            cluster.server(other).rctl_json(&["service", "audit", KV])?;
        }
        ensure!(cluster.leader()? == leads, "round {round}: asked at {asked}");
    }
    Ok(())
}
