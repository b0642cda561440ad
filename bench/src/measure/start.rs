//! How long a service takes from its manifest until it listens, its compiled code being there already: what a start
//! with it takes longer than one without, its bundle and its first entries of the log synced to the disk.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Rows, code};
use crate::latency::Latencies;
use crate::report::{Aim, Row, Side, Unit};
use crate::server::{Durability, Server};
use crate::setup::Setup;

const SERVICES: [&str; 3] = ["echo", "kv-server", "image-server"];
const ROUNDS: usize = 30;
const AIM_MS: f64 = 20.0;

/// Measures new servers with empty logs, in turns.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    if !setup.has_refrain() {
        return Ok(());
    }
    let compiled = setup.folder().join("compiled");
    for name in SERVICES {
        code::keep(&start(setup, &[name], None)?, &compiled)?;
    }
    let mut alone = Latencies::default();
    let mut times = SERVICES.map(|_| Latencies::default());
    for _ in 0..setup.scaled(ROUNDS) {
        alone.push(timed(setup, &[], &compiled)?);
        for (name, times) in SERVICES.iter().zip(&mut times) {
            times.push(timed(setup, &[name], &compiled)?);
        }
    }
    let alone = alone.summary();
    let mut row = Row::new("start: a server without services", Side::Base);
    row.latency = alone;
    rows.push(row);
    for (name, times) in SERVICES.iter().zip(&times) {
        let mut row = Row::new(format!("start: a server with {name}; figure: the service's part"), Side::Refrain);
        row.latency = times.summary();
        if let (Some(with), Some(without)) = (row.latency, alone) {
            let part = with.p50_ms - without.p50_ms;
            row.figure = Some(Unit::Milliseconds.of(part));
            row.aims.push(Aim::at_most(format!("<= {AIM_MS} ms"), AIM_MS, part));
        }
        rows.push(row);
    }
    Ok(())
}

fn start(setup: &Setup, services: &[&str], code: Option<&Path>) -> Result<Server> {
    setup.refrain_with_code(services, Durability::Fsync, code)?.context("Refrain is not to be measured")
}

fn timed(setup: &Setup, services: &[&str], compiled: &Path) -> Result<Duration> {
    Ok(start(setup, services, Some(compiled))?.started_in())
}
