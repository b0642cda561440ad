//! Several members in one thread, on a network and disks in memory, under simulated time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, select_all};
use parking_lot::Mutex;
use refrain_sequencer::flush::{Exec, FlushInline};
use refrain_sequencer::log::{AppendError, CommitSink, Delivery, OrderedLog};
use refrain_sequencer::observe::Observer;
use refrain_sequencer::raft::{Bootstrap, ElectionTimes, OpenRaftError, RaftLog, RaftOptions};
use refrain_sequencer::segment_log::SegmentOptions;
use refrain_sequencer::sim::{SimDisk, sim_entropy};
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::{ClusterId, GroupId, NodeId, Position, Time};
use tokio::task::AbortHandle;

use super::net::Network;

pub type Entries = Vec<(Position, Bytes)>;

/// No step of a test takes longer, in simulated time.
const PATIENCE: Duration = Duration::from_secs(60);

pub const CLUSTER: ClusterId = ClusterId([7; 16]);
pub const TIMES: ElectionTimes =
    ElectionTimes { timeout: Duration::from_millis(150), heartbeat: Duration::from_millis(30) };

/// Runs a test on one thread, under simulated time: it goes on when nothing else can.
pub fn simulated<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 20, test).await.expect("the test comes to its end") })
}

pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

pub fn address(node: u64) -> String {
    format!("node-{node}")
}

pub fn initial(nodes: &[u64]) -> Bootstrap {
    Bootstrap::Initial(nodes.iter().map(|node| (NodeId(*node), address(*node))).collect())
}

pub fn draft(number: u64) -> Draft {
    Draft {
        time: Time::from_micros(number),
        submissions: Vec::new(),
        batches: vec![GroupRecords { group: GroupId(1), records: Bytes::from(number.to_le_bytes().repeat(20)) }],
    }
}

pub struct Host {
    pub log: Arc<RaftLog>,
    /// What came after the last snapshot.
    pub delivered: Arc<Mutex<Entries>>,
    /// The last snapshot.
    pub restored: Arc<Mutex<Option<(Position, Bytes)>>>,
    serving: AbortHandle,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Host {
    /// What the host has entries after.
    pub fn base(&self) -> Position {
        self.restored.lock().as_ref().map_or(Position(0), |(position, _)| *position)
    }
}

#[derive(Default)]
pub struct Cluster {
    pub network: Network,
    pub disks: BTreeMap<u64, SimDisk>,
    pub hosts: BTreeMap<u64, Host>,
    /// Who is told of a host's work.
    pub observers: BTreeMap<u64, Arc<dyn Observer>>,
    /// What was acknowledged.
    pub acknowledged: Entries,
    number: u64,
}

impl Cluster {
    /// Hosts that have begun a log together.
    pub async fn of(nodes: &[u64]) -> Self {
        Self::default().begin(nodes).await
    }

    /// Has hosts begin a log together.
    pub async fn begin(mut self, nodes: &[u64]) -> Self {
        for node in nodes {
            self.start(*node, initial(nodes)).await.unwrap();
        }
        let beginning = join_all(self.hosts.values().map(|host| host.log.begin()));
        in_time("the beginning", beginning).await.into_iter().for_each(|begun| begun.unwrap());
        self.leader().await;
        self
    }

    pub fn options(&self, node: u64, members: Bootstrap) -> RaftOptions {
        let disk = self.disks.get(&node).map_or(0, SimDisk::operations);
        RaftOptions {
            node: NodeId(node),
            cluster: CLUSTER,
            address: address(node),
            members,
            election: TIMES,
            net: self.network.host(&address(node)),
            segments: SegmentOptions {
                segment_bytes: 20_000,
                cache_bytes: 5000,
                entropy: sim_entropy(node * 1_000_000 + disk),
                observer: self.observers.get(&node).cloned(),
                ..SegmentOptions::default()
            },
            ..RaftOptions::default()
        }
    }

