//! Background workers: turns that take long, and replicas that catch up from the log.
//!
//! Long turns run at nice 19, so that a wake of a worker or of the loop thread never waits for them. Replicas that
//! catch up run at nice 10: at 19 a seat that is taken anew on a busy machine would never reach the end of the log.
//! A replica whose turn turns out long while it catches up goes on with the long ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::checkpoints::Checkpoints;
use super::inbox::Inbox;
use super::life::Life;
use super::{BatchSource, Command, Lasted, Report, ReportSink};
use crate::replica::{Progress, Replica, Retired, TurnBatch};

const NICE_LONG_TURNS: i32 = 19;
const NICE_CATCHING_UP: i32 = 10;
/// Bytes of the log that a replica reads at a time while it catches up.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// Yields in one turn after which a job lets the next one have the thread.
const SLICE_YIELDS: u32 = 16;
/// Turns after which it does so too.
const SLICE_TURNS: u32 = 256;

/// A replica that is away from its worker.
pub(crate) struct Job {
    pub(crate) replica: Box<Replica>,
    life: Life,
    /// When its turn began, if that has not ended.
    in_turn: Option<Instant>,
    /// It reads the log until it has reached the end; else it goes home after its turn.
    replaying: bool,
    /// What it has read and not applied.
    batches: VecDeque<Arc<TurnBatch>>,
    /// The worker that it goes back to.
    home: usize,
}

impl Job {
    /// A replica that is to apply what the log has.
    pub(crate) fn catch_up(replica: Box<Replica>, life: Life, home: usize) -> Self {
        Self { replica, life, in_turn: None, replaying: true, batches: VecDeque::new(), home }
    }

    /// A replica in the middle of a turn that takes long.
    pub(crate) fn finish_turn(replica: Box<Replica>, life: Life, home: usize, began: Instant) -> Self {
        Self { replica, life, in_turn: Some(began), replaying: false, batches: VecDeque::new(), home }
    }
}

/// Where a job stands after a slice.
enum Sliced {
    /// The replica goes home.
    Over,
    /// There is more to do.
    More,
    /// Nobody wants it any more.
    Dropped,
}

/// Jobs that wait for a thread. At most one a replica, so the replicas bound it.
#[derive(Default)]
struct Lane {
    jobs: Mutex<VecDeque<Job>>,
    filled: Condvar,
}

/// The background workers and what waits for them.
pub(crate) struct Background {
    long_turns: Lane,
    catching_up: Lane,
    stop: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    source: Arc<dyn BatchSource>,
    sink: ReportSink,
    homes: Vec<Arc<Inbox>>,
    checkpoints: Arc<Checkpoints>,
}

impl Background {
    /// Without threads, `count` being 0, jobs are run by [`Background::run_next`].
    pub(crate) fn start(
        count: usize,
        source: Arc<dyn BatchSource>,
        sink: ReportSink,
        homes: Vec<Arc<Inbox>>,
        checkpoints: Arc<Checkpoints>,
    ) -> Arc<Self> {
        let background = Arc::new(Self {
            long_turns: Lane::default(),
            catching_up: Lane::default(),
            stop: AtomicBool::new(false),
            threads: Mutex::default(),
            source,
            sink,
            homes,
            checkpoints,
        });
        let lanes = [("long", NICE_LONG_TURNS), ("replay", NICE_CATCHING_UP)];
        let threads = lanes.into_iter().flat_map(|(name, nice)| {
            let background = &background;
            (0..count).map(move |index| {
                let background = Arc::clone(background);
                std::thread::Builder::new()
                    .name(format!("{name}-{index}"))
                    .spawn(move || background.run(nice))
                    .expect("a thread can be started at start-up")
            })
        });
        background.threads.lock().extend(threads);
        background
    }

    pub(crate) fn push(&self, job: Job) {
        let lane = if job.in_turn.is_some() { &self.long_turns } else { &self.catching_up };
        lane.jobs.lock().push_back(job);
        lane.filled.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        for lane in [&self.long_turns, &self.catching_up] {
            drop(lane.jobs.lock());
            lane.filled.notify_all();
        }
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn next(&self, lane: &Lane) -> Option<Job> {
        let mut jobs = lane.jobs.lock();
        loop {
            if self.stopping() {
                return None;
            }
            if let Some(job) = jobs.pop_front() {
                return Some(job);
            }
            lane.filled.wait(&mut jobs);
        }
    }

    fn run(&self, nice: i32) {
        let lane = if nice == NICE_LONG_TURNS { &self.long_turns } else { &self.catching_up };
        // Threads that cannot be made nicer still work; neighbours then wait longer for them.
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice) {
            tracing::warn!(%error, "background worker stays at normal priority");
        }
        while let Some(job) = self.next(lane) {
            self.go_on(job);
        }
    }

    /// Runs a slice of the next job on this thread; false when there is none.
    pub(crate) fn run_next(&self) -> bool {
        let long = self.long_turns.jobs.lock().pop_front();
        let Some(job) = long.or_else(|| self.catching_up.jobs.lock().pop_front()) else { return false };
        self.go_on(job);
        true
    }

    fn go_on(&self, mut job: Job) {
        match self.slice(&mut job) {
            Ok(Sliced::Over) => self.homes[job.home].push(Command::Return(job.replica, job.life)),
            Ok(Sliced::More) => self.push(job),
            Ok(Sliced::Dropped) => {
                if let Some(heir) = job.life.heir() {
                    heir(Some(Retired::new(job.replica, job.in_turn.is_some())));
                }
            }
            Err(reason) => {
                let id = job.replica.id();
                job.life.report(&self.sink, Report::Failed { id, reason });
                self.homes[job.home].push(Command::Gone(id, job.life));
            }
        }
    }

    /// Runs a job on until it is over, or has had the thread long enough.
    fn slice(&self, job: &mut Job) -> Result<Sliced, String> {
        let (mut yields, mut turns) = (0, 0);
        while yields < SLICE_YIELDS && turns < SLICE_TURNS {
            if self.stopping() || job.life.ended() {
                return Ok(Sliced::Dropped);
            }
            if job.in_turn.is_none() && !self.begin_next(job)? {
                return Ok(Sliced::Over);
            }
            match job.replica.resume() {
                Progress::Done(outcome) => {
                    let lasted = Lasted::since(job.in_turn.take().expect("it has begun"));
                    (turns, yields) = (turns + 1, 0);
                    self.checkpoints.take(job.replica.id(), &job.life, &outcome);
                    let report = Report::Turn { id: job.replica.id(), outcome, replaying: job.replaying, lasted };
                    job.life.report(&self.sink, report);
                    if !job.replaying {
                        return Ok(Sliced::Over);
                    }
                }
                Progress::Yielded => yields += 1,
                Progress::Failed(reason) => return Err(reason),
            }
        }
        Ok(Sliced::More)
    }

    /// Begins the turn of the next batch in the log; false when there is none.
    fn begin_next(&self, job: &mut Job) -> Result<bool, String> {
        if job.batches.is_empty() {
            let (group, after) = (job.replica.id().group, job.replica.position());
            job.batches = self.source.read(group, after, READ_BYTES)?.into();
        }
        let Some(batch) = job.batches.pop_front() else { return Ok(false) };
        if batch.previous != job.replica.position() {
            let (previous, position) = (batch.previous, job.replica.position());
            return Err(format!("the log goes on after position {previous}, the replica is at {position}"));
        }
        job.in_turn = Some(Instant::now());
        job.replica.begin(&batch);
        Ok(true)
    }
}
