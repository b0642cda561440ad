//! The admin API's part of HTTP: versions of stateless services on this node.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use refrain_api::{Deploy, ErrorCode, HttpDetail, HttpStatus, Weights};
use refrain_service::Bundle;

use super::{Admin, Answer, Failure, Name, digest, service};
use crate::http::{Http, HttpError};
use crate::service::in_words;

/// Runs a version of a stateless service.
pub(super) async fn deploy(
    State(admin): State<Arc<Admin>>,
    body: Result<Json<Deploy>, JsonRejection>,
) -> Answer<HttpStatus> {
    let Json(Deploy { bundle, weight }) = body?;
    let digest = digest(&bundle)?;
    let opened = Bundle::open(&admin.bundles, digest);
    let bundle = opened
        .map_err(|error| Failure::of(ErrorCode::BundleNotFound, format!("bundle {digest}: {}", in_words(&error))))?;
    beside(&admin, move |http| http.deploy(&bundle, weight)).await
}

/// Describes a stateless service.
pub(super) async fn show(State(admin): State<Arc<Admin>>, Path(name): Name) -> Answer<HttpDetail> {
    let service = service(name);
    let detail = admin.http.detail(&service).map(Json);
    detail.ok_or_else(|| Failure::of(ErrorCode::ServiceNotFound, format!("no stateless service is named {service}")))
}

/// Shifts requests between versions.
pub(super) async fn weigh(
    State(admin): State<Arc<Admin>>,
    Path(name): Name,
    body: Result<Json<Weights>, JsonRejection>,
) -> Answer<HttpStatus> {
    let Json(Weights { weights }) = body?;
    beside(&admin, move |http| http.weigh(&service(name), &weights)).await
}

/// Ends a version.
pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    Path((namespace, name, version)): Path<(String, String, String)>,
) -> Answer<HttpStatus> {
    beside(&admin, move |http| http.remove(&service((namespace, name)), &version)).await
}

/// Compiling and writing take their time.
async fn beside(
    admin: &Admin,
    change: impl FnOnce(&Http) -> Result<(), HttpError> + Send + 'static,
) -> Answer<HttpStatus> {
    let http = Arc::clone(&admin.http);
    let changed = tokio::task::spawn_blocking(move || {
        change(&http)?;
        Ok::<_, HttpError>(http.status().unwrap_or_default())
    });
    let changed = changed.await.map_err(|_| Failure::of(ErrorCode::Internal, "the change was not made"))?;
    changed.map(Json).map_err(|error| failure(&error))
}

fn failure(error: &HttpError) -> Failure {
    let code = match error {
        HttpError::Component { .. }
        | HttpError::Replicated { .. }
        | HttpError::NoWeight { .. }
        | HttpError::TooMany { .. }
        | HttpError::Full { .. }
        | HttpError::Behind { .. } => ErrorCode::DeployRefused,
        HttpError::Plan(_) => ErrorCode::BadRequest,
        HttpError::Unknown { .. } => ErrorCode::ServiceNotFound,
        HttpError::Ending => ErrorCode::Draining,
        HttpError::Log(body) => body.code,
        HttpError::Slow => ErrorCode::Timeout,
        HttpError::Host(_)
        | HttpError::Certificate(_)
        | HttpError::Start(_)
        | HttpError::Store(_)
        | HttpError::Nodes(_) => ErrorCode::Internal,
    };
    Failure::of(code, in_words(error))
}
