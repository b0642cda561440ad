//! Connections that wait for another request of the same service to the same upstream, under the
//! same permission: one that led to a private address serves none that may not go there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::connect::Connection;
use super::target::Target;
use crate::permissions::Grant;

/// Connections that a service keeps; more are closed after use.
const MOST: usize = 64;
/// How long a connection is kept.
pub(crate) const KEEP: Duration = Duration::from_secs(30);

/// What a connection is kept for.
type Key = (Target, Grant);

#[derive(Default)]
pub(crate) struct Kept {
    connections: Mutex<HashMap<Key, Vec<(Connection, Instant)>>>,
}

impl Kept {
    /// A connection that looks alive, the one used last.
    pub(crate) fn take(&self, key: &Key) -> Option<Connection> {
        let mut connections = self.connections.lock();
        let of_key = connections.get_mut(key)?;
        while let Some((connection, since)) = of_key.pop() {
            if connection.sender.is_ready() && since.elapsed() < KEEP {
                return Some(connection);
            }
        }
        connections.remove(key);
        None
    }

    pub(crate) fn keep(&self, key: Key, connection: Connection) {
        let mut connections = self.connections.lock();
        if connections.values().map(Vec::len).sum::<usize>() < MOST {
            connections.entry(key).or_default().push((connection, Instant::now()));
        }
    }

    /// Drops those that are old or closed.
    pub(crate) fn sweep(&self) {
        self.connections.lock().retain(|_, of_key| {
            of_key.retain(|(connection, since)| connection.sender.is_ready() && since.elapsed() < KEEP);
            !of_key.is_empty()
        });
    }
}
