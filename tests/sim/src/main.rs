//! Runs seeds of the simulation: `refrain-sim 0..1000`, or one seed with its trace: `refrain-sim 17`.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use refrain_sim::order::{Options, Outcome, run};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(seeds), None) = (arguments.next().as_deref().and_then(parse), arguments.next()) else {
        eprintln!("usage: refrain-sim SEED | FIRST..END");
        return ExitCode::from(2);
    };
    // What the crates say for themselves, with `RUST_LOG`, on standard error.
    let silent = tracing_subscriber::filter::LevelFilter::OFF.into();
    let filter = tracing_subscriber::EnvFilter::builder().with_default_directive(silent).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let options = Options { readable: seeds.end - seeds.start == 1, ..Options::default() };
    let (began, mut failed, mut events) = (Instant::now(), Vec::new(), 0);
    for seed in seeds.clone() {
        let outcome = run(seed, &options);
        events += outcome.events;
        if report(seed, &outcome) {
            failed.push(seed);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let count = seeds.end - seeds.start;
    println!("{count} seeds, {events} events, {:.3} s a seed, failed: {failed:?}", seconds / count.max(1) as f64);
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(text: &str) -> Option<Range<u64>> {
    match text.split_once("..") {
        Some((first, end)) => Some(first.parse().ok()?..end.parse().ok()?),
        None => {
            let seed: u64 = text.parse().ok()?;
            Some(seed..seed.checked_add(1)?)
        }
    }
}

/// Prints what is wrong with a run; false when nothing is.
fn report(seed: u64, outcome: &Outcome) -> bool {
    outcome.lines.iter().for_each(|line| println!("{line}"));
    if !outcome.lines.is_empty() {
        println!(
            "seed {seed}: {} events, {} writes acknowledged, {} terms, digest {}",
            outcome.events, outcome.acknowledged, outcome.terms, outcome.digest
        );
    }
    outcome.findings.iter().for_each(|finding| println!("seed {seed}: {finding}"));
    !outcome.findings.is_empty()
}
