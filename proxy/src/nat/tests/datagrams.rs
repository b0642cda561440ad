//! Associations: made by a datagram, bounded, idle, and dropped without harm.

use refrain_wire::{CallFailure, Protocol, ProxyHeader, Target};

use super::*;
use crate::nat::{Heard, HeardAt, MAX_IDLE_ASSOCIATION};

const PORT: u16 = 53;
const CALL: Serial = Serial(FIRST_OUTWARD_SERIAL.0 + 7);

fn at(group: GroupId, port: u16) -> HeardAt {
    HeardAt { socket: 0, group, port }
}

fn hear(nat: &mut Nat, host: u8, bytes: &[u8]) -> Heard {
    nat.hear_client(at(GROUP, PORT), peer(host), bytes, NOW)
}

/// A client's association whose first datagram is on its way.
fn association(nat: &mut Nat, host: u8) -> Serial {
    let Heard::New(serial) = hear(nat, host, b"?") else { panic!("there is room") };
    taken(nat);
    serial
}

/// An association that the guest opened.
fn called(nat: &mut Nat) -> Serial {
    let target = Target { protocol: Protocol::Udp, header: ProxyHeader::None, address: peer(200) };
    nat.connect(GROUP, CALL, target, NOW).expect("there is room").expect("the call is new")
}

fn datagram(serial: Serial, port: u16, host: u8, bytes: &'static [u8]) -> Record {
    Record::Datagram { serial, port, peer: peer(host), bytes: Bytes::from_static(bytes) }
}

fn send(nat: &mut Nat, key: Serial, number: u64, bytes: &'static [u8]) -> Emit {
    nat.send_datagram(GROUP, key, number, Bytes::from_static(bytes), NOW)
}

#[test]
fn the_first_datagram_of_a_peer_makes_an_association_and_the_next_are_of_it() {
    let mut nat = nat();
    let Heard::New(first) = hear(&mut nat, 1, b"a") else { panic!("it is the first") };
    assert_eq!(hear(&mut nat, 1, b""), Heard::Known(first), "an empty one counts");
    let Heard::New(second) = hear(&mut nat, 2, b"b") else { panic!("another peer") };
    let Heard::New(third) = nat.hear_client(at(GROUP, PORT + 1), peer(1), b"c", NOW) else { panic!("another port") };
    let expected = [
        datagram(first, PORT, 1, b"a"),
        datagram(first, PORT, 1, b""),
        datagram(second, PORT, 2, b"b"),
        datagram(third, PORT + 1, 1, b"c"),
    ];
    assert_eq!(taken(&mut nat), expected);
    assert!(first < second && second < third);
    assert_eq!((nat.connections(), nat.associations(), nat.connections_of(GROUP)), (3, 3, 3));
    assert_eq!(nat.clients_connections(), 0, "a drain does not wait for them");
}

#[test]
fn one_group_of_several_takes_seven_eighths_of_the_associations() {
    let mut nat = nat_with(Limits { associations: 8, ..limits() }, WINDOW, 1 << 20);
    let all: Vec<Serial> = (1..=7).map(|host| association(&mut nat, host)).collect();
    assert_eq!(hear(&mut nat, 8, b"?"), Heard::Dropped);
    assert!(matches!(nat.hear_client(at(OTHER, PORT), peer(8), b"?", NOW), Heard::New(_)));
    nat.gone(all[0], NOW);
    assert!(matches!(hear(&mut nat, 8, b"?"), Heard::New(_)));
}

#[test]
fn a_peer_has_an_association_with_each_socket_that_it_sends_to() {
    let mut nat = nat();
    let first = association(&mut nat, 1);
    let other = HeardAt { socket: 1, ..at(GROUP, PORT) };
    let Heard::New(second) = nat.hear_client(other, peer(1), b"x", NOW) else { panic!("another socket") };
    assert_ne!(first, second);
    assert_eq!(nat.hear_client(other, peer(1), b"y", NOW), Heard::Known(second));
    assert_eq!(hear(&mut nat, 1, b"z"), Heard::Known(first));
    nat.gone(first, NOW);
    assert_eq!(nat.hear_client(other, peer(1), b"y", NOW), Heard::Known(second));
    assert_eq!(nat.associations(), 1);
}

