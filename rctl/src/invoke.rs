//! `rctl service invoke`: one request to a service through the node's front end.

use std::io::Read as _;

use refrain_api::{HttpServiceStatus, HttpStatus};
use serde::Serialize;
use ureq::Agent;
use ureq::http::{Request, Uri};

use crate::args::Invocation;
use crate::client::Client;
use crate::error::RctlError;
use crate::output::Output;
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

/// Sends it.
pub fn run(client: &Client, invocation: &Invocation) -> Result<Output, RctlError> {
    let http = client.status()?.http.unwrap_or_default();
    let url = url(&http, invocation)?;
    let failed = |reason: String| RctlError::Invoke { url: url.clone(), reason };
    let uri: Uri = url.parse().map_err(|error| failed(format!("not a URL: {error}")))?;
    let body = body(&invocation.data)?;
    let method = match (&invocation.method, body.is_empty()) {
        (Some(method), _) => method.as_str(),
        (None, true) => "GET",
        (None, false) => "POST",
    };
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in &invocation.headers {
        request = request.header(name, value);
    }
    if let Some(version) = &invocation.service_version {
        request = request.header("x-refrain-version", version);
    }
    let request = request.body(body).map_err(|error| failed(error.to_string()))?;
    let agent = Agent::new_with_config(Agent::config_builder().http_status_as_error(false).build());
    let mut response = agent.run(request).map_err(|error| failed(error.to_string()))?;
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
fn url(http: &HttpStatus, invocation: &Invocation) -> Result<String, RctlError> {
    let name = invocation.name.as_str();
    let is_it =
        |service: &&HttpServiceStatus| service.service == name || service.service.rsplit('/').next() == Some(name);
    let known = || {
        let mut known: Vec<&str> = http.services.iter().map(|service| service.service.as_str()).collect();
        known.dedup();
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    };
    let service = http.services.iter().find(is_it);
    let service = service.ok_or_else(|| RctlError::NoService { name: name.to_owned(), known: known() })?;
    let base = http.listens.iter().find(|url| url.starts_with("http://"));
    let (Some(base), Some(route)) = (base, service.routes.first()) else {
        let reason = "it has no route, or the front end does not listen in clear".to_owned();
        return Err(RctlError::Invoke { url: name.to_owned(), reason });
    };
    let path = route.find('/').map_or("/", |at| &route[at..]).trim_end_matches("...").trim_end_matches('/');
    Ok(format!("{base}{path}/{}", invocation.path.trim_start_matches('/')))
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

    fn status(route: &str) -> HttpStatus {
        let service = serde_json::json!({
            "service": "a/web", "version": "1.0.0", "stateless": true, "weight": 100, "routes": [route],
            "in_flight": 0, "answers": [0, 0, 0, 0, 0]
        });
        let service = serde_json::from_value(service).unwrap();
        HttpStatus { listens: vec!["http://127.0.0.1:8000".into()], services: vec![service], ..HttpStatus::default() }
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
            assert_eq!(url(&status(route), &of("web", path)).unwrap(), wanted);
        }
        assert!(matches!(url(&status("*/..."), &of("other", "")), Err(RctlError::NoService { .. })));
    }
}
