//! Headers and trailers between crate `http` and the host.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use wasip2::http::types::{Fields, Method as HostMethod};

/// Names and values as the host wants them; it refuses those that are its own, such as `connection`.
pub(crate) fn to_host(headers: &HeaderMap) -> Result<Fields, String> {
    let entries: Vec<(String, Vec<u8>)> =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    Fields::from_list(&entries).map_err(|error| {
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        format!("{error} in {}", names.join(", "))
    })
}

pub(crate) fn from_host(fields: &Fields) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.entries() {
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|error| format!("{error}: {name:?}"))?;
        let value = HeaderValue::from_bytes(&value).map_err(|error| format!("{error}: the value of {name:?}"))?;
        headers.append(known, value);
    }
    Ok(headers)
}

pub(crate) fn method_to_host(method: &Method) -> HostMethod {
    match method.as_str() {
        "GET" => HostMethod::Get,
        "HEAD" => HostMethod::Head,
        "POST" => HostMethod::Post,
        "PUT" => HostMethod::Put,
        "DELETE" => HostMethod::Delete,
        "CONNECT" => HostMethod::Connect,
        "OPTIONS" => HostMethod::Options,
        "TRACE" => HostMethod::Trace,
        "PATCH" => HostMethod::Patch,
        other => HostMethod::Other(other.to_owned()),
    }
}

pub(crate) fn method_from_host(method: &HostMethod) -> Result<Method, String> {
    Ok(match method {
        HostMethod::Get => Method::GET,
        HostMethod::Head => Method::HEAD,
        HostMethod::Post => Method::POST,
        HostMethod::Put => Method::PUT,
        HostMethod::Delete => Method::DELETE,
        HostMethod::Connect => Method::CONNECT,
        HostMethod::Options => Method::OPTIONS,
        HostMethod::Trace => Method::TRACE,
        HostMethod::Patch => Method::PATCH,
        HostMethod::Other(other) => {
            Method::from_bytes(other.as_bytes()).map_err(|error| format!("{error}: {other:?}"))?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_comes_back_as_it_went() {
        for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PURGE"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(method_from_host(&method_to_host(&method)).unwrap(), method);
        }
        assert!(method_from_host(&HostMethod::Other("a b".to_owned())).is_err());
    }
}
