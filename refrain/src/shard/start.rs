//! Bringing the loop thread up: open the log, start engines and sequencer, take an epoch, serve.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use refrain_engine::{BatchSource, Platform, Report, Workers};
use refrain_proxy::nat::Limits as FlowLimits;
use refrain_proxy::tcp::FrontEnd;
use refrain_sequencer::batcher::Limits;
use refrain_sequencer::clock::SystemClock;
use refrain_sequencer::disk::{Disk, RealDisk, os_entropy};
use refrain_sequencer::flush::FlushThread;
use refrain_sequencer::log::Durability;
use refrain_sequencer::raft::{RaftLog, RaftOptions};
use refrain_sequencer::segment_log::SegmentOptions;
use refrain_sequencer::sequencer::{Event, Seams, Sequencer};
use refrain_sequencer::shard::Applied;
use refrain_wire::{Control, Epoch, ProxyId};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::upstream::ToSequencer;
use super::{Command, Commands, Inner};
use crate::config::Config;
use crate::history::History;
use crate::service::Service;

/// Commands that may wait for the loop thread.
const MAX_COMMANDS: usize = 256;
/// What of one group may be ordered and not yet executed; a submission alone can have a hundred thousand records.
pub(super) const LIMITS: Limits =
    Limits { bulk_bytes: 8 * 1024 * 1024, bulk_records: 512 * 1024, relief_records: 512 * 1024 };
/// This process's proxy, as the log knows it.
pub(super) const PROXY: ProxyId = ProxyId(1);

/// What the shard is made of.
pub(crate) struct Options {
    pub(crate) config: Config,
    pub(crate) platform: Platform,
    pub(crate) services: Vec<Arc<Service>>,
}

/// One served port.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) service: String,
    pub(crate) port: String,
    pub(crate) seats: u8,
    pub(crate) address: SocketAddr,
}

/// A shard that runs.
pub(crate) struct Started {
    pub(crate) commands: Commands,
    pub(crate) served: Vec<Served>,
    /// Services whose modules cannot run, and why.
    pub(crate) refused: Vec<(String, String)>,
    /// Answers when the loop thread ends: with the log's failure, or none after a drain.
    pub(crate) ended: oneshot::Receiver<Option<String>>,
}

type Ready = anyhow::Result<(Vec<Served>, Vec<(String, String)>)>;

/// Starts the loop thread and waits until it listens.
pub(crate) async fn start(options: Options) -> anyhow::Result<Started> {
    let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
    let (ready, is_ready) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("shard-0".into())
        .spawn(move || run(options, inbox, ready, end))
        .context("cannot start the loop thread")?;
    let (served, refused) = is_ready.await.context("the loop thread ended at its start")??;
    Ok(Started { commands, served, refused, ended })
}

fn run(
    options: Options,
    inbox: mpsc::Receiver<Command>,
    ready: oneshot::Sender<Ready>,
    end: oneshot::Sender<Option<String>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let local = tokio::task::LocalSet::new();
    let failure = local.block_on(&runtime, async {
        match bring_up(options).await {
            Ok((inner, served, refused)) => {
                let _ = ready.send(Ok((served, refused)));
                inner.go_on(inbox).await
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                None
            }
        }
    });
    let _ = end.send(failure);
}

async fn bring_up(options: Options) -> anyhow::Result<(Rc<Inner>, Vec<Served>, Vec<(String, String)>)> {
    let Options { config, platform, services } = options;
    let history = Arc::new(History::default());
    let handle: Rc<OnceCell<Weak<Inner>>> = Rc::default();
    let sequencer = open_log(&config, &history, &handle).await?;
    let idle = services.iter().filter_map(|service| service.idle).min();
    let (runnable, refused): (Vec<_>, Vec<_>) = services.into_iter().partition(|service| service.parts.code.is_ok());
    let inner = Rc::new(Inner {
        data_dir: config.data_dir.clone(),
        log: Arc::clone(sequencer.log()),
        sequencer,
        history,
        front: OnceCell::new(),
        workers: OnceCell::new(),
        groups: RefCell::default(),
        refused: refused.clone(),
        epoch: Cell::new(Epoch(0)),
        waiting: RefCell::default(),
        settling: RefCell::default(),
        wishes: Notify::new(),
        voted: Notify::new(),
        stalled: Cell::new(false),
        failure: RefCell::new(None),
        ended: watch::Sender::new(false),
        lost: Cell::new(false),
        recover: Notify::new(),
        again: RefCell::default(),
    });
    inner.history.attach(Arc::clone(&inner.log));
    handle.set(Rc::downgrade(&inner)).expect("set once, here");
    start_front(&inner, &config, idle);
    start_workers(&inner, config.engine_workers);
    spawn_driver(&inner);
    // The epoch comes first: what new groups say in their first turn is then released.
    let epoch = inner.sequencer.open_epoch(PROXY).await.context("the proxy got no epoch")?;
    tracing::debug!(%epoch, "epoch opened");
    let services = inner.match_groups(runnable, &config, &platform).await?;
    let served = inner.serve(services).await?;
    spawn_ticks(&inner);
    spawn_recovery(&inner);
    let refused = refused.iter().map(|service| (service.full_name.clone(), service.why_refused())).collect();
    Ok((inner, served, refused))
}

