//! Who can be measured, and how to start them.

use std::net::SocketAddr;

use anyhow::Result;

use crate::cluster::{ALL, Cluster, Layout};
use crate::etcd::Etcd;
use crate::ping::Exchange;
use crate::ping::echo::Echo;
use crate::ping::put::Put;
use crate::ping::set::Set;
use crate::program;
use crate::raw::{Frame, RawReplication};
use crate::redis_server::RedisServer;
use crate::report::Side;
use crate::setup::Setup;

/// Who can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// Raw replication, which everything else is compared with.
    Floor,
    /// etcd, through the member that leads.
    Etcd,
    /// Redis with a synced log.
    Redis,
    /// Our key-value server on three nodes, through the one that leads.
    Kv,
    /// Our echo server, the same.
    Echo,
}

/// What a request has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// 256 bytes committed.
    Commit,
    /// A value written.
    Set,
    /// 64 bytes there and back.
    Echo,
}

impl Work {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit 256 B, 3 members, fsync",
            Self::Set => "SET 64 B, fsync",
            Self::Echo => "echo 64 B, 3 nodes, fsync",
        }
    }
}

/// A running server and what to say to it.
pub struct Player {
    /// Whose it is.
    pub side: Side,
    /// What its requests do.
    pub work: Work,
    /// Where it listens.
    pub address: SocketAddr,
    /// What is said.
    pub exchange: Box<dyn Exchange>,
    _running: Running,
}

#[expect(dead_code, reason = "held until the player is dropped")]
enum Running {
    Raw(RawReplication),
    Etcd(Etcd),
    Redis(RedisServer),
    Refrain(Cluster),
}

impl Player {
    /// Whether so many clients are of interest: the load between is the floor's alone.
    pub fn takes(&self, clients: u16) -> bool {
        self.side == Side::Floor || clients != 16
    }
}

/// Starts them all; those that run, and why others do not.
pub fn start(setup: &Setup, contenders: &[Contender]) -> (Vec<Player>, Vec<String>) {
    let all = contenders.iter().map(|contender| match contender {
        Contender::Floor => raw(setup),
        Contender::Etcd => etcd(setup),
        Contender::Redis => redis(setup),
        Contender::Kv | Contender::Echo if !setup.has_refrain() => Ok(Vec::new()),
        Contender::Kv => refrain(setup, "kv-server", Work::Set, Box::new(Set)),
        Contender::Echo => refrain(setup, "echo", Work::Echo, Box::new(Echo)),
    });
    let (mut players, mut missing) = (Vec::new(), Vec::new());
    for started in all {
        match started {
            Ok(more) => players.extend(more),
            Err(error) => missing.push(format!("{error:#}")),
        }
    }
    (players, missing)
}

fn raw(setup: &Setup) -> Result<Vec<Player>> {
    let raw = RawReplication::start(setup.folder())?;
    let (side, work, address) = (Side::Floor, Work::Commit, raw.address());
    Ok(vec![Player { side, work, address, exchange: Box::new(Frame), _running: Running::Raw(raw) }])
}

fn etcd(setup: &Setup) -> Result<Vec<Player>> {
    let etcd = Etcd::start(&program::installed("etcd", "etcd-server")?, setup.folder())?;
    let (side, work, address) = (Side::Etcd, Work::Set, etcd.leader());
    Ok(vec![Player { side, work, address, exchange: Box::new(Put(address)), _running: Running::Etcd(etcd) }])
}

fn redis(setup: &Setup) -> Result<Vec<Player>> {
    let redis = RedisServer::start(&program::installed("redis-server", "redis-server")?, setup.folder())?;
    let (side, work, address) = (Side::Redis, Work::Set, redis.address());
    Ok(vec![Player { side, work, address, exchange: Box::new(Set), _running: Running::Redis(redis) }])
}

fn refrain(setup: &Setup, service: &str, work: Work, exchange: Box<dyn Exchange>) -> Result<Vec<Player>> {
    let mut cluster = setup.cluster(&Layout { services: &[service], nodes: &[ALL; 3], settings: &[] })?;
    cluster.start(&[1, 2, 3])?;
    cluster.until_active(service)?;
    let address = cluster.address(cluster.leader()?, service)?;
    Ok(vec![Player { side: Side::Refrain, work, address, exchange, _running: Running::Refrain(cluster) }])
}
