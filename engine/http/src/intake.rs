//! Requests before they reach a guest: what they must have and how large they may be.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Uri;
use http::header::{CONTENT_LENGTH, HOST, HeaderName};
use http::uri::{Authority, Scheme};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::head::header_bytes;
use crate::limits::Limits;
use crate::moved::Moved;
use crate::refusal::Refusal;

/// By which protocol the client speaks to the front end.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What has become of a request's body.
#[derive(Clone, Default)]
pub(crate) struct Taken {
    /// When the guest took of it.
    pub(crate) moved: Moved,
    too_long: Arc<AtomicBool>,
}

impl Taken {
    /// Whether it has turned out to be larger than it may be.
    pub(crate) fn is_too_long(&self) -> bool {
        self.too_long.load(Ordering::Relaxed)
    }
}

/// Checks a request as far as its head tells.
pub(crate) fn check<B: Body>(request: &http::Request<B>, limits: &Limits) -> Result<(), Refusal> {
    if request.uri().authority().is_none() && request.headers().get(HOST).is_none_or(|host| host.to_str().is_err()) {
        return Err(Refusal::NoHost);
    }
    if header_bytes(request.headers()) > limits.header_bytes {
        return Err(Refusal::RequestHeaders { limit: limits.header_bytes });
    }
    let limit = limits.request_body_bytes;
    if declared(request).is_some_and(|length| length > limit) {
        return Err(Refusal::RequestBody { limit });
    }
    Ok(())
}

/// Gives a request's target the scheme and the host that guests are told of, where it is a path alone: the host of the
/// header, and the scheme that a front end tells of the client's connection.
pub(crate) fn complete<B>(request: &mut http::Request<B>) {
    let (uri, headers) = (request.uri(), request.headers());
    if uri.scheme().is_some() {
        return;
    }
    let told = || Authority::try_from(headers.get(HOST)?.as_bytes()).ok();
    let authority = uri.authority().cloned().or_else(told);
    let is_tls = headers.get(FORWARDED_PROTO).is_some_and(|proto| proto == "https");
    let mut parts = uri.clone().into_parts();
    (parts.scheme, parts.authority) = (Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP }), authority);
    // A target that can have neither, as CONNECT has, stays as it is.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// Bounds a request's body.
pub(crate) fn bound<B>(request: http::Request<B>, limits: &Limits) -> (http::Request<WasiBody>, Taken)
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let (limit, taken) = (limits.request_body_bytes, Taken::default());
    let by_guest = taken.clone();
    let request = request.map(|body| {
        let body = Bounded { body: Box::pin(body), left: limit, limit, taken: by_guest };
        body.boxed_unsync()
    });
    (request, taken)
}

fn declared<B: Body>(request: &http::Request<B>) -> Option<u64> {
    let header = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    header.or_else(|| request.body().size_hint().exact())
}

/// A body that fails beyond a number of bytes. What breaks off fails too: a guest never takes a part for the whole.
struct Bounded<B> {
    body: Pin<Box<B>>,
    left: u64,
    limit: u64,
    taken: Taken,
}

impl<B: Body<Data = Bytes>> Body for Bounded<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = self.body.as_mut().poll_frame(context) else {
            return Poll::Pending;
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(self.pass(frame)),
            Some(Err(_)) => Some(Err(Error::ConnectionTerminated)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Bounded<B> {
    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                self.taken.moved.note();
                Ok(frame)
            }
            None => {
                self.taken.too_long.store(true, Ordering::Relaxed);
                Err(Error::HttpRequestBodySize(Some(self.limit)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn completed(target: &str, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        complete(&mut request);
        request.uri().to_string()
    }

    #[test]
    fn a_target_has_the_scheme_and_the_host_that_its_headers_tell() {
        let host = ("host", "example.com:8080");
        assert_eq!(completed("/a?b", &[host]), "http://example.com:8080/a?b");
        assert_eq!(completed("/a?b", &[host, ("x-forwarded-proto", "https")]), "https://example.com:8080/a?b");
        assert_eq!(completed("*", &[host]), "http://example.com:8080*");
    }

    #[test]
    fn a_target_that_tells_itself_stays_and_so_does_one_that_cannot_be_completed() {
        let headers = [("host", "example.com"), ("x-forwarded-proto", "https")];
        assert_eq!(completed("http://own.example/", &headers), "http://own.example/");
        assert_eq!(completed("own.example:443", &headers), "own.example:443");
        assert_eq!(completed("/", &[("host", "no host")]), "/");
        assert_eq!(completed("/", &[]), "/");
    }
}
