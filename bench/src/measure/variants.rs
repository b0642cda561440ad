//! The examples in two variants, in turns: 64 bytes there and back, SETs, images. One process, durability none, so that
//! the guests' share is large.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::images::{self, noise::Noise};
use super::{Rows, redis, series};
use crate::http::Client;
use crate::latency::{Latencies, Summary, median};
use crate::ping::Plan;
use crate::program;
use crate::report::{Ratio, RatioOf, Row, Side, Unit};
use crate::server::Durability;
use crate::setup::{Setup, Target};

/// Those that are compared.
pub const EXAMPLES: [&str; 3] = ["echo", "kv-server", "image-server"];

const ECHO_ROUNDS: usize = 15;
const ECHO_TIME: Duration = Duration::from_millis(500);
const SET_ROUNDS: usize = 5;
const SETS: usize = 200_000;
const IMAGES: usize = 20;

/// Measures the services of one folder of examples ([`Side::Refrain`]) beside those of another ([`Side::Base`]).
pub fn compare(setup: &Setup, base: &Path, examples: &Path, rows: &mut Rows) -> Result<()> {
    let sides = |name: &str| -> Result<[Target; 2]> {
        let measured = setup.service_of(Side::Refrain, examples, name, Durability::None)?;
        Ok([setup.service_of(Side::Base, base, name, Durability::None)?, measured])
    };
    echo(setup, &sides("echo")?, rows)?;
    sets(setup, &sides("kv-server")?, rows)?;
    images(setup, &sides("image-server")?, rows)
}

fn echo(setup: &Setup, targets: &[Target], rows: &mut Rows) -> Result<()> {
    let plan = Plan { connections: 1, warm_up: setup.scaled(2000), requests: usize::MAX, time: ECHO_TIME };
    let series = series::play(setup, targets, setup.scaled(ECHO_ROUNDS), &plan)?;
    let sides = series.sides.into_iter().map(|side| (side.side, Some(side.latency), Unit::PerSecond, side.rate));
    add(rows, "echo: 64 B there and back", sides.collect());
    Ok(())
}

fn sets(setup: &Setup, targets: &[Target], rows: &mut Rows) -> Result<()> {
    let benchmark = program::installed("redis-benchmark", "redis-tools")?;
    let mut rates = [const { Vec::new() }; 2];
    for _ in 0..SET_ROUNDS {
        for (target, rates) in targets.iter().zip(&mut rates) {
            rates.push(redis::run(&benchmark, target.address, setup.scaled(SETS))?.rate);
        }
    }
    let sides = targets.iter().zip(rates);
    let sides = sides.filter_map(|(target, rates)| Some((target.side, None, Unit::PerSecond, median(&rates)?)));
    add(rows, "kv-server: redis-benchmark SET -c 50 -P 16", sides.collect());
    Ok(())
}

fn images(setup: &Setup, targets: &[Target], rows: &mut Rows) -> Result<()> {
    let mut image = vec![0; images::IMAGE_BYTES];
    Noise::default().fill(&mut image);
    let (mut uploads, mut downloads) = ([(); 2].map(|()| Latencies::default()), [(); 2].map(|()| Latencies::default()));
    let mut received = Vec::new();
    for _ in 0..setup.scaled(IMAGES) {
        for (index, target) in targets.iter().enumerate() {
            let mut client = Client::connect(target.address)?;
            uploads[index].push(images::upload(&mut client, target.address, "/a.jpg", &image)?);
            downloads[index].push(images::download(&mut client, target.address, "/a.jpg", &mut received)?);
        }
    }
    for (what, all) in [("image-server: upload 10 MB", uploads), ("image-server: download 10 MB", downloads)] {
        let sides = targets.iter().zip(all);
        let sides = sides.filter_map(|(target, times)| {
            let summary = times.summary()?;
            Some((target.side, Some(summary), Unit::MegabytesPerSecond, images::rate(&summary)))
        });
        add(rows, what, sides.collect());
    }
    Ok(())
}

fn add(rows: &mut Rows, what: &str, sides: Vec<(Side, Option<Summary>, Unit, f64)>) {
    let base = sides.iter().find(|(side, ..)| *side == Side::Base).map(|(.., rate)| *rate);
    for (side, latency, unit, rate) in sides {
        let mut row = Row::new(what, side);
        (row.latency, row.figure) = (latency, Some(unit.of(rate)));
        if side == Side::Refrain {
            row.ratio = base.map(|base| Ratio { value: rate / base, of: RatioOf::Rate, to: Side::Base });
        }
        rows.push(row);
    }
}
