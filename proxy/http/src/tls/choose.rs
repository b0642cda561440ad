//! Which certificate a client gets: the first that is valid for the name that it asks for, else the first.
//!
//! The names are read when the certificates are taken into use: a handshake looks one up, however many there are.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::names::dns_names;

#[derive(Debug, Default)]
pub(super) struct Certificates {
    keys: Vec<Arc<CertifiedKey>>,
    /// The first of them for each name, in small letters; `*.name` is for one more label before it.
    by_name: HashMap<String, usize>,
}

impl Certificates {
    pub(super) fn new(keys: Vec<Arc<CertifiedKey>>) -> Self {
        let mut by_name = HashMap::new();
        for (index, key) in keys.iter().enumerate() {
            for name in names_of(key) {
                by_name.entry(name).or_insert(index);
            }
        }
        Self { keys, by_name }
    }

    pub(super) fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let fits = name.and_then(|name| self.first_for(&name.to_ascii_lowercase()));
        self.keys.get(fits.unwrap_or(0)).cloned()
    }

    fn first_for(&self, name: &str) -> Option<usize> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let wildcard = name.split_once('.').and_then(|(_, parent)| self.by_name.get(&format!("*.{parent}")));
        self.by_name.get(name).into_iter().chain(wildcard).min().copied()
    }
}

/// Names that rustls takes the certificate for.
fn names_of(key: &CertifiedKey) -> Vec<String> {
    let Some(der) = key.cert.first() else { return Vec::new() };
    let Ok(parsed) = ParsedCertificate::try_from(der) else { return Vec::new() };
    let is_valid = |name: &String| {
        let one = name.strip_prefix('*').map_or_else(|| name.clone(), |parent| format!("x{parent}"));
        ServerName::try_from(one).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    };
    dns_names(der).into_iter().map(str::to_ascii_lowercase).filter(is_valid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificates(all: &[&[&str]]) -> Certificates {
        let key = |names: &&[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            let der = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
            let signing = rustls::crypto::ring::sign::any_supported_type(&der).unwrap();
            Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], signing))
        };
        Certificates::new(all.iter().map(key).collect())
    }

    #[test]
    fn the_first_that_is_valid_for_the_name_is_chosen_else_the_first() {
        let all = certificates(&[&["first.test"], &["*.A.test", "a.test"], &["b.a.test", "127.0.0.1"], &["a.test"]]);
        for (name, expected) in [
            (None, 0),
            (Some("first.test"), 0),
            (Some("a.test"), 1),
            (Some("A.TEST."), 1),
            (Some("b.a.test"), 1),
            (Some("c.b.a.test"), 0),
            (Some("unknown.test"), 0),
            (Some("test"), 0),
            (Some(""), 0),
        ] {
            let found = all.find(name).unwrap();
            let found = all.keys.iter().position(|key| Arc::ptr_eq(key, &found)).unwrap();
            assert_eq!(found, expected, "{name:?}");
        }
        assert!(Certificates::default().find(Some("a.test")).is_none());
    }

    #[test]
    fn what_is_chosen_is_what_rustls_takes_for_the_name() {
        let all = certificates(&[&["first.test"], &["*.a.test"], &["b.test", "*.b.test"], &["*.test", "test"]]);
        for name in ["a.test", "x.a.test", "y.x.a.test", "b.test", "x.b.test", "test", "c.test", "first.test", "none"] {
            let server = ServerName::try_from(name).unwrap();
            let fits = all.keys.iter().position(|key| {
                let parsed = ParsedCertificate::try_from(&key.cert[0]).unwrap();
                verify_server_name(&parsed, &server).is_ok()
            });
            let found = all.find(Some(name)).unwrap();
            assert!(Arc::ptr_eq(&found, &all.keys[fits.unwrap_or(0)]), "{name}");
        }
    }
}