#[test]
fn datagrams_are_sent_once_in_order_and_a_gap_is_noticed() {
    let mut nat = nat();
    let serial = association(&mut nat, 1);
    let write = |bytes: &'static [u8]| Emit::Write(Bytes::from_static(bytes));
    assert_eq!(send(&mut nat, serial, 0, b"a"), write(b"a"));
    assert_eq!(send(&mut nat, serial, 0, b"a"), Emit::Nothing);
    assert_eq!(send(&mut nat, serial, 1, b""), write(b""));
    assert_eq!(send(&mut nat, serial, 3, b"d"), Emit::Gap { emitted: 2 });
    let other = nat.send_datagram(OTHER, serial, 2, Bytes::new(), NOW);
    assert_eq!(other, Emit::Nothing, "it is of another group");
}

#[test]
fn a_stream_has_no_datagrams_and_an_association_no_bytes() {
    let mut nat = nat();
    let (stream, association) = (opened(&mut nat), association(&mut nat, 1));
    assert_eq!(send(&mut nat, stream, 0, b"x"), Emit::Gap { emitted: 0 });
    assert_eq!(emit(&mut nat, association, 0, b"x"), Emit::Gap { emitted: 0 });
    assert_eq!(nat.finish(GROUP, association, 0, NOW), Err(0));
}

#[test]
fn what_was_sent_is_in_the_access_log_and_presses_nobody() {
    let mut nat = nat_with(limits(), WINDOW, 400);
    let serial = association(&mut nat, 1);
    send(&mut nat, serial, 0, b"x");
    nat.datagram_sent(serial, 100_000);
    assert!(!nat.has_pending(), "there is no credit for datagrams");
    nat.reset(serial, Ending::Operator);
    let closed = nat.gone(serial, NOW).expect("it was there");
    assert_eq!((closed.protocol, closed.bytes_in, closed.bytes_out), (Protocol::Udp, 1, 100_000));
    let Heard::New(again) = hear(&mut nat, 1, b"?") else { panic!("its place is free") };
    assert_ne!(again, serial);
}

#[test]
fn an_association_counts_as_a_connection_of_its_client() {
    let mut nat = nat();
    for _ in 0..3 {
        accept(&mut nat);
    }
    assert_eq!(hear(&mut nat, 1, b"x"), Heard::Dropped, "the client has three connections");
    association(&mut nat, 2);
}

#[test]
fn associations_have_a_limit_of_their_own_and_leave_connections_their_places() {
    let mut nat = nat_with(Limits { associations: 2, ..limits() }, WINDOW, 1 << 20);
    let serial = association(&mut nat, 1);
    association(&mut nat, 2);
    assert_eq!(hear(&mut nat, 3, b"x"), Heard::Dropped, "two are the limit");
    assert_eq!(hear(&mut nat, 1, b"y"), Heard::Known(serial));
    for host in 3..=6 {
        nat.accept(GROUP, 80, peer(host), NOW).expect("none of its places is taken");
    }
    nat.reset(serial, Ending::Idle);
    nat.gone(serial, NOW);
    association(&mut nat, 3);
}

#[test]
fn of_a_groups_places_associations_have_as_many_as_they_may() {
    let mut nat = Nat::new(EPOCH, Limits::default());
    nat.add_group(GROUP, GroupLimits { connections: Some(3), associations: Some(2), ..GroupLimits::default() });
    let serial = association(&mut nat, 1);
    association(&mut nat, 2);
    assert_eq!(hear(&mut nat, 3, b"x"), Heard::Dropped, "the third is for a connection");
    nat.halt(GROUP);
    nat.resume(GROUP);
    nat.gone(serial, NOW);
    association(&mut nat, 4);
    assert_eq!(hear(&mut nat, 3, b"x"), Heard::Dropped);
    accept(&mut nat);
    assert_eq!(nat.accept(GROUP, 80, peer(3), NOW), Err(Refused::TooMany { limit: 3 }));
}

