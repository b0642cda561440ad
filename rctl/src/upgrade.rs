//! `rctl service upgrade`: sends the other version to the server, and shows how far its engines are until it is known
//! what came of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use refrain_api::{StoredBundle, Upgrade, UpgradeState, UpgradeStatus, paths};
use refrain_service::Bundle;

use crate::args::Options;
use crate::client::Client;
use crate::error::RctlError;
use crate::output::{Format, Output};
use crate::resolve::{explained, resolve};

/// How often the server is asked how far it is.
const PACE: Duration = Duration::from_millis(100);
const COMMAND: &str = "service upgrade";

pub fn run(client: &Client, name: &str, dir: &Path, options: &Options) -> Result<Output, RctlError> {
    let bundle = Bundle::load(dir).map_err(|source| RctlError::Bundle { path: dir.to_owned(), source })?;
    let wanted @ (namespace, name) = &resolve(client, name, COMMAND)?;
    let id = &bundle.manifest.id;
    if (&id.namespace, &id.name) != (namespace, name) {
        let (found, wanted) = (format!("{}/{}", id.namespace, id.name), format!("{namespace}/{name}"));
        return Err(RctlError::OtherService { path: dir.to_owned(), found, wanted });
    }
    let digest = bundle.digest.to_string();
    let stored: StoredBundle = client.put(&paths::of_bundle(&digest), &bundle.pack())?;
    let path = paths::of_service(paths::UPGRADE, namespace.as_str(), name.as_str());
    let asked = client.post(&path, &Upgrade { bundle: stored.bundle });
    let mut status: UpgradeStatus = explained(client, wanted, COMMAND, asked)?;
    let mut shown = Shown { on: options.format() == Format::Table, ..Shown::default() };
    let mut ordered = None;
    loop {
        shown.tell(&status);
        match status.state {
            _ if status.bundle != digest => {
                return Err(RctlError::Overtaken { service: status.service, to: status.to });
            }
            UpgradeState::Preparing => {}
            // The server tells only what its own proxy or engine has seen.
            UpgradeState::Ordered if ordered.get_or_insert_with(Instant::now).elapsed() < options.timeout() => {}
            _ => return Ok(output(status)),
        }
        pause();
        status = client.get(&path)?;
    }
}

#[expect(clippy::disallowed_methods, reason = "the API has no event to wait for")]
fn pause() {
    std::thread::sleep(PACE);
}

/// What was shown on standard error.
#[derive(Default)]
struct Shown {
    on: bool,
    engines: BTreeMap<u64, String>,
    ordered: bool,
}

impl Shown {
    fn tell(&mut self, status: &UpgradeStatus) {
        if !self.on {
            return;
        }
        for engine in &status.engines {
            let reason = engine.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let line = format!("node {}: {}{reason}", engine.node, engine.step);
            if self.engines.get(&engine.node) != Some(&line) {
                eprintln!("{line}");
                self.engines.insert(engine.node, line);
            }
        }
        if let Some(position) = status.position.filter(|_| !self.ordered) {
            eprintln!("ordered at position {position}");
            self.ordered = true;
        }
    }
}

fn output(status: UpgradeStatus) -> Output {
    let UpgradeStatus { service, from, to, .. } = &status;
    let at = status.position.unwrap_or_default();
    let reason = status.reason.as_deref().unwrap_or("no reason is known");
    let text = match status.state {
        UpgradeState::Done => format!("{service}: upgraded from {from} to {to} at position {at}"),
        UpgradeState::RolledBack => {
            format!("{service}: {to} did not start at position {at}: {reason}; {from} goes on")
        }
        UpgradeState::Refused => format!("{service}: not upgraded to {to}: {reason}; {from} goes on"),
        _ => format!("{service}: {to} was ordered at position {at}; this node does not know what came of it yet"),
    };
    let failed = status.state != UpgradeState::Done;
    Output::value(&status, move |_| text.clone()).with_failure(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: UpgradeState, reason: Option<&str>) -> UpgradeStatus {
        UpgradeStatus {
            service: "a/b".into(),
            from: "a/b@1".into(),
            to: "a/b@2".into(),
            bundle: "00".into(),
            state,
            position: Some(7),
            reason: reason.map(str::to_owned),
            engines: Vec::new(),
        }
    }

    #[test]
    fn the_last_line_says_what_runs_now() {
        let shown = |state, reason| output(status(state, reason)).shown(false);
        assert_eq!(shown(UpgradeState::Done, None), "a/b: upgraded from a/b@1 to a/b@2 at position 7");
        let rolled_back = shown(UpgradeState::RolledBack, Some("it ended at its start"));
        assert_eq!(rolled_back, "a/b: a/b@2 did not start at position 7: it ended at its start; a/b@1 goes on");
        let refused = shown(UpgradeState::Refused, Some("no"));
        assert_eq!(refused, "a/b: not upgraded to a/b@2: no; a/b@1 goes on");
    }
}
