//! The rules of the table, one test each.

mod accounts;
mod datagrams;
mod outward;
mod retries;
mod turnover;
mod unread;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use refrain_wire::limits::{MAX_BATCH_BYTES, MAX_ENTRY_BYTES};
use refrain_wire::outward::FIRST_OUTWARD_SERIAL;
use refrain_wire::record::{check_records, records};
use refrain_wire::{Epoch, GroupId, Record, ResetReason, Serial, SubmissionId};

use super::outbox::PIECE_BYTES;
use super::{Client, Direction, Emit, Ending, GroupLimits, Limits, MAX_PENDING_BYTES, Nat, Refused, Submission};

const GROUP: GroupId = GroupId(7);
const OTHER: GroupId = GroupId(9);
const EPOCH: Epoch = Epoch(3);
const NOW: Duration = Duration::from_secs(1);
const WINDOW: u64 = 1024;

fn limits() -> Limits {
    Limits { connections: 4, connections_per_client: 3, idle: Duration::from_secs(10), ..Limits::default() }
}

fn nat_with(limits: Limits, window_bytes: u64, buffers_bytes: u64) -> Nat {
    let mut nat = Nat::new(EPOCH, limits);
    nat.add_group(GROUP, GroupLimits { window_bytes, buffers_bytes, ..GroupLimits::default() });
    nat.add_group(OTHER, GroupLimits::default());
    nat
}

fn nat() -> Nat {
    nat_with(limits(), WINDOW, 1 << 20)
}

fn peer(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 5000))
}

fn accept(nat: &mut Nat) -> Serial {
    nat.accept(GROUP, 80, peer(1), NOW).expect("the table has room")
}

fn of_group(submission: &Submission, group: GroupId) -> Vec<Record> {
    let batch = submission.batches.iter().find(|batch| batch.group == group);
    let batch = batch.map(|batch| batch.records.clone()).unwrap_or_default();
    records(&batch).map(|record| record.expect("own records decode")).collect()
}

/// Takes the next submission, which must be due, and returns the records of `GROUP`.
fn taken(nat: &mut Nat) -> Vec<Record> {
    let submission = nat.take_submission().expect("a submission is due");
    nat.committed(submission.id);
    of_group(&submission, GROUP)
}

fn emit(nat: &mut Nat, serial: Serial, offset: u64, bytes: &'static [u8]) -> Emit {
    nat.emit(GROUP, serial, offset, Bytes::from_static(bytes), NOW)
}

/// A flow whose open is on its way.
fn opened(nat: &mut Nat) -> Serial {
    let serial = accept(nat);
    taken(nat);
    serial
}

#[test]
fn a_piece_begins_with_its_origin_and_keeps_the_order_of_records() {
    let mut nat = nat();
    let serial = accept(&mut nat);
    nat.received(serial, b"hello", NOW);
    nat.client_shutdown(serial, NOW);
    let expected = vec![
        Record::Open { serial, port: 80, peer: peer(1) },
        Record::Data { serial, delivered: 0, bytes: Bytes::from_static(b"hello") },
        Record::Shutdown(serial),
    ];
    assert_eq!(taken(&mut nat), expected);
    assert!(nat.take_submission().is_none(), "an idle table submits nothing");
}

#[test]
fn the_connection_limit_refuses_one_more() {
    let mut nat = nat();
    for host in 1..=4 {
        nat.accept(GROUP, 80, peer(host), NOW).expect("up to the limit");
    }
    assert_eq!(nat.accept(GROUP, 80, peer(5), NOW), Err(Refused::TooMany { limit: 4 }));
    nat.gone(Serial(1), NOW);
    assert!(nat.accept(GROUP, 80, peer(5), NOW).is_ok(), "a place is free again");
}

#[test]
fn one_group_of_several_takes_seven_eighths_of_the_connections() {
    let limits = Limits { connections: 8, connections_per_client: 8, ..limits() };
    let mut nat = nat_with(limits, WINDOW, 1 << 20);
    let all: Vec<Serial> = (0..7).map(|_| accept(&mut nat)).collect();
    assert_eq!(nat.accept(GROUP, 80, peer(1), NOW), Err(Refused::TooMany { limit: 7 }));
    assert!(nat.accept(OTHER, 80, peer(1), NOW).is_ok());
    assert_eq!(nat.accept(OTHER, 80, peer(1), NOW), Err(Refused::TooMany { limit: 8 }));
    nat.gone(all[0], NOW);
    accept(&mut nat);
    let mut alone = Nat::new(EPOCH, limits);
    alone.add_group(GROUP, GroupLimits::default());
    for _ in 0..8 {
        accept(&mut alone);
    }
}

