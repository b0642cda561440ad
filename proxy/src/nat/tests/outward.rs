//! Calls of guests: keys, answers, limits, and what becomes of them when the group or the epoch does not go on.

use std::net::IpAddr;

use refrain_wire::{CallFailure, Protocol, ProxyHeader, Target};

use super::*;
use crate::nat::MAX_IDLE_FINISHED_CALL;

/// A serial that both groups' kernels give.
const CALL: Serial = Serial(FIRST_OUTWARD_SERIAL.0 + 7);

fn target() -> Target {
    Target { protocol: Protocol::Tcp, header: ProxyHeader::None, address: peer(200) }
}

fn begin(nat: &mut Nat, group: GroupId, serial: Serial) -> Serial {
    nat.connect(group, serial, target(), NOW).expect("there is room").expect("the call is new")
}

/// A call whose answer, that it is connected, is on its way.
fn connected(nat: &mut Nat, serial: Serial) -> Serial {
    let key = begin(nat, GROUP, serial);
    assert!(nat.connected(key, peer(100), NOW));
    taken(nat);
    key
}

#[test]
fn equal_serials_of_two_groups_are_two_calls_and_records_have_the_groups_serial() {
    let mut nat = nat();
    let (first, second) = (begin(&mut nat, GROUP, CALL), begin(&mut nat, OTHER, CALL));
    assert!(first != second && first >= FIRST_OUTWARD_SERIAL);
    assert_eq!((nat.key_of(GROUP, CALL), nat.key_of(OTHER, CALL)), (Some(first), Some(second)));
    assert_eq!(nat.connect(GROUP, CALL, target(), NOW), Ok(None), "it is known");
    assert!(nat.connected(first, peer(100), NOW));
    assert!(nat.call_failed(second, CallFailure::Refused));
    let submission = nat.take_submission().expect("both answers are due");
    let answer = Record::Connected { serial: CALL, local: peer(100) };
    assert_eq!(of_group(&submission, GROUP), [answer]);
    assert_eq!(of_group(&submission, OTHER), [Record::Failed { serial: CALL, failure: CallFailure::Refused }]);
    assert!(!nat.connected(first, peer(100), NOW), "there is one answer");
    assert!(!nat.call_failed(first, CallFailure::TimedOut));
}

#[test]
fn a_connected_call_is_a_flow_like_any_other_and_its_records_follow_the_answer() {
    let mut nat = nat();
    let key = begin(&mut nat, GROUP, CALL);
    assert_eq!(nat.readable_bytes(key), WINDOW as usize);
    nat.connected(key, peer(100), NOW);
    nat.received(key, b"hello", NOW);
    assert_eq!(emit(&mut nat, key, 0, b"request"), Emit::Write(Bytes::from_static(b"request")));
    nat.delivered(key, 7, NOW);
    nat.client_shutdown(key, NOW);
    assert_eq!(nat.finish(GROUP, key, 7, NOW), Ok(true));
    let expected = [
        Record::Connected { serial: CALL, local: peer(100) },
        Record::Data { serial: CALL, delivered: 0, bytes: Bytes::from_static(b"hello") },
        Record::Shutdown(CALL),
        Record::Credit { serial: CALL, delivered: 7 },
    ];
    assert_eq!(taken(&mut nat), expected);
    let closed = nat.gone(key, NOW).expect("it was there");
    assert_eq!((closed.serial, closed.direction, closed.ending), (CALL, Direction::Out, Ending::Done));
    assert_eq!((nat.key_of(GROUP, CALL), nat.calls(), nat.connections()), (None, 0, 0));
}

#[test]
fn a_call_whose_guest_has_finished_is_given_up_when_the_server_does_nothing_for_the_idle_limit() {
    let mut nat = nat();
    let at = |seconds| NOW + Duration::from_secs(seconds);
    let key = connected(&mut nat, CALL);
    emit(&mut nat, key, 0, b"request");
    assert_eq!(nat.idle_expired(at(1_000)), [], "the guest may wait for as long as it likes");
    assert_eq!(nat.finish(GROUP, key, 7, at(1_000)), Ok(true));
    assert_eq!(nat.idle_expired(at(1_009)), []);
    nat.delivered(key, 7, at(1_009));
    assert_eq!(nat.idle_expired(at(1_018)), [], "the server took something");
    assert_eq!(nat.idle_expired(at(1_019)), [key]);
    assert_eq!(taken(&mut nat), [Record::Reset { serial: CALL, reason: ResetReason::Idle }]);
}

