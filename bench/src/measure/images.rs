//! Images of 10 MB, uploaded and downloaded again on one kept connection, compared byte for byte.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::noise::Noise;
use super::Rows;
use crate::http::Client;
use crate::latency::{Latencies, Summary};
use crate::report::{Aim, Ratio, RatioOf, Row, Side, Unit};
use crate::server::Durability;
use crate::setup::Setup;

pub(super) mod noise;

const IMAGES: usize = 20;
pub(super) const IMAGE_BYTES: usize = 10_000_000;
/// Names in use at a time, so that the quota on files is not what is measured.
const NAMES: usize = 4;
const UPLOAD_AIM: f64 = 100.0;
const DOWNLOAD_AIM: f64 = 200.0;

struct Outcome {
    side: Side,
    client: Client,
    uploads: Latencies,
    downloads: Latencies,
}

/// Measures all sides in turns.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let targets = setup.both("image-server", Durability::Fsync)?;
    let mut outcomes = Vec::new();
    for target in &targets {
        outcomes.push(Outcome {
            side: target.side,
            client: Client::connect(target.address)?,
            uploads: Latencies::default(),
            downloads: Latencies::default(),
        });
    }
    let (mut image, mut received) = (vec![0; IMAGE_BYTES], vec![0; IMAGE_BYTES]);
    let mut noise = Noise::default();
    for number in 0..setup.scaled(IMAGES) {
        noise.fill(&mut image);
        for (outcome, target) in outcomes.iter_mut().zip(&targets) {
            let path = format!("/image-{}.jpg", number % NAMES);
            outcome.uploads.push(upload(&mut outcome.client, target.address, &path, &image)?);
            outcome.downloads.push(download(&mut outcome.client, target.address, &path, &mut received)?);
            if received != image {
                bail!("{path} came back changed");
            }
        }
    }
    add(rows, "upload 10 MB, fsync", UPLOAD_AIM, &outcomes, |outcome| &outcome.uploads);
    add(rows, "download 10 MB, fsync", DOWNLOAD_AIM, &outcomes, |outcome| &outcome.downloads);
    Ok(())
}

/// Uploads; the time until the answer is there.
pub(super) fn upload(client: &mut Client, address: SocketAddr, path: &str, image: &[u8]) -> Result<Duration> {
    let head = upload_head(address, path, image.len());
    let mut body = Vec::new();
    let start = Instant::now();
    let sent = client.send(head.as_bytes(), image);
    // A server that refuses an upload answers before it has all of it: the answer says more than the broken pipe.
    let status = match client.receive(&mut body, IMAGE_BYTES) {
        Ok(status) => status,
        Err(error) => return sent.and(Err(error)).context("cannot upload"),
    };
    let taken = start.elapsed();
    match status {
        201 | 204 => Ok(taken),
        other => bail!("{path} cannot be uploaded: {other} {}", String::from_utf8_lossy(&body).trim_end()),
    }
}

/// The head of an upload.
pub(super) fn upload_head(address: SocketAddr, path: &str, bytes: usize) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {bytes}\r\n\r\n")
}

/// Downloads into `into`; the time until all of it is there.
pub(super) fn download(client: &mut Client, address: SocketAddr, path: &str, into: &mut Vec<u8>) -> Result<Duration> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let start = Instant::now();
    client.send(head.as_bytes(), &[])?;
    let status = client.receive(into, IMAGE_BYTES).with_context(|| format!("cannot download {path}"))?;
    let taken = start.elapsed();
    match status {
        200 => Ok(taken),
        other => bail!("{path} cannot be downloaded: {other} {}", String::from_utf8_lossy(into).trim_end()),
    }
}

fn add(rows: &mut Rows, what: &str, aim: f64, outcomes: &[Outcome], of: impl Fn(&Outcome) -> &Latencies) {
    let summaries: Vec<(Side, Summary)> =
        outcomes.iter().filter_map(|outcome| Some((outcome.side, of(outcome).summary()?))).collect();
    let native = summaries.iter().find(|(side, _)| *side == Side::Native).map(|(_, summary)| rate(summary));
    for (side, summary) in summaries {
        let rate = rate(&summary);
        let mut row = Row::new(what, side);
        row.latency = Some(summary);
        row.figure = Some(Unit::MegabytesPerSecond.of(rate));
        if side == Side::Refrain {
            row.ratio = native.map(|native| Ratio { value: rate / native, of: RatioOf::Rate, to: Side::Native });
            row.aims.push(Aim::at_least(format!(">= {aim} MB/s"), aim, rate));
        }
        rows.push(row);
    }
}

/// Millions of bytes a second of the median transfer.
pub(super) fn rate(summary: &Summary) -> f64 {
    IMAGE_BYTES as f64 / 1e6 / (summary.p50_ms / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_median_transfer() {
        let summary = Summary { samples: 20, p50_ms: 50.0, p99_ms: 90.0, max_ms: 90.0 };
        assert_eq!(rate(&summary), 200.0);
    }
}
