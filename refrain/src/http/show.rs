//! Everything about one stateless service, for `rctl service show`.

use refrain_api::{HttpDetail, HttpServiceStatus, HttpStatus, HttpVersionDetail, LimitStatus};
use refrain_service::Manifest;

use super::Http;

impl Http {
    /// Describes a stateless service, one that cannot be served here too; none when it is not known.
    pub(crate) fn detail(&self, service: &str) -> Option<HttpDetail> {
        let HttpStatus { listens, services, mut problems, .. } = self.status()?;
        problems.retain(|problem| problem.service.split('@').next() == Some(service));
        let state = self.state.lock();
        let known = state.known();
        let manifests = known.versions();
        let described = |status: HttpServiceStatus| {
            let is_it = |manifest: &&Manifest| manifest.id.version.to_string() == status.version;
            let mut of_service = manifests.iter().filter(|version| version.service == service);
            // One that ended meanwhile.
            let manifest = of_service.find_map(|version| Some(version.manifest).filter(is_it))?;
            Some(HttpVersionDetail {
                health: manifest.http.health.clone(),
                outgoing: manifest.http.outgoing.clone(),
                limits: limits(manifest, status.instances),
                status,
            })
        };
        let of_service = services.into_iter().filter(|status| status.stateless && status.service == service);
        let versions: Vec<HttpVersionDetail> = of_service.filter_map(described).collect();
        let is_known = !versions.is_empty() || !problems.is_empty();
        let (node, service) = (self.node.0, service.to_owned());
        is_known.then_some(HttpDetail { node, service, listens, versions, problems })
    }
}

/// What holds for a stateless service of `[limits]`, and `[http]`, in the order of the manifest.
fn limits(manifest: &Manifest, instances: Option<u64>) -> Vec<LimitStatus> {
    let (limits, http) = (&manifest.limits, &manifest.http);
    let count = |number: u32| Some(u64::from(number));
    let millis = |time: std::time::Duration| Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let all = [
        ("memory", "bytes", Some(limits.memory.get()), None),
        ("tables", "count", count(limits.tables), None),
        ("outward", "count", count(limits.outward), None),
        ("http.instances", "count", count(http.instances), instances),
        ("http.concurrency", "count", count(http.concurrency), None),
        ("http.queue", "count", count(http.queue), None),
        ("http.queue_wait", "milliseconds", millis(http.queue_wait), None),
        ("http.reuse", "count", count(http.reuse.1), None),
        ("http.deadline", "milliseconds", millis(http.deadline), None),
        ("http.lifetime", "milliseconds", millis(http.lifetime), None),
        ("http.cpu", "milliseconds", http.cpu.and_then(millis), None),
        ("http.request_body", "bytes", Some(http.request_body.get()), None),
        ("http.response_body", "bytes", Some(http.response_body.get()), None),
    ];
    all.into_iter().map(LimitStatus::from).collect()
}
