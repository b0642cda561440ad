//! The trace of a run: everything that happened, in order, as one digest; and as lines when somebody wants to read it.
//!
//! Two runs of one seed have one digest, or something in them did not come from the seed.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use refrain_wire::Digest;

/// The most lines that are kept; later ones count for the digest alone.
const MAX_LINES: usize = 200_000;

#[derive(Default)]
struct State {
    hasher: blake3::Hasher,
    now: Duration,
    events: u64,
    /// `None` when nobody wants to read them.
    lines: Option<Vec<String>>,
}

/// The trace; clones share it.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<State>>);

impl Trace {
    /// An empty trace; `readable` keeps its lines.
    #[must_use]
    pub fn new(readable: bool) -> Self {
        Self(Arc::new(Mutex::new(State { lines: readable.then(Vec::new), ..State::default() })))
    }

    /// The simulated time of what follows.
    pub fn set_now(&self, now: Duration) {
        self.0.lock().now = now;
    }

    /// The simulated time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.lock().now
    }

    /// Notes that something happened to `who`.
    pub fn note(&self, who: impl Display, what: impl Display) {
        let mut state = self.0.lock();
        let line = format!("{:>9.3} {who}: {what}", state.now.as_secs_f64());
        state.events += 1;
        state.hasher.update(line.as_bytes());
        state.hasher.update(b"\n");
        if let Some(lines) = state.lines.as_mut().filter(|lines| lines.len() < MAX_LINES) {
            lines.push(line);
        }
    }

    /// How much happened.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.0.lock().events
    }

    /// The digest of everything so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let hash = self.0.lock().hasher.finalize();
        let mut digest = Digest::default();
        digest.0.copy_from_slice(&hash.as_bytes()[..16]);
        digest
    }

    /// The lines, when they were kept.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().lines.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_takes_in_time_place_and_event() {
        let of = |micros, who: &str, what: &str| {
            let trace = Trace::new(false);
            trace.set_now(Duration::from_micros(micros));
            trace.note(who, what);
            trace.digest()
        };
        let first = of(1000, "n1", "leads");
        assert_eq!(first, of(1000, "n1", "leads"));
        for other in [of(2000, "n1", "leads"), of(1000, "n2", "leads"), of(1000, "n1", "follows")] {
            assert_ne!(first, other);
        }
    }
}
