//! Connections that wait for another request of the same service to the same upstream.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::connect::Connection;
use super::target::Target;

/// Connections that a service keeps; more are closed after use.
const MOST: usize = 64;
/// How long a connection is kept.
pub(crate) const KEEP: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(crate) struct Kept {
    connections: Mutex<HashMap<Target, Vec<(Connection, Instant)>>>,
}

impl Kept {
    /// A connection that looks alive, the one used last.
    pub(crate) fn take(&self, target: &Target) -> Option<Connection> {
        let mut connections = self.connections.lock();
        let of_target = connections.get_mut(target)?;
        while let Some((connection, since)) = of_target.pop() {
            if connection.is_ready() && since.elapsed() < KEEP {
                return Some(connection);
            }
        }
        connections.remove(target);
        None
    }

    pub(crate) fn keep(&self, target: Target, connection: Connection) {
        let mut connections = self.connections.lock();
        if connections.values().map(Vec::len).sum::<usize>() < MOST {
            connections.entry(target).or_default().push((connection, Instant::now()));
        }
    }

    /// Drops those that are old or closed.
    pub(crate) fn sweep(&self) {
        self.connections.lock().retain(|_, of_target| {
            of_target.retain(|(connection, since)| connection.is_ready() && since.elapsed() < KEEP);
            !of_target.is_empty()
        });
    }
}
