//! Worker threads: as many as cores, a replica sticky to one, and background workers for turns that take long.
//!
//! A committed batch costs one wake a worker; reports come back through one queue with one wake of the reader. A turn
//! that yields often (`meter`) moves to a background worker (nice 19) until its guest blocks, and so does a replica
//! that has to catch up from the log. Every queue is bounded: a replica whose queue is full drops it and reads the log
//! instead. What replicas capture for checkpoints is hashed and stored by one more thread at nice 19.
//!
//! The same worker and background also run without threads ([`Workers::inline`]), for the simulation.

mod background;
mod checkpoints;
mod inbox;
mod inline;
mod life;
mod slot;
mod worker;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use refrain_wire::{GroupId, Position};

use crate::checkpoint::{CheckpointStore, Root};
use crate::replica::{Flip, Heir, Replica, ReplicaId, TurnBatch, TurnOutcome};
use background::Background;
use checkpoints::Checkpoints;
use inbox::Inbox;
use inline::Inline;
use life::Life;
use worker::Worker;

/// Where replicas read batches that they were not handed: the committed log. A batch is there before it is delivered.
pub trait BatchSource: Send + Sync + 'static {
    /// Turns of `group` after `after`, in order and without gaps, of about `max_bytes`; at least one if there is one.
    /// The first one's `previous` is `after`.
    ///
    /// # Errors
    /// In words; the replica that asked is dropped.
    fn read(&self, group: GroupId, after: Position, max_bytes: usize) -> Result<Vec<Arc<TurnBatch>>, String>;
}

/// From when to when a turn lasted, waits for other replicas of its worker included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasted {
    /// Its begin.
    pub from: Instant,
    /// Its end.
    pub to: Instant,
}

impl Lasted {
    pub(crate) fn since(from: Instant) -> Self {
        Self { from, to: Instant::now() }
    }
}

/// What workers tell.
#[derive(Debug)]
pub enum Report {
    /// A replica finished a turn.
    Turn {
        /// Which.
        id: ReplicaId,
        /// What came of it.
        outcome: TurnOutcome,
        /// The replica reads the log to catch up.
        replaying: bool,
        /// When the turn began and when it was over.
        lasted: Lasted,
    },
    /// What a replica captured after a turn is stored.
    Rooted {
        /// Which.
        id: ReplicaId,
        /// After which turn.
        position: Position,
        /// The root of its state there.
        root: Root,
        /// How long hashing and storing took.
        took: Duration,
    },
    /// A replica is of no use any more and was dropped.
    Failed {
        /// Which.
        id: ReplicaId,
        /// Why, in words.
        reason: String,
    },
}

/// Takes reports in; called on worker threads, must not block.
pub type ReportSink = Arc<dyn Fn(Report) + Send + Sync>;

/// What a worker is told.
pub(crate) enum Command {
    /// A new replica; it catches up from the log first.
    Install(Box<Replica>),
    /// A replica comes back from the background, its turn finished and its position current.
    Return(Box<Replica>, Life),
    /// A replica failed in the background.
    Gone(ReplicaId, Life),
    /// A batch for all replicas of a group.
    Batch(Arc<TurnBatch>),
    /// Drop a replica.
    Remove(ReplicaId),
    /// Drop a replica and hand it to somebody who looks at it.
    Retire(ReplicaId, Heir),
    /// Flip a bit in a replica's guest.
    Inject(ReplicaId, Flip),
    /// End the thread.
    Stop,
}

/// The running workers.
pub struct Workers {
    inboxes: Vec<Arc<Inbox>>,
    threads: Vec<JoinHandle<()>>,
    /// Instead of threads.
    inline: Option<Inline>,
    background: Arc<Background>,
    checkpoints: Arc<Checkpoints>,
}

impl Workers {
    /// Starts `count` workers and as many in the background; what replicas capture is dropped.
    #[must_use]
    pub fn start(count: usize, source: Arc<dyn BatchSource>, sink: ReportSink) -> Self {
        Self::start_with(count, source, sink, None)
    }

