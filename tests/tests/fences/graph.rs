//! Which crate may depend on which: section 2 of the design. `deny.toml` says the same of the heavy crates.

use anyhow::Result;

use crate::workspace::{Graph, none};

/// What each member may depend on in the workspace, for any purpose. A new member gets a row here.
const ARROWS: &[(&str, &[&str])] = &[
    ("refrain-wire", &[]),
    ("refrain-inspect", &[]),
    ("refrain-service", &[]),
    ("refrain-api", &[]),
    ("refrain-kernel", &["refrain-wire"]),
    ("refrain-sequencer", &["refrain-wire"]),
    ("refrain-proxy", &["refrain-wire"]),
    ("refrain-front", &[]),
    ("refrain-instrument", &["refrain-inspect"]),
    ("refrain-engine", &["refrain-inspect", "refrain-instrument", "refrain-kernel", "refrain-wire"]),
    ("refrain-http-host", &[]),
    ("refrain-telemetry", &["refrain-api", "refrain-wire"]),
    ("refrain-rctl", &["refrain-api", "refrain-inspect", "refrain-instrument", "refrain-service"]),
    (
        "refrain",
        &[
            "refrain-api",
            "refrain-engine",
            "refrain-front",
            "refrain-http-host",
            "refrain-inspect",
            "refrain-kernel",
            "refrain-proxy",
            "refrain-sequencer",
            "refrain-service",
            "refrain-telemetry",
            "refrain-wire",
        ],
    ),
    // The simulation runs the real crates on a machine of its own.
    (
        "refrain-sim",
        &[
            "refrain",
            "refrain-api",
            "refrain-engine",
            "refrain-kernel",
            "refrain-proxy",
            "refrain-sequencer",
            "refrain-service",
            "refrain-telemetry",
            "refrain-wire",
        ],
    ),
    // Whatever reads bytes from outside and needs no wasmtime.
    (
        "refrain-fuzz",
        &[
            "refrain-api",
            "refrain-front",
            "refrain-inspect",
            "refrain-kernel",
            "refrain-proxy",
            "refrain-sequencer",
            "refrain-service",
            "refrain-wire",
        ],
    ),
    // These see servers from outside: over sockets, files and the admin API.
    ("refrain-bench", &["refrain-api", "refrain-service", "refrain-tests"]),
    // And one false node speaks to them as nodes do.
    ("refrain-tests", &["refrain-api", "refrain-sequencer", "refrain-service", "refrain-wire"]),
];

/// Heavy crates, and the members that may name them.
const FENCED: &[(&str, &[&str])] = &[
    ("wasmtime", &["refrain-engine", "refrain-http-host"]),
    ("wasmtime-wasi", &["refrain-http-host"]),
    ("wasmtime-wasi-http", &["refrain-http-host"]),
    ("openraft", &["refrain-sequencer"]),
    ("axum", &["refrain"]),
    ("ureq", &["refrain-rctl", "refrain-bench", "refrain-telemetry", "refrain-tests"]),
    ("opentelemetry", &["refrain-telemetry"]),
    ("opentelemetry_sdk", &["refrain-telemetry"]),
    ("opentelemetry-otlp", &["refrain-telemetry"]),
    ("opentelemetry-http", &["refrain-telemetry"]),
    ("opentelemetry-proto", &["refrain-telemetry", "refrain-tests"]),
    ("prost", &["refrain-telemetry", "refrain-tests"]),
    ("prometheus-client", &["refrain-telemetry"]),
];

