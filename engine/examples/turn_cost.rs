//! Prints what a turn costs the example servers, and a turn that concerns them in nothing.
//!
//! `cargo run --release -p refrain-engine --example turn_cost [FOLDER]`, where FOLDER has other builds of the modules:
//! `examples/build --out FOLDER` without `wasm-opt` gives those that are not instrumented.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use refrain_engine::replica::RunLimits;
use refrain_kernel::config::{GuestConfig, GuestPort};
use refrain_wire::{Record, Serial};

#[path = "../tests/support/mod.rs"]
mod support;

const LIMITS: RunLimits =
    RunLimits { memory_bytes: 256 << 20, table_elements: 1_000_000, fuel_per_turn: Some(10_000_000_000) };

fn main() {
    let folder = std::env::args_os().nth(1);
    let module = |name: &str| {
        let path = match &folder {
            Some(folder) => Path::new(folder).join(format!("{name}.wasm")),
            None => Path::new("examples").join(name).join(format!("{name}.wasm")),
        };
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    serve("echo of 64 bytes", &module("echo"), support::config(), 200_000, &[7; 64], b"");
    let set = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$64\r\n0123456789012345678901234567890123456789012345678901234567890123\r\nGET k\r\n";
    serve("kv-server, SET and GET of 64 bytes", &module("kv-server"), config("kv-server", 6379), 200_000, set, b"");
    let mut put = b"PUT /a.png HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".to_vec();
    put.resize(put.len() + 100_000, 7);
    let get = b"GET /a.png HTTP/1.1\r\nHost: a\r\n\r\n";
    serve("image-server, GET of 100 kB", &module("image-server"), config("image-server", 8080), 5_000, get, &put);
}

fn config(program: &str, port: u16) -> GuestConfig {
    GuestConfig {
        args: vec![program.into(), b"--port".to_vec(), port.to_string().into_bytes()],
        ports: vec![GuestPort { port, datagram: false, pass: false }],
        ..support::config()
    }
}

/// One client that asks again and again, after a first request.
fn serve(name: &str, module: &[u8], config: GuestConfig, count: u32, request: &[u8], first: &[u8]) {
    let port = config.ports[0].port;
    let platform = support::platform();
    let mut rig = support::Rig::new(support::blueprint(&platform, module, config, LIMITS), 0);
    rig.turn(&[]);
    let mut delivered = 0;
    let mut ask = |rig: &mut support::Rig, bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        let outcome = rig.turn(&[Record::Data { serial: Serial(1), delivered, bytes }]);
        delivered = support::sent(&outcome).len() as u64;
        outcome.fuel
    };
    rig.turn(&[support::open(1, port)]);
    ask(&mut rig, first.get(..).filter(|first| !first.is_empty()).unwrap_or(request));
    measure(name, count, || ask(&mut rig, request));
    measure("  a turn that it sleeps through", count, || rig.turn(&[]).fuel);
}

/// The quickest of many slices: other work on the machine only ever makes one slower.
fn measure(name: &str, count: u32, mut turn: impl FnMut() -> u64) {
    const SLICES: u32 = 50;
    let count = count / SLICES;
    let (mut quickest, mut fuel) = (f64::MAX, 0);
    for _ in 0..SLICES {
        let start = Instant::now();
        (0..count).for_each(|_| fuel = turn());
        quickest = quickest.min(start.elapsed().as_secs_f64());
    }
    println!("{name}: {:.2} microseconds and {fuel} of fuel a turn", quickest * 1e6 / f64::from(count));
}
