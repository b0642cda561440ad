//! What idle connections take of a server's memory: each has had one answer and is kept.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Target;
use super::component::{self, Component};
use crate::loader::Loader;
use crate::measure::Rows;
use crate::pause::pause;
use crate::ping::Line;
use crate::ping::get::Get;
use crate::report::{Aim, Row, Side, Unit};
use crate::server::Durability;
use crate::setup::Setup;
use crate::{open_files, resident, wasmtime};

const CONNECTIONS: usize = 10_000;
/// Beside the connections.
const OPEN_FILES: u64 = 1_000;
const AIM_BYTES: f64 = 20.0 * 1024.0;
/// So that what a server makes for its first requests is there before.
const WARM_UP: Duration = Duration::from_secs(1);
const WARM_UP_CONNECTIONS: u16 = 64;
/// For the server to have given back what it does not keep.
const SETTLE: Duration = Duration::from_secs(2);

const COMPONENT: Component = Component::Guest("p2");
const SERVICE: &str = "hello";

/// Measures the whole server, and `wasmtime serve`.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let connections = setup.scaled(CONNECTIONS);
    open_files::raise(connections as u64 + OPEN_FILES)?;
    let loader = Loader::find(setup.folder())?;
    let mut add = |target: &Target| -> Result<()> {
        let each = bytes_of_each(&loader, target, connections)?;
        let mut row = Row::new(format!("{connections} idle connections: memory of each"), target.side);
        row.figure = Some(Unit::Bytes.of(each));
        if target.side == Side::Refrain {
            row.aims.push(Aim::at_most("<= 20 KiB", AIM_BYTES, each));
        }
        rows.push(row);
        Ok(())
    };
    if let Some(program) = setup.wasmtime() {
        let server = wasmtime::serve(program, setup.folder(), &COMPONENT.file(setup), 1)?;
        add(&Target::other(Side::Wasmtime, server))?;
    }
    if setup.has_refrain() {
        let all = setup.folder().join("services that are idle");
        COMPONENT.service(setup, &all, SERVICE, "")?;
        let server = setup.services_of(&all, &[SERVICE], Durability::Fsync)?;
        add(&Target::refrain(server, SERVICE, &component::path(SERVICE, "/"))?)?;
    }
    Ok(())
}

/// What the memory of the server grows by, divided by the connections. All of them answer once more at the end.
fn bytes_of_each(loader: &Loader, target: &Target, connections: usize) -> Result<f64> {
    let process = target.process.context("a server without a process has no memory")?;
    loader.play(target.address, &target.path, WARM_UP_CONNECTIONS, WARM_UP)?;
    pause(SETTLE);
    let before = resident::bytes(process)?;
    let get = Get::new(target.address, &target.path);
    let mut lines = Vec::with_capacity(connections);
    for number in 0..connections {
        lines.push(connected(target.address, &get, number)?);
    }
    pause(SETTLE);
    let after = resident::bytes(process)?;
    for (number, line) in lines.iter_mut().enumerate() {
        line.ask(&get, number, 1).with_context(|| format!("connection {number} was not kept"))?;
    }
    ensure!(after > before, "{connections} connections took no memory");
    Ok((after - before) as f64 / connections as f64)
}

fn connected(address: SocketAddr, get: &Get, number: usize) -> Result<Line> {
    let mut line = Line::connect(address)?;
    line.ask(get, number, 0).with_context(|| format!("connection {number}"))?;
    Ok(line)
}
