//! What is told of HTTP: to operators by the admin API and in the lines of the start.

use std::collections::BTreeMap;

use refrain_api::{GuestLines, HttpProblem, HttpServiceStatus, HttpStatus, HttpUpstreamState, HttpUpstreamStatus};
use refrain_front::{Front, ListenAt, ReleaseMetrics, UpstreamMetrics};
use refrain_service::{Manifest, ServiceId};

use super::component::Component;
use super::hosted::Condition;
use super::state::State;
use super::{Http, routes, versions};

impl Http {
    /// What is served now; nothing when nothing is.
    #[must_use]
    pub fn status(&self) -> Option<HttpStatus> {
        let state = self.state.lock();
        let front = state.front.as_ref()?;
        let metrics = front.metrics();
        let by_release: ByRelease = (metrics.releases.into_iter())
            .map(|release| ((release.service.clone(), release.version.to_string()), release))
            .collect();
        let known = state.known();
        let versions = known.versions();
        let problems = problems(&state);
        if !state.listens && versions.is_empty() && problems.is_empty() {
            return None;
        }
        let stateless = versions.iter().map(|version| self.version_status(&state, version, &by_release));
        let routed = state.routed.iter().flat_map(|manifest| routed_status(manifest, &by_release));
        let (code_cached, code_compiled) = self.host.lock().as_ref().map_or((0, 0), |host| host.cache_counts());
        Some(HttpStatus {
            listens: self.urls(front),
            connections: metrics.connections,
            refused: metrics.refused,
            turned_away: metrics.turned_away,
            faults: metrics.faults.into_iter().map(|(code, count)| (code.to_owned(), count)).collect(),
            services: stateless.chain(routed).collect(),
            problems,
            code_cached,
            code_compiled,
        })
    }

    /// The newest lines of what runs here of a stateless service, or those after the one of number `after`; none when
    /// it is no stateless service that is known.
    pub(crate) fn guest_lines(&self, service: &str, after: Option<u64>, count: usize) -> Option<GuestLines> {
        let state = self.state.lock();
        let known = state.known();
        let versions = known.versions();
        let is_known = versions.iter().any(|version| version.service == service);
        is_known.then(|| self.lines.lock().read(service, after, count, self.node.0))
    }

    /// What is served and where, in lines for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let state = self.state.lock();
        let Some(front) = &state.front else { return Vec::new() };
        let urls = self.urls(front);
        manifests(&state).map(|manifest| line(manifest, &urls)).collect()
    }

    fn urls(&self, front: &Front) -> Vec<String> {
        let addresses = front.addresses();
        let plain = addresses.len() - self.config.https.len();
        let url = |(nth, at): (usize, &ListenAt)| {
            let scheme = if nth < plain { "http" } else { "https" };
            match at {
                ListenAt::Tcp(address) => format!("{scheme}://{address}"),
                ListenAt::Unix(path) => format!("{scheme}+unix:{}", path.display()),
            }
        };
        addresses.iter().enumerate().map(url).collect()
    }
}

/// What cannot run here, and what the front end does without.
fn problems(state: &State) -> Vec<HttpProblem> {
    let all = state.left_out.iter().chain(&state.shadowed).chain(&state.not_hosted).chain(&state.unroutable);
    all.map(|(service, reason)| HttpProblem { service: service.clone(), reason: reason.clone() }).collect()
}

fn manifests(state: &State) -> impl Iterator<Item = &Manifest> {
    state.components.iter().map(Component::manifest).chain(state.routed.iter().map(AsRef::as_ref))
}

/// Where a service is found.
fn line(manifest: &Manifest, urls: &[String]) -> String {
    let kind = if manifest.mode == refrain_service::Mode::Stateless { "http, stateless" } else { "http" };
    if manifest.routes.is_empty() {
        return format!("not serving {} ({kind}): its manifest has no [[routes]]", manifest.id);
    }
    let base = urls.first().map_or("nowhere", String::as_str);
    let at = |route: &refrain_service::Route| match route.host.as_str() {
        "*" => format!("{base}{}", route.path),
        host => format!("{base}{} (host {host})", route.path),
    };
    let all: Vec<String> = manifest.routes.iter().map(at).collect();
    format!("serving {} ({kind}) on {}", manifest.id, all.join(", "))
}

