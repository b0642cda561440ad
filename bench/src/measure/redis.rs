//! redis-benchmark against the kv-server, natively and under Refrain, and against a Redis that syncs every write when
//! one is installed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use self::csv::Line;
use super::Rows;
use crate::redis_server::RedisServer;
use crate::report::{Aim, Ratio, RatioOf, Row, Side, Unit};
use crate::server::Durability;
use crate::setup::Setup;
use crate::{process, program};

mod csv;

const ROUNDS: usize = 5;
const REQUESTS: usize = 200_000;
const CONNECTIONS: &str = "50";
const PIPELINE: &str = "16";
const WHAT: &str = "redis-benchmark SET -c 50 -P 16, fsync";
const TIME_LIMIT: Duration = Duration::from_secs(60);
const RATE_AIM: f64 = 150_000.0;
const RATIO_AIM: f64 = 0.25;

/// Measures all sides in turns.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let benchmark = program::installed("redis-benchmark", "redis-tools")?;
    let targets = setup.both("kv-server", Durability::Fsync)?;
    let redis =
        program::find("redis-server").map(|program| RedisServer::start(&program, setup.folder())).transpose()?;
    let mut sides: Vec<(Side, SocketAddr, Vec<Line>)> =
        targets.iter().map(|target| (target.side, target.address, Vec::new())).collect();
    sides.extend(redis.iter().map(|redis| (Side::Redis, redis.address(), Vec::new())));
    for _ in 0..ROUNDS {
        for (_, address, lines) in &mut sides {
            lines.push(run(&benchmark, *address, setup.scaled(REQUESTS))?);
        }
    }
    let medians: Vec<(Side, Line)> =
        sides.into_iter().filter_map(|(side, _, lines)| Some((side, median(lines)?))).collect();
    let native = medians.iter().find(|(side, _)| *side == Side::Native).map(|(_, line)| line.rate);
    rows.extend(medians.into_iter().map(|(side, line)| row(side, line, native)));
    Ok(())
}

fn row(side: Side, line: Line, native: Option<f64>) -> Row {
    let mut row = Row::new(WHAT, side);
    row.latency = line.latency;
    row.figure = Some(Unit::PerSecond.of(line.rate));
    if side == Side::Refrain {
        row.aims.push(Aim::at_least(">= 150,000/s", RATE_AIM, line.rate));
        if let Some(native) = native {
            let value = line.rate / native;
            row.ratio = Some(Ratio { value, of: RatioOf::Rate, to: Side::Native });
            row.aims.push(Aim::at_least(format!(">= {RATIO_AIM} x native"), RATIO_AIM, value));
        }
    }
    row
}

/// One run against a server.
pub(super) fn run(benchmark: &Path, address: SocketAddr, requests: usize) -> Result<Line> {
    let mut command = Command::new(benchmark);
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.args(["-t", "set", "-n", &requests.to_string(), "-c", CONNECTIONS, "-P", PIPELINE, "--csv"]);
    let text = process::output("redis-benchmark", &mut command, TIME_LIMIT)?;
    csv::line_of(&text, "SET", requests)
}

/// The round with the middle rate.
fn median(mut lines: Vec<Line>) -> Option<Line> {
    lines.sort_unstable_by(|a, b| a.rate.total_cmp(&b.rate));
    let middle = lines.len() / 2;
    lines.into_iter().nth(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rate: f64) -> Line {
        Line { rate, latency: None }
    }

    #[test]
    fn the_median_round_is_taken_whole() {
        assert_eq!(median(vec![line(3.0), line(1.0), line(2.0)]), Some(line(2.0)));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn only_refrain_has_aims() {
        let row_of = |side| row(side, line(100_000.0), Some(500_000.0));
        assert!(row_of(Side::Native).aims.is_empty() && row_of(Side::Redis).aims.is_empty());
        let met: Vec<bool> = row_of(Side::Refrain).aims.iter().map(|aim| aim.met).collect();
        assert_eq!(met, [false, false]);
    }
}
