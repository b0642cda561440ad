//! Where an outgoing request goes, as its URL says.

use std::net::{IpAddr, Ipv6Addr};

use http::Uri;
use http::uri::PathAndQuery;
use wasmtime_wasi_http::Error;

use crate::permissions::default_port;

/// An upstream: what connections are kept for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// In lower case, IPv6 addresses in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Target {
    pub(crate) fn of(uri: &Uri) -> Result<Self, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        // A user in the authority only makes one host look like another.
        if authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let tls = uri.scheme_str() == Some("https");
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        if host.is_empty() {
            return Err(Error::HttpRequestUriInvalid);
        }
        let scheme = if tls { "https" } else { "http" };
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| Error::HttpRequestUriInvalid)?,
            None => default_port(scheme),
        };
        Ok(Self { tls, host, port })
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The host, if it is an address.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => self.host.parse().ok(),
        }
    }
}

/// What a request line to an origin has.
pub(crate) fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let path = if path.as_str().starts_with('?') {
        PathAndQuery::try_from(format!("/{path}")).unwrap_or_else(|_| PathAndQuery::from_static("/"))
    } else {
        path
    };
    Uri::from(path)
}
