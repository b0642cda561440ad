//! What each client has under way: its connections, its requests, and how quickly they come.
//!
//! A client is an address, of IPv6 a /64. One that has gone is forgotten once its rate would allow a full burst; at
//! [`MAX_CLIENTS`] those are swept out, at most every [`SWEEP`], and if none is, a new client is refused.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::plan::{ClientLimits, Rate};

mod rate;

/// Most clients that are remembered.
pub(crate) const MAX_CLIENTS: usize = 65_536;
/// Between two sweeps of all clients, which every loop would wait for.
const SWEEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Clients {
    began: Instant,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    slots: HashMap<IpAddr, Arc<Slot>>,
    /// When they may be swept again, in nanoseconds since `began`.
    sweep_at: u64,
}

impl Known {
    /// Whether there is room for one more.
    fn make_room(&mut self, now_nanos: u64) -> bool {
        if self.slots.len() >= MAX_CLIENTS && self.sweep_at <= now_nanos {
            self.sweep_at = now_nanos.saturating_add(u64::try_from(SWEEP.as_nanos()).expect("it is short"));
            self.slots.retain(|_, slot| !slot.is_idle(now_nanos));
        }
        self.slots.len() < MAX_CLIENTS
    }
}

#[derive(Debug, Default)]
struct Slot {
    connections: AtomicU32,
    requests: AtomicU32,
    /// When the rate allows a full burst again, in nanoseconds since `began`.
    full_at: AtomicU64,
}

/// One of a client's connections.
#[derive(Debug)]
pub(crate) struct Visit {
    slot: Arc<Slot>,
    clients: Arc<Clients>,
    key: IpAddr,
}

/// One of a client's requests.
#[derive(Debug)]
pub(crate) struct ClientTicket(Arc<Slot>);

/// Why a client has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    TooMany,
    TooFast(Duration),
}

impl Clients {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), known: Mutex::default() }
    }

    /// Counts a connection. None at the limit of the client, or of clients.
    pub(crate) fn visit(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<Visit> {
        let key = key_of(address);
        let mut known = self.known.lock();
        if known.slots.len() >= MAX_CLIENTS && !known.slots.contains_key(&key) && !known.make_room(self.now_nanos()) {
            return None;
        }
        let slot = known.slots.entry(key).or_default();
        if slot.connections.load(Relaxed) >= limit {
            return None;
        }
        slot.connections.fetch_add(1, Relaxed);
        Some(Visit { slot: Arc::clone(slot), clients: Arc::clone(self), key })
    }

    fn now_nanos(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Slot {
    fn is_idle(&self, now_nanos: u64) -> bool {
        self.connections.load(Relaxed) == 0 && self.full_at.load(Relaxed) <= now_nanos
    }

    fn keep_rate(&self, rate: Rate, now_nanos: u64) -> Result<(), Duration> {
        let mut full_at = self.full_at.load(Relaxed);
        loop {
            let next = rate::next(full_at, now_nanos, rate)?;
            match self.full_at.compare_exchange_weak(full_at, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => full_at = changed,
            }
        }
    }
}

impl Visit {
    /// Who it is of: the same for all addresses of a client.
    pub(crate) const fn client(&self) -> IpAddr {
        self.key
    }

    /// Counts a request of the client.
    pub(crate) fn request(&self, limits: &ClientLimits) -> Result<ClientTicket, Wait> {
        if self.slot.requests.fetch_add(1, Relaxed) >= limits.requests {
            self.slot.requests.fetch_sub(1, Relaxed);
            return Err(Wait::TooMany);
        }
        let ticket = ClientTicket(Arc::clone(&self.slot));
        if let Some(rate) = limits.rate {
            self.slot.keep_rate(rate, self.clients.now_nanos()).map_err(Wait::TooFast)?;
        }
        Ok(ticket)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut known = self.clients.known.lock();
        self.slot.connections.fetch_sub(1, Relaxed);
        if self.slot.is_idle(self.clients.now_nanos()) {
            known.slots.remove(&self.key);
        }
    }
}

impl Drop for ClientTicket {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

/// A household has a /64 and could take an address of it for each connection.
fn key_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => std::net::Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> Arc<Clients> {
        Arc::new(Clients::new())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_as_many_connections_as_the_limit_and_not_one_more() {
        let clients = clients();
        let first = clients.visit(address("::ffff:1.2.3.4"), 2).unwrap();
        let _second = clients.visit(address("1.2.3.4"), 2).unwrap();
        assert!(clients.visit(address("1.2.3.4"), 2).is_none());
        assert!(clients.visit(address("1.2.3.5"), 2).is_some());
        drop(first);
        assert!(clients.visit(address("1.2.3.4"), 2).is_some());
    }

    #[test]
    fn the_addresses_of_a_slash_64_are_one_client() {
        let clients = clients();
        let _visit = clients.visit(address("fd00::1"), 1).unwrap();
        assert!(clients.visit(address("fd00::2"), 1).is_none());
        assert!(clients.visit(address("fd00:0:0:1::2"), 1).is_some());
    }

    #[test]
    fn a_client_that_is_gone_is_forgotten_unless_its_rate_is_not() {
        let clients = clients();
        drop(clients.visit(address("1.1.1.1"), 1).unwrap());
        assert_eq!(clients.known.lock().slots.len(), 0);
        let visit = clients.visit(address("1.1.1.1"), 1).unwrap();
        let slow = ClientLimits { requests: 1, rate: Some(Rate { per_second: 1, burst: 1 }) };
        drop(visit.request(&slow).unwrap());
        drop(visit);
        assert_eq!(clients.known.lock().slots.len(), 1);
        let visit = clients.visit(address("1.1.1.1"), 1).unwrap();
        assert!(matches!(visit.request(&slow), Err(Wait::TooFast(_))));
    }

    #[test]
    fn a_client_has_as_many_requests_at_once_as_the_limit_and_not_one_more() {
        let visit = clients().visit(address("1.1.1.1"), 1).unwrap();
        let limits = ClientLimits { requests: 1, rate: None };
        let ticket = visit.request(&limits).unwrap();
        assert_eq!(visit.request(&limits).unwrap_err(), Wait::TooMany);
        drop(ticket);
        assert!(visit.request(&limits).is_ok());
    }

    #[test]
    fn at_the_limit_of_clients_a_new_one_is_refused() {
        let clients = clients();
        let visits: Vec<Visit> = (0..MAX_CLIENTS)
            .map(|number| {
                clients.visit(std::net::Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into(), 1).unwrap()
            })
            .collect();
        assert!(clients.visit(address("9.9.9.9"), 1).is_none());
        drop(visits);
        assert!(clients.visit(address("9.9.9.9"), 1).is_some());
    }
    #[test]
    fn a_full_table_is_swept_once_in_a_while_and_not_for_every_client_that_is_refused() {
        let gone = |number: usize| {
            let slot = Slot { full_at: AtomicU64::new(u64::try_from(number).unwrap()), ..Slot::default() };
            (std::net::Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into(), Arc::new(slot))
        };
        let mut known = Known { slots: (0..MAX_CLIENTS).map(gone).collect(), sweep_at: 0 };
        assert!(known.make_room(1), "two have gone by then");
        assert_eq!(known.slots.len(), MAX_CLIENTS - 2);
        known.slots.extend([gone(0), gone(1)]);
        let next = 1 + u64::try_from(SWEEP.as_nanos()).unwrap();
        assert!(!known.make_room(next - 1));
        assert_eq!(known.slots.len(), MAX_CLIENTS, "it was not looked at");
        assert!(known.make_room(next));
        assert!(known.slots.is_empty());
    }
}
