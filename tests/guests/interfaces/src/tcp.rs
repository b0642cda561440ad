//! `wasi:sockets/tcp`: binding, listening, connecting, and what each call says in each state.

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::tcp::{ShutdownType, TcpSocket};

use crate::addresses::*;
use crate::{Check, both};

const SECOND: u64 = 1_000_000_000;

pub const CHECKS: &[Check] = &[
    ("tcp-bind", || both(bind_addresses)),
    ("tcp-bind-again", || both(bind_again)),
    ("tcp-bind-refused", || both(bind_refused)),
    ("tcp-connect-refused", || both(connect_refused)),
    ("tcp-connect-bound", || both(connect_bound)),
    ("tcp-nobody-listens", || both(nobody_listens)),
    ("tcp-unbound", || both(unbound)),
    ("tcp-binding", || both(binding)),
    ("tcp-bound", || both(bound)),
    ("tcp-listening", || both(listening)),
    ("tcp-connected", || both(connected)),
    ("tcp-echo", || both(echo)),
    ("tcp-busy-poll", || both(busy_poll)),
    ("tcp-backlog", || both(backlog)),
];

fn bind_addresses(family: Family) {
    for ip in [loopback(family), unspecified(family)] {
        let socket = tcp(family);
        bind(&socket, at(ip, 0)).unwrap();
        let chosen = port(socket.local_address().unwrap());
        assert_ne!(chosen, 0);
        assert_eq!(words(socket.local_address().unwrap()), words(at(ip, chosen)));
        drop(socket);
        let socket = tcp(family);
        bind(&socket, at(ip, chosen)).unwrap();
        assert_eq!(words(socket.local_address().unwrap()), words(at(ip, chosen)));
    }
}

/// A port is free again when its listener is gone, whoever is still connected.
fn bind_again(family: Family) {
    let client = tcp(family);
    let address = {
        let (listener, address) = listener(family);
        let _streams = connect(&client, address).unwrap();
        let other = tcp(family);
        assert_eq!(error(bind(&other, address)), Some(ErrorCode::AddressInUse));
        accept(&listener).output.blocking_write_zeroes_and_flush(10).unwrap();
        address
    };
    let again = tcp(family);
    bind(&again, address).unwrap();
    listen(&again).unwrap();
}

fn bind_refused(family: Family) {
    let told = |ip| error(bind(&tcp(family), at(ip, 0)));
    assert_eq!(told(nobodys(family)), Some(ErrorCode::AddressNotBindable));
    assert_eq!(told(loopback(other(family))), Some(ErrorCode::InvalidArgument));
    let none: &[IpAddress] = match family {
        Family::Ipv4 => &[BROADCAST, MULTICAST_V4],
        Family::Ipv6 => &[MULTICAST_V6, MAPPED, COMPATIBLE],
    };
    for ip in none {
        assert_eq!(told(*ip), Some(ErrorCode::InvalidArgument));
    }
    let socket = tcp(family);
    assert_eq!(error(bind(&socket, at(loopback(other(family)), 0))), Some(ErrorCode::InvalidArgument));
    bind(&socket, at(loopback(family), 0)).unwrap();
}

fn connect_refused(family: Family) {
    let told = |address| error(connect(&tcp(family), address));
    let invalid = Some(ErrorCode::InvalidArgument);
    assert_eq!(told(at(unspecified(family), 47)), invalid);
    assert_eq!(told(at(loopback(family), 0)), invalid);
    assert_eq!(told(at(loopback(other(family)), 47)), invalid);
    match family {
        Family::Ipv4 => {
            assert_eq!(told(at(BROADCAST, 47)), invalid);
            assert_eq!(told(at(MULTICAST_V4, 47)), invalid);
        }
        Family::Ipv6 => {
            let (_listener, address) = listener(Family::Ipv4);
            assert_eq!(told(at(MULTICAST_V6, 47)), invalid);
            assert_eq!(told(at(MAPPED, port(address))), invalid);
            assert_eq!(told(address), invalid);
        }
    }
    // What was refused for its address alone can be connected elsewhere.
    let (_listener, address) = listener(family);
    let socket = tcp(family);
    assert_eq!(error(connect(&socket, at(loopback(family), 0))), invalid);
    connect(&socket, address).unwrap();
}

