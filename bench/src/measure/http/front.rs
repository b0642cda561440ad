//! The front end alone before a server at an address, beside nginx and HAProxy before the same one: one thread each,
//! connections kept on both sides, the same headers set.

use std::time::Duration;

use anyhow::Result;

use super::{Course, Running, Target, add, play};
use crate::http_server::HttpServer;
use crate::loader::Loader;
use crate::measure::Rows;
use crate::report::Side;
use crate::setup::Setup;
use crate::upstream::Upstream;
use crate::{front, haproxy, nginx, program};

const ROUNDS: usize = 7;
const TIME: Duration = Duration::from_secs(2);
const CONNECTIONS: u16 = 64;
/// How many times the processor time of nginx a request may take.
const TIMES: f64 = 1.5;

/// Measures all that are installed.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let loader = Loader::find(setup.folder())?;
    let upstream = Upstream::start()?;
    let address = upstream.address();
    let direct =
        Target { side: Side::Floor, address, path: "/".to_owned(), process: None, _running: Running::Elsewhere };
    let mut targets = vec![direct];
    let mut add_server = |side, server: HttpServer| targets.push(Target::other(side, server));
    if let Some(program) = find("nginx") {
        add_server(Side::Nginx, nginx::start(&program, setup.folder(), address)?);
    }
    if let Some(program) = find("haproxy") {
        add_server(Side::Haproxy, haproxy::start(&program, setup.folder(), address)?);
    }
    if let Some(program) = setup.front() {
        add_server(Side::Refrain, front::start(program, setup.folder(), address)?);
    }
    let rounds = if setup.quick { 1 } else { ROUNDS };
    let course = Course { rounds, connections: CONNECTIONS, time: setup.scaled_time(TIME) };
    let outcomes = play(&loader, &targets, &course)?;
    let what = format!("proxy to an address, {CONNECTIONS} connections, {}", loader.name());
    add(rows, &what, &outcomes, Side::Nginx, TIMES);
    Ok(())
}

/// Debian has both where only the administrator looks.
fn find(name: &str) -> Option<std::path::PathBuf> {
    let found =
        program::find(name).or_else(|| Some(std::path::Path::new("/usr/sbin").join(name)).filter(|at| at.is_file()));
    if found.is_none() {
        eprintln!("bench: {name} is not installed (apt-get install -y {name}): left out");
    }
    found
}