type Log = Sequencer<Arc<RaftLog>>;

async fn open_log(
    config: &Config,
    history: &Arc<History<RaftLog>>,
    handle: &Rc<OnceCell<Weak<Inner>>>,
) -> anyhow::Result<Log> {
    let folder = config.data_dir.join("log");
    let disk: Arc<dyn Disk> =
        Arc::new(RealDisk::open(&folder).with_context(|| format!("cannot open the log in {}", folder.display()))?);
    let durability = match config.durability {
        crate::config::Durability::Fsync => Durability::Fsync,
        crate::config::Durability::None => Durability::None,
    };
    let options = RaftOptions {
        segments: SegmentOptions { durability, ..SegmentOptions::default() },
        max_log_bytes: Some(config.max_log_bytes),
        ..RaftOptions::default()
    };
    let seams = Seams { clock: Box::new(SystemClock::new()), entropy: os_entropy(), limits: LIMITS };
    let (history, handle) = (Arc::clone(history), Rc::clone(handle));
    let on_event = move |event| match event {
        Event::Committed(applied) => {
            note(&history, &applied);
            if let Some(inner) = handle.get().and_then(Weak::upgrade) {
                inner.committed(&applied);
            }
        }
        Event::Failed { controls, error, .. } => {
            if let Some(inner) = handle.get().and_then(Weak::upgrade) {
                inner.append_failed(&controls, &error);
            }
        }
    };
    let open = |sink| async move { RaftLog::open(disk, &FlushThread, options, sink).await.map(Arc::new) };
    Log::open(seams, on_event, open).await.with_context(|| format!("cannot open the log in {}", folder.display()))
}

/// Keeps what an entry means beyond its bytes, for replicas that read it later.
fn note(history: &History<RaftLog>, applied: &Applied) {
    for (group, control) in &applied.controls {
        if matches!(control, Control::Create { .. }) {
            history.create(*group, applied.position);
        }
    }
    let replaced =
        applied.cut.then(|| applied.batches.iter().map(|batch| (batch.group, batch.records.clone())).collect());
    let given = applied.batches.iter().map(|batch| batch.group);
    history.commit(applied.position, given, super::commit::events(applied), replaced);
}

fn start_front(inner: &Rc<Inner>, config: &Config, shortest_idle: Option<Duration>) {
    let idle = shortest_idle.unwrap_or(FlowLimits::default().idle).min(FlowLimits::default().idle);
    let limits = FlowLimits { connections: config.max_connections as usize, idle, ..FlowLimits::default() };
    let front = FrontEnd::new(limits, Rc::new(ToSequencer(Rc::downgrade(inner))));
    assert!(inner.front.set(front).is_ok(), "set once, here");
}

/// Starts the engine; its reports wake one task of the loop, which takes all that have come.
fn start_workers(inner: &Rc<Inner>, count: usize) {
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
    let workers = Workers::start(count, Arc::clone(&inner.history) as Arc<dyn BatchSource>, Arc::new(sink));
    assert!(inner.workers.set(workers).is_ok(), "set once, here");
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

/// Runs the sequencer; when it ends by itself, the whole loop ends with it.
fn spawn_driver(inner: &Rc<Inner>) {
    let inner = Rc::clone(inner);
    tokio::task::spawn_local(async move {
        if let Err(error) = inner.sequencer.run().await {
            let words = format!("{:#}", anyhow::Error::new(error));
            *inner.failure.borrow_mut() = Some(words);
        }
        inner.ended.send_replace(true);
    });
}

/// How often a new epoch is tried for while the log takes no entries.
const RECOVER_EVERY: Duration = Duration::from_secs(1);

/// After a failed append: opens a new epoch as soon as the log takes one.
fn spawn_recovery(inner: &Rc<Inner>) {
    let inner = Rc::clone(inner);
    tokio::task::spawn_local(async move {
        loop {
            inner.recover.notified().await;
            while inner.lost.get() {
                tokio::time::sleep(RECOVER_EVERY).await;
                if let Err(error) = inner.sequencer.open_epoch(PROXY).await {
                    tracing::debug!(%error, "no new epoch yet");
                }
            }
        }
    });
}

fn spawn_ticks(inner: &Rc<Inner>) {
    let inner = Rc::clone(inner);
    tokio::task::spawn_local(async move { inner.run_ticks().await });
}
