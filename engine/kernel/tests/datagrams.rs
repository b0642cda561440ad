//! Datagrams: associations, what is dropped, and what a guest may send where.

mod support;

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use bytes::Bytes;
use refrain_kernel::budget::MAX_TURN_DATAGRAMS;
use refrain_kernel::config::GuestConfig;
use refrain_kernel::outbound::{Host, IpRange, PortRange, Rule};
use refrain_kernel::poll::Interest;
use refrain_kernel::{Errno, Kernel, Outbound, ShardEvent, Stop, Subscription, TurnInput};
use refrain_wire::effect::DATAGRAM_PORT;
use refrain_wire::outward::{MAX_DATAGRAM_BYTES, Owner};
use refrain_wire::{CallFailure, Control, EffectKind, Position, Protocol, ProxyId, Record, RecordWriter, Serial, Time};
use support::{EPOCH, Rig, config, effects, open, reset};

const FIRST: u32 = refrain_wire::outward::FIRST_OUTWARD_SERIAL.0;
const DNS: u16 = 53;

fn peer(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 1000))
}

fn datagram(serial: u32, port: u16, from: SocketAddr, bytes: &[u8]) -> Record {
    Record::Datagram { serial: Serial(serial), port, peer: from, bytes: Bytes::copy_from_slice(bytes) }
}

fn receive(kernel: &mut Kernel, fd: u32) -> Result<(Vec<u8>, SocketAddr), Stop> {
    let mut out = [0; 100];
    let received = kernel.recv_from(fd, &mut out, false)?;
    Ok((out[..received.copied].to_vec(), received.peer))
}

/// A guest with a socket on a port, and a proxy that may be asked.
fn bound(config: GuestConfig) -> (Rig, u32) {
    let mut rig = Rig::new(config);
    let mut fd = 0;
    let owner = ShardEvent::EpochOpened(Owner { proxy: ProxyId(1), epoch: EPOCH });
    rig.events(&[owner], &[], |kernel| {
        fd = kernel.socket(false, true).unwrap();
        assert_eq!(kernel.bind(fd, DNS), Ok(()));
    });
    (rig, fd)
}

fn outward() -> GuestConfig {
    let host = Host::Range(IpRange::one(peer(9).ip()));
    let rule = Rule { host, ports: PortRange::ALL, protocol: Protocol::Udp, proxy_header: None };
    GuestConfig { outbound: Outbound::new(vec![rule]), max_outward: 1, ..config() }
}

#[test]
fn a_bound_port_is_told_apart_from_one_for_connections() {
    let mut rig = Rig::new(config());
    let end = rig.turn(&[], |kernel| {
        let fd = kernel.socket(false, true).unwrap();
        kernel.bind(fd, support::PORT).unwrap();
        assert_eq!(kernel.listen(fd, 1), Err(Errno::Notsup));
    });
    let port = u64::from(DATAGRAM_PORT) + u64::from(support::PORT);
    assert!(effects(&end).contains(&(EffectKind::Listen, 0, port, 0)), "{:?}", effects(&end));
}

#[test]
fn a_client_is_answered_on_its_association_with_numbered_datagrams() {
    let (mut rig, fd) = bound(config());
    let records =
        [datagram(1, DNS, peer(1), b"one"), datagram(2, DNS, peer(2), b""), datagram(1, DNS, peer(1), b"two")];
    let end = rig.turn(&records, |kernel| {
        let mut out = [0; 2];
        let peeked = kernel.recv_from(fd, &mut out, true).unwrap();
        assert_eq!((peeked.copied, peeked.length, &out), (2, 3, b"on"));
        assert_eq!(receive(kernel, fd), Ok((b"one".to_vec(), peer(1))));
        assert_eq!(receive(kernel, fd), Ok((Vec::new(), peer(2))));
        assert_eq!(receive(kernel, fd), Ok((b"two".to_vec(), peer(1))));
        assert_eq!(receive(kernel, fd), Err(Stop::Block));
        assert_eq!(kernel.send_to(fd, b"to one", Some(peer(1))), Ok(6));
        assert_eq!(kernel.send_to(fd, b"", Some(peer(1))), Ok(0));
        assert_eq!(kernel.send_to(fd, b"nobody", None), Err(Errno::Destaddrreq.into()));
    });
    assert_eq!(effects(&end), [(EffectKind::Datagram, 1, 0, 6), (EffectKind::Datagram, 1, 1, 0)]);
    let end = rig.turn(&[], |kernel| assert_eq!(kernel.send_to(fd, b"third", Some(peer(1))), Ok(5)));
    assert_eq!(effects(&end), [(EffectKind::Datagram, 1, 2, 5)]);
}

