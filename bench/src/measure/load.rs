//! 64 bytes there and back over many connections, from one client thread: requests a second.

use std::time::Duration;

use anyhow::Result;

use super::Rows;
use super::series;
use crate::ping::Plan;
use crate::report::{Aim, Ratio, RatioOf, Row, Side, Unit};
use crate::server::Durability;
use crate::setup::Setup;

const ROUNDS: usize = 3;
const REQUESTS: usize = 200_000;
const TIME_LIMIT: Duration = Duration::from_secs(3);
const WARM_UP: usize = 2000;
/// The aim on a quiet disk.
const RATE_AIM: f64 = 20_000.0;
const QUIET_FLOOR_MS: f64 = 0.3;
/// On a busier one: this part of what the floor and half a millisecond of work would allow.
const SHARE: f64 = 0.6;
const WORK_MS: f64 = 0.5;

/// Measures with durability fsync.
pub fn measure(setup: &Setup, connections: u16, rows: &mut Rows) -> Result<()> {
    let plan = Plan { connections, warm_up: setup.scaled(WARM_UP), requests: setup.scaled(REQUESTS), time: TIME_LIMIT };
    let targets = setup.both("echo", Durability::Fsync)?;
    let series = series::play(setup, &targets, ROUNDS, &plan)?;
    for outcome in &series.sides {
        let mut row = Row::new(format!("load 64 B, {connections} connections, fsync"), outcome.side);
        row.latency = Some(outcome.latency);
        row.figure = Some(Unit::PerSecond.of(outcome.rate));
        if outcome.side == Side::Refrain {
            row.floor_p50_ms = Some(series.floor.p50_ms);
            row.ratio = series.native().map(|native| Ratio {
                value: outcome.rate / native.rate,
                of: RatioOf::Rate,
                to: Side::Native,
            });
            row.aims.push(aim(connections, series.floor.p50_ms, outcome.rate));
        }
        rows.push(row);
    }
    Ok(())
}

fn aim(connections: u16, floor_ms: f64, rate: f64) -> Aim {
    if floor_ms <= QUIET_FLOOR_MS {
        return Aim::at_least(format!(">= 20,000/s (F = {floor_ms:.3})"), RATE_AIM, rate);
    }
    let limit = SHARE * f64::from(connections) / (floor_ms + WORK_MS) * 1e3;
    let text = format!(">= {SHARE} x {connections} / (F + {WORK_MS} ms) = {limit:.0}/s (F = {floor_ms:.3})");
    Aim::at_least(text, limit, rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aim_depends_on_the_floor_above_a_quiet_one() {
        assert_eq!(aim(64, 0.3, 0.0).limit, 20_000.0);
        assert_eq!(aim(64, 1.5, 0.0).limit.round(), 19_200.0);
        assert_eq!(aim(64, 3.5, 0.0).limit.round(), 9_600.0);
    }
}
