//! redis-benchmark against the kv-server, natively and under Refrain, and against a Redis that syncs every write when
//! one is installed.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use self::csv::Line;
use super::Rows;
use crate::process::{self, Process};
use crate::report::{Aim, Ratio, RatioOf, Row, Side, Unit};
use crate::server::Durability;
use crate::setup::Setup;

mod csv;

const ROUNDS: usize = 5;
const REQUESTS: usize = 200_000;
const CONNECTIONS: &str = "50";
const PIPELINE: &str = "16";
const WHAT: &str = "redis-benchmark SET -c 50 -P 16, fsync";
const TIME_LIMIT: Duration = Duration::from_secs(60);
const REDIS_START_LIMIT: Duration = Duration::from_secs(10);
const RATE_AIM: f64 = 150_000.0;
const RATIO_AIM: f64 = 0.25;

/// Measures all sides in turns.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let Some(benchmark) = find_program("redis-benchmark") else {
        bail!("redis-benchmark is not installed. On Debian or Ubuntu: apt-get install -y redis-tools");
    };
    let targets = setup.both("kv-server", Durability::Fsync)?;
    let redis = find_program("redis-server").map(|program| start_redis(&program, setup.folder())).transpose()?;
    let mut sides: Vec<(Side, SocketAddr, Vec<Line>)> =
        targets.iter().map(|target| (target.side, target.address, Vec::new())).collect();
    sides.extend(redis.iter().map(|(_, address)| (Side::Redis, *address, Vec::new())));
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
            row.ratio = Some(Ratio { value, of: RatioOf::Rate });
            row.aims.push(Aim::at_least(format!(">= {RATIO_AIM} x native"), RATIO_AIM, value));
        }
    }
    row
}

fn run(benchmark: &Path, address: SocketAddr, requests: usize) -> Result<Line> {
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

fn start_redis(program: &Path, run: &Path) -> Result<(Process, SocketAddr)> {
    let folder = run.join("redis");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // redis-server takes port 0 for no port at all.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--daemonize", "no", "--dir"]);
    command.arg(&folder).args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    let mut process = Process::start("redis-server", &mut command, run)?;
    process.wait_for(REDIS_START_LIMIT, |line| line.contains("eady to accept connections").then_some(()))?;
    Ok((process, address))
}

fn find_program(name: &str) -> Option<PathBuf> {
    find_in(&env::var_os("PATH")?, name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(name)).find(|program| program.is_file())
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

    #[test]
    fn a_program_that_is_not_installed_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find_in(folder.path().as_os_str(), "it"), None);
        fs::write(folder.path().join("it"), "").unwrap();
        assert_eq!(find_in(folder.path().as_os_str(), "it"), Some(folder.path().join("it")));
    }
}
