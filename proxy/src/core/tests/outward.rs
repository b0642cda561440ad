//! Calls in effects: nothing is begun before agreement, and each once.

use refrain_wire::outward::FIRST_OUTWARD_SERIAL;
use refrain_wire::{CallFailure, Protocol, ProxyHeader, Record, Target};

use super::*;

const CALL: Serial = Serial(FIRST_OUTWARD_SERIAL.0 + 40);

fn target(address: &str) -> Target {
    let address = address.parse().expect("an address");
    Target { protocol: Protocol::Tcp, header: ProxyHeader::None, address }
}

fn connect(target: Target) -> Effect {
    effect(EffectKind::Connect, Some(CALL), 0, &target.encode())
}

#[test]
fn a_call_is_made_once_and_only_after_agreement() {
    let mut proxy = proxy(3);
    let good = turn(10, vec![connect(target("10.0.0.9:443"))]);
    assert_eq!(vote(&mut proxy, 2, &good).actions, []);
    let dial = Action::Dial { serial: FIRST_OUTWARD_SERIAL, target: target("10.0.0.9:443") };
    assert_eq!(vote(&mut proxy, 0, &good).actions, [dial]);
    assert_eq!(vote(&mut proxy, 1, &good).actions, []);
    assert_eq!(vote(&mut proxy, 0, &good).actions, []);
}

#[test]
fn a_list_with_another_target_than_was_agreed_is_not_used() {
    let mut proxy = proxy(3);
    let good = turn(10, vec![connect(target("10.0.0.9:443"))]);
    let mut forged = good.clone();
    forged.effects[0].payload = target("10.6.6.6:443").encode();
    assert_eq!(vote(&mut proxy, 0, &forged).actions, []);
    assert_eq!(vote(&mut proxy, 1, &forged).actions, [], "agreed, but nobody brought what was agreed");
    assert!(matches!(vote(&mut proxy, 2, &good).actions[..], [Action::Dial { .. }]));
}

#[test]
fn a_call_of_another_epoch_is_its_owners() {
    let mut proxy = proxy(1);
    let mut other = connect(target("10.0.0.9:443"));
    other.entry.flow = Some(FlowId { epoch: Epoch(5), serial: CALL });
    assert_eq!(vote(&mut proxy, 0, &turn(10, vec![other])).actions, []);
    assert_eq!(proxy.nat().map(|nat| nat.calls()), Some(0));
}

#[test]
fn effects_on_a_connected_call_are_translated_to_its_key() {
    let mut proxy = proxy(1);
    vote(&mut proxy, 0, &turn(10, vec![connect(target("10.0.0.9:443"))]));
    let key = FIRST_OUTWARD_SERIAL;
    let nat = proxy.nat().expect("an epoch has begun");
    assert!(nat.connected(key, "10.0.0.1:5".parse().expect("an address"), NOW));
    let sent = vec![
        effect(EffectKind::Bytes, Some(CALL), 0, b"hello"),
        effect(EffectKind::Finish, Some(CALL), 5, b""),
        effect(EffectKind::Reset, Some(CALL), 0, b""),
    ];
    let outcome = vote(&mut proxy, 0, &turn(12, sent));
    assert_eq!(outcome.actions, [write(key, b"hello"), Action::Finish(key), Action::Linger(key)]);
    let late = vote(&mut proxy, 0, &turn(14, vec![effect(EffectKind::Bytes, Some(key), 0, b"x")]));
    assert_eq!(late.actions, [], "the key is no serial of the group");
}

#[test]
fn a_gap_in_a_call_is_told_by_the_groups_serial() {
    let mut proxy = proxy(1);
    let early = effect(EffectKind::Bytes, Some(CALL), 0, b"before the answer");
    let outcome = vote(&mut proxy, 0, &turn(10, vec![connect(target("10.0.0.9:443")), early]));
    let reset = Action::Reset { serial: FIRST_OUTWARD_SERIAL, ending: Ending::Fault };
    assert_eq!(outcome.actions[1..], [reset]);
    assert!(matches!(outcome.notices[..], [(GROUP, Notice::Gap { serial: CALL, .. })]));
}

#[test]
fn an_association_is_bound_and_its_datagrams_are_sent_in_one_turn() {
    let mut proxy = proxy(1);
    let peer = target("10.0.0.9:53");
    let datagram = |number, payload| effect(EffectKind::Datagram, Some(CALL), number, payload);
    let effects = vec![
        connect(Target { protocol: Protocol::Udp, ..peer }),
        datagram(0, b"query"),
        datagram(1, b""),
        datagram(1, b""),
        datagram(3, b"lost one"),
    ];
    let outcome = vote(&mut proxy, 0, &turn(10, effects));
    let serial = FIRST_OUTWARD_SERIAL;
    let expected = [
        Action::Bind { serial, peer: peer.address },
        Action::Send { serial, bytes: Bytes::from_static(b"query") },
        Action::Send { serial, bytes: Bytes::new() },
        Action::Reset { serial, ending: Ending::Fault },
    ];
    assert_eq!(outcome.actions, expected);
    assert_eq!(outcome.released[0].bytes, 5);
}

#[test]
fn a_look_up_is_begun_and_given_up() {
    let mut proxy = proxy(1);
    let asks = effect(EffectKind::Resolve, Some(CALL), 0, "api.example.com".as_bytes());
    let serial = FIRST_OUTWARD_SERIAL;
    let name = "api.example.com".to_owned();
    assert_eq!(vote(&mut proxy, 0, &turn(10, vec![asks])).actions, [Action::Resolve { serial, name }]);
    let reset = vec![effect(EffectKind::Reset, Some(CALL), 0, b"")];
    let given_up = Action::Reset { serial, ending: Ending::GuestReset };
    assert_eq!(vote(&mut proxy, 0, &turn(12, reset.clone())).actions, [given_up]);
    assert_eq!(vote(&mut proxy, 0, &turn(14, reset)).actions, []);
}

#[test]
fn a_call_that_cannot_be_read_is_answered() {
    let mut proxy = proxy(1);
    let names = ["", &"x".repeat(254)].map(|name| effect(EffectKind::Resolve, Some(CALL), 0, name.as_bytes()));
    let [empty, long] = names;
    let calls = vec![effect(EffectKind::Connect, Some(CALL), 0, b"?"), empty, long];
    let failed = |failure| Action::CallFailed(failure);
    let expected = [CallFailure::Other, CallFailure::NotFound, CallFailure::NotFound].map(failed);
    assert_eq!(vote(&mut proxy, 0, &turn(10, calls)).actions, expected);
    let submission = proxy.nat().and_then(|nat| nat.take_submission()).expect("the answers are due");
    let records: Vec<_> = refrain_wire::record::records(&submission.batches[0].records).flatten().collect();
    assert!(matches!(records[..], [Record::Failed { serial: CALL, .. }, Record::Failed { .. }, Record::Failed { .. }]));
}
