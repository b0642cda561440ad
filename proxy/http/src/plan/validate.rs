//! The check of a plan as a whole: every fault is named at once.

use std::collections::BTreeSet;
use std::fmt;

use http::Uri;

use super::{
    MAX_CERTIFICATES, MAX_RELEASES, MAX_ROUTES, MAX_SERVICES, MAX_TARGETS, MAX_TRUSTED, MAX_UPSTREAMS, Plan, Release,
    Route, Service,
};

/// A plan that cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("the plan has {} faults: {}", .0.len(), Lines(.0))]
pub struct PlanError(pub Vec<PlanFault>);

/// One thing that is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanFault {
    /// More of something than is taken.
    #[error("{what} has {count} {things}, the limit is {limit}")]
    TooMany {
        /// Who has them.
        what: String,
        /// What they are.
        things: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A name used twice.
    #[error("{0} is there twice")]
    Twice(String),
    /// A name that is not a service's.
    #[error("service name \"{0}\" is not namespace/name in lower-case letters, digits and hyphens")]
    Name(String),
    /// A target that leads nowhere.
    #[error("route {route} leads to {target}, which the plan does not have")]
    Nowhere {
        /// The route.
        route: String,
        /// Its target.
        target: String,
    },
    /// A route without a target of any weight.
    #[error("route {0} has no target with a weight above 0")]
    NoWeight(String),
    /// A number outside its bounds.
    #[error("{what}: {value} is not from {min} to {max}")]
    Bound {
        /// What it is.
        what: String,
        /// The number.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A path that is none.
    #[error("{what}: \"{path}\" is not a path")]
    Path {
        /// What it is for.
        what: String,
        /// The path.
        path: String,
    },
}

struct Lines<'a>(&'a [PlanFault]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl Plan {
    /// Checks everything that can be told without opening a file or a socket.
    ///
    /// # Errors
    /// All faults.
    pub fn validate(&self) -> Result<(), PlanError> {
        let mut faults = Faults(Vec::new());
        faults.count("the plan", "routes", self.routes.len(), MAX_ROUTES);
        faults.count("the plan", "services", self.services.len(), MAX_SERVICES);
        faults.count("the plan", "certificates", self.certificates.len(), MAX_CERTIFICATES);
        faults.count("the plan", "trusted ranges", self.trusted.len(), MAX_TRUSTED);
        faults.unique(self.services.iter().map(|service| format!("service {}", service.name)));
        self.services.iter().for_each(|service| faults.service(service));
        self.routes.iter().for_each(|route| faults.route(route, &self.services));
        if let Some(rate) = self.client.rate {
            faults.bound("the rate of a client", rate.per_second.into(), 1, 1_000_000);
            faults.bound("the burst of a client", rate.burst.into(), 1, 1_000_000);
        }
        if faults.0.is_empty() { Ok(()) } else { Err(PlanError(faults.0)) }
    }
}

struct Faults(Vec<PlanFault>);

impl Faults {
    fn count(&mut self, what: &str, things: &'static str, count: usize, limit: usize) {
        if count > limit {
            self.0.push(PlanFault::TooMany { what: what.to_owned(), things, count, limit });
        }
    }

    fn unique(&mut self, names: impl Iterator<Item = String>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name.clone()) {
                self.0.push(PlanFault::Twice(name));
            }
        }
    }

    fn bound(&mut self, what: &str, value: u64, min: u64, max: u64) {
        if !(min..=max).contains(&value) {
            self.0.push(PlanFault::Bound { what: what.to_owned(), value, min, max });
        }
    }

    fn path(&mut self, what: String, path: &str) {
        let is_normal = path.starts_with('/') && crate::edge::normal_path(path).is_ok_and(|normal| normal == path);
        // Some bytes that no escape stands for are none of a target either.
        if !is_normal || path.parse::<Uri>().is_err() || path.contains(['?', '#']) {
            self.0.push(PlanFault::Path { what, path: path.to_owned() });
        }
    }

    fn service(&mut self, service: &Service) {
        let name = &service.name;
        if !is_service_name(name) {
            self.0.push(PlanFault::Name(name.clone()));
        }
        self.count(&format!("service {name}"), "releases", service.releases.len(), MAX_RELEASES);
        self.unique(service.releases.iter().map(|release| format!("release {name}@{}", release.version)));
        for release in &service.releases {
            self.release(&format!("release {name}@{}", release.version), release);
        }
    }

    fn release(&mut self, what: &str, release: &Release) {
        self.count(what, "upstreams", release.upstreams.len(), MAX_UPSTREAMS);
        self.unique(release.upstreams.iter().map(|upstream| format!("upstream {} of {what}", upstream.name)));
        self.bound(&format!("attempts of {what}"), release.limits.attempts.into(), 1, 8);
        self.bound(&format!("requests of {what}"), release.limits.requests.into(), 1, 1 << 24);
        if let Some(requests) = release.limits.client_requests {
            self.bound(&format!("requests of a client of {what}"), requests.into(), 1, 1 << 24);
        }
        for upstream in &release.upstreams {
            self.bound(
                &format!("requests of upstream {} of {what}", upstream.name),
                upstream.requests.into(),
                1,
                1 << 24,
            );
            let most = u64::from(upstream.requests.saturating_sub(1));
            self.bound(&format!("queue of upstream {} of {what}", upstream.name), upstream.queue.into(), 0, most);
        }
        if let Some(health) = &release.health {
            self.path(format!("health of {what}"), &health.path);
            let interval = u64::try_from(health.interval.as_millis()).unwrap_or(u64::MAX);
            self.bound(&format!("milliseconds between health questions of {what}"), interval, 100, 3_600_000);
        }
    }

    fn route(&mut self, route: &Route, services: &[Service]) {
        let name = format!("{}{}", route.host, route.path);
        self.count(&format!("route {name}"), "targets", route.targets.len(), MAX_TARGETS);
        if route.targets.iter().all(|target| target.weight == 0) {
            self.0.push(PlanFault::NoWeight(name.clone()));
        }
        for target in &route.targets {
            if let Some(path) = &target.rewrite {
                self.path(format!("rewrite of route {name}"), path);
            }
            let service = services.iter().find(|service| service.name == target.service);
            let is_there = service.is_some_and(|service| match &target.version {
                Some(version) => service.releases.iter().any(|release| release.version == *version),
                None => true,
            });
            if !is_there {
                let version = target.version.as_ref().map_or(String::new(), |version| format!("@{version}"));
                let target = format!("{}{version}", target.service);
                self.0.push(PlanFault::Nowhere { route: name.clone(), target });
            }
        }
    }
}

