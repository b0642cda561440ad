//! Where services can be reached right now: through which nodes, at which addresses. Clients of a run share it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

/// Addresses by node and service. Copies are the same table.
#[derive(Clone, Debug, Default)]
pub struct Doors(Arc<RwLock<BTreeMap<u64, BTreeMap<String, SocketAddr>>>>);

impl Doors {
    /// A node serves these services now.
    pub fn open(&self, node: u64, served: BTreeMap<String, SocketAddr>) {
        self.0.write().expect("no panic while it is held").insert(node, served);
    }

    /// A node serves nothing any more.
    pub fn close(&self, node: u64) {
        self.0.write().expect("no panic while it is held").remove(&node);
    }

    /// The first node from `start` on, and around again, that serves a service, and where.
    pub fn next(&self, start: u64, service: &str) -> Option<(u64, SocketAddr)> {
        let doors = self.0.read().expect("no panic while it is held");
        let mut around = doors.range(start..).chain(doors.range(..start));
        around.find_map(|(node, served)| Some((*node, *served.get(service)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_door_is_found_around_the_end() {
        let doors = Doors::default();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let served = |port| BTreeMap::from([("echo".to_owned(), address(port))]);
        assert_eq!(doors.next(1, "echo"), None);
        doors.open(1, served(1));
        doors.clone().open(3, served(3));
        assert_eq!(doors.next(2, "echo"), Some((3, address(3))));
        assert_eq!(doors.next(4, "echo"), Some((1, address(1))));
        assert_eq!(doors.next(1, "kv-server"), None);
        doors.close(1);
        assert_eq!(doors.next(4, "echo"), Some((3, address(3))));
    }
}
