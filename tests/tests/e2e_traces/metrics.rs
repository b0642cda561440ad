//! What `/metrics` says of one server, and of a cluster whose leader dies.

use anyhow::{Context as _, Result, ensure};
use refrain_tests::server::Server;
use refrain_tests::wait;

use super::exposition::{Exposition, scrape};
use super::{KV, site, three, write_keys};

const SERVICE: &str = r#"{service="examples/kv-server",group="1"}"#;

fn of_seat(seat: u8) -> String {
    format!(r#"refrain_replica_lag_positions{{service="examples/kv-server",group="1",seat="{seat}"}}"#)
}

/// Scrapes until a condition holds.
fn until(server: &Server, what: &str, holds: impl Fn(&Exposition) -> Result<bool>) -> Result<Exposition> {
    wait::until(what, || {
        let seen = scrape(server)?;
        Ok(holds(&seen)?.then_some(seen))
    })
}

#[test]
fn a_server_measures_what_passes_through_it() -> Result<()> {
    let site = site("measured", &[])?;
    let server = site.start()?;
    server.until_equal(KV)?;
    write_keys(&server, 50)?;
    let seen = until(&server, "three replicas with 50 turns each", |seen| {
        Ok(seen.value(&format!("refrain_turn_seconds_count{SERVICE}"))? >= 150.0)
    })?;
    for (series, least) in [
        (format!("refrain_end_to_end_seconds_count{SERVICE}"), 50.0),
        (format!("refrain_vote_wait_seconds_count{SERVICE}"), 50.0),
        (format!("refrain_connections_accepted_total{SERVICE}"), 1.0),
        (format!("refrain_received_bytes_total{SERVICE}"), 50.0),
        (format!("refrain_sent_bytes_total{SERVICE}"), 250.0),
        ("refrain_commit_seconds_count".to_owned(), 50.0),
        ("refrain_fsync_seconds_count".to_owned(), 50.0),
        ("refrain_batch_bytes_count".to_owned(), 50.0),
        ("refrain_batch_records_sum".to_owned(), 50.0),
        ("refrain_elections_total".to_owned(), 1.0),
        ("refrain_term".to_owned(), 1.0),
        ("refrain_committed_position".to_owned(), 50.0),
        ("refrain_log_bytes".to_owned(), 1000.0),
        ("refrain_log_max_bytes".to_owned(), 1000.0),
    ] {
        let value = seen.value(&series)?;
        ensure!(value >= least, "{series} is {value}, not {least} or more");
    }
    for (series, value) in [
        ("refrain_leads", 1.0),
        ("refrain_log_members", 1.0),
        ("refrain_epochs", 1.0),
        ("refrain_votes_dropped_total", 0.0),
        ("refrain_connections_refused_total", 0.0),
        (r#"refrain_connections_reset_total{outcome="unknown"}"#, 0.0),
        (r#"refrain_spans_dropped_total{at="queue"}"#, 0.0),
    ] {
        ensure!(seen.value(series)? == value, "{series} is {}", seen.value(series)?);
    }
    ensure!(seen.kinds.get("refrain_commit_seconds").context("a kind")? == "histogram");
    until(&server, "no lag and no connection", |seen| {
        let lags = (0..3).map(|seat| seen.value(&of_seat(seat))).collect::<Result<Vec<f64>>>()?;
        Ok(lags == [0.0; 3] && seen.value(&format!("refrain_connections{SERVICE}"))? == 0.0)
    })?;
    server.rctl_json(&["service", "kill-replica", KV, "--seat", "1"])?;
    until(&server, "a replica that joined", |seen| Ok(seen.value("refrain_join_seconds_count")? >= 1.0))?;
    // Everything else of the API still wants the token.
    let mut client = refrain_tests::http::HttpClient::connect(server.admin_address()?)?;
    client.send("GET /v1/traces HTTP/1.1\r\nhost: here\r\n\r\n")?;
    ensure!(client.reply(false)?.status == 401);
    Ok(())
}

#[test]
fn a_cluster_measures_its_streams_its_majority_and_the_loss_of_its_leader() -> Result<()> {
    let mut cluster = three("measured-cluster", &[])?;
    let leader = cluster.leader()?;
    write_keys(cluster.server(leader), 20)?;
    let seen = scrape(cluster.server(leader))?;
    for (series, least) in [
        ("refrain_replicate_seconds_count", 20.0),
        ("refrain_streams", 4.0),
        ("refrain_stream_sent_bytes_total", 1000.0),
        ("refrain_stream_received_bytes_total", 1000.0),
        ("refrain_log_members", 3.0),
        ("refrain_epochs", 3.0),
    ] {
        let value = seen.value(series)?;
        ensure!(value >= least, "{series} is {value}, not {least} or more");
    }
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    for id in &others {
        let seen = scrape(cluster.server(*id))?;
        ensure!(seen.value("refrain_leads")? == 0.0 && seen.value("refrain_fsync_seconds_count")? > 0.0, "node {id}");
    }
    let elections = |ids: &[u64]| -> Result<f64> {
        ids.iter().map(|id| scrape(cluster.server(*id))?.value("refrain_elections_total")).sum()
    };
    let before = elections(&others)?;
    cluster.kill(leader)?;
    let next = cluster.leader_among(&others)?;
    write_keys(cluster.server(next), 1)?;
    for id in &others {
        let changed = |seen: &Exposition| Ok(seen.value("refrain_leader_change_seconds_count")? >= 1.0);
        let seen = until(cluster.server(*id), "a change of the leader", changed)?;
        let took = seen.value("refrain_leader_change_seconds_sum")?;
        ensure!(took > 0.0 && took < 60.0, "node {id}: {took} s");
    }
    let elections: f64 =
        others.iter().map(|id| scrape(cluster.server(*id))?.value("refrain_elections_total")).sum::<Result<f64>>()?;
    ensure!(elections > before, "{elections} elections, {before} before");
    Ok(())
}