fn connect_bound(family: Family) {
    let (_listener, address) = listener(family);
    let client = tcp(family);
    bind(&client, at(loopback(family), 0)).unwrap();
    let own = client.local_address().unwrap();
    connect(&client, address).unwrap();
    assert_eq!(words(client.local_address().unwrap()), words(own));
    assert_eq!(words(client.remote_address().unwrap()), words(address));
}

fn nobody_listens(family: Family) {
    let address = listener(family).1;
    let socket = tcp(family);
    assert_eq!(error(connect(&socket, address)), Some(ErrorCode::ConnectionRefused));
    assert_eq!(error(socket.finish_connect()), Some(ErrorCode::NotInProgress));
    assert_eq!(error(socket.remote_address()), Some(ErrorCode::InvalidState));
}

/// What may be asked and set in every state but while it connects.
fn options_work(socket: &TcpSocket, family: Family) {
    assert_eq!(socket.address_family(), family);
    socket.keep_alive_enabled().unwrap();
    socket.set_keep_alive_enabled(false).unwrap();
    socket.keep_alive_idle_time().unwrap();
    socket.set_keep_alive_idle_time(SECOND).unwrap();
    socket.keep_alive_interval().unwrap();
    socket.set_keep_alive_interval(SECOND).unwrap();
    socket.keep_alive_count().unwrap();
    socket.set_keep_alive_count(1).unwrap();
    socket.hop_limit().unwrap();
    socket.set_hop_limit(255).unwrap();
    socket.receive_buffer_size().unwrap();
    socket.set_receive_buffer_size(16_000).unwrap();
    socket.send_buffer_size().unwrap();
    socket.set_send_buffer_size(16_000).unwrap();
}

/// Nothing that was begun is to be ended.
fn nothing_in_progress(socket: &TcpSocket) {
    let none = Some(ErrorCode::NotInProgress);
    assert_eq!([error(socket.finish_bind()), error(socket.finish_listen())], [none; 2]);
    assert_eq!(error(socket.finish_connect()), none);
}

const WRONG: Option<ErrorCode> = Some(ErrorCode::InvalidState);

fn unbound(family: Family) {
    let socket = tcp(family);
    nothing_in_progress(&socket);
    assert_eq!(error(socket.start_listen()), WRONG, "it is bound to nothing");
    assert_eq!(error(socket.accept()), WRONG);
    assert_eq!(error(socket.shutdown(ShutdownType::Both)), WRONG);
    assert_eq!(error(socket.local_address()), WRONG);
    assert_eq!(error(socket.remote_address()), WRONG);
    assert!(!socket.is_listening());
    socket.set_listen_backlog_size(32).unwrap();
    options_work(&socket, family);
}

/// Between `start-` and `finish-` nothing else begins.
fn binding(family: Family) {
    let (network, address, busy) = (instance_network(), at(loopback(family), 0), Some(ErrorCode::ConcurrencyConflict));
    let socket = tcp(family);
    socket.start_bind(&network, address).unwrap();
    assert_eq!(error(socket.start_bind(&network, address)), busy);
    assert_eq!(error(socket.start_listen()), busy);
    assert_eq!(error(socket.start_connect(&network, at(loopback(family), 47))), busy);
    assert_eq!(error(socket.accept()), WRONG);
    assert_eq!(error(socket.shutdown(ShutdownType::Both)), WRONG);
    options_work(&socket, family);
    socket.finish_bind().unwrap();
    socket.start_listen().unwrap();
    assert_eq!(error(socket.start_listen()), busy);
    assert_eq!(error(socket.finish_bind()), Some(ErrorCode::NotInProgress));
    assert!(!socket.is_listening());
    socket.finish_listen().unwrap();
    assert!(socket.is_listening());
}

