//! Prints what tracing and metrics cost on the hot side, in nanoseconds a call.
//!
//! `cargo run --release -p refrain-telemetry --example record_cost`

use std::hint::black_box;
use std::time::{Duration, Instant};

use refrain_telemetry::{Config, Identity, Interval, Ratio, Telemetry, Turn};
use refrain_wire::{ClusterId, GroupId, Incarnation, NodeId, Position, Seat};

/// Measures `call`, given rising numbers; the best of several rounds, as other programs run too.
fn measure(name: &str, count: u64, pause: impl Fn(), mut call: impl FnMut(u64)) {
    let mut best = f64::MAX;
    for round in 0..20 {
        let began = Instant::now();
        (0..count).for_each(|number| call(round * count + number));
        best = best.min(began.elapsed().as_nanos() as f64 / count as f64);
        pause();
    }
    println!("{name:<46} {best:>8.1} ns");
}

fn node(share: f64) -> Telemetry {
    let identity = Identity { cluster: ClusterId([7; 16]), node: NodeId(1), version: "0" };
    let config = Config { ratio: Ratio::new(share).expect("a share"), ..Config::off() };
    Telemetry::start(identity, &config).expect("threads can be started")
}

fn main() {
    let now = Interval::since(Instant::now());
    let turn = Turn { seat: Seat(1), incarnation: Incarnation(1), replaying: false, fuel: 1, memory_bytes: 1 };
    let record = |node: &Telemetry, position: u64| {
        if let Some(trace) = node.tracer().batch(black_box(GroupId(1)), Position(position)) {
            trace.turn(now, turn);
        }
    };
    let idle = || ();
    let (off, share, all) = (node(0.0), node(0.01), node(1.0));
    measure("reading the clock, for comparison", 100_000, idle, |_| {
        black_box(Instant::now());
    });
    measure("a span of a batch that is not traced, off", 1_000_000, idle, |position| record(&off, position));
    let none = node(1e-12);
    measure("a span of a batch that is not traced, sampling", 1_000_000, idle, |position| record(&none, position));
    measure("a span at 1 %, on average", 100_000, || drain(&share), |position| record(&share, position));
    // Less than the queue takes, so that none is dropped.
    measure("a span of a batch that is traced", 4_000, || drain(&all), |position| record(&all, position));
    let (durations, sent) = (&all.metrics().sequencer.commit, &all.metrics().streams.sent_bytes);
    measure("an observation of a duration", 1_000_000, idle, |number| durations.observe(Duration::from_nanos(number)));
    measure("an addition to a counter", 1_000_000, idle, |number| {
        sent.inc_by(number);
    });
    measure("a scrape of all metrics", 100, idle, |_| drop(black_box(all.metrics().exposition())));
    let text = all.metrics().exposition();
    let dropped = text.lines().find(|line| line.contains(r#"at="queue""#));
    println!("{}", dropped.unwrap_or("no line about dropped spans"));
}

/// Lets the cold side catch up.
fn drain(node: &Telemetry) {
    assert!(node.flush(Duration::from_secs(60)), "the collecting thread is stuck");
}