    /// The same, with a store for what replicas capture.
    #[must_use]
    pub fn start_with(
        count: usize,
        source: Arc<dyn BatchSource>,
        sink: ReportSink,
        store: Option<Arc<CheckpointStore>>,
    ) -> Self {
        let count = count.max(1);
        let checkpoints = Checkpoints::start(store, &sink);
        let inboxes: Vec<Arc<Inbox>> = (0..count).map(|_| Arc::new(Inbox::default())).collect();
        let background = Background::start(count, source, Arc::clone(&sink), inboxes.clone(), Arc::clone(&checkpoints));
        let threads = (inboxes.iter().enumerate())
            .map(|(index, inbox)| {
                let (background, checkpoints) = (Arc::clone(&background), Arc::clone(&checkpoints));
                let worker = Worker::new(index, Arc::clone(inbox), background, checkpoints, Arc::clone(&sink));
                std::thread::Builder::new()
                    .name(format!("engine-{index}"))
                    .spawn(move || worker.run())
                    .expect("a thread can be started at start-up")
            })
            .collect();
        Self { inboxes, threads, inline: None, background, checkpoints }
    }

    /// One worker and its background without threads: turns run when [`Workers::work`] is called, in one order alone.
    /// `wake` is called when there is something to do; it must not call back. For the simulation, whose hosts share a
    /// thread.
    #[must_use]
    pub fn inline(
        source: Arc<dyn BatchSource>,
        sink: ReportSink,
        store: Option<Arc<CheckpointStore>>,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        let checkpoints = Checkpoints::without_thread(store, &sink);
        let inbox = Arc::new(Inbox::default());
        let homes = vec![Arc::clone(&inbox)];
        let background = Background::start(0, source, Arc::clone(&sink), homes, Arc::clone(&checkpoints));
        let worker = Worker::new(0, Arc::clone(&inbox), Arc::clone(&background), Arc::clone(&checkpoints), sink);
        let inline = Some(Inline::new(worker, wake));
        Self { inboxes: vec![inbox], threads: Vec::new(), inline, background, checkpoints }
    }

    /// Does everything that waits, on this thread, until nothing is left. For inline workers; others do it by
    /// themselves.
    pub fn work(&self) {
        if let Some(inline) = &self.inline {
            inline.work(&self.inboxes[0], &self.background, &self.checkpoints);
        }
    }

    fn wake(&self) {
        if let Some(inline) = &self.inline {
            inline.wake();
        }
    }

    /// Gives a replica to the worker of its seat; it catches up from the log and then follows.
    pub fn install(&self, replica: Replica) {
        self.home(replica.id()).push(Command::Install(Box::new(replica)));
        self.wake();
    }

    /// The worker that a replica is sticky to.
    fn home(&self, id: ReplicaId) -> &Inbox {
        let worker = usize::from(id.seat.0) + id.group.0 as usize;
        &self.inboxes[worker % self.inboxes.len()]
    }

    /// Hands committed batches to all replicas of their groups: one wake a worker.
    pub fn deliver(&self, batches: &[Arc<TurnBatch>]) {
        for inbox in &self.inboxes {
            inbox.push_all(batches.iter().map(|batch| Command::Batch(Arc::clone(batch))));
        }
        self.wake();
    }

    /// Drops a replica, wherever it is. A report of it may still come until its worker has taken note.
    pub fn remove(&self, id: ReplicaId) {
        self.each(|| Command::Remove(id));
    }

    /// Drops a replica, wherever it is, and hands it to `heir` between two of its steps.
    pub fn retire(&self, id: ReplicaId, heir: Heir) {
        self.home(id).push(Command::Retire(id, heir));
        self.wake();
    }

    /// Flips a bit in a replica's guest memory when its next turn begins.
    pub fn inject(&self, id: ReplicaId, flip: Flip) {
        self.each(|| Command::Inject(id, flip));
    }

    fn each(&self, command: impl Fn() -> Command) {
        for inbox in &self.inboxes {
            inbox.push(command());
        }
        self.wake();
    }

    /// Ends all threads; turns that are under way are given up.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.inline.take().is_some() {
            return;
        }
        self.each(|| Command::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.background.stop();
        self.checkpoints.stop();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end();
    }
}
