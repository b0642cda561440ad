//! Background workers: turns that take long, and replicas that catch up from the log. All at nice 19, so that a wake
//! of a worker or of the loop thread never waits for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::inbox::Inbox;
use super::{BatchSource, Command, Report, ReportSink};
use crate::replica::{Progress, Replica};

const NICE: i32 = 19;
/// Bytes of the log that a replica reads at a time while it catches up.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// Yields after which a long turn lets the next job have the thread.
const SLICE_YIELDS: u32 = 4;

/// A replica that is away from its worker.
pub(crate) struct Job {
    pub(crate) replica: Box<Replica>,
    /// Its turn has begun and not ended.
    pub(crate) in_turn: bool,
    /// The worker that it goes back to.
    pub(crate) home: usize,
}

/// The background workers and their queue. At most one job a replica, so the replicas bound it.
pub(crate) struct Background {
    jobs: Mutex<VecDeque<Job>>,
    filled: Condvar,
    stop: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    source: Arc<dyn BatchSource>,
    sink: ReportSink,
    homes: Vec<Arc<Inbox>>,
}

impl Background {
    pub(crate) fn start(
        count: usize,
        source: Arc<dyn BatchSource>,
        sink: ReportSink,
        homes: Vec<Arc<Inbox>>,
    ) -> Arc<Self> {
        let background = Arc::new(Self {
            jobs: Mutex::default(),
            filled: Condvar::new(),
            stop: AtomicBool::new(false),
            threads: Mutex::default(),
            source,
            sink,
            homes,
        });
        let threads = (0..count).map(|index| {
            let background = Arc::clone(&background);
            std::thread::Builder::new()
                .name(format!("background-{index}"))
                .spawn(move || background.run())
                .expect("a thread can be started at start-up")
        });
        background.threads.lock().extend(threads);
        background
    }

    pub(crate) fn push(&self, job: Job) {
        self.jobs.lock().push_back(job);
        self.filled.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(self.jobs.lock());
        self.filled.notify_all();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock();
        loop {
            if self.stopping() {
                return None;
            }
            if let Some(job) = jobs.pop_front() {
                return Some(job);
            }
            self.filled.wait(&mut jobs);
        }
    }

    fn run(&self) {
        // Threads that cannot be made nicer still work; neighbours then wait longer for them.
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
            tracing::warn!(%error, "background worker stays at normal priority");
        }
        while let Some(mut job) = self.next() {
            let ended = if job.in_turn { self.finish_turn(&mut job) } else { self.catch_up(&mut job) };
            match ended {
                Ok(true) => {
                    let home = &self.homes[job.home];
                    home.push(Command::Return(job.replica));
                }
                Ok(false) => self.push(job),
                Err(reason) => {
                    let id = job.replica.id();
                    (self.sink)(Report::Failed { id, reason });
                    self.homes[job.home].push(Command::Gone(id));
                }
            }
        }
    }

    /// Runs a turn on for a slice; true when it is over.
    fn finish_turn(&self, job: &mut Job) -> Result<bool, String> {
        for _ in 0..SLICE_YIELDS {
            match job.replica.resume() {
                Progress::Done(outcome) => {
                    job.in_turn = false;
                    (self.sink)(Report::Turn { id: job.replica.id(), outcome, replaying: false });
                    return Ok(true);
                }
                Progress::Yielded if self.stopping() => return Ok(false),
                Progress::Yielded => {}
                Progress::Failed(reason) => return Err(reason),
            }
        }
        Ok(false)
    }

    /// Applies what the log has; true when the replica has reached its end.
    fn catch_up(&self, job: &mut Job) -> Result<bool, String> {
        let id = job.replica.id();
        let batches = self.source.read(id.group, job.replica.position(), READ_BYTES)?;
        let reached_end = batches.is_empty();
        for batch in batches {
            job.replica.begin(&batch);
            let outcome = loop {
                match job.replica.resume() {
                    Progress::Done(outcome) => break outcome,
                    Progress::Yielded if self.stopping() => return Ok(false),
                    Progress::Yielded => {}
                    Progress::Failed(reason) => return Err(reason),
                }
            };
            (self.sink)(Report::Turn { id, outcome, replaying: true });
        }
        Ok(reached_end)
    }
}
