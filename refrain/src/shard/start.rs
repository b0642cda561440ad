//! Bringing the loop thread up: open the log or follow it, start engine and sequencer, adopt groups, listen.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::ErrorKind;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use parking_lot::Mutex;
use refrain_engine::checkpoint::CheckpointStore;
use refrain_engine::{BatchSource, Platform, Report};
use refrain_proxy::nat::Limits as FlowLimits;
use refrain_proxy::net::Sockets;
use refrain_proxy::tcp::FrontEnd;
use refrain_sequencer::batcher::Limits;
use refrain_sequencer::clock::{Clock, SystemClock};
use refrain_sequencer::disk::{Disk, Entropy, RealDisk, os_entropy};
use refrain_sequencer::flush::{Exec, FlushThread};
use refrain_sequencer::log::Durability;
use refrain_sequencer::net::{Net, Tcp};
use refrain_sequencer::observe::Observer;
use refrain_sequencer::raft::{Bootstrap, ElectionTimes, RaftLog, RaftOptions};
use refrain_sequencer::segment_log::SegmentOptions;
use refrain_sequencer::sequencer::{self, Event, Sequencer};
use refrain_sequencer::shard::{Applied, ShardState};
use refrain_sequencer::watch;
use refrain_service::Manifest;
use refrain_telemetry::Telemetry;
use refrain_wire::{Control, Epoch, NodeId, Position, ShardId};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::catalog::Catalog;
use super::checkpoints::{self, Checkpoints};
use super::traces::Traces;
use super::turns::Turns;
use super::upstream::ToLeaderOrOperator;
use super::view::{Feed, View};
use super::{
    Command, Commands, Deployed, Engine, Inner, Places, Removals, epoch, fetch, follow, histories, leader, member,
    peers, placement, uplink,
};
use crate::config::{Config, Endpoint, ListenAt};
use crate::feed::{MAX_QUESTIONS, Questions, Recent};
use crate::history::{Histories, History};
use crate::metered::Metered;
use crate::service::Service;
use crate::shard::lease::Lease;

/// Commands that may wait for the loop thread.
const MAX_COMMANDS: usize = 256;
/// What of one group may be ordered and not yet executed; a submission alone can have a hundred thousand records.
pub(super) const LIMITS: Limits =
    Limits { bulk_bytes: 8 * 1024 * 1024, bulk_records: 512 * 1024, relief_records: 512 * 1024 };

/// What the loop needs of the machine.
#[derive(Clone)]
pub struct Seams {
    /// The log's folder.
    pub disk: Arc<dyn Disk>,
    /// The folder of histories.
    pub histories: Arc<dyn Disk>,
    /// Who runs the log's writes.
    pub exec: Arc<dyn Exec>,
    /// How nodes reach each other.
    pub net: Arc<dyn Net>,
    /// Secret randomness.
    pub entropy: Entropy,
    /// The clocks.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// How clients reach this node.
    pub clients: Arc<dyn refrain_proxy::net::Net + Send + Sync>,
    /// Who runs the turns of guests.
    pub turns: Turns,
    /// How the log's files are cut; whether they are synced is the configuration's affair.
    pub segments: SegmentOptions,
}

fn open_disk(folder: &Path, what: &str) -> anyhow::Result<RealDisk> {
    match RealDisk::open(folder) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            bail!("another refrain uses {}, or has not ended yet", folder.display())
        }
        opened => opened.with_context(|| format!("cannot open {what} in {}", folder.display())),
    }
}

impl Seams {
    /// Those of a real machine.
    ///
    /// # Errors
    /// When the log's folder cannot be opened.
    pub fn real(config: &Config) -> anyhow::Result<Self> {
        let disk = open_disk(&config.shard_dir().join("log"), "the log")?;
        let histories = open_disk(&config.shard_dir().join("history"), "the histories")?;
        Ok(Self {
            disk: Arc::new(disk),
            histories: Arc::new(histories),
            exec: Arc::new(FlushThread),
            net: Arc::new(Tcp),
            entropy: os_entropy(),
            clock: Arc::new(SystemClock::new()),
            clients: Arc::new(Sockets),
            turns: Turns::Threads,
            segments: SegmentOptions::default(),
        })
    }
}

