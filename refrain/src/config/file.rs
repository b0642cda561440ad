//! The configuration file, as written; and as it is printed, so that the same results from it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use refrain_service::{ByteSize, format_duration};
use serde::{Deserialize, Serialize};

use super::{Config, Durability, Endpoint, HttpSettings, ListenAt, PlaceAt, Role};

/// Its keys; what is none is not there.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) services: Option<Vec<PathBuf>>,
    pub(super) replicas: Option<u8>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) durability: Option<Durability>,
    pub(super) admin_listen: Option<SocketAddr>,
    pub(super) allow_fault_injection: Option<bool>,
    pub(super) max_log_bytes: Option<String>,
    pub(super) engine_workers: Option<usize>,
    pub(super) max_connections: Option<u32>,
    pub(super) drain_timeout: Option<String>,
    pub(super) http: Option<Vec<Endpoint>>,
    pub(super) https: Option<Vec<Endpoint>>,
    pub(super) tls_certificate: Option<Vec<PathBuf>>,
    pub(super) tls_key: Option<Vec<PathBuf>>,
    pub(super) http_trusted: Option<Vec<String>>,
    pub(super) http_proxy_protocol: Option<Vec<String>>,
    pub(super) http_threads: Option<usize>,
    pub(super) http_connections: Option<u32>,
    pub(super) http_client_connections: Option<u32>,
    pub(super) http_client_requests: Option<u32>,
    pub(super) http_client_rate: Option<u32>,
    pub(super) http_client_burst: Option<u32>,
    pub(super) http_head_timeout: Option<String>,
    pub(super) http_idle_timeout: Option<String>,
    pub(super) http_write_timeout: Option<String>,
    pub(super) http_head_bytes: Option<String>,
    pub(super) http_headers: Option<usize>,
    pub(super) access_log: Option<bool>,
    pub(super) insecure: Option<bool>,
    pub(super) election_timeout: Option<String>,
    pub(super) heartbeat_interval: Option<String>,
    pub(super) peer_timeout: Option<String>,
    pub(super) lease: Option<String>,
    pub(super) checkpoint_batches: Option<u64>,
    pub(super) checkpoint_bytes: Option<String>,
    pub(super) checkpoint_interval: Option<String>,
    pub(super) log_cut_interval: Option<String>,
    pub(super) rebuild: Option<bool>,
    pub(super) outward: Option<bool>,
    pub(super) peer_listen: Option<SocketAddr>,
    pub(super) shards: Option<u16>,
    pub(super) node: Option<u64>,
    pub(super) cluster: Option<PathBuf>,
    pub(super) roles: Option<Vec<Role>>,
    pub(super) join: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) listen: Vec<ListenAt>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) place: Vec<PlaceAt>,
}

impl File {
    /// What it says of the HTTP front end.
    pub(super) fn http(&mut self) -> HttpSettings {
        HttpSettings {
            http: self.http.take(),
            https: self.https.take(),
            tls_certificate: self.tls_certificate.take(),
            tls_key: self.tls_key.take(),
            http_trusted: self.http_trusted.take(),
            http_proxy_protocol: self.http_proxy_protocol.take(),
            http_threads: self.http_threads,
            http_connections: self.http_connections,
            http_client_connections: self.http_client_connections,
            http_client_requests: self.http_client_requests,
            http_client_rate: self.http_client_rate,
            http_client_burst: self.http_client_burst,
            http_head_timeout: self.http_head_timeout.take(),
            http_idle_timeout: self.http_idle_timeout.take(),
            http_write_timeout: self.http_write_timeout.take(),
            http_head_bytes: self.http_head_bytes.take(),
            http_headers: self.http_headers,
            access_log: self.access_log,
        }
    }

    /// The file from which a configuration results, of `refrain up` or of a node.
    pub(super) fn of(config: &Config) -> Self {
        let (http, cluster) = (&config.http, &config.cluster);
        let (client, connection) = (&http.client, &http.connection);
        let bytes = |bytes| Some(ByteSize::bytes(bytes).to_string());
        let time = |time: Duration| Some(format_duration(time));
        let is_node = cluster.file.is_some();
        Self {
            services: Some(config.services.clone()),
            replicas: config.replicas,
            data_dir: Some(config.data_dir.clone()),
            durability: Some(config.durability),
            admin_listen: config.admin_listen,
            allow_fault_injection: Some(config.allow_fault_injection),
            max_log_bytes: bytes(config.max_log_bytes),
            engine_workers: Some(config.engine_workers),
            max_connections: Some(config.max_connections),
            drain_timeout: time(config.drain_timeout),
            http: http.http.clone(),
            https: Some(http.https.clone()),
            tls_certificate: Some(http.certificates.iter().map(|pair| pair.certificate.clone()).collect()),
            tls_key: Some(http.certificates.iter().map(|pair| pair.key.clone()).collect()),
            http_trusted: Some(http.trusted.iter().map(ToString::to_string).collect()),
            http_proxy_protocol: Some(http.proxy_protocol.iter().map(ToString::to_string).collect()),
            http_threads: http.threads,
            http_connections: Some(connection.connections),
            http_client_connections: Some(connection.client_connections),
            http_client_requests: Some(client.requests),
            http_client_rate: client.rate.map(|rate| rate.per_second),
            http_client_burst: client.rate.map(|rate| rate.burst),
            http_head_timeout: time(connection.head),
            http_idle_timeout: time(connection.idle),
            http_write_timeout: time(connection.write_idle),
            http_head_bytes: bytes(connection.head_bytes as u64),
            http_headers: Some(connection.headers),
            access_log: Some(http.access_log),
            insecure: Some(config.insecure),
            election_timeout: time(config.election_timeout),
            heartbeat_interval: time(config.heartbeat_interval),
            peer_timeout: time(config.peer_timeout),
            lease: time(config.lease),
            checkpoint_batches: Some(config.checkpoint_batches),
            checkpoint_bytes: bytes(config.checkpoint_bytes),
            checkpoint_interval: time(config.checkpoint_interval),
            log_cut_interval: time(config.log_cut_interval),
            rebuild: Some(config.rebuild),
            outward: Some(config.outward),
            peer_listen: cluster.listen.filter(|_| !is_node),
            shards: (!is_node).then_some(cluster.shards.count),
            node: is_node.then_some(cluster.node.0),
            cluster: cluster.file.clone(),
            roles: is_node.then(|| cluster.roles.list()),
            join: is_node.then_some(cluster.join),
            listen: config.listen.clone(),
            place: if is_node { Vec::new() } else { cluster.shards.place.clone() },
        }
    }
}
