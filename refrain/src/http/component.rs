//! A stateless service as the front end calls it.

use std::path::Path;
use std::sync::Arc;

use http::Response;
use http_body_util::BodyExt;
use refrain_front::{Answering, Body, BodyError, Cause, Handler, Refusal};
use refrain_http_host as host;
use refrain_http_host::{Counted, Destination, Host, Permissions, Reuse, Service};
use refrain_service::{Bundle, BundleDigest, Fault, Manifest};
use refrain_wire::Position;

use super::{lines, routes};
use crate::service::{in_words, preparing};

/// Where compiled components are kept, in the data folder.
const CODE_FOLDER: &str = "code/components";

/// How the host of components is set up.
pub(super) fn settings(data_dir: &Path, kept: lines::Kept) -> host::Settings {
    host::Settings { cache: Some(data_dir.join(CODE_FOLDER)), log: lines::sink(kept), ..host::Settings::default() }
}

/// A loaded service. Clones are the same one.
#[derive(Clone)]
pub(super) struct Component {
    manifest: Arc<Manifest>,
    manifest_text: Arc<str>,
    /// `namespace/name`.
    service: String,
    digest: BundleDigest,
    weight: u16,
    /// Where the log was when it said last that this is deployed; 0 when it does not have the service.
    in_log: Position,
    handler: Arc<Called>,
}

