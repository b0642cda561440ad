//! Guests call servers: refused, hanging, closing, resetting, endless, deaf; and look names up.

use std::net::TcpStream as BlockingStream;

use bytes::Bytes;
use refrain_proxy::nat::MAX_PENDING_BYTES;
use refrain_proxy::tcp::Failures;
use refrain_wire::outward::FIRST_OUTWARD_SERIAL;
use refrain_wire::{CallFailure, EffectKind, Protocol, ProxyHeader, Serial, Target};
use tokio::net::TcpListener;

use super::guest::effect;
use super::*;

const CALL: Serial = Serial(FIRST_OUTWARD_SERIAL.0 + 5);

fn target(address: SocketAddr) -> Target {
    Target { protocol: Protocol::Tcp, header: ProxyHeader::None, address }
}

async fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let addr = listener.local_addr().expect("it is bound");
    (listener, addr)
}

impl Stage {
    fn calls(&self, target: Target) {
        self.guest.turn(vec![effect(EffectKind::Connect, CALL, 0, target.encode())]);
    }

    fn looks_up(&self, name: &'static str) {
        self.guest.turn(vec![effect(EffectKind::Resolve, CALL, 0, Bytes::from_static(name.as_bytes()))]);
    }

    fn gives_up(&self) {
        self.guest.turn(vec![effect(EffectKind::Reset, CALL, 0, Bytes::new())]);
    }

    async fn fails(&self, failure: CallFailure) {
        self.guest.has_ordered(|record| *record == Record::Failed { serial: CALL, failure }).await;
        self.is_empty().await;
        let failures: Failures = self.front_end.stats().failures;
        assert_eq!((failures.of(failure), failures.total()), (1, 1));
    }

    /// The guest calls a server, and is connected.
    async fn connected(&self, role: u16) -> TcpStream {
        let (listener, addr) = server().await;
        self.guest.role.set(role);
        self.calls(target(addr));
        let (server, proxy) = listener.accept().await.expect("the proxy connects");
        let connected = Record::Connected { serial: CALL, local: proxy };
        self.guest.has_ordered(|record| *record == connected).await;
        server
    }
}

#[test]
fn a_guest_talks_to_a_server_and_what_it_sends_comes_back_byte_for_byte() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut server = stage.connected(port::ECHO).await;
        echoes(&mut server, b"hello").await;
        echoes(&mut server, &some_bytes(3_000_000)).await;
        let stats = stage.front_end.stats();
        assert_eq!((stats.connections, stats.outward, stats.calls, stats.accepted), (1, 1, 1, 0));
        assert_eq!(stage.front_end.connections_of(GROUP), 0, "no client's");
        server.shutdown().await.expect("the write side is open");
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.expect("the guest finishes too");
        stage.is_empty().await;
    });
    let line = lines.of_access();
    assert_eq!(line.len(), 1, "{line:?}");
    for field in ["flow=2.4026531845", "direction=\"out\"", "protocol=\"tcp\"", "bytes_in=3000005", "ending=\"done\""] {
        assert!(line[0].contains(field), "{field} is not in {}", line[0]);
    }
}

#[test]
fn a_server_that_never_ends_is_given_up_once_the_guest_has_finished() {
    on_loop(async {
        let stage = Stage::begun(Limits { idle: Duration::from_millis(40), ..Limits::default() });
        let mut server = stage.connected(port::ECHO).await;
        // A client that came later has been idle for too long.
        let mut client = stage.client(port::ECHO).await;
        is_reset(&mut client).await;
        echoes(&mut server, b"the guest has not finished").await;
        stage.guest.turn(vec![effect(EffectKind::Finish, CALL, 26, Bytes::new())]);
        let reset = Record::Reset { serial: CALL, reason: ResetReason::Idle };
        stage.guest.has_ordered(|record| *record == reset).await;
        stage.is_empty().await;
    });
}

#[test]
fn a_server_that_refuses_fails_the_call() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let (listener, addr) = server().await;
        drop(listener);
        stage.calls(target(addr));
        stage.fails(CallFailure::Refused).await;
    });
    let line = lines.of_access();
    assert!(line[0].contains("ending=\"failed\"") && line[0].contains("failure=connection refused"), "{line:?}");
}

