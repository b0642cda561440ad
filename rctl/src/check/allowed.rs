//! What a module needs against what its manifest allows: what keeps it from running, and what it will miss.

use std::net::Ipv4Addr;

use refrain_inspect::Report;
use refrain_service::{AddressRange, Manifest, Port, Protocol};

use crate::human::size;

/// Functions that call outside, by what their names begin with; `_v2` forms and those of all families are alike.
const CALLS: [&str; 3] = ["sock_connect", "sock_getaddrinfo", "resolve"];
/// Functions that send datagrams: outside, or to clients of a port of datagrams.
const SENDS: [&str; 1] = ["sock_send_to"];
/// Functions by which a guest opens a listener of its own.
const LISTENS: [&str; 1] = ["sock_listen"];
/// Functions by which a guest takes connections.
const ACCEPTS: [&str; 1] = ["sock_accept"];
/// Functions by which a guest takes datagrams.
const RECEIVES: [&str; 1] = ["sock_recv_from"];

/// What the comparison tells.
#[derive(Default)]
pub struct Compared {
    /// What keeps the module from running as this service.
    pub problems: Vec<String>,
    /// What the guest will miss while it runs.
    pub warnings: Vec<String>,
}

/// Compares; `stack` is the index of the memory that instrumenting added, which counts against no limit.
pub fn compare(report: &Report, stack: Option<u32>, manifest: &Manifest) -> Compared {
    let mut compared = Compared::default();
    limits(report, stack, manifest, &mut compared.problems);
    outward(report, manifest, &mut compared.warnings);
    inward(report, manifest, &mut compared.warnings);
    compared.warnings.extend(proxies(manifest));
    compared
}

/// Ports whose clients come by a Unix socket alone, and none of them from where `proxy_protocol.from` says.
pub fn proxies(manifest: &Manifest) -> Vec<String> {
    let is_vain = |port: &&Port| {
        let holds = |range: &AddressRange| range.contains(Ipv4Addr::LOCALHOST.into());
        port.listen.is_empty() && !port.proxy_protocol.is_empty() && !port.proxy_protocol.iter().any(holds)
    };
    let sentence = |port: &Port| {
        format!(
            "port {} has clients by a Unix socket, who count as 127.0.0.1, and proxy_protocol.from does not hold it: \
             no connection begins with a header",
            port.name
        )
    };
    manifest.ports.iter().filter(is_vain).map(sentence).collect()
}

/// What counts against a limit of memory before the first instruction: all memories together, that of the stack aside.
pub fn memory_bytes(report: &Report, stack: Option<u32>) -> u64 {
    let own = report.memories.iter().zip(0..).filter(|(_, index)| Some(*index) != stack);
    own.fold(0, |sum, (memory, _)| sum.saturating_add(memory.initial_bytes()))
}

fn limits(report: &Report, stack: Option<u32>, manifest: &Manifest, problems: &mut Vec<String>) {
    let limits = &manifest.limits;
    let bytes = memory_bytes(report, stack);
    if bytes > limits.memory.get() {
        problems.push(format!("starts with {} of memory, limits.memory is {}", size(bytes), limits.memory));
    }
    let elements = report.initial_table_elements();
    if elements > u64::from(limits.tables) {
        problems.push(format!("starts with tables of {elements} elements, limits.tables is {}", limits.tables));
    }
}

fn outward(report: &Report, manifest: &Manifest, warnings: &mut Vec<String>) {
    let answers = manifest.ports.iter().any(|port| port.protocol == Protocol::Udp);
    let mut names = imported(report, &CALLS);
    if !answers {
        names.extend(imported(report, &SENDS));
    }
    let calls = !names.is_empty();
    let names = names.join(", ");
    if calls && manifest.outbound.is_empty() {
        warnings.push(format!("imports {names} to call outside, and outbound is empty: every call will be refused"));
    } else if calls && manifest.limits.outward == 0 {
        warnings.push(format!("imports {names} to call outside, and limits.outward is 0: every call will be refused"));
    }
    if !manifest.outbound.is_empty() && !calls && imported(report, &SENDS).is_empty() {
        let entries = match manifest.outbound.len() {
            1 => "1 entry".to_owned(),
            entries => format!("{entries} entries"),
        };
        warnings.push(format!("outbound has {entries}, and the module imports nothing to call outside"));
    }
}

fn inward(report: &Report, manifest: &Manifest, warnings: &mut Vec<String>) {
    let (listens, accepts) = (imported(report, &LISTENS), imported(report, &ACCEPTS));
    if manifest.ports.is_empty() && !(listens.is_empty() && accepts.is_empty()) {
        let names = [listens, accepts].concat().join(", ");
        warnings.push(format!("imports {names} for clients, and there are no [[ports]]: none can reach it"));
        return;
    }
    for port in &manifest.ports {
        let (name, guest) = (&port.name, port.guest);
        if port.protocol == Protocol::Udp {
            if imported(report, &RECEIVES).is_empty() {
                warnings.push(format!("port {name} is of udp, and the module imports nothing to take datagrams"));
            }
        } else if accepts.is_empty() {
            warnings.push(format!("port {name} has clients, and the module imports nothing to accept them"));
        } else if listens.is_empty() && !port.pass {
            warnings.push(format!(
                "port {name} is not passed in, and the module imports nothing to listen on {guest}: it needs pass = true"
            ));
        }
    }
}

/// Names of imported functions of this kind, in the module's order.
fn imported(report: &Report, kinds: &[&str]) -> Vec<String> {
    let is = |name: &str| kinds.iter().any(|kind| name == *kind || name.strip_prefix(kind) == Some("_v2"));
    let mut names: Vec<String> = Vec::new();
    for import in report.imports.iter().filter(|import| is(&import.name)) {
        if !names.contains(&import.name) {
            names.push(import.name.clone());
        }
    }
    names
}
