//! What a node has at its start: what it is given, and what was deployed before.

use std::sync::Arc;

use refrain_service::{Bundle, Manifest};
use refrain_wire::Position;

use super::component::Component;
use super::deployments::{self, Deployment};
use super::state::State;
use super::{Http, HttpError, routes};

impl Http {
    /// Loads the stateless services that were given, and those that were deployed before; `replicated` are the manifests
    /// of the others. Tells those that cannot run, and why.
    ///
    /// # Errors
    /// When there are no threads for components, or the list of what is deployed cannot be read or written.
    pub fn load(
        &self,
        given: Vec<Bundle>,
        replicated: impl Iterator<Item = Manifest>,
    ) -> Result<Vec<(String, String)>, HttpError> {
        let mut refused = Vec::new();
        for manifest in replicated.filter(|manifest| !manifest.routes.is_empty()) {
            if let Err((name, fault)) = self.state.lock().try_route(manifest) {
                refused.push((name, fault));
            }
        }
        let before = deployments::read(&self.data_dir)?;
        let find = |service: &str| before.iter().find(|one| one.service == service);
        let is_given = |one: &Deployment| given.iter().any(|bundle| bundle.manifest.id.to_string() == one.service);
        let mut not_hosted = Vec::new();
        let mut all = Vec::new();
        for deployment in before.iter().filter(|one| !is_given(one)) {
            match deployment.open(&self.data_dir) {
                Ok(bundle) => all.push(bundle),
                Err(reason) => not_hosted.push((deployment.service.clone(), reason)),
            }
        }
        all.extend(given);
        for bundle in all {
            let service = bundle.manifest.id.to_string();
            let taken = self.load_one(&bundle, find(&service))?;
            not_hosted.extend(taken.err().map(|reason| (service, reason)));
        }
        let mut state = self.state.lock();
        for (service, reason) in &not_hosted {
            state.kept.extend(find(service).cloned());
            state.not_hosted.insert(service.clone(), reason.clone());
        }
        state.weigh_unweighed();
        if before != state.deployments() {
            deployments::write(&self.data_dir, &state.deployments())?;
        }
        refused.extend(not_hosted);
        Ok(refused)
    }

    /// Loads a bundle, with what was known of its version before; why it cannot run, in words, if it cannot.
    fn load_one(&self, bundle: &Bundle, before: Option<&Deployment>) -> Result<Result<(), String>, HttpError> {
        let host = self.host()?;
        // Another bundle under the version's number is another program: the log did not say that this one is deployed.
        let same = before.filter(|before| before.bundle == bundle.digest.to_string());
        Ok(Component::load(&host, bundle).and_then(|mut component| {
            component.set_in_log(Position(same.map_or(0, |same| same.in_log)));
            self.state.lock().try_take(component, before.map(|before| before.weight))
        }))
    }
}

impl State {
    /// Takes in the routes of a replicated service, if they can be followed; else its name and why not, in words.
    fn try_route(&mut self, manifest: Manifest) -> Result<(), (String, String)> {
        let name = routes::service(&manifest);
        let title = format!("{} over HTTP", manifest.id);
        if let Some(reason) = routes::faults(&manifest) {
            return Err((title, reason));
        }
        self.routed.push(Arc::new(manifest));
        match routes::plan(&self.known()).left_out.remove(&name) {
            None => Ok(()),
            Some(fault) => {
                self.routed.pop();
                Err((title, fault))
            }
        }
    }
}
