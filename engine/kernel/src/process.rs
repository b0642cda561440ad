//! The life of the guest: started, running, ended, to be started again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{GuestConfig, RestartPolicy};

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestEnd {
    /// It returned from `_start` or called `proc_exit`.
    Exit(u32),
    /// It trapped, or could not be started; the reason in words, the same on every replica.
    Trap(String),
}

impl GuestEnd {
    /// The exit code; that of a trap is 134, as of a process ended by `SIGABRT`.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Exit(code) => *code,
            Self::Trap(_) => 134,
        }
    }

    /// In words.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Exit(code) => format!("exited with code {code}"),
            Self::Trap(reason) => reason.clone(),
        }
    }
}

/// Where the guest is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// To be started in the first turn at or after this time of the guest's clock, in nanoseconds.
    Waiting {
        /// When.
        at_ns: u64,
    },
    /// It runs.
    Running,
    /// It ended and stays so.
    Ended,
}

/// The guest's life so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Where it is now.
    pub phase: Phase,
    /// How often it was started.
    pub starts: u32,
    /// How it ended last.
    pub last_end: Option<GuestEnd>,
    started_ns: u64,
    failures: u32,
}

impl Default for Process {
    fn default() -> Self {
        let phase = Phase::Waiting { at_ns: 0 };
        Self { phase, starts: 0, last_end: None, started_ns: 0, failures: 0 }
    }
}

impl Process {
    /// The life of the program that takes over: to be started at once, and counted on.
    pub(crate) fn successor(&self) -> Self {
        Self { starts: self.starts, ..Self::default() }
    }

    /// Starts the guest if it is time to; returns whether it was.
    pub fn start_if_due(&mut self, now_ns: u64) -> bool {
        match self.phase {
            Phase::Waiting { at_ns } if at_ns <= now_ns => {
                self.phase = Phase::Running;
                self.starts += 1;
                self.started_ns = now_ns;
                true
            }
            _ => false,
        }
    }

    /// The guest ended at `now_ns`: decides whether and when it starts again.
    pub fn end(&mut self, end: GuestEnd, now_ns: u64, config: &GuestConfig) {
        let again = match config.restart {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => end.code() != 0,
            RestartPolicy::Never => false,
        };
        let ran = Duration::from_nanos(now_ns.saturating_sub(self.started_ns));
        self.failures = if ran > config.backoff_max { 1 } else { self.failures.saturating_add(1) };
        self.phase = if again {
            let doublings = (self.failures - 1).min(31);
            let backoff = config.backoff.saturating_mul(1 << doublings).min(config.backoff_max);
            Phase::Waiting { at_ns: now_ns.saturating_add(backoff.as_nanos() as u64) }
        } else {
            Phase::Ended
        };
        self.last_end = Some(end);
    }
}