fn bound(family: Family) {
    let (socket, address) = (tcp(family), at(loopback(family), 0));
    bind(&socket, address).unwrap();
    assert_eq!(error(socket.start_bind(&instance_network(), address)), WRONG);
    nothing_in_progress(&socket);
    assert_eq!(error(socket.accept()), WRONG);
    assert_eq!(error(socket.shutdown(ShutdownType::Both)), WRONG);
    socket.local_address().unwrap();
    assert_eq!(error(socket.remote_address()), WRONG);
    assert!(!socket.is_listening());
    socket.set_listen_backlog_size(32).unwrap();
    options_work(&socket, family);
}

fn listening(family: Family) {
    let (socket, address) = listener(family);
    let network = instance_network();
    assert_eq!(error(socket.start_bind(&network, address)), WRONG);
    assert_eq!(error(socket.start_connect(&network, address)), WRONG);
    assert_eq!(error(socket.start_listen()), WRONG);
    nothing_in_progress(&socket);
    assert_eq!(error(socket.accept()), Some(ErrorCode::WouldBlock), "nobody came");
    assert!(!socket.subscribe().ready());
    assert_eq!(error(socket.shutdown(ShutdownType::Both)), WRONG);
    socket.local_address().unwrap();
    assert_eq!(error(socket.remote_address()), WRONG);
    assert!(socket.is_listening());
    socket.set_listen_backlog_size(32).unwrap();
    options_work(&socket, family);
}

fn connected(family: Family) {
    let (_server, client) = pair(family);
    let (socket, network) = (client.socket, instance_network());
    let peer = socket.remote_address().unwrap();
    assert_eq!(error(socket.start_bind(&network, at(loopback(family), 0))), WRONG);
    assert_eq!(error(socket.start_connect(&network, peer)), WRONG);
    assert_eq!(error(socket.start_listen()), WRONG);
    nothing_in_progress(&socket);
    assert_eq!(error(socket.accept()), WRONG);
    assert_eq!(error(socket.set_listen_backlog_size(1)), WRONG);
    socket.local_address().unwrap();
    assert!(!socket.is_listening());
    options_work(&socket, family);
    for how in [ShutdownType::Receive, ShutdownType::Send, ShutdownType::Both, ShutdownType::Both] {
        socket.shutdown(how).unwrap();
    }
}

/// A client that is gone before anybody accepts it has said what it said.
fn echo(family: Family) {
    let (listener, address) = listener(family);
    for message in [&b"one"[..], b"and another"] {
        {
            let client = tcp(family);
            let (_input, output) = connect(&client, address).unwrap();
            write_all(&output, b"");
            write_all(&output, message);
        }
        let accepted = accept(&listener);
        assert_eq!(accepted.input.read(0).unwrap(), b"");
        assert_eq!(accepted.input.blocking_read(message.len() as u64).unwrap(), message);
        assert_eq!(words(accepted.socket.local_address().unwrap()), words(address));
    }
}

/// What comes is seen by a program that never really waits.
fn busy_poll(family: Family) {
    let (server, client) = pair(family);
    let ready = server.input.subscribe();
    for round in 0..100 {
        write_all(&client.output, &[round]);
        let mut polls = 0;
        loop {
            let now = wasip2::clocks::monotonic_clock::subscribe_duration(0);
            if wasip2::io::poll::poll(&[&now, &ready]).contains(&1) {
                break;
            }
            polls += 1;
            assert!(polls < 1_000_000, "nothing came");
        }
        assert_eq!(server.input.read(10).unwrap(), [round]);
    }
}

fn backlog(family: Family) {
    let socket = tcp(family);
    bind(&socket, at(loopback(family), 0)).unwrap();
    socket.set_listen_backlog_size(2).unwrap();
    listen(&socket).unwrap();
    let address = socket.local_address().unwrap();
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let client = tcp(family);
            let streams = connect(&client, address).unwrap();
            (streams, client)
        })
        .collect();
    assert_eq!(error(connect(&tcp(family), address)), Some(ErrorCode::ConnectionRefused));
    assert!(socket.subscribe().ready());
    accept(&socket);
    connect(&tcp(family), address).unwrap();
    drop(clients);
}
