//! `wasi:sockets/udp`: binding, connecting, sending and receiving.

use wasip2::sockets::instance_network::instance_network;

use crate::addresses::*;
use crate::{Check, both};

const WRONG: Option<ErrorCode> = Some(ErrorCode::InvalidState);
const INVALID: Option<ErrorCode> = Some(ErrorCode::InvalidArgument);

pub const CHECKS: &[Check] = &[
    ("udp-bind", || both(bind_addresses)),
    ("udp-unbound", || both(unbound)),
    ("udp-bound", || both(bound)),
    ("udp-options", || both(options)),
    ("udp-connect-refused", || both(connect_refused)),
    ("udp-reconnect", || both(reconnect)),
    ("udp-datagrams", || both(datagrams)),
    ("udp-only-the-peer", || both(only_the_peer)),
    ("udp-send-refused", || both(send_refused)),
    ("udp-nobody-there", || both(nobody_there)),
];

fn bind_addresses(family: Family) {
    for ip in [loopback(family), unspecified(family)] {
        let (_socket, address) = bound_udp(ip, family);
        assert_ne!(port(address), 0);
        assert_eq!(words(address), words(at(ip, port(address))));
        assert_eq!(error(bind_udp(&udp(family), address)), Some(ErrorCode::AddressInUse));
        drop(_socket);
        bind_udp(&udp(family), address).unwrap();
    }
    let told = |ip| error(bind_udp(&udp(family), at(ip, 0)));
    assert_eq!(told(nobodys(family)), Some(ErrorCode::AddressNotBindable));
    assert_eq!(told(loopback(other(family))), INVALID);
    if family == Family::Ipv6 {
        assert_eq!(told(MAPPED), INVALID);
    }
}

fn unbound(family: Family) {
    let socket = udp(family);
    assert_eq!(error(socket.finish_bind()), Some(ErrorCode::NotInProgress));
    assert_eq!(error(socket.stream(None)), WRONG);
    assert_eq!(error(socket.stream(Some(at(loopback(family), 47)))), WRONG, "it is bound first");
    assert_eq!(error(socket.local_address()), WRONG);
    assert_eq!(error(socket.remote_address()), WRONG);
    assert_eq!(socket.address_family(), family);
}

fn bound(family: Family) {
    let (network, address) = (instance_network(), at(loopback(family), 0));
    let socket = udp(family);
    socket.start_bind(&network, address).unwrap();
    assert_eq!(error(socket.start_bind(&network, address)), Some(ErrorCode::ConcurrencyConflict));
    assert_eq!(error(socket.stream(None)), WRONG);
    socket.finish_bind().unwrap();
    assert!(socket.subscribe().ready());
    for peer in [None, Some(at(loopback(family), 54321))] {
        if peer.is_some() {
            drop(socket.stream(peer).unwrap());
        }
        assert_eq!(error(socket.start_bind(&network, address)), WRONG);
        assert_eq!(error(socket.finish_bind()), Some(ErrorCode::NotInProgress));
        socket.local_address().unwrap();
        assert_eq!(socket.remote_address().ok().map(words), peer.map(words));
        assert_eq!(socket.remote_address().is_err(), peer.is_none());
    }
}

fn options(family: Family) {
    let socket = udp(family);
    assert!(socket.unicast_hop_limit().unwrap() > 0);
    assert!(socket.receive_buffer_size().unwrap() > 0 && socket.send_buffer_size().unwrap() > 0);
    assert_eq!(error(socket.set_unicast_hop_limit(0)), INVALID);
    for hops in [1, 42, u8::MAX] {
        socket.set_unicast_hop_limit(hops).unwrap();
        assert_eq!(socket.unicast_hop_limit().unwrap(), hops);
    }
    assert_eq!(error(socket.set_receive_buffer_size(0)), INVALID);
    assert_eq!(error(socket.set_send_buffer_size(0)), INVALID);
    socket.set_receive_buffer_size(u64::MAX).unwrap();
    socket.set_send_buffer_size(u64::MAX).unwrap();
    for bytes in [1, 0x10000] {
        socket.set_receive_buffer_size(bytes).unwrap();
        socket.set_send_buffer_size(bytes).unwrap();
        assert_eq!((socket.receive_buffer_size().unwrap(), socket.send_buffer_size().unwrap()), (bytes, bytes));
    }
}

fn connect_refused(family: Family) {
    let (socket, _) = bound_udp(unspecified(family), family);
    let told = |address| error(socket.stream(Some(address)));
    assert_eq!(told(at(unspecified(family), 47)), INVALID);
    assert_eq!(told(at(loopback(family), 0)), INVALID);
    assert_eq!(told(at(loopback(other(family)), 47)), INVALID);
    if family == Family::Ipv6 {
        assert_eq!(told(at(MAPPED, 47)), INVALID);
    }
    assert_eq!(error(socket.remote_address()), WRONG);
}

fn reconnect(family: Family) {
    let (socket, _) = bound_udp(unspecified(family), family);
    let (one, two) = (at(loopback(family), 4321), at(loopback(family), 4320));
    for peer in [None, None, Some(one), Some(one), Some(two), None, Some(one), None] {
        let (incoming, _outgoing) = socket.stream(peer).unwrap();
        assert_eq!(socket.remote_address().ok().map(words), peer.map(words));
        assert!(incoming.receive(1).unwrap().is_empty());
        socket.local_address().unwrap();
    }
}

