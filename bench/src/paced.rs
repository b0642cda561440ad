//! Requests on a schedule (an open loop): each has a time at which it is due, whatever became of those before, and its
//! latency counts from then. A server that stands still for a moment is seen by everything that came due meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::latency::Latencies;
use crate::log_lines::TimeOfDay;
use crate::pause::pause;
use crate::ping::{Exchange, Line};

/// Connections, each with a thread of blocking calls; a request that is late delays those of its connection alone.
const CONNECTIONS: usize = 16;

/// One answered request.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When it was due, from the start of the traffic.
    due: Duration,
    latency: Duration,
}

/// Traffic that goes on until it is stopped.
pub struct Traffic {
    start: Instant,
    start_of_day: TimeOfDay,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Vec<Sample>>>>,
}

/// What came of it.
pub struct Outcome {
    start: TimeOfDay,
    samples: Vec<Sample>,
}

impl Traffic {
    /// Requests at so many a second to the server at `address`.
    pub fn start(
        address: SocketAddr,
        exchange: impl Exchange + Send + Sync + 'static,
        per_second: f64,
    ) -> Result<Self> {
        let exchange: Arc<dyn Exchange + Send + Sync> = Arc::new(exchange);
        let lines: Vec<Line> = (0..CONNECTIONS).map(|_| Line::connect(address)).collect::<Result<_>>()?;
        let (start, start_of_day, stop) = (Instant::now(), TimeOfDay::now(), Arc::new(AtomicBool::new(false)));
        let interval = Duration::from_secs_f64(CONNECTIONS as f64 / per_second);
        let thread = |(number, line): (usize, Line)| {
            let (exchange, stop) = (Arc::clone(&exchange), Arc::clone(&stop));
            let first = interval.mul_f64(number as f64 / CONNECTIONS as f64);
            thread::spawn(move || play(line, &*exchange, number, start, first, interval, &stop))
        };
        let threads = lines.into_iter().enumerate().map(thread).collect();
        Ok(Self { start, start_of_day, stop, threads })
    }

    /// For how long it goes on.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Stops it. A request that failed is an error.
    pub fn stop(self) -> Result<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        for thread in self.threads {
            samples.append(&mut thread.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok(Outcome { start: self.start_of_day, samples })
    }
}

impl Outcome {
    /// Those due between two times of the traffic.
    pub fn between(&self, from: Duration, to: Duration) -> Latencies {
        self.where_due(|sample| sample.due >= from && sample.due < to)
    }

    /// Those that were under way at any time between two times of day.
    pub fn under_way(&self, from: TimeOfDay, to: TimeOfDay) -> Latencies {
        let (from, to) = (from.since(self.start), to.since(self.start));
        self.where_due(|sample| sample.due <= to && sample.due + sample.latency >= from)
    }

    fn where_due(&self, wanted: impl Fn(&Sample) -> bool) -> Latencies {
        let mut latencies = Latencies::default();
        self.samples.iter().filter(|sample| wanted(sample)).for_each(|sample| latencies.push(sample.latency));
        latencies
    }
}

fn play(
    mut line: Line,
    exchange: &dyn Exchange,
    number: usize,
    start: Instant,
    first: Duration,
    interval: Duration,
    stop: &AtomicBool,
) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut due = first;
    while !stop.load(Ordering::Relaxed) {
        pause(due.saturating_sub(start.elapsed()));
        line.ask(exchange, number, samples.len())?;
        samples.push(Sample { due, latency: start.elapsed().saturating_sub(due) });
        due += interval;
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_under_way_from_its_due_time_to_its_answer() {
        let ms = Duration::from_millis;
        let samples = vec![Sample { due: ms(10), latency: ms(5) }, Sample { due: ms(20), latency: ms(5) }];
        let outcome = Outcome { start: TimeOfDay::now(), samples };
        assert_eq!(outcome.between(ms(10), ms(20)).len(), 1);
        let at = |millis| outcome.start.after(ms(millis));
        for (from, to, count) in [(0, 9, 0), (0, 10, 1), (15, 15, 1), (16, 19, 0), (12, 22, 2)] {
            assert_eq!(outcome.under_way(at(from), at(to)).len(), count, "{from} to {to}");
        }
    }
}
