//! What a component is, what it wants of its host, and whether the host of HTTP services or the engine can run it.
//!
//! A component of `wasi:http` exports `incoming-handler` of 0.2 or `handler` of 0.3, and may import WASI of both
//! versions; a command, as the engine runs it for a replicated service, exports `wasi:cli/run` of 0.2 and imports 0.2
//! alone, or exports that of 0.3 and imports both. Of a version before 1.0 each middle number is an interface of its own.
//! Nothing is compiled or run.

mod parts;
mod strings;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::feature::{self, Feature};
use crate::loops;
use crate::module::{InspectError, told_apart};
use crate::sentences::Cut;
use parts::Counter;

pub use parts::MAX_PARTS;

/// Packages of WASI that the host provides, and in which versions.
const PROVIDED: [(&str, &[&str]); 7] = [
    ("wasi:cli", &["0.2", "0.3"]),
    ("wasi:clocks", &["0.2", "0.3"]),
    ("wasi:filesystem", &["0.2", "0.3"]),
    ("wasi:http", &["0.2", "0.3"]),
    ("wasi:io", &["0.2"]),
    ("wasi:random", &["0.2", "0.3"]),
    ("wasi:sockets", &["0.2", "0.3"]),
];
/// What is exported by a component that serves HTTP.
const HANDLERS: [(Handler, &str, &str); 2] =
    [(Handler::P2, "incoming-handler", "0.2"), (Handler::P3, "handler", "0.3")];

/// What `wasi:cli` gives a command in either version.
const CLI: [&str; 10] = [
    "environment",
    "exit",
    "stderr",
    "stdin",
    "stdout",
    "terminal-input",
    "terminal-output",
    "terminal-stderr",
    "terminal-stdin",
    "terminal-stdout",
];
/// The interfaces of 0.2 that a command is given.
const COMMAND: [(&str, &[&str]); 6] = [
    ("wasi:cli", &CLI),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"]),
    ("wasi:filesystem", &["preopens", "types"]),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:random", &["insecure", "insecure-seed", "random"]),
    (
        "wasi:sockets",
        &["instance-network", "ip-name-lookup", "network", "tcp", "tcp-create-socket", "udp", "udp-create-socket"],
    ),
];
/// The interfaces of 0.3 that a command is given.
const CONCURRENT_COMMAND: [(&str, &[&str]); 6] = [
    ("wasi:cli", &CLI),
    ("wasi:cli", &["types"]),
    ("wasi:clocks", &["monotonic-clock", "system-clock", "types"]),
    ("wasi:filesystem", &["preopens", "types"]),
    ("wasi:random", &["insecure", "insecure-seed", "random"]),
    ("wasi:sockets", &["ip-name-lookup", "types"]),
];
/// The version of `wasi:cli/run` that a command exports, and of everything that it may import.
const COMMAND_TRACK: &str = "0.2";
/// The same of a command whose calls run beside each other; it may import the other too, as standard libraries do.
const CONCURRENT_TRACK: &str = "0.3";

/// By which interface a component is handed requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Handler {
    /// `wasi:http/incoming-handler` 0.2: an instance serves one request at a time.
    #[serde(rename = "0.2")]
    P2,
    /// `wasi:http/handler` 0.3: an instance serves several.
    #[serde(rename = "0.3")]
    P3,
}

/// A name that a component imports or exports: `wasi:http/types@0.2.12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Interface {
    /// `wasi:http`; empty for a name without a package.
    pub package: String,
    /// `types`.
    pub name: String,
    /// `0.2.12`; empty when there is none.
    pub version: String,
}