/// Where connecting gets no answer: a listener whose backlog is full.
fn deaf_listener() -> (socket2::Socket, Vec<BlockingStream>, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("loopback has a free port");
    socket.listen(0).expect("it is bound");
    let addr = socket.local_addr().expect("it is bound").as_socket().expect("an IP address");
    let mut filling = Vec::new();
    while let Ok(stream) = BlockingStream::connect_timeout(&addr, Duration::from_millis(100)) {
        filling.push(stream);
    }
    (socket, filling, addr)
}

#[test]
fn a_server_that_does_not_answer_fails_the_call_after_its_time() {
    on_loop(async {
        let stage = Stage::begun(Limits { connect_time: Duration::from_millis(50), ..Limits::default() });
        let (_socket, _filling, addr) = deaf_listener();
        stage.calls(target(addr));
        stage.fails(CallFailure::TimedOut).await;
    });
}

#[test]
fn a_call_that_the_guest_gives_up_is_not_answered() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let (_socket, _filling, addr) = deaf_listener();
        stage.calls(target(addr));
        tokio::task::yield_now().await;
        assert_eq!(stage.front_end.stats().outward, 1);
        stage.gives_up();
        assert_eq!(stage.front_end.stats().outward, 0);
        let mut client = stage.client(port::ECHO).await;
        echoes(&mut client, b"others go on").await;
        assert!(!stage.guest.ordered.borrow().iter().any(|record| matches!(record, Record::Failed { .. })));
    });
}

#[test]
fn a_server_that_closes_at_once_is_a_connection_and_its_end() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        drop(stage.connected(port::TAKE).await);
        stage.guest.has_ordered(|record| *record == Record::Shutdown(CALL)).await;
        stage.is_empty().await;
    });
}

#[test]
fn a_servers_reset_is_told_as_a_reset() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let server = stage.connected(port::TAKE).await;
        server.set_zero_linger().expect("the socket is open");
        drop(server);
        let reset = Record::Reset { serial: CALL, reason: ResetReason::Client };
        stage.guest.has_ordered(|record| *record == reset).await;
        stage.is_empty().await;
    });
}

#[test]
fn a_server_that_half_closes_still_gets_its_answer() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut server = stage.connected(port::ECHO).await;
        server.write_all(b"last words").await.expect("the proxy takes it");
        server.shutdown().await.expect("the write side is open");
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await.expect("it ends, it is not reset");
        assert_eq!(answer, b"last words");
        stage.is_empty().await;
    });
}

#[test]
fn a_guest_that_resets_its_call_resets_the_server() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut server = stage.connected(port::TAKE).await;
        stage.gives_up();
        is_reset(&mut server).await;
        stage.is_empty().await;
    });
}

#[test]
fn sixty_four_megabytes_of_a_server_flow_through_the_window() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        stage.guest.forgets_data.set(true);
        let mut server = stage.connected(port::TAKE).await;
        let piece = some_bytes(1 << 20);
        for _ in 0..64 {
            server.write_all(&piece).await.expect("the proxy takes it");
            let stats = stage.front_end.stats();
            assert!(stats.pending_bytes <= MAX_PENDING_BYTES && stats.queued_bytes == 0);
        }
        drop(server);
        stage.guest.has_ordered(|record| *record == Record::Shutdown(CALL)).await;
        assert_eq!(stage.front_end.stats().bytes_in, 64 << 20);
    });
}

#[test]
fn a_guest_that_takes_nothing_stops_the_reading_of_a_server_at_its_window() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut server = stage.connected(port::SINK).await;
        let mut client = stage.client(port::ECHO).await;
        let endless = vec![7; 16 << 20];
        let watching = async {
            while stage.front_end.stats().bytes_in < WINDOW {
                tokio::task::yield_now().await;
            }
            for _ in 0..100 {
                echoes(&mut client, b"ping").await;
            }
            assert_eq!(stage.front_end.stats().bytes_in, WINDOW + 400);
        };
        tokio::select! {
            _ = server.write_all(&endless) => panic!("no socket buffer holds that much"),
            () = watching => {}
        }
    });
}

#[test]
fn a_server_that_never_reads_costs_its_window_and_delays_nobody() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut server = stage.connected(port::FLOOD).await;
        let mut client = stage.client(port::ECHO).await;
        while stage.front_end.stats().queued_bytes == 0 {
            echoes(&mut client, b"tick").await;
        }
        for _ in 0..100 {
            echoes(&mut client, b"still here").await;
            assert!(stage.front_end.stats().queued_bytes as u64 <= WINDOW);
        }
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.expect("it ends, it is not reset");
        assert!(got.len() as u64 == FLOOD_BYTES && got.iter().zip(0..).all(|(byte, at)| *byte == flood_byte(at)));
    });
}