#[test]
fn a_finished_call_has_an_idle_limit_where_clients_have_none() {
    let mut nat = Nat::new(EPOCH, limits());
    nat.add_group(GROUP, GroupLimits { idle: Some(Duration::MAX), ..GroupLimits::default() });
    let (key, client) = (connected(&mut nat, CALL), accept(&mut nat));
    nat.finish(GROUP, key, 0, NOW).expect("nothing was sent");
    assert_eq!(nat.idle_expired(NOW + MAX_IDLE_FINISHED_CALL - Duration::from_secs(1)), []);
    assert_eq!(nat.idle_expired(NOW + MAX_IDLE_FINISHED_CALL), [key]);
    assert_eq!(nat.live(), [client]);
}

#[test]
fn bytes_before_the_answer_are_a_fault_and_the_call_is_answered() {
    let mut nat = nat();
    let key = begin(&mut nat, GROUP, CALL);
    assert_eq!(emit(&mut nat, key, 0, b"x"), Emit::Gap { emitted: 0 });
    assert_eq!(nat.finish(GROUP, key, 0, NOW), Err(0));
    nat.reset(key, Ending::Fault);
    assert_eq!(taken(&mut nat), [Record::Failed { serial: CALL, failure: CallFailure::Reset }]);
}

#[test]
fn a_call_that_the_guest_gives_up_gets_no_answer() {
    let mut nat = nat();
    let key = begin(&mut nat, GROUP, CALL);
    assert_eq!(nat.guest_reset(GROUP, key), Some(false));
    assert!(!nat.connected(key, peer(100), NOW));
    assert!(!nat.call_failed(key, CallFailure::TimedOut));
    assert!(!nat.has_pending());
    assert_eq!(nat.gone(key, NOW).map(|closed| closed.ending), Some(Ending::GuestReset));
}

#[test]
fn calls_have_a_limit_of_their_own_and_one_more_fails_at_once() {
    let mut nat = nat_with(Limits { outward_calls: 2, connections: 1, ..limits() }, WINDOW, 1 << 20);
    let first = begin(&mut nat, GROUP, CALL);
    begin(&mut nat, OTHER, CALL);
    let another = Serial(CALL.0 + 1);
    assert_eq!(nat.connect(GROUP, another, target(), NOW), Err(CallFailure::NoRoom));
    assert_eq!(taken(&mut nat), [Record::Failed { serial: another, failure: CallFailure::NoRoom }]);
    accept(&mut nat);
    assert_eq!((nat.connections(), nat.clients_connections(), nat.calls()), (3, 1, 2));
    assert!(nat.accept(OTHER, 80, peer(2), NOW).is_err(), "calls take no place of clients, and leave none");
    nat.call_failed(first, CallFailure::Refused);
    nat.gone(first, NOW);
    begin(&mut nat, GROUP, another);
}

#[test]
fn one_group_of_several_takes_seven_eighths_of_the_calls() {
    let mut nat = nat_with(Limits { outward_calls: 8, ..limits() }, WINDOW, 1 << 20);
    let keys: Vec<Serial> = (0..7).map(|number| begin(&mut nat, GROUP, Serial(CALL.0 + number))).collect();
    let another = Serial(CALL.0 + 7);
    assert_eq!(nat.connect(GROUP, another, target(), NOW), Err(CallFailure::NoRoom));
    begin(&mut nat, OTHER, CALL);
    nat.guest_reset(GROUP, keys[0]);
    nat.gone(keys[0], NOW);
    begin(&mut nat, GROUP, another);
}

