//! What a guest may reach outside: the rules of its manifest, by host and port.
//!
//! Default deny: without a rule nothing may be looked up and nothing be called. Two questions are asked of the rules,
//! [`Outbound::permits_name`] before a look-up and [`Outbound::permits`] before a call; the answer of the first never
//! opens more than the second allows. An address that is not public ([`is_private`]) is reached by a rule that
//! names it or a range around it alone, whatever a look-up says it is called: who controls a name must not choose which
//! of the operator's own machines it leads to. The one name that stands for addresses itself is `localhost`.
//!
//! Pure data. How rules are written, and how many there may be, is the affair of the manifest (crate
//! `refrain-service`); which look-up's answer pins which names to an address is that of the sockets.

mod host;
mod private;

use std::net::IpAddr;

pub use refrain_wire::outward::MAX_HOST_NAME_BYTES;
pub use refrain_wire::{IpRange, IpRangeError, Protocol, ProxyHeader};

pub use host::{Host, HostError};
pub use private::is_private;

/// Ports of a rule, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The first that is meant; not 0.
    pub first: u16,
    /// The last that is meant; not below the first.
    pub last: u16,
}

impl PortRange {
    /// Every port there is.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };

    /// One port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    fn holds(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// One thing that a guest may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which hosts.
    pub host: Host,
    /// Which of their ports.
    pub ports: PortRange,
    /// By which transport.
    pub protocol: Protocol,
    /// What a connection begins with, before the guest's own bytes; of TCP alone.
    pub proxy_header: Option<ProxyHeader>,
}

/// Everything that a guest may reach; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outbound {
    rules: Vec<Rule>,
}

impl Outbound {
    /// These rules, in the order in which they were written.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// Whether nothing at all may be reached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules, in the order in which they were written.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether this name may be looked up: some rule names it, for whatever port. The case of letters and one dot at the
    /// end do not matter. No answer makes an address reachable that [`Self::permits`] refuses.
    #[must_use]
    pub fn permits_name(&self, name: &str) -> bool {
        self.rules.iter().any(|rule| rule.host.names(name))
    }

    /// Whether this address and port may be called, where `names` are those that look-ups pinned to the address.
    #[must_use]
    pub fn permits<'n>(&self, ip: IpAddr, port: u16, protocol: Protocol, names: impl Iterator<Item = &'n str>) -> bool {
        self.rule_for(ip, port, protocol, names).is_some()
    }

    /// The first rule by which this address and port may be called; none when they may not.
    #[must_use]
    pub fn rule_for<'n>(
        &self,
        ip: IpAddr,
        port: u16,
        protocol: Protocol,
        names: impl Iterator<Item = &'n str>,
    ) -> Option<&Rule> {
        let fitting = || self.rules.iter().enumerate().filter(|(_, r)| r.protocol == protocol && r.ports.holds(port));
        let by_address = fitting().find(|(_, rule)| rule.host.holds(ip)).map(|(index, _)| index);
        let by_name = if is_private(ip) {
            None
        } else {
            let first = |name| fitting().find(|(_, rule)| rule.host.names(name)).map(|(index, _)| index);
            names.filter_map(first).min()
        };
        let first = [by_address, by_name].into_iter().flatten().min()?;
        self.rules.get(first)
    }
}

#[cfg(test)]
mod tests;
