//! The rules of `[[ports]]`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use crate::address::AddressRange;
use crate::bounds;
use crate::document::Section;
use crate::names::Name;
use crate::outbound::Protocol;
use crate::port::{Keepalive, Port};
use crate::value::{addresses, boolean, guest_port, keepalive, list, parsed, unix_path, word};

/// What a port of datagrams has no use for.
const TCP_ALONE: [&str; 5] = ["pass", "unix", "nodelay", "keepalive", "proxy_protocol"];

pub(super) fn ports(root: &Section<'_>) -> Vec<Port> {
    let sections = root.sections("ports", "ports[]");
    if sections.len() > bounds::PORTS_MAX {
        let problem = format!("{} ports, the limit is {}", sections.len(), bounds::PORTS_MAX);
        root.fault("ports", problem);
    }
    let mut taken = Taken::default();
    sections.iter().take(bounds::PORTS_MAX).filter_map(|section| port(section, &mut taken)).collect()
}

fn port(section: &Section<'_>, taken: &mut Taken) -> Option<Port> {
    section.refuse_unknown();
    let name = section.require("name", parsed::<Name>);
    let guest = section.require("guest", guest_port);
    let protocol = section.read("protocol", Protocol::Tcp, |value| word("protocol", value));
    let mut wrong = false;
    let unix = section.read("unix", None, |value| unix_path(value).inspect_err(|_| wrong = true));
    let listen = if unix.is_some() || wrong {
        section.read("listen", Some(Vec::new()), |value| addresses(value).map(Some))
    } else {
        section.require("listen", addresses)
    };
    let pass = section.read("pass", false, boolean);
    let nodelay = section.read("nodelay", true, boolean);
    let keepalive = section.read("keepalive", Keepalive::After(bounds::KEEPALIVE.default), keepalive);
    let proxy_protocol = proxy_protocol(section);
    if protocol == Protocol::Udp {
        for key in TCP_ALONE.into_iter().filter(|key| section.has(key)) {
            section.fault(key, "a port of udp has none; it is of tcp alone");
        }
    }
    taken.name(section, name.as_ref());
    taken.guest(section, guest, protocol);
    taken.listen(section, protocol, listen.as_deref().unwrap_or_default());
    taken.unix(section, unix.as_ref());
    let (name, guest, listen) = (name?, guest?, listen?);
    Some(Port { name, guest, protocol, listen, unix, pass, proxy_protocol, nodelay, keepalive })
}

fn proxy_protocol(port: &Section<'_>) -> Vec<AddressRange> {
    let Some(section) = port.inner("proxy_protocol", "ports[].proxy_protocol") else {
        return Vec::new();
    };
    section.refuse_unknown();
    section.read("from", Vec::new(), |value| list(value, "range", bounds::PROXY_PROTOCOL_FROM_MAX, parsed))
}

/// What the ports before have.
#[derive(Default)]
struct Taken {
    names: BTreeSet<Name>,
    guests: BTreeSet<(NonZeroU16, Protocol)>,
    listens: BTreeSet<(SocketAddr, Protocol)>,
    unix: BTreeSet<PathBuf>,
}

impl Taken {
    fn name(&mut self, section: &Section<'_>, name: Option<&Name>) {
        if name.is_some_and(|name| !self.names.insert(name.clone())) {
            section.fault("name", "another port has this name");
        }
    }

    fn guest(&mut self, section: &Section<'_>, guest: Option<NonZeroU16>, protocol: Protocol) {
        if guest.is_some_and(|guest| !self.guests.insert((guest, protocol))) {
            section.fault("guest", "another port has this number");
        }
    }

    fn listen(&mut self, section: &Section<'_>, protocol: Protocol, addresses: &[SocketAddr]) {
        let chosen = |address: &&SocketAddr| address.port() != 0;
        let again: Vec<_> = addresses
            .iter()
            .filter(chosen)
            .filter(|address| !self.listens.insert((**address, protocol)))
            .map(ToString::to_string)
            .collect();
        match again.as_slice() {
            [] => {}
            [_] if addresses.len() == 1 => section.fault("listen", "another port listens there"),
            _ => section.fault("listen", format!("{} is listened on already", again.join(", "))),
        }
    }

    fn unix(&mut self, section: &Section<'_>, path: Option<&PathBuf>) {
        if path.is_some_and(|path| !self.unix.insert(path.clone())) {
            section.fault("unix", "another port listens there");
        }
    }
}
