//! When other nodes are told what is hosted here, and when a plan that could not be followed is tried again.
//!
//! Who changes what is hosted has it told at once. What changes by itself is whether a component is well: the front end
//! says when, and a slow look besides costs little and needs no proof that nobody forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use refrain_front::{Front, ReleaseMetrics};

use super::component::Component;
use super::hosted::{Condition, Everything, Hosted};
use super::state::State;
use super::{Http, Shared, versions};

/// Between two looks when nothing is said to have changed.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// After a plan could not be followed it is tried again, for the first time and at the longest.
const AGAIN: Duration = Duration::from_secs(1);
const MAX_AGAIN: Duration = Duration::from_secs(60);

/// Ends with the front end.
pub(super) async fn run(http: Shared) {
    let Some(mut health) = http.health() else { return };
    let mut again = AGAIN;
    loop {
        let is_stale = http.tell();
        let look = if is_stale { again } else { HEARTBEAT };
        again = if is_stale { (again * 2).min(MAX_AGAIN) } else { AGAIN };
        tokio::select! {
            changed = health.changed() => if changed.is_err() { return },
            () = http.stale.notified(), if !is_stale => {}
            () = tokio::time::sleep(look) => {}
        }
    }
}

impl Http {
    /// Tells other nodes what is hosted here, if that has changed; says whether the plan in force is an old one.
    fn tell(&self) -> bool {
        let mut state = self.state.lock();
        if state.has_stale_plan {
            self.follow_or_warn(&mut state);
        } else {
            self.tell_state(&state);
        }
        state.has_stale_plan && !state.is_ending
    }

    pub(super) fn tell_state(&self, state: &State) {
        if self.cluster.is_none() {
            return;
        }
        let services = hosted(state);
        let now = Everything { services, followed: state.said.changed, is_last: state.is_ending };
        self.everything.send_if_modified(|known| {
            let is_new = **known != now;
            if is_new {
                *known = Arc::new(now);
            }
            is_new
        });
    }
}

fn hosted(state: &State) -> BTreeMap<String, Hosted> {
    let metrics = state.front.as_ref().map(Front::metrics);
    let releases = metrics.iter().flat_map(|metrics| &metrics.releases);
    let ready: BTreeSet<_> =
        releases.filter(|release| is_ready_here(release)).map(|of| (of.service.as_str(), &of.version)).collect();
    let of = |component: &Component| Hosted {
        bundle: component.digest().to_string(),
        weight: component.weight(),
        requests: component.requests_at_once(),
        condition: match ready.contains(&(component.service(), component.manifest().id.version.as_semver())) {
            _ if state.is_ending => Condition::Draining,
            true => Condition::Ready,
            false => Condition::Waiting,
        },
        in_log: component.in_log().0,
        manifest: component.manifest_text(),
    };
    state.components.iter().map(|component| (component.manifest().id.to_string(), of(component))).collect()
}

fn is_ready_here(release: &ReleaseMetrics) -> bool {
    release.upstreams.iter().any(|upstream| upstream.name == versions::HERE && upstream.is_ready)
}