#[test]
fn a_peer_with_two_associations_is_answered_on_the_one_that_it_used_last() {
    let (mut rig, fd) = bound(config());
    let (first, second) = (datagram(1, DNS, peer(1), b"x"), datagram(2, DNS, peer(1), b"x"));
    let over = reset(2);
    let mut answered = |records: &[&Record]| {
        let records: Vec<Record> = records.iter().map(|record| (*record).clone()).collect();
        let end = rig.turn(&records, |kernel| {
            // Nobody can be answered without an association.
            let _ = kernel.send_to(fd, b"y", Some(peer(1)));
        });
        effects(&end)
    };
    assert_eq!(answered(&[&first]), [(EffectKind::Datagram, 1, 0, 1)]);
    assert_eq!(answered(&[&second]), [(EffectKind::Datagram, 2, 0, 1)]);
    assert_eq!(answered(&[&first]), [(EffectKind::Datagram, 1, 1, 1)]);
    assert_eq!(answered(&[&over]), [(EffectKind::Datagram, 1, 2, 1)], "the other's end takes nothing from it");
}

#[test]
fn a_peer_whose_newest_association_ends_is_answered_on_one_before() {
    let (mut rig, fd) = bound(config());
    let met: Vec<Record> = (1..=4).map(|serial| datagram(serial, DNS, peer(1), b"x")).collect();
    rig.turn(&[&met[..], &[datagram(9, DNS, peer(2), b"x")]].concat(), |_| ());
    let mut answered = |records: &[Record]| {
        let end = rig.turn(records, |kernel| {
            // Nobody can be answered without an association.
            let _ = kernel.send_to(fd, b"y", Some(peer(1)));
        });
        effects(&end)
    };
    assert_eq!(answered(&[reset(4)]), [(EffectKind::Datagram, 3, 0, 1)]);
    assert_eq!(answered(&[reset(2)]), [(EffectKind::Datagram, 3, 1, 1)]);
    assert_eq!(answered(&[reset(3)]), [(EffectKind::Datagram, 1, 0, 1)]);
    assert_eq!(answered(&[reset(1)]), []);
}

#[test]
fn what_does_not_fit_or_has_no_socket_is_dropped() {
    let (mut rig, fd) = bound(config());
    // A thousand bytes, of which each datagram takes 64 more than it has.
    let full = [datagram(1, DNS, peer(1), &[1; 872]), datagram(1, DNS, peer(1), b""), datagram(1, DNS, peer(1), b"")];
    rig.turn(&full, |kernel| {
        assert_eq!(receive(kernel, fd).unwrap().0.len(), 100);
        assert_eq!(receive(kernel, fd).unwrap().0.len(), 0);
        assert_eq!(receive(kernel, fd), Err(Stop::Block), "one above the limit");
    });
    let end = rig.turn(&[datagram(7, 54, peer(1), b"x"), datagram(FIRST, 0, peer(1), b"x")], |kernel| {
        assert_eq!(receive(kernel, fd), Err(Stop::Block));
    });
    assert_eq!(effects(&end), []);
}

