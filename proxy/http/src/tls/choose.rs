//! Which certificate a client gets: the first that is valid for the name that it asks for, else the first.

use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

#[derive(Debug, Default)]
pub(super) struct Certificates {
    keys: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    pub(super) const fn new(keys: Vec<Arc<CertifiedKey>>) -> Self {
        Self { keys }
    }

    pub(super) fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| ServerName::try_from(name).ok());
        let fits = named.and_then(|name| self.keys.iter().find(|key| is_valid_for(key, &name)));
        fits.or_else(|| self.keys.first()).cloned()
    }
}

fn is_valid_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.cert.first().and_then(|der| ParsedCertificate::try_from(der).ok());
    certificate.is_some_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
