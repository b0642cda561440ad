//! A replica: one copy of a group's guest, which applies batches turn by turn.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use refrain_kernel::process::Phase;
use refrain_kernel::{Kernel, ShardEvent, TurnInput};
use refrain_wire::turn::TurnEffects;
use refrain_wire::{Digest, EffectEntry, Epoch, GroupId, Incarnation, Position, RunningDigest, Seat, Time};

pub use crate::blueprint::{Blueprint, Blueprints, RunLimits};
use crate::checkpoint::restore::{self, Restoring};
use crate::checkpoint::{Captured, ChunkSource, Manifest, RestoreError};
use crate::guest::{self, Beginning, Run, RunEnd};
pub use crate::host::Flip;
use crate::host::Shared;

mod examine;
mod upgrade;
mod usage;

pub use examine::{Heir, Remains, Retired};
use upgrade::Upgrade;
pub(crate) use usage::Grown;
pub use usage::Usage;

/// One holder of one seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId {
    /// The group.
    pub group: GroupId,
    /// The seat.
    pub seat: Seat,
    /// The holder's number.
    pub incarnation: Incarnation,
}

impl std::fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "group {} seat {} incarnation {}", self.group, self.seat, self.incarnation)
    }
}

/// What every replica of a group is given at one position. Shared by all of them.
#[derive(Debug, Clone)]
pub struct TurnBatch {
    /// The group.
    pub group: GroupId,
    /// Where in the log.
    pub position: Position,
    /// The position of the group's turn before this one.
    pub previous: Position,
    /// Log time.
    pub time: Time,
    /// Events of the shard at this position.
    pub shard: Vec<ShardEvent>,
    /// The group's records; empty when only the shard has something.
    pub records: Bytes,
    /// The epochs of the proxies that are voted to.
    pub epochs: Arc<[Epoch]>,
}

impl TurnBatch {
    fn input(&self) -> TurnInput<'_> {
        TurnInput { position: self.position, time: self.time, shard: &self.shard, records: &self.records }
    }
}

/// What a finished turn gives to agreement.
#[derive(Debug, Clone)]
pub struct TurnOutcome {
    /// The turn.
    pub position: Position,
    /// A vote for each proxy.
    pub votes: Vec<(Epoch, Digest)>,
    /// The effects.
    pub effects: Arc<TurnEffects>,
    /// The running digest after the turn.
    pub after: RunningDigest,
    /// When the replica wants its next turn.
    pub wants: Option<Time>,
    /// What the guest uses.
    pub usage: Usage,
    /// Fuel that the guest used in this turn.
    pub fuel: u64,
    /// The replica's whole state after the turn, when a checkpoint was due and the guest could be saved.
    pub captured: Option<Arc<Captured>>,
}

/// What a guest is doing between two turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestView {
    /// How often it was started.
    pub starts: u64,
    /// Whether it runs.
    pub running: bool,
    /// How it ended last: its code, and why in words.
    pub last_end: Option<(u64, String)>,
    /// What it is there for: ports as `listen` effects name them.
    pub listening: Vec<u32>,
    /// What it uses.
    pub usage: Usage,
}

/// Where a turn stands after the guest was run.
pub(crate) enum Progress {
    /// The turn is over.
    Done(TurnOutcome),
    /// The guest yielded its core in the middle.
    Yielded,
    /// This host failed: the replica must be dropped.
    Failed(String),
}

/// One copy of a group's guest.
pub struct Replica {
    id: ReplicaId,
    blueprint: Arc<Blueprint>,
    /// Where the programs of upgrades are found.
    blueprints: Option<Arc<Blueprints>>,
    shared: Arc<Mutex<Shared>>,
    run: Option<Run>,
    running: RunningDigest,
    position: Position,
    epochs: Arc<[Epoch]>,
    /// The guest is being captured and has yielded its core meanwhile.
    capturing: bool,
    /// The turn is that of an upgrade, which is not decided yet.
    upgrade: Option<Upgrade>,
    /// When the capture of this turn began.
    capture_began: Option<Instant>,
}

impl Replica {
    /// A replica before its first turn.
    #[must_use]
    pub fn new(id: ReplicaId, blueprint: Arc<Blueprint>) -> Self {
        let kernel = Kernel::new(blueprint.group, blueprint.config.clone(), &blueprint.bundle);
        Self::assemble(id, blueprint, kernel, (Position::default(), RunningDigest::default()))
    }

