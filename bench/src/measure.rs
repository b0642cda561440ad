//! The measurements, one file each. A measurement that compares sides takes them in turns within one run: what the
//! machine does at that moment then falls on all of them alike.

use anyhow::Result;

use self::cluster::contender::Contender;
use crate::args::What;
use crate::report::Row;
use crate::setup::Setup;

mod asyncify;
mod checkpoint_pause;
mod cluster;
mod code;
mod echo;
mod failover;
mod filled;
mod floor;
mod framing;
mod fuel;
mod http;
mod idle;
mod idle_services;
mod images;
mod join;
mod load;
mod redis;
mod series;
mod sqlite;
mod start;
mod telemetry;
mod variants;

/// Where a measurement puts its rows: those of a measurement that fails half-way are kept.
pub type Rows = Vec<Row>;

impl What {
    /// What `all` stands for, or the one.
    pub fn each(self) -> Vec<Self> {
        let connections = 64;
        match self {
            Self::All => vec![
                Self::Floor,
                Self::Echo { connections: 1 },
                Self::Load { connections },
                Self::Redis,
                Self::Images,
                Self::Idle,
                Self::Framing,
            ],
            // Beside the floor of the machine.
            Self::Cluster | Self::ClusterEcho | Self::ClusterSet | Self::Failover | Self::CheckpointPause => {
                vec![Self::Floor, self]
            }
            Self::Join { .. } => vec![Self::Floor, self],
            Self::Http => {
                vec![Self::HttpHello, Self::HttpFront, Self::HttpIdle, Self::HttpNeighbours, Self::HttpStart]
            }
            one => vec![one],
        }
    }

    /// As on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Floor => "floor",
            Self::Echo { .. } => "echo",
            Self::Load { .. } => "load",
            Self::Redis => "redis",
            Self::Images => "images",
            Self::Idle => "idle",
            Self::Framing => "framing",
            Self::Telemetry { .. } => "telemetry",
            Self::Cluster => "cluster",
            Self::ClusterFloor => "cluster-floor",
            Self::Etcd => "etcd",
            Self::RedisAof => "redis-aof",
            Self::ClusterEcho => "cluster-echo",
            Self::ClusterSet => "cluster-set",
            Self::Failover => "failover",
            Self::Join { .. } => "join",
            Self::CheckpointPause => "checkpoint-pause",
            Self::Asyncify => "asyncify",
            Self::Fuel => "fuel",
            Self::Start => "start",
            Self::IdleServices => "idle-services",
            Self::Sqlite => "sqlite",
            Self::Http => "http",
            Self::HttpHello => "http-hello",
            Self::HttpFront => "http-front",
            Self::HttpIdle => "http-idle",
            Self::HttpNeighbours => "http-neighbours",
            Self::HttpStart => "http-start",
        }
    }

    /// Whether it needs the server at all.
    pub fn needs_refrain(&self) -> bool {
        !matches!(self, Self::Floor | Self::ClusterFloor | Self::Etcd | Self::RedisAof | Self::HttpFront)
    }

    /// Whether it needs the front end alone.
    pub fn needs_front(&self) -> bool {
        *self == Self::HttpFront
    }

    /// Whether there is something to measure without the server.
    pub fn has_native_side(&self) -> bool {
        !matches!(
            self,
            Self::Idle
                | Self::Framing
                | Self::Telemetry { .. }
                | Self::ClusterEcho
                | Self::Failover
                | Self::Join { .. }
                | Self::CheckpointPause
                | Self::Asyncify
                | Self::Fuel
                | Self::Start
                | Self::IdleServices
                | Self::HttpStart
        )
    }

    /// Measures.
    pub fn measure(self, setup: &Setup, rows: &mut Rows) -> Result<()> {
        match self {
            Self::All | Self::Http => self.each().into_iter().try_for_each(|one| one.measure(setup, rows)),
            Self::Floor => floor::measure(setup, rows),
            Self::Echo { connections } => echo::measure(setup, connections, rows),
            Self::Load { connections } => load::measure(setup, connections, rows),
            Self::Redis => redis::measure(setup, rows),
            Self::Images => images::measure(setup, rows),
            Self::Idle => idle::measure(setup, rows),
            Self::Framing => framing::measure(setup, rows),
            Self::Telemetry { base, rounds } => telemetry::measure(setup, base.as_deref(), rounds, rows),
            Self::Failover => failover::measure(setup, rows),
            Self::Join { history } => join::measure(setup, history, rows),
            Self::CheckpointPause => checkpoint_pause::measure(setup, rows),
            Self::Asyncify => asyncify::measure(setup, rows),
            Self::Fuel => fuel::measure(setup, rows),
            Self::Start => start::measure(setup, rows),
            Self::IdleServices => idle_services::measure(setup, rows),
            Self::Sqlite => sqlite::measure(setup, rows),
            Self::HttpHello => http::hello::measure(setup, rows),
            Self::HttpFront => http::front::measure(setup, rows),
            Self::HttpIdle => http::idle::measure(setup, rows),
            Self::HttpNeighbours => http::neighbours::measure(setup, rows),
            Self::HttpStart => http::start::measure(setup, rows),
            _ => cluster::measure(setup, self.contenders(), rows),
        }
    }

    /// Who is measured side by side in a cluster.
    fn contenders(&self) -> &'static [Contender] {
        use Contender::{Echo, Etcd, Floor, Kv, Redis};
        match self {
            Self::Etcd => &[Floor, Etcd],
            Self::RedisAof => &[Floor, Redis],
            Self::ClusterEcho => &[Floor, Echo],
            Self::ClusterSet => &[Floor, Etcd, Redis, Kv],
            Self::Cluster => &[Floor, Etcd, Redis, Kv, Echo],
            _ => &[Floor],
        }
    }
}