#[test]
fn an_answer_overtakes_what_is_held_and_is_followed_by_its_data() {
    let mut nat = nat();
    let client = opened(&mut nat);
    nat.received(client, b"waits", NOW);
    nat.hold(GROUP);
    let (key, failed) = (begin(&mut nat, GROUP, CALL), begin(&mut nat, GROUP, Serial(CALL.0 + 1)));
    nat.connected(key, peer(100), NOW);
    nat.received(key, b"early", NOW);
    nat.call_failed(failed, CallFailure::TimedOut);
    let answers = [
        Record::Connected { serial: CALL, local: peer(100) },
        Record::Failed { serial: Serial(CALL.0 + 1), failure: CallFailure::TimedOut },
    ];
    assert_eq!(taken(&mut nat), answers);
    assert_eq!(nat.readable_bytes(key), 0, "its group is held");
    nat.release(GROUP);
    assert!(matches!(taken(&mut nat)[..], [Record::Data { .. }, Record::Data { serial: CALL, .. }]));
}

#[test]
fn giving_up_spares_answers_and_ends_the_calls_whose_data_it_drops() {
    let mut nat = nat();
    let (sends, stays) = (connected(&mut nat, CALL), begin(&mut nat, GROUP, Serial(CALL.0 + 1)));
    nat.received(sends, b"too much", NOW);
    nat.connected(stays, peer(100), NOW);
    let submission = nat.take_submission().expect("data and an answer wait");
    assert_eq!(nat.give_up().over, [sends]);
    let left = nat.resend_after(submission.id.number - 1);
    let answer = Record::Connected { serial: Serial(CALL.0 + 1), local: peer(100) };
    let reset = Record::Reset { serial: CALL, reason: ResetReason::Operator };
    assert_eq!(of_group(&left[0], GROUP), [answer, reset]);
    assert_eq!(nat.live(), [stays]);
}

#[test]
fn a_halt_gives_up_calls_and_look_ups_and_begins_none() {
    let mut nat = nat();
    let key = begin(&mut nat, GROUP, CALL);
    let name = nat.resolve(GROUP, Serial(CALL.0 + 1)).expect("there is room").expect("it is new");
    let other = nat.resolve(OTHER, CALL).expect("there is room").expect("it is new");
    assert_eq!(nat.halt(GROUP), [key, name]);
    assert!(!nat.connected(key, peer(100), NOW));
    assert_eq!(nat.resolved(name, &[peer(1).ip()]), None);
    assert_eq!(nat.connect(GROUP, Serial(CALL.0 + 2), target(), NOW), Ok(None));
    assert!(!nat.has_pending());
    assert_eq!(nat.lookups(), 1);
    nat.resolved(other, &[peer(1).ip()]);
    assert!(nat.has_pending());
}

#[test]
fn the_end_of_an_epoch_ends_calls_without_records_and_clients_are_told_as_before() {
    let mut nat = nat();
    let key = begin(&mut nat, GROUP, CALL);
    nat.resolve(GROUP, Serial(CALL.0 + 1)).expect("there is room");
    let client = accept(&mut nat);
    nat.end_epoch();
    let mut ending = |serial| nat.gone(serial, NOW).map(|closed| closed.ending);
    assert_eq!(ending(key), Some(Ending::EpochEnded));
    assert_eq!(ending(client), Some(Ending::NotAccepted));
    assert_eq!((nat.lookups(), nat.calls()), (0, 0));
}

#[test]
fn a_call_is_never_idle_and_keeps_its_window_when_its_group_is_upgraded() {
    let mut nat = nat();
    let key = connected(&mut nat, CALL);
    assert_eq!(nat.idle_expired(NOW + Duration::from_secs(100_000)), []);
    nat.update_group(GROUP, GroupLimits { window_bytes: 4 * WINDOW, ..GroupLimits::default() });
    assert_eq!(nat.readable_bytes(key), WINDOW as usize);
}

