//! How the HTTP front end of this node serves.

use std::path::PathBuf;

use refrain_front::{CertificateFiles, ClientLimits, ConnectionLimits, Network};

use super::Endpoint;

mod limits;

/// Most threads of the front end.
const MAX_THREADS: usize = 256;

/// What flags, the environment or the file say.
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// See [`HttpConfig::http`].
    pub http: Option<Vec<Endpoint>>,
    /// See [`HttpConfig::https`].
    pub https: Option<Vec<Endpoint>>,
    /// Certificates, in PEM; as many as keys.
    pub tls_certificate: Option<Vec<PathBuf>>,
    /// Their keys, in PEM.
    pub tls_key: Option<Vec<PathBuf>>,
    /// See [`HttpConfig::trusted`].
    pub http_trusted: Option<Vec<String>>,
    /// See [`HttpConfig::proxy_protocol`].
    pub http_proxy_protocol: Option<Vec<String>>,
    /// See [`HttpConfig::threads`].
    pub http_threads: Option<usize>,
    /// See [`ConnectionLimits::connections`].
    pub http_connections: Option<u32>,
    /// See [`ConnectionLimits::client_connections`].
    pub http_client_connections: Option<u32>,
    /// See [`ClientLimits::requests`].
    pub http_client_requests: Option<u32>,
    /// See [`ClientLimits::rate`].
    pub http_client_rate: Option<u32>,
    /// The burst of the rate.
    pub http_client_burst: Option<u32>,
    /// A time with its unit; see [`ConnectionLimits::head`].
    pub http_head_timeout: Option<String>,
    /// A time with its unit; see [`ConnectionLimits::idle`].
    pub http_idle_timeout: Option<String>,
    /// A time with its unit; see [`ConnectionLimits::write_idle`].
    pub http_write_timeout: Option<String>,
    /// A size with its unit; see [`ConnectionLimits::head_bytes`].
    pub http_head_bytes: Option<String>,
    /// See [`ConnectionLimits::headers`].
    pub http_headers: Option<usize>,
    /// See [`HttpConfig::access_log`].
    pub access_log: Option<bool>,
}

/// What holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where it listens in clear. None: the default port, or a free one when that is taken, if there is anything to
    /// serve.
    pub http: Option<Vec<Endpoint>>,
    /// Where it listens with TLS.
    pub https: Vec<Endpoint>,
    /// The certificates for it. None: one for development, kept in the data folder.
    pub certificates: Vec<CertificateFiles>,
    /// Peers whose `forwarded` and `x-forwarded-*` are believed.
    pub trusted: Vec<Network>,
    /// Peers whose connections begin with a header of the PROXY protocol, which names the client.
    pub proxy_protocol: Vec<Network>,
    /// Its threads. None: as many as cores.
    pub threads: Option<usize>,
    /// What one client may do.
    pub client: ClientLimits,
    /// What a connection may do.
    pub connection: ConnectionLimits,
    /// Whether each request is told in the log, at the target `access`.
    pub access_log: bool,
}

impl HttpConfig {
    pub(super) fn merge(given: HttpSettings, file: HttpSettings, faults: &mut Vec<String>) -> Self {
        let (client, connection) = limits::merge(&given, &file, faults);
        let certificates = given.tls_certificate.or(file.tls_certificate).unwrap_or_default();
        let keys = given.tls_key.or(file.tls_key).unwrap_or_default();
        if certificates.len() != keys.len() {
            let (certificates, keys) = (certificates.len(), keys.len());
            faults.push(format!("tls-certificate: {certificates} of them, and {keys} of tls-key"));
        }
        let trusted = ranges("http-trusted", given.http_trusted.or(file.http_trusted), faults);
        let proxies = given.http_proxy_protocol.or(file.http_proxy_protocol);
        let proxy_protocol = ranges("http-proxy-protocol", proxies, faults);
        let threads = given.http_threads.or(file.http_threads);
        if let Some(threads) = threads
            && !(1..=MAX_THREADS).contains(&threads)
        {
            faults.push(format!("http-threads: {threads} is not in 1 to {MAX_THREADS}"));
        }
        let pairs = certificates.into_iter().zip(keys);
        Self {
            http: given.http.or(file.http),
            https: given.https.or(file.https).unwrap_or_default(),
            certificates: pairs.map(|(certificate, key)| CertificateFiles { certificate, key }).collect(),
            trusted,
            proxy_protocol,
            threads,
            client,
            connection,
            access_log: given.access_log.or(file.access_log).unwrap_or(false),
        }
    }
}

fn ranges(key: &str, texts: Option<Vec<String>>, faults: &mut Vec<String>) -> Vec<Network> {
    let mut ranges = Vec::new();
    for text in texts.unwrap_or_default() {
        match text.parse() {
            Ok(range) => ranges.push(range),
            Err(error) => faults.push(format!("{key}: {error}")),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_what_does_not_fit_is_told() {
        let mut faults = Vec::new();
        let at = |text: &str| text.parse::<Endpoint>().unwrap();
        let given = HttpSettings { http: Some(vec![at("127.0.0.1:80")]), ..HttpSettings::default() };
        let file = HttpSettings {
            http: Some(vec![at("127.0.0.1:81")]),
            https: Some(vec![at("unix:/run/web.sock")]),
            http_trusted: Some(vec!["10.0.0.0/8".to_owned()]),
            http_proxy_protocol: Some(vec!["10.0.0.0/8".to_owned(), "::1".to_owned()]),
            ..HttpSettings::default()
        };
        let merged = HttpConfig::merge(given, file, &mut faults);
        assert_eq!(merged.http, Some(vec![at("127.0.0.1:80")]));
        assert_eq!((merged.https.len(), merged.trusted.len(), merged.proxy_protocol.len()), (1, 1, 2));
        assert!(faults.is_empty());
        let wrong = HttpSettings {
            tls_certificate: Some(vec!["a.pem".into()]),
            http_trusted: Some(vec!["here".to_owned()]),
            http_proxy_protocol: Some(vec!["10.0.0.0/33".to_owned()]),
            http_threads: Some(MAX_THREADS + 1),
            ..HttpSettings::default()
        };
        HttpConfig::merge(wrong, HttpSettings::default(), &mut faults);
        assert_eq!(faults.len(), 4, "{faults:?}");
        let least = HttpSettings { http_threads: Some(MAX_THREADS), ..HttpSettings::default() };
        faults.clear();
        HttpConfig::merge(least, HttpSettings::default(), &mut faults);
        assert!(faults.is_empty());
    }
}