#[test]
fn all_queues_together_are_limited_to_the_last_datagram() {
    let (mut rig, fd) = bound(GuestConfig { socket_buffers_bytes: 1000, ..config() });
    let mut other = 0;
    rig.turn(&[], |kernel| {
        other = kernel.socket(false, true).unwrap();
        kernel.bind(other, 54).unwrap();
    });
    // Each takes 64 bytes more than it has.
    let full = [datagram(1, DNS, peer(1), &[1; 436]), datagram(2, 54, peer(1), &[2; 436])];
    let one_more = datagram(2, 54, peer(1), b"");
    rig.turn(&[&full[..], std::slice::from_ref(&one_more)].concat(), |kernel| {
        assert_eq!(receive(kernel, other).unwrap().0.len(), 100);
        assert_eq!(receive(kernel, other), Err(Stop::Block), "one above the limit");
    });
    rig.turn(&[full[1].clone(), one_more.clone()], |kernel| {
        assert_eq!(receive(kernel, other).unwrap().0.len(), 100);
        assert_eq!(receive(kernel, other), Err(Stop::Block));
        kernel.close(fd).unwrap();
    });
    rig.turn(&[full[1].clone(), one_more], |kernel| {
        assert_eq!(receive(kernel, other).unwrap().0.len(), 100);
        assert_eq!(receive(kernel, other).unwrap().0.len(), 0, "a socket that is closed holds nothing");
    });
}

#[test]
fn associations_count_among_the_flows() {
    let (mut rig, fd) = bound(GuestConfig { max_flows: 2, ..config() });
    let records: Vec<Record> = (1..4).map(|n| datagram(n, DNS, peer(n as u8), b"x")).collect();
    rig.turn(&records, |kernel| {
        assert_eq!(receive(kernel, fd).unwrap().1, peer(1));
        assert_eq!(receive(kernel, fd).unwrap().1, peer(2));
        assert_eq!(receive(kernel, fd), Err(Stop::Block));
    });
    rig.turn(&[reset(1), records[2].clone()], |kernel| {
        assert_eq!(receive(kernel, fd).unwrap().1, peer(3));
        assert_eq!(kernel.send_to(fd, b"gone", Some(peer(1))), Err(Errno::Acces.into()));
    });
}

#[test]
fn associations_and_connections_count_against_one_limit() {
    let (mut rig, fd) = bound(GuestConfig { max_flows: 2, ..config() });
    rig.turn(&[datagram(1, DNS, peer(1), b"x"), datagram(2, DNS, peer(2), b"x")], |_| ());
    assert_eq!(effects(&rig.turn(&[open(3)], |_| ())), [(EffectKind::Reset, 3, 0, 0)]);
    rig.turn(&[], |kernel| kernel.close(fd).unwrap());
    assert_eq!(effects(&rig.turn(&[open(4)], |_| ())), [(EffectKind::Reset, 4, 0, 0)], "nobody has answered yet");
    assert_eq!(effects(&rig.turn(&[reset(1), open(5)], |_| ())), []);
}

#[test]
fn what_follows_on_an_association_that_the_guest_ended_makes_none() {
    let (mut rig, fd) = bound(config());
    let mut again = 0;
    let late = [datagram(1, DNS, peer(1), b"late")];
    rig.turn(&late, |kernel| {
        kernel.close(fd).unwrap();
        again = kernel.socket(false, true).unwrap();
        kernel.bind(again, DNS).unwrap();
    });
    rig.turn(&late, |kernel| assert_eq!(receive(kernel, again), Err(Stop::Block)));
    let mut restored = Kernel::decode(&rig.encoded(), rig.config.clone(), &support::bundle()).unwrap();
    std::mem::swap(&mut rig.kernel, &mut restored);
    rig.turn(&late, |kernel| assert_eq!(receive(kernel, again), Err(Stop::Block)));
    assert_eq!(rig.kernel.flow_count(), 1, "it counts until the proxy answers");
    rig.turn(&[reset(1), datagram(2, DNS, peer(1), b"new")], |kernel| {
        assert_eq!(receive(kernel, again), Ok((b"new".to_vec(), peer(1))));
    });
    assert_eq!(rig.kernel.flow_count(), 1);
}

