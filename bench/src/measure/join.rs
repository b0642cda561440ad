//! A replica with 64 MiB of memory joins from a checkpoint while clients write, with a long history behind it.
//!
//! Three members; the seats of the service are on nodes 1, 2 and one of 4 and 5, which have no member. That one is
//! killed, and after a while its seat is given to the other one, which runs already, has the module compiled and no
//! checkpoint: what is timed is the join alone, from the leader's plan for the seat to the first vote that the proxy of
//! the traffic counts. Then they change places.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Rows;
use super::filled::{self, KV, SHARE};
use super::floor;
use crate::cluster::{ALL, Cluster, Layout};
use crate::latency::{Latencies, median};
use crate::paced::Traffic;
use crate::pause::pause;
use crate::ping::set::Set;
use crate::ping::{self, Plan};
use crate::report::{Aim, Ratio, RatioOf, Row, Side, Unit};
use crate::setup::Setup;

const JOINS: usize = 7;
const MEMBER: &[&str] = &["proxy", "sequencer"];
const ENGINE: &[&str] = &["proxy", "engine"];
/// Where the traffic goes.
const PROXY: u64 = 1;
/// How long the traffic goes on before a node is killed, and after the first vote.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_millis(500);
/// The first answers of new connections do not count.
const SETTLE: Duration = Duration::from_millis(500);
/// A seat is given away some seconds after its node has died.
const JOIN_LIMIT: Duration = Duration::from_secs(30);
/// One round of the history.
const HISTORY_ROUND: Duration = Duration::from_secs(2);
const HISTORY_LIMIT: usize = 300;
/// How often the floor is measured after each join.
const FLOOR_ROUNDS: usize = 3;
/// Connections that make the history.
const CONNECTIONS: u16 = 64;
/// What others take, and what this should take.
const LIMIT_MS: f64 = 211.0;
const AIM_MS: f64 = 100.0;

#[derive(Default)]
struct Seen {
    total: Latencies,
    restored: Latencies,
    fetched: Latencies,
    floor: Latencies,
    bytes: Vec<f64>,
    behind: Vec<f64>,
    tail: Vec<f64>,
    before: Latencies,
    during: Latencies,
}

/// Measures with so many entries in the log.
pub fn measure(setup: &Setup, history: u64, rows: &mut Rows) -> Result<()> {
    let mut cluster = setup.cluster(&Layout {
        services: &[KV],
        nodes: &[ALL, ALL, MEMBER, ENGINE, ENGINE],
        settings: &[
            // Until it is agreed on and released everywhere, more entries come: the newest one that a seat may begin
            // with is to be 500 entries old at most.
            ("checkpoint-batches", "250"),
            ("checkpoint-interval", "\"100ms\""),
            ("log-cut-interval", "\"1s\""),
            // No checkpoint is ordered while the killed node's proxy may still want votes on what is before it.
            ("lease", "\"1s\""),
        ],
    })?;
    // The members first: a node without one takes part in the log that they have begun.
    cluster.start(&[1, 2, 3])?;
    cluster.start(&[4])?;
    cluster.until_active(KV)?;
    let address = cluster.address(PROXY, KV)?;
    let capacity = filled::capacity(setup, address)?;
    let memory = filled::fill(&cluster, address)?;
    make_history(&cluster, history)?;
    let mut seen = Seen::default();
    for _ in 0..if setup.quick { 1 } else { JOINS } {
        join_once(&mut cluster, capacity * SHARE, &mut seen)?;
    }
    let what = format!("join of {:.0} MiB behind {history} entries", memory as f64 / f64::from(1 << 20));
    rows.extend(rows_of(&what, &seen, capacity * SHARE)?);
    Ok(())
}

fn make_history(cluster: &Cluster, history: u64) -> Result<()> {
    for _ in 0..HISTORY_LIMIT {
        let there = cluster.status(PROXY)?.log.last_position;
        if there >= history {
            return Ok(());
        }
        eprintln!("bench: {there} of {history} entries are in the log");
        let plan = Plan { connections: CONNECTIONS, warm_up: 0, requests: usize::MAX, time: HISTORY_ROUND };
        ping::run(cluster.address(PROXY, KV)?, &Set, &plan)?;
    }
    bail!("the history was not made in {HISTORY_LIMIT} rounds")
}

