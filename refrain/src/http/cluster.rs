//! What the nodes of a cluster do together: the log of the first shard says which versions of stateless services there are,
//! with which bundles and shares.
//!
//! A change takes the versions as the log has them, or, of a service that it does not have, as the nodes have them, and
//! orders a record with what they are to be. The record names the one that it follows, so of two changes that are made at
//! once one is refused. Every node follows the log (`log`).

use std::collections::BTreeMap;
use std::time::Duration;

use refrain_front::Dial as _;
use refrain_sequencer::shard::Deployment;
use refrain_wire::control::Release;
use refrain_wire::limits::MAX_RELEASES;
use refrain_wire::{Position, ShardControl};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::component::Component;
use super::hosted::MAX_HOSTED;
use super::log::Followed;
use super::nodes::{Node, Nodes};
use super::state::State;
use super::versions::{Deployments, versions};
use super::{Http, HttpError, WHOLE};
use crate::shard::{Command, Said};

/// How long a change may take to be in the log, and to be followed by this node.
const PATIENCE: Duration = Duration::from_secs(15);

impl Http {
    /// Has the log say what the versions of a service are to be, and waits until this node has followed.
    ///
    /// To be called on a thread for what blocks, of a runtime.
    fn order(
        &self,
        service: &str,
        change: impl FnOnce(&mut Vec<Release>) -> Result<(), HttpError>,
        is_followed: impl Fn(&Followed) -> Position,
    ) -> Result<(), HttpError> {
        let said = self.deployed.now();
        let (after, mut releases) = releases(&self.state.lock(), &said, service)?;
        change(&mut releases)?;
        releases.sort_by(|one, other| one.version.cmp(&other.version));
        check(&said.services, service, &releases)?;
        let change = ShardControl::Deploy { service: service.to_owned(), after, releases };
        let first = self.first.get().ok_or(HttpError::Ending)?;
        Handle::current().block_on(async {
            let (reply, answer) = oneshot::channel();
            first.send(Command::Deploy { change, reply }).await.map_err(|_| HttpError::Ending)?;
            let answered = timeout(PATIENCE, answer).await.map_err(|_| HttpError::Slow)?;
            let at = answered.map_err(|_| HttpError::Ending)?.map_err(HttpError::Log)?.position;
            let mut followed = self.followed.subscribe();
            let waited = timeout(PATIENCE, followed.wait_for(|followed| is_followed(followed).0 >= at)).await;
            waited.map(|_| ()).map_err(|_| HttpError::Slow)
        })
    }

    /// A version beside the others, or instead of the one of its number.
    pub(super) fn order_deploy(&self, component: &Component, weight: Option<u16>) -> Result<(), HttpError> {
        self.check_fits(component)?;
        let version = component.manifest().id.version.to_string();
        let change = |releases: &mut Vec<Release>| {
            let former = releases.iter().find(|release| release.version == version).map(|release| release.weight);
            let default = former.unwrap_or(if releases.is_empty() { WHOLE } else { 0 });
            releases.retain(|release| release.version != version);
            let (bundle, weight) = (*component.digest().as_bytes(), weight.unwrap_or(default));
            releases.push(Release { version, bundle, weight });
            Ok(())
        };
        self.order(component.service(), change, |followed| followed.hosted)
    }

    /// Whether this node could follow the routes of all that it hosts with this beside it.
    fn check_fits(&self, component: &Component) -> Result<(), HttpError> {
        let mut state = self.state.lock();
        let before = (state.components.clone(), state.kept.clone(), state.not_hosted.clone());
        let fits = state.try_take(component.clone(), Some(WHOLE));
        (state.components, state.kept, state.not_hosted) = before;
        let service = component.manifest().id.to_string();
        fits.map_err(|reason| HttpError::Component { service, reason })
    }