#[test]
fn an_ended_association_is_remembered_by_the_next_guest_and_not_after_its_epoch() {
    let restart = refrain_kernel::config::RestartPolicy::Always;
    let (mut rig, _) = bound(GuestConfig { restart, backoff: std::time::Duration::ZERO, ..config() });
    let late = [datagram(1, DNS, peer(1), b"late")];
    rig.turn(&late, |_| ());
    rig.end_guest(refrain_kernel::process::GuestEnd::Exit(0));
    let mut fd = 0;
    rig.turn(&[], |kernel| {
        fd = kernel.socket(false, true).unwrap();
        kernel.bind(fd, DNS).unwrap();
    });
    rig.turn(&late, |kernel| assert_eq!(receive(kernel, fd), Err(Stop::Block)));
    assert_eq!(rig.kernel.flow_count(), 1);
    rig.events(&[ShardEvent::EpochEnded(EPOCH)], &[], |_| ());
    assert_eq!(rig.kernel.flow_count(), 0);
}

#[test]
fn a_program_that_takes_over_answers_on_new_associations_alone() {
    let (mut rig, _) = bound(config());
    rig.turn(&[datagram(1, DNS, peer(1), b"before")], |_| ());
    let mut records = RecordWriter::default();
    records.push(&Record::Origin(EPOCH));
    [datagram(1, DNS, peer(1), b"late"), datagram(2, DNS, peer(2), b"new")].iter().for_each(|one| records.push(one));
    let (position, time, records) = (Position(9), Time::from_micros(9_000_000), records.take());
    let input = TurnInput { position, time, shard: &[], records: &records };
    let mut next = rig.kernel.successor(config(), &support::bundle(), &input).unwrap();
    assert!(next.start_if_due());
    let fd = next.socket(false, true).unwrap();
    next.bind(fd, DNS).unwrap();
    next.take_over(rig.kernel, &[0; 32], &input);
    assert_eq!(receive(&mut next, fd), Ok((b"new".to_vec(), peer(2))));
    assert_eq!(receive(&mut next, fd), Err(Stop::Block));
    assert_eq!(next.send_to(fd, b"answer", Some(peer(1))), Err(Errno::Acces.into()));
    assert_eq!(effects(&next.end_turn(None))[0], (EffectKind::Reset, 1, 0, 0));
}

#[test]
fn a_halt_leaves_no_association_behind() {
    let (mut rig, _) = bound(config());
    rig.turn(&[datagram(1, DNS, peer(1), b"x")], |_| ());
    rig.turn(&[Record::Control(Control::Halt { position: Position(1) })], |_| ());
    assert_eq!(rig.kernel.flow_count(), 0);
}

#[test]
fn the_first_thing_that_a_program_does_may_be_to_send_a_datagram() {
    let mut rig = Rig::new(outward());
    let mut fd = 0;
    let owner = ShardEvent::EpochOpened(Owner { proxy: ProxyId(1), epoch: EPOCH });
    let end = rig.events(&[owner], &[], |kernel| {
        fd = kernel.socket(false, true).unwrap();
        assert_eq!(kernel.send_to(fd, b"?", Some(peer(9))), Err(Stop::Block));
    });
    assert!(effects(&end).iter().all(|effect| effect.0 == EffectKind::Timer), "{:?}", effects(&end));
    assert_eq!(end.wants, Some(Time::from_micros(rig.micros)), "it goes on at once");
    let end = rig.turn(&[], |kernel| assert_eq!(kernel.send_to(fd, b"?", Some(peer(9))), Ok(1)));
    assert!(effects(&end).contains(&(EffectKind::Datagram, FIRST, 0, 1)), "{:?}", effects(&end));
}