#[test]
fn datagrams_are_dropped_while_their_group_does_not_take_them() {
    let mut nat = nat();
    let serial = association(&mut nat, 1);
    nat.hold(GROUP);
    assert_eq!((hear(&mut nat, 1, b"x"), hear(&mut nat, 2, b"x")), (Heard::Dropped, Heard::Dropped));
    nat.release(GROUP);
    nat.fill(GROUP, true);
    assert_eq!((hear(&mut nat, 1, b"x"), hear(&mut nat, 2, b"x")), (Heard::Dropped, Heard::Dropped));
    nat.fill(GROUP, false);
    assert_eq!(hear(&mut nat, 1, b"x"), Heard::Known(serial));
    assert_eq!(nat.halt(GROUP), [serial]);
    assert_eq!((hear(&mut nat, 1, b"x"), hear(&mut nat, 2, b"x")), (Heard::Dropped, Heard::Dropped));
    let unknown = nat.hear_client(at(GroupId(77), PORT), peer(1), b"x", NOW);
    assert_eq!(unknown, Heard::Dropped);
}

#[test]
fn waiting_datagrams_are_bounded_and_the_largest_fits_into_a_batch() {
    let mut nat = nat();
    let largest = vec![7; 65_507];
    assert!(matches!(hear(&mut nat, 1, &largest), Heard::New(_)));
    assert_eq!(hear(&mut nat, 1, &vec![7; 65_508]), Heard::Dropped);
    let mut heard = 1;
    while hear(&mut nat, 1, &largest) != Heard::Dropped {
        heard += 1;
    }
    assert!(nat.pending_bytes() <= MAX_PENDING_BYTES && heard == MAX_PENDING_BYTES / 65_524);
    let mut told = 0;
    while let Some(submission) = nat.take_submission() {
        assert!(submission.batches[0].records.len() <= PIECE_BYTES);
        told += of_group(&submission, GROUP).len();
    }
    assert_eq!(told, heard);
}

#[test]
fn an_association_is_idle_when_its_client_sends_nothing_and_ends_by_a_record() {
    let mut nat = nat();
    let (still, hears, sends) = (association(&mut nat, 1), association(&mut nat, 2), called(&mut nat));
    let after = |seconds| NOW + Duration::from_secs(seconds);
    nat.hear_client(at(GROUP, PORT), peer(2), b"x", after(5));
    nat.send_datagram(GROUP, still, 0, Bytes::new(), after(5));
    nat.send_datagram(GROUP, sends, 0, Bytes::new(), after(5));
    taken(&mut nat);
    assert_eq!(nat.idle_expired(after(9)), []);
    assert_eq!(nat.idle_expired(after(10)), [still], "what the guest sends does not show that anybody is there");
    assert_eq!(taken(&mut nat), [Record::Reset { serial: still, reason: ResetReason::Idle }]);
    assert_eq!(nat.idle_expired(after(15)), [hears, sends], "the guest keeps what it opened");
}

#[test]
fn an_association_that_the_guest_resets_is_answered_by_a_reset_that_follows_its_datagrams() {
    let mut nat = nat();
    let (serial, key) = (association(&mut nat, 1), called(&mut nat));
    hear(&mut nat, 1, b"late");
    nat.hold(GROUP);
    assert_eq!(nat.guest_reset(GROUP, serial), Some(false));
    assert_eq!(nat.take_submission(), None, "it does not overtake them");
    nat.release(GROUP);
    let reset = Record::Reset { serial, reason: ResetReason::Client };
    assert_eq!(taken(&mut nat), [datagram(serial, PORT, 1, b"late"), reset]);
    assert_eq!(nat.guest_reset(GROUP, serial), None);
    assert_eq!(nat.guest_reset(GROUP, key), Some(false));
    assert_eq!(nat.take_submission(), None, "nobody waits for one on the guest's own");
}

