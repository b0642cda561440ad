//! Datagrams: clients of a guest's port, and servers that a guest asks.

use bytes::Bytes;
use refrain_wire::outward::FIRST_OUTWARD_SERIAL;
use refrain_wire::turn::Effect;
use refrain_wire::{EffectKind, Protocol, ProxyHeader, Serial, Target};
use tokio::net::UdpSocket;

use super::guest::effect;
use super::*;

const CALL: Serial = Serial(FIRST_OUTWARD_SERIAL.0 + 9);

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a free port")
}

fn asks(address: SocketAddr) -> Effect {
    let target = Target { protocol: Protocol::Udp, header: ProxyHeader::None, address };
    effect(EffectKind::Connect, CALL, 0, target.encode())
}

fn datagram(number: u64, bytes: &'static [u8]) -> Effect {
    effect(EffectKind::Datagram, CALL, number, Bytes::from_static(bytes))
}

impl Stage {
    fn listen_udp(&self, port: u16) -> SocketAddr {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        self.front_end.listen_udp(any, GROUP, port, &ListenOptions::default()).expect("loopback has a free port")
    }

    async fn udp_client(&self, port: u16) -> UdpSocket {
        let client = socket().await;
        client.connect(self.listen_udp(port)).await.expect("it has an address");
        client
    }

    async fn drops(&self, count: u64) {
        while self.front_end.stats().datagrams_dropped < count {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.front_end.stats().datagrams_dropped, count);
    }
}

async fn is_echoed(client: &UdpSocket, bytes: &[u8]) {
    client.send(bytes).await.expect("the system takes it");
    assert!(hears(client).await == bytes);
}

async fn hears(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let count = socket.recv(&mut buffer).await.expect("the socket is open");
    buffer.truncate(count);
    buffer
}

#[test]
fn datagrams_of_any_size_come_back_whole() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let client = stage.udp_client(port::ECHO).await;
        for size in [5, 0, 1, 1_500, 65_507] {
            is_echoed(&client, &some_bytes(size)).await;
        }
        let stats = stage.front_end.stats();
        assert_eq!((stats.datagrams_in, stats.datagrams_out, stats.datagrams_dropped), (5, 5, 0));
        assert_eq!((stats.connections, stats.accepted, stats.bytes_out), (1, 1, 67_013));
        stage.front_end.end_epoch();
    });
    let line = lines.of_access();
    for field in ["protocol=\"udp\"", "direction=\"in\"", "bytes_in=67013", "ending=\"epoch-ended\""] {
        assert!(line[0].contains(field), "{field} is not in {}", line[0]);
    }
}

#[test]
fn each_peer_has_an_association_and_gets_its_own_answers() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen_udp(port::ECHO);
        let clients = [socket().await, socket().await, socket().await];
        for client in &clients {
            client.connect(addr).await.expect("it has an address");
        }
        for round in 0..10 {
            for (number, client) in clients.iter().enumerate() {
                client.send(&[round, number as u8]).await.expect("the system takes it");
            }
            for (number, client) in clients.iter().enumerate() {
                assert_eq!(hears(client).await, [round, number as u8]);
            }
        }
        assert_eq!(stage.front_end.stats().connections, 3);
    });
}

#[test]
fn an_answer_leaves_by_the_socket_that_heard_the_question() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addresses = [stage.listen_udp(port::ECHO), stage.listen_udp(port::ECHO)];
        let client = socket().await;
        let mut buffer = [0; 10];
        for address in [addresses[0], addresses[1], addresses[0]] {
            client.send_to(b"?", address).await.expect("the system takes it");
            assert_eq!(client.recv_from(&mut buffer).await.expect("the socket is open"), (1, address));
        }
    });
}

