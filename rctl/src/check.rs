//! `rctl check MODULE_OR_FOLDER`: what a module or a component is, what it needs, what is missing and why; and of a service, what its
//! manifest does not allow of what its module needs.

mod allowed;
mod command;
mod component;

use std::collections::BTreeMap;
use std::path::Path;

use refrain_inspect::abi::Family;
use refrain_inspect::asyncify::checkpointable;
use refrain_inspect::{Report, inspect, is_component, sentences};
use refrain_service::bounds::{MEMORY, MODULE_BYTES_MAX};
use refrain_service::{Kind, Manifest, Port};
use serde::Serialize;

use crate::build::read_manifest;
use crate::error::RctlError;
use crate::human::{count, size};
use crate::output::Output;
use crate::table::printable;

pub use component::{told_handler, unused};

/// Width of the first column.
const LABEL: usize = 10;
/// Where lines of import names are broken.
const LINE: usize = 100;

/// The result for programs.
#[derive(Serialize)]
struct Checked {
    file: String,
    /// The service whose manifest the module was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    runs: bool,
    families: Vec<Family>,
    /// Sentences; `report` has the same in parts.
    problems: Vec<String>,
    /// What it will miss while it runs.
    warnings: Vec<String>,
    missing: Vec<refrain_inspect::Missing>,
    /// Whether its guests can be saved in checkpoints; else replicas are rebuilt from the log alone.
    savable: bool,
    /// Why they cannot.
    unsavable: Vec<String>,
    report: Option<Report>,
}

/// Checks a module, or the service in a folder.
pub fn run(path: &Path) -> Result<Output, RctlError> {
    let (module, manifest) = if path.is_dir() {
        let manifest = read_manifest(path)?;
        (path.join(manifest.module.as_str()), Some(manifest))
    } else {
        (path.to_owned(), None)
    };
    let failed = |source| RctlError::Read { path: module.clone(), source };
    let length = std::fs::metadata(&module).map_err(failed)?.len();
    let file = module.display().to_string();
    let service = manifest.as_ref().map(|manifest| manifest.id.to_string());
    if length > MODULE_BYTES_MAX {
        let problem = format!("{} of module, the limit is {}", size(length), size(MODULE_BYTES_MAX));
        return Ok(refused(file, service, problem));
    }
    let bytes = std::fs::read(&module).map_err(failed)?;
    let http = match &manifest {
        Some(manifest) => manifest.kind == Kind::Http,
        // One that runs by itself is a program; what else there is of components serves HTTP, or is to.
        None => is_component(&bytes) && !command::is_command(&bytes),
    };
    if is_component(&bytes) {
        let checked = if http { component::checked } else { command::checked };
        return Ok(checked(file, &bytes, manifest.as_ref()));
    }
    if http && inspect(&bytes).is_ok() {
        let problem = "a core module, and a service of kind http is a component: `rctl service build` makes it one";
        return Ok(refused(file, service, problem.to_owned()));
    }
    let report = match inspect(&bytes) {
        Err(error) => return Ok(refused(file, service, error.to_string())),
        Ok(report) => report,
    };
    let layout = checkpointable(&bytes);
    let stack = layout.as_ref().ok().map(|layout| layout.memory);
    let unsavable = sentences(&layout.err().unwrap_or_default());
    let mut problems = problems(&report, stack);
    let mut warnings = Vec::new();
    if let Some(manifest) = &manifest {
        let compared = allowed::compare(&report, stack, manifest);
        problems.extend(compared.problems);
        warnings = compared.warnings;
    }
    let text = text(
        &file,
        manifest.as_ref(),
        &report,
        &Told { problems: &problems, warnings: &warnings, unsavable: &unsavable },
    );
    let runs = problems.is_empty();
    let (families, missing) = (report.families(), report.missing());
    let (savable, report) = (unsavable.is_empty(), Some(report));
    let checked = Checked { file, service, runs, families, problems, warnings, missing, savable, unsavable, report };
    Ok(Output::value(&checked, move |_| text.clone()).with_failure(!runs))
}

fn refused(file: String, service: Option<String>, problem: String) -> Output {
    let text = format!("{}: cannot run\n  {}\n", printable(&file), printable(&problem));
    let problems = vec![problem];
    let checked = Checked {
        file,
        service,
        runs: false,
        families: vec![],
        problems,
        warnings: vec![],
        missing: vec![],
        savable: false,
        unsavable: vec![],
        report: None,
    };
    Output::value(&checked, move |_| text.clone()).with_failure(true)
}

fn problems(report: &Report, stack: Option<u32>) -> Vec<String> {
    let mut problems = sentences(&report.problems());
    let memory = allowed::memory_bytes(report, stack);
    if memory > MEMORY.max.get() {
        problems.push(format!("starts with {} of memory, limits.memory is at most {}", size(memory), MEMORY.max));
    }
    problems
}

