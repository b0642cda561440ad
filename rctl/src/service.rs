//! `rctl service ...`: writing a manifest, and acting on a running service.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::str::FromStr;

use refrain_api::{Appended, CorruptReplica, HttpStatus, KillReplica, RebuildReplica, Scale, paths};
use refrain_service::{MANIFEST_FILE, Name, template};
use serde::Serialize;

use crate::args::Target;
use crate::client::Client;
use crate::error::RctlError;
use crate::output::Output;

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
    act(client, &target.name, ("kill-replica", paths::KILL_REPLICA), Some(target.seat), &body)
}

pub fn corrupt(client: &Client, target: &Target, address: Option<u64>, bit: Option<u8>) -> Result<Output, RctlError> {
    let body = CorruptReplica { seat: target.seat, address, bit };
    act(client, &target.name, ("corrupt-replica", paths::CORRUPT_REPLICA), Some(target.seat), &body)
}

pub fn rebuild(client: &Client, target: &Target) -> Result<Output, RctlError> {
    let body = RebuildReplica { seat: target.seat };
    act(client, &target.name, ("rebuild", paths::REBUILD), Some(target.seat), &body)
}

pub fn audit(client: &Client, name: &str) -> Result<Output, RctlError> {
    act(client, name, ("audit", paths::AUDIT), None, &serde_json::json!({}))
}

pub fn resume(client: &Client, name: &str) -> Result<Output, RctlError> {
    act(client, name, ("resume", paths::RESUME), None, &serde_json::json!({}))
}

pub fn scale(client: &Client, name: &str, replicas: u8) -> Result<Output, RctlError> {
    act(client, name, ("scale", paths::SCALE), None, &Scale { replicas })
}

fn act(
    client: &Client,
    name: &str,
    (action, path): (&'static str, &str),
    seat: Option<u8>,
    body: &impl Serialize,
) -> Result<Output, RctlError> {
    let (namespace, name) = resolve(client, name)?;
    let appended: Appended = client.post(&paths::of_service(path, namespace.as_str(), name.as_str()), body)?;
    let done = Done { service: format!("{namespace}/{name}"), action, seat, position: appended.position };
    let of = seat.map(|seat| format!(" seat {seat}")).unwrap_or_default();
    let text = format!("{}{of}: {action} at position {}", done.service, done.position);
    Ok(Output::value(&done, move |_| text.clone()))
}

/// `namespace/name` as it is; a name alone by asking the server which service has it.
pub fn resolve(client: &Client, given: &str) -> Result<(Name, Name), RctlError> {
    among(given, || Ok(client.status()?.services.into_iter().map(|service| service.name).collect()))
}

/// The same, of stateless services too.
pub fn resolve_any(client: &Client, given: &str) -> Result<(Name, Name), RctlError> {
    among(given, || {
        let status = client.status()?;
        let replicated = status.services.into_iter().map(|service| service.name);
        Ok(replicated.chain(stateless(&status.http.unwrap_or_default())).collect())
    })
}

/// The names of stateless services, each once.
pub fn stateless(http: &HttpStatus) -> Vec<String> {
    let stateless = http.services.iter().filter(|of| of.stateless);
    let mut names: Vec<String> = stateless.map(|of| of.service.clone()).collect();
    names.dedup();
    names
}

/// The same, of these services; they are asked for only if the namespace is not given.
pub fn among(
    given: &str,
    services: impl FnOnce() -> Result<Vec<String>, RctlError>,
) -> Result<(Name, Name), RctlError> {
    let name =
        |text: &str| Name::from_str(text).map_err(|source| RctlError::ServiceName { name: given.to_owned(), source });
    // The status shows names with their versions; only one version of a name runs.
    let given = given.split('@').next().unwrap_or(given);
    if let Some((namespace, rest)) = given.split_once('/') {
        return Ok((name(namespace)?, name(rest)?));
    }
    let wanted = name(given)?;
    let services = services()?;
    let known: Vec<&str> = services.iter().filter_map(|service| service.split('@').next()).collect();
    let found: Vec<&str> =
        known.iter().copied().filter(|n| n.split_once('/').is_some_and(|(_, n)| n == wanted.as_str())).collect();
    match found[..] {
        [one] => {
            let namespace = one.split_once('/').map_or("", |(namespace, _)| namespace);
            Ok((name(namespace)?, wanted))
        }
        [] if known.is_empty() => Err(RctlError::NoService { name: given.to_owned(), known: "none".to_owned() }),
        [] => Err(RctlError::NoService { name: given.to_owned(), known: known.join(", ") }),
        _ => Err(RctlError::Ambiguous { name: given.to_owned(), candidates: found.join(", ") }),
    }
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
