//! The seeds that every run of the tests has: those that failed once, and a budget of others.
//!
//! `REFRAIN_SIM_SEEDS=1000..2000` gives each part of the budgets its share of other seeds.

use std::ops::Range;

use refrain_sim::check::Finding;
use refrain_sim::plan::Kind;
use refrain_sim::{node, order};

const FAILED_ONCE: &str = include_str!("../seeds.txt");
/// The seeds of the ordered log's budget.
const ORDER_BUDGET: Range<u64> = 0..200;
/// The seeds of the whole nodes' budget.
const NODE_BUDGET: Range<u64> = 0..100;
/// How many tests share a budget, so that they run beside each other.
const PARTS: u64 = 4;

/// A seed, and the kinds of faults that it draws from when not from all.
type Seed = (u64, Option<Vec<Kind>>);

fn order_seed((seed, kinds): Seed) -> Vec<Finding> {
    order::run(seed, &order::Options { kinds, ..order::Options::default() }).findings
}

fn node_seed((seed, kinds): Seed) -> Vec<Finding> {
    node::run(seed, &node::Options { kinds, ..node::Options::default() }).findings
}

/// Prints what is wrong with a seed; true when nothing is.
fn holds(scenario: &str, seed: u64, findings: &[Finding]) -> bool {
    findings.iter().for_each(|finding| println!("{scenario} {seed}: {finding}"));
    findings.is_empty()
}

fn hold(scenario: &str, seeds: impl Iterator<Item = Seed>, run: fn(Seed) -> Vec<Finding>) {
    let failed: Vec<Seed> = seeds.filter(|seed| !holds(scenario, seed.0, &run(seed.clone()))).collect();
    assert!(
        failed.is_empty(),
        "{scenario} {failed:?} do not hold: add them to tests/sim/seeds.txt, and see `refrain-sim {scenario} SEED`"
    );
}

fn part(nth: u64, budget: &Range<u64>) -> impl Iterator<Item = Seed> + use<> {
    let given = std::env::var("REFRAIN_SIM_SEEDS").ok().map(|text| {
        let range = text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
        range.expect("REFRAIN_SIM_SEEDS is like 1000..2000")
    });
    let seeds = given.unwrap_or_else(|| budget.clone());
    seeds.filter(move |seed| seed % PARTS == nth).map(|seed| (seed, None))
}

fn failed_once(scenario: &str) -> impl Iterator<Item = Seed> {
    let lines = FAILED_ONCE.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).filter_map(move |line| {
        let mut words = line.split_whitespace();
        let of = words.next().filter(|of| ["order", "node"].contains(of));
        let seed = words.next().and_then(|seed| seed.parse().ok());
        let kinds: Option<Vec<Kind>> = words.map(Kind::of_name).collect();
        let read = of.zip(seed).zip(kinds);
        let ((of, seed), kinds) = read.unwrap_or_else(|| panic!("seeds.txt: {line:?} is not SCENARIO SEED [KIND...]"));
        (of == scenario).then(|| (seed, (!kinds.is_empty()).then_some(kinds)))
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