/// What was found in a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Bytes of the file.
    pub bytes: u64,
    /// In the component's order.
    pub imports: Vec<Interface>,
    /// In the component's order.
    pub exports: Vec<Interface>,
    /// How it is handed requests, if it is.
    pub handler: Option<Handler>,
    /// Features that its core modules use, beyond WebAssembly's second edition.
    pub features: Vec<Feature>,
    /// Core modules, those of components within it too.
    pub modules: usize,
    /// Bytes of these.
    pub module_bytes: u64,
    /// Bytes of the memories of all instances at the start.
    pub initial_memory_bytes: u64,
    /// Elements of the tables of all instances at the start.
    pub initial_table_elements: u64,
    /// Whether components within it can hand strings to each other.
    #[serde(skip)]
    exchanges_strings: bool,
}

/// What keeps a component from running as an HTTP service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unservable {
    /// Nothing in it handles requests.
    NoHandler,
    /// It wants what no HTTP service is given.
    Missing(Interface),
}

/// What keeps a component from running as a program: as a replicated service, or by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrunnable {
    /// Nothing in it runs.
    NoRun,
    /// It wants what no command is given.
    Missing(Interface),
    /// One of its modules uses a feature that the engine does not run.
    Feature(Feature),
    /// Components within it hand strings to each other: what copying them costs is not counted in any fuel.
    StringsWithin,
}

/// Whether bytes are a component and not a module, as their first eight say.
pub fn is_component(bytes: &[u8]) -> bool {
    Parser::is_component(bytes)
}

/// Inspects a component. Never panics on any input; takes time and memory in proportion to its size.
pub fn inspect_component(bytes: &[u8]) -> Result<Component, InspectError> {
    Validator::new_with_features(features()).validate_all(bytes)?;
    let mut component = Component {
        bytes: bytes.len() as u64,
        imports: Vec::new(),
        exports: Vec::new(),
        handler: None,
        features: Vec::new(),
        modules: 0,
        module_bytes: 0,
        initial_memory_bytes: 0,
        initial_table_elements: 0,
        exchanges_strings: strings::exchanged(bytes)?,
    };
    let (mut depth, mut features, mut counter) = (0, BTreeSet::new(), Counter::default());
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        counter.see(&payload)?;
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ModuleSection { unchecked_range, .. } => {
                component.modules += 1;
                component.module_bytes += (unchecked_range.end - unchecked_range.start) as u64;
            }
            Payload::TypeSection(types) => feature::of_types(types, &mut features)?,
            Payload::CodeSectionEntry(body) => {
                loops::check(&body)?;
                feature::of_body(&body, &mut features)?;
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    feature::of_memory(&memory?, &mut features);
                }
            }
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    component.imports.push(Interface::of(import?.name.name));
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    component.exports.push(Interface::of(export?.name.name));
                }
            }
            _ => {}
        }
    }
    let whole = counter.whole()?;
    (component.initial_memory_bytes, component.initial_table_elements) = (whole.memory_bytes, whole.table_elements);
    component.handler = component.handler_of_exports();
    component.features = features.into_iter().collect();
    Ok(component)
}

/// What validation accepts: all that the host may be asked to run.
fn features() -> WasmFeatures {
    told_apart() | WasmFeatures::COMPONENT_MODEL | WasmFeatures::CM_ASYNC
}

impl Component {
    /// What keeps it from running as an HTTP service.
    pub fn unservable(&self) -> Vec<Unservable> {
        let missing = self.imports.iter().filter(|import| !import.is_provided());
        let missing = missing.map(|import| Unservable::Missing(import.clone()));
        let handler = self.handler.is_none().then_some(Unservable::NoHandler);
        handler.into_iter().chain(missing).collect()
    }

    /// The interface by which it runs, if it is a command: that of 0.3 where it has both.
    pub fn command(&self) -> Option<&Interface> {
        self.run_of(CONCURRENT_TRACK).or_else(|| self.run_of(COMMAND_TRACK))
    }

    /// Whether it is a command whose calls run beside each other, by 0.3.
    pub fn is_concurrent(&self) -> bool {
        self.run_of(CONCURRENT_TRACK).is_some()
    }

