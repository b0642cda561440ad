//! Short answers.

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use crate::{Body, Response};

/// 200 with plain text.
pub fn text(text: impl Into<String>) -> Response {
    typed("text/plain; charset=utf-8", text.into())
}

/// 200 with a page.
pub fn html(page: impl Into<String>) -> Response {
    typed("text/html; charset=utf-8", page.into())
}

/// 200 with a document of JSON.
pub fn json(document: impl Into<String>) -> Response {
    typed("application/json", document.into())
}

/// A status, with its number and its name as the text.
pub fn status(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or("");
    let mut response = text(format!("{} {reason}\n", status.as_u16()));
    *response.status_mut() = status;
    response
}

/// 405 with the methods that there are: `GET, HEAD`.
pub fn not_allowed(allowed: &'static str) -> Response {
    let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// 200 with a body of this media type.
pub fn typed(media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run;

    #[test]
    fn a_status_says_its_number_and_its_name() {
        let response = status(StatusCode::NOT_FOUND);
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(run(response.into_body().text(100)).unwrap(), "404 Not Found\n");
    }

    #[test]
    fn a_method_that_is_not_there_is_told_which_are() {
        let response = not_allowed("GET, HEAD");
        assert_eq!(
            (response.status(), &response.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &HeaderValue::from_static("GET, HEAD"))
        );
    }
}
