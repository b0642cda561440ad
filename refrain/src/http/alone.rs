//! What a node without others does: it says itself which stateless services run on it, and remembers them in a file.

use std::collections::BTreeMap;

use super::component::Component;
use super::state::{State, is_same_service};
use super::{Http, HttpError, WHOLE, deployments};

impl Http {
    /// A version beside the others, or instead of the one of its number.
    pub(super) fn take(&self, component: Component, weight: Option<u16>) -> Result<(), HttpError> {
        self.change(|state| {
            let id = component.manifest().id.clone();
            let former = state.find(&id).map(Component::weight);
            let is_first = !state.components.iter().any(|other| is_same_service(&other.manifest().id, &id));
            let default = former.unwrap_or(if is_first { WHOLE } else { 0 });
            let taken = state.try_take(component, Some(weight.unwrap_or(default)));
            taken.map_err(|reason| HttpError::Component { service: id.to_string(), reason })?;
            check_weights(state, &format!("{}/{}", id.namespace, id.name))
        })
    }

    /// Other shares.
    pub(super) fn set_weights(&self, service: &str, weights: &BTreeMap<String, u16>) -> Result<(), HttpError> {
        self.change(|state| {
            for (version, weight) in weights {
                let unknown = state.unknown(service, version);
                state.find_version(service, version).ok_or(unknown)?.set_weight(*weight);
            }
            check_weights(state, service)
        })
    }

    /// Without a version.
    pub(super) fn drop_version(&self, service: &str, version: &str) -> Result<(), HttpError> {
        self.change(|state| {
            let unknown = state.unknown(service, version);
            let id = format!("{service}@{version}");
            let known = state.kept.len() + state.components.len();
            state.kept.retain(|kept| kept.service != id);
            state.components.retain(|component| !component.is_version(service, version));
            state.not_hosted.remove(&id);
            if state.kept.len() + state.components.len() == known {
                return Err(unknown);
            }
            if state.of(service).count() == 0 { Ok(()) } else { check_weights(state, service) }
        })
    }

    /// Changes what runs, follows it and remembers it; as before when any of that fails.
    fn change(&self, change: impl FnOnce(&mut State) -> Result<(), HttpError>) -> Result<(), HttpError> {
        let mut state = self.state.lock();
        let before = (state.components.clone(), state.kept.clone(), state.not_hosted.clone());
        let left_out = state.left_out.clone();
        let changed = change(&mut state).and_then(|()| {
            self.follow_plan(&mut state)?;
            let newly = state.left_out.iter().find(|(service, _)| !left_out.contains_key(*service));
            if let Some((service, reason)) = newly {
                return Err(HttpError::Component { service: service.clone(), reason: reason.clone() });
            }
            Ok(deployments::write(&self.data_dir, &state.deployments())?)
        });
        if changed.is_err() {
            (state.components, state.kept, state.not_hosted) = before;
            if state.front.is_some() && self.follow_plan(&mut state).is_err() {
                tracing::error!("the routes of before cannot be followed any more");
            }
        }
        changed
    }
}

fn check_weights(state: &State, service: &str) -> Result<(), HttpError> {
    if state.of(service).all(|component| component.weight() == 0) {
        return Err(HttpError::NoWeight { service: service.to_owned() });
    }
    Ok(())
}
