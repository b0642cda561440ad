//! `rctl service build DIR`: makes the module, by the command of the manifest, and instruments it, so that guests can be
//! saved in checkpoints. A component of kind tcp is left as it is, but for what it says for debuggers. Services of kind
//! http are components, which `build/http.rs` makes.

mod componentise;
mod http;
mod strip;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use refrain_inspect::asyncify::checkpointable;
use refrain_inspect::{inspect, inspect_component, is_component, sentences};
use refrain_instrument::{InstrumentError, WasmOpt};
use refrain_service::bounds::{MANIFEST_BYTES_MAX, MODULE_BYTES_MAX};
use refrain_service::{Kind, MANIFEST_FILE, Manifest};
use serde::Serialize;

use crate::error::RctlError;
use crate::human::size;
use crate::output::Output;
use crate::table::printable;

/// Width of the first column.
const LABEL: usize = 13;

/// What was built.
#[derive(Serialize)]
struct Built {
    service: String,
    module: String,
    /// What was run, if something was.
    command: Option<String>,
    /// Why the module cannot run; empty when it can.
    problems: Vec<String>,
    /// Bytes of the module before it was instrumented; the same when it was not.
    bytes_before: u64,
    bytes: u64,
    /// By which `wasm-opt` it was instrumented here.
    instrumented_by: Option<String>,
    /// Whether guests can be saved in checkpoints.
    savable: bool,
    /// Why they cannot.
    reasons: Vec<String>,
    /// Why the module was not instrumented, when it would have to be.
    failure: Option<String>,
    /// Whether the module was written.
    written: bool,
}

/// Builds, or with `check` only looks.
pub fn run(dir: &Path, check: bool, wasm_opt: Option<PathBuf>) -> Result<Output, RctlError> {
    let manifest = read_manifest(dir)?;
    if manifest.kind == Kind::Http {
        return http::run(dir, &manifest, check);
    }
    let Making { command, module, made, bytes } = Making::run(dir, &manifest, check)?;
    let mut built = Built {
        service: manifest.id.to_string(),
        module: module.display().to_string(),
        command,
        problems: problems(&bytes),
        bytes_before: bytes.len() as u64,
        bytes: bytes.len() as u64,
        instrumented_by: None,
        savable: false,
        reasons: reasons(&bytes),
        failure: None,
        written: false,
    };
    built.savable = built.problems.is_empty() && built.reasons.is_empty();
    if !check && built.problems.is_empty() {
        let changed = match () {
            () if is_component(&bytes) => stripped(&mut built, &bytes),
            () if built.savable => None,
            () => instrument(&mut built, &bytes, dir, wasm_opt),
        };
        let result = changed.as_deref().unwrap_or(&bytes);
        if changed.is_some() || made != module {
            write(&module, result)?;
            built.written = true;
        }
    }
    let text = text(&built);
    let failed = !built.problems.is_empty() || built.failure.is_some();
    Ok(Output::value(&built, move |_| text.clone()).with_failure(failed))
}

/// What a service is made of.
struct Making {
    /// What was run, if something was.
    command: Option<String>,
    /// Where the module belongs.
    module: PathBuf,
    /// Where the command leaves it.
    made: PathBuf,
    /// What is there.
    bytes: Vec<u8>,
}

impl Making {
    /// Runs the manifest's command, and reads what it made. A check runs nothing and is of what is there to be run.
    fn run(dir: &Path, manifest: &Manifest, check: bool) -> Result<Self, RctlError> {
        let command = manifest.build.command.clone().filter(|_| !check);
        if let Some(command) = &command {
            shell(dir, command)?;
        }
        let module = dir.join(manifest.module.as_str());
        let made = manifest.build.output.as_ref().map_or_else(|| module.clone(), |output| dir.join(output.as_str()));
        let bytes = read(if check { &module } else { &made }, MODULE_BYTES_MAX)?;
        Ok(Self { command, module, made, bytes })
    }
}

