//! Prints what a turn costs: the echo guest answering 64 bytes, and a turn that concerns it in nothing.
//!
//! `cargo run --release -p refrain-engine --example turn_cost`

use std::time::Instant;

use refrain_wire::Record;

#[path = "../tests/support/mod.rs"]
mod support;

fn main() {
    let module = std::fs::read("examples/echo/echo.wasm").expect("run from the root of the repository");
    let platform = support::platform();
    let blueprint = support::blueprint(&platform, &module, support::config(), support::LIMITS);
    let mut rig = support::Rig::new(blueprint, 0);
    rig.turn(&[support::open(1, 7)]);
    let credit = Record::Credit { serial: refrain_wire::Serial(1), delivered: 64 };
    measure("echo of 64 bytes", 200_000, || {
        rig.turn(&[support::data(1, &[7; 64]), credit.clone()]);
    });
    measure("turn that the guest sleeps through", 200_000, || {
        rig.turn(&[]);
    });
}

fn measure(name: &str, count: u32, mut turn: impl FnMut()) {
    let start = Instant::now();
    (0..count).for_each(|_| turn());
    println!("{name}: {:.2} microseconds a turn", start.elapsed().as_secs_f64() * 1e6 / f64::from(count));
}
