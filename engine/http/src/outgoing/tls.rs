//! TLS to upstreams: rustls with ring, and the certificate authorities of the machine or of a file.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wasmtime_wasi_http::Error;

pub(crate) struct Tls {
    authorities: Option<PathBuf>,
    /// Read when the first guest needs it. None where there are no authorities.
    connector: OnceLock<Option<TlsConnector>>,
}

impl Tls {
    /// Trusts the authorities of a PEM file, or those of the machine.
    pub(crate) fn new(authorities: Option<PathBuf>) -> Self {
        Self { authorities, connector: OnceLock::new() }
    }

    /// Secures a connection to the host.
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
        let connector = self.connector.get_or_init(|| self.connector()).as_ref().ok_or(Error::ConfigurationError)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| Error::HttpRequestUriInvalid)?;
        connector.connect(name, stream).await.map_err(|error| reason(&error))
    }

    fn connector(&self) -> Option<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.certificates());
        if roots.is_empty() {
            tracing::error!("there are no certificate authorities: guests cannot send https requests");
            return None;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("ring speaks the default versions").with_root_certificates(roots);
        Some(TlsConnector::from(Arc::new(config.with_no_client_auth())))
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let Some(path) = &self.authorities else {
            return rustls_native_certs::load_native_certs().certs;
        };
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        read.unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "certificate authorities cannot be read");
            Vec::new()
        })
    }
}

fn reason(error: &std::io::Error) -> Error {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}
