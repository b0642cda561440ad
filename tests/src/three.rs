//! Three nodes with every role that serve keys, and what tests of them look at.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::hosts::Hosts;
use crate::native::Example;
use crate::resp::RespClient;
use crate::server::Server;
use crate::traffic::Traffic;
use crate::wait;

/// The service.
pub const KV: &str = "kv-server";
/// The nodes.
pub const NODES: [u64; 3] = [1, 2, 3];

/// Three nodes that do not run yet, with these services.
pub fn prepared(purpose: &str, examples: &[Example]) -> Result<Cluster> {
    with(Cluster::new(purpose, NODES.len() as u64)?, examples)
}

/// Three nodes that serve keys; the seats are active.
pub fn started(purpose: &str) -> Result<Cluster> {
    let mut cluster = prepared(purpose, &[Example::KvServer])?;
    cluster.start()?;
    cluster.until_equal(KV)?;
    Ok(cluster)
}

/// The same on a host each; none where hosts cannot be made.
pub fn on_hosts(purpose: &str) -> Result<Option<Cluster>> {
    let count = NODES.len() as u8;
    let Some(hosts) = Hosts::new(count)? else { return Ok(None) };
    let mut cluster = with(Cluster::on_hosts(purpose, count, hosts)?, &[Example::KvServer])?;
    cluster.start()?;
    cluster.until_equal(KV)?;
    Ok(Some(cluster))
}

fn with(mut cluster: Cluster, examples: &[Example]) -> Result<Cluster> {
    for example in examples {
        cluster.example(*example, |_| {})?;
    }
    Ok(cluster)
}

/// The nodes but one.
pub fn others(than: u64) -> Vec<u64> {
    NODES.into_iter().filter(|id| *id != than).collect()
}

/// One node was lost: the clients of the others go on, and the others have everything that was answered.
pub fn others_have_everything(cluster: &Cluster, traffic: Traffic, lost: u64) -> Result<()> {
    traffic.until_more(500)?;
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[lost])?;
    others(lost).into_iter().try_for_each(|id| outcome.check(cluster.doors(), id))
}

/// A client of the keys at a node.
pub fn client(cluster: &Cluster, id: u64) -> Result<RespClient> {
    RespClient::connect(cluster.server(id).address(KV))
}

/// Waits until a node takes a write.
pub fn until_it_writes(cluster: &Cluster, id: u64) -> Result<()> {
    wait::until(&format!("node {id} takes a write"), || {
        let reply = client(cluster, id).and_then(|mut client| client.words(&format!("SET probe{id} 1")));
        Ok(reply.is_ok_and(|reply| reply == b"+OK\r\n").then_some(()))
    })?;
    let removed = client(cluster, id)?.words(&format!("DEL probe{id}")).context("the probe is not removed")?;
    anyhow::ensure!(removed == b":1\r\n", "{:?}", String::from_utf8_lossy(&removed));
    Ok(())
}

/// The seats of a service's status.
pub fn seats(service: &Value) -> &[Value] {
    service["seats"].as_array().map_or(&[], Vec::as_slice)
}

/// How many of them are active.
pub fn active_seats(service: &Value) -> usize {
    seats(service).iter().filter(|seat| seat["state"] == "active").count()
}

/// Waits until a node's own seat votes again.
pub fn until_its_seat_is_active(server: &Server, id: u64) -> Result<Value> {
    server.until(KV, "active in the node's own seat", |service| {
        seats(service).iter().any(|seat| seat["node"] == id && seat["state"] == "active")
    })
}