#[test]
fn the_limit_of_a_client_address_refuses_one_more_of_it_alone() {
    let mut nat = nat();
    for _ in 0..3 {
        accept(&mut nat);
    }
    let refused = Refused::TooManyFromClient { client: peer(1).ip(), limit: 3 };
    assert_eq!(nat.accept(GROUP, 80, peer(1), NOW), Err(refused));
    let mapped = SocketAddr::from((std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped(), 1));
    assert_eq!(nat.accept(GROUP, 80, mapped, NOW), Err(refused), "the same address");
    assert!(nat.accept(GROUP, 80, peer(2), NOW).is_ok());
}

#[test]
fn a_connection_for_an_unknown_or_halted_group_is_refused() {
    let mut nat = nat();
    let unknown = GroupId(1);
    assert_eq!(nat.accept(unknown, 80, peer(1), NOW), Err(Refused::UnknownGroup(unknown)));
    nat.halt(GROUP);
    assert_eq!(nat.accept(GROUP, 80, peer(1), NOW), Err(Refused::Halted(GROUP)));
    nat.resume(GROUP);
    assert!(nat.accept(GROUP, 80, peer(1), NOW).is_ok());
}

#[test]
fn a_group_whose_history_is_full_takes_no_new_work_but_what_relieves() {
    let mut nat = nat();
    let [quiet, busy] = [accept(&mut nat), accept(&mut nat)];
    let other = nat.accept(OTHER, 80, peer(1), NOW).expect("the table has room");
    assert!(!nat.refuse_if_full(busy));
    nat.received(busy, b"before", NOW);
    nat.fill(GROUP, true);
    assert_eq!(nat.accept(GROUP, 80, peer(1), NOW), Err(Refused::Full(GROUP)));
    assert!(nat.refuse_if_full(busy) && !nat.refuse_if_full(busy) && !nat.refuse_if_full(other));
    nat.client_shutdown(quiet, NOW);
    let records = taken(&mut nat);
    assert!(records.contains(&Record::Reset { serial: busy, reason: ResetReason::Operator }), "{records:?}");
    assert!(records.contains(&Record::Shutdown(quiet)), "{records:?}");
    assert_eq!(nat.gone(busy, NOW).map(|closed| closed.ending), Some(Ending::Refused));
    nat.fill(GROUP, false);
    assert!(nat.accept(GROUP, 80, peer(1), NOW).is_ok());
}

#[test]
fn serials_are_never_used_again() {
    let mut nat = nat();
    let first = accept(&mut nat);
    nat.gone(first, NOW);
    assert_ne!(accept(&mut nat), first);
    let last = Serial(FIRST_OUTWARD_SERIAL.0 - 1);
    nat.next_serial = Some(last);
    assert!(!nat.is_used_up());
    assert_eq!(accept(&mut nat), last, "those above are of calls");
    assert!(nat.is_used_up());
    assert_eq!(nat.accept(GROUP, 80, peer(1), NOW), Err(Refused::SerialsUsed));
}

#[test]
fn reading_stops_at_the_window_and_goes_on_when_the_guest_has_consumed() {
    let mut nat = nat();
    let serial = accept(&mut nat);
    assert_eq!(nat.readable_bytes(serial), WINDOW as usize);
    nat.received(serial, &[0; WINDOW as usize - 1], NOW);
    assert_eq!(nat.readable_bytes(serial), 1);
    nat.received(serial, &[0], NOW);
    assert_eq!(nat.readable_bytes(serial), 0);
    assert_eq!(nat.take_resumed(), []);
    nat.consumed(GROUP, serial, 600);
    assert_eq!(nat.take_resumed(), [serial]);
    assert_eq!(nat.readable_bytes(serial), 600);
    nat.consumed(GROUP, serial, 500);
    assert_eq!(nat.readable_bytes(serial), 600, "consumed never goes back");
}