    fn run_of(&self, track: &str) -> Option<&Interface> {
        let is = |export: &&Interface| export.package == "wasi:cli" && export.name == "run";
        self.exports.iter().filter(is).find(|export| export.track() == track)
    }

    /// What keeps the engine from running it as a program.
    pub fn unrunnable(&self) -> Vec<Unrunnable> {
        let run = self.command().is_none().then_some(Unrunnable::NoRun);
        let concurrent = self.is_concurrent();
        let missing = self.imports.iter().filter(|import| !import.is_given_to_commands(concurrent));
        let missing = missing.map(|import| Unrunnable::Missing(import.clone()));
        let blocked = self.features.iter().filter(|feature| feature.obstacle().is_some());
        let blocked = blocked.map(|feature| Unrunnable::Feature(*feature));
        let strings = self.exchanges_strings.then_some(Unrunnable::StringsWithin);
        run.into_iter().chain(missing).chain(blocked).chain(strings).collect()
    }

    /// Whether it imports an interface, of whatever version.
    pub fn imports(&self, package: &str, name: &str) -> bool {
        self.imports.iter().any(|import| import.package == package && import.name == name)
    }

    fn handler_of_exports(&self) -> Option<Handler> {
        let exported = |(_, name, track): &&(Handler, &str, &str)| {
            let is = |export: &&Interface| export.package == "wasi:http" && export.name == *name;
            self.exports.iter().filter(is).any(|export| export.track() == *track)
        };
        HANDLERS.iter().find(exported).map(|(handler, ..)| *handler)
    }
}

impl Interface {
    fn of(name: &str) -> Self {
        let (rest, version) = name.split_once('@').unwrap_or((name, ""));
        let (package, name) = rest.split_once('/').unwrap_or(("", rest));
        Self { package: package.to_owned(), name: name.to_owned(), version: version.to_owned() }
    }

    /// The part of the version that tells incompatible ones apart: `0.2` of `0.2.12`. One before its release is like no other.
    fn track(&self) -> &str {
        if self.version.contains('-') {
            return &self.version;
        }
        let end = self.version.match_indices('.').nth(1).map_or(self.version.len(), |(end, _)| end);
        &self.version[..end]
    }

    /// Whether the engine gives it to commands, to those of 0.3 that is if `concurrent`.
    pub fn is_given_to_commands(&self, concurrent: bool) -> bool {
        let known = |(package, names): &(&str, &[&str])| *package == self.package && names.contains(&&*self.name);
        match self.track() {
            COMMAND_TRACK => COMMAND.iter().any(known),
            CONCURRENT_TRACK => concurrent && CONCURRENT_COMMAND.iter().any(known),
            _ => false,
        }
    }

    /// Whether the host gives it to HTTP services.
    pub fn is_provided(&self) -> bool {
        PROVIDED.iter().any(|(package, tracks)| self.package == *package && tracks.contains(&self.track()))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.package.is_empty() { "" } else { "/" };
        let at = if self.version.is_empty() { "" } else { "@" };
        write!(f, "{}{slash}{}{at}{}", self.package, self.name, self.version)
    }
}

impl fmt::Display for Unservable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHandler => f.write_str(
                "exports neither wasi:http/incoming-handler 0.2 nor wasi:http/handler 0.3: nothing handles requests",
            ),
            Self::Missing(interface) => write!(f, "imports {}, which no http service is given", Cut(interface)),
        }
    }
}

impl fmt::Display for Unrunnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRun => f.write_str("exports neither wasi:cli/run 0.2 nor 0.3: nothing in it runs"),
            Self::Missing(interface) => write!(f, "imports {}, which no command is given", Cut(interface)),
            Self::Feature(feature) => {
                let obstacle = feature.obstacle().unwrap_or("not run here");
                write!(f, "uses {feature}: {obstacle}")
            }
            Self::StringsWithin => f.write_str(
                "components within it hand strings to each other, and no fuel counts what copying them costs",
            ),
        }
    }
}