/// `namespace/name`, each a letter and up to 62 more letters, digits and hyphens.
fn is_service_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.as_bytes()[0].is_ascii_lowercase()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.split_once('/').is_some_and(|(namespace, name)| is_label(namespace) && is_label(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Health, ReleaseLimits};

    fn plan_with(health: &str, rewrite: &str) -> Plan {
        let health = Some(Health { path: health.into(), ..Health::default() });
        let version = "1.0.0".parse().unwrap();
        let release = Release { version, upstreams: Vec::new(), limits: ReleaseLimits::default(), health };
        let service = Service { name: "a/b".into(), releases: vec![release] };
        let mut route = Route::to("/x/...", "a/b").unwrap();
        route.targets[0].rewrite = Some(rewrite.into());
        Plan { routes: vec![route], services: vec![service], ..Plan::default() }
    }

    #[test]
    fn a_path_that_no_target_can_have_is_a_fault() {
        assert!(plan_with("/__health", "/a%20b/").validate().is_ok());
        for path in ["", "a", "/<", "/>", "/`", "/a b", "/a?b", "/a#b", "/a/../b", "/%61", "/%", "/\u{1}", "/\u{7f}"] {
            for plan in [plan_with(path, "/"), plan_with("/", path)] {
                let faults = plan.validate().unwrap_err().0;
                assert!(matches!(&faults[..], [PlanFault::Path { path: told, .. }] if told == path), "{faults:?}");
            }
        }
    }

    #[test]
    fn as_many_routes_as_the_limit_are_taken_and_not_one_more() {
        let mut plan = plan_with("/", "/");
        plan.routes = vec![plan.routes[0].clone(); MAX_ROUTES];
        assert!(plan.validate().is_ok());
        plan.routes.push(plan.routes[0].clone());
        let told = plan.validate().unwrap_err().to_string();
        assert!(told.contains("4097 routes, the limit is 4096"), "{told}");
    }

    #[test]
    fn as_many_certificates_and_trusted_ranges_as_the_limit_are_taken_and_not_one_more() {
        let files = crate::tls::CertificateFiles { certificate: "c".into(), key: "k".into() };
        let mut plan = plan_with("/", "/");
        plan.certificates = vec![files; MAX_CERTIFICATES];
        plan.trusted = vec!["10.0.0.0/8".parse().unwrap(); MAX_TRUSTED];
        assert!(plan.validate().is_ok());
        plan.certificates.push(plan.certificates[0].clone());
        plan.trusted.push(plan.trusted[0]);
        let told = plan.validate().unwrap_err().to_string();
        assert!(told.contains("4097 certificates, the limit is 4096"), "{told}");
        assert!(told.contains("257 trusted ranges, the limit is 256"), "{told}");
    }
}