#[test]
fn waiting_records_stop_reading_at_their_limit_and_turn_nobody_away() {
    let mut nat = nat_with(limits(), u64::MAX / 2, u64::MAX / 2);
    let (first, second) = (accept(&mut nat), accept(&mut nat));
    while nat.readable_bytes(first) > 0 {
        let readable = nat.readable_bytes(first);
        nat.received(first, &vec![1; readable.min(256 * 1024)], NOW);
    }
    assert!(nat.pending_bytes() >= MAX_PENDING_BYTES);
    assert!(nat.pending_bytes() < MAX_PENDING_BYTES + 1024, "only framing goes over");
    assert_eq!(nat.readable_bytes(second), 0);
    let third = nat.accept(GROUP, 80, peer(2), NOW).expect("a busy group still takes clients");
    assert_eq!(nat.readable_bytes(third), 0);
    assert!(nat.accept(OTHER, 80, peer(2), NOW).is_ok(), "other groups go on");
    nat.take_submission();
    assert_eq!(nat.take_resumed(), [first, second, third], "in the order in which they stopped");
    assert!(nat.readable_bytes(second) > 0);
}

#[test]
fn a_batch_is_cut_below_its_limit_and_the_rest_waits_in_order() {
    let mut nat = nat_with(limits(), u64::MAX / 2, 1 << 20);
    let serial = accept(&mut nat);
    let sent: Vec<u8> = (0..MAX_BATCH_BYTES + 300_000).map(|i| (i % 251) as u8).collect();
    for part in sent.chunks(200_000) {
        nat.received(serial, part, NOW);
    }
    let mut got = Vec::new();
    let mut numbers = Vec::new();
    while let Some(submission) = nat.take_submission() {
        numbers.push(submission.id.number);
        let batch = &submission.batches[0].records;
        assert!(batch.len() <= PIECE_BYTES);
        assert_eq!(check_records(batch), Ok(()));
        for record in records(batch) {
            if let Ok(Record::Data { bytes, .. }) = record {
                got.extend_from_slice(&bytes);
            }
        }
    }
    assert_eq!(got, sent);
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn a_submission_fits_into_an_entry_and_groups_without_room_are_first_the_next_time() {
    let mut nat = Nat::new(EPOCH, Limits::default());
    for group in 1..=6 {
        let limits = GroupLimits { window_bytes: 1 << 30, ..GroupLimits::default() };
        nat.add_group(GroupId(group), limits);
        let serial = nat.accept(GroupId(group), 80, peer(1), NOW).expect("the table has room");
        for _ in 0..12 {
            nat.received(serial, &[0; 256 * 1024], NOW);
        }
    }
    let groups = |submission: &Submission| submission.batches.iter().map(|b| b.group.0).collect::<Vec<_>>();
    let first = nat.take_submission().expect("six groups are due");
    let bytes: usize = first.batches.iter().map(|batch| 27 + batch.records.len()).sum();
    assert!(bytes <= MAX_ENTRY_BYTES);
    assert_eq!(groups(&first), [1, 2, 3, 4]);
    let second = nat.take_submission().expect("all groups are due");
    assert_eq!(groups(&second), [1, 2, 5, 6]);
    let third = nat.take_submission().expect("all groups are due");
    assert_eq!(groups(&third), [3, 4, 5, 6]);
}

#[test]
fn a_group_has_its_own_limits_on_connections_clients_and_idleness() {
    let mut nat = Nat::new(EPOCH, Limits { connections: 100, ..limits() });
    let own = GroupLimits {
        connections: Some(3),
        connections_per_client: Some(2),
        idle: Some(Duration::from_secs(1)),
        ..GroupLimits::default()
    };
    nat.add_group(GroupId(8), own);
    nat.add_group(GroupId(9), GroupLimits::default());
    let first = nat.accept(GroupId(8), 80, peer(1), NOW).expect("the first of this client");
    nat.accept(GroupId(8), 80, peer(1), NOW).expect("at the client's limit");
    let refused = nat.accept(GroupId(8), 80, peer(1), NOW);
    assert_eq!(refused, Err(Refused::TooManyFromClient { client: peer(1).ip(), limit: 2 }));
    nat.accept(GroupId(9), 80, peer(1), NOW).expect("another group counts for itself");
    nat.accept(GroupId(8), 80, peer(2), NOW).expect("at the group's limit");
    assert_eq!(nat.accept(GroupId(8), 80, peer(3), NOW), Err(Refused::TooMany { limit: 3 }));
    assert_eq!([7, 8, 9, 10].map(|group| nat.most_of_one_client(GroupId(group))), [0, 2, 1, 0]);
    nat.gone(first, NOW);
    assert_eq!(nat.most_of_one_client(GroupId(8)), 1);
    nat.accept(GroupId(8), 80, peer(3), NOW).expect("a closed connection makes room");
    let expired = nat.idle_expired(NOW + Duration::from_secs(1));
    assert_eq!(expired.len(), 3, "the other group's client has ten seconds");
}

#[test]
fn what_the_log_has_no_room_for_is_given_up_with_its_flows_and_the_others_stay() {
    let mut nat = nat();
    let (sends, stays) = (accept(&mut nat), accept(&mut nat));
    let first = nat.take_submission().expect("two opens wait");
    nat.committed(first.id);
    emit(&mut nat, stays, 0, b"answer");
    nat.received(sends, b"too much", NOW);
    nat.client_shutdown(stays, NOW);
    let refused = nat.take_submission().expect("data and a shutdown wait");
    assert_eq!(nat.give_up().over, [sends]);
    assert_eq!(nat.live(), [stays]);
    let again = nat.resend_after(first.id.number);
    assert_eq!((again.len(), again[0].id), (1, refused.id));
    let left: Vec<Record> = records(&again[0].batches[0].records).map(Result::unwrap).collect();
    let reset = Record::Reset { serial: sends, reason: ResetReason::Operator };
    assert_eq!(left, [Record::Shutdown(stays), reset]);
    assert!(nat.give_up().is_empty(), "there is nothing left to give up");
}

#[test]
fn submissions_are_numbered_without_gaps_and_kept_until_committed() {
    let mut nat = nat();
    let serial = accept(&mut nat);
    let first = nat.take_submission().expect("the open is due");
    nat.received(serial, b"a", NOW);
    let second = nat.take_submission().expect("the data is due");
    let id = |number| SubmissionId { epoch: EPOCH, number };
    assert_eq!((first.id, second.id), (id(1), id(2)));
    assert_eq!(nat.resend_after(0), [first, second.clone()]);
    assert_eq!(nat.resend_after(1), [second]);
    nat.committed(SubmissionId { epoch: Epoch(2), number: 9 });
    assert_eq!(nat.in_flight(), 1, "another epoch's commit changes nothing");
    nat.committed(id(2));
    assert_eq!(nat.in_flight(), 0);
}

#[test]
fn data_tells_what_was_delivered_since_it_was_last_told() {
    let mut nat = nat();
    let serial = opened(&mut nat);
    assert!(matches!(emit(&mut nat, serial, 0, &[1; 100]), Emit::Write(_)));
    nat.delivered(serial, 60, NOW);
    nat.received(serial, b"x", NOW);
    nat.delivered(serial, 40, NOW);
    nat.received(serial, b"y", NOW);
    let told = taken(&mut nat).into_iter().filter_map(|record| match record {
        Record::Data { delivered, .. } => Some(delivered),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [60, 40]);
}

#[test]
fn data_that_is_cut_tells_what_was_delivered_once() {
    let mut nat = nat_with(limits(), 1 << 30, 1 << 30);
    let serial = opened(&mut nat);
    emit(&mut nat, serial, 0, b"abc");
    nat.delivered(serial, 3, NOW);
    nat.received(serial, &vec![0; 2 * MAX_BATCH_BYTES], NOW);
    let mut told = 0;
    while nat.has_pending() {
        told += taken(&mut nat)
            .iter()
            .map(|record| match record {
                Record::Data { delivered, .. } => *delivered,
                _ => 0,
            })
            .sum::<u64>();
    }
    assert_eq!(told, 3);
}

#[test]
fn what_data_has_told_is_not_kept_any_more() {
    let mut nat = nat_with(limits(), WINDOW, 400);
    let serial = opened(&mut nat);
    emit(&mut nat, serial, 0, &[1; 100]);
    nat.delivered(serial, 100, NOW);
    nat.received(serial, b"x", NOW);
    taken(&mut nat);
    emit(&mut nat, serial, 100, &[1; 100]);
    nat.delivered(serial, 100, NOW);
    assert!(!nat.has_pending(), "a quarter is kept, not two");
}

#[test]
fn credit_goes_out_at_half_a_window_and_not_one_byte_before() {
    let mut nat = nat();
    let serial = opened(&mut nat);
    emit(&mut nat, serial, 0, &[1; WINDOW as usize]);
    nat.delivered(serial, WINDOW / 2 - 1, NOW);
    assert!(!nat.has_pending());
    nat.delivered(serial, 1, NOW);
    let credit = Record::Credit { serial, delivered: 512 };
    assert_eq!(taken(&mut nat), [credit]);
}

#[test]
fn credit_goes_out_for_all_flows_at_once_while_more_than_a_quarter_is_kept() {
    let mut nat = nat_with(limits(), WINDOW, 400);
    let (first, second, never_reads) = (opened(&mut nat), opened(&mut nat), opened(&mut nat));
    for serial in [first, second] {
        emit(&mut nat, serial, 0, &[1; 20]);
        nat.delivered(serial, 10, NOW);
    }
    emit(&mut nat, never_reads, 0, &[1; 60]);
    assert!(!nat.has_pending(), "at a quarter");
    let credit = |serial, delivered| Record::Credit { serial, delivered };
    emit(&mut nat, never_reads, 60, &[1; 81]);
    assert_eq!(taken(&mut nat)[..], [credit(first, 10), credit(second, 10)], "one byte above");
    nat.delivered(second, 1, NOW);
    assert_eq!(taken(&mut nat)[..], [credit(second, 1)], "what is left is still above");
    nat.reset(never_reads, Ending::Idle);
    taken(&mut nat);
    nat.delivered(second, 1, NOW);
    assert!(!nat.has_pending(), "what a flow that is over kept counts no more");
}

#[test]
fn a_flow_ends_when_both_sides_are_done_and_all_is_delivered() {
    let mut nat = nat();
    let serial = opened(&mut nat);
    emit(&mut nat, serial, 0, b"bye");
    assert_eq!(nat.finish(GROUP, serial, 3, NOW), Ok(true));
    nat.client_shutdown(serial, NOW);
    taken(&mut nat);
    assert_eq!(nat.live(), [serial]);
    nat.delivered(serial, 3, NOW);
    assert_eq!(nat.live(), []);
    assert_eq!(taken(&mut nat), [Record::Credit { serial, delivered: 3 }], "replicas forget the flow");
    let closed = nat.gone(serial, NOW + Duration::from_secs(2)).expect("it was there");
    assert_eq!((closed.bytes_out, closed.ending), (3, Ending::Done));
    assert_eq!(closed.lasted, Duration::from_secs(2));
}

#[test]
fn a_client_that_goes_away_is_told_as_a_reset_and_nothing_follows() {
    let mut nat = nat();
    let serial = opened(&mut nat);
    nat.reset(serial, Ending::ClientReset);
    nat.received(serial, b"x", NOW);
    nat.client_shutdown(serial, NOW);
    nat.reset(serial, Ending::Idle);
    let reason = ResetReason::Client;
    assert_eq!(taken(&mut nat), [Record::Reset { serial, reason }]);
    assert_eq!(emit(&mut nat, serial, 0, b"late"), Emit::Nothing);
    assert_eq!(nat.guest_reset(GROUP, serial), None);
}

#[test]
fn bytes_are_emitted_once_in_order_and_a_gap_is_noticed() {
    let mut nat = nat();
    let serial = opened(&mut nat);
    let write = |bytes: &'static [u8]| Emit::Write(Bytes::from_static(bytes));
    assert_eq!(emit(&mut nat, serial, 0, b"abc"), write(b"abc"));
    assert_eq!(emit(&mut nat, serial, 0, b"abc"), Emit::Nothing);
    assert_eq!(emit(&mut nat, serial, 1, b"bcde"), write(b"de"));
    assert_eq!(emit(&mut nat, serial, 6, b"g"), Emit::Gap { emitted: 5 });
    assert_eq!(nat.finish(GROUP, serial, 6, NOW), Err(5));
    assert_eq!(nat.finish(GROUP, serial, 5, NOW), Ok(true));
    assert_eq!(nat.finish(GROUP, serial, 5, NOW), Ok(false));
    assert_eq!(emit(&mut nat, serial, 5, b"f"), Emit::Gap { emitted: 5 });
}

#[test]
fn a_group_cannot_touch_the_flows_of_another() {
    let mut nat = nat();
    let serial = opened(&mut nat);
    assert_eq!(nat.emit(OTHER, serial, 0, Bytes::from_static(b"x"), NOW), Emit::Nothing);
    assert_eq!(nat.finish(OTHER, serial, 0, NOW), Ok(false));
    assert_eq!(nat.guest_reset(OTHER, serial), None);
    assert_eq!(nat.live(), [serial]);
}

#[test]
fn a_client_that_moves_is_not_idle_and_one_that_does_not_is_reset_by_record() {
    let mut nat = nat();
    let (still, sends, takes) = (opened(&mut nat), opened(&mut nat), opened(&mut nat));
    let at = |seconds| NOW + Duration::from_secs(seconds);
    nat.received(sends, b"x", at(5));
    emit(&mut nat, takes, 0, b"y");
    nat.delivered(takes, 1, at(5));
    taken(&mut nat);
    assert_eq!(nat.idle_expired(at(9)), []);
    assert_eq!(nat.idle_expired(at(10)), [still]);
    let reason = ResetReason::Idle;
    assert_eq!(taken(&mut nat)[..], [Record::Reset { serial: still, reason }]);
}

#[test]
fn a_client_that_sends_but_takes_nothing_of_what_waits_is_idle() {
    let mut nat = nat();
    let serial = opened(&mut nat);
    let at = |seconds| NOW + Duration::from_secs(seconds);
    nat.emit(GROUP, serial, 0, Bytes::from_static(b"y"), at(5));
    nat.received(serial, b"x", at(14));
    assert_eq!(nat.idle_expired(at(14)), []);
    assert_eq!(nat.idle_expired(at(15)), [serial]);
}

#[test]
fn while_held_open_and_data_wait_and_what_relieves_goes_on() {
    let mut nat = nat();
    let (credited, shut, reset) = (opened(&mut nat), opened(&mut nat), opened(&mut nat));
    nat.hold(GROUP);
    assert_eq!(nat.readable_bytes(credited), 0);
    emit(&mut nat, credited, 0, &[1; WINDOW as usize]);
    nat.received(reset, b"already read", NOW);
    assert!(!nat.has_pending());
    nat.delivered(credited, WINDOW, NOW);
    nat.client_shutdown(shut, NOW);
    nat.reset(reset, Ending::ClientReset);
    let relieved = [
        Record::Credit { serial: credited, delivered: WINDOW },
        Record::Shutdown(shut),
        Record::Reset { serial: reset, reason: ResetReason::Client },
    ];
    assert_eq!(taken(&mut nat)[..], relieved);
    assert!(!nat.has_pending());
    nat.release(GROUP);
    assert_eq!(nat.take_resumed(), [credited]);
    assert!(matches!(taken(&mut nat)[..], [Record::Data { .. }]));
}

#[test]
fn while_held_a_shutdown_does_not_overtake_its_data_nor_a_reset_its_open() {
    let mut nat = nat();
    let sender = opened(&mut nat);
    nat.hold(GROUP);
    let late = accept(&mut nat);
    nat.received(sender, b"x", NOW);
    nat.client_shutdown(sender, NOW);
    nat.reset(late, Ending::ClientReset);
    assert!(nat.take_submission().is_none());
    nat.release(GROUP);
    let got = taken(&mut nat);
    assert!(matches!(got[..], [Record::Open { .. }, Record::Data { .. }, Record::Shutdown(_), Record::Reset { .. }]));
}

#[test]
fn a_halt_ends_the_flows_of_its_group_without_records() {
    let mut nat = nat();
    let serial = accept(&mut nat);
    let other = nat.accept(OTHER, 80, peer(1), NOW).expect("the table has room");
    assert_eq!(nat.halt(GROUP), [serial]);
    assert_eq!(nat.live(), [other]);
    let submission = nat.take_submission().expect("the other group's open is due");
    assert_eq!(of_group(&submission, GROUP), []);
    assert_eq!(nat.gone(serial, NOW).map(|closed| closed.ending), Some(Ending::Halted));
}