/// Members whose builds take seconds, and what would end that.
const LIGHT: &[(&str, &[&str])] = &[
    ("refrain-rctl", &["wasmtime", "openraft", "tokio", "axum"]),
    ("refrain-api", &["wasmtime", "openraft", "tokio", "wasmparser"]),
    ("refrain-service", &["wasmtime", "openraft", "tokio", "wasmparser"]),
    // OTLP over HTTP from a thread: no gRPC, no runtime, no TLS.
    ("refrain-telemetry", &["wasmtime", "openraft", "tokio", "tonic", "hyper", "reqwest", "h2", "rustls"]),
    ("refrain-proxy", &["wasmtime", "openraft", "wasmparser", "hyper", "rustls"]),
    ("refrain-front", &["wasmtime", "openraft", "wasmparser", "axum", "aws-lc-rs"]),
    ("refrain-sequencer", &["wasmtime", "wasmparser"]),
    ("refrain-engine", &["openraft", "tokio"]),
    ("refrain-http-host", &["openraft", "axum", "refrain-engine", "refrain-kernel"]),
    ("refrain-fuzz", &["wasmtime", "axum", "libfuzzer-sys", "wasm-smith"]),
    ("refrain-tests", &["wasmtime", "openraft"]),
    ("refrain-bench", &["wasmtime", "openraft"]),
];

/// Members that are pure, and the crates of sockets, threads, disks and clocks.
const PURE: &[&str] = &["refrain-wire", "refrain-kernel", "refrain-inspect"];
const IMPURE: &[&str] =
    &["tokio", "rustix", "libc", "socket2", "parking_lot", "tracing", "getrandom", "mio", "ureq", "walkdir"];

#[test]
fn dependencies_between_members_point_one_way() -> Result<()> {
    let graph = Graph::load()?;
    let names = graph.member_names();
    let mut faults = Vec::new();
    for member in graph.members() {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member.name) else {
            faults.push(format!("{} has no row in ARROWS", member.name));
            continue;
        };
        let wrong = member.direct.iter().filter(|name| names.contains(name.as_str()));
        let wrong = wrong.filter(|name| !allowed.contains(&name.as_str()));
        faults.extend(wrong.map(|name| format!("{} depends on {name}", member.name)));
    }
    let gone = ARROWS.iter().filter(|(name, _)| !names.contains(name));
    faults.extend(gone.map(|(name, _)| format!("{name} has a row in ARROWS and is no member")));
    none("an arrow points the wrong way", &faults)
}

#[test]
fn heavy_crates_are_named_only_behind_their_fences() -> Result<()> {
    let graph = Graph::load()?;
    let mut faults = Vec::new();
    for (heavy, allowed) in FENCED {
        let direct = graph.members().filter(|member| member.direct.contains(*heavy));
        let wrong = direct.filter(|member| !allowed.contains(&member.name.as_str()));
        faults.extend(wrong.map(|member| format!("{} depends on {heavy}", member.name)));
    }
    none("a fence is broken", &faults)
}

#[test]
fn light_crates_do_not_build_heavy_ones() -> Result<()> {
    let graph = Graph::load()?;
    let mut faults = Vec::new();
    for (light, heavy) in LIGHT {
        let build = graph.build_of(graph.member(light)?);
        faults.extend(heavy.iter().filter(|name| build.contains(*name)).map(|name| format!("{light} builds {name}")));
    }
    none("a light crate is not light any more", &faults)
}

#[test]
fn the_server_builds_what_the_fences_name() -> Result<()> {
    // Else a renamed crate would leave the other tests without effect.
    let graph = Graph::load()?;
    let build = graph.build_of(graph.member("refrain")?);
    let names = ["wasmtime", "openraft", "tokio", "axum", "wasmparser", "rustix", "parking_lot", "tracing"];
    let missing: Vec<String> = names.iter().filter(|name| !build.contains(*name)).map(ToString::to_string).collect();
    none("the server is not built with", &missing)?;
    let idle = FENCED.iter().filter(|(heavy, allowed)| {
        let behind = graph.members().filter(|member| allowed.contains(&member.name.as_str()));
        !behind.into_iter().any(|member| member.direct.contains(*heavy))
    });
    let idle: Vec<String> = idle.map(|(heavy, _)| heavy.to_string()).collect();
    none("a fence has nobody behind it", &idle)
}

#[test]
fn pure_crates_depend_on_nothing_that_does_io() -> Result<()> {
    let graph = Graph::load()?;
    let mut faults = Vec::new();
    for pure in PURE {
        let member = graph.member(pure)?;
        let wrong = IMPURE.iter().filter(|name| member.direct.contains(**name));
        faults.extend(wrong.map(|name| format!("{pure} depends on {name}")));
    }
    none("a pure crate depends on I/O", &faults)
}
