//! Whatever happens in whatever order, every place that was taken is free again in the end, and every call has at most
//! one answer.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use refrain_wire::{CallFailure, Protocol, ProxyHeader, Target};

use super::*;
use crate::nat::HeardAt;

/// What the shell and the guest do: which of these, and with which of the things that there are.
type Step = (u8, u8);

fn call(number: u8) -> Serial {
    Serial(FIRST_OUTWARD_SERIAL.0 + u32::from(number % 8))
}

fn target(protocol: Protocol) -> Target {
    Target { protocol, header: ProxyHeader::None, address: peer(200) }
}

fn heard_at(group: GroupId) -> HeardAt {
    HeardAt { socket: 0, group, port: 53 }
}

fn step(nat: &mut Nat, (what, which): Step) {
    let keys: Vec<Serial> = nat.flows.keys().copied().collect();
    let key = keys.get(usize::from(which) % keys.len().max(1)).copied().unwrap_or_default();
    let group = if which % 3 == 0 { OTHER } else { GROUP };
    let named = nat.key_of(group, call(which)).unwrap_or_default();
    match what % 18 {
        0 => _ = nat.accept(group, 80, peer(which % 5), NOW),
        1 => _ = nat.accept(group, 80, Client::Local, NOW),
        2 => _ = nat.connect(group, call(which), target(Protocol::Tcp), NOW),
        3 => _ = nat.connect(group, call(which), target(Protocol::Udp), NOW),
        4 => _ = nat.resolve(group, call(which)),
        5 => _ = nat.connected(named, peer(100), NOW),
        6 => _ = nat.call_failed(named, CallFailure::Refused),
        7 => _ = nat.resolved(named, &[peer(9).ip()]),
        8 => _ = (nat.guest_reset(group, named), nat.give_up_lookup(named)),
        9 => _ = nat.hear_client(heard_at(group), peer(which % 5), &[which], NOW),
        10 => _ = (nat.hear_server(named, &[which], NOW), nat.send_datagram(group, key, 0, Bytes::new(), NOW)),
        11 => both_send(nat, key, which),
        12 => nat.client_shutdown(key, NOW),
        13 => nat.reset(key, [Ending::Idle, Ending::Fault, Ending::Drained][usize::from(which) % 3]),
        14 => _ = nat.gone(key, NOW),
        15 if which % 2 == 0 => _ = nat.halt(group),
        15 => nat.resume(group),
        16 if which % 2 == 0 => nat.hold(group),
        16 => nat.release(group),
        _ => _ = (nat.take_submission(), (which % 4 == 0).then(|| nat.give_up())),
    }
}

fn both_send(nat: &mut Nat, key: Serial, which: u8) {
    nat.received(key, &[which; 20], NOW);
    let Some((group, emitted)) = nat.flows.get(&key).map(|flow| (flow.group, flow.emitted)) else {
        return;
    };
    nat.emit(group, key, emitted, Bytes::from(vec![which; 30]), NOW);
    nat.delivered(key, u64::from(which % 40), NOW);
    nat.consumed(group, key, u64::from(which));
}

/// How many answers each call got.
fn answers(nat: &mut Nat) -> BTreeMap<(GroupId, Serial), usize> {
    for group in [GROUP, OTHER] {
        nat.release(group);
    }
    while nat.take_submission().is_some() {}
    let mut answers = BTreeMap::new();
    for batch in nat.resend_after(0).into_iter().flat_map(|submission| submission.batches) {
        for record in records(&batch.records).flatten() {
            if let Record::Connected { serial, .. } | Record::Resolved { serial, .. } = record {
                *answers.entry((batch.group, serial)).or_default() += 1;
            }
        }
    }
    answers
}

proptest! {
    #[test]
    fn every_place_is_free_again_in_the_end(steps in vec(any::<Step>(), 0..200)) {
        let mut nat = nat_with(Limits { connections: 12, associations: 5, outward_calls: 6, lookups: 3, ..limits() }, WINDOW, 400);
        let mut begun = BTreeMap::new();
        for given in steps {
            let before: Vec<_> = nat.calls.known().collect();
            step(&mut nat, given);
            for known in nat.calls.known().filter(|known| !before.contains(known)) {
                *begun.entry(known.0).or_insert(0) += 1;
            }
            prop_assert!(nat.clients_connections() <= 12 && nat.associations() <= 5 && nat.calls() <= 6 && nat.lookups() <= 3);
            prop_assert_eq!(nat.connections(), nat.clients_connections() + nat.associations() + nat.calls());
        }
        for (call, answers) in answers(&mut nat) {
            prop_assert!(begun.get(&call).is_some_and(|begun| answers <= *begun), "{:?}", call);
        }
        nat.end_epoch();
        for key in nat.flows.keys().copied().collect::<Vec<_>>() {
            prop_assert!(nat.gone(key, NOW).is_some());
        }
        prop_assert_eq!((nat.connections(), nat.calls(), nat.lookups(), nat.associations()), (0, 0, 0, 0));
        prop_assert_eq!((nat.clients.len(), nat.calls.known().count()), (0, 0));
        for group in nat.groups.values() {
            prop_assert_eq!((group.connections, group.associations, group.calls), (0, 0, 0));
            prop_assert_eq!((group.untold, group.kept), (0, 0));
            prop_assert_eq!(group.unread.bytes, 0);
        }
    }
}
