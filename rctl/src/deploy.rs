//! `rctl service deploy`, `weights` and `remove`: versions of a stateless service on the node that the API is of.

use std::path::Path;

use refrain_api::{Deploy, HttpStatus, StoredBundle, Weights, paths};
use refrain_service::Bundle;

use crate::client::Client;
use crate::error::RctlError;
use crate::output::Output;
use crate::resolve::{explained, resolve};
use crate::status;

/// Sends a service and has it run.
pub fn run(client: &Client, dir: &Path, weight: Option<u16>) -> Result<Output, RctlError> {
    let bundle = Bundle::load(dir).map_err(|source| RctlError::Bundle { path: dir.to_owned(), source })?;
    let digest = bundle.digest.to_string();
    let stored: StoredBundle = client.put(&paths::of_bundle(&digest), &bundle.pack())?;
    let status: HttpStatus = client.post(paths::DEPLOY, &Deploy { bundle: stored.bundle, weight })?;
    let id = &bundle.manifest.id;
    Ok(output(status, &format!("{}/{}", id.namespace, id.name)))
}

/// Shifts requests between versions.
pub fn weigh(client: &Client, name: &str, weights: Vec<(String, u16)>) -> Result<Output, RctlError> {
    const COMMAND: &str = "service weights";
    let service = resolve(client, name, COMMAND)?;
    let path = paths::of_service(paths::WEIGHTS, service.0.as_str(), service.1.as_str());
    let asked = client.post(&path, &Weights { weights: weights.into_iter().collect() });
    Ok(output(explained(client, &service, COMMAND, asked)?, &format!("{}/{}", service.0, service.1)))
}

/// Ends a version.
pub fn remove(client: &Client, name: &str, version: &str) -> Result<Output, RctlError> {
    const COMMAND: &str = "service remove";
    let service = resolve(client, name, COMMAND)?;
    let asked = client.delete(&paths::of_release(service.0.as_str(), service.1.as_str(), version));
    Ok(output(explained(client, &service, COMMAND, asked)?, &format!("{}/{}", service.0, service.1)))
}

/// The versions of one service.
fn output(mut status: HttpStatus, service: &str) -> Output {
    status.services.retain(|of| of.service == service);
    let shown = status.clone();
    Output::value(&status, move |colour| status::http(&shown, colour))
}

/// `VERSION=WEIGHT`.
pub fn share(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("{text:?} is not like 1.2.0=10, with a weight from 0 to {}", u16::MAX);
    let (version, weight) = text.split_once('=').ok_or_else(wrong)?;
    let version: refrain_service::Version = version.parse().map_err(|_| wrong())?;
    Ok((version.to_string(), weight.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_version_and_a_number() {
        assert_eq!(share("1.2.0=10"), Ok(("1.2.0".to_owned(), 10)));
        assert_eq!(share("1.2.0-rc.1+b=65535"), Ok(("1.2.0-rc.1+b".to_owned(), u16::MAX)));
        for wrong in ["1.2.0", "1.2=1", "1.2.0=", "1.2.0=65536", "1.2.0=-1", "=1"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
