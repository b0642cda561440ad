//! Memory that the instances of a host have taken beyond what they began with, counted for all of them together: each has
//! a limit of its own, but a thousand of them may be more than the machine has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::service::Inner;

/// Bytes that are taken, and that may be.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    taken: AtomicU64,
    /// Somebody was refused since it had room last.
    was_full: AtomicBool,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, taken: AtomicU64::new(0), was_full: AtomicBool::new(false) }
    }

    /// That of one service: an eighth is left to others.
    pub(crate) fn share(&self) -> Self {
        Self::new(self.limit - self.limit / 8)
    }

    fn take(&self, bytes: u64) -> bool {
        let is_there = self.taken.fetch_add(bytes, Relaxed).saturating_add(bytes) <= self.limit;
        if !is_there {
            self.taken.fetch_sub(bytes, Relaxed);
        }
        is_there
    }

    fn give(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Relaxed);
        self.was_full.store(false, Relaxed);
    }
}

/// What one instance took. Dropping it gives it back.
pub(crate) struct Taken {
    service: Arc<Inner>,
    bytes: u64,
}

impl Taken {
    pub(crate) fn new(service: Arc<Inner>) -> Self {
        Self { service, bytes: 0 }
    }

    /// Takes more, unless the service or the host has no more.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let (own, all) = (&self.service.memory, &self.service.host.memory);
        if !own.take(bytes) {
            self.tell(own, "a service's share of the memory for components is taken");
            return false;
        }
        if !all.take(bytes) {
            own.give(bytes);
            self.tell(all, "all memory for components is taken");
            return false;
        }
        self.bytes += bytes;
        true
    }

    fn tell(&self, budget: &Budget, what: &str) {
        if !budget.was_full.swap(true, Relaxed) {
            tracing::warn!(service = self.service.name, limit_bytes = budget.limit, "{what}");
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.service.memory.give(self.bytes);
            self.service.host.memory.give(self.bytes);
        }
    }
}

/// Half of the memory of the machine, or of what the control group of this process may have.
pub(crate) fn half_of_the_machine() -> u64 {
    let machine = read("/proc/meminfo").and_then(|text| {
        let kilobytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
        kilobytes.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let group = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min().map_or(u64::MAX, |bytes| bytes / 2)
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
