//! What a checkpoint of a guest with 64 MiB of memory costs, half of it random and half zero: the pause of the turn that
//! captures, hashing and storing, and a restore. Needs `wasm-opt` (in `PATH` or `REFRAIN_WASM_OPT`).
//!
//! `cargo run --release --example checkpoint_cost`

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Instant;

use refrain_engine::Replica;
use refrain_engine::checkpoint::CheckpointStore;
use refrain_engine::replica::RunLimits;
use support::{Rig, blueprint, command, config, instrumented, open, platform};

const PAGES: u32 = 1024;

/// Fills the second half with numbers and then, for each connection, changes a byte of one page in 16.
fn guest() -> Vec<u8> {
    let half = PAGES * 32768;
    command(
        "sock_accept fd_close",
        &format!(
            "(local $at i32) (local $x i64)
             (drop (memory.grow (i32.const {})))
             (local.set $at (i32.const {half})) (local.set $x (i64.const 1))
             (loop $fill
               (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
               (i64.store (local.get $at) (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 29))))
               (br_if $fill (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const {}))))
             (loop $serve
               (drop (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 16)))
               (drop (call $fd_close (i32.load (i32.const 16))))
               (local.set $at (i32.const {half}))
               (loop $change
                 (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))
                 (br_if $change
                   (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1048576))) (i32.const {}))))
               (br $serve))",
            PAGES - 1,
            PAGES * 65536 - 8,
            PAGES * 65536 - 8,
        ),
    )
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let out = run();
    println!("{what:<44} {:>8.2} ms", start.elapsed().as_secs_f64() * 1e3);
    out
}

fn main() {
    let Some(module) = instrumented(&guest()) else { return };
    let limits = RunLimits { memory_bytes: 128 << 20, table_elements: 1_000_000, fuel_per_turn: None };
    let blueprint = blueprint(&platform(), &module, config(), limits);
    let mut rig = Rig::new(blueprint.clone(), 0);
    timed("first turn: fills the memory", || rig.turn(&[]));
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(CheckpointStore::open(folder.path()).expect("a store"));
    let mut last = None;
    for serial in 1..=6 {
        let plain = Instant::now();
        rig.turn(&[open(2 * serial, 7)]);
        let plain = plain.elapsed();
        rig.replica.capture_next();
        let start = Instant::now();
        let outcome = rig.turn(&[open(2 * serial + 1, 7)]);
        let pause = start.elapsed().saturating_sub(plain);
        println!(
            "pause of capture {serial}: {:.2} ms (a plain turn {:.3} ms)",
            pause.as_secs_f64() * 1e3,
            plain.as_secs_f64() * 1e3
        );
        let captured = outcome.captured.expect("the guest waits");
        last = Some(timed("  hash and store", || store.save(&captured)).expect("it is stored"));
    }
    let manifest = last.expect("there were six");
    println!("state {} MiB, manifest {} bytes", manifest.state_bytes() >> 20, manifest.bytes().len());
    for _ in 0..3 {
        let id = rig.replica.id();
        let restored = timed("restore", || Replica::restore(id, blueprint.clone(), &manifest, store.clone()));
        let batch = rig.batch(&[]);
        restored.expect("it is whole").turn(&batch).expect("it goes on");
        rig.replica.turn(&batch).expect("so does this one");
    }
}