#[test]
fn without_an_epoch_datagrams_are_dropped_and_counted() {
    on_loop(async {
        let stage = Stage::new(Limits::default());
        let client = stage.udp_client(port::ECHO).await;
        client.send(b"early").await.expect("the system takes it");
        stage.drops(1).await;
        stage.front_end.begin_epoch(EPOCH, Position(1));
        is_echoed(&client, b"served").await;
        stage.front_end.end_epoch();
        client.send(b"late").await.expect("the system takes it");
        stage.drops(2).await;
        assert_eq!(stage.front_end.stats().connections, 0);
    });
}

#[test]
fn a_peer_that_is_gone_ends_nobody() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen_udp(port::ECHO);
        for _ in 0..5 {
            let gone = socket().await;
            gone.send_to(b"and gone", addr).await.expect("the system takes it");
            drop(gone);
        }
        while stage.front_end.stats().datagrams_out + stage.front_end.stats().datagrams_dropped < 5 {
            tokio::task::yield_now().await;
        }
        let client = socket().await;
        client.connect(addr).await.expect("it has an address");
        is_echoed(&client, b"still here").await;
    });
}

#[test]
fn an_idle_association_ends_by_a_record_and_its_peer_makes_another() {
    on_loop(async {
        let stage = Stage::begun(Limits { idle: Duration::from_millis(40), ..Limits::default() });
        let client = stage.udp_client(port::ECHO).await;
        is_echoed(&client, b"x").await;
        let idle = |record: &Record| matches!(record, Record::Reset { reason: ResetReason::Idle, .. });
        stage.guest.has_ordered(idle).await;
        stage.is_empty().await;
        is_echoed(&client, b"y").await;
        assert_eq!(stage.front_end.stats().accepted, 2);
    });
}

#[test]
fn a_client_over_its_limit_is_not_heard_and_the_others_are() {
    on_loop(async {
        let stage = Stage::begun(Limits { connections_per_client: 1, ..Limits::default() });
        let addr = stage.listen_udp(port::ECHO);
        let (first, second) = (socket().await, socket().await);
        for client in [&first, &second] {
            client.connect(addr).await.expect("it has an address");
        }
        is_echoed(&first, b"x").await;
        second.send(b"too many").await.expect("the system takes it");
        stage.drops(1).await;
        is_echoed(&first, b"y").await;
    });
}

#[test]
fn a_flood_is_dropped_and_counted_and_streams_go_on() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let client = stage.udp_client(port::SINK).await;
        let mut stream = stage.client(port::ECHO).await;
        stage.guest.stopped.set(true);
        let large = some_bytes(60_000);
        while stage.front_end.stats().datagrams_dropped < 100 {
            client.send(&large).await.expect("the system takes it");
            tokio::task::yield_now().await;
            assert!(stage.front_end.stats().pending_bytes <= refrain_proxy::nat::MAX_PENDING_BYTES);
        }
        stage.guest.go_on();
        echoes(&mut stream, b"still served").await;
    });
}

#[test]
fn what_a_guest_sends_in_one_turn_leaves_in_order_and_whole() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let server = socket().await;
        // All of them may be there before the first is read.
        socket2::SockRef::from(&server).set_recv_buffer_size(1 << 20).expect("a buffer of a megabyte");
        let many = 300;
        let number = |n: u64| effect(EffectKind::Datagram, CALL, n, Bytes::copy_from_slice(&n.to_le_bytes()));
        let effects = std::iter::once(asks(server.local_addr().expect("it is bound")));
        stage.guest.turn(effects.chain((0..many).map(number)).collect());
        for n in 0..many {
            assert_eq!(hears(&server).await, n.to_le_bytes());
        }
        assert_eq!(stage.front_end.stats().datagrams_dropped, 0);
    });
}

