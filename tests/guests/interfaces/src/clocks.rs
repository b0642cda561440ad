//! `wasi:clocks`, `wasi:random` and `wasi:cli/environment`.

use wasip2::clocks::monotonic_clock::{now, resolution, subscribe_duration, subscribe_instant};
use wasip2::clocks::wall_clock;
use wasip2::random::{insecure, insecure_seed, random};

use crate::Check;

pub const CHECKS: &[Check] =
    &[("clocks", clocks), ("clocks-no-wait", no_wait), ("random", numbers), ("environment", environment)];

fn clocks() {
    const TEN_MS: u64 = 10_000_000;
    let began = now();
    subscribe_instant(now() + TEN_MS).block();
    subscribe_duration(TEN_MS).block();
    assert!(now() - began >= 2 * TEN_MS && resolution() > 0);
    subscribe_instant(now()).block();
    subscribe_instant(now() - 1).block();
    subscribe_instant(0).block();
    let (before, after) = (wall_clock::now(), wall_clock::now());
    assert!((before.seconds, before.nanoseconds) <= (after.seconds, after.nanoseconds));
    assert!(before.nanoseconds < 1_000_000_000);
    let kept: Vec<_> = (0..100).map(|_| subscribe_duration(0)).collect();
    assert_eq!(kept.len(), 100);
}

fn no_wait() {
    let pollable = subscribe_duration(0);
    pollable.block();
    assert!(pollable.ready());
    assert!(!subscribe_duration(3_600_000_000_000).ready());
}

fn numbers() {
    for len in [0, 1, 256, 100_000] {
        assert_eq!(random::get_random_bytes(len).len() as u64, len);
        assert_eq!(insecure::get_insecure_random_bytes(len).len() as u64, len);
    }
    assert!(random::get_random_bytes(256).iter().any(|byte| *byte != 0));
    assert_ne!(random::get_random_u64(), random::get_random_u64());
    assert_ne!(insecure::get_insecure_random_u64(), insecure::get_insecure_random_u64());
    assert_eq!(insecure_seed::insecure_seed(), insecure_seed::insecure_seed(), "it is one value");
}

fn environment() {
    use wasip2::cli::{environment, terminal_stdin, terminal_stdout};
    assert!(!environment::get_arguments()[0].is_empty());
    let variables = environment::get_environment();
    assert!(variables.contains(&("NAME".to_owned(), "a=value".to_owned())), "{variables:?}");
    assert!(terminal_stdin::get_terminal_stdin().is_none() && terminal_stdout::get_terminal_stdout().is_none());
}
