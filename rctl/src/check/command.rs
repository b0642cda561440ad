//! `rctl check` of a component that is a program: what it imports, what is missing, and what its manifest does not allow.

use refrain_inspect::asyncify::checkpointable;
use refrain_inspect::{Component, InspectError, inspect_component, sentences};
use refrain_service::{Manifest, Protocol};
use serde::Serialize;

use super::component::{head, imports};
use super::{LABEL, allowed, listed, not_saved, port, refused, verdicts};
use crate::human::size;
use crate::output::Output;
use crate::table::printable;

/// The result for programs.
#[derive(Serialize)]
struct Checked {
    file: String,
    /// The service whose manifest the component was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    runs: bool,
    problems: Vec<String>,
    /// What it will miss while it runs.
    warnings: Vec<String>,
    /// Whether its guests can be saved in checkpoints: those of components cannot.
    savable: bool,
    /// Why they cannot.
    unsavable: Vec<String>,
    component: Component,
}

/// Whether the bytes are a component that runs by itself.
pub fn is_command(bytes: &[u8]) -> bool {
    inspect_component(bytes).is_ok_and(|component| component.command().is_some())
}

/// Checks the bytes of a component.
pub fn checked(file: String, bytes: &[u8], manifest: Option<&Manifest>) -> Output {
    let service = manifest.map(|manifest| manifest.id.to_string());
    let component = match inspect_component(bytes) {
        Ok(component) => component,
        Err(error) => return refused(file, service, InspectError::to_string(&error)),
    };
    let mut problems = sentences(&component.unrunnable());
    let mut warnings = Vec::new();
    if let Some(manifest) = manifest {
        compare(&component, manifest, &mut problems, &mut warnings);
    }
    let unsavable = sentences(&checkpointable(bytes).err().unwrap_or_default());
    let mut text = text(&file, manifest, &component, &problems, &unsavable);
    text.push_str(&verdicts(&problems, &warnings));
    let (runs, savable) = (problems.is_empty(), unsavable.is_empty());
    let checked = Checked { file, service, runs, problems, warnings, savable, unsavable, component };
    Output::value(&checked, move |_| text.clone()).with_failure(!runs)
}

fn compare(component: &Component, manifest: &Manifest, problems: &mut Vec<String>, warnings: &mut Vec<String>) {
    for port in &manifest.ports {
        let name = &port.name;
        let interface = if port.protocol == Protocol::Udp { "udp" } else { "tcp" };
        if port.pass {
            problems.push(format!("port {name} has pass = true, and a component makes its listeners by itself"));
        } else if !["types", interface].iter().any(|name| component.imports("wasi:sockets", name)) {
            warnings
                .push(format!("port {name} has clients, and the component does not import wasi:sockets/{interface}"));
        }
    }
    warnings.extend(allowed::proxies(manifest));
    let limits = &manifest.limits;
    if component.initial_memory_bytes > limits.memory.get() {
        let bytes = size(component.initial_memory_bytes);
        problems.push(format!("starts with {bytes} of memory, limits.memory is {}", limits.memory));
    }
    let elements = component.initial_table_elements;
    if elements > u64::from(limits.tables) {
        problems.push(format!("starts with tables of {elements} elements, limits.tables is {}", limits.tables));
    }
    if !manifest.outbound.is_empty() && !component.imports.iter().any(|import| import.package == "wasi:sockets") {
        warnings.push("outbound is not empty, and the component imports nothing to call outside".to_owned());
    }
}

fn text(
    file: &str,
    manifest: Option<&Manifest>,
    component: &Component,
    problems: &[String],
    unsavable: &[String],
) -> String {
    let verdict = if problems.is_empty() { "runs" } else { "cannot run" };
    let mut text = head(file, verdict, manifest, component);
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:LABEL$}{}\n", printable(&value)));
    line("family", component.command().map_or_else(|| "none".to_owned(), |run| format!("WASI {}", run.version)));
    for feature in &component.features {
        line("feature", feature.to_string());
    }
    if problems.is_empty() {
        line("saved", not_saved(unsavable));
    }
    line("memory", format!("{} at the start", size(component.initial_memory_bytes)));
    match manifest {
        None => line("ports", "not known from a component: [[ports]] of service.toml names them".to_owned()),
        Some(manifest) => {
            line("ports", listed(manifest.ports.iter().map(port)));
            line("outbound", listed(manifest.outbound.iter().map(ToString::to_string)));
        }
    }
    let concurrent = component.is_concurrent();
    text + &imports(component, |import| import.is_given_to_commands(concurrent))
}