    /// Other shares. They hold before all that the log has is hosted.
    pub(super) fn order_weights(&self, service: &str, weights: &BTreeMap<String, u16>) -> Result<(), HttpError> {
        let change = |releases: &mut Vec<Release>| {
            for (version, weight) in weights {
                let unknown = unknown(service, version, releases);
                releases.iter_mut().find(|release| release.version == *version).ok_or(unknown)?.weight = *weight;
            }
            Ok(())
        };
        self.order(service, change, |followed| followed.shares)
    }

    /// Without a version.
    pub(super) fn order_removal(&self, service: &str, version: &str) -> Result<(), HttpError> {
        let change = |releases: &mut Vec<Release>| {
            let unknown = unknown(service, version, releases);
            let at = releases.iter().position(|release| release.version == version).ok_or(unknown)?;
            releases.remove(at);
            Ok(())
        };
        self.order(service, change, |followed| followed.hosted)
    }
}

/// The versions of a service, and the record that made them so; of one that the log does not have, those that nodes which
/// live run for themselves.
///
/// What a node hosts for the log and the log does not have any more was removed: the node has not followed that yet. What
/// it runs for itself may have been removed as well, if it has not followed the last change: that cannot be known, and the
/// change is refused.
fn releases(state: &State, said: &Said, service: &str) -> Result<(Position, Vec<Release>), HttpError> {
    if let Some(Deployment { at, releases }) = said.services.get(service) {
        return Ok((*at, releases.clone()));
    }
    let live = state.nodes.values().filter(|node| node.dial.is_up()).map(own);
    let live: Nodes = live.map(|node| (node.dial.node(), node)).collect();
    let has_it = |node: &Node| node.hosts.keys().any(|id| id.split('@').next() == Some(service));
    if let Some(behind) = live.values().find(|node| has_it(node) && node.followed < said.changed) {
        return Err(HttpError::Behind { service: service.to_owned(), node: behind.dial.node() });
    }
    let components = state.own();
    let versions = versions(&components, &live, &said.services);
    let known = versions.iter().filter(|version| version.service == service).map(|version| Release {
        version: version.manifest.id.version.to_string(),
        bundle: *version.bundle.as_bytes(),
        weight: version.weight,
    });
    Ok((Position(0), known.collect()))
}

/// What a node runs for itself.
fn own(node: &Node) -> Node {
    let own = node.hosts.iter().filter(|(_, there)| there.is_own());
    let hosts = own.map(|(id, there)| (id.clone(), there.clone())).collect();
    Node { dial: node.dial.clone(), hosts, followed: node.followed }
}

/// Whether a service may have these versions beside all others.
fn check(deployed: &Deployments, service: &str, releases: &[Release]) -> Result<(), HttpError> {
    if !releases.is_empty() && releases.iter().all(|release| release.weight == 0) {
        return Err(HttpError::NoWeight { service: service.to_owned() });
    }
    if releases.len() > MAX_RELEASES {
        return Err(HttpError::TooMany { service: service.to_owned(), versions: releases.len() });
    }
    let others =
        deployed.iter().filter(|(other, _)| *other != service).map(|(_, deployment)| deployment.releases.len());
    let versions = others.sum::<usize>() + releases.len();
    let before = deployed.get(service).map_or(0, |deployment| deployment.releases.len());
    if versions > MAX_HOSTED && releases.len() > before {
        return Err(HttpError::Full { versions });
    }
    Ok(())
}

