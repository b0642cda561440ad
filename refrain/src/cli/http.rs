//! Flags of the HTTP front end, which every server process takes.

use std::path::PathBuf;

use clap::Args;
use refrain::config::{Endpoint, HttpSettings};

use super::whole;

/// What is left out comes from the configuration file or is a default.
#[derive(Debug, Default, Args)]
pub(super) struct HttpArgs {
    /// Where the HTTP front end listens in clear: an address, or unix:/path; may be given several times [default:
    /// 127.0.0.1:8000, or a free port when that is taken, if any service has routes].
    #[arg(long, value_name = "ADDR", env = "REFRAIN_HTTP", value_delimiter = ',')]
    http: Option<Vec<Endpoint>>,
    /// Where it listens with TLS; may be given several times. Without --tls-certificate it has one for development.
    #[arg(long, value_name = "ADDR", env = "REFRAIN_HTTPS", value_delimiter = ',')]
    https: Option<Vec<Endpoint>>,
    /// A certificate with its chain (PEM), chosen by the names in it; read again when it changes. May be given several
    /// times, each with its --tls-key.
    #[arg(long, value_name = "FILE", env = "REFRAIN_TLS_CERTIFICATE", value_delimiter = ',')]
    tls_certificate: Option<Vec<PathBuf>>,
    /// The key of a certificate (PEM), in the order of these.
    #[arg(long, value_name = "FILE", env = "REFRAIN_TLS_KEY", value_delimiter = ',')]
    tls_key: Option<Vec<PathBuf>>,
    /// Peers of the HTTP front end whose `forwarded` headers are believed, like 10.0.0.0/8; may be given several times.
    #[arg(long, value_name = "RANGE", env = "REFRAIN_HTTP_TRUSTED", value_delimiter = ',')]
    http_trusted: Option<Vec<String>>,
    /// Peers of the HTTP front end that begin every connection with a PROXY protocol header, which names the client, like
    /// 10.0.0.0/8; may be given several times.
    #[arg(long, value_name = "RANGE", env = "REFRAIN_HTTP_PROXY_PROTOCOL", value_delimiter = ',')]
    http_proxy_protocol: Option<Vec<String>>,
    /// Threads of the HTTP front end [default: one a core].
    #[arg(long, value_name = "N", env = "REFRAIN_HTTP_THREADS", value_parser = whole::<usize>)]
    http_threads: Option<usize>,
    /// Connections of the HTTP front end at once [default: 65536].
    #[arg(long, value_name = "N", env = "REFRAIN_HTTP_CONNECTIONS", value_parser = whole::<u32>)]
    http_connections: Option<u32>,
    /// Connections at once of one client, that is one address, of IPv6 a /64 [default: 16384].
    #[arg(long, value_name = "N", env = "REFRAIN_HTTP_CLIENT_CONNECTIONS", value_parser = whole::<u32>)]
    http_client_connections: Option<u32>,
    /// Requests at once of one client; more get 429 [default: 12000].
    #[arg(long, value_name = "N", env = "REFRAIN_HTTP_CLIENT_REQUESTS", value_parser = whole::<u32>)]
    http_client_requests: Option<u32>,
    /// Requests a second of one client in the long run; more get 429 [default: no limit].
    #[arg(long, value_name = "N", env = "REFRAIN_HTTP_CLIENT_RATE", value_parser = whole::<u32>)]
    http_client_rate: Option<u32>,
    /// How many of them may come at once after a pause [default: those of a second].
    #[arg(long, value_name = "N", env = "REFRAIN_HTTP_CLIENT_BURST", value_parser = whole::<u32>)]
    http_client_burst: Option<u32>,
    /// How long the head of a request may take from its first byte to its last, and a TLS handshake [default: 10s].
    #[arg(long, value_name = "TIME", env = "REFRAIN_HTTP_HEAD_TIMEOUT")]
    http_head_timeout: Option<String>,
    /// How long a connection may be without a request [default: 75s].
    #[arg(long, value_name = "TIME", env = "REFRAIN_HTTP_IDLE_TIMEOUT")]
    http_idle_timeout: Option<String>,
    /// How long a client may take nothing of an answer [default: 60s].
    #[arg(long, value_name = "TIME", env = "REFRAIN_HTTP_WRITE_TIMEOUT")]
    http_write_timeout: Option<String>,
    /// Bytes of the head of a request; more get 431 [default: 64KiB].
    #[arg(long, value_name = "SIZE", env = "REFRAIN_HTTP_HEAD_BYTES")]
    http_head_bytes: Option<String>,
    /// Headers of a request; more get 431 [default: 100].
    #[arg(long, value_name = "N", env = "REFRAIN_HTTP_HEADERS", value_parser = whole::<usize>)]
    http_headers: Option<usize>,
    /// Whether each HTTP request is told in the log [default: false].
    #[arg(long, value_name = "BOOL", env = "REFRAIN_ACCESS_LOG")]
    access_log: Option<bool>,
}

impl HttpArgs {
    pub(super) fn settings(self) -> HttpSettings {
        HttpSettings {
            http: self.http,
            https: self.https,
            tls_certificate: self.tls_certificate,
            tls_key: self.tls_key,
            http_trusted: self.http_trusted,
            http_proxy_protocol: self.http_proxy_protocol,
            http_threads: self.http_threads,
            http_connections: self.http_connections,
            http_client_connections: self.http_client_connections,
            http_client_requests: self.http_client_requests,
            http_client_rate: self.http_client_rate,
            http_client_burst: self.http_client_burst,
            http_head_timeout: self.http_head_timeout,
            http_idle_timeout: self.http_idle_timeout,
            http_write_timeout: self.http_write_timeout,
            http_head_bytes: self.http_head_bytes,
            http_headers: self.http_headers,
            access_log: self.access_log,
        }
    }
}
