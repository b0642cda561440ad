//! Where ports of services listen on this node, instead of what their manifests say.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One port of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenAt {
    /// `namespace/name`.
    pub service: String,
    /// The port's name in the manifest.
    pub port: String,
    /// Where it listens; port 0 takes any free one.
    pub address: SocketAddr,
}

impl ListenAt {
    /// Reads `NAMESPACE/NAME/PORT=ADDR`.
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
            None => faults.push(format!("listen: {flag:?} is not like examples/echo/echo=127.0.0.1:9000")),
        }
    }
    for at in file {
        if !listen.iter().any(|known| (&known.service, &known.port) == (&at.service, &at.port)) {
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
        let merged = merge(&flags, vec![at("a/b", "127.0.0.1:2"), at("a/c", "127.0.0.1:3")], &mut faults);
        assert_eq!(merged, [at("a/b", "127.0.0.1:1"), at("a/c", "127.0.0.1:3")]);
        assert_eq!(faults.len(), 2, "{faults:#?}");
    }
}