    pub async fn start(&mut self, node: u64, members: Bootstrap) -> Result<(), OpenRaftError> {
        self.start_with(node, self.options(node, members), &FlushInline).await
    }

    pub async fn start_with(&mut self, node: u64, options: RaftOptions, exec: &dyn Exec) -> Result<(), OpenRaftError> {
        let disk = self.disks.entry(node).or_default().clone();
        let delivered = Arc::new(Mutex::new(Vec::new()));
        let into = delivered.clone();
        let restored = Arc::new(Mutex::new(None));
        let restores = restored.clone();
        let sink: CommitSink = Arc::new(move |delivery: Delivery<'_>| match delivery {
            Delivery::Entry { position, bytes } => into.lock().push((position, bytes.clone())),
            Delivery::Snapshot { position, state } => {
                into.lock().clear();
                *restores.lock() = Some((position, state.clone()));
            }
        });
        let listener = options.net.bind(&options.address).await.unwrap();
        let log = Arc::new(RaftLog::open(Arc::new(disk), exec, options, sink).await?);
        let server = log.server();
        let serving = tokio::spawn(async move { server.listen(listener).await }).abort_handle();
        self.hosts.insert(node, Host { log, delivered, restored, serving });
        Ok(())
    }

    pub fn log(&self, node: u64) -> Arc<RaftLog> {
        self.hosts[&node].log.clone()
    }

    /// The process of a host is gone; its disk stays.
    pub fn kill(&mut self, node: u64) {
        self.hosts.remove(&node);
    }

    /// Waits until a host leads.
    pub async fn leader(&self) -> u64 {
        let leads = self.hosts.iter().map(|(node, host)| {
            let mut leadership = host.log.leadership();
            Box::pin(async move {
                leadership.wait_for(|leadership| leadership.leading).await.unwrap();
                *node
            })
        });
        in_time("an election", select_all(leads)).await.0
    }

    /// Appends one draft at whoever leads, again and again until it is acknowledged.
    pub async fn append(&mut self) {
        self.number += 1;
        let draft = draft(self.number);
        let position = in_time("an append", async {
            loop {
                let leader = self.leader().await;
                match self.log(leader).append(draft.clone()).await {
                    Ok(position) => return position,
                    Err(AppendError::NotLeader { .. } | AppendError::NoQuorum | AppendError::Unknown) => {
                        tokio::time::sleep(TIMES.heartbeat).await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let position = position.await;
        self.acknowledged.push((position, draft.encode(position)));
    }

    pub async fn append_many(&mut self, count: usize) {
        for _ in 0..count {
            self.append().await;
        }
    }

    /// Waits until these hosts have delivered all that was acknowledged, and the same.
    pub async fn agree(&self, nodes: &[u64]) {
        for node in nodes {
            let host = &self.hosts[node];
            let last = self.acknowledged.last().map_or(Position(0), |(position, _)| *position);
            in_time("catching up", async {
                while host.log.committed() < last {
                    tokio::time::sleep(TIMES.heartbeat).await;
                }
            })
            .await;
            let delivered = host.delivered.lock().clone();
            assert!(delivered.is_sorted_by(|a, b| a.0 < b.0), "in order, and once");
            let base = host.base();
            let missing = self.acknowledged.iter().find(|entry| entry.0 > base && !delivered.contains(entry));
            assert_eq!(missing, None, "host {node} lacks what was acknowledged");
        }
        for pair in nodes.windows(2) {
            let base = self.hosts[&pair[0]].base().max(self.hosts[&pair[1]].base());
            let after = |node: &u64| -> Entries {
                self.hosts[node].delivered.lock().iter().filter(|entry| entry.0 > base).cloned().collect()
            };
            let (a, b) = (after(&pair[0]), after(&pair[1]));
            let common = a.len().min(b.len());
            assert_eq!(a[..common], b[..common], "hosts {pair:?}");
        }
    }

    pub fn voters(&self, node: u64) -> Vec<u64> {
        self.log(node).members().iter().filter(|member| member.voter).map(|member| member.node.0).collect()
    }
}
