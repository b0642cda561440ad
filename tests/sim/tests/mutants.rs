//! The simulation proves itself: each fault that is put in on purpose is found by a few seeds.

use refrain_service::Agreement;
use refrain_sim::machine::DiskMutant;
use refrain_sim::node;
use refrain_sim::order::member::MemberMutant;
use refrain_sim::order::{Options, run};
use refrain_sim::plan::Kind;

/// How many seeds a mutant may live through.
const SEEDS: u64 = 60;

/// Runs seeds until one finds that one of `expected` does not hold.
fn caught(options: &Options, expected: &[&str]) {
    for seed in 0..SEEDS {
        let outcome = run(seed, options);
        let found = outcome.findings.iter().find(|finding| expected.contains(&finding.broken));
        if let Some(finding) = found {
            println!("seed {seed}: {finding}");
            return;
        }
    }
    panic!("{SEEDS} seeds did not find {options:?}");
}

fn disk(mutant: DiskMutant, kinds: &[Kind]) -> Options {
    Options { disk: mutant, kinds: Some(kinds.to_vec()), ..Options::default() }
}

fn member(mutant: MemberMutant) -> Options {
    Options { member: mutant, ..Options::default() }
}

/// Members that find damage refuse to start, and nothing is ordered any more.
const STANDSTILL: &str = "writes are acknowledged when the faults are over";

#[test]
fn a_log_that_is_not_synced_is_caught() {
    caught(&disk(DiskMutant::SkipSync, &[Kind::Power]), &["an acknowledged write is there", STANDSTILL]);
}

#[test]
fn promises_that_are_forgotten_are_caught() {
    let kinds = [Kind::Kill, Kind::Power, Kind::Isolate];
    caught(&disk(DiskMutant::ForgetVote, &kinds), &["a term has one leader", STANDSTILL]);
}

#[test]
fn faults_that_catch_mutants_catch_nothing_without_them() {
    let options = disk(DiskMutant::None, &[Kind::Kill, Kind::Power, Kind::Isolate]);
    for seed in 0..SEEDS / 2 {
        assert_eq!(run(seed, &options).findings, [], "seed {seed}");
    }
}

#[test]
fn replicas_that_are_given_what_does_not_count_are_caught() {
    let mutant = member(MemberMutant::DropDedup);
    let options = Options { kinds: Some(vec![Kind::Isolate, Kind::Partition]), ..mutant };
    caught(&options, &["a write is there once"]);
}

#[test]
fn entries_that_change_places_are_caught() {
    caught(&member(MemberMutant::OutOfOrder), &["positions rise", "no entry is left out"]);
}

#[test]
fn submissions_that_are_acknowledged_before_they_are_committed_are_caught() {
    caught(&member(MemberMutant::AckEarly), &["an acknowledged write is there"]);
}

#[test]
fn a_log_that_is_cut_behind_a_state_that_is_too_old_is_caught() {
    caught(&member(MemberMutant::TrimEarly), &["a snapshot is a state that members had there"]);
}

/// A proxy that takes the first vote for the agreed one.
#[test]
fn answers_that_nobody_agreed_on_are_caught() {
    let options = node::Options {
        agreement: Agreement::None,
        kinds: Some(vec![Kind::Impostor, Kind::Engine]),
        ..node::Options::default()
    };
    for seed in 0..SEEDS {
        let outcome = node::run(seed, &options);
        if let Some(finding) = outcome.findings.first() {
            return println!("seed {seed}: {finding}");
        }
    }
    panic!("{SEEDS} seeds did not find {options:?}");
}
