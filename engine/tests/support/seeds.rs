//! Which seeds a test runs with.

use std::ops::Range;

/// Names other seeds than those that every run of the tests has: `20000` for all below, or `300..20000`.
const VARIABLE: &str = "REFRAIN_SEEDS";

/// The seeds below `count`, or those that the environment names.
pub fn seeds(count: u64) -> Range<u64> {
    let Ok(text) = std::env::var(VARIABLE) else { return 0..count };
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{VARIABLE}={text}: no number"));
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&text),
    }
}
