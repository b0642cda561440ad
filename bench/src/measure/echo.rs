//! 64 bytes there and back on kept connections, with durability fsync and none.

use std::time::Duration;

use anyhow::Result;

use super::Rows;
use super::series::{self, Series};
use crate::ping::Plan;
use crate::report::{Aim, Ratio, RatioOf, Row, Side, Unit};
use crate::server::Durability;
use crate::setup::Setup;

const ROUNDS: usize = 3;
const REQUESTS: usize = 5000;
const TIME_LIMIT: Duration = Duration::from_secs(4);
const WARM_UP: usize = 200;
/// What Refrain may add to a sync.
const ABOVE_FLOOR_MS: f64 = 0.25;
/// What it may take when nothing is synced.
const WITHOUT_SYNC_MS: f64 = 0.15;

/// Measures both durabilities.
pub fn measure(setup: &Setup, connections: u16, rows: &mut Rows) -> Result<()> {
    let plan = Plan { connections, warm_up: WARM_UP, requests: setup.scaled(REQUESTS), time: TIME_LIMIT };
    for durability in [Durability::Fsync, Durability::None] {
        let targets = setup.both("echo", durability)?;
        let series = series::play(setup, &targets, ROUNDS, &plan)?;
        rows.extend(rows_of(&series, connections, durability));
    }
    Ok(())
}

fn rows_of(series: &Series, connections: u16, durability: Durability) -> Vec<Row> {
    let what = format!("echo 64 B, {}, {}", counted(connections), durability.as_str());
    let row = |outcome: &series::Outcome| {
        let mut row = Row::new(what.clone(), outcome.side);
        row.latency = Some(outcome.latency);
        row.figure = Some(Unit::PerSecond.of(outcome.rate));
        if outcome.side == Side::Refrain {
            row.floor_p50_ms = Some(series.floor.p50_ms);
            row.ratio = series.native().map(|native| Ratio {
                value: outcome.latency.p50_ms / native.latency.p50_ms,
                of: RatioOf::Time,
                to: Side::Native,
            });
            // The aims are about a client that is alone.
            row.aims.extend((connections == 1).then(|| aim(series.floor.p50_ms, outcome.latency.p50_ms, durability)));
        }
        row
    };
    series.sides.iter().map(row).collect()
}

fn aim(floor_ms: f64, p50_ms: f64, durability: Durability) -> Aim {
    match durability {
        Durability::Fsync => {
            let limit = floor_ms + ABOVE_FLOOR_MS;
            let text = format!("p50 <= F + {ABOVE_FLOOR_MS} = {limit:.3} ms (F = {floor_ms:.3})");
            Aim::at_most(text, limit, p50_ms)
        }
        Durability::None => Aim::at_most(format!("p50 <= {WITHOUT_SYNC_MS} ms"), WITHOUT_SYNC_MS, p50_ms),
    }
}

fn counted(connections: u16) -> String {
    if connections == 1 { "1 connection".to_owned() } else { format!("{connections} connections") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aim_with_sync_rises_with_the_floor() {
        let aim = aim(4.0, 4.3, Durability::Fsync);
        assert_eq!((aim.limit, aim.met), (4.25, false));
    }

    #[test]
    fn the_aim_without_sync_does_not() {
        assert_eq!(aim(4.0, 0.1, Durability::None).limit, WITHOUT_SYNC_MS);
    }
}
