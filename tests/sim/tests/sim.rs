//! The seeds that every run of the tests has: those that failed once, and a budget of others.
//!
//! `REFRAIN_SIM_SEEDS=1000..2000` gives each of the four parts of the budget a quarter of other seeds.

use std::ops::Range;

use refrain_sim::order::{Options, run};

const FAILED_ONCE: &str = include_str!("../seeds.txt");
/// The seeds of the budget.
const BUDGET: Range<u64> = 0..200;
/// How many tests share the budget, so that they run beside each other.
const PARTS: u64 = 4;

fn hold(seeds: impl IntoIterator<Item = u64>) {
    let mut failed = Vec::new();
    for seed in seeds {
        let outcome = run(seed, &Options::default());
        outcome.findings.iter().for_each(|finding| println!("seed {seed}: {finding}"));
        if !outcome.findings.is_empty() {
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "{failed:?} do not hold: add them to tests/sim/seeds.txt, and see `refrain-sim SEED`");
}

fn budget() -> Range<u64> {
    let Ok(text) = std::env::var("REFRAIN_SIM_SEEDS") else { return BUDGET };
    let range = text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
    range.expect("REFRAIN_SIM_SEEDS is like 1000..2000")
}

fn part(nth: u64) {
    hold(budget().filter(|seed| seed % PARTS == nth));
}

#[test]
fn seeds_that_failed_once_hold() {
    let lines = FAILED_ONCE.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    hold(lines.filter(|line| !line.is_empty()).map(|line| {
        let seed = line.strip_prefix("order ").and_then(|seed| seed.parse().ok());
        seed.unwrap_or_else(|| panic!("seeds.txt: {line:?} is not SCENARIO SEED"))
    }));
}

#[test]
fn the_first_part_of_the_budget_holds() {
    part(0);
}

#[test]
fn the_second_part_of_the_budget_holds() {
    part(1);
}

#[test]
fn the_third_part_of_the_budget_holds() {
    part(2);
}

#[test]
fn the_fourth_part_of_the_budget_holds() {
    part(3);
}
