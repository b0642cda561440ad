//! From a TOML document to a [`Manifest`]: every rule of the format.

mod http;
mod ports;
mod ready;

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::bounds::{self, Bound};
use crate::document::{Document, Section};
use crate::fault::{Fault, Faults};
use crate::files::{GuestPath, HostPath};
use crate::manifest::{
    Agreement, Build, FuelPerTurn, IdleLimit, Kind, Limits, Manifest, Mode, Replicas, Restart, RestartPolicy,
};
use crate::names::{Name, ServiceId, Version};
use crate::port::Port;
use crate::quantity::{ByteSize, format_duration};
use crate::value::{
    arguments, byte_size, duration, fuel_per_turn, idle_limit, no_nul, outbound, parsed, text, unsigned, variable_name,
    within, word,
};

/// The manifest, and what of it is outdated: nothing unless it was stored.
pub(crate) fn manifest(text: &str, is_stored: bool) -> Result<(Manifest, Vec<Fault>), Faults> {
    let document = Document::new(text, is_stored);
    let manifest = if text.len() as u64 > bounds::MANIFEST_BYTES_MAX {
        document.add(Fault {
            key: String::new(),
            line: None,
            value: None,
            problem: format!("{} bytes, the limit is {}", text.len(), bounds::MANIFEST_BYTES_MAX),
        });
        None
    } else {
        let table = document.parse();
        table.and_then(|table| root(&Section::root(&document, &table)))
    };
    let (faults, outdated) = document.into_faults();
    match Faults::of(faults) {
        Some(faults) => Err(faults),
        None => Ok((manifest.expect("a document without faults gives a manifest"), outdated)),
    }
}

fn root(section: &Section<'_>) -> Option<Manifest> {
    section.refuse_unknown();
    let default_namespace = Name::from_str("default").expect("it is a name");
    let name = section.require("name", parsed::<Name>);
    let namespace = section.read("namespace", default_namespace, parsed);
    let version = section.require("version", parsed::<Version>);
    let module = section.require("module", parsed::<HostPath>);
    let default_replicas = Replicas::new(bounds::REPLICAS.default).expect("the default is allowed");
    let kind = section.read("kind", Kind::Tcp, |value| word("kind", value));
    let mode = section.read("mode", Mode::Replicated, |value| word("mode", value));
    let replicas = section
        .read("replicas", default_replicas, |value| Replicas::new(unsigned(value)?).map_err(|error| error.to_string()));
    let agreement = section.read("agreement", Agreement::Majority, |value| word("agreement", value));
    let args = section.read("args", Vec::new(), arguments);
    let env = env(section, &args);
    let outbound = section.read("outbound", Vec::new(), outbound);
    let (ports, files) = (ports::ports(section), files(section));
    let limits_section = section.section("limits");
    let limits = limits(limits_section.as_ref());
    if let Some(section) = &limits_section {
        descriptors(section, &limits, &ports);
    }
    let restart = restart(section.section("restart").as_ref());
    let ready = ready::ready(section.section("ready").as_ref(), &ports);
    let build = build(section.section("build").as_ref());
    http::kind_and_mode(section, limits_section.as_ref(), kind, mode);
    let routes = http::routes(section, kind, &ports);
    let http = http::http(section.section("http").as_ref());
    Some(Manifest {
        id: ServiceId { namespace, name: name?, version: version? },
        module: module?,
        kind,
        mode,
        replicas,
        agreement,
        args,
        outbound,
        ports,
        env,
        files,
        limits,
        restart,
        ready,
        routes,
        http,
        build,
    })
}

fn env(root: &Section<'_>, args: &[String]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if let Some(section) = root.section("env") {
        for (key, value) in section.entries() {
            let value = text(value).and_then(|value| {
                variable_name(key)?;
                no_nul(value)
            });
            match value {
                Ok(value) => drop(all.insert(key.to_owned(), value.to_owned())),
                Err(problem) => section.fault(key, problem),
            }
        }
    }
    if all.len() > bounds::ENV_MAX {
        let problem = format!("{} variables, the limit is {}", all.len(), bounds::ENV_MAX);
        root.fault("env", problem);
    }
    // Each is terminated by a NUL, and a variable has its equals sign.
    let args_bytes: usize = args.iter().map(|arg| arg.len() + 1).sum();
    let env_bytes: usize = all.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    if args_bytes + env_bytes > bounds::ARGS_AND_ENV_BYTES_MAX {
        let problem = format!(
            "args and env take {} bytes together, the limit is {}",
            args_bytes + env_bytes,
            bounds::ARGS_AND_ENV_BYTES_MAX
        );
        let larger = if args_bytes > env_bytes { "args" } else { "env" };
        root.fault(larger, problem);
    }
    all
}

fn files(root: &Section<'_>) -> BTreeMap<GuestPath, HostPath> {
    let mut all: BTreeMap<GuestPath, HostPath> = BTreeMap::new();
    let Some(section) = root.section("files") else {
        return all;
    };
    for (key, value) in section.entries() {
        let guest = GuestPath::from_str(key).map_err(|error| error.to_string());
        match (guest, parsed::<HostPath>(value)) {
            (Ok(guest), Ok(host)) => drop(all.insert(guest, host)),
            (Err(problem), _) | (_, Err(problem)) => section.fault(key, problem),
        }
    }
    if all.len() > bounds::FILES_ENTRIES_MAX {
        let problem = format!("{} entries, the limit is {}", all.len(), bounds::FILES_ENTRIES_MAX);
        root.fault("files", problem);
    }
    all
}