fn join_once(cluster: &mut Cluster, per_second: f64, seen: &mut Seen) -> Result<()> {
    let service = cluster.until_active(KV)?;
    let leaving = service.seats.iter().map(|seat| seat.node).find(|node| *node > 3);
    let leaving = leaving.context("no seat is on an engine that may be killed")?;
    let joining = if leaving == 4 { 5 } else { 4 };
    if cluster.ids().contains(&joining) {
        cluster.kill(joining)?;
    }
    cluster.lose_checkpoints(joining)?;
    cluster.start(&[joining])?;
    let log = cluster.log_of(joining)?.skip()?;
    let plans = cluster.log_of(cluster.leader()?)?.skip()?;
    let votes = cluster.log_of(PROXY)?.skip()?;
    let traffic = Traffic::start(cluster.address(PROXY, KV)?, Set, per_second)?;
    pause(BEFORE);
    let killed = traffic.elapsed();
    cluster.kill(leaving)?;
    let taken = log.wait_for(&["seat taken: a new replica joins"], JOIN_LIMIT)?;
    let joined = log.wait_for(&["joined from a checkpoint"], JOIN_LIMIT)?;
    let incarnation = format!("incarnation={} ", taken.number("incarnation")?);
    let planned = plans.wait_for(&["seat planned", &incarnation], JOIN_LIMIT)?;
    let vote = votes.wait_for(&["first vote of a replica", &incarnation], JOIN_LIMIT)?;
    pause(AFTER);
    let outcome = traffic.stop()?;
    seen.total.push(vote.at.since(planned.at));
    seen.restored.push(Duration::from_millis(joined.number("millis")?));
    seen.fetched.push(Duration::from_millis(joined.number("fetch_millis")?));
    let bytes = joined.number("fetched_bytes")?;
    seen.bytes.push(bytes as f64);
    let as_many = usize::try_from(bytes).context("more bytes than this machine can count")?;
    seen.floor.append(floor::bulk(as_many, FLOOR_ROUNDS)?);
    seen.behind.push(planned.number("position")?.saturating_sub(planned.number("from")?) as f64);
    seen.tail.push(vote.number("position")?.saturating_sub(joined.number("position")?) as f64);
    seen.before.append(outcome.between(SETTLE, killed));
    seen.during.append(outcome.under_way(planned.at, vote.at));
    Ok(())
}

fn rows_of(what: &str, seen: &Seen, per_second: f64) -> Result<Vec<Row>> {
    let row =
        |what: String, latencies: &Latencies| Row { latency: latencies.summary(), ..Row::new(what, Side::Refrain) };
    let figure =
        |what: String, value: f64, unit: Unit| Row { figure: Some(unit.of(value)), ..Row::new(what, Side::Refrain) };
    let mut total = row(format!("{what}: plan to first vote"), &seen.total);
    let median_ms = total.latency.context("nothing joined")?.p50_ms;
    total.aims.push(Aim::at_most(format!("median <= {LIMIT_MS} ms"), LIMIT_MS, median_ms));
    total.aims.push(Aim::at_most(format!("median <= {AIM_MS} ms"), AIM_MS, median_ms));
    let traffic = format!("SET 64 B, {per_second:.0}/s on a schedule");
    let before = row(format!("{traffic}, before joins"), &seen.before);
    let mut during = row(format!("{traffic}, during joins"), &seen.during);
    if let (Some(before), Some(during_all)) = (before.latency, during.latency) {
        let ratio = during_all.p99_ms / before.p99_ms;
        during.ratio = Some(Ratio { value: ratio, of: RatioOf::P99, to: Side::Refrain });
        during.aims.push(Aim::at_most("p99 <= 2 x that before", 2.0, ratio));
    }
    Ok(vec![
        total,
        row("join: guest put back".into(), &seen.restored),
        row("join: of it, fetching".into(), &seen.fetched),
        Row { latency: seen.floor.summary(), ..Row::new("join: as many bytes over loopback", Side::Floor) },
        figure("join: fetched".into(), median(&seen.bytes).unwrap_or_default(), Unit::Bytes),
        figure("join: checkpoint to plan".into(), median(&seen.behind).unwrap_or_default(), Unit::Entries),
        figure("join: checkpoint to first vote".into(), median(&seen.tail).unwrap_or_default(), Unit::Entries),
        before,
        during,
    ])
}
