//! Prints what a call of the host costs a guest, for calls that the kernel answers: a loop of many, and the empty loop
//! subtracted.
//!
//! `cargo run --release -p refrain-engine --example host_call_cost`

use refrain_engine::replica::RunLimits;
use refrain_kernel::config::GuestConfig;
use rustix::time::{ClockId, clock_gettime};

#[path = "../tests/support/mod.rs"]
mod support;

const CALLS: u32 = 100_000;
const ROUNDS: u32 = 100;
const LIMITS: RunLimits = RunLimits { memory_bytes: 64 << 20, table_elements: 1_000_000, fuel_per_turn: None };

fn main() {
    let empty = measure("");
    // The file in descriptor 4 is opened once, with a path at 200.
    for (name, call) in [
        ("clock_res_get", "(drop (call $clock_res_get (i32.const 0) (i32.const 64)))"),
        ("clock_time_get", "(drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 64)))"),
        ("fd_tell", "(drop (call $fd_tell (i32.const 4) (i32.const 64)))"),
        ("fd_fdstat_get", "(drop (call $fd_fdstat_get (i32.const 4) (i32.const 64)))"),
        (
            "fd_pread of 8 bytes",
            "(drop (call $fd_pread (i32.const 4) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 8)))",
        ),
        ("fd_tell of no descriptor", "(drop (call $fd_tell (i32.const 99) (i32.const 64)))"),
    ] {
        println!("{name}: {:.1} ns", (measure(call) - empty) * 1e9 / f64::from(CALLS));
    }
}

/// Seconds of this thread in the quickest round: what else runs on the machine only ever makes one slower.
fn measure(call: &str) -> f64 {
    let body = format!(
        "(local $left i32)
         (i32.store (i32.const 0) (i32.const 128)) (i32.store (i32.const 4) (i32.const 8))
         (i32.store8 (i32.const 200) (i32.const 97))
         (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 200) (i32.const 1) (i32.const 1)
                (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 32)))
         (local.set $left (i32.const {CALLS}))
         (loop $again
           {call}
           (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    );
    let imports = "path_open clock_res_get clock_time_get fd_tell fd_fdstat_get fd_pread";
    let module = support::command(imports, &body);
    let platform = support::platform();
    let config = GuestConfig { ports: Vec::new(), ..support::config() };
    let blueprint = support::blueprint(&platform, &module, config, LIMITS);
    let mut quickest = f64::MAX;
    for _ in 0..ROUNDS {
        let mut rig = support::Rig::new(blueprint.clone(), 0);
        let start = cpu_seconds();
        while support::exit_reason(&rig.turn(&[])).is_none() {}
        quickest = quickest.min(cpu_seconds() - start);
    }
    quickest
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
