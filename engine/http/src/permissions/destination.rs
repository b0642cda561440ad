//! One entry of a list of destinations: `[METHOD,...] [SCHEME://]HOST[:PORT]`.
//!
//! HOST is a name, an address (IPv6 in brackets), `*.` and the end of a name, or `*`. PORT is a number or `*`; without
//! one it is the scheme's. Without a scheme both `http` and `https` are meant, without methods all of them.

use std::str::FromStr;

use http::Method;

use super::Grant;

/// Where outgoing requests may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    methods: Vec<Method>,
    /// None for both.
    scheme: Option<Scheme>,
    host: Host,
    port: Port,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    /// What comes after the `*`, from the dot.
    Suffix(String),
    Name(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Any,
    OfScheme,
    Number(u16),
}

/// Why an entry is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// The scheme is not one that can be sent.
    #[error("destination {entry}: scheme {scheme} is neither http nor https")]
    Scheme {
        /// The whole entry.
        entry: String,
        /// Its scheme.
        scheme: String,
    },
    /// The method is not a method.
    #[error("destination {entry}: {method} is not a method")]
    Method {
        /// The whole entry.
        entry: String,
        /// The method.
        method: String,
    },
    /// The port is not a number up to 65535, nor `*`.
    #[error("destination {entry}: port {port} is neither * nor between 1 and 65535")]
    Port {
        /// The whole entry.
        entry: String,
        /// Its port.
        port: String,
    },
    /// The host is not a name, an address or a pattern.
    #[error("destination {entry}: host {host} is neither a name, an address, *.NAME nor *")]
    Host {
        /// The whole entry.
        entry: String,
        /// Its host.
        host: String,
    },
}

impl Destination {
    /// Whether a request may go there. `host` is in lower case, IPv6 addresses in brackets.
    pub(crate) fn allows(&self, method: &Method, scheme: &str, host: &str, port: u16) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.scheme.is_none_or(|own| own.as_str() == scheme)
            && self.port.allows(scheme, port)
            && self.host.allows(host)
    }

    /// How far it leads.
    pub(super) fn grant(&self) -> Grant {
        match &self.host {
            Host::Any | Host::Suffix(_) => Grant::Public,
            Host::Name(name) if is_address(name) || is_localhost(name) => Grant::Anywhere,
            Host::Name(_) => Grant::Private,
        }
    }
}

impl Port {
    fn allows(self, scheme: &str, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::OfScheme => port == default_port(scheme),
            Self::Number(number) => port == number,
        }
    }
}

impl Host {
    fn allows(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Self::Name(name) => host == name,
        }
    }
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Names that are always this machine's (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// The port of a scheme's URLs that name none.
pub(crate) fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(entry: &str) -> Result<Self, Self::Err> {
        let (methods, rest) = entry.trim().split_once(' ').unwrap_or(("", entry.trim()));
        let (scheme, rest) = match rest.trim().split_once("://") {
            Some((scheme, rest)) => (Some(parse_scheme(entry, scheme)?), rest),
            None => (None, rest.trim()),
        };
        let (host, port) = split_port(rest.strip_suffix('/').unwrap_or(rest));
        Ok(Self {
            methods: parse_methods(entry, methods)?,
            scheme,
            host: parse_host(entry, host)?,
            port: port.map_or(Ok(Port::OfScheme), |port| parse_port(entry, port))?,
        })
    }
}

fn parse_methods(entry: &str, methods: &str) -> Result<Vec<Method>, DestinationError> {
    let methods = methods.split(',').filter(|method| !method.is_empty());
    methods
        .map(|method| {
            let valid = method.bytes().all(|byte| byte.is_ascii_uppercase());
            let parsed = Method::from_bytes(method.as_bytes()).ok().filter(|_| valid);
            parsed.ok_or_else(|| DestinationError::Method { entry: entry.into(), method: method.into() })
        })
        .collect()
}

fn parse_scheme(entry: &str, scheme: &str) -> Result<Scheme, DestinationError> {
    match scheme {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        _ => Err(DestinationError::Scheme { entry: entry.into(), scheme: scheme.into() }),
    }
}

/// The colon before a port is not one within the brackets of an address.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn parse_port(entry: &str, port: &str) -> Result<Port, DestinationError> {
    match port {
        "*" => Ok(Port::Any),
        _ => match port.parse() {
            Ok(number) if number > 0 => Ok(Port::Number(number)),
            _ => Err(DestinationError::Port { entry: entry.into(), port: port.into() }),
        },
    }
}