#[test]
fn an_address_that_sent_nothing_takes_a_rule_and_counts_as_a_call() {
    let (mut rig, fd) = bound(outward());
    let end = rig.turn(&[], |kernel| {
        assert_eq!(kernel.send_to(fd, b"x", Some(peer(8))), Err(Errno::Acces.into()));
        assert_eq!(kernel.send_to(fd, b"ask", Some(peer(9))), Ok(3));
        let other = SocketAddr::new(peer(9).ip(), 7);
        assert_eq!(kernel.send_to(fd, b"x", Some(other)), Err(Errno::Nobufs.into()), "one call is the limit");
        let too_long = vec![0; MAX_DATAGRAM_BYTES + 1];
        assert_eq!(kernel.send_to(fd, &too_long, Some(peer(9))), Err(Errno::Msgsize.into()));
    });
    assert_eq!(effects(&end), [(EffectKind::Connect, FIRST, 0, 8), (EffectKind::Datagram, FIRST, 0, 3)]);
    rig.turn(&[datagram(FIRST, 0, peer(9), b"answer")], |kernel| {
        assert_eq!(receive(kernel, fd), Ok((b"answer".to_vec(), peer(9))));
    });
    let end = rig.turn(&[], |kernel| kernel.close(fd).unwrap());
    assert!(effects(&end).contains(&(EffectKind::Reset, FIRST, 0, 0)));
    rig.turn(&[], |kernel| {
        let fd = kernel.socket(false, true).unwrap();
        assert_eq!(kernel.send_to(fd, b"again", Some(peer(9))), Ok(5), "its place is free");
    });
}

#[test]
fn the_scope_of_an_address_makes_no_other_peer() {
    let ip = Ipv6Addr::LOCALHOST.to_bits() + 8;
    let rule = Rule {
        host: Host::Range(IpRange::one(Ipv6Addr::from_bits(ip).into())),
        ports: PortRange::ALL,
        protocol: Protocol::Udp,
        proxy_header: None,
    };
    let mut rig = Rig::new(GuestConfig { outbound: Outbound::new(vec![rule]), max_outward: 1, ..config() });
    let scoped = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from_bits(ip), 1000, 3, 4));
    let plain = SocketAddr::new(scoped.ip(), 1000);
    let mut fd = 0;
    let owner = ShardEvent::EpochOpened(Owner { proxy: ProxyId(1), epoch: EPOCH });
    rig.events(&[owner], &[], |kernel| fd = kernel.socket(true, true).unwrap());
    rig.turn(&[], |kernel| assert_eq!(kernel.send_to(fd, b"ask", Some(scoped)), Ok(3)));
    rig.turn(&[datagram(FIRST, 0, plain, b"answer")], |kernel| {
        assert_eq!(receive(kernel, fd), Ok((b"answer".to_vec(), plain)));
        assert_eq!(kernel.send_to(fd, b"thanks", Some(scoped)), Ok(6), "on the same association");
    });
    let end = rig.events(&[ShardEvent::EpochEnded(EPOCH)], &[], |kernel| {
        assert_eq!(kernel.send_to(fd, b"x", Some(plain)), Err(Errno::Netunreach.into()), "nobody can be asked");
    });
    assert_eq!(effects(&end), []);
}

#[test]
fn a_connected_socket_takes_its_peers_datagrams_alone() {
    let (mut rig, fd) = bound(outward());
    rig.turn(&[datagram(1, DNS, peer(1), b"before")], |kernel| {
        assert_eq!(kernel.connect(fd, peer(8), true), Err(Errno::Acces.into()));
        assert_eq!(kernel.connect(fd, peer(9), true), Ok(()));
        assert_eq!(kernel.peer_address(fd), Ok(peer(9)));
        assert_eq!(receive(kernel, fd), Err(Stop::Block));
        assert_eq!(kernel.send(fd, b"ask"), Ok(3));
    });
    rig.turn(&[datagram(1, DNS, peer(1), b"x"), datagram(FIRST, 0, peer(9), b"y")], |kernel| {
        let mut out = [0; 9];
        assert_eq!(kernel.recv(fd, &mut out, false), Ok(1));
        assert_eq!(out[0], b'y');
    });
}

