//! Where ports of services listen on this node, instead of what their manifests say.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use refrain_service::bounds::UNIX_PATH_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// What a path of a Unix socket begins with where an address could stand too.
const PATH_PREFIX: &str = "unix:";

/// Where a port is listened for: an address, or the path of a Unix socket, written `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Endpoint {
    /// An address; port 0 takes any free one.
    Address(SocketAddr),
    /// An absolute path.
    Path(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Path(path) => write!(out, "{PATH_PREFIX}{}", path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(PATH_PREFIX) {
            Some(path) if path.starts_with('/') && path.len() <= UNIX_PATH_BYTES_MAX => Ok(Self::Path(path.into())),
            Some(_) => {
                Err(format!("{text:?} is not unix: and an absolute path of at most {UNIX_PATH_BYTES_MAX} bytes"))
            }
            None => text.parse().map(Self::Address).map_err(|_| format!("{text:?} is not an address and a port")),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

/// One port of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenAt {
    /// `namespace/name`.
    pub service: String,
    /// The port's name in the manifest.
    pub port: String,
    /// Where it listens. Addresses replace those of the manifest, paths its path.
    pub address: Endpoint,
}

impl ListenAt {
    /// Reads `NAMESPACE/NAME/PORT=WHERE`.
    fn parse(text: &str) -> Option<Self> {
        let (name, address) = text.split_once('=')?;
        let (service, port) = name.rsplit_once('/')?;
        let named = service.split('/').filter(|part| !part.is_empty()).count() == 2 && !port.is_empty();
        let address = address.parse().ok()?;
        named.then(|| Self { service: service.to_owned(), port: port.to_owned(), address })
    }
}

/// Flags, and what the file has for ports that no flag names.
pub(super) fn merge(flags: &[String], file: Vec<ListenAt>, faults: &mut Vec<String>) -> Vec<ListenAt> {
    let mut listen: Vec<ListenAt> = Vec::new();
    for flag in flags {
        match ListenAt::parse(flag) {
            Some(at) => listen.push(at),
            None => faults.push(format!(
                "listen: {flag:?} is not like examples/echo/echo=127.0.0.1:9000 or examples/echo/echo=unix:/run/echo.sock"
            )),
        }
    }
    let flagged = listen.len();
    for at in file {
        if !listen[..flagged].iter().any(|known| (&known.service, &known.port) == (&at.service, &at.port)) {
            listen.push(at);
        }
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_file_and_nonsense_is_told() {
        let at = |service: &str, address: &str| ListenAt {
            service: service.into(),
            port: "resp".into(),
            address: address.parse().unwrap(),
        };
        let mut faults = Vec::new();
        let flags = ["a/b/resp=127.0.0.1:1".to_owned(), "a/resp=127.0.0.1:1".to_owned(), "a/b/c=here".to_owned()];
        let merged = merge(&flags, vec![at("a/b", "127.0.0.1:2"), at("a/c", "unix:/run/c")], &mut faults);
        assert_eq!(merged, [at("a/b", "127.0.0.1:1"), at("a/c", "unix:/run/c")]);
        assert_eq!(faults.len(), 2, "{faults:#?}");
    }

    #[test]
    fn an_endpoint_is_an_address_or_an_absolute_path_and_written_as_it_is_read() {
        let longest = format!("unix:/{}", "x".repeat(UNIX_PATH_BYTES_MAX - 1));
        for text in ["127.0.0.1:80", "[::1]:0", "unix:/run/a=b.sock", &longest] {
            assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "localhost:80", "127.0.0.1", "/run/x", "unix:", "unix:run/x", &format!("{longest}x")] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
