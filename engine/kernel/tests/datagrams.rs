//! Datagrams: associations, what is dropped, and what a guest may send where.

mod support;

use std::net::SocketAddr;

use bytes::Bytes;
use refrain_kernel::config::GuestConfig;
use refrain_kernel::outbound::{Host, IpRange, PortRange, Rule};
use refrain_kernel::poll::Interest;
use refrain_kernel::{Errno, Kernel, Outbound, ShardEvent, Stop, Subscription};
use refrain_wire::effect::DATAGRAM_PORT;
use refrain_wire::outward::{MAX_DATAGRAM_BYTES, Owner};
use refrain_wire::{CallFailure, EffectKind, Protocol, ProxyId, Record, Serial};
use support::{EPOCH, Rig, config, effects, reset};

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
        let sent = (0..100).take_while(|_| kernel.send_to(fd, &[0; 936], Some(peer(1))).is_ok()).count();
        assert_eq!(sent, 10, "ten thousand bytes with what each takes besides");
        assert_eq!(kernel.send_to(fd, b"", Some(peer(1))), Err(Stop::Block));
    });
    assert!(end.wants.is_some());
    rig.turn(&[], |kernel| assert_eq!(kernel.send_to(fd, b"", Some(peer(1))), Ok(0)));
}