#[test]
fn an_association_that_failed_is_the_sockets_error_once() {
    let (mut rig, fd) = bound(outward());
    rig.turn(&[], |kernel| assert_eq!(kernel.send_to(fd, b"ask", Some(peer(9))), Ok(3)));
    rig.turn(&[Record::Failed { serial: Serial(FIRST), failure: CallFailure::Refused }], |kernel| {
        let ready = kernel.poll(&[Subscription { userdata: 1, interest: Interest::Read(fd) }], true);
        assert_eq!(ready.map(|events| events.len()), Ok(1));
        assert_eq!(receive(kernel, fd), Err(Errno::Connrefused.into()));
        assert_eq!(receive(kernel, fd), Err(Stop::Block));
        assert_eq!(kernel.send_to(fd, b"again", Some(peer(9))), Ok(5));
    });
}

#[test]
fn an_ended_epoch_takes_its_associations_along_and_leaves_what_came() {
    let (mut rig, fd) = bound(outward());
    rig.turn(&[datagram(1, DNS, peer(1), b"came")], |_| ());
    let end = rig.events(&[ShardEvent::EpochEnded(EPOCH)], &[], |kernel| {
        assert_eq!(receive(kernel, fd), Ok((b"came".to_vec(), peer(1))));
        assert_eq!(kernel.send_to(fd, b"x", Some(peer(1))), Err(Errno::Acces.into()));
        assert_eq!(kernel.send_to(fd, b"x", Some(peer(9))), Err(Errno::Netunreach.into()), "nobody can be asked");
    });
    assert_eq!(effects(&end), []);
}

#[test]
fn what_a_turn_sends_is_bounded_and_the_rest_waits_for_the_next() {
    let (mut rig, fd) = bound(config());
    let end = rig.turn(&[datagram(1, DNS, peer(1), b"x")], |kernel| {
        kernel.descriptor_mut(fd).unwrap().flags = 4;
        let sent = (0..2 * MAX_TURN_DATAGRAMS).take_while(|_| kernel.send_to(fd, b"", Some(peer(1))).is_ok()).count();
        assert_eq!(sent as u32, MAX_TURN_DATAGRAMS);
        assert_eq!(kernel.send_to(fd, b"", Some(peer(1))), Err(Stop::Block));
    });
    assert!(end.wants.is_some());
    rig.turn(&[], |kernel| assert_eq!(kernel.send_to(fd, b"", Some(peer(1))), Ok(0)));
}

#[test]
fn a_datagram_of_any_size_is_sent_whatever_the_buffers_are() {
    let config = GuestConfig { socket_buffer_bytes: 100, socket_buffers_bytes: 100, ..config() };
    let (mut rig, fd) = bound(config);
    let longest = vec![0; MAX_DATAGRAM_BYTES];
    rig.turn(&[datagram(1, DNS, peer(1), b"x")], |kernel| {
        assert_eq!(kernel.send_to(fd, &longest, Some(peer(1))), Ok(MAX_DATAGRAM_BYTES));
    });
}

#[test]
fn what_was_sent_before_a_close_goes_out() {
    let (mut rig, _) = bound(outward());
    let end = rig.turn(&[], |kernel| {
        let fd = kernel.socket(false, true).unwrap();
        assert_eq!(kernel.send_to(fd, b"farewell", Some(peer(9))), Ok(8));
        kernel.close(fd).unwrap();
    });
    let want =
        [(EffectKind::Connect, FIRST, 0, 8), (EffectKind::Datagram, FIRST, 0, 8), (EffectKind::Reset, FIRST, 0, 0)];
    assert_eq!(effects(&end)[..3], want);
}