/// What the shard is made of.
#[derive(Clone)]
pub struct Options {
    /// The process's configuration.
    pub config: Config,
    /// wasmtime.
    pub platform: Platform,
    /// The services that the operator gave.
    pub services: Vec<Arc<Service>>,
    /// The machine.
    pub seams: Seams,
    /// Where traces and metrics go.
    pub telemetry: Arc<Telemetry>,
    /// Where services are, shared by all shards of the process.
    pub places: Places,
    /// Which stateless services there are, likewise.
    pub deployed: Deployed,
    /// From which logs the node's members were removed, likewise.
    pub removals: Removals,
}

/// One served port.
#[derive(Debug, Clone)]
pub struct Served {
    /// What the service is now: an upgrade changes it, once its first turn is over.
    pub manifest: Arc<Manifest>,
    /// The port's name.
    pub port: String,
    /// How many replicas the service has.
    pub seats: u8,
    /// Where clients connect to, or why they cannot.
    pub at: Result<Endpoint, String>,
}

/// A shard that runs.
pub struct Started {
    /// What it is asked to do.
    pub commands: Commands,
    /// Services whose modules cannot run, and why.
    pub refused: Vec<(String, String)>,
    /// Answers when the loop thread ends: with the log's failure, or none after a drain.
    pub ended: oneshot::Receiver<Option<String>>,
}

/// How the loop ended.
pub(super) enum Ended {
    /// For good: with the log's failure, or none after a drain.
    Over(Option<String>),
    /// It is to be brought up again, and to listen for clients where it did.
    Again(Vec<ListenAt>),
}

/// Starts the loop thread and waits until it runs.
///
/// # Errors
/// When the log cannot be opened, a group cannot be run, or a port is taken.
pub async fn start(options: Options) -> anyhow::Result<Started> {
    let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
    let (ready, is_ready) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let refused = options.services.iter().filter(|service| !service.can_run());
    let refused = refused.map(|service| (service.full_name.clone(), service.why_refused())).collect();
    std::thread::Builder::new()
        .name(format!("shard-{}", options.config.cluster.shard))
        .spawn(move || run(options, inbox, ready, end))
        .context("cannot start the loop thread")?;
    is_ready.await.context("the loop thread ended at its start")??;
    Ok(Started { commands, refused, ended })
}

fn run(
    mut options: Options,
    mut inbox: mpsc::Receiver<Command>,
    ready: oneshot::Sender<anyhow::Result<()>>,
    end: oneshot::Sender<Option<String>>,
) {
    let mut ready = Some(ready);
    loop {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let local = Rc::new(LocalSet::new());
        let ended = local.block_on(&runtime, async {
            match (bring_up(options.clone(), &local).await, ready.take()) {
                (Ok(inner), ready) => {
                    if let Some(ready) = ready {
                        let _ = ready.send(Ok(()));
                    }
                    inner.go_on(&mut inbox).await
                }
                (Err(error), Some(ready)) => {
                    let _ = ready.send(Err(error));
                    Ended::Over(None)
                }
                (Err(error), None) => Ended::Over(Some(format!("{error:#}"))),
            }
        });
        match ended {
            Ended::Again(listened) => {
                tracing::warn!("this node begins anew from the state of the other members");
                options.config.listen = listened;
            }
            Ended::Over(failure) => {
                let _ = end.send(failure);
                return;
            }
        }
    }
}

/// Runs a shard on the caller's thread and runtime until it is drained or its log fails; `ready` is told each time it runs.
/// What [`start`] does on a thread of its own, for callers that have many nodes on one thread.
///
/// # Errors
/// As [`start`].
pub async fn run_here(
    mut options: Options,
    mut inbox: mpsc::Receiver<Command>,
    ready: impl Fn(),
) -> anyhow::Result<Option<String>> {
    loop {
        let local = Rc::new(LocalSet::new());
        let running = async {
            let inner = bring_up(options.clone(), &local).await?;
            ready();
            anyhow::Ok(inner.go_on(&mut inbox).await)
        };
        match local.run_until(running).await? {
            Ended::Again(listened) => options.config.listen = listened,
            Ended::Over(failure) => return Ok(failure),
        }
    }
}