#[test]
fn a_guest_asks_a_server_and_hears_it_alone() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let (server, stranger) = (socket().await, socket().await);
        let address = server.local_addr().expect("it is bound");
        stage.guest.turn(vec![asks(address), datagram(0, b"query"), datagram(1, b"")]);
        let mut buffer = [0; 100];
        let (count, proxy) = server.recv_from(&mut buffer).await.expect("the socket is open");
        assert_eq!(&buffer[..count], b"query");
        assert_eq!(server.recv_from(&mut buffer).await.expect("the socket is open"), (0, proxy));
        stranger.send_to(b"forged", proxy).await.expect("the system takes it");
        server.send_to(b"answer", proxy).await.expect("the system takes it");
        let answer = Record::Datagram { serial: CALL, port: 0, peer: address, bytes: Bytes::from_static(b"answer") };
        stage.guest.has_ordered(|record| *record == answer).await;
        let ordered = stage.guest.ordered.borrow();
        assert_eq!(ordered.iter().filter(|record| matches!(record, Record::Datagram { .. })).count(), 1);
        let stats = stage.front_end.stats();
        assert_eq!((stats.outward, stats.datagrams_in, stats.datagrams_out), (1, 1, 2));
        stage.guest.turn(vec![effect(EffectKind::Reset, CALL, 0, Bytes::new())]);
        assert_eq!(stage.front_end.stats().outward, 0);
    });
    let line = lines.of_access();
    for field in ["protocol=\"udp\"", "direction=\"out\"", "bytes_out=5", "bytes_in=6", "ending=\"guest-reset\""] {
        assert!(line[0].contains(field), "{field} is not in {}", line[0]);
    }
}

#[test]
fn a_server_that_does_not_listen_is_asked_again() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let server = socket().await;
        let address = server.local_addr().expect("it is bound");
        drop(server);
        stage.guest.turn(vec![asks(address), datagram(0, b"nobody hears it")]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let server = UdpSocket::bind(address).await.expect("the port is still free");
        let mut number = 1;
        let mut buffer = [0; 100];
        loop {
            stage.guest.turn(vec![datagram(number, b"again")]);
            number += 1;
            if timeout(Duration::from_millis(50), server.recv(&mut buffer)).await.is_ok() {
                break;
            }
        }
        assert_eq!(&buffer[..5], b"again");
    });
}

#[test]
fn datagrams_do_not_go_outward_without_a_lease() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let server = socket().await;
        let address = server.local_addr().expect("it is bound");
        stage.guest.stays_inside.set(true);
        stage.guest.turn(vec![asks(address), datagram(0, b"too late")]);
        stage.drops(1).await;
        let client = stage.udp_client(port::ECHO).await;
        is_echoed(&client, b"an answer is not outward").await;
        stage.guest.stays_inside.set(false);
        stage.guest.turn(vec![datagram(1, b"now")]);
        assert_eq!(hears(&server).await, b"now");
    });
}

#[test]
fn a_gap_ends_an_association_by_a_record() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        stage.guest.expects_gaps.set(true);
        let server = socket().await;
        let address = server.local_addr().expect("it is bound");
        stage.guest.turn(vec![asks(address), datagram(0, b"a"), datagram(2, b"c")]);
        stage.guest.has_ordered(|record| matches!(record, Record::Reset { serial: CALL, .. })).await;
        assert_eq!(hears(&server).await, b"a");
        assert_eq!(stage.front_end.stats().outward, 0);
    });
}

#[test]
fn a_drain_ends_associations_by_record_without_waiting_for_them() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let client = stage.udp_client(port::ECHO).await;
        is_echoed(&client, b"x").await;
        let drained = stage.front_end.drain(Duration::from_secs(50)).await;
        assert!(drained.committed && drained.reset == 1);
        let drain = |record: &Record| matches!(record, Record::Reset { reason: ResetReason::Drain, .. });
        stage.guest.has_ordered(drain).await;
        assert_eq!(stage.front_end.stats().connections, 0);
    });
}

#[test]
fn a_halt_ends_associations() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let client = stage.udp_client(port::ECHO).await;
        is_echoed(&client, b"x").await;
        stage.front_end.halt(GROUP, Position(500));
        assert_eq!(stage.front_end.stats().connections, 0);
        client.send(b"nobody takes it").await.expect("the system takes it");
        stage.drops(1).await;
    });
}
