//! TLS 1.2 and 1.3 for clients, by rustls: certificates chosen by name, from files that may change at any time.
//!
//! A plan names pairs of files. They are read when the plan is taken, and again when they change: a pair that cannot be
//! read then is told in the log and the one before it stays in use. Connections keep what they began with.

mod choose;
mod development;
mod load;
mod names;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::sleep;

use choose::Certificates;
pub use development::{DevelopmentError, write_development_certificate};
pub use load::CertificateError;

/// What HTTP/2 is called in ALPN.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// A certificate with its chain, and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, then those that lead to its issuer.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The certificates in use, and how TLS is spoken with them.
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    chosen: Arc<Chosen>,
    loaded: Mutex<Vec<Loaded>>,
}

#[derive(Debug)]
struct Loaded {
    files: CertificateFiles,
    key: Arc<CertifiedKey>,
    seen: [Option<SystemTime>; 2],
}

#[derive(Debug, Default)]
struct Chosen(RwLock<Arc<Certificates>>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().find(hello.server_name())
    }
}

impl Tls {
    pub(crate) fn new() -> Self {
        let chosen = Arc::new(Chosen::default());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("ring has what both versions need");
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&chosen) as _;
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), b"http/1.1".to_vec()];
        Self { config: Arc::new(config), chosen, loaded: Mutex::default() }
    }

    pub(crate) const fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Reads all files.
    pub(crate) fn read(all: &[CertificateFiles]) -> Result<Prepared, CertificateError> {
        all.iter().map(read_one).collect::<Result<_, _>>().map(Prepared)
    }

    /// Takes what was read into use.
    pub(crate) fn take(&self, prepared: Prepared) {
        let mut loaded = self.loaded.lock();
        *loaded = prepared.0;
        self.publish(&loaded);
    }

    /// To be called under the lock of what was loaded, so that what changed last is what is in use.
    fn publish(&self, loaded: &[Loaded]) {
        let keys = loaded.iter().map(|loaded| Arc::clone(&loaded.key)).collect();
        *self.chosen.0.write() = Arc::new(Certificates::new(keys));
    }

    /// Follows the files for ever.
    pub(crate) async fn watch(&self) {
        loop {
            sleep(LOOK).await;
            self.look();
        }
    }

    /// Reads again what has changed.
    fn look(&self) {
        let changed: Vec<CertificateFiles> = {
            let loaded = self.loaded.lock();
            loaded.iter().filter(|one| load::seen(&one.files) != one.seen).map(|one| one.files.clone()).collect()
        };
        for files in changed {
            let seen = load::seen(&files);
            let read = load::load(&files);
            let mut loaded = self.loaded.lock();
            // The plan may have changed meanwhile.
            let Some(one) = loaded.iter_mut().find(|one| one.files == files) else { continue };
            // Also after an error: it is told once, until the files change again.
            one.seen = seen;
            match read {
                Ok(key) => one.key = key,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a new certificate is not used");
                    continue;
                }
            }
            self.publish(&loaded);
            drop(loaded);
            tracing::info!(certificate = %files.certificate.display(), "a new certificate is in use");
        }
    }
}

/// Certificates that were read and are not in use yet.
#[derive(Debug)]
pub(crate) struct Prepared(Vec<Loaded>);

fn read_one(files: &CertificateFiles) -> Result<Loaded, CertificateError> {
    // Before the content: a change in between is then seen as one.
    let seen = load::seen(files);
    Ok(Loaded { files: files.clone(), key: load::load(files)?, seen })
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({} certificates)", self.loaded.lock().len())
    }
}
