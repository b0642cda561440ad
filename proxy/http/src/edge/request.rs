//! The head of a request: is it one that may go on, and to which host and path.

use std::borrow::Cow;

use http::Method;
use http::header::{CONNECTION, EXPECT, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use hyper::ext::Protocol;

use super::{host, path};
use crate::answer::Fault;

/// What a good head says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// `host[:port]` as the client wrote it; empty when an HTTP/1.0 client named none.
    pub(crate) host: &'a str,
    /// The path in its normal form.
    pub(crate) path: Cow<'a, str>,
}

/// Checks everything that the parsed head shows. `max_uri` is in bytes.
pub(crate) fn check(parts: &Parts, max_uri: usize) -> Result<Head<'_>, Fault> {
    check_method(&parts.method)?;
    check_framing(parts)?;
    let uri = &parts.uri;
    let bytes = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if bytes > max_uri {
        return Err(Fault::UriTooLong);
    }
    let host = host::find(uri.authority(), &parts.headers, parts.version)?;
    let path = match uri.path() {
        // OPTIONS * asks about the server as a whole.
        "*" if parts.method == Method::OPTIONS => Cow::Borrowed("*"),
        path if path.starts_with('/') => path::normal_path(path)?,
        _ => return Err(Fault::UriInvalid),
    };
    Ok(Head { host: host.unwrap_or(""), path })
}

const WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");

/// Makes of an extended `CONNECT` for a WebSocket (RFC 8441) the `GET` that asks an upstream of HTTP/1.1 for the same.
/// Returns whether it was one. The key is of this random number: over HTTP/2 there is none, and nobody looks at what the
/// upstream makes of it.
pub(crate) fn take_websocket(parts: &mut Parts, random: u128) -> bool {
    let is_one = parts.method == Method::CONNECT
        && parts.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket");
    if is_one {
        parts.method = Method::GET;
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let key = HeaderValue::from_bytes(&base64(random)).expect("base64 is plain text");
        parts.headers.insert(WEBSOCKET_KEY, key);
    }
    is_one
}

/// RFC 4648, section 4.
fn base64(number: u128) -> [u8; 24] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = [b'='; 24];
    for (index, byte) in text[..22].iter_mut().enumerate() {
        // 128 bits are 21 digits and two bits more, which stand first in the last one.
        let digit = if index < 21 { (number >> (122 - 6 * index)) & 63 } else { (number & 3) << 4 };
        *byte = DIGITS[usize::try_from(digit).expect("six bits")];
    }
    text
}

/// Methods are words in capitals. A tunnel is not offered, and a trace would show headers that were added on the way.
fn check_method(method: &Method) -> Result<(), Fault> {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::DELETE | Method::OPTIONS | Method::PATCH => {
            Ok(())
        }
        Method::CONNECT | Method::TRACE => Err(Fault::MethodRefused),
        _ if method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_')) => Ok(()),
        _ => Err(Fault::MethodInvalid),
    }
}

fn check_framing(parts: &Parts) -> Result<(), Fault> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !is_chunked || codings.next().is_some() {
            return Err(Fault::EncodingUnknown);
        }
    }
    let mut expectations = parts.headers.get_all(EXPECT).iter();
    if expectations.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Fault::ExpectationUnknown);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Version};

    fn checked(request: http::request::Builder) -> Result<(String, String), Fault> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts, 16).map(|head| (head.host.to_owned(), head.path.into_owned()))
    }

    fn to(uri: &str) -> http::request::Builder {
        Request::builder().uri(uri).header("host", "a")
    }

    #[test]
    fn an_absolute_target_gives_host_and_path() {
        let whole = Request::builder().uri("http://b:1/x?y");
        assert_eq!(checked(whole.version(Version::HTTP_2)), Ok(("b:1".into(), "/x".into())));
        assert_eq!(checked(to("http://a/x?y")), Ok(("a".into(), "/x".into())));
        assert_eq!(checked(to("http://b/x")), Err(Fault::HostDiffers));
        assert_eq!(checked(to("/x")), Ok(("a".into(), "/x".into())));
    }

    #[test]
    fn http_1_0_may_name_no_host() {
        let request = Request::builder().uri("/").version(Version::HTTP_10);
        assert_eq!(checked(request), Ok((String::new(), "/".into())));
        assert_eq!(checked(Request::builder().uri("/")), Err(Fault::HostMissing));
    }

    #[test]
    fn a_target_of_the_limit_is_taken_and_one_byte_more_is_not() {
        assert!(checked(to("/aaaaaaa?bbbbbbb")).is_ok());
        assert_eq!(checked(to("/aaaaaaa?bbbbbbbb")), Err(Fault::UriTooLong));
    }

    #[test]
    fn methods_are_words_in_capitals() {
        for (method, expected) in [
            ("GET", None),
            ("PROPFIND", None),
            ("M-SEARCH", None),
            ("get", Some(Fault::MethodInvalid)),
            ("GE7", Some(Fault::MethodInvalid)),
            ("TRACE", Some(Fault::MethodRefused)),
        ] {
            assert_eq!(checked(to("/").method(method)).err(), expected, "{method}");
        }
    }

    #[test]
    fn the_only_transfer_encoding_is_chunked_once() {
        for (lines, expected) in [
            (&["chunked"][..], None),
            (&["Chunked"], None),
            (&["gzip, chunked"], Some(Fault::EncodingUnknown)),
            (&["chunked, chunked"], Some(Fault::EncodingUnknown)),
            (&["chunked", "chunked"], Some(Fault::EncodingUnknown)),
            (&["identity"], Some(Fault::EncodingUnknown)),
        ] {
            let request = lines.iter().fold(to("/"), |request, line| request.header("transfer-encoding", *line));
            assert_eq!(checked(request).err(), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_extended_connect_for_a_websocket_becomes_a_get() {
        for (protocol, expected) in [(Some("websocket"), true), (Some("connect-udp"), false), (None, false)] {
            let mut request = to("/x").method("CONNECT").body(()).unwrap();
            if let Some(protocol) = protocol {
                request.extensions_mut().insert(Protocol::from_static(protocol));
            }
            let (mut parts, ()) = request.into_parts();
            assert_eq!(take_websocket(&mut parts, 0), expected);
            assert_eq!(check(&parts, 16).is_ok(), expected);
            assert_eq!(parts.headers.contains_key("sec-websocket-key"), expected);
        }
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        let bytes = u128::from_be_bytes(*b"the sample nonce");
        assert_eq!(&base64(bytes), b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(&base64(u128::MAX), b"/////////////////////w==");
    }

    #[test]
    fn the_star_is_for_options_alone() {
        assert_eq!(checked(to("*").method("OPTIONS")), Ok(("a".into(), "*".into())));
        assert_eq!(checked(to("*")), Err(Fault::UriInvalid));
    }
}