#[test]
fn a_reset_of_the_proxy_does_not_overtake_datagrams() {
    let mut nat = nat();
    let serial = association(&mut nat, 1);
    hear(&mut nat, 1, b"late");
    nat.hold(GROUP);
    nat.reset(serial, Ending::Operator);
    assert_eq!(nat.take_submission(), None);
    nat.release(GROUP);
    let reset = Record::Reset { serial, reason: ResetReason::Operator };
    assert_eq!(taken(&mut nat), [datagram(serial, PORT, 1, b"late"), reset]);
}

#[test]
fn an_association_is_idle_after_a_minute_whatever_its_group_allows_clients() {
    let mut nat = Nat::new(EPOCH, Limits::default());
    nat.add_group(GROUP, GroupLimits::default());
    nat.add_group(OTHER, GroupLimits { idle: Some(Duration::MAX), ..GroupLimits::default() });
    let first = association(&mut nat, 1);
    let Heard::New(second) = nat.hear_client(at(OTHER, PORT), peer(1), b"x", NOW) else { panic!("there is room") };
    let stream = accept(&mut nat);
    assert_eq!(nat.idle_expired(NOW + MAX_IDLE_ASSOCIATION - Duration::from_secs(1)), []);
    assert_eq!(nat.idle_expired(NOW + MAX_IDLE_ASSOCIATION), [first, second]);
    assert_eq!(nat.live(), [stream]);
}

#[test]
fn a_guests_association_needs_no_answer_and_fails_when_it_cannot_be_bound() {
    let mut nat = nat();
    let key = called(&mut nat);
    assert!(!nat.has_pending());
    assert_eq!(send(&mut nat, key, 0, b"query"), Emit::Write(Bytes::from_static(b"query")));
    assert_eq!(nat.hear_server(key, b"answer", NOW), Heard::Known(key));
    assert_eq!(taken(&mut nat), [datagram(CALL, 0, 200, b"answer")]);
    assert_eq!(nat.idle_expired(NOW + Duration::from_secs(10)), [key]);
    taken(&mut nat);
    assert_eq!(nat.hear_server(key, b"late", NOW), Heard::Dropped);
    nat.gone(key, NOW);
    let key = called(&mut nat);
    assert!(nat.call_failed(key, CallFailure::NoRoom));
    assert_eq!(taken(&mut nat), [Record::Failed { serial: CALL, failure: CallFailure::NoRoom }]);
}

#[test]
fn giving_up_drops_datagrams_and_leaves_their_associations() {
    let mut nat = nat();
    let (serial, key) = (association(&mut nat, 1), called(&mut nat));
    hear(&mut nat, 1, b"too much");
    nat.hear_server(key, b"too much", NOW);
    let submission = nat.take_submission().expect("two datagrams wait");
    let given_up = nat.give_up();
    assert_eq!((given_up.over, given_up.datagrams), (vec![], 2));
    let nothing = [Record::Credit { serial: Serial(0), delivered: 0 }];
    assert_eq!(of_group(&nat.resend_after(submission.id.number - 1)[0], GROUP), nothing);
    assert_eq!(nat.live(), [serial, key]);
    assert!(nat.give_up().is_empty(), "there is nothing left to give up");
    assert_eq!(of_group(&nat.resend_after(submission.id.number - 1)[0], GROUP), nothing);
}

#[test]
fn at_the_end_of_an_epoch_nothing_is_known_of_datagrams() {
    let mut nat = nat();
    let Heard::New(serial) = hear(&mut nat, 1, b"x") else { panic!("there is room") };
    let key = called(&mut nat);
    nat.end_epoch();
    for serial in [serial, key] {
        assert_eq!(nat.gone(serial, NOW).map(|closed| closed.ending), Some(Ending::EpochEnded));
    }
    assert_eq!((nat.associations(), nat.connections()), (0, 0));
}
