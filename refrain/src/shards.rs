//! The shards of a process as one: started, asked, drained and ended together.
//!
//! Each shard is a loop thread with a log of its own; they share the data folder's bundles, compiled code and lock, the
//! configuration, the listener for other nodes and the admin API. A shard that fails ends the process, as the only one
//! would: what is left would be half a node, and other nodes take over from a whole one that is gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use refrain_engine::Platform;
use refrain_telemetry::{Identity, Telemetry};
use refrain_wire::ShardId;
use tokio::sync::{mpsc, oneshot};

use crate::config::{Config, further_shards};
use crate::exchange::{self, Exchange};
use crate::http::Http;
use crate::service::Service;
use crate::shard::{self, Command, Commands, Options, Places, Removals, Seams, Served};

/// One shard, for who asks something of it. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    /// Which one.
    pub id: ShardId,
    /// The way to its loop thread.
    pub commands: Commands,
    /// Its traces and metrics.
    pub telemetry: Arc<Telemetry>,
}

/// All shards of a process, for who asks something of them. Cheap to clone.
#[derive(Clone)]
pub struct Shards {
    handles: Arc<[Handle]>,
    places: Places,
}

impl Shards {
    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Handle> {
        self.handles.iter()
    }

    /// The first one.
    #[must_use]
    pub fn first(&self) -> &Handle {
        &self.handles[0]
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, shard: ShardId) -> Option<&Handle> {
        self.handles.get(usize::from(shard.0))
    }

    /// How many there are, one at least.
    #[must_use]
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// The shard that has a service; the first one when there is no such service.
    #[must_use]
    pub fn place_of(&self, service: &str) -> ShardId {
        self.places.of(service)
    }

    /// In words, which shard something is said of; nothing when there is one alone.
    #[must_use]
    pub fn named(&self, shard: ShardId) -> String {
        if self.count() > 1 { format!(" of shard {shard}") } else { String::new() }
    }

    /// Has every shard describe something, by number; one that has ended says nothing.
    async fn ask_all<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<T> {
        let mut answers = Vec::new();
        for handle in self.iter() {
            let (reply, answer) = oneshot::channel();
            let _ = handle.commands.send(command(reply)).await;
            answers.push(answer);
        }
        let mut all = Vec::new();
        for answer in answers {
            all.extend(answer.await.ok());
        }
        all
    }

    /// Waits until this node takes part in every shard that has services, each service given is in a log, and no shard
    /// has been waited for silently: after `patience` `waits` is told which one has no leader.
    pub async fn joined(&self, patience: Duration, waits: impl Fn(ShardId)) {
        // The first one first: its log says what the others have.
        for handle in self.iter() {
            let (reply, mut joined) = oneshot::channel();
            let _ = handle.commands.send(Command::Joined(reply)).await;
            if tokio::time::timeout(patience, &mut joined).await.is_err() {
                waits(handle.id);
                let _ = joined.await;
            }
        }
    }

    /// What is served, by name, once every service listens or has ended.
    pub async fn settled(&self) -> Vec<Served> {
        in_order(self.ask_all(Command::Settled).await)
    }

    /// What is served now, by name.
    pub async fn served(&self) -> Vec<Served> {
        in_order(self.ask_all(Command::Served).await)
    }

    /// Drains all of them at once; returns when the last one has drained.
    pub async fn drain(&self, deadline: Duration) {
        self.ask_all(|done| Command::Drain { deadline, done }).await;
    }
}

fn in_order(all: Vec<Vec<Served>>) -> Vec<Served> {
    let mut served: Vec<Served> = all.into_iter().flatten().collect();
    served.sort_by(|a, b| (&a.manifest.id, &a.port).cmp(&(&b.manifest.id, &b.port)));
    served
}

/// The shards of a process that run.
pub struct Running {
    /// What they are asked to do.
    pub shards: Shards,
    /// Services whose modules cannot run, and why.
    pub refused: Vec<(String, String)>,
    ended: mpsc::Receiver<(ShardId, Option<String>)>,
}

impl Running {
    /// Starts all of them, each when the one before runs; `telemetry` is that of each. `http` serves what other nodes'
    /// front ends send.
    ///
    /// # Errors
    /// When the node cannot listen for others, or a shard cannot start; its number is named when there are several.
    pub async fn start(
        config: &Config,
        platform: &Platform,
        services: &[Arc<Service>],
        telemetry: Vec<Arc<Telemetry>>,
        http: &Arc<Http>,
    ) -> anyhow::Result<Self> {
        let several = config.cluster.shards.count > 1;
        let exchange = match config.cluster.listen {
            Some(address) => Some(bind(address, config).await?),
            None => None,
        };
        let (places, removals) = (Places::default(), Removals::default());
        let (mut handles, mut refused) = (Vec::new(), Vec::new());
        let (end, ended) = mpsc::channel(usize::from(config.cluster.shards.count));
        for (id, telemetry) in config.cluster.shards.all().zip(telemetry) {
            let of_shard = config.of_shard(id);
            let mut seams = Seams::real(&of_shard)?;
            if let Some(exchange) = &exchange {
                seams.net = exchange.net(of_shard.cluster.id());
            }
            let (platform, places, for_shard) = (platform.clone(), places.clone(), Arc::clone(&telemetry));
            let services = services.to_vec();
            let (deployed, removals) = (http.deployed().clone(), removals.clone());
            let options = Options {
                config: of_shard,
                platform,
                services,
                seams,
                telemetry: for_shard,
                places,
                deployed,
                removals,
            };
            let started = shard::start(options).await;
            let started = if several { started.with_context(|| format!("shard {id}")) } else { started }?;
            handles.push(Handle { id, commands: started.commands, telemetry });
            refused = started.refused;
            let (end, ended) = (end.clone(), started.ended);
            tokio::spawn(async move {
                let failure = ended.await.unwrap_or_else(|_| Some("the loop thread ended".to_owned()));
                let _ = end.send((id, failure)).await;
            });
        }
        if let (Some(exchange), Some(first)) = (exchange, handles.first()) {
            let front = exchange::Front { http: Arc::clone(http), first: first.commands.clone() };
            tokio::spawn(exchange.run(Some(front)));
        }
        Ok(Self { shards: Shards { handles: handles.into(), places }, refused, ended })
    }

