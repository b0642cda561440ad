//! What the measurements of HTTP share: servers under load in turns, and what a request costs each of them. The processor
//! time is that of the server's process in user and kernel mode; client and upstream are other processes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Rows;
use crate::cpu;
use crate::http_server::HttpServer;
use crate::latency::{Summary, median};
use crate::loader::{Loader, Played};
use crate::report::{Aim, Ratio, RatioOf, Row, Side, Unit};
use crate::server::Server;

mod component;
pub mod front;
pub mod hello;
pub mod idle;
pub mod neighbours;
pub mod start;

/// A server under load; ended when dropped.
struct Target {
    side: Side,
    address: SocketAddr,
    path: String,
    /// `None` when its processor time is nobody's business.
    process: Option<u32>,
    _running: Running,
}

enum Running {
    Refrain(#[expect(dead_code, reason = "held until the target is dropped")] Server),
    Other(#[expect(dead_code, reason = "held until the target is dropped")] HttpServer),
    /// By who made the target.
    Elsewhere,
}

/// How a series goes.
struct Course {
    rounds: usize,
    connections: u16,
    time: Duration,
}

/// What all rounds gave for one side.
struct Outcome {
    side: Side,
    latency: Summary,
    /// Requests a second; with the latencies, those of the round with the median rate.
    rate: f64,
    /// Millionths of a second of processor time of a request, the median of the rounds.
    processor_us: Option<f64>,
}

impl Target {
    /// A service in `refrain up`.
    fn refrain(server: Server, service: &str, path: &str) -> Result<Self> {
        let (address, process) = (server.address(service)?, Some(server.id()));
        Ok(Self { side: Side::Refrain, address, path: path.to_owned(), process, _running: Running::Refrain(server) })
    }

    /// Another server.
    fn other(side: Side, server: HttpServer) -> Self {
        let (address, process) = (server.address(), Some(server.id()));
        Self { side, address, path: "/".to_owned(), process, _running: Running::Other(server) }
    }

    fn play(&self, loader: &Loader, course: &Course) -> Result<Played> {
        let played = loader.play(self.address, &self.path, course.connections, course.time);
        played.with_context(|| format!("{:?} at http://{}{}", self.side, self.address, self.path))
    }

    fn processor_time(&self) -> Result<Option<Duration>> {
        self.process.map(cpu::used).transpose()
    }
}

/// Loads all targets in turns, after a round that does not count.
fn play(loader: &Loader, targets: &[Target], course: &Course) -> Result<Vec<Outcome>> {
    let mut played: Vec<Vec<(Played, Option<f64>)>> = targets.iter().map(|_| Vec::new()).collect();
    for target in targets {
        target.play(loader, course)?;
    }
    for _ in 0..course.rounds {
        for (target, rounds) in targets.iter().zip(&mut played) {
            let before = target.processor_time()?;
            let round = target.play(loader, course)?;
            let used = before.zip(target.processor_time()?).map(|(before, after)| after.saturating_sub(before));
            let each = used.map(|used| used.as_secs_f64() * 1e6 / round.requests as f64);
            rounds.push((round, each));
        }
    }
    targets.iter().zip(played).map(|(target, rounds)| outcome(target.side, rounds)).collect()
}

fn outcome(side: Side, mut rounds: Vec<(Played, Option<f64>)>) -> Result<Outcome> {
    let processor: Vec<f64> = rounds.iter().filter_map(|(_, each)| *each).collect();
    rounds.sort_unstable_by(|(one, _), (other, _)| one.rate().total_cmp(&other.rate()));
    let middle = rounds.len() / 2;
    let (round, _) = rounds.into_iter().nth(middle).context("nothing was measured")?;
    Ok(Outcome { side, latency: round.latency, rate: round.rate(), processor_us: median(&processor) })
}

/// Two rows a side: its times and rate, and what a request costs it. Refrain's cost is compared with that of `to`, of
/// which it should be at most `times` as much.
fn add(rows: &mut Rows, what: &str, outcomes: &[Outcome], to: Side, times: f64) {
    let base = outcomes.iter().find(|outcome| outcome.side == to);
    for outcome in outcomes {
        let mut row = Row::new(what, outcome.side);
        row.latency = Some(outcome.latency);
        row.figure = Some(Unit::PerSecond.of(outcome.rate));
        let is_compared = outcome.side != to && outcome.side != Side::Floor;
        let base = base.filter(|_| is_compared);
        row.ratio = base.map(|base| Ratio { value: outcome.rate / base.rate, of: RatioOf::Rate, to });
        rows.push(row);
    }
    for outcome in outcomes {
        let Some(each) = outcome.processor_us else { continue };
        let mut row = Row::new(format!("{what}: a request"), outcome.side);
        row.figure = Some(Unit::ProcessorMicroseconds.of(each));
        if let Some(base) = base.filter(|_| outcome.side != to).and_then(|base| base.processor_us) {
            let value = each / base;
            row.ratio = Some(Ratio { value, of: RatioOf::Processor, to });
            if outcome.side == Side::Refrain {
                row.aims.push(Aim::at_most(format!("<= {times} x cpu"), times, value));
            }
        }
        rows.push(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(requests: usize, each: f64) -> (Played, Option<f64>) {
        let latency = Summary { samples: requests, p50_ms: 1.0, p99_ms: 1.0, max_ms: 1.0 };
        (Played { requests, elapsed: Duration::from_secs(1), latency }, Some(each))
    }

    fn outcome_of(side: Side, each: f64) -> Outcome {
        outcome(side, vec![round(100, each)]).unwrap()
    }

    #[test]
    fn the_round_with_the_median_rate_is_taken_whole_and_the_median_cost_beside_it() {
        let outcome = outcome(Side::Nginx, vec![round(300, 1.0), round(100, 2.0), round(200, 9.0)]).unwrap();
        assert_eq!((outcome.rate, outcome.latency.samples), (200.0, 200));
        assert_eq!(outcome.processor_us, Some(2.0));
        assert!(super::outcome(Side::Nginx, Vec::new()).is_err());
    }

    #[test]
    fn only_refrain_has_an_aim_and_it_is_about_processor_time() {
        let outcomes = [(Side::Nginx, 10.0), (Side::Haproxy, 12.0), (Side::Refrain, 16.0)];
        let outcomes = outcomes.map(|(side, each)| outcome_of(side, each));
        let mut rows = Rows::new();
        add(&mut rows, "it", &outcomes, Side::Nginx, 1.5);
        let ratios: Vec<_> = rows.iter().map(|row| row.ratio.map(|ratio| ratio.value)).collect();
        assert_eq!(ratios, [None, Some(1.0), Some(1.0), None, Some(1.2), Some(1.6)]);
        let aims: Vec<bool> = rows.iter().flat_map(|row| row.aims.iter().map(|aim| aim.met)).collect();
        assert_eq!(aims, [false]);
    }

    #[test]
    fn without_the_other_side_there_is_nothing_to_compare_with() {
        let mut rows = Rows::new();
        add(&mut rows, "it", &[outcome_of(Side::Refrain, 16.0)], Side::Wasmtime, 1.0);
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row.ratio.is_none() && row.aims.is_empty()));
    }
}
