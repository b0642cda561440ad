//! The rules of `[ready]`.

use crate::bounds;
use crate::document::Section;
use crate::outbound::Protocol;
use crate::port::Port;
use crate::ready::{Probe, Ready, ReadyWhen};
use crate::value::{bounded_text, duration, text, word};

/// What `ready.when` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Listen,
    Probe,
}

impl crate::manifest::Word for When {
    const WORDS: &'static [(&'static str, Self)] = &[("listen", Self::Listen), ("probe", Self::Probe)];
}

pub(super) fn ready(section: Option<&Section<'_>>, ports: &[Port]) -> Ready {
    let timeout = bounds::READY_TIMEOUT.default;
    let Some(section) = section else {
        return Ready { when: ReadyWhen::Listen, timeout };
    };
    section.refuse_unknown();
    let when = section.read("when", When::Listen, |value| word("when", value));
    let timeout = section.read("timeout", timeout, |value| duration(value, bounds::READY_TIMEOUT));
    let probe = section.inner("probe", "ready.probe").map(|inner| (probe(&inner, ports, when), inner));
    let when = match (when, probe) {
        (When::Listen, None) => ReadyWhen::Listen,
        (When::Listen, Some((_, inner))) => {
            // Empty texts are the defaults.
            if inner.entries().any(|(_, value)| value.as_str() != Some("")) {
                section.fault("probe", "nobody uses it: ready.when is not \"probe\"");
            }
            ReadyWhen::Listen
        }
        (When::Probe, None) => {
            section.fault("probe", "missing, and ready.when is \"probe\"");
            ReadyWhen::Listen
        }
        (When::Probe, Some((probe, _))) => probe.map_or(ReadyWhen::Listen, ReadyWhen::Probe),
    };
    Ready { when, timeout }
}

fn probe(section: &Section<'_>, ports: &[Port], when: When) -> Option<Probe> {
    section.refuse_unknown();
    let send = section.read("send", String::new(), |value| bounded_text(value, bounds::PROBE_SEND_BYTES_MAX));
    let expect = section.read("expect", String::new(), |value| bounded_text(value, bounds::PROBE_EXPECT_BYTES_MAX));
    if when == When::Listen {
        return None;
    }
    if expect.is_empty() {
        section.fault("expect", format!("allowed: 1 to {} bytes", bounds::PROBE_EXPECT_BYTES_MAX));
    }
    let port = section.require("port", |value| {
        let name = text(value)?;
        let is_served = |port: &Port| !port.listen.is_empty() || port.unix.is_some();
        let probed = |port: &&Port| port.protocol == Protocol::Tcp && is_served(port);
        let found = ports.iter().filter(probed).find(|port| port.name.as_str() == name);
        found.map(|port| port.name.clone()).ok_or_else(|| {
            let names: Vec<&str> = ports.iter().filter(probed).map(|port| port.name.as_str()).collect();
            match names.as_slice() {
                [] => "no port of tcp has an address or a path to connect to".to_owned(),
                names => format!("allowed: {}", names.join(", ")),
            }
        })
    });
    Some(Probe { port: port?, send, expect })
}
