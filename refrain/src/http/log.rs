//! What a node does about the log: it hosts the versions that the log has, with their shares, and ends others.
//!
//! Shares hold as soon as the record is there. Versions are hosted one after the other, as each takes its time: its bundle
//! may have to be fetched, and it is compiled. One that cannot be hosted is left out, told and counted, and tried again
//! after growing pauses; those that were not tried yet come first. What a node was given at its start is its own until the
//! log has the service.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use refrain_service::{Bundle, BundleDigest};
use refrain_wire::Position;
use refrain_wire::control::Release;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::component::Component;
use super::versions::{self, Deployments};
use super::{Http, Shared, deployments};
use crate::service::in_words;
use crate::shard::{Command, Commands, Said};

/// How long after something failed it is tried again, for the first time; and at the longest.
const AGAIN: Duration = Duration::from_secs(1);
const MAX_AGAIN: Duration = Duration::from_secs(60);

/// How far this node has followed the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Followed {
    /// Shares are those of this position.
    pub(super) shares: Position,
    /// What could be hosted of this position is hosted, and the rest has ended.
    pub(super) hosted: Position,
}

/// Follows the log on a thread of its own, to the end of the first shard.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn follow(http: &Shared, first: Commands) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let http = Arc::clone(http);
    std::thread::Builder::new().name("http-log".into()).spawn(move || {
        runtime.block_on(follow_all(&http, &first));
        // A component that is still compiled for nobody holds nothing up.
        runtime.shutdown_background();
    })?;
    Ok(())
}

async fn follow_all(http: &Shared, first: &Commands) {
    let mut said = http.deployed.subscribe();
    // What this node hosts may be ahead of what its log has been told again after a restart.
    let known = http.state.lock().deployments().iter().map(|one| one.in_log).max().unwrap_or(0).max(1);
    let mut hosting = Hosting { http, first, failed: BTreeMap::new(), unwritten: None };
    let mut hosted: Option<Arc<Deployments>> = None;
    loop {
        let now = said.borrow_and_update().clone();
        if now.at.0 >= known {
            http.take_said(&now);
            let is_new = hosted.as_ref().is_none_or(|hosted| !Arc::ptr_eq(hosted, &now.services));
            let mut is_behind = false;
            if is_new || hosting.due().is_some_and(|due| due <= Instant::now()) {
                let Some(has_more) = host_beside(&mut hosting, &mut said, &now).await else { return };
                (is_behind, hosted) = (has_more, Some(Arc::clone(&now.services)));
            }
            http.followed.send_modify(|followed| followed.hosted = now.at);
            if is_behind {
                continue;
            }
        }
        let due = hosting.due();
        tokio::select! {
            changed = said.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = first.closed() => return,
        }
    }
}

/// Hosts what the log had, and lets shares follow it meanwhile. Whether the log has gone on; none at the end.
async fn host_beside(hosting: &mut Hosting<'_>, said: &mut watch::Receiver<Said>, had: &Said) -> Option<bool> {
    let (http, first) = (hosting.http, hosting.first);
    let mut pass = pin!(hosting.pass(had));
    let mut is_behind = false;
    loop {
        tokio::select! {
            () = &mut pass => return Some(is_behind),
            changed = said.changed() => {
                changed.ok()?;
                let now = said.borrow().clone();
                http.take_said(&now);
                is_behind = true;
            }
            () = first.closed() => return None,
        }
    }
}

/// When something that failed is tried again.
struct Pause {
    due: Instant,
    wait: Duration,
}

impl Pause {
    /// After it failed, again or for the first time.
    fn after(before: Option<&Self>) -> Self {
        let wait = before.map_or(AGAIN, |before| (before.wait * 2).min(MAX_AGAIN));
        Self { due: Instant::now() + wait, wait }
    }
}

/// A version that the log has, and the bundle that it means.
type Wanted = (String, [u8; 32]);

/// What is being done about what the log has.
struct Hosting<'a> {
    http: &'a Shared,
    first: &'a Commands,
    /// What could not be hosted.
    failed: BTreeMap<Wanted, Pause>,
    /// What runs could not be written down.
    unwritten: Option<Pause>,
}