fn parse_host(entry: &str, host: &str) -> Result<Host, DestinationError> {
    let host = host.to_ascii_lowercase();
    if host == "*" {
        return Ok(Host::Any);
    }
    let (name, suffix) = match host.strip_prefix('*') {
        Some(suffix) => (suffix.strip_prefix('.').unwrap_or(""), true),
        None => (host.as_str(), false),
    };
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let valid = match address {
        Some(address) => !suffix && address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.len() <= 253 && name.bytes().all(of_name),
    };
    if !valid {
        return Err(DestinationError::Host { entry: entry.into(), host });
    }
    Ok(if suffix { Host::Suffix(format!(".{name}")) } else { Host::Name(name.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, request: &str) -> bool {
        let (method, url) = request.split_once(' ').expect("a method");
        let uri: http::Uri = url.parse().expect("a url");
        let scheme = uri.scheme_str().expect("a scheme");
        let port = uri.port_u16().unwrap_or(default_port(scheme));
        let destination: Destination = entry.parse().expect("a destination");
        destination.allows(&method.parse().expect("a method"), scheme, uri.host().expect("a host"), port)
    }

    #[test]
    fn an_entry_allows_what_it_says_and_nothing_else() {
        for (entry, request, allowed) in [
            ("api.example.com:443", "GET https://api.example.com/", true),
            ("api.example.com:443", "GET http://api.example.com:443/", true),
            ("api.example.com", "GET https://api.example.com/", true),
            ("api.example.com", "GET http://api.example.com/", true),
            ("api.example.com", "GET http://api.example.com:8080/", false),
            ("api.example.com", "GET http://xapi.example.com/", false),
            ("API.Example.com", "GET http://api.example.com/", true),
            ("https://api.example.com", "GET http://api.example.com/", false),
            ("https://api.example.com/", "GET https://api.example.com/x", true),
            ("*.example.com", "GET http://a.b.example.com/", true),
            ("*.example.com", "GET http://example.com/", false),
            ("*.example.com", "GET http://badexample.com/", false),
            ("*.internal:5432", "GET http://db.internal:5432/", true),
            ("*:*", "GET http://anything:1/", true),
            ("*", "GET http://anything:1/", false),
            ("GET,HEAD https://x", "GET https://x/", true),
            ("GET,HEAD https://x", "POST https://x/", false),
            ("[::1]:80", "GET http://[::1]/", true),
            ("[::1]", "GET http://[::2]/", false),
            ("127.0.0.1:8080", "GET http://127.0.0.1:8080/", true),
        ] {
            assert_eq!(allows(entry, request), allowed, "{entry} and {request}");
        }
    }

    #[test]
    fn an_entry_leads_as_far_as_its_host_is_certain() {
        for (entry, grant) in [
            ("*:*", Grant::Public),
            ("*.example.com", Grant::Public),
            ("*.localhost", Grant::Public),
            ("api.example.com", Grant::Private),
            ("10.example.com", Grant::Private),
            ("localhost:8080", Grant::Anywhere),
            ("db.LOCALHOST", Grant::Anywhere),
            ("notlocalhost", Grant::Private),
            ("127.0.0.1:8080", Grant::Anywhere),
            ("[fe80::1]", Grant::Anywhere),
        ] {
            assert_eq!(entry.parse::<Destination>().expect("a destination").grant(), grant, "{entry}");
        }
    }

    #[test]
    fn an_entry_that_is_not_one_is_told_what_is_wrong() {
        for (entry, words) in [
            ("ftp://x", "scheme ftp is neither http nor https"),
            ("get x", "get is not a method"),
            ("x:0", "port 0 is neither * nor between 1 and 65535"),
            ("x:65536", "port 65536 is neither"),
            ("", "host  is neither a name"),
            ("*x.com", "host *x.com is neither"),
            ("a/b", "host a/b is neither"),
            ("[::g]", "host [::g] is neither"),
            ("*.[::1]", "host *.[::1] is neither"),
        ] {
            let error = entry.parse::<Destination>().expect_err(entry).to_string();
            assert!(error.contains(words), "{entry}: {error}");
        }
    }
}
