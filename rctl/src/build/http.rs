//! `rctl service build` of a service of kind http: runs the command, makes a component of a core module, and says what it
//! is. Components are stateless, so nothing is instrumented for checkpoints.

use std::path::Path;

use refrain_inspect::{Component, InspectError, inspect_component, is_component, sentences};
use refrain_service::Manifest;
use serde::Serialize;

use super::componentise::componentise;
use super::strip::strip;
use super::{LABEL, Making, write};
use crate::check::{told_handler, unused};
use crate::error::RctlError;
use crate::human::size;
use crate::output::Output;
use crate::table::printable;

/// What was built.
#[derive(Serialize)]
struct Built {
    service: String,
    module: String,
    /// What was run, if something was.
    command: Option<String>,
    /// Why the component cannot serve; empty when it can.
    problems: Vec<String>,
    /// What it will miss while it runs.
    warnings: Vec<String>,
    /// Bytes of the core module, if a component was made of one.
    module_bytes: Option<u64>,
    bytes: u64,
    /// What the component is, if it is one.
    component: Option<Component>,
    /// Whether the component was written.
    written: bool,
}

/// Builds, or with `check` only looks.
pub fn run(dir: &Path, manifest: &Manifest, check: bool) -> Result<Output, RctlError> {
    let Making { command, module, made, bytes } = Making::run(dir, manifest, check)?;
    let mut built = Built {
        service: manifest.id.to_string(),
        module: module.display().to_string(),
        command,
        problems: Vec::new(),
        warnings: Vec::new(),
        module_bytes: None,
        bytes: bytes.len() as u64,
        component: None,
        written: false,
    };
    let component = finished(&mut built, &bytes, check);
    inspected(&mut built, component.as_deref().unwrap_or(&bytes), manifest);
    if !check && built.problems.is_empty() && (component.is_some() || made != module) {
        write(&module, component.as_deref().unwrap_or(&bytes))?;
        built.written = true;
    }
    let text = text(&built);
    let failed = !built.problems.is_empty();
    Ok(Output::value(&built, move |_| text.clone()).with_failure(failed))
}

/// The component as it is to be written; none when the bytes are it already, or nothing becomes of them.
fn finished(built: &mut Built, bytes: &[u8], check: bool) -> Option<Vec<u8>> {
    if !bytes.starts_with(b"\0asm") || check && is_component(bytes) {
        return None;
    }
    if is_component(bytes) {
        let stripped = strip(bytes);
        built.bytes = stripped.len() as u64;
        return (stripped.len() < bytes.len()).then_some(stripped);
    }
    if check {
        built.problems.push("a core module, not a component: `rctl service build` makes it one".to_owned());
        return None;
    }
    match componentise(bytes).map(|component| strip(&component)) {
        Ok(component) => {
            built.module_bytes = Some(built.bytes);
            built.bytes = component.len() as u64;
            Some(component)
        }
        Err(problem) => {
            built.problems.push(format!("no component can be made of the module: {problem}"));
            None
        }
    }
}

fn inspected(built: &mut Built, bytes: &[u8], manifest: &Manifest) {
    if !built.problems.is_empty() {
        return;
    }
    match inspect_component(bytes) {
        Ok(component) => {
            built.problems = sentences(&component.unservable());
            built.warnings = unused(&component, manifest);
            built.component = Some(component);
        }
        Err(InspectError::Empty) => built.problems.push("the file is empty".to_owned()),
        Err(error) => built.problems.push(error.to_string()),
    }
}

fn text(built: &Built) -> String {
    let mut text = format!("{}: {}\n", printable(&built.service), printable(&built.module));
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:LABEL$}{}\n", printable(&value)));
    if let Some(command) = &built.command {
        line("built by", command.clone());
    }
    for problem in &built.problems {
        line("cannot run", problem.clone());
    }
    match built.module_bytes {
        Some(before) => {
            line("size", format!("{}, a component made of a module of {}", size(built.bytes), size(before)))
        }
        None => line("size", size(built.bytes)),
    }
    if let Some(component) = &built.component {
        line("handler", told_handler(component.handler));
    }
    for warning in &built.warnings {
        line("warning", warning.clone());
    }
    text
}
