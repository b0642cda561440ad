//! The answers that the front end gives itself: one [`Fault`] each, with a status, a stable code for machines in the
//! header `x-refrain-error`, and a line of safe words for people.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING,
};
use http::{Response, StatusCode};

use crate::body::Body;
use crate::handler::Cause;

/// Tells machines which of our own answers this is.
pub const ERROR_HEADER: HeaderName = HeaderName::from_static("x-refrain-error");

/// Why the front end answers itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    HostMissing,
    HostTwice,
    HostInvalid,
    HostDiffers,
    UriInvalid,
    UriTooLong,
    PathAmbiguous,
    MethodInvalid,
    MethodRefused,
    LengthAndEncoding,
    LengthTwice,
    EncodingUnknown,
    Malformed,
    HeadTooLarge,
    HeadSlow,
    HeadBroken,
    Http2Broken,
    PlainOnTls,
    TlsOnPlain,
    TlsFailed,
    TlsSlow,
    ProxyHeader,
    ProxyHeaderSlow,
    ExpectationUnknown,
    VersionInvalid,
    VersionUnknown,
    NoRoute,
    MethodNotAllowed { allow: String },
    BodyTooLarge,
    BodySlow,
    BodyBroken,
    ConnectionsFull,
    ClientConnections,
    ClientBusy { retry_after_s: u64 },
    ClientTooFast { retry_after_s: u64 },
    ServiceBusy { retry_after_s: u64 },
    QueueFull { retry_after_s: u64 },
    QueueSlow { retry_after_s: u64 },
    NoUpstream { retry_after_s: u64 },
    UpstreamBusy { retry_after_s: u64 },
    UpstreamUnreachable,
    UpstreamBroken,
    UpstreamTrapped,
    UpstreamSlow,
}

impl Fault {
    /// Status, code, words.
    const fn facts(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::HostMissing => (400, "host-missing", "the request names no host"),
            Self::HostTwice => (400, "host-twice", "the request has more than one host header"),
            Self::HostInvalid => (400, "host-invalid", "the host is not a valid name and port"),
            Self::HostDiffers => (400, "host-differs", "the host header differs from the host of the target"),
            Self::UriInvalid => (400, "uri-invalid", "the path is not valid"),
            Self::PathAmbiguous => {
                (400, "path-ambiguous", "the path leads elsewhere if its slashes are merged or unescaped")
            }
            Self::UriTooLong => (414, "uri-too-long", "the target is longer than the limit"),
            Self::MethodInvalid => (400, "method-invalid", "the method is not valid"),
            Self::MethodRefused => (405, "method-refused", "this method is not served here"),
            Self::LengthAndEncoding => {
                (400, "length-and-encoding", "content-length and transfer-encoding exclude each other")
            }
            Self::LengthTwice => (400, "length-twice", "the request has more than one content-length"),
            Self::EncodingUnknown => (501, "encoding-unknown", "the only transfer-encoding taken is chunked"),
            Self::Malformed => (400, "malformed", "the request is malformed"),
            Self::HeadTooLarge => (431, "head-too-large", "the head is longer than the limit, or has more headers"),
            Self::HeadSlow => (408, "head-slow", "the head did not come in time"),
            Self::HeadBroken => (400, "head-broken", "the head broke off"),
            Self::Http2Broken => (400, "http2-broken", "the rules of HTTP/2 were broken"),
            Self::PlainOnTls => (400, "plain-on-tls", "the plain HTTP request was sent to HTTPS port"),
            Self::TlsOnPlain => (400, "tls-on-plain", "TLS was spoken to a port of plain HTTP"),
            Self::TlsFailed => (400, "tls-failed", "there is no agreement on TLS"),
            Self::TlsSlow => (408, "tls-slow", "the handshake of TLS did not end in time"),
            Self::ProxyHeader => (400, "proxy-header", "the connection has to begin with a PROXY protocol header"),
            Self::ProxyHeaderSlow => (408, "proxy-header-slow", "the PROXY protocol header did not come in time"),
            Self::ExpectationUnknown => (417, "expectation-unknown", "the only expectation met is 100-continue"),
            Self::VersionInvalid => (400, "version-invalid", "x-refrain-version is neither a version nor a range"),
            Self::VersionUnknown => (503, "version-unknown", "no running version matches x-refrain-version"),
            Self::NoRoute => (404, "no-route", "no route leads here"),
            Self::MethodNotAllowed { .. } => (405, "method-not-allowed", "this path takes other methods"),
            Self::BodyTooLarge => (413, "body-too-large", "the body is longer than the limit"),
            Self::BodySlow => (408, "body-slow", "the body did not come in time"),
            Self::BodyBroken => (400, "body-broken", "the body broke off"),
            Self::ConnectionsFull => (503, "connections-full", "too many connections at once"),
            Self::ClientConnections => (429, "client-connections", "too many connections at once from this address"),
            Self::ClientBusy { .. } => (429, "client-busy", "too many requests at once from this address"),
            Self::ClientTooFast { .. } => (429, "client-too-fast", "too many requests from this address"),
            Self::ServiceBusy { .. } => (503, "service-busy", "the service has too many requests at once"),
            Self::QueueFull { .. } => (503, "queue-full", "too many requests wait for the service"),
            Self::QueueSlow { .. } => (503, "queue-slow", "the service had no place in time"),
            Self::NoUpstream { .. } => (503, "no-upstream", "nothing serves this at the moment"),
            Self::UpstreamBusy { .. } => (503, "upstream-busy", "the service is busy"),
            Self::UpstreamUnreachable => (502, "upstream-unreachable", "the service cannot be reached"),
            Self::UpstreamBroken => (502, "upstream-broken", "the service broke off"),
            Self::UpstreamTrapped => (502, "upstream-trapped", "the service failed"),
            Self::UpstreamSlow => (504, "upstream-slow", "the service did not answer in time"),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.facts().0).expect("the table has valid statuses")
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.facts().1
    }

    /// Whether more of this connection may not be trusted.
    const fn closes(&self) -> bool {
        let is_malformed = self.facts().0 == 400 && !matches!(self, Self::VersionInvalid);
        // What follows a CONNECT may be meant for the other end of the tunnel.
        is_malformed
            || matches!(
                self,
                Self::EncodingUnknown | Self::BodyTooLarge | Self::BodySlow | Self::UriTooLong | Self::MethodRefused
            )
    }

    const fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::ClientBusy { retry_after_s }
            | Self::ClientTooFast { retry_after_s }
            | Self::ServiceBusy { retry_after_s }
            | Self::QueueFull { retry_after_s }
            | Self::QueueSlow { retry_after_s }
            | Self::NoUpstream { retry_after_s }
            | Self::UpstreamBusy { retry_after_s } => Some(*retry_after_s),
            _ => None,
        }
    }

    /// The answer. `may_close` is false where closing is not said by a header, as in HTTP/2.
    pub(crate) fn response(&self, may_close: bool) -> Response<Body> {
        let (_, code, words) = self.facts();
        let mut response = Response::new(Body::from(Bytes::from(format!("{words}\n"))));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(ERROR_HEADER, HeaderValue::from_static(code));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_str(allow).expect("methods are tokens"));
        }
        if may_close && self.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The answer in bytes, for a client whose request is none that could be read. Nothing follows it.
    pub(crate) fn farewell(&self) -> Bytes {
        let (status, code, words) = self.facts();
        let (reason, date) = (self.status(), httpdate::fmt_http_date(SystemTime::now()));
        let reason = reason.canonical_reason().unwrap_or_default();
        let length = words.len() + 1;
        Bytes::from(format!(
            "HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\n{ERROR_HEADER}: {code}\r\n\
             connection: close\r\ncontent-length: {length}\r\ndate: {date}\r\n\r\n{words}\n"
        ))
    }
}

