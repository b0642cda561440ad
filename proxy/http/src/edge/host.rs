//! The host of a request: `host[:port]` as in RFC 3986, section 3.2, without user information.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Version};

use crate::answer::Fault;

/// The name in `host[:port]`, without a last dot; nothing if that is not valid. Letters keep their case.
pub(crate) fn host_name(text: &str) -> Option<&str> {
    if text.len() > MAX_HOST_BYTES {
        return None;
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, port) = rest.split_once(']')?;
        let is_address = inner.parse::<std::net::Ipv6Addr>().is_ok();
        return (is_address && is_port(port)).then(|| &text[..inner.len() + 2]);
    }
    let (name, port) = text.find(':').map_or((text, ""), |colon| text.split_at(colon));
    let trimmed = name.strip_suffix('.').unwrap_or(name);
    let is_name = !trimmed.is_empty() && !trimmed.starts_with('.') && !trimmed.contains("..");
    (is_name && trimmed.bytes().all(is_host_byte) && is_port(port)).then_some(trimmed)
}

/// Longest `host[:port]`: a DNS name has at most 253 bytes.
const MAX_HOST_BYTES: usize = 261;

fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| {
            port.is_empty() || port.parse::<u16>().is_ok_and(|_| port.bytes().all(|byte| byte.is_ascii_digit()))
        })
}

/// Names as DNS and service discovery have them; neither escapes nor other marks.
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// The one host that a request means: of its target, of its header, or of both alike. HTTP/1.1 has to name it in the
/// header, whatever its target says (RFC 9112, section 3.2); HTTP/1.0 may name none.
pub(crate) fn find<'a>(
    authority: Option<&'a Authority>,
    headers: &'a HeaderMap,
    version: Version,
) -> Result<Option<&'a str>, Fault> {
    let mut lines = headers.get_all(HOST).iter();
    let header = lines.next();
    if lines.next().is_some() {
        return Err(Fault::HostTwice);
    }
    let header = header.map(|value| value.to_str().map_err(|_| Fault::HostInvalid)).transpose()?;
    let host = match (authority.map(Authority::as_str), header) {
        (Some(authority), Some(header)) if !authority.eq_ignore_ascii_case(header) => return Err(Fault::HostDiffers),
        (_, None) if version == Version::HTTP_11 => return Err(Fault::HostMissing),
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) if version >= Version::HTTP_2 => return Err(Fault::HostMissing),
        (None, None) => return Ok(None),
    };
    host_name(host).map(|_| Some(host)).ok_or(Fault::HostInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        let table = [
            ("example.com", Some("example.com")),
            ("Example.com:8080", Some("Example.com")),
            ("example.com.", Some("example.com")),
            ("a_b", Some("a_b")),
            ("127.0.0.1:1", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("example.com:", Some("example.com")),
            ("example.com:65535", Some("example.com")),
            ("example.com:65536", None),
            ("example.com:+1", None),
            ("", None),
            (":80", None),
            (".", None),
            (".a", None),
            ("a..b", None),
            ("a b", None),
            ("a/b", None),
            ("a@b", None),
            ("a,b", None),
            ("[::1", None),
            ("[x]", None),
            ("[::1]x", None),
            ("exämple", None),
        ];
        for (text, expected) in table {
            assert_eq!(host_name(text), expected, "{text}");
        }
        assert!(host_name(&"a".repeat(261)).is_some());
        assert!(host_name(&"a".repeat(262)).is_none());
    }

    #[test]
    fn target_and_header_have_to_agree() {
        let find_in = |authority: Option<&str>, lines: &[&str], version| {
            let authority: Option<Authority> = authority.map(|text| text.parse().unwrap());
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(HOST, HeaderValue::from_str(line).unwrap());
            }
            find(authority.as_ref(), &headers, version).map(|host| host.map(str::to_owned))
        };
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(find_in(None, &["a"], version), Ok(Some("a".into())));
            assert_eq!(find_in(Some("a"), &["A"], version), Ok(Some("a".into())));
            assert_eq!(find_in(Some("a"), &["b"], version), Err(Fault::HostDiffers));
            assert_eq!(find_in(None, &["a", "a"], version), Err(Fault::HostTwice));
            assert_eq!(find_in(None, &[""], version), Err(Fault::HostInvalid));
        }
        for (version, of_target, none) in [
            (Version::HTTP_10, Ok(Some("a:1".into())), Ok(None)),
            (Version::HTTP_11, Err(Fault::HostMissing), Err(Fault::HostMissing)),
            (Version::HTTP_2, Ok(Some("a:1".into())), Err(Fault::HostMissing)),
        ] {
            assert_eq!(find_in(Some("a:1"), &[], version), of_target);
            assert_eq!(find_in(None, &[], version), none);
        }
    }
}
