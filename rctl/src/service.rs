//! `rctl service ...`: writing a manifest, and acting on a running service.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use refrain_api::{Appended, CorruptReplica, KillReplica, RebuildReplica, Scale, paths};
use refrain_service::{MANIFEST_FILE, Name, template};
use serde::Serialize;

use crate::args::Target;
use crate::client::Client;
use crate::error::RctlError;
use crate::output::Output;
use crate::resolve::{explained, resolve};

/// What was done to a service.
#[derive(Serialize)]
struct Done {
    service: String,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seat: Option<u8>,
    position: u64,
}

/// What was written.
#[derive(Serialize)]
struct Written {
    written: String,
}

pub fn kill(client: &Client, target: &Target) -> Result<Output, RctlError> {
    let body = KillReplica { seat: target.seat };
    act(client, &target.name, ("service kill-replica", paths::KILL_REPLICA), Some(target.seat), &body)
}

pub fn corrupt(client: &Client, target: &Target, address: Option<u64>, bit: Option<u8>) -> Result<Output, RctlError> {
    let body = CorruptReplica { seat: target.seat, address, bit };
    act(client, &target.name, ("service corrupt-replica", paths::CORRUPT_REPLICA), Some(target.seat), &body)
}

pub fn rebuild(client: &Client, target: &Target) -> Result<Output, RctlError> {
    let body = RebuildReplica { seat: target.seat };
    act(client, &target.name, ("service rebuild", paths::REBUILD), Some(target.seat), &body)
}

pub fn audit(client: &Client, name: &str) -> Result<Output, RctlError> {
    act(client, name, ("service audit", paths::AUDIT), None, &serde_json::json!({}))
}

pub fn resume(client: &Client, name: &str) -> Result<Output, RctlError> {
    act(client, name, ("service resume", paths::RESUME), None, &serde_json::json!({}))
}

pub fn scale(client: &Client, name: &str, replicas: u8) -> Result<Output, RctlError> {
    act(client, name, ("service scale", paths::SCALE), None, &Scale { replicas })
}

fn act(
    client: &Client,
    name: &str,
    (command, path): (&'static str, &str),
    seat: Option<u8>,
    body: &impl Serialize,
) -> Result<Output, RctlError> {
    let service = resolve(client, name, command)?;
    let path = paths::of_service(path, service.0.as_str(), service.1.as_str());
    let Appended { position } = explained(client, &service, command, client.post(&path, body))?;
    let action = command.trim_start_matches("service ");
    let done = Done { service: format!("{}/{}", service.0, service.1), action, seat, position };
    let of = seat.map(|seat| format!(" seat {seat}")).unwrap_or_default();
    let text = format!("{}{of}: {action} at position {position}", done.service);
    Ok(Output::value(&done, move |_| text.clone()))
}

/// Writes the template; refuses to overwrite.
pub fn init(dir: &Path, name: Option<Name>) -> Result<Output, RctlError> {
    let name = match name {
        Some(name) => name,
        None => folder_name(dir)?,
    };
    let path = dir.join(MANIFEST_FILE);
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::AlreadyExists => RctlError::Exists { path: path.clone() },
        _ => RctlError::Write { path: path.clone(), source },
    };
    fs::create_dir_all(dir).map_err(|source| RctlError::Write { path: dir.to_owned(), source })?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(template(&name).as_bytes()).map_err(failed)?;
    let written = Written { written: path.display().to_string() };
    let text = format!("wrote {}; put {name}.wasm beside it and run `refrain up {}`", path.display(), dir.display());
    Ok(Output::value(&written, move |_| text.clone()))
}

fn folder_name(dir: &Path) -> Result<Name, RctlError> {
    // The folder may not exist yet, so its name is taken from the path made absolute.
    let absolute = std::path::absolute(dir).map_err(|source| RctlError::Read { path: dir.to_owned(), source })?;
    let text = absolute.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    text.parse().map_err(|source| RctlError::FolderName { text: text.clone(), source })
}
