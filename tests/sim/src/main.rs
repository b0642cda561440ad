//! Runs seeds of the simulation: `refrain-sim node 0..1000`, or one seed with its trace: `refrain-sim order 17`; with
//! names of kinds of faults, `refrain-sim node 0..50 full replica`, with those alone.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use refrain_sim::check::Finding;
use refrain_sim::plan::Kind;
use refrain_sim::{node, order};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = match words[..] {
        ["order", seeds, ref kinds @ ..] => parse(seeds)
            .zip(parse_kinds(kinds))
            .map(|(seeds, kinds)| sweep("order", seeds, |seed, readable| order_seed(seed, kinds.clone(), readable))),
        ["node", seeds, ref kinds @ ..] => parse(seeds)
            .zip(parse_kinds(kinds))
            .map(|(seeds, kinds)| sweep("node", seeds, |seed, readable| node_seed(seed, kinds.clone(), readable))),
        _ => None,
    };
    let Some(all_hold) = ran else {
        eprintln!("usage: refrain-sim order|node SEED|FIRST..END [KIND...], the kinds being those of `plan::Kind`");
        return ExitCode::from(2);
    };
    if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a seed gave: events, findings, and what to print of it alone.
struct Ran {
    events: u64,
    findings: Vec<Finding>,
    lines: Vec<String>,
    words: String,
}

/// Runs seeds; true when all hold.
fn sweep(scenario: &str, seeds: Range<u64>, run: impl Fn(u64, bool) -> Ran) -> bool {
    // What the crates say for themselves, with `RUST_LOG`, on standard error.
    let silent = tracing_subscriber::filter::LevelFilter::OFF.into();
    let filter = tracing_subscriber::EnvFilter::builder().with_default_directive(silent).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let readable = seeds.end - seeds.start == 1;
    let (began, mut failed, mut events) = (Instant::now(), Vec::new(), 0);
    for seed in seeds.clone() {
        let ran = run(seed, readable);
        events += ran.events;
        ran.lines.iter().for_each(|line| println!("{line}"));
        if readable {
            println!("{scenario} {seed}: {} events, {}", ran.events, ran.words);
        }
        ran.findings.iter().for_each(|finding| println!("{scenario} {seed}: {finding}"));
        if !ran.findings.is_empty() {
            failed.push(seed);
        }
    }
    let (seconds, count) = (began.elapsed().as_secs_f64(), seeds.end - seeds.start);
    println!(
        "{count} {scenario} seeds, {events} events, {:.3} s a seed, failed: {failed:?}",
        seconds / count.max(1) as f64
    );
    failed.is_empty()
}

fn order_seed(seed: u64, kinds: Option<Vec<Kind>>, readable: bool) -> Ran {
    let outcome = order::run(seed, &order::Options { readable, kinds, ..order::Options::default() });
    let order::Outcome { findings, digest, events, acknowledged, terms, lines } = outcome;
    let words = format!("{acknowledged} writes acknowledged, {terms} terms, digest {digest}");
    Ran { events, findings, lines, words }
}

fn node_seed(seed: u64, kinds: Option<Vec<Kind>>, readable: bool) -> Ran {
    let outcome = node::run(seed, &node::Options { readable, kinds, ..node::Options::default() });
    let node::Outcome { findings, digest, events, writes, answers, flows, lasted, lines } = outcome;
    let words =
        format!("{writes} writes and {answers} operations, {flows} flows, {lasted:?} simulated, digest {digest}");
    Ran { events, findings, lines, words }
}

/// The kinds of faults that were named; none when there were no names, and nothing when one is no kind.
fn parse_kinds(names: &[&str]) -> Option<Option<Vec<Kind>>> {
    let kinds: Vec<Kind> = names.iter().map(|name| Kind::of_name(name)).collect::<Option<_>>()?;
    Some((!kinds.is_empty()).then_some(kinds))
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