async fn bring_up(options: Options, local: &Rc<LocalSet>) -> anyhow::Result<Rc<Inner>> {
    let Options { config, platform, services, seams, telemetry, places, deployed, removals } = options;
    let seams = Seams { net: Metered::over(seams.net, telemetry.metrics().streams.clone()), ..seams };
    let traces = Traces::new(&telemetry);
    let history = Arc::new(History::default());
    let handle: Handle = Rc::default();
    // Before the log: a member that cannot be reached cannot take part.
    let listener = match config.cluster.listen {
        Some(address) => {
            let bound = seams.net.bind(&address.to_string()).await;
            Some(bound.with_context(|| format!("cannot listen for other nodes on {address}"))?)
        }
        None => None,
    };
    let (questions, asked) = mpsc::channel(MAX_QUESTIONS);
    let questions = if seams.turns.are_inline() { Questions::of_nobody() } else { Questions::new(questions) };
    history.attach_elsewhere(questions.clone());
    let view = if config.cluster.roles.sequencer {
        View::Member(open_log(&config, &seams, &history, &handle, local, traces.observer()).await?)
    } else {
        View::Feed(Box::new(Feed {
            state: RefCell::new(ShardState::new()),
            recent: Arc::new(Recent::new(questions)),
            generation: RefCell::new(None),
        }))
    };
    let begins_with = view.member().and_then(|member| member.log().snapshot());
    if let Some((position, _)) = &begins_with {
        view.with_shard(|shard| history.restore(*position, shard.groups()));
    }
    if view.member().is_some() {
        history.attach_kept(Arc::new(open_histories(&config, &seams, begins_with).await?));
    }
    history.set_epochs(&view.with_shard(open_epochs));
    traces.begin_after(view.position());
    let checkpoints = Checkpoints::new(open_checkpoints(&config)?);
    let inner = make(
        config,
        platform,
        services,
        (places, deployed, removals),
        seams,
        view,
        traces,
        history,
        checkpoints,
        asked,
    )?;
    inner.history.attach(inner.view.source());
    assert!(handle.set(Rc::downgrade(&inner)).is_ok(), "set once, here");
    start_front(&inner);
    start_engine(&inner);
    inner.watch_proxies();
    inner.tell_places();
    inner.tell_deployed();
    inner.adopt_known().await?;
    spawn(&inner, listener);
    Ok(inner)
}

/// The folder of checkpoints: engines capture them, and members keep those that stand for entries that are gone.
fn open_checkpoints(config: &Config) -> anyhow::Result<Option<Arc<CheckpointStore>>> {
    if !config.cluster.roles.engine && !config.cluster.roles.sequencer {
        return Ok(None);
    }
    let folder = config.shard_dir().join("checkpoints");
    let store = CheckpointStore::open(&folder);
    let store = store.with_context(|| format!("cannot open the checkpoints in {}", folder.display()))?;
    Ok(Some(Arc::new(store)))
}

/// The histories that stand for entries that are gone. Reads all of them.
async fn open_histories(
    config: &Config,
    seams: &Seams,
    begins_with: Option<(Position, Bytes)>,
) -> anyhow::Result<Histories> {
    let state = begins_with.map(|(_, state)| ShardState::decode(&state));
    let state = state.transpose().context("the state that the log begins with cannot be decoded")?;
    let disk = Arc::clone(&seams.histories);
    let opened = seams.turns.beside(move || Histories::open(disk, state.as_ref())).await?;
    let folder = config.shard_dir().join("history");
    opened.with_context(|| format!("cannot open the histories in {}", folder.display()))
}

pub(super) fn open_epochs(shard: &ShardState) -> Vec<Epoch> {
    shard.epochs().keys().copied().collect()
}

type Handle = Rc<OnceCell<Weak<Inner>>>;