/// A count of a table that may be absent.
fn count(section: Option<&Section<'_>>, key: &str, bound: Bound<u64>) -> u32 {
    let value = section.map_or(bound.default, |s| s.read(key, bound.default, |value| within(unsigned(value)?, bound)));
    u32::try_from(value).expect("every count's bound fits 32 bits")
}

/// A size of a table that may be absent.
fn size(section: Option<&Section<'_>>, key: &str, bound: Bound<ByteSize>) -> ByteSize {
    section.map_or(bound.default, |s| s.read(key, bound.default, |value| within(byte_size(value)?, bound)))
}

fn limits(section: Option<&Section<'_>>) -> Limits {
    let count = |key, bound| count(section, key, bound);
    let size = |key, bound| size(section, key, bound);
    if let Some(section) = section {
        section.refuse_unknown();
    }
    let fuel = FuelPerTurn::Limit(bounds::FUEL_PER_TURN.default);
    let idle = IdleLimit::After(bounds::IDLE.default);
    let mut limits = Limits {
        memory: size("memory", bounds::MEMORY),
        tables: count("tables", bounds::TABLES),
        files: size("files", bounds::FILES),
        inodes: count("inodes", bounds::INODES),
        fuel_per_turn: section.map_or(fuel, |s| s.read("fuel_per_turn", fuel, fuel_per_turn)),
        flows: count("flows", bounds::FLOWS),
        flows_per_client: count("flows_per_client", bounds::FLOWS_PER_CLIENT),
        outward: count("outward", bounds::OUTWARD),
        descriptors: count("descriptors", bounds::DESCRIPTORS),
        socket_buffer: size("socket_buffer", bounds::SOCKET_BUFFER),
        socket_buffers: size("socket_buffers", bounds::SOCKET_BUFFERS),
        idle: section.map_or(idle, |s| s.read("idle", idle, idle_limit)),
        log_lines_per_second: count("log_lines_per_second", bounds::LOG_LINES_PER_SECOND),
        history: size("history", bounds::HISTORY),
    };
    if let Some(section) = section {
        relations(section, &mut limits);
    }
    limits
}

/// What holds between limits. A default gives way to a neighbour that was written; two that were written must agree.
fn relations(section: &Section<'_>, limits: &mut Limits) {
    if limits.flows_per_client > limits.flows {
        if section.has("flows_per_client") {
            let problem = format!("more than limits.flows, which is {}", limits.flows);
            section.fault("flows_per_client", problem);
        }
        limits.flows_per_client = limits.flows;
    }
    let both_ways = limits.socket_buffer.get() * 2;
    if limits.socket_buffers.get() < both_ways {
        let problem = format!("less than one flow needs: twice limits.socket_buffer, {}", ByteSize::bytes(both_ways));
        section.fault("socket_buffers", problem);
    }
}

/// A guest that begins with all the descriptors that it may have can accept nobody.
fn descriptors(section: &Section<'_>, limits: &Limits, ports: &[Port]) {
    let passed = ports.iter().filter(|port| port.pass).count() as u64;
    let begun = bounds::DESCRIPTORS_AT_START + passed;
    if u64::from(limits.descriptors) <= begun {
        let problem =
            format!("the guest begins with {begun}, {passed} of them for ports that are passed in, and needs more");
        section.fault("descriptors", problem);
    }
}

fn restart(section: Option<&Section<'_>>) -> Restart {
    let defaults = Restart {
        policy: RestartPolicy::Always,
        backoff: bounds::BACKOFF.default,
        backoff_max: bounds::BACKOFF_MAX.default,
    };
    let Some(section) = section else {
        return defaults;
    };
    section.refuse_unknown();
    let restart = Restart {
        policy: section.read("policy", defaults.policy, |value| word("policy", value)),
        backoff: section.read("backoff", defaults.backoff, |value| duration(value, bounds::BACKOFF)),
        backoff_max: section.read("backoff_max", defaults.backoff_max, |value| duration(value, bounds::BACKOFF_MAX)),
    };
    if restart.backoff > restart.backoff_max {
        let problem = format!("less than restart.backoff, which is {}", format_duration(restart.backoff));
        section.fault("backoff_max", problem);
    }
    restart
}

fn build(section: Option<&Section<'_>>) -> Build {
    let Some(section) = section else {
        return Build::default();
    };
    section.refuse_unknown();
    // An empty text is the default of both.
    let given = |value| text(value).and_then(no_nul).map(|text| Some(text).filter(|text| !text.is_empty()));
    let command = section.read("command", None, |value| given(value).map(|text| text.map(str::to_owned)));
    let output = section.read("output", None, |value| match given(value)? {
        None => Ok(None),
        Some(_) => parsed::<HostPath>(value).map(Some),
    });
    Build { command, output }
}
