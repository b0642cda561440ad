//! A response on its way from a guest to the caller that waits for it.

use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use tokio::sync::oneshot;
use tokio::time::Instant;
use wasmtime_wasi_http::WasiBody;

use crate::body::HostBody;
use crate::call::Call;
use crate::limits::Limits;
use crate::refusal::Refusal;

/// What a guest answers with: a response whose body may go on, or the name of an error code of `wasi:http`.
pub(crate) type Head = Result<http::Response<WasiBody>, String>;

pub(crate) type HeadSender = oneshot::Sender<Head>;
pub(crate) type HeadReceiver = oneshot::Receiver<Head>;

/// Bytes of all names and values.
pub(crate) fn header_bytes(headers: &http::HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Makes a caller's response of a guest's.
pub(crate) fn respond(
    head: Head,
    call: Call,
    method: &Method,
    began: Instant,
    limits: &Limits,
) -> Result<http::Response<HostBody>, Refusal> {
    let (parts, frames) = head.map_err(|detail| Refusal::Failed { detail })?.into_parts();
    if header_bytes(&parts.headers) > limits.header_bytes {
        return Err(Refusal::ResponseHeaders { limit: limits.header_bytes });
    }
    let silent = *method == Method::HEAD
        || parts.status.is_informational()
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let declared = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let body = HostBody::new(frames, call, declared, began, limits);
    Ok(http::Response::from_parts(parts, if silent { body.silent() } else { body }))
}
