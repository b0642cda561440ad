//! Stateless services of a cluster: the log of the first shard says which versions there are, with which bundles and
//! shares, and every node follows it.
//!
//! A change takes the versions as the log has them, or, of a service that it does not have, as the nodes have them, and
//! orders a record with what they are to be. The record names the one that it follows, so of two changes that are made at
//! once one is refused. A node that runs engines fetches bundles that it lacks, and hosts what the log has; shares hold
//! everywhere as soon as the record is there. What a node was given at its start is its own until the log has the
//! service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use refrain_front::Dial as _;
use refrain_sequencer::shard::Deployment;
use refrain_service::{Bundle, BundleDigest};
use refrain_wire::control::Release;
use refrain_wire::limits::MAX_RELEASES;
use refrain_wire::{Position, ShardControl};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::component::Component;
use super::{Http, HttpError, Shared, WHOLE, deployments, routes};
use crate::service::in_words;
use crate::shard::{Command, Commands, Said};

/// How long a change may take to be in the log, and to be followed by this node.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long after a version could not be hosted it is tried again, for the first time; and at the longest.
const AGAIN: Duration = Duration::from_secs(1);
const MAX_AGAIN: Duration = Duration::from_secs(60);

impl Http {
    /// Has the log say what the versions of a service are to be, and waits until this node has followed.
    ///
    /// To be called on a thread for what blocks, of a runtime.
    pub(super) fn order(
        &self,
        service: &str,
        change: impl FnOnce(&mut Vec<Release>) -> Result<(), HttpError>,
    ) -> Result<(), HttpError> {
        let (after, mut releases) = self.releases(service);
        change(&mut releases)?;
        releases.sort_by(|one, other| one.version.cmp(&other.version));
        if !releases.is_empty() && releases.iter().all(|release| release.weight == 0) {
            return Err(HttpError::NoWeight { service: service.to_owned() });
        }
        if releases.len() > MAX_RELEASES {
            return Err(HttpError::TooMany { service: service.to_owned(), versions: releases.len() });
        }
        let change = ShardControl::Deploy { service: service.to_owned(), after, releases };
        let first = self.first.get().ok_or(HttpError::Ending)?;
        Handle::current().block_on(async {
            let (reply, answer) = oneshot::channel();
            first.send(Command::Deploy { change, reply }).await.map_err(|_| HttpError::Ending)?;
            let answered = timeout(PATIENCE, answer).await.map_err(|_| HttpError::Slow)?;
            let at = answered.map_err(|_| HttpError::Ending)?.map_err(HttpError::Log)?.position;
            let mut followed = self.followed.subscribe();
            let waited = timeout(PATIENCE, followed.wait_for(|followed| followed.0 >= at)).await;
            waited.map(|_| ()).map_err(|_| HttpError::Slow)
        })
    }

    /// The versions of a service, and the record that made them so; of one that the log does not have, those that are
    /// known on any node.
    fn releases(&self, service: &str) -> (Position, Vec<Release>) {
        let state = self.state.lock();
        if let Some(Deployment { at, releases }) = state.said.services.get(service) {
            return (*at, releases.clone());
        }
        // What a node that is gone said last may have been removed since.
        let live = state.nodes.iter().filter(|(_, node)| node.dial.is_up());
        let live = live.map(|(id, node)| (*id, node.clone())).collect();
        let versions = routes::versions(&state.components, &live, &state.said.services);
        let known = versions.iter().filter(|version| version.service == service).filter_map(|version| {
            let bundle: BundleDigest = version.bundle.parse().ok()?;
            let (version, weight) = (version.manifest.id.version.to_string(), version.weight);
            Some(Release { version, bundle: *bundle.as_bytes(), weight })
        });
        (Position(0), known.collect())
    }

    /// A version beside the others, or instead of the one of its number.
    pub(super) fn order_deploy(&self, component: &Component, weight: Option<u16>) -> Result<(), HttpError> {
        self.check_fits(component)?;
        let version = component.manifest().id.version.to_string();
        self.order(component.service(), |releases| {
            let former = releases.iter().find(|release| release.version == version).map(|release| release.weight);
            let default = former.unwrap_or(if releases.is_empty() { WHOLE } else { 0 });
            releases.retain(|release| release.version != version);
            let (bundle, weight) = (*component.digest().as_bytes(), weight.unwrap_or(default));
            releases.push(Release { version, bundle, weight });
            Ok(())
        })
    }

    /// Whether this node could follow the routes of all that it hosts with this beside it.
    fn check_fits(&self, component: &Component) -> Result<(), HttpError> {
        let mut state = self.state.lock();
        let before = (state.components.clone(), state.kept.clone());
        let fits = state.try_take(component.clone(), Some(WHOLE));
        (state.components, state.kept) = before;
        let service = component.manifest().id.to_string();
        fits.map_err(|reason| HttpError::Component { service, reason })
    }

    /// Other shares.
    pub(super) fn order_weights(&self, service: &str, weights: &BTreeMap<String, u16>) -> Result<(), HttpError> {
        self.order(service, |releases| {
            for (version, weight) in weights {
                let unknown = unknown(service, version, releases);
                releases.iter_mut().find(|release| release.version == *version).ok_or(unknown)?.weight = *weight;
            }
            Ok(())
        })
    }

    /// Without a version.
    pub(super) fn order_removal(&self, service: &str, version: &str) -> Result<(), HttpError> {
        self.order(service, |releases| {
            let unknown = unknown(service, version, releases);
            let at = releases.iter().position(|release| release.version == version).ok_or(unknown)?;
            releases.remove(at);
            Ok(())
        })
    }