impl Component {
    /// Loads a bundle; why it cannot run, in words, if it cannot.
    pub(super) fn load(host: &Host, bundle: &Bundle) -> Result<Self, String> {
        let manifest = bundle.manifest.clone();
        if let Some(reason) = routes::faults(&manifest) {
            return Err(reason);
        }
        let permissions = permissions(&manifest)?;
        let name = manifest.id.to_string();
        for Fault { key, value, problem, .. } in &bundle.outdated {
            tracing::warn!(
                service = name,
                key,
                value,
                problem,
                "a stored manifest has what is refused in new ones: it has no effect, or that of the limit"
            );
        }
        let service = preparing(&manifest.id, bundle.module.len(), || {
            host.load(&bundle.module, &name, limits(&manifest), permissions)
        });
        let service = service.map_err(|error| in_words(&error))?;
        Ok(Self {
            service: routes::service(&manifest),
            manifest: Arc::new(manifest),
            manifest_text: bundle.manifest_text.as_str().into(),
            digest: bundle.digest,
            weight: 0,
            in_log: Position(0),
            handler: Arc::new(Called(service)),
        })
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// As its author wrote it.
    pub(super) fn manifest_text(&self) -> Arc<str> {
        Arc::clone(&self.manifest_text)
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    pub(super) fn is_version(&self, service: &str, version: &str) -> bool {
        self.service == service && self.manifest.id.version.to_string() == version
    }

    pub(super) fn digest(&self) -> BundleDigest {
        self.digest
    }

    /// Its share of the service's requests.
    pub(super) fn weight(&self) -> u16 {
        self.weight
    }

    pub(super) fn set_weight(&mut self, weight: u16) {
        self.weight = weight;
    }

    /// Where the log was when it said last that this is deployed; 0 when only this node says so.
    pub(super) fn in_log(&self) -> Position {
        self.in_log
    }

    pub(super) fn set_in_log(&mut self, at: Position) {
        self.in_log = at;
    }

    /// Requests that it takes at once, those that wait for an instance included.
    pub(super) fn requests_at_once(&self) -> u32 {
        let places = u32::try_from(self.handler.0.places()).unwrap_or(u32::MAX);
        places.saturating_add(self.manifest.http.queue)
    }

    pub(super) fn counted(&self) -> Counted {
        self.handler.0.counted()
    }

    pub(super) fn handler(&self) -> Arc<dyn Handler> {
        Arc::clone(&self.handler) as Arc<dyn Handler>
    }
}

fn permissions(manifest: &Manifest) -> Result<Permissions, String> {
    let outgoing: Result<Vec<Destination>, String> = (manifest.http.outgoing.iter())
        .map(|text| text.parse().map_err(|error| format!("http.outgoing: {}", in_words(&error))))
        .collect();
    let environment = manifest.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(Permissions { environment, outgoing: outgoing? })
}

fn limits(manifest: &Manifest) -> host::Limits {
    let (of, http) = (&manifest.limits, &manifest.http);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    host::Limits {
        memory_bytes: size(of.memory.get()),
        table_elements: of.tables as usize,
        instances: http.instances as usize,
        concurrency: http.concurrency as usize,
        queue: http.queue as usize,
        queue_wait: http.queue_wait,
        reuse: Reuse::between(http.reuse.0, http.reuse.1),
        deadline: http.deadline,
        lifetime: http.lifetime,
        cpu: http.cpu,
        request_body_bytes: http.request_body.get(),
        response_body_bytes: http.response_body.get(),
        outgoing_calls: of.outward as usize,
        ..host::Limits::default()
    }
}

/// The contract of the front end, kept by the host.
struct Called(Service);

impl Handler for Called {
    fn call(&self, request: http::Request<Body>) -> Answering {
        let service = self.0.clone();
        Box::pin(async move {
            match service.offer(request).await {
                Ok(response) => Ok(response.map(|body| Body::stream(body.map_err(broken)))),
                Err(host::Refused { refusal, request }) => refused(service.name(), &refusal, request),
            }
        })
    }
}

fn broken(error: host::BodyError) -> BodyError {
    BodyError::Failed(Box::new(error))
}

/// What a client is told of a refusal; an operator is told the rest. With the request, if the guest was not asked.
fn refused(
    service: &str,
    refusal: &host::Refusal,
    request: Option<Box<http::Request<Body>>>,
) -> Result<Response<Body>, Refusal> {
    if let Some(detail) = refusal.detail() {
        tracing::warn!(service, code = refusal.code(), detail, "{refusal}");
    }
    let cause = match refusal {
        host::Refusal::Busy { retry_after } => Cause::Busy { retry_after: *retry_after },
        host::Refusal::Deadline { limit } | host::Refusal::Cpu { limit } => Cause::Timeout { limit: *limit },
        host::Refusal::Trapped { word, .. } => Cause::Trapped((*word).to_owned()),
        // What the guest made of the request: it would do so anywhere, and its node is well.
        host::Refusal::Failed { .. } | host::Refusal::NoResponse | host::Refusal::ResponseHeaders { .. } => {
            Cause::Trapped(refusal.code().to_owned())
        }
        host::Refusal::NoHost | host::Refusal::RequestHeaders { .. } | host::Refusal::RequestBody { .. } => {
            return Ok(told(refusal));
        }
        other => Cause::Broken(Box::new(other.clone())),
    };
    Err(Refusal { cause, request })
}

/// A refusal that is the client's affair.
fn told(refusal: &host::Refusal) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{refusal}\n")));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(refrain_front::ERROR_HEADER, http::HeaderValue::from_static(refusal.code()));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_guest_made_of_a_request_is_no_fault_of_its_node() {
        let detail = || "for operators".to_owned();
        for refusal in [
            host::Refusal::Failed { detail: detail() },
            host::Refusal::NoResponse,
            host::Refusal::ResponseHeaders { limit: 1 },
            host::Refusal::Trapped { word: "unreachable", detail: detail() },
        ] {
            let told = refused("a/b@1.0.0", &refusal, None).map(drop).expect_err("a refusal");
            assert!(matches!(told.cause, Cause::Trapped(_)) && told.request.is_none(), "{told:?}");
        }
        let told = refused("a/b@1.0.0", &host::Refusal::Instantiate { detail: detail() }, None);
        assert!(matches!(told.map(drop).expect_err("a refusal").cause, Cause::Broken(_)));
    }

    #[test]
    fn a_request_that_no_instance_took_is_given_back() {
        let request = http::Request::post("/orders").body(Body::from("a")).expect("a request");
        let busy = host::Refusal::Busy { retry_after: Duration::from_secs(1) };
        let told = refused("a/b@1.0.0", &busy, Some(Box::new(request))).map(drop).expect_err("a refusal");
        assert!(matches!(told.cause, Cause::Busy { .. }), "{told:?}");
        assert_eq!(told.request.expect("the request").uri().path(), "/orders");
    }
}