#[expect(clippy::too_many_arguments, reason = "the parts of one value, made here alone")]
fn make(
    config: Config,
    platform: Platform,
    services: Vec<Arc<Service>>,
    (places, deployed, removals): (Places, Deployed, Removals),
    seams: Seams,
    view: View,
    traces: Traces,
    history: Arc<History>,
    checkpoints: Checkpoints,
    questions: mpsc::Receiver<crate::feed::Older>,
) -> anyhow::Result<Rc<Inner>> {
    let mut drawn = [0; 16];
    (seams.entropy)(&mut drawn).context("there is no randomness")?;
    let (session, nonce) = drawn.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("it has eight bytes"));
    let engine = config.cluster.roles.engine.then(|| Engine {
        workers: OnceCell::new(),
        session: number(session),
        key: platform.key(),
    });
    let (node, cluster, lease, started_at) =
        (config.cluster.node, config.cluster.id(), Lease::new(config.lease), view.position());
    let store = config.data_dir.join("bundles");
    let catalog = Catalog::new(platform, store, config.replicas, services);
    let applied = watch::Sender::new(started_at);
    Ok(Rc::new_cyclic(|me| Inner {
        me: me.clone(),
        config,
        seams,
        node,
        cluster,
        view,
        history,
        catalog,
        places,
        deployed,
        checkpoints,
        front: OnceCell::new(),
        engine,
        groups: RefCell::default(),
        leaving: RefCell::default(),
        link: RefCell::default(),
        leader: RefCell::default(),
        epoch: Cell::new(Epoch(0)),
        nonce: Cell::new(number(nonce)),
        lease,
        voting: super::Voting::default(),
        waiting: RefCell::default(),
        requests: Cell::new(0),
        sessions: Cell::new(0),
        passed_on: Cell::new(None),
        asking_another: Cell::new(false),
        upgrades: RefCell::default(),
        insisted: RefCell::default(),
        joining: RefCell::default(),
        settling: RefCell::default(),
        office_due: Notify::new(),
        voted: Notify::new(),
        applied,
        started: Instant::now(),
        started_at: Cell::new(started_at),
        stalled: Cell::new(false),
        draining: Cell::new(false),
        removals,
        questions: RefCell::new(Some(questions)),
        lines: RefCell::default(),
        ready: RefCell::default(),
        traces,
        failure: RefCell::new(None),
        ended: watch::Sender::new(false),
        again: Cell::new(false),
    }))
}

async fn open_log(
    config: &Config,
    seams: &Seams,
    history: &Arc<History>,
    handle: &Handle,
    local: &Rc<LocalSet>,
    observer: Arc<dyn Observer>,
) -> anyhow::Result<Sequencer<Arc<RaftLog>>> {
    let options = raft_options(config, seams, observer);
    let parts = sequencer::Seams {
        clock: Box::new(Arc::clone(&seams.clock)),
        entropy: Arc::clone(&seams.entropy),
        limits: LIMITS,
    };
    let (history, handle, local) = (Arc::clone(history), Rc::clone(handle), Rc::downgrade(local));
    let on_event = move |event| {
        // The log calls from tasks of its own, and what follows may begin tasks of the loop.
        let Some(local) = local.upgrade() else { return };
        let _entered = local.enter();
        let inner = handle.get().and_then(Weak::upgrade);
        match event {
            // The loop is about to begin anew with a state that this entry follows.
            Event::Committed(_) if inner.as_ref().is_some_and(|inner| inner.again.get()) => {}
            Event::Committed(applied) => {
                note(&history, &applied);
                if let Some(inner) = inner {
                    inner.committed(&applied);
                }
            }
            Event::Restored(position) => {
                if let Some(inner) = inner {
                    inner.restored(position);
                }
            }
            Event::Failed { submissions, controls, error } => {
                if let Some(inner) = inner {
                    inner.append_failed(&submissions, &controls, &error);
                }
            }
        }
    };
    let (disk, exec) = (Arc::clone(&seams.disk), Arc::clone(&seams.exec));
    let open = |sink| async move { RaftLog::open(disk, &*exec, options, sink).await.map(Arc::new) };
    let folder = config.shard_dir().join("log");
    Sequencer::open(parts, on_event, open).await.with_context(|| format!("cannot open the log in {}", folder.display()))
}

fn raft_options(config: &Config, seams: &Seams, observer: Arc<dyn Observer>) -> RaftOptions {
    let cluster = &config.cluster;
    let durability = match config.durability {
        crate::config::Durability::Fsync => Durability::Fsync,
        crate::config::Durability::None => Durability::None,
    };
    let initial = cluster.members().map(|node| (NodeId(node.id), node.address.to_string()));
    let members = match cluster.nodes.len() {
        _ if cluster.join => Bootstrap::Join,
        0 | 1 => Bootstrap::Alone,
        _ => Bootstrap::Initial(initial.collect()),
    };
    let entropy = Arc::clone(&seams.entropy);
    RaftOptions {
        node: cluster.node,
        address: cluster.listen.map(|address| address.to_string()).unwrap_or_default(),
        cluster: cluster.id(),
        members,
        net: Arc::clone(&seams.net),
        election: ElectionTimes { timeout: config.election_timeout, heartbeat: config.heartbeat_interval },
        segments: SegmentOptions { durability, entropy, observer: Some(observer), ..seams.segments.clone() },
        max_log_bytes: Some(config.max_log_bytes),
        ..RaftOptions::default()
    }
}

