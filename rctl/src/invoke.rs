//! `rctl service invoke`: one request to a service through the node's front end.

use std::collections::BTreeSet;
use std::io::Read as _;

use refrain_api::{HttpServiceStatus, ServiceStatus, Status};
use serde::Serialize;
use ureq::Agent;
use ureq::http::{Request, Uri};

use crate::args::Invocation;
use crate::client::Client;
use crate::error::RctlError;
use crate::output::Output;
use crate::resolve::{no_service, plain};
use crate::table::printable;

/// Most bytes of an answer's body.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// What came back.
#[derive(Serialize)]
struct Answered {
    url: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Where a request goes.
#[derive(Debug, PartialEq)]
struct Destination {
    url: String,
    /// The one host that the route is for.
    host: Option<String>,
}

/// Sends it.
pub fn run(client: &Client, invocation: &Invocation) -> Result<Output, RctlError> {
    let Destination { url, host } = destination(&client.status()?, invocation)?;
    let failed = |reason: String| RctlError::Invoke { url: url.clone(), reason };
    let uri: Uri = url.parse().map_err(|error| failed(format!("not a URL: {error}")))?;
    let body = body(&invocation.data)?;
    let method = match (&invocation.method, body.is_empty()) {
        (Some(method), _) => method.as_str(),
        (None, true) => "GET",
        (None, false) => "POST",
    };
    let mut request = Request::builder().method(method).uri(uri);
    let says_host = invocation.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    if let Some(host) = host.filter(|_| !says_host) {
        request = request.header("host", host);
    }
    for (name, value) in &invocation.headers {
        request = request.header(name, value);
    }
    if let Some(version) = &invocation.service_version {
        request = request.header("x-refrain-version", version);
    }
    let request = request.body(body).map_err(|error| failed(error.to_string()))?;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(client.timeout()))
        .build();
    let mut response = config.new_agent().run(request).map_err(|error| failed(error.to_string()))?;
    let mut body = Vec::new();
    let read = response.body_mut().as_reader().take(BODY_BYTES_MAX).read_to_end(&mut body);
    read.map_err(|error| failed(error.to_string()))?;
    let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let answered = Answered {
        url,
        status: response.status().as_u16(),
        headers: response.headers().iter().map(header).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let failed = answered.status >= 400;
    let text = text(&answered);
    Ok(Output::value(&answered, move |_| text.clone()).with_failure(failed))
}

/// Where the service's first route leads, and the rest of the path.
fn destination(status: &Status, invocation: &Invocation) -> Result<Destination, RctlError> {
    let service = find(status, &invocation.name)?;
    let listens = status.http.iter().flat_map(|http| &http.listens);
    let in_clear = listens.clone().find(|url| url.starts_with("http://"));
    let base = in_clear.ok_or_else(|| RctlError::NotInClear { listens: listed(listens.cloned()) })?;
    let no_route = || RctlError::NoRoute { service: service.service.clone(), instead: String::new() };
    // A route for hosts that are not named is the last choice: then the caller has to name one.
    let parts = service.routes.iter().map(|route| route.split_at(route.find('/').unwrap_or(route.len())));
    let (host, path) = parts.min_by_key(|(host, _)| host.len() > 1 && host.contains('*')).ok_or_else(no_route)?;
    let path = path.trim_end_matches("...").trim_end_matches('/');
    let url = format!("{base}{path}/{}", invocation.path.trim_start_matches('/'));
    Ok(Destination { url, host: (!host.contains('*')).then(|| host.to_owned()) })
}

/// What the front end sends requests to under this name: a stateless service, or a replicated one by its routed port.
fn find<'a>(status: &'a Status, name: &str) -> Result<&'a HttpServiceStatus, RctlError> {
    let is_called = |of: &str| of == name || of.rsplit('/').next() == Some(name);
    let over_http = status.http.iter().flat_map(|http| &http.services);
    let named = over_http.clone().map(|of| of.service.as_str());
    let named: BTreeSet<&str> = named.chain(status.services.iter().map(|of| plain(&of.name))).collect();
    let called: Vec<&str> = named.into_iter().filter(|of| is_called(of)).collect();
    if called.len() > 1 {
        let candidates = listed(called.into_iter().map(str::to_owned));
        return Err(RctlError::Ambiguous { name: name.to_owned(), candidates });
    }
    if let Some(found) = over_http.clone().find(|of| is_called(&of.service)) {
        return Ok(found);
    }
    if let Some(replicated) = status.services.iter().find(|of| is_called(plain(&of.name))) {
        let is_port_of =
            |of: &str| replicated.ports.iter().any(|port| of == format!("{}-{}", plain(&replicated.name), port.name));
        let routed = over_http.clone().find(|of| !of.stateless && is_port_of(&of.service));
        return routed.ok_or_else(|| no_route(replicated));
    }
    let mut problems = status.http.iter().flat_map(|http| &http.problems);
    Err(match problems.find(|problem| is_called(plain(&problem.service))) {
        Some(problem) => RctlError::NotServed { service: problem.service.clone(), reason: problem.reason.clone() },
        None => no_service(name, status),
    })
}

