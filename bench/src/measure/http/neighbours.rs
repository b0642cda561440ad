//! A component beside four others that spin: how long its answers take on a schedule. `wasmtime serve` has no neighbours
//! in a process; there it is five processes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::component::{self, Component};
use crate::cpu;
use crate::http::Client;
use crate::http_server::HttpServer;
use crate::latency::Summary;
use crate::measure::Rows;
use crate::paced::Traffic;
use crate::pause::pause;
use crate::ping::get::Get;
use crate::report::{Aim, Row, Side, Unit};
use crate::server::{Durability, Server};
use crate::setup::Setup;
use crate::wasmtime;

const SPINNERS: usize = 4;
const PER_SECOND: f64 = 200.0;
const TIME: Duration = Duration::from_secs(10);
/// The first answers do not count: the spinners begin, and connections are new.
const SETTLE: Duration = Duration::from_secs(2);
const AIM_MS: f64 = 5.0;

const COMPONENT: Component = Component::Guest("p2");
const NEIGHBOUR: &str = "neighbour";
/// A guest that spins is not to be ended while it is measured.
const UNLIMITED: &str = "deadline = \"1h\"\nlifetime = \"1h\"";

/// Measures a server without spinners, one with them, and `wasmtime serve`.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let time = setup.scaled_time(TIME);
    let mut add = |what: &str, side, Seen { latency, percent_of_core }: Seen| {
        let mut row = Row::new(format!("{PER_SECOND} requests a second on a schedule, {what}"), side);
        row.latency = Some(latency);
        row.figure = Some(Unit::PercentOfCore.of(percent_of_core));
        if side == Side::Refrain {
            row.aims.push(Aim::at_most(format!("p99 <= {AIM_MS} ms"), AIM_MS, latency.p99_ms));
        }
        rows.push(row);
    };
    let beside = format!("{SPINNERS} components spin");
    if let Some(program) = setup.wasmtime() {
        let serve = || wasmtime::serve(program, setup.folder(), &COMPONENT.file(setup), 1);
        let spinners: Vec<HttpServer> = (0..SPINNERS).map(|_| serve()).collect::<Result<_>>()?;
        let neighbour = serve()?;
        let spinning: Vec<(SocketAddr, String)> =
            spinners.iter().map(|spinner| (spinner.address(), "/spin".to_owned())).collect();
        let processes: Vec<u32> = spinners.iter().chain([&neighbour]).map(HttpServer::id).collect();
        add(&beside, Side::Wasmtime, answers(neighbour.address(), "/", &spinning, &processes, time)?);
    }
    if setup.has_refrain() {
        let (server, spinners) = refrain(setup)?;
        let (address, path) = (server.address(NEIGHBOUR)?, component::path(NEIGHBOUR, "/"));
        add("nothing else runs", Side::Base, answers(address, &path, &[], &[server.id()], time)?);
        let spinning: Vec<(SocketAddr, String)> =
            spinners.iter().map(|name| (address, component::path(name, "/spin"))).collect();
        add(&beside, Side::Refrain, answers(address, &path, &spinning, &[server.id()], time)?);
    }
    Ok(())
}

fn refrain(setup: &Setup) -> Result<(Server, Vec<String>)> {
    let all = setup.folder().join("services that spin");
    let spinners: Vec<String> = (1..=SPINNERS).map(|number| format!("spinner-{number}")).collect();
    for name in spinners.iter().map(String::as_str).chain([NEIGHBOUR]) {
        COMPONENT.service(setup, &all, name, UNLIMITED)?;
    }
    let names: Vec<&str> = spinners.iter().map(String::as_str).chain([NEIGHBOUR]).collect();
    Ok((setup.services_of(&all, &names, Durability::Fsync)?, spinners))
}

/// What was seen while guests spun.
struct Seen {
    latency: Summary,
    /// What the servers used, spinners and neighbour together.
    percent_of_core: f64,
}

/// Times of a neighbour's answers while these requests spin; `processes` are all servers that take part.
fn answers(
    address: SocketAddr,
    path: &str,
    spinning: &[(SocketAddr, String)],
    processes: &[u32],
    time: Duration,
) -> Result<Seen> {
    let mut spinning: Vec<Client> = spinning.iter().map(|(at, path)| spin(*at, path)).collect::<Result<_>>()?;
    let traffic = Traffic::start(address, Get::new(address, path), PER_SECOND)?;
    pause(SETTLE);
    let (before, begin) = (used(processes)?, Instant::now());
    pause(time);
    let (after, elapsed) = (used(processes)?, begin.elapsed());
    let end = traffic.elapsed();
    let latency = traffic.stop()?.between(SETTLE, end).summary().context("the neighbour answered nothing")?;
    for client in &mut spinning {
        ensure!(client.is_waiting()?, "a component that should spin has answered");
    }
    let percent_of_core = after.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64() * 100.0;
    Ok(Seen { latency, percent_of_core })
}

/// Sends a request that is never answered; the guest spins as long as the connection is there.
fn spin(address: SocketAddr, path: &str) -> Result<Client> {
    let mut client = Client::connect(address)?;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes(), &[])?;
    Ok(client)
}

fn used(processes: &[u32]) -> Result<Duration> {
    processes.iter().map(|process| cpu::used(*process)).sum()
}
