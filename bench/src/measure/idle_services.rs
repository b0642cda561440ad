//! What a hundred idle services of three replicas each cost in one process: processor time, and memory beside their own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Rows;
use crate::pause::pause;
use crate::report::{Aim, Row, Side, Unit};
use crate::server::Durability;
use crate::setup::Setup;
use crate::{cpu, resident, service_copy};

const EXAMPLE: &str = "kv-server";
const SERVICES: usize = 100;
const WARM_UP: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(20);
const CPU_AIM_PERCENT: f64 = 2.0;
const MEMORY_AIM_BYTES: f64 = 2e6;

/// Measures a server with one service, then one with all.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    if !setup.has_refrain() {
        return Ok(());
    }
    let folder = setup.folder().join("copies");
    let names = copies(setup, &folder, setup.scaled(SERVICES).max(2))?;
    let services: Vec<&str> = names.iter().map(String::as_str).collect();
    let bytes_of_one = {
        let server = setup.services_of(&folder, &services[..1], Durability::Fsync)?;
        pause(WARM_UP);
        resident::bytes(server.id())?
    };
    let server = setup.services_of(&folder, &services, Durability::Fsync)?;
    pause(WARM_UP);
    let percent = cpu::percent_of_core(server.id(), WATCHED)?;
    let each = (resident::bytes(server.id())? as f64 - bytes_of_one as f64) / (services.len() - 1) as f64;
    let mut add = |what: &str, figure, aim| {
        let mut row = Row::new(format!("{} idle services of 3 replicas: {what}", services.len()), Side::Refrain);
        (row.figure, row.aims) = (Some(figure), aim);
        rows.push(row);
    };
    let text = format!("< {CPU_AIM_PERCENT} % of a core");
    add("processor", Unit::PercentOfCore.of(percent), vec![Aim::below(text, CPU_AIM_PERCENT, percent)]);
    // Their own memory is in it: what is met with it is met without.
    let text = "<= 2 MB over their own";
    add("memory of each, its own included", Unit::Bytes.of(each), vec![Aim::at_most(text, MEMORY_AIM_BYTES, each)]);
    Ok(())
}

/// Copies the example into folders of `all` with names of their own; the names.
fn copies(setup: &Setup, all: &Path, count: usize) -> Result<Vec<String>> {
    (0..count)
        .map(|number| {
            let name = format!("{EXAMPLE}-{number:03}");
            let made = service_copy::copy(setup.examples(), EXAMPLE, &all.join("of"))?;
            let folder = all.join(&name);
            fs::rename(&made, &folder).with_context(|| format!("cannot rename {}", made.display()))?;
            fs::rename(folder.join(format!("{EXAMPLE}.wasm")), folder.join(format!("{name}.wasm")))?;
            service_copy::change(&folder, |line| line.replace(&format!("\"{EXAMPLE}"), &format!("\"{name}")))?;
            Ok(name)
        })
        .collect()
}
