//! The simulation itself: one seed is one run, whatever ran before it and whoever watches.

use refrain_sim::node;
use refrain_sim::order::{Options, run};
use refrain_sim::plan::Kind;

/// Seeds that are run twice.
const SEEDS: u64 = 12;

#[test]
fn one_seed_gives_one_trace_whatever_ran_before() {
    let digests = |seeds: &mut dyn Iterator<Item = u64>| {
        let mut digests: Vec<_> = seeds.map(|seed| (seed, run(seed, &Options::default()).digest)).collect();
        digests.sort_unstable();
        digests
    };
    let forward = digests(&mut (0..SEEDS));
    let backward = digests(&mut (0..SEEDS).rev());
    assert_eq!(forward, backward);
    let mut different: Vec<_> = forward.iter().map(|(_, digest)| digest).collect();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len() as u64, SEEDS, "other seeds are other runs");
}

#[test]
fn a_trace_that_is_kept_is_the_same_trace() {
    let kept = run(3, &Options { readable: true, ..Options::default() });
    let counted = run(3, &Options::default());
    assert_eq!((kept.digest, kept.events), (counted.digest, counted.events));
    assert_eq!(kept.lines.len() as u64, kept.events);
}

/// Seeds of whole nodes that are run twice.
const NODE_SEEDS: u64 = 6;

#[test]
fn one_seed_of_nodes_gives_one_trace_whatever_ran_before() {
    let digests = |seeds: &mut dyn Iterator<Item = u64>| {
        let run = |seed| (seed, node::run(seed, &node::Options::default()).digest);
        let mut digests: Vec<_> = seeds.map(run).collect();
        digests.sort_unstable();
        digests
    };
    let forward = digests(&mut (0..NODE_SEEDS));
    let backward = digests(&mut (0..NODE_SEEDS).rev());
    assert_eq!(forward, backward);
}

/// A seed in which a node is so far behind that its process begins anew from the state of the others.
const BEGINS_ANEW: u64 = 63;

#[test]
fn a_node_that_begins_anew_does_so_alike_whatever_ran_before() {
    let kinds = Some(vec![Kind::Isolate, Kind::Kill, Kind::Partition]);
    let options = node::Options { kinds, ..node::Options::default() };
    let digest = || node::run(BEGINS_ANEW, &options).digest;
    let first = digest();
    let _ = node::run(1, &options);
    assert_eq!(first, digest());
}
