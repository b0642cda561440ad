//! What an idle server with three services writes and costs.

use std::time::Duration;

use anyhow::Result;

use super::Rows;
use crate::cpu;
use crate::pause::pause;
use crate::report::{Aim, Row, Side, Unit};
use crate::server::Durability;
use crate::setup::Setup;

const SERVICES: [&str; 3] = ["echo", "image-server", "kv-server"];
const WARM_UP: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(10);
const CPU_AIM_PERCENT: f64 = 1.0;

/// Measures Refrain; there is nothing to compare with.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let Some(server) = setup.refrain(&SERVICES, Durability::Fsync)? else { return Ok(()) };
    pause(WARM_UP);
    let before = server.status()?.log;
    let percent = cpu::percent_of_core(server.id(), WATCHED)?;
    let after = server.status()?.log;
    let bytes = after.bytes as f64 - before.bytes as f64;
    let entries = after.last_position as f64 - before.last_position as f64;
    let mut add = |what: &str, figure, aim| {
        let mut row = Row::new(format!("idle {} s, 3 services: {what}", WATCHED.as_secs()), Side::Refrain);
        row.figure = Some(figure);
        row.aims.push(aim);
        rows.push(row);
    };
    add("log bytes", Unit::Bytes.of(bytes), Aim::at_most("0 bytes", 0.0, bytes));
    add("log entries", Unit::Entries.of(entries), Aim::at_most("0 entries", 0.0, entries));
    let text = format!("< {CPU_AIM_PERCENT} % of a core");
    add("processor", Unit::PercentOfCore.of(percent), Aim::below(text, CPU_AIM_PERCENT, percent));
    Ok(())
}