    /// The same, and upgrades to what is found there; without, an upgrade is a failure of this host.
    #[must_use]
    pub fn with_blueprints(self, blueprints: Arc<Blueprints>) -> Self {
        Self { blueprints: Some(blueprints), ..self }
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// The digest of the bundle that it runs.
    #[must_use]
    pub fn bundle(&self) -> [u8; 32] {
        self.blueprint.digest
    }

    /// Its last turn, finished or under way.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The digest of all its turns.
    #[must_use]
    pub fn running_digest(&self) -> RunningDigest {
        self.running
    }

    /// What its guest is doing between two turns.
    #[must_use]
    pub fn guest_view(&self) -> GuestView {
        let mut shared = self.shared.lock();
        let usage = Usage::of(&mut shared);
        let kernel = shared.kernel();
        let process = kernel.process();
        GuestView {
            starts: u64::from(process.starts),
            running: process.phase == Phase::Running,
            last_end: process.last_end.as_ref().map(|end| (u64::from(end.code()), end.reason())),
            listening: kernel.listening_as_told().collect(),
            usage,
        }
    }

    /// Captures the state at the end of the next turn, or of the first later one at which the guest can be saved.
    pub fn capture_next(&mut self) {
        self.shared.lock().kernel().order_checkpoint();
    }

    /// A replica that goes on from a checkpoint, as the one that was captured did.
    ///
    /// # Errors
    /// When the checkpoint is another program's, is damaged, or does not go on as it must.
    pub fn restore(
        id: ReplicaId,
        blueprint: Arc<Blueprint>,
        manifest: &Manifest,
        chunks: Arc<dyn ChunkSource>,
    ) -> Result<Self, RestoreError> {
        restore::replica(id, blueprint, manifest, chunks)
    }

    /// The parts of a restored replica; its guest is not polled yet.
    pub(crate) fn assemble(
        id: ReplicaId,
        blueprint: Arc<Blueprint>,
        kernel: Kernel,
        (position, running): (Position, RunningDigest),
    ) -> Self {
        let shared = Arc::new(Mutex::new(Shared::new(Some(kernel))));
        Self {
            id,
            blueprint,
            blueprints: None,
            shared,
            run: None,
            running,
            position,
            epochs: Arc::new([]),
            capturing: false,
            capture_began: None,
            upgrade: None,
        }
    }

    /// Instantiates the guest and builds its stack up, until it waits where it was captured.
    pub(crate) fn resume_guest(&mut self, restoring: Restoring) -> Result<(), String> {
        self.run = Some(self.new_run(Beginning::Restored(restoring)));
        loop {
            match self.poll_guest() {
                Some(Progress::Yielded) => {}
                Some(Progress::Failed(reason)) => return Err(reason),
                Some(Progress::Done(_)) | None if self.run.is_some() => return Ok(()),
                Some(Progress::Done(_)) | None => return Err("the guest ended while its stack was built up".into()),
            }
        }
    }

    /// Flips a bit of the guest's memory when its next turn begins.
    pub fn inject(&mut self, flip: Flip) {
        self.shared.lock().flip = Some(flip);
    }

    /// Applies `batch` and runs the guest until the turn is over, however long that takes.
    ///
    /// # Errors
    /// The host's failure, in words; the replica is of no use then.
    pub fn turn(&mut self, batch: &TurnBatch) -> Result<TurnOutcome, String> {
        self.begin(batch);
        loop {
            match self.resume() {
                Progress::Done(outcome) => return Ok(outcome),
                Progress::Yielded => {}
                Progress::Failed(reason) => return Err(reason),
            }
        }
    }

    /// The same for a program that runs by itself: `between` sees its kernel whenever the guest yields its core, and ends
    /// the turn early by `false`. `None` then; the replica is of no more use than to look at its kernel.
    ///
    /// # Errors
    /// The host's failure, in words.
    pub fn turn_while(
        &mut self,
        batch: &TurnBatch,
        mut between: impl FnMut(&mut Kernel) -> bool,
    ) -> Result<Option<TurnOutcome>, String> {
        self.begin(batch);
        loop {
            match self.resume() {
                Progress::Done(outcome) => return Ok(Some(outcome)),
                Progress::Yielded if between(self.shared.lock().kernel()) => {}
                Progress::Yielded => return Ok(None),
                Progress::Failed(reason) => return Err(reason),
            }
        }
    }

    /// The kernel, between two turns.
    pub fn with_kernel<T>(&mut self, look: impl FnOnce(&mut Kernel) -> T) -> T {
        look(self.shared.lock().kernel())
    }

    /// From now on a turn begins with the fuel that the last one left: the limit is one of the whole run.
    pub fn keep_fuel(&mut self) {
        self.shared.lock().keeps_fuel = true;
    }

    pub(crate) fn begin(&mut self, batch: &TurnBatch) {
        debug_assert_eq!(batch.previous, self.position, "batches reach a replica without gaps");
        self.position = batch.position;
        self.epochs = Arc::clone(&batch.epochs);
        match upgrade::wanted(&batch.records) {
            Some(bundle) => self.begin_upgrade(bundle, batch),
            None => self.enter(batch, Kernel::begin_turn),
        }
    }

    /// Begins the turn of the guest that runs, or starts it.
    fn enter(&mut self, batch: &TurnBatch, begin: impl FnOnce(&mut Kernel, &TurnInput<'_>)) {
        let mut shared = self.shared.lock();
        shared.turn += 1;
        if !shared.keeps_fuel {
            shared.fuel_left = self.fuel_per_turn();
        }
        begin(shared.kernel(), &batch.input());
        if shared.kernel().start_if_due() {
            drop(shared);
            self.run = Some(self.new_run(Beginning::Start));
        }
    }

    fn new_run(&self, beginning: Beginning) -> Run {
        let compiled = Arc::clone(&self.blueprint.compiled);
        guest::run(compiled, Arc::clone(&self.shared), self.blueprint.limits, beginning)
    }

    fn fuel_per_turn(&self) -> u64 {
        self.blueprint.limits.fuel_per_turn.unwrap_or(u64::MAX)
    }

    pub(crate) fn resume(&mut self) -> Progress {
        if let Some(progress) = self.try_upgrade() {
            return progress;
        }
        if let Some(progress) = self.run_guest() {
            return progress;
        }
        if let Some(progress) = self.capture_guest() {
            return progress;
        }
        Progress::Done(self.finish())
    }

    /// Polls the guest once. `None` when it can do nothing more in this turn.
    fn run_guest(&mut self) -> Option<Progress> {
        {
            let mut shared = self.shared.lock();
            if !shared.kernel().runs() || self.capturing {
                return None;
            }
        }
        self.poll_guest()
    }

    /// Stores the stack of a waiting guest, copies its state and builds the stack up again, when a checkpoint is due.
    /// `None` when that is done, or cannot be.
    fn capture_guest(&mut self) -> Option<Progress> {
        if !self.capturing {
            let mut shared = self.shared.lock();
            if self.run.is_none()
                || !shared.kernel().checkpoint_due()
                || self.blueprint.compiled.checkpointable.is_err()
            {
                return None;
            }
            shared.capture = true;
            self.capturing = true;
            self.capture_began = Some(Instant::now());
        }
        let progress = self.poll_guest();
        self.capturing = matches!(progress, Some(Progress::Yielded));
        progress
    }

    fn poll_guest(&mut self) -> Option<Progress> {
        poll_run(&mut self.run, &self.shared)
    }

    fn finish(&mut self) -> TurnOutcome {
        let mut shared = self.shared.lock();
        let memory = shared.memory_digest.take();
        let image = shared.image.take();
        let capture = shared.kernel().checkpoint_due() && (self.run.is_none() || image.is_some());
        let began = self.capture_began.take();
        let began = capture.then(|| began.unwrap_or_else(Instant::now));
        if capture {
            shared.kernel().checkpoint_taken();
        }
        let end = shared.kernel().end_turn(memory);
        let effects = TurnEffects { position: self.position, before: self.running, effects: end.effects };
        let votes = self.epochs.iter().map(|epoch| (*epoch, vote(&effects, *epoch))).collect();
        let entries: Vec<EffectEntry> = effects.effects.iter().map(|effect| effect.entry).collect();
        self.running.absorb(self.position, &entries);
        let captured = began.map(|began| {
            let (position, running) = (self.position, self.running);
            let kernel = shared.kernel().snapshot();
            Arc::new(Captured::new(&self.blueprint, (position, running), image, kernel, began.elapsed()))
        });
        TurnOutcome {
            position: self.position,
            votes,
            effects: Arc::new(effects),
            after: self.running,
            wants: end.wants,
            usage: Usage::of(&mut shared),
            fuel: self.fuel_per_turn().saturating_sub(shared.fuel_left),
            captured,
        }
    }
}

/// Runs a guest on. `None` when it can do nothing more in this turn: it waits, has ended, or there is none.
fn poll_run(run: &mut Option<Run>, shared: &Mutex<Shared>) -> Option<Progress> {
    let polled = {
        let run = run.as_mut()?;
        let mut shared = shared.lock();
        shared.blocked = false;
        shared.polls += 1;
        drop(shared);
        run.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    match polled {
        Poll::Pending if shared.lock().blocked => None,
        Poll::Pending => Some(Progress::Yielded),
        Poll::Ready(RunEnd::Guest(end)) => {
            *run = None;
            let mut shared = shared.lock();
            shared.grown = Grown::default();
            shared.image = None;
            shared.kernel().guest_ended(end);
            None
        }
        Poll::Ready(RunEnd::Host(reason)) => Some(Progress::Failed(reason)),
    }
}

/// The vote for the proxy of `epoch`: its own flows' effects and those of the group.
fn vote(effects: &TurnEffects, epoch: Epoch) -> Digest {
    let concerns = |entry: &&EffectEntry| entry.flow.is_none_or(|flow| flow.epoch == epoch);
    effects.before.vote(effects.effects.iter().map(|effect| &effect.entry).filter(concerns))
}
