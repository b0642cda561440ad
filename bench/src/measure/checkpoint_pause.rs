//! What clients see of checkpoints: SETs on a schedule to two clusters in turns, one with a checkpoint every 200 ms and
//! one with none, both with 64 MiB of guest memory.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Rows;
use super::filled::{self, KV, SHARE};
use crate::cluster::{ALL, Cluster, Layout};
use crate::latency::Latencies;
use crate::paced::Traffic;
use crate::pause::pause;
use crate::ping::set::Set;
use crate::report::{Aim, Ratio, RatioOf, Row, Side};
use crate::setup::Setup;

const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_secs(4);
/// The first answers of new connections do not count.
const SETTLE: Duration = Duration::from_millis(500);
/// What is noise between two measurements of the same.
const NOISE: f64 = 1.25;

const NONE: &[(&str, &str)] = &[("checkpoint-batches", "1000000000"), ("checkpoint-bytes", "\"1000GiB\"")];
const OFTEN: &[(&str, &str)] = &[("checkpoint-batches", "1"), ("checkpoint-interval", "\"200ms\"")];

/// Measures.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let clusters = [start(setup, NONE)?, start(setup, OFTEN)?];
    let per_second = filled::capacity(setup, clusters[0].address(1, KV)?)? * SHARE;
    let mut latencies = [Latencies::default(), Latencies::default()];
    for _ in 0..if setup.quick { 1 } else { ROUNDS } {
        for (cluster, latencies) in clusters.iter().zip(&mut latencies) {
            let traffic = Traffic::start(cluster.address(cluster.leader()?, KV)?, Set, per_second)?;
            pause(ROUND);
            let end = traffic.elapsed();
            latencies.append(traffic.stop()?.between(SETTLE, end));
        }
    }
    let [none, often] = latencies.map(|latencies| latencies.summary());
    let (none, often) = (none.context("nothing was measured")?, often.context("nothing was measured")?);
    let what = format!("SET 64 B, {per_second:.0}/s on a schedule, 64 MiB");
    rows.push(Row { latency: Some(none), ..Row::new(format!("{what}, no checkpoints"), Side::Refrain) });
    let mut row = Row::new(format!("{what}, one each 200 ms"), Side::Refrain);
    let ratio = often.p99_ms / none.p99_ms;
    row.latency = Some(often);
    row.ratio = Some(Ratio { value: ratio, of: RatioOf::P99, to: Side::Refrain });
    row.aims.push(Aim::at_most(format!("p99 <= {NOISE} x that without"), NOISE, ratio));
    rows.push(row);
    Ok(())
}

fn start(setup: &Setup, settings: &[(&str, &str)]) -> Result<Cluster> {
    let mut cluster = setup.cluster(&Layout { services: &[KV], nodes: &[ALL; 3], settings })?;
    cluster.start(&[1, 2, 3])?;
    cluster.until_active(KV)?;
    filled::fill(&cluster, cluster.address(1, KV)?)?;
    Ok(cluster)
}
