//! How many bytes the log takes for an upload of 2 MB beyond the bytes that the client sent.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use refrain_api::LogStatus;

use super::Rows;
use super::images::noise::Noise;
use super::images::{upload, upload_head};
use crate::http::Client;
use crate::latency::median;
use crate::pause::pause;
use crate::report::{Aim, Row, Side, Unit};
use crate::server::{Durability, Server};
use crate::setup::Setup;

const UPLOADS: usize = 5;
const IMAGE_BYTES: usize = 2_000_000;
const AIM_PERCENT: f64 = 0.1;
const PATH: &str = "/framing.jpg";
/// What belongs to an upload may be appended shortly after its answer (credit). Quiet for so long means that it is over.
const QUIET: Duration = Duration::from_millis(200);
const QUIET_LIMIT: Duration = Duration::from_secs(10);

/// Measures Refrain; there is nothing to compare with.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let Some(server) = setup.refrain(&["image-server"], Durability::Fsync)? else { return Ok(()) };
    let address = server.address("image-server")?;
    let mut client = Client::connect(address)?;
    let mut image = vec![0; IMAGE_BYTES];
    Noise::default().fill(&mut image);
    // The first one opens the connection and creates the file.
    upload(&mut client, address, PATH, &image)?;
    let sent = (IMAGE_BYTES + upload_head(address, PATH, IMAGE_BYTES).len()) as f64;
    let (mut shares, mut bytes, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..UPLOADS {
        let before = settled(&server)?;
        upload(&mut client, address, PATH, &image)?;
        let after = settled(&server)?;
        let added = after.bytes as f64 - before.bytes as f64 - sent;
        if added < 0.0 {
            bail!(
                "the log grew by {} bytes less than the client sent: is it cut, or is space reserved counted?",
                -added
            );
        }
        bytes.push(added);
        entries.push(after.last_position as f64 - before.last_position as f64);
        shares.push(added / IMAGE_BYTES as f64 * 100.0);
    }
    let mut add = |what: &str, unit: Unit, values: &[f64]| {
        let mut row = Row::new(format!("framing of an upload of 2 MB: {what}"), Side::Refrain);
        row.figure = median(values).map(|value| unit.of(value));
        if unit == Unit::PercentOfPayload {
            let text = format!("<= {AIM_PERCENT} %");
            row.aims.extend(median(values).map(|value| Aim::at_most(text, AIM_PERCENT, value)));
        }
        rows.push(row);
    };
    add("share", Unit::PercentOfPayload, &shares);
    add("bytes", Unit::Bytes, &bytes);
    add("log entries", Unit::Entries, &entries);
    Ok(())
}

/// The state of the log when nothing is appended any more.
fn settled(server: &Server) -> Result<LogStatus> {
    let start = Instant::now();
    let mut last = server.status()?.log;
    while start.elapsed() < QUIET_LIMIT {
        pause(QUIET);
        let log = server.status()?.log;
        if log.last_position == last.last_position && log.bytes == last.bytes {
            return Ok(log);
        }
        last = log;
    }
    bail!("the log of a server without requests still grows after {} s", QUIET_LIMIT.as_secs())
}
