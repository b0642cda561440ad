//! The seeds that every run of the tests has: those that failed once, and a budget of others.
//!
//! `REFRAIN_SIM_SEEDS=1000..2000` gives each part of the budgets its share of other seeds.

use std::ops::Range;

use refrain_sim::check::Finding;
use refrain_sim::{node, order};

const FAILED_ONCE: &str = include_str!("../seeds.txt");
/// The seeds of the ordered log's budget.
const ORDER_BUDGET: Range<u64> = 0..200;
/// The seeds of the whole nodes' budget.
const NODE_BUDGET: Range<u64> = 0..100;
/// How many tests share a budget, so that they run beside each other.
const PARTS: u64 = 4;

fn order_seed(seed: u64) -> Vec<Finding> {
    order::run(seed, &order::Options::default()).findings
}

fn node_seed(seed: u64) -> Vec<Finding> {
    node::run(seed, &node::Options::default()).findings
}

/// Prints what is wrong with a seed; true when nothing is.
fn holds(scenario: &str, seed: u64, findings: &[Finding]) -> bool {
    findings.iter().for_each(|finding| println!("{scenario} {seed}: {finding}"));
    findings.is_empty()
}

fn hold(scenario: &str, seeds: impl Iterator<Item = u64>, run: fn(u64) -> Vec<Finding>) {
    let failed: Vec<u64> = seeds.filter(|seed| !holds(scenario, *seed, &run(*seed))).collect();
    assert!(
        failed.is_empty(),
        "{scenario} {failed:?} do not hold: add them to tests/sim/seeds.txt, and see `refrain-sim {scenario} SEED`"
    );
}

fn part(nth: u64, budget: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
    let given = std::env::var("REFRAIN_SIM_SEEDS").ok().map(|text| {
        let range = text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
        range.expect("REFRAIN_SIM_SEEDS is like 1000..2000")
    });
    given.unwrap_or_else(|| budget.clone()).filter(move |seed| seed % PARTS == nth)
}

fn failed_once(scenario: &str) -> impl Iterator<Item = u64> {
    let lines = FAILED_ONCE.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).filter_map(move |line| {
        let read = line.split_once(' ').and_then(|(of, seed)| Some((of, seed.parse().ok()?)));
        let (of, seed) = read.unwrap_or_else(|| panic!("seeds.txt: {line:?} is not SCENARIO SEED"));
        assert!(["order", "node"].contains(&of), "seeds.txt: {line:?} is of no scenario");
        (of == scenario).then_some(seed)
    })
}

#[test]
fn seeds_of_the_log_that_failed_once_hold() {
    hold("order", failed_once("order"), order_seed);
}

#[test]
fn seeds_of_nodes_that_failed_once_hold() {
    hold("node", failed_once("node"), node_seed);
}

#[test]
fn the_first_part_of_the_logs_budget_holds() {
    hold("order", part(0, &ORDER_BUDGET), order_seed);
}

#[test]
fn the_second_part_of_the_logs_budget_holds() {
    hold("order", part(1, &ORDER_BUDGET), order_seed);
}

#[test]
fn the_third_part_of_the_logs_budget_holds() {
    hold("order", part(2, &ORDER_BUDGET), order_seed);
}

#[test]
fn the_fourth_part_of_the_logs_budget_holds() {
    hold("order", part(3, &ORDER_BUDGET), order_seed);
}

#[test]
fn the_first_part_of_the_nodes_budget_holds() {
    hold("node", part(0, &NODE_BUDGET), node_seed);
}

#[test]
fn the_second_part_of_the_nodes_budget_holds() {
    hold("node", part(1, &NODE_BUDGET), node_seed);
}

#[test]
fn the_third_part_of_the_nodes_budget_holds() {
    hold("node", part(2, &NODE_BUDGET), node_seed);
}

#[test]
fn the_fourth_part_of_the_nodes_budget_holds() {
    hold("node", part(3, &NODE_BUDGET), node_seed);
}
