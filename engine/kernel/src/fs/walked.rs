//! What walks along paths cost, which their text alone does not tell: links lead through other texts, and a directory may
//! lie deep. Counted here and taken by whoever made the call; no part of the files, whose value it does not change.

use std::sync::atomic::{AtomicU64, Ordering};

/// The work since it was taken last. A shared count, as looking a path up changes nothing else.
#[derive(Debug, Default)]
pub(super) struct Walked(AtomicU64);

impl Walked {
    pub(super) fn add(&self, units: u64) {
        self.0.fetch_add(units, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// A copy of the files begins a count of its own.
impl Clone for Walked {
    fn clone(&self) -> Self {
        Self::default()
    }
}