/// By service and version.
type ByRelease = BTreeMap<(String, String), ReleaseMetrics>;

impl Http {
    /// A version of a stateless service, wherever it runs.
    fn version_status(
        &self,
        state: &State,
        version: &versions::Version<'_>,
        by_release: &ByRelease,
    ) -> HttpServiceStatus {
        let manifest = version.manifest;
        let component = state.find(&manifest.id).filter(|component| component.digest() == version.bundle);
        let counted = component.map(Component::counted);
        let number = manifest.id.version.to_string();
        let release = by_release.get(&(version.service.clone(), number.clone()));
        let upstreams = release.into_iter().flat_map(|release| &release.upstreams);
        HttpServiceStatus {
            stateless: true,
            bundle: Some(version.bundle.to_string()),
            weight: version.weight,
            routes: manifest.routes.iter().map(|route| format!("{}{}", route.host, route.path)).collect(),
            instances: counted.map(|counted| counted.instances.saturating_sub(counted.dropped)),
            trapped: counted.map_or(0, |counted| counted.trapped),
            upstreams: upstreams.map(|upstream| self.upstream_status(state, &manifest.id, upstream)).collect(),
            ..of_release(&version.service, &number, by_release)
        }
    }

    fn upstream_status(&self, state: &State, id: &ServiceId, upstream: &UpstreamMetrics) -> HttpUpstreamStatus {
        let mut elsewhere = state.nodes.iter().filter(|(node, _)| versions::node_name(**node) == upstream.name);
        let elsewhere = elsewhere.next();
        let condition =
            elsewhere.and_then(|(_, node)| node.hosts.get(&id.to_string())).map(|there| there.hosted.condition);
        let state = match (condition, upstream.is_ready) {
            (Some(Condition::Draining), _) => HttpUpstreamState::Draining,
            (Some(_), false) => HttpUpstreamState::Down,
            (Some(Condition::Waiting), true) | (None, false) => HttpUpstreamState::Waiting,
            _ if upstream.is_ejected => HttpUpstreamState::Ejected,
            _ => HttpUpstreamState::Ready,
        };
        HttpUpstreamStatus {
            node: elsewhere.map_or(self.node, |(node, _)| *node).0,
            state,
            in_flight: upstream.outstanding,
            requests: upstream.requests,
            failures: upstream.failures,
        }
    }
}

fn routed_status<'a>(
    manifest: &'a Manifest,
    by_release: &'a ByRelease,
) -> impl Iterator<Item = HttpServiceStatus> + 'a {
    routes::ports(manifest).into_iter().map(move |port| {
        let routes = manifest.routes.iter().filter(|route| route.port.as_ref() == Some(port));
        HttpServiceStatus {
            routes: routes.map(|route| format!("{}{}", route.host, route.path)).collect(),
            weight: super::WHOLE,
            ..of_release(&routes::of_port(manifest, port), &manifest.id.version.to_string(), by_release)
        }
    })
}

fn of_release(service: &str, version: &str, by_release: &ByRelease) -> HttpServiceStatus {
    let release = by_release.get(&(service.to_owned(), version.to_owned()));
    HttpServiceStatus {
        service: service.to_owned(),
        version: version.to_owned(),
        stateless: false,
        bundle: None,
        weight: 0,
        routes: Vec::new(),
        in_flight: release.map_or(0, |release| release.in_flight),
        answers: release.map_or([0; 5], |release| release.answers),
        instances: None,
        trapped: 0,
        for_others: release.map_or(0, |release| release.inner),
        upstreams: Vec::new(),
    }
}
