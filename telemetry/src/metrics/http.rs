//! What a node's front end and its stateless services count, as it is asked for: their numbers are kept by themselves.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use refrain_api::{HttpStatus, HttpUpstreamState};

/// A version of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    service: String,
    version: String,
}

/// What cannot be served: a service, or a version of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Problem {
    service: String,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

/// A version of a service, and the first digit of statuses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    service: String,
    version: String,
    status: &'static str,
}

/// One that answers requests for a version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Upstream {
    service: String,
    version: String,
    node: u64,
}

/// The same, and how it may be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    service: String,
    version: String,
    node: u64,
    state: &'static str,
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// All of it in the text format of [`crate::metrics::Metrics::exposition`].
#[must_use]
pub fn http_exposition(status: &HttpStatus) -> String {
    let mut registry = Registry::with_prefix("refrain_http");
    let connections: Gauge = Gauge::default();
    connections.set(i64::from(status.connections));
    registry.register("connections", "Connections of clients that are open", connections);
    let mut counter = |name: &str, help: &str, value: u64| {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    counter("refused", "Requests answered before it was known whom they concern", status.refused);
    counter("connections_refused", "Connections closed because of a limit", status.turned_away);
    counter("code_cached", "Components whose code came from the cache", status.code_cached);
    counter("code_compiled", "Components that were compiled", status.code_compiled);
    let faults = Family::<Code, Counter>::default();
    for (code, count) in &status.faults {
        faults.get_or_create(&Code { code: code.clone() }).inc_by(*count);
    }
    registry.register("faults", "What went wrong, by the code that the access log has", faults);
    let problems = Family::<Problem, Gauge>::default();
    for problem in &status.problems {
        problems.get_or_create(&Problem { service: problem.service.clone() }).set(1);
    }
    registry.register("problem", "1 for what cannot be served here; rctl status says why", problems);
    let (answers, in_flight) = (Family::<Class, Counter>::default(), Family::<Version, Gauge>::default());
    let (instances, trapped) = (Family::<Version, Gauge>::default(), Family::<Version, Counter>::default());
    let for_others = Family::<Version, Counter>::default();
    let (given, failed) = (Family::<Upstream, Counter>::default(), Family::<Upstream, Counter>::default());
    let (outstanding, states) = (Family::<Upstream, Gauge>::default(), Family::<State, Gauge>::default());
    for service in &status.services {
        let of = || Version { service: service.service.clone(), version: service.version.clone() };
        for (status, count) in CLASSES.into_iter().zip(service.answers) {
            let Version { service, version } = of();
            answers.get_or_create(&Class { service, version, status }).inc_by(count);
        }
        in_flight.get_or_create(&of()).set(i64::from(service.in_flight));
        if let Some(alive) = service.instances {
            instances.get_or_create(&of()).set(i64::try_from(alive).unwrap_or(i64::MAX));
            trapped.get_or_create(&of()).inc_by(service.trapped);
            for_others.get_or_create(&of()).inc_by(service.for_others);
        }
        for upstream in &service.upstreams {
            let (Version { service, version }, node) = (of(), upstream.node);
            let labels = Upstream { service, version, node };
            given.get_or_create(&labels).inc_by(upstream.requests);
            failed.get_or_create(&labels).inc_by(upstream.failures);
            outstanding.get_or_create(&labels).set(i64::from(upstream.in_flight));
            for state in HttpUpstreamState::ALL {
                let (Version { service, version }, is_so) = (of(), state == upstream.state);
                states.get_or_create(&State { service, version, node, state: state.word() }).set(i64::from(is_so));
            }
        }
    }
    registry.register("answers", "Answers by the first digit of their status", answers);
    registry.register("in_flight", "Requests under way", in_flight);
    registry.register("instances", "Instances of a stateless service that are alive", instances);
    registry.register("trapped", "Calls of a stateless service's guests that trapped", trapped);
    registry.register("for_others", "Requests of other nodes' clients that were answered here", for_others);
    registry.register("upstream_requests", "Requests that a node was given", given);
    registry.register("upstream_failures", "Requests that a node did not answer", failed);
    registry.register("upstream_in_flight", "Requests under way at a node", outstanding);
    registry.register("upstream_state", "1 for how a node is to a version, 0 for how it may be else", states);
    let mut text = String::new();
    let written = prometheus_client::encoding::prometheus_text::encode(&mut text, &registry);
    written.expect("a string takes everything");
    text
}

#[cfg(test)]
pub(super) mod tests {
    use refrain_api::{HttpProblem, HttpServiceStatus, HttpUpstreamStatus};

    use super::*;

    /// A component that has answered.
    pub(in crate::metrics) fn example() -> HttpStatus {
        let service = HttpServiceStatus {
            service: "a/b".into(),
            version: "1.0.0".into(),
            stateless: true,
            bundle: None,
            weight: 100,
            routes: Vec::new(),
            in_flight: 3,
            answers: [0, 7, 0, 1, 2],
            instances: Some(4),
            trapped: 2,
            for_others: 6,
            upstreams: vec![HttpUpstreamStatus {
                node: 3,
                state: HttpUpstreamState::Ejected,
                in_flight: 1,
                requests: 9,
                failures: 5,
            }],
        };
        let problems = vec![HttpProblem { service: "a/c@1.0.0".into(), reason: "no node gave its bundle".into() }];
        let faults = [("head-slow".to_owned(), 4)].into();
        let (services, turned_away) = (vec![service], 3);
        HttpStatus { connections: 5, code_cached: 1, services, problems, faults, turned_away, ..HttpStatus::default() }
    }

    #[test]
    fn every_version_has_its_numbers() {
        let text = http_exposition(&example());
        for line in [
            "refrain_http_connections 5",
            "refrain_http_code_cached_total 1",
            "refrain_http_connections_refused_total 3",
            "refrain_http_faults_total{code=\"head-slow\"} 4",
            "refrain_http_problem{service=\"a/c@1.0.0\"} 1",
            "refrain_http_answers_total{service=\"a/b\",version=\"1.0.0\",status=\"2xx\"} 7",
            "refrain_http_in_flight{service=\"a/b\",version=\"1.0.0\"} 3",
            "refrain_http_instances{service=\"a/b\",version=\"1.0.0\"} 4",
            "refrain_http_trapped_total{service=\"a/b\",version=\"1.0.0\"} 2",
            "refrain_http_for_others_total{service=\"a/b\",version=\"1.0.0\"} 6",
            "refrain_http_upstream_requests_total{service=\"a/b\",version=\"1.0.0\",node=\"3\"} 9",
            "refrain_http_upstream_failures_total{service=\"a/b\",version=\"1.0.0\",node=\"3\"} 5",
            "refrain_http_upstream_in_flight{service=\"a/b\",version=\"1.0.0\",node=\"3\"} 1",
            "refrain_http_upstream_state{service=\"a/b\",version=\"1.0.0\",node=\"3\",state=\"ejected\"} 1",
            "refrain_http_upstream_state{service=\"a/b\",version=\"1.0.0\",node=\"3\",state=\"ready\"} 0",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }
}