#[test]
fn a_look_up_is_answered_once_with_each_address_once_in_order() {
    let mut nat = nat();
    let name = nat.resolve(GROUP, CALL).expect("there is room").expect("it is new");
    assert_eq!(nat.resolve(GROUP, CALL), Ok(None));
    let host = |host| IpAddr::from([10, 0, 0, host]);
    let mut found = vec![host(2), host(1), host(2)];
    found.extend((3..=30).map(host));
    assert_eq!(nat.resolved(name, &found), None);
    let addresses: Vec<IpAddr> = [2, 1].into_iter().chain(3..=16).map(host).collect();
    assert_eq!(addresses.len(), 16);
    assert_eq!(taken(&mut nat), [Record::Resolved { serial: CALL, addresses }]);
    nat.resolved(name, &found);
    assert!(!nat.has_pending() && nat.key_of(GROUP, CALL).is_none());
}

#[test]
fn a_name_without_an_address_is_not_found_and_one_look_up_too_many_fails_at_once() {
    let mut nat = nat_with(Limits { lookups: 1, ..limits() }, WINDOW, 1 << 20);
    let name = nat.resolve(GROUP, CALL).expect("there is room").expect("it is new");
    let another = Serial(CALL.0 + 1);
    assert_eq!(nat.resolve(GROUP, another), Err(CallFailure::NoRoom));
    assert_eq!(nat.resolved(name, &[]), Some(CallFailure::NotFound));
    let failed = |serial, failure| Record::Failed { serial, failure };
    assert_eq!(taken(&mut nat), [failed(another, CallFailure::NoRoom), failed(CALL, CallFailure::NotFound)]);
    let given_up = nat.resolve(GROUP, another).expect("there is room again").expect("it is new");
    assert!(nat.give_up_lookup(given_up) && !nat.give_up_lookup(given_up));
    assert!(!nat.call_failed(given_up, CallFailure::TimedOut));
}

#[test]
fn keys_go_round_past_those_that_are_taken() {
    let mut nat = nat();
    let first = begin(&mut nat, GROUP, CALL);
    let name = nat.resolve(GROUP, Serial(CALL.0 + 1)).expect("there is room").expect("it is new");
    assert_eq!((first, name), (FIRST_OUTWARD_SERIAL, Serial(FIRST_OUTWARD_SERIAL.0 + 1)));
    nat.calls.use_up_keys();
    assert_eq!(begin(&mut nat, OTHER, CALL), Serial(u32::MAX));
    assert_eq!(begin(&mut nat, OTHER, Serial(CALL.0 + 1)), Serial(FIRST_OUTWARD_SERIAL.0 + 2));
    nat.calls.use_up_keys();
    nat.gone(first, NOW);
    assert_eq!(begin(&mut nat, OTHER, Serial(CALL.0 + 2)), first, "it is free again");
}

#[test]
fn a_serial_that_the_kernel_gives_again_is_a_new_call_though_the_old_connection_is_still_closing() {
    let mut nat = nat();
    let old = connected(&mut nat, CALL);
    assert_eq!(nat.guest_reset(GROUP, old), Some(false));
    let new = begin(&mut nat, GROUP, CALL);
    assert_ne!(old, new);
    assert_eq!((nat.key_of(GROUP, CALL), nat.calls(), nat.clients_connections()), (Some(new), 2, 0));
    nat.gone(old, NOW);
    assert_eq!((nat.key_of(GROUP, CALL), nat.calls()), (Some(new), 1));
    assert!(nat.connected(new, peer(100), NOW));
    assert_eq!(taken(&mut nat), [Record::Connected { serial: CALL, local: peer(100) }]);
}

#[test]
fn answers_to_look_ups_are_cut_so_that_each_piece_fits() {
    let mut nat = nat_with(Limits { lookups: 10_000, ..limits() }, WINDOW, 1 << 20);
    let found: Vec<IpAddr> = (0..16).map(|host| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host])).collect();
    for number in 0..5_000 {
        let name = nat.resolve(GROUP, Serial(CALL.0 + number)).expect("there is room").expect("it is new");
        nat.resolved(name, &found);
    }
    let mut answers = 0;
    while let Some(submission) = nat.take_submission() {
        assert!(submission.batches[0].records.len() <= PIECE_BYTES);
        answers += of_group(&submission, GROUP).len();
    }
    assert_eq!(answers, 5_000);
}
