//! What traces and metrics cost: 64 bytes there and back with 1 % of the batches traced and exported to a collector, in
//! turns with a base, which is the same server with OTEL_SDK_DISABLED or another build.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Rows;
use super::series;
use crate::ping::Plan;
use crate::report::{Aim, Ratio, RatioOf, Row, Side, Unit};
use crate::setup::Setup;

const TIME_LIMIT: Duration = Duration::from_millis(1500);
/// The most that traces may take of the rate, and add to a time.
const SHARE: f64 = 0.05;

/// Measures one connection and many.
pub fn measure(setup: &Setup, base: Option<&Path>, rounds: usize, rows: &mut Rows) -> Result<()> {
    let collector = Collector::start()?;
    let traced = [
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("OTEL_BSP_SCHEDULE_DELAY", "1000"),
    ];
    let targets = [
        setup.variant(Side::Base, base, "echo", &[("OTEL_SDK_DISABLED", "true")])?,
        setup.variant(Side::Refrain, None, "echo", &traced)?,
    ];
    for (connections, warm_up) in [(1, 100), (64, 2000)] {
        let plan = Plan { connections, warm_up: setup.scaled(warm_up), requests: usize::MAX, time: TIME_LIMIT };
        let series = series::play(setup, &targets, setup.scaled(rounds), &plan)?;
        let base = series.sides.iter().find(|outcome| outcome.side == Side::Base).context("the base was measured")?;
        for outcome in &series.sides {
            let mut row = Row::new(format!("echo 64 B, {connections} connections, fsync, 1 % traced"), outcome.side);
            row.latency = Some(outcome.latency);
            row.figure = Some(Unit::PerSecond.of(outcome.rate));
            if outcome.side == Side::Refrain {
                row.floor_p50_ms = Some(series.floor.p50_ms);
                let (value, of, to) = (outcome.latency.p50_ms / base.latency.p50_ms, RatioOf::Time, Side::Base);
                row.ratio = Some(Ratio { value, of, to });
                row.aims = aims(value, outcome.rate / base.rate);
            }
            rows.push(row);
        }
    }
    ensure!(collector.requests.load(Ordering::Relaxed) > 0, "the collector got nothing");
    Ok(())
}

fn aims(time: f64, rate: f64) -> Vec<Aim> {
    let (slower, fewer) = (1.0 + SHARE, 1.0 - SHARE);
    vec![
        Aim::at_most(format!("p50 <= {slower:.2} x base (is {time:.3})"), slower, time),
        Aim::at_least(format!("rate >= {fewer:.2} x base (is {rate:.3})"), fewer, rate),
    ]
}

/// Takes what is exported and throws it away.
struct Collector {
    url: String,
    requests: Arc<AtomicU64>,
}

impl Collector {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (url, requests) = (format!("http://{}", listener.local_addr()?), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A server that ends closes its connection.
                while take(&stream, &count).is_ok_and(|taken| taken) {}
            }
        });
        Ok(Self { url, requests })
    }
}

/// Takes one request and counts it before it is answered; false at the end of the connection.
fn take(stream: &TcpStream, count: &AtomicU64) -> Result<bool> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line)? > 0 {
        if line.trim_end().is_empty() {
            reader.read_exact(&mut vec![0; length])?;
            count.fetch_add(1, Ordering::Relaxed);
            (&mut &*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
            return Ok(true);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_hundredths_are_within_the_aims_and_more_is_not() {
        let met = |time, rate| aims(time, rate).iter().map(|aim| aim.met).collect::<Vec<_>>();
        assert_eq!(met(1.05, 0.95), [true, true]);
        assert_eq!(met(1.06, 0.94), [false, false]);
    }

    #[test]
    fn the_collector_takes_one_request_after_the_other() {
        let collector = Collector::start().unwrap();
        let mut stream = TcpStream::connect(collector.url.trim_start_matches("http://")).unwrap();
        for _ in 0..2 {
            stream.write_all(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").unwrap();
            let mut answer = [0; 38];
            stream.read_exact(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200"));
        }
        assert_eq!(collector.requests.load(Ordering::Relaxed), 2);
    }
}
