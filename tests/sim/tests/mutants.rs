//! The simulation proves itself: each fault that is put in on purpose is found by a few seeds.

use refrain_sim::machine::DiskMutant;
use refrain_sim::order::member::MemberMutant;
use refrain_sim::order::{Options, run};

/// How many seeds a mutant may live through.
const SEEDS: u64 = 40;

/// What the first seed that finds the mutant says is broken.
fn caught(options: &Options) -> (u64, Vec<&'static str>) {
    for seed in 0..SEEDS {
        let outcome = run(seed, options);
        if !outcome.findings.is_empty() {
            let broken = outcome.findings.iter().map(|finding| finding.broken).collect();
            outcome.findings.iter().for_each(|finding| println!("seed {seed}: {finding}"));
            return (seed, broken);
        }
    }
    panic!("{SEEDS} seeds did not find {options:?}");
}

#[test]
fn a_log_that_is_not_synced_is_caught() {
    let (_, broken) = caught(&Options { disk: DiskMutant::SkipSync, ..Options::default() });
    assert!(!broken.is_empty());
}

#[test]
fn entries_that_change_places_are_caught() {
    let (_, broken) = caught(&Options { member: MemberMutant::OutOfOrder, ..Options::default() });
    assert!(broken.contains(&"positions rise"), "{broken:?}");
}

#[test]
fn submissions_that_are_acknowledged_before_they_are_committed_are_caught() {
    let (_, broken) = caught(&Options { member: MemberMutant::AckEarly, ..Options::default() });
    assert!(broken.contains(&"an acknowledged write is there"), "{broken:?}");
}