/// Keeps what an entry means beyond its bytes, for replicas that read it later.
pub(crate) fn note(history: &History, applied: &Applied) {
    for (group, control) in &applied.controls {
        if matches!(control, Control::Create { .. }) {
            history.create(*group, applied);
        }
    }
    let replaced =
        applied.cut.then(|| applied.batches.iter().map(|batch| (batch.group, batch.records.clone())).collect());
    history.commit(applied.position, super::commit::events(applied), replaced);
}

fn start_front(inner: &Rc<Inner>) {
    let shortest = inner.catalog.given.iter().filter_map(|service| service.idle).min();
    let idle = shortest.unwrap_or(FlowLimits::default().idle).min(FlowLimits::default().idle);
    let connections = inner.config.max_connections as usize;
    let limits = FlowLimits { connections, associations: connections.div_ceil(2), idle, ..FlowLimits::default() };
    let clients = Box::new(Arc::clone(&inner.seams.clients));
    let front = FrontEnd::with_net(limits, Rc::new(ToLeaderOrOperator(Rc::downgrade(inner))), clients);
    assert!(inner.front.set(front).is_ok(), "set once, here");
}

/// Starts the engine; its reports wake one task of the loop, which takes all that have come.
fn start_engine(inner: &Rc<Inner>) {
    let Some(engine) = &inner.engine else { return };
    let reports: Arc<(Mutex<Vec<Report>>, Notify)> = Arc::default();
    let incoming = Arc::clone(&reports);
    let sink = move |report| {
        let first = {
            let mut queue = incoming.0.lock();
            queue.push(report);
            queue.len() == 1
        };
        if first {
            incoming.1.notify_one();
        }
    };
    let source = Arc::clone(&inner.history) as Arc<dyn BatchSource>;
    let store = inner.checkpoints.store.clone();
    let workers = inner.seams.turns.start(inner, source, Arc::new(sink), store);
    assert!(engine.workers.set(workers).is_ok(), "set once, here");
    let inner = Rc::downgrade(inner);
    tokio::task::spawn_local(async move {
        let mut taken = Vec::new();
        loop {
            reports.1.notified().await;
            std::mem::swap(&mut *reports.0.lock(), &mut taken);
            let Some(inner) = inner.upgrade() else { return };
            inner.take_reports(&mut taken);
        }
    });
}

/// Starts the tasks of the loop; they end with its `LocalSet`.
fn spawn(inner: &Rc<Inner>, listener: Option<Box<dyn refrain_sequencer::net::Listener>>) {
    if let Some(listener) = listener {
        tokio::task::spawn_local(peers::accept(Rc::clone(inner), listener));
    }
    if inner.view.member().is_some() {
        tokio::task::spawn_local(member::begin(Rc::clone(inner)));
        tokio::task::spawn_local(member::until_removed(Rc::clone(inner)));
        tokio::task::spawn_local(member::drive(Rc::clone(inner)));
        tokio::task::spawn_local(leader::run(Rc::clone(inner)));
        tokio::task::spawn_local(checkpoints::run(Rc::clone(inner), inner.config.log_cut_interval));
        tokio::task::spawn_local(histories::run(Rc::clone(inner)));
    } else {
        tokio::task::spawn_local(follow::run(Rc::clone(inner)));
    }
    if inner.shard() != ShardId::FIRST {
        tokio::task::spawn_local(placement::follow(Rc::clone(inner)));
    }
    let questions = inner.questions.take().expect("taken once, here");
    tokio::task::spawn_local(fetch::answer_questions(Rc::clone(inner), questions));
    tokio::task::spawn_local(uplink::run(Rc::clone(inner)));
    tokio::task::spawn_local(epoch::run(Rc::clone(inner)));
}

impl Inner {
    /// How long the loop has run.
    pub(super) fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    /// All other nodes that are known.
    pub(super) fn other_nodes(&self) -> Vec<NodeId> {
        let mut nodes = self.member_nodes();
        nodes.extend(self.config.cluster.nodes.iter().map(|node| NodeId(node.id)).filter(|node| *node != self.node));
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}