/// The manifest in a folder.
pub(crate) fn read_manifest(dir: &Path) -> Result<Manifest, RctlError> {
    let path = dir.join(MANIFEST_FILE);
    let text = String::from_utf8(read(&path, MANIFEST_BYTES_MAX)?);
    let at = |error: std::string::FromUtf8Error| error.utf8_error().valid_up_to();
    let text = text.map_err(|error| RctlError::NotUtf8 { path: path.clone(), at: at(error) })?;
    Manifest::parse(&text).map_err(|faults| RctlError::Manifest { path, faults })
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, RctlError> {
    let failed = |source| RctlError::Read { path: path.to_owned(), source };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > limit {
        return Err(RctlError::TooLarge { path: path.to_owned(), bytes, limit });
    }
    fs::read(path).map_err(failed)
}

/// Runs the line in the service's folder. What it prints goes to standard error, as standard output is the result's.
fn shell(dir: &Path, line: &str) -> Result<(), RctlError> {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(dir).stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command.status().map_err(|source| RctlError::NoShell { command: line.to_owned(), source })?;
    if status.success() { Ok(()) } else { Err(RctlError::Command { command: line.to_owned(), status }) }
}

fn problems(bytes: &[u8]) -> Vec<String> {
    if is_component(bytes) {
        return match inspect_component(bytes) {
            Ok(component) => sentences(&component.unrunnable()),
            Err(error) => vec![error.to_string()],
        };
    }
    match inspect(bytes) {
        Ok(report) => sentences(&report.problems()),
        Err(error) => vec![error.to_string()],
    }
}

fn reasons(bytes: &[u8]) -> Vec<String> {
    sentences(&checkpointable(bytes).err().unwrap_or_default())
}

/// The component without names and the like; none when it has none.
fn stripped(built: &mut Built, bytes: &[u8]) -> Option<Vec<u8>> {
    let stripped = strip::strip(bytes);
    built.bytes = stripped.len() as u64;
    (stripped.len() < bytes.len()).then_some(stripped)
}

/// The instrumented module; none, with a word in `built`, when it stays as it is.
fn instrument(built: &mut Built, bytes: &[u8], dir: &Path, wasm_opt: Option<PathBuf>) -> Option<Vec<u8>> {
    let folder = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let found = WasmOpt::find(wasm_opt.map(OsString::from), std::env::var_os("PATH"), &folder);
    let done = found.and_then(|tool| Ok((tool.version()?, tool.instrument(bytes)?)));
    match done {
        Ok((version, instrumented)) => {
            built.bytes = instrumented.len() as u64;
            (built.savable, built.reasons) = (true, Vec::new());
            built.instrumented_by = Some(format!("wasm-opt {version}"));
            Some(instrumented)
        }
        // It is a property of the program, not of the build.
        Err(InstrumentError::Reasons(reasons)) => {
            built.reasons = sentences(&reasons);
            None
        }
        Err(InstrumentError::Already) => None,
        Err(error) => {
            built.failure = Some(RctlError::from(error).told());
            None
        }
    }
}

/// The file appears whole, or stays as it was.
fn write(path: &Path, bytes: &[u8]) -> Result<(), RctlError> {
    let part = path.with_extension(format!("wasm.{}.part", std::process::id()));
    let written = File::create(&part).and_then(|mut file| file.write_all(bytes)).and_then(|()| fs::rename(&part, path));
    written.map_err(|source| {
        drop(fs::remove_file(&part));
        RctlError::Write { path: path.to_owned(), source }
    })
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
    match &built.instrumented_by {
        None if built.bytes < built.bytes_before => {
            line("size", format!("{}, {} stripped", size(built.bytes_before), size(built.bytes)));
        }
        None => line("size", size(built.bytes)),
        Some(tool) => {
            let percent = u128::from(built.bytes) * 100 / u128::from(built.bytes_before.max(1));
            let (before, after) = (size(built.bytes_before), size(built.bytes));
            line("size", format!("{before}, {after} instrumented by {tool} ({percent} %)"));
        }
    }
    if built.savable {
        line("checkpoints", "guests can be saved".to_owned());
    } else {
        line("checkpoints", "guests cannot be saved: replicas are rebuilt from the log alone".to_owned());
        for reason in &built.reasons {
            line("", reason.clone());
        }
    }
    if let Some(failure) = &built.failure {
        line("not done", failure.clone());
    }
    text
}