impl Hosting<'_> {
    /// When something is to be tried again.
    fn due(&self) -> Option<Instant> {
        self.failed.values().chain(&self.unwritten).map(|pause| pause.due).min()
    }

    /// Hosts what the log has, as far as it can be done now, and ends what it does not have.
    async fn pass(&mut self, said: &Said) {
        if !self.http.hosts {
            return;
        }
        let mut missing = self.http.missing(&said.services);
        let wanted: BTreeSet<Wanted> = missing.iter().map(|(_, name, of)| (name.clone(), of.bundle)).collect();
        for ((name, _), _) in self.failed.extract_if(.., |failed, _| !wanted.contains(failed)) {
            self.http.state.lock().not_hosted.remove(&name);
        }
        missing
            .sort_by_key(|(_, name, release)| self.failed.get(&(name.clone(), release.bundle)).map(|pause| pause.due));
        for (service, name, release) in missing {
            let wanted = (name, release.bundle);
            if self.failed.get(&wanted).is_some_and(|pause| pause.due > Instant::now()) {
                continue;
            }
            match self.host(&service, &release).await {
                Ok(()) => {
                    self.failed.remove(&wanted);
                    self.http.state.lock().not_hosted.remove(&wanted.0);
                }
                Err(fault) => self.fail(wanted, fault),
            }
        }
        self.http.drop_others(&said.services);
        self.write();
    }

    fn fail(&mut self, wanted: Wanted, fault: String) {
        let pause = Pause::after(self.failed.get(&wanted));
        let mut state = self.http.state.lock();
        if state.not_hosted.get(&wanted.0) != Some(&fault) {
            tracing::error!(version = wanted.0, fault, "a version cannot run here: it is left out, and tried again");
        }
        state.not_hosted.insert(wanted.0.clone(), fault);
        drop(state);
        self.failed.insert(wanted, pause);
    }

    /// Hosts a version; why it cannot be done, in words, if it cannot.
    async fn host(&self, service: &str, release: &Release) -> Result<(), String> {
        let ends = || "the node ends".to_owned();
        let (reply, obtained) = oneshot::channel();
        self.first.send(Command::Obtain { digest: release.bundle, reply }).await.map_err(|_| ends())?;
        obtained.await.map_err(|_| ends())??;
        let (http, digest) = (Arc::clone(self.http), BundleDigest::new(release.bundle));
        let loading = tokio::task::spawn_blocking(move || {
            let bundle = Bundle::open(&http.data_dir.join("bundles"), digest).map_err(|error| in_words(&error))?;
            Component::load(&http.host().map_err(|error| in_words(&error))?, &bundle)
        });
        let component = loading.await.map_err(|error| format!("it cannot be loaded: {error}"))??;
        if !component.is_version(service, &release.version) {
            return Err(format!("its bundle is that of {}", component.manifest().id));
        }
        self.http.take_release(component)
    }

    /// Remembers what runs here, if that has changed.
    fn write(&mut self) {
        let now = self.http.state.lock().deployments();
        let mut written = self.http.written.lock();
        if written.as_ref() == Some(&now) {
            return;
        }
        let kept = deployments::write(&self.http.data_dir, &now);
        *written = kept.is_ok().then_some(now);
        self.unwritten = kept.as_ref().err().map(|_| Pause::after(self.unwritten.as_ref()));
        if let Err(error) = kept {
            tracing::warn!(error = &error as &dyn std::error::Error, "what runs here is not remembered");
        }
    }
}

impl Http {
    /// Shares hold at once, whatever is hosted.
    fn take_said(&self, said: &Said) {
        let mut state = self.state.lock();
        let is_new = !Arc::ptr_eq(&state.said.services, &said.services) || state.said.changed != said.changed;
        state.said = said.clone();
        if is_new {
            for component in &mut state.components {
                let Some(deployment) = said.services.get(component.service()) else { continue };
                let release = versions::release(deployment, &component.manifest().id, component.digest());
                component.set_weight(release.map_or(0, |release| release.weight));
                if release.is_some() {
                    component.set_in_log(deployment.at);
                }
            }
            self.follow_or_warn(&mut state);
        }
        drop(state);
        self.followed.send_modify(|followed| followed.shares = said.at);
    }

    /// What the log has and this node does not host: service, name with version, and what it is.
    fn missing(&self, deployed: &Deployments) -> Vec<(String, String, Release)> {
        let state = self.state.lock();
        let hosted: BTreeSet<Wanted> = (state.components.iter())
            .map(|component| (component.manifest().id.to_string(), *component.digest().as_bytes()))
            .collect();
        let all = deployed.iter().flat_map(|(service, deployment)| {
            deployment
                .releases
                .iter()
                .map(move |release| (service.clone(), format!("{service}@{}", release.version), release.clone()))
        });
        all.filter(|(_, name, release)| !hosted.contains(&(name.clone(), release.bundle))).collect()
    }

    /// Hosts what was loaded, if the log still has it.
    fn take_release(&self, mut component: Component) -> Result<(), String> {
        let mut state = self.state.lock();
        if state.is_ending {
            return Err("the node ends".to_owned());
        }
        let services = Arc::clone(&state.said.services);
        let deployment = services.get(component.service());
        let release = deployment
            .and_then(|deployment| versions::release(deployment, &component.manifest().id, component.digest()));
        if let (Some(deployment), Some(release)) = (deployment, release) {
            component.set_in_log(deployment.at);
            state.try_take(component, Some(release.weight))?;
            self.follow_or_warn(&mut state);
        }
        Ok(())
    }

    /// What is hosted for the log, or beside what the log has, and is not there any more, ends with its last request.
    fn drop_others(&self, deployed: &Deployments) {
        let mut state = self.state.lock();
        let before = state.components.len();
        state.components.retain(|component| match deployed.get(component.service()) {
            Some(deployment) => versions::release(deployment, &component.manifest().id, component.digest()).is_some(),
            None => component.in_log() == Position(0),
        });
        state.kept.retain(|kept| {
            let Some((service, version)) = kept.service.split_once('@') else { return false };
            let is_it = |release: &Release| {
                release.version == version && BundleDigest::new(release.bundle).to_string() == kept.bundle
            };
            match deployed.get(service) {
                Some(deployment) => deployment.releases.iter().any(is_it),
                None => kept.in_log == 0,
            }
        });
        if before != state.components.len() {
            self.follow_or_warn(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let mut pause = Pause::after(None);
        let mut waits = vec![pause.wait.as_secs()];
        for _ in 0..7 {
            pause = Pause::after(Some(&pause));
            waits.push(pause.wait.as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