fn no_route(service: &ServiceStatus) -> RctlError {
    let ports = service.ports.iter().map(|port| format!("{} at {}", port.name, port.listen));
    let instead = format!("; its clients connect to {}", listed(ports));
    RctlError::NoRoute { service: plain(&service.name).to_owned(), instead }
}

fn listed(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

/// The text itself, or `@FILE`.
fn body(data: &Option<String>) -> Result<Vec<u8>, RctlError> {
    match data.as_deref() {
        None => Ok(Vec::new()),
        Some(data) => match data.strip_prefix('@') {
            None => Ok(data.as_bytes().to_vec()),
            Some(path) => std::fs::read(path).map_err(|source| RctlError::Read { path: path.into(), source }),
        },
    }
}

fn text(answered: &Answered) -> String {
    let mut text = format!("{} {}\n", answered.status, printable(&answered.url));
    for (name, value) in &answered.headers {
        text.push_str(&format!("{}: {}\n", printable(name), printable(value)));
    }
    text.push('\n');
    text.push_str(&answered.body);
    text
}

/// `NAME: VALUE`.
pub fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("{text:?} is not like accept: text/html"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_api::{HttpProblem, HttpStatus};

    fn status(route: &str) -> Status {
        let service = serde_json::json!({
            "service": "a/web", "version": "1.0.0", "stateless": true, "weight": 100, "routes": [route],
            "in_flight": 0, "answers": [0, 0, 0, 0, 0]
        });
        let mut status: Status = serde_json::from_str(include_str!("../../api/tests/status.json")).unwrap();
        status.http = Some(HttpStatus {
            listens: vec!["http://127.0.0.1:8000".into()],
            services: vec![serde_json::from_value(service).unwrap()],
            problems: vec![HttpProblem { service: "a/broken@1.0.0".into(), reason: "it is no component".into() }],
            ..HttpStatus::default()
        });
        status
    }

    fn of(name: &str, path: &str) -> Invocation {
        let (name, path) = (name.to_owned(), path.to_owned());
        Invocation { name, path, method: None, headers: Vec::new(), data: None, service_version: None }
    }

    #[test]
    fn a_path_goes_below_the_services_first_route() {
        for (route, path, wanted) in [
            ("*/...", "", "http://127.0.0.1:8000/"),
            ("*/...", "/a?b=c", "http://127.0.0.1:8000/a?b=c"),
            ("*/web/...", "a", "http://127.0.0.1:8000/web/a"),
            ("*.example.com/web/...", "/", "http://127.0.0.1:8000/web/"),
        ] {
            let wanted = Destination { url: wanted.to_owned(), host: None };
            assert_eq!(destination(&status(route), &of("web", path)).unwrap(), wanted);
        }
        let found = destination(&status("a.example.com/web/..."), &of("web", "b")).unwrap();
        assert_eq!((&*found.url, found.host.as_deref()), ("http://127.0.0.1:8000/web/b", Some("a.example.com")));
    }

    #[test]
    fn one_of_several_services_of_a_name_has_to_be_named_whole() {
        let mut status = status("*/...");
        let http = status.http.as_mut().unwrap();
        let other_version = HttpServiceStatus { version: "2.0.0".into(), ..http.services[0].clone() };
        http.services.push(other_version);
        assert!(destination(&status, &of("web", "")).is_ok());
        let http = status.http.as_mut().unwrap();
        http.services.push(HttpServiceStatus { service: "b/web".into(), ..http.services[0].clone() });
        let told = destination(&status, &of("web", "")).unwrap_err().told();
        assert!(told.contains("a/web, b/web"), "{told}");
        assert!(destination(&status, &of("b/web", "")).is_ok());
        let replicated = ServiceStatus { name: "b/image-server@1.0.0".into(), ..status.services[0].clone() };
        status.services.push(replicated);
        let told = destination(&status, &of("image-server", "")).unwrap_err().told();
        assert!(told.contains("b/image-server, examples/image-server"), "{told}");
    }

    #[test]
    fn a_replicated_service_is_reached_by_its_routed_port_alone() {
        let mut status = status("*/...");
        let told = destination(&status, &of("image-server", "/")).unwrap_err().told();
        let expected = "examples/image-server has no [[routes]], so the front end sends it no requests; \
                        its clients connect to http at ";
        assert!(told.starts_with(expected), "{told}");
        let http = status.http.as_mut().unwrap();
        let routed = HttpServiceStatus {
            service: "examples/image-server-http".into(),
            stateless: false,
            routes: vec!["*/kv/...".into()],
            ..http.services[0].clone()
        };
        http.services.push(routed);
        let found = destination(&status, &of("examples/image-server", "x")).unwrap();
        assert_eq!(found.url, "http://127.0.0.1:8000/kv/x");
    }

    #[test]
    fn what_is_not_served_is_told_with_the_reason() {
        let told = |status: &Status, name: &str| destination(status, &of(name, "")).unwrap_err().told();
        let mut status = status("*/...");
        assert_eq!(told(&status, "broken"), "a/broken@1.0.0 is not served: it is no component");
        assert!(told(&status, "other").starts_with("no service is called other; there are: "));
        status.http.as_mut().unwrap().listens = vec!["https://127.0.0.1:8443".into()];
        assert_eq!(
            told(&status, "web"),
            "the front end listens nowhere in clear; it listens at https://127.0.0.1:8443"
        );
    }
}
