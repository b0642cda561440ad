//! How the HTTP front end of this node serves.

use std::path::PathBuf;

use refrain_front::{CertificateFiles, Network};
use serde::Serialize;

use super::Endpoint;

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
    /// See [`HttpConfig::threads`].
    pub http_threads: Option<usize>,
    /// See [`HttpConfig::access_log`].
    pub access_log: Option<bool>,
}

/// What holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HttpConfig {
    /// Where it listens in clear. None: the default port, or a free one when that is taken, if there is anything to
    /// serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Vec<Endpoint>>,
    /// Where it listens with TLS.
    pub https: Vec<Endpoint>,
    /// The certificates for it. None: one for development, kept in the data folder.
    #[serde(skip)]
    pub certificates: Vec<CertificateFiles>,
    /// Peers whose `forwarded` and `x-forwarded-*` are believed.
    #[serde(skip)]
    pub trusted: Vec<Network>,
    /// Its threads. None: as many as cores.
    #[serde(rename = "http-threads", skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Whether each request is told in the log, at the target `access`.
    pub access_log: bool,
}

impl HttpConfig {
    pub(super) fn merge(given: HttpSettings, file: HttpSettings, faults: &mut Vec<String>) -> Self {
        let certificates = given.tls_certificate.or(file.tls_certificate).unwrap_or_default();
        let keys = given.tls_key.or(file.tls_key).unwrap_or_default();
        if certificates.len() != keys.len() {
            let (certificates, keys) = (certificates.len(), keys.len());
            faults.push(format!("tls-certificate: {certificates} of them, and {keys} of tls-key"));
        }
        let mut trusted = Vec::new();
        for text in given.http_trusted.or(file.http_trusted).unwrap_or_default() {
            match text.parse() {
                Ok(network) => trusted.push(network),
                Err(error) => faults.push(format!("http-trusted: {error}")),
            }
        }
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
            threads,
            access_log: given.access_log.or(file.access_log).unwrap_or(false),
        }
    }
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
            ..HttpSettings::default()
        };
        let merged = HttpConfig::merge(given, file, &mut faults);
        assert_eq!(merged.http, Some(vec![at("127.0.0.1:80")]));
        assert_eq!((merged.https.len(), merged.trusted.len()), (1, 1));
        assert!(faults.is_empty());
        let wrong = HttpSettings {
            tls_certificate: Some(vec!["a.pem".into()]),
            http_trusted: Some(vec!["here".to_owned()]),
            http_threads: Some(MAX_THREADS + 1),
            ..HttpSettings::default()
        };
        HttpConfig::merge(wrong, HttpSettings::default(), &mut faults);
        assert_eq!(faults.len(), 3, "{faults:?}");
        let least = HttpSettings { http_threads: Some(MAX_THREADS), ..HttpSettings::default() };
        faults.clear();
        HttpConfig::merge(least, HttpSettings::default(), &mut faults);
        assert!(faults.is_empty());
    }
}
