//! From `wasi:http/incoming-handler` to a [`Handler`] and back. The head of an answer is set before its body is written.

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Request as HttpRequest, StatusCode, Uri};
use wasip2::http::types::{Fields, IncomingRequest, OutgoingResponse, ResponseOutparam, Scheme};

use crate::body::{Body, BodyError};
use crate::{Failure, Handler, Request, Response, executor, fields, logging, outgoing, reply};

/// Serves one request.
pub fn handle<H: Handler>(request: IncomingRequest, answer: ResponseOutparam) {
    logging::install();
    executor::run(async move {
        let response = match incoming(request) {
            Ok(request) => H::handle(request).await.unwrap_or_else(|failure| failed(&failure)),
            Err(why) => {
                log::warn!("the request cannot be read: {why}");
                reply::status(StatusCode::BAD_REQUEST)
            }
        };
        respond(response, answer).await;
    });
}

fn failed(failure: &Failure) -> Response {
    log::error!("{}", told(failure.as_ref()));
    reply::status(StatusCode::INTERNAL_SERVER_ERROR)
}

/// An error and its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn incoming(request: IncomingRequest) -> Result<Request, String> {
    let scheme = match request.scheme() {
        Some(Scheme::Https) => "https",
        Some(Scheme::Other(other)) => &other.clone(),
        Some(Scheme::Http) | None => "http",
    };
    let target = request.path_with_query().unwrap_or_else(|| "/".to_owned());
    let uri = Uri::builder().scheme(scheme).path_and_query(target.as_str());
    let uri = match request.authority() {
        Some(authority) => uri.authority(authority).build(),
        // Without one there is no scheme either.
        None => Uri::builder().path_and_query(target.as_str()).build(),
    };
    let mut made = HttpRequest::new(Body::empty());
    *made.uri_mut() = uri.map_err(|error| format!("{error}: {target:?}"))?;
    *made.method_mut() = fields::method_from_host(&request.method())?;
    *made.headers_mut() = fields::from_host(&request.headers())?;
    *made.body_mut() = Body::incoming(request.consume().map_err(|()| "its body is taken".to_owned())?);
    Ok(made)
}

async fn respond(response: Response, answer: ResponseOutparam) {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.length()
        && allows_length(head.status)
    {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    let (status, headers, body) = match fields::to_host(&head.headers) {
        Ok(headers) => (head.status, headers, body),
        Err(why) => {
            log::error!("the answer's headers are refused: {why}");
            (StatusCode::INTERNAL_SERVER_ERROR, Fields::new(), Body::empty())
        }
    };
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status.as_u16()).expect("a status code is one for the host too");
    let to = response.body().expect("the body of a new answer is there");
    ResponseOutparam::set(answer, Ok(response));
    match outgoing::send(body, to).await {
        // A client that went away is no fault of the service.
        Ok(()) | Err(BodyError::Closed) => {}
        Err(error) => log::error!("the answer broke off: {}", told(&error)),
    }
}

/// RFC 9110, section 8.6: these have none.
fn allows_length(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = BodyError::Writer("the disk is full".into());
        assert_eq!(told(&error), "the body's writer failed: the disk is full");
    }

    #[test]
    fn only_answers_that_may_have_one_get_a_length() {
        assert!(allows_length(StatusCode::OK) && allows_length(StatusCode::NOT_FOUND));
        assert!(!allows_length(StatusCode::NO_CONTENT) && !allows_length(StatusCode::NOT_MODIFIED));
    }
}
