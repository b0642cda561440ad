//! A component that greets, in `refrain up` with its proxy, beside `wasmtime serve` without one: with a fresh instance for
//! each request, and with instances that serve many. Both sides have the same file.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::component::{self, Component};
use super::{Course, Target, add, play};
use crate::loader::Loader;
use crate::measure::Rows;
use crate::report::Side;
use crate::server::Durability;
use crate::setup::Setup;
use crate::wasmtime;

/// What is measured, and what for. The examples write a line of their log for each request, the guests of the tests
/// nothing.
const COMPONENTS: [(&str, Component); 4] = [
    ("hello 0.2", Component::Guest("p2")),
    ("hello 0.3", Component::Guest("p3")),
    ("hello-c", Component::Example("hello-c")),
    ("hello-rust", Component::Example("hello-rust")),
];
/// Requests that an instance serves, and how many times the processor time of the other side a request may take.
const INSTANCES: [(&str, u32, f64); 2] = [("fresh", FRESH, 1.0), ("reused", REUSED, 1.5)];
const FRESH: u32 = 1;
/// What `wasmtime serve` has by default for 0.3.
const REUSED: u32 = 128;
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(2);
const CONNECTIONS: u16 = 16;

const SERVICE: &str = "hello";

/// Measures every component with both kinds of instances.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let loader = Loader::find(setup.folder())?;
    let wasmtime = setup.wasmtime();
    let rounds = if setup.quick { 1 } else { ROUNDS };
    let course = Course { rounds, connections: CONNECTIONS, time: setup.scaled_time(TIME) };
    for (name, component) in COMPONENTS {
        for (instances, reuse, times) in INSTANCES {
            let mut targets = Vec::new();
            if let Some(program) = wasmtime {
                let server = wasmtime::serve(program, setup.folder(), &component.file(setup), reuse)?;
                targets.push(Target::other(Side::Wasmtime, server));
            }
            if setup.has_refrain() {
                targets.push(refrain(setup, component, &format!("{name}-{instances}"), reuse)?);
            }
            let outcomes = play(&loader, &targets, &course)?;
            let what = format!("{name}, {instances}, {CONNECTIONS} connections, {}", loader.name());
            add(rows, &what, &outcomes, Side::Wasmtime, times);
        }
    }
    Ok(())
}

fn refrain(setup: &Setup, component: Component, case: &str, reuse: u32) -> Result<Target> {
    let all: PathBuf = setup.folder().join(format!("services of {case}"));
    component.service(setup, &all, SERVICE, &format!("reuse = {reuse}"))?;
    let server = setup.services_of(&all, &[SERVICE], Durability::Fsync)?;
    Target::refrain(server, SERVICE, &component::path(SERVICE, "/"))
}
