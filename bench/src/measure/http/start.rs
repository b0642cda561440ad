//! How long a service takes from its deployment to its first answer, its compiled code being at hand: its bundle is sent to
//! a server that runs nothing yet, deployed, and asked for something by a new client.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use refrain_api::{Deploy, HttpStatus, paths};
use refrain_service::Bundle;

use super::component::{self, Component};
use crate::admin::Admin;
use crate::http;
use crate::latency::Latencies;
use crate::measure::Rows;
use crate::measure::code;
use crate::report::{Aim, Row, Side};
use crate::server::{Durability, Server};
use crate::setup::Setup;

const COMPONENTS: [(&str, Component); 2] =
    [("hello-c", Component::Example("hello-c")), ("hello-rust", Component::Example("hello-rust"))];
const ROUNDS: usize = 30;
const AIM_MS: f64 = 50.0;
/// How long a route may take to be there.
const LIMIT: Duration = Duration::from_secs(10);

/// A first answer.
struct Answered {
    /// From when the bundle was sent.
    after: Duration,
    was_compiled: bool,
}

/// Measures new servers in turns.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let all = setup.folder().join("services to deploy");
    let compiled = setup.folder().join("compiled components");
    let mut bundles = Vec::new();
    for (name, component) in COMPONENTS {
        component.service(setup, &all, name, "")?;
        let bundle = Bundle::load(&all.join(name)).with_context(|| format!("cannot load {name}"))?;
        let server = setup.refrain(&[], Durability::Fsync)?.context("Refrain is not to be measured")?;
        first_answer(&server, name, &bundle)?;
        code::keep(&server, &compiled)?;
        bundles.push(bundle);
    }
    let mut times = COMPONENTS.map(|_| Latencies::default());
    for _ in 0..setup.scaled(ROUNDS) {
        for (((name, _), bundle), times) in COMPONENTS.iter().zip(&bundles).zip(&mut times) {
            let server = setup.refrain_with_code(&[], Durability::Fsync, Some(&compiled))?;
            let answered = first_answer(&server.context("Refrain is not to be measured")?, name, bundle)?;
            ensure!(!answered.was_compiled, "{name} was compiled though its code is at hand");
            times.push(answered.after);
        }
    }
    for ((name, _), times) in COMPONENTS.iter().zip(&times) {
        let mut row = Row::new(format!("{name}: from deploy to the first answer, code at hand"), Side::Refrain);
        row.latency = times.summary();
        row.aims.extend(row.latency.map(|latency| Aim::at_most(format!("p50 <= {AIM_MS} ms"), AIM_MS, latency.p50_ms)));
        rows.push(row);
    }
    Ok(())
}

/// Sends the bundle, deploys it, asks.
fn first_answer(server: &Server, name: &str, bundle: &Bundle) -> Result<Answered> {
    let mut admin = Admin::connect(server.data())?;
    let (digest, packed) = (bundle.digest.to_string(), bundle.pack());
    let begin = Instant::now();
    admin.put(&paths::of_bundle(&digest), &packed)?;
    let status: HttpStatus = admin.post(paths::DEPLOY, &Deploy { bundle: digest, weight: None })?;
    let url =
        status.listens.first().and_then(|url| url.strip_prefix("http://")).context("the front end does not listen")?;
    let address = url.parse().with_context(|| format!("{url:?} is no address"))?;
    loop {
        match http::status(address, &component::path(name, "/"))? {
            200 => return Ok(Answered { after: begin.elapsed(), was_compiled: status.code_compiled > 0 }),
            // The route is not there yet.
            404 if begin.elapsed() < LIMIT => {}
            status => bail!("{name} answers {status} after {:?}", begin.elapsed()),
        }
    }
}