    /// Does what the log says, as far as it can be done now; says what could not, in words.
    async fn follow_log(&self, first: &Commands, said: &Said) -> Vec<String> {
        self.take_said(said);
        let mut faults = Vec::new();
        if !self.hosts {
            return faults;
        }
        for (service, deployment) in &*said.services {
            for release in &deployment.releases {
                if let Err(fault) = self.host_release(first, deployment.at, service, release).await {
                    faults.push(format!("{service}@{} cannot run here: {fault}", release.version));
                }
            }
        }
        self.drop_others(said);
        faults
    }

    /// Shares hold at once, whatever is hosted.
    fn take_said(&self, said: &Said) {
        let mut state = self.state.lock();
        state.said = said.clone();
        for component in &mut state.components {
            let Some(deployment) = said.services.get(component.service()) else { continue };
            let release = routes::release(deployment, &component.manifest().id);
            component.set_weight(release.map_or(0, |release| release.weight));
        }
        if !state.is_ending
            && let Err(error) = self.follow_plan(&mut state)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the shares that the log has cannot be followed");
        }
    }

    /// Hosts a version, if it is not hosted already.
    async fn host_release(
        &self,
        first: &Commands,
        at: Position,
        service: &str,
        release: &Release,
    ) -> Result<(), String> {
        let digest = BundleDigest::new(release.bundle);
        {
            let mut state = self.state.lock();
            let is_it = |component: &&mut Component| {
                component.is_version(service, &release.version) && component.digest() == digest
            };
            if let Some(component) = state.components.iter_mut().find(is_it) {
                component.set_in_log(at);
                return Ok(());
            }
        }
        let (reply, obtained) = oneshot::channel();
        first.send(Command::Obtain { digest: release.bundle, reply }).await.map_err(|_| "the node ends".to_owned())?;
        obtained.await.map_err(|_| "the node ends".to_owned())??;
        let bundle = Bundle::open(&self.data_dir.join("bundles"), digest).map_err(|error| in_words(&error))?;
        let mut component = Component::load(&self.host().map_err(|error| in_words(&error))?, &bundle)?;
        if !component.is_version(service, &release.version) {
            return Err(format!("its bundle is that of {}", component.manifest().id));
        }
        component.set_in_log(at);
        let mut state = self.state.lock();
        if state.is_ending {
            return Err("the node ends".to_owned());
        }
        state.try_take(component, Some(release.weight))?;
        self.follow_plan(&mut state).map_err(|error| in_words(&error))
    }

    /// What is hosted for the log, or beside what the log has, and is not there any more, ends with its last request.
    fn drop_others(&self, said: &Said) {
        let mut state = self.state.lock();
        if state.is_ending {
            return;
        }
        let before = state.deployments();
        let stays = |service: &str, version: &str, in_log: Position| match said.services.get(service) {
            Some(deployment) => deployment.releases.iter().any(|release| release.version == version),
            None => in_log == Position(0),
        };
        state.components.retain(|component| {
            let version = component.manifest().id.version.to_string();
            stays(component.service(), &version, component.in_log())
        });
        state.kept.retain(|kept| {
            kept.service
                .split_once('@')
                .is_some_and(|(service, version)| stays(service, version, Position(kept.in_log)))
        });
        let after = state.deployments();
        if before.len() != after.len()
            && let Err(error) = self.follow_plan(&mut state)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "what is left cannot be followed");
        }
        drop(state);
        let mut written = self.written.lock();
        if written.as_ref() == Some(&after) {
            return;
        }
        let kept = deployments::write(&self.data_dir, &after);
        *written = kept.is_ok().then_some(after);
        if let Err(error) = kept {
            tracing::warn!(error = &error as &dyn std::error::Error, "what runs here is not remembered");
        }
    }
}

fn unknown(service: &str, version: &str, releases: &[Release]) -> HttpError {
    let running: Vec<&str> = releases.iter().map(|release| release.version.as_str()).collect();
    let running = if running.is_empty() { "none".to_owned() } else { running.join(", ") };
    HttpError::Unknown { service: service.to_owned(), version: version.to_owned(), running }
}

/// Follows the log on a thread of its own, as components take their time to be compiled.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn follow(http: &Shared, first: Commands) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let http = Arc::clone(http);
    std::thread::Builder::new().name("http-log".into()).spawn(move || {
        runtime.block_on(follow_all(&http, &first));
    })?;
    Ok(())
}

/// Ends with the first shard.
async fn follow_all(http: &Http, first: &Commands) {
    let mut said = http.deployed.subscribe();
    let known = http.state.lock().deployments().iter().map(|one| one.in_log).max().unwrap_or(0);
    let (mut done, mut told, mut again) = (None, Vec::new(), AGAIN);
    let mut due = tokio::time::Instant::now();
    let mut tried = None;
    loop {
        let now = said.borrow_and_update().clone();
        // What this node hosts may be ahead of what its log has been told again after a restart.
        if now.at.0 >= known && now.at > Position(0) {
            let is_new = tried.as_ref() != Some(&now.services);
            if is_new {
                again = AGAIN;
            }
            if is_new || (done.is_none() && due <= tokio::time::Instant::now()) {
                tried = Some(Arc::clone(&now.services));
                let faults = http.follow_log(first, &now).await;
                done = faults.is_empty().then_some(());
                if faults != told {
                    faults.iter().for_each(|fault| tracing::error!("{fault}"));
                }
                told = faults;
                due = tokio::time::Instant::now() + again;
                again = (again * 2).min(MAX_AGAIN);
            }
            http.followed.send_replace(now.at);
        }
        tokio::select! {
            changed = said.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(due), if done.is_none() && tried.is_some() => {}
            () = first.closed() => return,
        }
    }
}