/// An answer to `HEAD`, a 204 and a 304 have no body, whatever the handler gave; the first says how long it would be.
pub(crate) fn drop_body(response: &mut Response<Body>) {
    let body = std::mem::take(response.body_mut());
    let length = http_body::Body::size_hint(&body).exact().filter(|length| *length > 0);
    if let Some(length) = length
        && response.status() != StatusCode::NO_CONTENT
        && !response.headers().contains_key(CONTENT_LENGTH)
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Whether an answer says of its length what its body does. hyper writes the one and sends the other: a client would take
/// what is beyond its length for another answer. An answer that is sent without its body may say any one number.
pub(crate) fn has_true_length(response: &Response<Body>, is_bodiless: bool) -> bool {
    if response.headers().contains_key(TRANSFER_ENCODING) {
        // It does not count then, and does not go on.
        return true;
    }
    let mut told = response.headers().get_all(CONTENT_LENGTH).iter().map(read_length);
    let exact = http_body::Body::size_hint(response.body()).exact().filter(|_| !is_bodiless);
    match (told.next(), told.next()) {
        (None, _) => true,
        (Some(Some(length)), None) => exact.is_none_or(|exact| exact == length),
        _ => false,
    }
}

fn read_length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

impl From<&Cause> for Fault {
    fn from(cause: &Cause) -> Self {
        match cause {
            Cause::Busy { retry_after } => Self::UpstreamBusy { retry_after_s: retry_after.as_secs() },
            Cause::Unreachable(_) => Self::UpstreamUnreachable,
            Cause::Broken(_) => Self::UpstreamBroken,
            Cause::Trapped(_) => Self::UpstreamTrapped,
            Cause::Timeout { .. } => Self::UpstreamSlow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overload_says_when_to_try_again_and_at_least_in_a_second() {
        let response = Fault::QueueFull { retry_after_s: 0 }.response(true);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[ERROR_HEADER], "queue-full");
    }

    #[test]
    fn a_doubtful_framing_closes_the_connection_in_http_1_alone() {
        assert_eq!(Fault::LengthAndEncoding.response(true).headers()[CONNECTION], "close");
        assert!(!Fault::LengthAndEncoding.response(false).headers().contains_key(CONNECTION));
        assert!(!Fault::NoRoute.response(true).headers().contains_key(CONNECTION));
    }

    #[test]
    fn a_length_is_true_when_it_is_one_number_and_that_of_the_body() {
        for (lengths, expected) in [
            (&[][..], true),
            (&["5"], true),
            (&["4"], false),
            (&["6"], false),
            (&["5", "5"], false),
            (&["5, 5"], false),
            (&["+5"], false),
            (&[""], false),
            (&["99999999999999999999"], false),
        ] {
            let mut response = Response::new(Body::from("hello"));
            for length in lengths {
                response.headers_mut().append(CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            assert_eq!(has_true_length(&response, false), expected, "{lengths:?}");
            let is_one = matches!(lengths, [] | ["4" | "5" | "6"]);
            assert_eq!(has_true_length(&response, true), is_one, "{lengths:?}");
        }
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        let response = Fault::MethodNotAllowed { allow: "GET, HEAD".into() }.response(true);
        assert_eq!(
            (response.status().as_u16(), &response.headers()[ALLOW]),
            (405, &HeaderValue::from_static("GET, HEAD"))
        );
    }
}
