//! Turns that replicas want by themselves: a tick is appended when log time reaches the earliest wish.

use std::time::Duration;

use refrain_wire::{GroupId, Time};

use super::Inner;

/// The longest sleep; wishes that change wake the task anyway.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

impl Inner {
    /// Appends the ticks that are due. Returns how long until the next one.
    pub(super) fn tick(&self) -> Option<Duration> {
        let now = self.sequencer.now();
        let mut due: Vec<(GroupId, Time)> = Vec::new();
        let mut next: Option<Duration> = None;
        for (id, group) in self.groups.borrow().iter() {
            let Some(at) = group.wants() else { continue };
            if at > now {
                let wait = at.since(now).min(MAX_SLEEP);
                next = Some(next.map_or(wait, |before| before.min(wait)));
            } else {
                due.push((*id, at));
            }
        }
        for (group, at) in due {
            self.sequencer.tick(group, at);
        }
        next
    }

    /// Runs for ever: sleeps until a wish is due or wishes change.
    pub(super) async fn run_ticks(&self) {
        loop {
            let changed = self.wishes.notified();
            match self.tick() {
                None => changed.await,
                Some(wait) => drop(tokio::time::timeout(wait, changed).await),
            }
        }
    }
}