    /// Waits until a shard has ended: why, in words, if it failed.
    pub async fn one_ended(&mut self) -> Option<String> {
        let (shard, failure) = self.ended.recv().await?;
        let of_shard = self.shards.named(shard);
        failure.map(|reason| format!("the log{of_shard} has failed: {reason}"))
    }

    /// Waits until all have ended: why, in words, if one failed.
    pub async fn all_ended(mut self) -> Option<String> {
        let mut failure = None;
        for _ in 0..self.shards.count() {
            let ended = self.one_ended().await;
            failure = failure.or(ended);
        }
        failure
    }
}

/// Starts the telemetry of every shard, which is one's own: traces and metrics of two shards have nothing in common.
///
/// # Errors
/// When the exporter cannot be made or a thread cannot be started.
pub fn start_telemetry(config: &Config, traced: &refrain_telemetry::Config) -> anyhow::Result<Vec<Arc<Telemetry>>> {
    let cluster = &config.cluster;
    let of_shard = |shard| {
        let (cluster, node) = (cluster.id_of(shard), cluster.node);
        Telemetry::start(Identity { cluster, node, version: env!("CARGO_PKG_VERSION") }, traced)
    };
    let all: Result<Vec<_>, _> = cluster.shards.all().map(|shard| of_shard(shard).map(Arc::new)).collect();
    Ok(all?)
}

async fn bind(address: SocketAddr, config: &Config) -> anyhow::Result<Exchange> {
    let bound = Exchange::bind(&address.to_string(), config.cluster.id_of(ShardId::FIRST)).await;
    bound.with_context(|| format!("cannot listen for other nodes on {address}"))
}

/// Whether the data folder has no shard that the configuration does not: what is on it would be gone.
///
/// # Errors
/// When it has, and when the folder cannot be read.
pub fn check_number(config: &Config) -> anyhow::Result<()> {
    let (count, folder) = (config.cluster.shards.count, config.data_dir.display());
    let found = further_shards(&config.data_dir).with_context(|| format!("cannot look for shards in {folder}"))?;
    match found.last() {
        Some(last) if last.0 >= count => anyhow::bail!(
            "the data folder {folder} has shard {last}, and the configuration has {count} shard(s), numbered from 0: \
             their number may grow, and never be less than it was. Say shards = {}, on every node",
            last.0 + 1
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn the_number_of_shards_may_grow_and_not_shrink() {
        let folder = tempfile::tempdir().unwrap();
        let with = |shards| {
            let data_dir = Some(folder.path().to_owned());
            Config::of_up(Settings { shards: Some(shards), data_dir, ..Settings::default() }).unwrap()
        };
        assert!(check_number(&with(1)).is_ok(), "a new folder");
        std::fs::create_dir_all(with(1).of_shard(ShardId(2)).shard_dir()).unwrap();
        std::fs::create_dir_all(folder.path().join("shards/.partial")).unwrap();
        let refused = check_number(&with(2)).unwrap_err().to_string();
        assert!(refused.contains("has shard 2") && refused.contains("Say shards = 3"), "{refused}");
        assert!(check_number(&with(3)).is_ok() && check_number(&with(4)).is_ok());
    }

    #[test]
    fn the_first_shard_is_where_the_only_one_was_and_threads_are_shared_out() {
        let config =
            Config::of_up(Settings { shards: Some(4), engine_workers: Some(6), ..Settings::default() }).unwrap();
        let (first, third) = (config.of_shard(ShardId::FIRST), config.of_shard(ShardId(2)));
        assert_eq!(first.shard_dir(), config.data_dir);
        assert_eq!(third.shard_dir(), config.data_dir.join("shards/2"));
        assert_eq!((first.engine_workers, third.engine_workers), (1, 1));
        let alone = Config::of_up(Settings::default()).unwrap();
        assert_eq!(first.cluster.id(), alone.cluster.id(), "as before there were several");
        assert_ne!(third.cluster.id(), first.cluster.id());
        assert_eq!(alone.cluster.shard_of(third.cluster.id()), Some(ShardId(2)));
    }
}
