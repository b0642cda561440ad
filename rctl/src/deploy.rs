//! `rctl service deploy`, `weights` and `remove`: versions of a stateless service on the node that the API is of.

use std::collections::BTreeMap;
use std::path::Path;

use refrain_api::{Deploy, HttpServiceStatus, HttpStatus, StoredBundle, Weights, paths};
use refrain_service::{Bundle, ServiceId};

use crate::client::Client;
use crate::error::RctlError;
use crate::output::Output;
use crate::resolve::{explained, resolve};
use crate::status;

/// The share of a version that had none and gets all requests.
const WHOLE: u16 = 100;

/// Sends a service and has it run.
pub fn run(client: &Client, dir: &Path, weight: Option<u16>) -> Result<Output, RctlError> {
    let (status, id) = send(client, dir, weight)?;
    Ok(output(status, &format!("{}/{}", id.namespace, id.name)))
}

/// The same instead of its other versions: they get no more requests.
pub fn instead(client: &Client, dir: &Path) -> Result<Output, RctlError> {
    let (mut status, id) = send(client, dir, None)?;
    let (service, own) = (format!("{}/{}", id.namespace, id.name), id.version.to_string());
    let weights = shares_of_one(&status, &service, &own);
    if weights.iter().any(|(version, weight)| weight_of(&status, &service, version) != Some(*weight)) {
        let path = paths::of_service(paths::WEIGHTS, id.namespace.as_str(), id.name.as_str());
        status = client.post(&path, &Weights { weights })?;
    }
    Ok(output(status, &service))
}

fn send(client: &Client, dir: &Path, weight: Option<u16>) -> Result<(HttpStatus, ServiceId), RctlError> {
    let bundle = Bundle::load(dir).map_err(|source| RctlError::Bundle { path: dir.to_owned(), source })?;
    let digest = bundle.digest.to_string();
    let stored: StoredBundle = client.put(&paths::of_bundle(&digest), &bundle.pack())?;
    let status = client.post(paths::DEPLOY, &Deploy { bundle: stored.bundle, weight })?;
    Ok((status, bundle.manifest.id.clone()))
}

/// One version with its share, or with the whole when it has none, and the others without.
fn shares_of_one(status: &HttpStatus, service: &str, own: &str) -> BTreeMap<String, u16> {
    let own_weight = weight_of(status, service, own).filter(|weight| *weight > 0).unwrap_or(WHOLE);
    let of_service = status.services.iter().filter(|of| of.service == service);
    of_service.map(|of| (of.version.clone(), if of.version == own { own_weight } else { 0 })).collect()
}

fn weight_of(status: &HttpStatus, service: &str, version: &str) -> Option<u16> {
    let is_it = |of: &&HttpServiceStatus| of.service == service && of.version == version;
    status.services.iter().find(is_it).map(|of| of.weight)
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
    fn the_version_at_hand_gets_what_the_others_had() {
        let of = |service: &str, version: &str, weight: u16| -> HttpServiceStatus {
            let text = serde_json::json!({
                "service": service, "version": version, "stateless": true, "weight": weight, "routes": [],
                "in_flight": 0, "answers": [0, 0, 0, 0, 0]
            });
            serde_json::from_value(text).unwrap()
        };
        let services = vec![of("a/web", "1.0.0", 70), of("a/web", "1.1.0", 0), of("b/web", "1.0.0", 100)];
        let status = HttpStatus { services, ..HttpStatus::default() };
        let shares = |own| shares_of_one(&status, "a/web", own).into_iter().collect::<Vec<_>>();
        assert_eq!(shares("1.1.0"), [("1.0.0".to_owned(), 0), ("1.1.0".to_owned(), WHOLE)]);
        assert_eq!(shares("1.0.0"), [("1.0.0".to_owned(), 70), ("1.1.0".to_owned(), 0)]);
    }

    #[test]
    fn a_share_is_a_version_and_a_number() {
        assert_eq!(share("1.2.0=10"), Ok(("1.2.0".to_owned(), 10)));
        assert_eq!(share("1.2.0-rc.1+b=65535"), Ok(("1.2.0-rc.1+b".to_owned(), u16::MAX)));
        for wrong in ["1.2.0", "1.2=1", "1.2.0=", "1.2.0=65536", "1.2.0=-1", "=1"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
