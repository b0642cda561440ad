//! Rounds of ping-pong against several targets, in turns, with the sync floor before each.

use anyhow::{Result, bail};

use super::floor::SyncFloor;
use crate::latency::{Latencies, Summary, median};
use crate::ping::echo::Echo;
use crate::ping::{self, Plan};
use crate::report::Side;
use crate::setup::{Setup, Target};

/// Syncs that are timed before each round.
const FLOOR_SYNCS: usize = 100;

/// What all rounds gave.
pub struct Series {
    /// The sync floor of these minutes (F).
    pub floor: Summary,
    /// The sides, in the order of the targets.
    pub sides: Vec<Outcome>,
}

/// What all rounds gave for one side.
pub struct Outcome {
    /// Whose it is.
    pub side: Side,
    /// Over all rounds.
    pub latency: Summary,
    /// Requests a second, the median of the rounds.
    pub rate: f64,
}

/// Plays `rounds` rounds.
pub fn play(setup: &Setup, targets: &[Target], rounds: usize, plan: &Plan) -> Result<Series> {
    let mut sync = SyncFloor::create(setup.folder())?;
    let mut floor = Latencies::default();
    let mut played: Vec<(Latencies, Vec<f64>)> = targets.iter().map(|_| Default::default()).collect();
    for _ in 0..rounds {
        floor.append(sync.time(FLOOR_SYNCS)?);
        for (target, (latencies, rates)) in targets.iter().zip(&mut played) {
            let round = ping::run(target.address, &Echo, plan)?;
            rates.push(round.rate());
            latencies.append(round.latencies);
        }
    }
    floor.append(sync.time(FLOOR_SYNCS)?);
    let mut sides = Vec::new();
    for (target, (latencies, rates)) in targets.iter().zip(played) {
        let (Some(latency), Some(rate)) = (latencies.summary(), median(&rates)) else { bail!("nothing was measured") };
        sides.push(Outcome { side: target.side, latency, rate });
    }
    let Some(floor) = floor.summary() else { bail!("the floor was not measured") };
    Ok(Series { floor, sides })
}

impl Series {
    /// The native side, which every other one is compared with.
    pub fn native(&self) -> Option<&Outcome> {
        self.sides.iter().find(|outcome| outcome.side == Side::Native)
    }
}