/// What the module is told of.
struct Told<'a> {
    problems: &'a [String],
    warnings: &'a [String],
    unsavable: &'a [String],
}

fn text(file: &str, manifest: Option<&Manifest>, report: &Report, told: &Told<'_>) -> String {
    let Told { problems, warnings, unsavable } = *told;
    let verdict = if problems.is_empty() { "runs" } else { "cannot run" };
    let mut text = format!("{}: {verdict}\n", printable(file));
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:LABEL$}{value}\n"));
    if let Some(manifest) = manifest {
        line("service", manifest.id.to_string());
    }
    line("size", format!("{}, {}", size(report.bytes), count(report.functions as usize, "function")));
    line("family", listed(report.families().iter().map(ToString::to_string)));
    line("memory", memory(report, manifest));
    for feature in &report.features {
        let note = if feature.note().is_empty() { String::new() } else { format!(": {}", feature.note()) };
        line("feature", format!("{feature}{note}"));
    }
    if problems.is_empty() {
        line("saved", if unsavable.is_empty() { "in checkpoints".to_owned() } else { not_saved(unsavable) });
    }
    match manifest {
        None => line("ports", "not known from a module: [[ports]] of service.toml names them".to_owned()),
        Some(manifest) => {
            line("ports", listed(manifest.ports.iter().map(port)));
            line("outbound", listed(manifest.outbound.iter().map(ToString::to_string)));
        }
    }
    text.push_str(&imports(report));
    text + &verdicts(problems, warnings)
}

/// Problems and warnings, each kind under its number.
fn verdicts(problems: &[String], warnings: &[String]) -> String {
    let mut text = String::new();
    for (sentences, word) in [(problems, "problem"), (warnings, "warning")] {
        if !sentences.is_empty() {
            text.push_str(&format!("\n{}\n", count(sentences.len(), word)));
        }
        for sentence in sentences {
            text.push_str(&format!("  {}\n", printable(sentence)));
        }
    }
    text
}

fn port(port: &Port) -> String {
    let passed = if port.pass { " passed in" } else { "" };
    format!("{} {} {}{passed}", port.name, port.protocol, port.guest)
}

fn not_saved(reasons: &[String]) -> String {
    format!("in no checkpoints, rebuilt from the log alone: {}", reasons.join("; "))
}

fn listed(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn memory(report: &Report, manifest: Option<&Manifest>) -> String {
    if report.memories.is_empty() {
        return "none".to_owned();
    }
    let bytes = report.initial_memory_bytes();
    let mut all = report.memories.iter();
    let most = match all.try_fold(0, |sum: u64, memory| Some(sum.saturating_add(memory.max_pages?))) {
        Some(pages) => format!("at most {}", size(pages.saturating_mul(65_536))),
        None => "no maximum of its own".to_owned(),
    };
    let need = match manifest {
        Some(manifest) => format!("; limits.memory is {}", manifest.limits.memory),
        None if bytes > MEMORY.default.get() => {
            format!("; limits.memory must be raised from its default of {}", MEMORY.default)
        }
        None => String::new(),
    };
    format!("{} at the start, {most}{need}", size(bytes))
}

/// Imports by what they are for and where they come from, one name once.
fn imports(report: &Report) -> String {
    if report.imports.is_empty() {
        return "\nno imports\n".to_owned();
    }
    let mut groups: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for import in &report.imports {
        let from = import.family.map_or_else(|| format!("from {}", printable(&import.module)), |f| f.to_string());
        let mark = if !import.is_provided() { "!" } else { "" };
        let name = format!("{mark}{}", printable(&import.name));
        groups.entry((import.purpose.to_string(), from)).or_default().push(name);
    }
    let mut text = format!("\n{}\n", count(report.imports.len(), "import"));
    for ((purpose, from), mut names) in groups {
        names.sort_by(|a, b| a.trim_start_matches('!').cmp(b.trim_start_matches('!')));
        names.dedup();
        text.push_str(&format!("  {purpose} ({from})\n{}", wrapped(&names)));
    }
    if !report.missing().is_empty() {
        text.push_str("  (! cannot be satisfied)\n");
    }
    text
}

fn wrapped(names: &[String]) -> String {
    let (mut text, mut line) = (String::new(), String::from("   "));
    for name in names {
        if line.len() + 1 + name.len() > LINE && line.len() > 3 {
            text.push_str(&format!("{line}\n"));
            line = String::from("   ");
        }
        line.push_str(&format!(" {name}"));
    }
    text.push_str(&format!("{line}\n"));
    text
}