#[test]
fn a_call_waits_while_the_lease_has_no_time_left_and_is_made_once() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let (listener, addr) = server().await;
        stage.guest.stays_inside.set(true);
        stage.guest.role.set(port::TAKE);
        stage.calls(target(addr));
        let waited = timeout(Duration::from_millis(60), listener.accept()).await;
        assert!(waited.is_err(), "the lease has no time left");
        stage.guest.stays_inside.set(false);
        let _server = listener.accept().await.expect("it is made now");
        stage.guest.has_ordered(|record| matches!(record, Record::Connected { .. })).await;
        stage.calls(target(addr));
        assert!(timeout(Duration::from_millis(60), listener.accept()).await.is_err(), "the call is known");
    });
}

#[test]
fn the_end_of_an_epoch_gives_up_calls_and_resets_those_that_are_connected() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut server = stage.connected(port::ECHO).await;
        let (listener, addr) = super::outward::server().await;
        stage.guest.stays_inside.set(true);
        let another = Serial(CALL.0 + 1);
        stage.guest.turn(vec![
            effect(EffectKind::Connect, another, 0, target(addr).encode()),
            effect(EffectKind::Resolve, Serial(CALL.0 + 2), 0, Bytes::from_static(b"localhost")),
        ]);
        tokio::task::yield_now().await;
        stage.front_end.begin_epoch(Epoch(EPOCH.0 + 1), Position(1_000));
        stage.guest.stays_inside.set(false);
        is_reset(&mut server).await;
        assert!(timeout(Duration::from_millis(60), listener.accept()).await.is_err(), "its owner is no more");
        assert_eq!(stage.front_end.stats().connections, 0);
    });
    let ended = lines.of_access().into_iter().filter(|line| line.contains("ending=\"epoch-ended\""));
    assert_eq!(ended.count(), 2);
}

#[test]
fn a_halt_resets_servers_and_gives_up_calls() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut server = stage.connected(port::ECHO).await;
        stage.front_end.halt(GROUP, Position(500));
        is_reset(&mut server).await;
        stage.is_empty().await;
    });
}

#[test]
fn a_drain_does_not_wait_for_calls_and_resets_them_by_record() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let mut server = stage.connected(port::ECHO).await;
        let drained = stage.front_end.drain(Duration::from_secs(50)).await;
        assert!(drained.committed && drained.reset == 1);
        is_reset(&mut server).await;
        let reset = Record::Reset { serial: CALL, reason: ResetReason::Drain };
        stage.guest.has_ordered(|record| *record == reset).await;
    });
}

#[test]
fn a_server_is_told_whose_connection_it_is_before_anything_else() {
    on_loop(async {
        for header in [ProxyHeader::V1, ProxyHeader::V2] {
            let stage = Stage::begun(Limits::default());
            let (listener, address) = server().await;
            stage.guest.role.set(port::GREET);
            stage.calls(Target { header, ..target(address) });
            let (mut server, proxy) = listener.accept().await.expect("the proxy connects");
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.expect("the guest finishes");
            let mut expected = refrain_proxy::proxy_protocol::encode(header, Some(proxy), address);
            assert!(!expected.is_empty());
            expected.extend_from_slice(b"goodbye");
            assert_eq!(got, expected);
            assert_eq!(stage.front_end.stats().bytes_out, 7, "the header is not counted");
        }
    });
}

#[test]
fn a_name_is_looked_up_and_one_that_cannot_be_is_not_found() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        stage.looks_up("localhost");
        let is_loopback = |record: &Record| match record {
            Record::Resolved { serial: CALL, addresses } => addresses.iter().all(|address| address.is_loopback()),
            _ => false,
        };
        stage.guest.has_ordered(is_loopback).await;
        stage.looks_up("no\0name");
        stage.fails(CallFailure::NotFound).await;
        assert_eq!(stage.front_end.stats().lookups, 1);
    });
}

#[test]
fn a_target_or_a_name_that_cannot_be_read_fails() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        stage.guest.turn(vec![effect(EffectKind::Connect, CALL, 0, Bytes::from_static(b"no target"))]);
        stage.fails(CallFailure::Other).await;
        let stage = Stage::begun(Limits::default());
        stage.looks_up("");
        stage.fails(CallFailure::NotFound).await;
    });
}
