//! Free ports for servers that have to be told theirs before they start.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};

/// So many addresses of the loopback interface whose ports are free, all different. Nothing keeps others from taking
/// them before the server does; it then fails to start, and says so.
pub fn free(count: usize) -> Result<Vec<SocketAddr>> {
    let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port");
    let listeners: Vec<TcpListener> = (0..count).map(listen).collect::<Result<_>>()?;
    listeners.iter().map(|listener| listener.local_addr().context("a listener has no address")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn free_ports_differ_and_can_be_listened_on() {
        let free = free(10).unwrap();
        assert_eq!(free.iter().collect::<BTreeSet<_>>().len(), 10);
        assert!(free.into_iter().all(|address| TcpListener::bind(address).is_ok()));
    }
}