fn unknown(service: &str, version: &str, releases: &[Release]) -> HttpError {
    let running: Vec<String> = releases.iter().map(|release| release.version.clone()).collect();
    HttpError::unknown(service, version, &running)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use refrain_service::Manifest;
    use refrain_wire::NodeId;

    use super::super::hearing::There;
    use super::super::hosted::{Condition, Hosted};
    use super::super::nodes::NodeDial;
    use super::*;

    fn release(version: &str, bundle: u8, weight: u16) -> Release {
        Release { version: version.into(), bundle: [bundle; 32], weight }
    }

    fn said(changed: u64, releases: &[Release]) -> Said {
        let deployment = Deployment { at: Position(changed), releases: releases.to_vec() };
        let services = releases.first().map(|_| ("tests/web".to_owned(), deployment)).into_iter().collect();
        Said { at: Position(changed), changed: Position(changed), services: Arc::new(services) }
    }

    /// Node 2, which lives, has followed the log to a change, and hosts a version: for itself, or for the log.
    fn state(followed: u64, in_log: u64) -> State {
        let manifest: Arc<str> = "name = \"web\"\nnamespace = \"tests\"\nversion = \"1.0.0\"\nmodule = \"web.wasm\"\n\
                                  kind = \"http\"\nmode = \"stateless\"\n"
            .into();
        let (condition, bundle) = (Condition::Ready, "01".repeat(32));
        let hosted = Hosted { bundle, weight: 7, requests: 1, condition, in_log, manifest: Arc::clone(&manifest) };
        let manifest = Arc::new(Manifest::parse(&manifest).unwrap());
        let there = There { bundle: hosted.bundle.parse().unwrap(), hosted, manifest };
        let node = Node {
            dial: Arc::new(NodeDial::living(NodeId(2))),
            hosts: [("tests/web@1.0.0".to_owned(), there)].into(),
            followed: Position(followed),
        };
        State { nodes: [(NodeId(2), node)].into(), ..State::default() }
    }

    #[test]
    fn a_first_deployment_takes_over_what_nodes_run_for_themselves() {
        let own = release("1.0.0", 1, 7);
        assert_eq!(releases(&state(0, 0), &said(0, &[]), "tests/web").unwrap(), (Position(0), vec![own.clone()]));
        assert_eq!(releases(&state(5, 0), &said(5, &[]), "tests/web").unwrap(), (Position(0), vec![own]));
        assert_eq!(releases(&state(0, 0), &said(0, &[]), "tests/other").unwrap(), (Position(0), Vec::new()));
        let logged = [release("2.0.0", 2, 1)];
        let changed = releases(&state(0, 0), &said(5, &logged), "tests/web").unwrap();
        assert_eq!(changed, (Position(5), logged.to_vec()), "what the log has counts alone");
    }

    #[test]
    fn a_first_deployment_after_a_removal_takes_over_nothing_that_was_removed() {
        let removed = said(9, &[]);
        let known = releases(&state(5, 5), &removed, "tests/web").unwrap();
        assert_eq!(known, (Position(0), Vec::new()), "node 2 hosts it for the log and has not followed the removal");
        let error = releases(&state(5, 0), &removed, "tests/web").unwrap_err();
        let words = "node 2 runs versions of tests/web for itself and has not followed the log yet: try again";
        assert_eq!(error.to_string(), words);
        assert_eq!(releases(&state(5, 0), &removed, "tests/other").unwrap(), (Position(0), Vec::new()));
    }

    #[test]
    fn so_many_versions_are_deployed_and_not_one_more() {
        let others: Deployments = (0..MAX_HOSTED / MAX_RELEASES)
            .map(|n| {
                let releases = (0..MAX_RELEASES).map(|n| release(&format!("{n}.0.0"), 1, 1)).collect();
                (format!("a/n{n}"), Deployment { at: Position(1), releases })
            })
            .collect();
        let mut fewer = others.clone();
        fewer.get_mut("a/n0").unwrap().releases.pop();
        check(&fewer, "a/new", &[release("1.0.0", 1, 1)]).unwrap();
        let error = check(&others, "a/new", &[release("1.0.0", 1, 1)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there would be 4097 versions of all services, at most 4096 are possible: remove one first"
        );
        check(&others, "a/n0", &others["a/n0"].releases[1..]).unwrap();
        let many: Vec<Release> = (0..=MAX_RELEASES).map(|n| release(&format!("{n}.0.0"), 1, 1)).collect();
        check(&Deployments::new(), "a/new", &many[1..]).unwrap();
        assert!(matches!(check(&Deployments::new(), "a/new", &many), Err(HttpError::TooMany { versions: 17, .. })));
    }
}
