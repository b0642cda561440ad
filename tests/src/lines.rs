//! What a process prints, kept as it comes, with waiting for a line.

use std::io::{BufRead, BufReader};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::wait::{self, PATIENCE};

/// Whether lines are repeated on the test's own standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echoed {
    /// They are.
    Yes,
    /// They are not.
    No,
}

/// What a process prints, as it comes.
#[derive(Clone, Debug)]
pub struct Lines(Arc<(Mutex<Said>, Condvar)>);

#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    /// Nothing more will come.
    ended: bool,
}

impl Lines {
    /// Reads a stream to its end, on a thread.
    pub fn follow(stream: impl std::io::Read + Send + 'static, echoed: Echoed) -> Self {
        let lines = Self(Arc::default());
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if echoed == Echoed::Yes && !line.contains("TRACE") {
                    eprintln!("{line}");
                }
                kept.said().lines.push(line);
                kept.0.1.notify_all();
            }
            kept.said().ended = true;
            kept.0.1.notify_all();
        });
        lines
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.0.lock().expect("no panic while it is held")
    }

    /// All lines until now.
    pub fn so_far(&self) -> Vec<String> {
        self.said().lines.clone()
    }

    /// Waits until nothing more will come.
    pub fn until_end(&self) -> Result<()> {
        wait::until("the end of what is printed", || Ok(self.said().ended.then_some(())))
    }

    /// How many lines hold a text.
    pub fn count(&self, text: &str) -> usize {
        self.said().lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line and returns it.
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        self.until_within(PATIENCE, what, wanted)
    }

    /// The same with another limit.
    pub fn until_within(&self, limit: Duration, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + limit;
        let mut said = self.said();
        let mut seen = 0;
        loop {
            if let Some(line) = said.lines[seen..].iter().find(|line| wanted(line)) {
                return Ok(line.clone());
            }
            seen = said.lines.len();
            ensure!(!said.ended, "the process ended and no line said {what}");
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "no line says {what} after {limit:?}");
            said = self.0.1.wait_timeout(said, left).expect("no panic while it is held").0;
        }
    }
}