fn datagrams(family: Family) {
    let (server, address) = bound_udp(loopback(family), family);
    let (incoming, _) = server.stream(None).unwrap();
    assert!(!incoming.subscribe().ready());
    assert!(incoming.receive(0).unwrap().is_empty());
    let of_client = {
        let (client, _) = bound_udp(unspecified(family), family);
        let (_, outgoing) = client.stream(Some(address)).unwrap();
        assert_eq!(send(&outgoing, &[]).unwrap(), 0);
        assert_eq!(send(&outgoing, &[datagram(b"", None), datagram(b"hello", Some(address))]).unwrap(), 2);
        client.local_address().unwrap()
    };
    let received = receive(&incoming, 2);
    assert_eq!(received.iter().map(|datagram| &datagram.data[..]).collect::<Vec<_>>(), [&b""[..], b"hello"]);
    assert!(received.iter().all(|datagram| words(datagram.remote_address) == words(of_client)));
    let (client, _) = bound_udp(unspecified(family), family);
    let (_, outgoing) = client.stream(None).unwrap();
    assert_eq!(send(&outgoing, &[datagram(b"unconnected", Some(address))]).unwrap(), 1);
    assert_eq!(receive(&incoming, 1)[0].data, b"unconnected");
    drop(outgoing);
    if family == Family::Ipv4 {
        // It has for its peer the address from which that hears it, whatever it calls the peer.
        let again = at(IpAddress::Ipv4((127, 0, 0, 2)), port(address));
        let (_, outgoing) = client.stream(Some(again)).unwrap();
        assert_eq!(send(&outgoing, &[datagram(b"again", None)]).unwrap(), 1);
        assert_eq!(words(receive(&incoming, 1)[0].remote_address), words(client.local_address().unwrap()));
    }
    let (_, outgoing) = client.stream(None).unwrap();
    // As many as are permitted at once, all of which come, and one after the other as they are asked for.
    let permitted = outgoing.check_send().unwrap();
    let many: Vec<_> = (0..permitted).map(|number| datagram(&[number as u8], Some(address))).collect();
    assert_eq!(outgoing.send(&many).unwrap(), permitted);
    for number in 0..permitted {
        let received = incoming.receive(1).unwrap();
        assert_eq!((received.len(), &received[0].data[..]), (1, &[number as u8][..]));
    }
}

/// What others sent before the socket was connected is not seen, nor what they send afterwards.
fn only_the_peer(family: Family) {
    let (server, address) = bound_udp(loopback(family), family);
    let (a, _) = bound_udp(loopback(family), family);
    let (b, of_b) = bound_udp(loopback(family), family);
    let (_, from_a) = a.stream(Some(address)).unwrap();
    let (_, from_b) = b.stream(Some(address)).unwrap();
    for (outgoing, word) in [(&from_a, b"a"), (&from_b, b"b"), (&from_a, b"a")] {
        send(outgoing, &[datagram(word, None)]).unwrap();
    }
    let (incoming, outgoing) = server.stream(Some(of_b)).unwrap();
    send(&from_a, &[datagram(b"a", None)]).unwrap();
    let received = receive(&incoming, 1);
    assert_eq!((received.len(), &received[0].data[..]), (1, &b"b"[..]));
    send(&outgoing, &[datagram(b"answer", None)]).unwrap();
    drop((from_a, from_b));
    assert_eq!(receive(&b.stream(None).unwrap().0, 1)[0].data, b"answer");
}

fn send_refused(family: Family) {
    let (socket, own) = bound_udp(loopback(family), family);
    let (incoming, outgoing) = socket.stream(None).unwrap();
    let told = |to| error(send(&outgoing, &[datagram(b"x", to)]));
    assert_eq!(told(None), INVALID, "to nobody");
    assert_eq!(told(Some(at(unspecified(family), 47))), INVALID);
    assert_eq!(told(Some(at(loopback(family), 0))), INVALID);
    assert_eq!(told(Some(at(loopback(other(family)), 47))), INVALID);
    let large = vec![0; 65_536];
    assert_eq!(error(send(&outgoing, &[datagram(&large, Some(own))])), Some(ErrorCode::DatagramTooLarge));
    // After the first that was sent nothing is an error.
    assert_eq!(send(&outgoing, &[datagram(b"x", Some(own)), datagram(b"y", None)]).unwrap(), 1);
    assert_eq!(receive(&incoming, 1).len(), 1);
    drop((incoming, outgoing));
    let (_, outgoing) = socket.stream(Some(own)).unwrap();
    let elsewhere = at(loopback(family), 47);
    assert_eq!(error(send(&outgoing, &[datagram(b"x", Some(elsewhere))])), INVALID, "it is connected to another");
}

fn nobody_there(family: Family) {
    let (socket, _) = bound_udp(loopback(family), family);
    let gone = bound_udp(loopback(family), family).1;
    let (incoming, outgoing) = socket.stream(Some(gone)).unwrap();
    assert_eq!(send(&outgoing, &[datagram(b"x", None)]).unwrap(), 1);
    wait(&incoming.subscribe());
    assert_eq!(error(incoming.receive(1)), Some(ErrorCode::ConnectionRefused));
    assert!(incoming.receive(1).unwrap().is_empty(), "it is told once");
}
