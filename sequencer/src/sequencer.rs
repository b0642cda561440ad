//! The leader's driver: what is pending goes to the log, one append at a time, and what is committed comes back.
//!
//! Everything runs on the loop thread by plain calls. [`Sequencer::run`] is the one future; it is not
//! cancellation-safe (a draft on its way stays on its way), so it is spawned once and ends with the log.
//! Nothing pending means nothing appended; the first submission is appended at once.
//!
//! The handler gets every committed entry, those of earlier runs first, before anything else that the loop does
//! with it. It may call the sequencer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::watch;
use bytes::Bytes;
use refrain_wire::entry::Draft;
use refrain_wire::{Control, DecodeError, Entry, Epoch, GroupId, Position, ProxyId, ShardControl, SubmissionId, Time};
use tokio::sync::{Notify, oneshot};

use crate::batcher::{Batcher, Limits, Refused, Returned, Submission, Usage};
use crate::clock::{BatchClock, Clock};
use crate::disk::Entropy;
use crate::log::{AppendError, CommitSink, Delivery, Leadership, LocalSink, OrderedLog, local_sink};
use crate::shard::{Applied, ShardState};

mod ordering;
mod restored;

use ordering::Begun;
pub use ordering::Ordering;

/// Failures that follow each other within this time are told once: what is small may still fit when the disk is full.
const SAME_FAILURE: Duration = Duration::from_secs(10);

/// What the sequencer tells its shell.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "handed over once, by value; a box would be an allocation an entry")]
pub enum Event {
    /// The shard's state is that at this position; what led to it is not told.
    Restored(Position),
    /// An entry was committed. Nothing waits any more of the epochs whose submissions it dropped: their proxies submit
    /// again, all that follows the last number that counts.
    Committed(Applied),
    /// An append failed: none of this was ordered here. When the error is fatal it may have been all the same,
    /// and the log's next reader will know; else proxies may submit again, with the first of these numbers.
    Failed {
        /// The submissions, those that waited behind the append included.
        submissions: Vec<SubmissionId>,
        /// Controls of groups that were wanted.
        controls: Vec<(GroupId, Control)>,
        /// Why.
        error: AppendError,
    },
}

