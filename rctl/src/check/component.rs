//! `rctl check` of a component: how it is handed requests, what it imports, what is missing, and what the manifest does
//! not allow of what it imports.

use std::collections::BTreeMap;

use refrain_inspect::{Component, Handler, InspectError, Interface, inspect_component, sentences};
use refrain_service::{Manifest, Route};
use serde::Serialize;

use super::{LABEL, listed, refused, verdicts, wrapped};
use crate::human::{count, size};
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
    component: Component,
}

/// Checks the bytes of a component.
pub fn checked(file: String, bytes: &[u8], manifest: Option<&Manifest>) -> Output {
    let service = manifest.map(|manifest| manifest.id.to_string());
    let component = match inspect_component(bytes) {
        Ok(component) => component,
        Err(error) => return refused(file, service, InspectError::to_string(&error)),
    };
    let problems = sentences(&component.unservable());
    let warnings = manifest.map_or_else(Vec::new, |manifest| unused(&component, manifest));
    let text = text(&file, manifest, &component, &problems, &warnings);
    let runs = problems.is_empty();
    let checked = Checked { file, service, runs, problems, warnings, component };
    Output::value(&checked, move |_| text.clone()).with_failure(!runs)
}

/// How it is handed requests, in words.
pub fn told_handler(handler: Option<Handler>) -> String {
    match handler {
        Some(Handler::P2) => "wasi:http/incoming-handler 0.2: an instance serves one request at a time".to_owned(),
        Some(Handler::P3) => "wasi:http/handler 0.3: an instance serves several requests at once".to_owned(),
        None => "none".to_owned(),
    }
}

/// What a component imports and its manifest gives it nothing of, and the other way round.
pub fn unused(component: &Component, manifest: &Manifest) -> Vec<String> {
    let mut warnings = Vec::new();
    let sends = ["outgoing-handler", "client"].into_iter().find(|name| component.imports("wasi:http", name));
    let entries = manifest.http.outgoing.len();
    match sends {
        Some(name) if entries == 0 => warnings.push(format!(
            "imports wasi:http/{name} to send requests, and http.outgoing is empty: every request will be refused"
        )),
        None if entries > 0 => {
            let entries = if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") };
            warnings.push(format!("http.outgoing has {entries}, and the component imports nothing to send requests"));
        }
        _ => {}
    }
    if component.imports.iter().any(|import| import.package == "wasi:sockets") {
        warnings
            .push("imports wasi:sockets, and a stateless service has none: every call of it will be refused".into());
    }
    if manifest.routes.is_empty() {
        warnings.push("there are no [[routes]]: no request of the front end comes to it".to_owned());
    }
    warnings
}

fn text(
    file: &str,
    manifest: Option<&Manifest>,
    component: &Component,
    problems: &[String],
    warnings: &[String],
) -> String {
    let verdict = if problems.is_empty() { "serves http" } else { "cannot run" };
    let mut text = head(file, verdict, manifest, component);
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:LABEL$}{}\n", printable(&value)));
    line("handler", told_handler(component.handler));
    match manifest {
        None => line("routes", "not known from a component: [[routes]] of service.toml names them".to_owned()),
        Some(manifest) => {
            line("routes", listed(manifest.routes.iter().map(route)));
            line("outgoing", listed(manifest.http.outgoing.iter().cloned()));
        }
    }
    text.push_str(&imports(component, Interface::is_provided));
    text + &verdicts(problems, warnings)
}

fn route(route: &Route) -> String {
    let methods = if route.methods.is_empty() { String::new() } else { format!("{} ", route.methods.join(",")) };
    let host = if route.host == "*" { "" } else { &route.host };
    format!("{methods}{host}{}", route.path)
}

/// What is said of a component first: whether it does what it is for, whose it is, how large it is.
pub(super) fn head(file: &str, verdict: &str, manifest: Option<&Manifest>, component: &Component) -> String {
    let mut text = format!("{}: {verdict}\n", printable(file));
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:LABEL$}{}\n", printable(&value)));
    if let Some(manifest) = manifest {
        line("service", manifest.id.to_string());
    }
    let modules = format!("{} of {}", count(component.modules, "core module"), size(component.module_bytes));
    line("size", format!("{}, with {modules}", size(component.bytes)));
    text
}

/// Imports by their package and its version; those that are not provided are marked.
pub(super) fn imports(component: &Component, is_provided: impl Fn(&Interface) -> bool) -> String {
    if component.imports.is_empty() {
        return "\nno imports\n".to_owned();
    }
    let mut packages: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for import in &component.imports {
        let mark = if is_provided(import) { "" } else { "!" };
        let key = (printable(&import.package), printable(&import.version));
        packages.entry(key).or_default().push(format!("{mark}{}", printable(&import.name)));
    }
    let mut text = format!("\n{}\n", count(component.imports.len(), "import"));
    for ((package, version), names) in packages {
        let head = format!("{package} {version}");
        text.push_str(&format!("  {}\n{}", head.trim(), wrapped(&names)));
    }
    if component.imports.iter().any(|import| !is_provided(import)) {
        text.push_str("  (! cannot be satisfied)\n");
    }
    text
}
