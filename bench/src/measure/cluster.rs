//! Three members side by side on this machine, in turns: the floor of raw replication, Refrain's nodes, etcd, and a
//! Redis that is durable and not replicated. Each client has one request under way.

use std::time::Duration;

use anyhow::{Result, bail};

use self::contender::{Contender, Player, Work};
use super::Rows;
use crate::latency::{Latencies, Summary, median};
use crate::ping::{self, Plan};
use crate::report::{Aim, Ratio, RatioOf, Row, Side, Unit};
use crate::setup::Setup;

pub mod contender;

const ROUNDS: usize = 3;
const TIME_LIMIT: Duration = Duration::from_secs(3);
const WARM_UP: usize = 200;
/// Clients at the same time, and how many requests they make together in a round.
const LOADS: [(u16, usize); 3] = [(1, 3000), (16, 40_000), (64, 100_000)];

/// What all rounds gave for one player under one load.
struct Outcome<'a> {
    player: &'a Player,
    latency: Summary,
    /// Requests a second, the median of the rounds.
    rate: f64,
}

/// Measures these contenders. One that cannot be started does not keep the others from being measured.
pub fn measure(setup: &Setup, contenders: &[Contender], rows: &mut Rows) -> Result<()> {
    let (players, missing) = contender::start(setup, contenders);
    for (clients, requests) in LOADS {
        let plan = Plan { connections: clients, warm_up: WARM_UP, requests: setup.scaled(requests), time: TIME_LIMIT };
        let outcomes = play(&players, &plan)?;
        let floor = outcomes.iter().find(|outcome| outcome.player.side == Side::Floor);
        rows.extend(outcomes.iter().map(|outcome| row(outcome, floor, clients)));
    }
    if !missing.is_empty() {
        bail!("{}", missing.join("; "));
    }
    Ok(())
}

/// Has all players that take so many clients play in turns.
fn play<'a>(players: &'a [Player], plan: &Plan) -> Result<Vec<Outcome<'a>>> {
    let players: Vec<&Player> = players.iter().filter(|player| player.takes(plan.connections)).collect();
    let mut played: Vec<(Latencies, Vec<f64>)> = players.iter().map(|_| Default::default()).collect();
    for _ in 0..ROUNDS {
        for (player, (latencies, rates)) in players.iter().zip(&mut played) {
            let round = ping::run(player.address, &*player.exchange, plan)?;
            rates.push(round.rate());
            latencies.append(round.latencies);
        }
    }
    let outcome = |(player, (latencies, rates)): (&'a Player, (Latencies, Vec<f64>))| {
        Some(Outcome { player, latency: latencies.summary()?, rate: median(&rates)? })
    };
    Ok(players.into_iter().zip(played).filter_map(outcome).collect())
}

fn row(outcome: &Outcome<'_>, floor: Option<&Outcome<'_>>, clients: u16) -> Row {
    let Player { side, work, .. } = *outcome.player;
    let mut row = Row::new(format!("{}, {}", work.name(), counted(clients)), side);
    row.latency = Some(outcome.latency);
    row.figure = Some(Unit::PerSecond.of(outcome.rate));
    let Some(floor) = floor.filter(|_| side != Side::Floor) else { return row };
    row.floor_p50_ms = Some(floor.latency.p50_ms);
    row.ratio = Some(match clients {
        1 => Ratio { value: outcome.latency.p50_ms / floor.latency.p50_ms, of: RatioOf::Time, to: Side::Floor },
        _ => Ratio { value: outcome.rate / floor.rate, of: RatioOf::Rate, to: Side::Floor },
    });
    if side == Side::Refrain {
        row.aims = aims(work, clients, &outcome.latency, outcome.rate);
    }
    row
}

/// What three nodes should reach on a quiet machine.
fn aims(work: Work, clients: u16, latency: &Summary, rate: f64) -> Vec<Aim> {
    match (work, clients) {
        (Work::Set, 1) => vec![Aim::at_most("p50 <= 0.6 ms", 0.6, latency.p50_ms)],
        (Work::Set, 64) => vec![Aim::at_least(">= 25,000/s", 25_000.0, rate)],
        (Work::Echo, 1) => {
            vec![Aim::at_most("p50 <= 1 ms", 1.0, latency.p50_ms), Aim::at_most("p99 <= 3 ms", 3.0, latency.p99_ms)]
        }
        (Work::Echo, 64) => vec![Aim::at_least(">= 15,000/s", 15_000.0, rate)],
        _ => Vec::new(),
    }
}

fn counted(clients: u16) -> String {
    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") }
}