/// Why the sequencer stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log takes nothing more.
    #[error("the sequencer has stopped")]
    Log(#[source] AppendError),
    /// A committed entry is not understood: a leader of a newer version wrote it, or a broken one.
    #[error("this version, {}, does not understand what is committed at position {position}", env!("CARGO_PKG_VERSION"))]
    BadEntry {
        /// Where it stands.
        position: Position,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// There is no randomness.
    #[error("cannot get randomness")]
    Entropy(#[source] std::io::Error),
}

/// Why a proxy got no epoch.
#[derive(Debug, thiserror::Error)]
pub enum OpenEpochError {
    /// The record was refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no randomness.
    #[error("cannot get randomness")]
    Entropy(#[source] std::io::Error),
    /// The record was not ordered.
    #[error("the record of the new epoch was not ordered")]
    NotOrdered,
}

/// What the sequencer needs from outside.
pub struct Seams {
    /// The clocks.
    pub clock: Box<dyn Clock>,
    /// Secret randomness.
    pub entropy: Entropy,
    /// The limits of each group.
    pub limits: Limits,
}

struct State {
    shard: ShardState,
    batcher: Batcher,
    clock: BatchClock,
    /// The term whose randomness was put into a draft.
    announced: Option<u64>,
    /// When the first of what is pending was taken.
    pending_since: Option<Duration>,
    begun: Option<Begun>,
    /// The groups that the last entry gave a batch.
    last_given: (Position, Vec<GroupId>),
    opening: HashMap<u64, oneshot::Sender<Epoch>>,
    broken: Option<(Position, DecodeError)>,
    /// When an append failed last, by the monotonic clock, while that was not told to be over.
    failing: Option<Duration>,
    stopping: bool,
    stopped: bool,
}

struct Core {
    state: RefCell<State>,
    work: Notify,
    seams: Seams,
    handler: Box<dyn Fn(Event)>,
}

/// The driver of one shard's log.
pub struct Sequencer<L> {
    log: L,
    core: Rc<Core>,
    _sink: LocalSink,
}

impl<L: OrderedLog> Sequencer<L> {
    /// Opens a log with the sequencer as its sink; every committed entry reaches `handler` before this returns.
    ///
    /// # Errors
    /// What opening the log says.
    pub async fn open<E, F>(
        seams: Seams,
        handler: impl Fn(Event) + 'static,
        open_log: impl FnOnce(CommitSink) -> F,
    ) -> Result<Self, E>
    where
        F: Future<Output = Result<L, E>>,
    {
        let core = Rc::new(Core::new(seams, Box::new(handler)));
        let receiver = Rc::downgrade(&core);
        let (sink, guard) = local_sink(move |delivery| {
            let Some(core) = receiver.upgrade() else { return };
            match delivery {
                Delivery::Entry { position, bytes } => core.committed(position, bytes),
                Delivery::Snapshot { position, state } => core.restored(position, state),
            }
        });
        let log = open_log(sink).await?;
        Ok(Self { log, core, _sink: guard })
    }

    /// The log.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// Looks at the shard's state. `look` must not call the sequencer.
    pub fn with_shard<T>(&self, look: impl FnOnce(&ShardState) -> T) -> T {
        look(&self.core.state.borrow().shard)
    }

    /// The time that an entry appended now would carry.
    #[must_use]
    pub fn now(&self) -> Time {
        let (elapsed, wall) = (self.core.seams.clock.elapsed(), self.core.seams.clock.wall());
        self.core.state.borrow_mut().clock.now(elapsed, wall)
    }

    /// The term in which this member leads; none when it does not.
    #[must_use]
    pub fn leading(&self) -> Option<u64> {
        self.log.leading()
    }

    /// Whether this member leads may have changed: what is pending is looked at again.
    pub fn leadership_changed(&self) {
        self.core.work.notify_one();
    }

    /// The draft that is on its way. When its entry is committed it still is.
    #[must_use]
    pub fn ordering(&self) -> Option<Ordering> {
        let begun = self.core.state.borrow().begun?;
        Some(begun.at(self.core.seams.clock.elapsed()))
    }

    /// What counts against the limits of `group`.
    #[must_use]
    pub fn usage(&self, group: GroupId) -> Usage {
        self.core.state.borrow().batcher.usage(group)
    }

    /// Takes a submission; its outcome is an event.
    ///
    /// # Errors
    /// When it is refused; it will not be ordered then.
    pub fn submit(&self, submission: Submission) -> Result<(), Refused> {
        if self.log.leading().is_none() {
            return Err(Refused::NotLeader);
        }
        self.core.submit(submission)
    }

    /// Wants a turn of `group` that was due at `time`.
    pub fn tick(&self, group: GroupId, time: Time) {
        let mut state = self.core.state.borrow_mut();
        state.batcher.tick(group, time);
        state.note_pending(&*self.core.seams.clock);
        self.core.work.notify_one();
    }

    /// Wants a control ordered. Whether it was honoured is seen when it is committed.
    ///
    /// # Errors
    /// When too many are pending, this member does not lead, or the log takes nothing more.
    pub fn control(&self, group: GroupId, control: Control) -> Result<(), Refused> {
        if self.log.leading().is_none() {
            return Err(Refused::NotLeader);
        }
        self.core.control(group, control)
    }

    /// A quorum of the group's seats has executed everything up to `position`.
    pub fn executed(&self, group: GroupId, position: Position) {
        self.core.state.borrow_mut().batcher.executed(group, position);
    }

    /// Opens a new epoch for `proxy`; its earlier ones end. Needs [`Sequencer::run`] to be running. Dropping the
    /// future leaves an epoch that nobody uses, until the proxy opens another.
    ///
    /// # Errors
    /// When the record could not be ordered.
    pub async fn open_epoch(&self, proxy: ProxyId) -> Result<Epoch, OpenEpochError> {
        let mut nonce = [0; 8];
        (self.core.seams.entropy)(&mut nonce).map_err(OpenEpochError::Entropy)?;
        let nonce = u64::from_le_bytes(nonce);
        let (sender, receiver) = oneshot::channel();
        self.core.state.borrow_mut().opening.insert(nonce, sender);
        let control = Control::Shard(ShardControl::OpenEpoch { proxy, nonce, outward: false });
        if let Err(refused) = self.core.control(GroupId::SHARD, control) {
            self.core.state.borrow_mut().opening.remove(&nonce);
            return Err(refused.into());
        }
        receiver.await.map_err(|_| OpenEpochError::NotOrdered)
    }

    /// Ends [`Sequencer::run`] once nothing is pending any more.
    pub fn stop(&self) {
        self.core.state.borrow_mut().stopping = true;
        self.core.work.notify_one();
    }

    /// Appends what is pending until [`Sequencer::stop`] or a fatal error.
    ///
    /// # Errors
    /// Why nothing more can be appended; submissions are refused from then on.
    pub async fn run(&self) -> Result<(), RunError> {
        let outcome = self.drive().await;
        let mut state = self.core.state.borrow_mut();
        state.stopped = true;
        state.opening.clear();
        outcome
    }

    async fn drive(&self) -> Result<(), RunError> {
        let mut leadership = self.log.leadership();
        loop {
            if let Some((position, source)) = self.core.state.borrow().broken.clone() {
                return Err(RunError::BadEntry { position, source });
            }
            let leading = self.log.leading();
            self.core.end_other_terms(leading);
            let Some(draft) = self.core.next_draft(leading)? else {
                if self.core.state.borrow().stopping {
                    return Ok(());
                }
                self.until_due(&mut leadership).await?;
                continue;
            };
            match self.log.append(draft).await {
                Ok(position) => self.core.ordered(position),
                Err(error) => {
                    self.core.failed(&error);
                    if error.is_fatal() {
                        return Err(RunError::Log(error));
                    }
                    if self.core.state.borrow().stopping {
                        // Everything was given up. The term would be announced again, for ever, to a log that is full.
                        return Ok(());
                    }
                    // What failed is tried again when somebody wants something, not before.
                    self.until_due(&mut leadership).await?;
                }
            }
        }
    }

    /// Waits until there may be something to do. A member that does not lead appends nothing: that its log has ended is
    /// told by the end of the watch alone.
    async fn until_due(&self, leadership: &mut watch::Receiver<Leadership>) -> Result<(), RunError> {
        let changed = tokio::select! {
            biased;
            () = self.core.work.notified() => return Ok(()),
            changed = leadership.changed() => changed,
        };
        if changed.is_ok() {
            return Ok(());
        }
        let ended = self.log.append(Draft::default()).await;
        Err(RunError::Log(ended.err().unwrap_or(AppendError::Closed)))
    }
}

impl Core {
    fn new(seams: Seams, handler: Box<dyn Fn(Event)>) -> Self {
        let state = State {
            shard: ShardState::new(),
            batcher: Batcher::new(seams.limits),
            clock: BatchClock::default(),
            announced: None,
            pending_since: None,
            begun: None,
            last_given: (Position(0), Vec::new()),
            opening: HashMap::new(),
            broken: None,
            failing: None,
            stopping: false,
            stopped: false,
        };
        Self { state: RefCell::new(state), work: Notify::new(), seams, handler }
    }

    fn committed(&self, position: Position, bytes: &Bytes) {
        let applied = {
            let state = &mut *self.state.borrow_mut();
            if state.broken.is_some() {
                return;
            }
            match Entry::decode(position, bytes).and_then(|entry| state.apply(&entry)) {
                Ok(applied) => applied,
                Err(error) => {
                    tracing::error!(%position, %error, "a committed entry is not understood");
                    state.broken = Some((position, error));
                    return self.work.notify_one();
                }
            }
        };
        (self.handler)(Event::Committed(applied));
    }

    fn submit(&self, submission: Submission) -> Result<(), Refused> {
        let mut state = self.state.borrow_mut();
        if state.stopping || state.stopped {
            return Err(Refused::Stopped);
        }
        for batch in &submission.batches {
            let group = batch.group;
            // What comes for a halted group is cut out when it is applied; refusing it would hold up other groups.
            if !state.shard.groups().contains_key(&group) {
                return Err(Refused::UnknownGroup { group });
            }
        }
        state.batcher.offer(submission)?;
        state.note_pending(&*self.seams.clock);
        self.work.notify_one();
        Ok(())
    }

    fn control(&self, group: GroupId, control: Control) -> Result<(), Refused> {
        let mut state = self.state.borrow_mut();
        if state.stopping || state.stopped {
            return Err(Refused::Stopped);
        }
        state.batcher.control(group, control)?;
        state.note_pending(&*self.seams.clock);
        self.work.notify_one();
        Ok(())
    }

    /// What is pending from another term is given up: its senders tell whoever leads now, and what was ordered
    /// elsewhere since must not be ordered again.
    fn end_other_terms(&self, leading: Option<u64>) {
        let ended = self.state.borrow().announced.is_some_and(|term| leading != Some(term));
        if ended {
            self.failed(&AppendError::NotLeader { leader: None });
        }
    }

    fn next_draft(&self, leading: Option<u64>) -> Result<Option<Draft>, RunError> {
        let Some(term) = leading else { return Ok(None) };
        let state = &mut *self.state.borrow_mut();
        let (elapsed, wall) = (self.seams.clock.elapsed(), self.seams.clock.wall());
        if state.announced != Some(term) {
            let mut entropy = [0; 32];
            (self.seams.entropy)(&mut entropy).map_err(RunError::Entropy)?;
            let control = Control::Shard(ShardControl::Term { term, entropy });
            state.batcher.control_first(GroupId::SHARD, control);
            state.clock.take_office(elapsed, wall);
            state.announced = Some(term);
        }
        if state.batcher.is_idle() {
            return Ok(None);
        }
        let time = state.clock.now(elapsed, wall);
        let taken = state.pending_since.take().unwrap_or(elapsed);
        let draft = state.batcher.take(time);
        state.begun = Some(Begun { time, taken, drafted: elapsed });
        // What did not fit waits on.
        state.pending_since = Some(taken).filter(|_| !state.batcher.is_idle());
        Ok(draft)
    }

    fn ordered(&self, position: Position) {
        let state = &mut *self.state.borrow_mut();
        state.begun = None;
        let (at, given) = std::mem::take(&mut state.last_given);
        state.batcher.ordered(position, |group| at == position && given.contains(&group));
        let elapsed = self.seams.clock.elapsed();
        if state.failing.is_some_and(|last| elapsed.saturating_sub(last) > SAME_FAILURE) {
            state.failing = None;
            tracing::info!(%position, "the log takes entries again");
        }
    }

    fn failed(&self, error: &AppendError) {
        let Returned { submissions, mut controls } = {
            let state = &mut *self.state.borrow_mut();
            let told = matches!(error, AppendError::NotLeader { .. });
            if !told && state.failing.replace(self.seams.clock.elapsed()).is_none() {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the log does not take an entry");
            }
            state.announced = None;
            (state.begun, state.pending_since) = (None, None);
            // Their senders are told by this.
            state.opening.clear();
            let epochs = state.shard.epochs();
            state.batcher.failed(|epoch| epochs.get(&epoch).map_or(0, |epoch| epoch.last))
        };
        controls.retain(|(_, control)| !matches!(control, Control::Shard(_)));
        (self.handler)(Event::Failed { submissions, controls, error: error.clone() });
    }
}

impl State {
    fn note_pending(&mut self, clock: &dyn Clock) {
        if self.pending_since.is_none() {
            self.pending_since = Some(clock.elapsed());
        }
    }

    fn apply(&mut self, entry: &Entry) -> Result<Applied, DecodeError> {
        let applied = self.shard.apply(entry)?;
        self.clock.note(applied.time);
        for id in &applied.accepted {
            self.batcher.applied(id.epoch, id.number);
        }
        for id in &applied.dropped {
            // A number before those that wait does not count: waiting, they would only be dropped as well.
            if let Some(epoch) = self.shard.epochs().get(&id.epoch) {
                self.batcher.rewind(id.epoch, epoch.last);
            }
        }
        for epoch in &applied.ended {
            self.batcher.end_epoch(*epoch);
        }
        for opened in &applied.opened {
            self.batcher.open_epoch(opened.epoch, 0);
        }
        for opened in applied.opened.iter().chain(&applied.reopened) {
            if let Some(sender) = self.opening.remove(&opened.nonce) {
                // Whoever opened it may have gone.
                let _ = sender.send(opened.epoch);
            }
        }
        self.last_given = (applied.position, applied.batches.iter().map(|batch| batch.group).collect());
        Ok(applied)
    }
}

#[cfg(test)]
mod tests;
