//! A worker's queue of commands: filled by others, emptied whole at each wake.

use parking_lot::{Condvar, Mutex};

use super::Command;

/// The queue. Its length is bounded by back pressure: the sequencer orders only so much ahead of execution.
#[derive(Default)]
pub(crate) struct Inbox {
    commands: Mutex<Vec<Command>>,
    filled: Condvar,
}

impl Inbox {
    pub(crate) fn push(&self, command: Command) {
        self.push_all(std::iter::once(command));
    }

    pub(crate) fn push_all(&self, commands: impl Iterator<Item = Command>) {
        let mut queue = self.commands.lock();
        let was_empty = queue.is_empty();
        queue.extend(commands);
        if was_empty && !queue.is_empty() {
            drop(queue);
            self.filled.notify_one();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commands.lock().is_empty()
    }

    /// Moves everything queued into `out`; with `wait`, waits until there is something.
    pub(crate) fn take(&self, out: &mut Vec<Command>, wait: bool) {
        let mut queue = self.commands.lock();
        while wait && queue.is_empty() {
            self.filled.wait(&mut queue);
        }
        out.append(&mut queue);
    }
}
