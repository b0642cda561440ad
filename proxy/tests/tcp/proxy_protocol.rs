//! Clients behind trusted proxies.

use refrain_proxy::net::SocketOptions;
use refrain_proxy::proxy_protocol::encode;
use refrain_wire::{IpRange, ProxyHeader};

use super::*;

fn from_loopback() -> ListenOptions {
    let proxies = IpRange::new([127, 0, 0, 0].into(), 8).expect("a range");
    ListenOptions { proxy_protocol_from: vec![proxies], ..ListenOptions::default() }
}

impl Stage {
    fn listen_behind(&self, port: u16, options: &ListenOptions) -> SocketAddr {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        self.front_end.listen(any, GROUP, port, options).expect("loopback has a free port")
    }

    fn peers(&self) -> Vec<String> {
        let ordered = self.guest.ordered.borrow();
        let peers = ordered.iter().filter_map(|record| match record {
            Record::Open { peer, .. } => Some(peer.to_string()),
            _ => None,
        });
        peers.collect()
    }

    async fn has_no_header(&self, count: u64) {
        while self.front_end.stats().no_header < count {
            tokio::task::yield_now().await;
        }
    }
}

/// A header for a client with this address.
fn header(version: ProxyHeader, client: &str) -> Vec<u8> {
    encode(version, Some(client.parse().expect("an address")), "192.0.2.1:80".parse().expect("an address"))
}

#[test]
fn the_guest_is_told_the_client_that_the_header_names() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen_behind(port::ECHO, &from_loopback());
        for version in [ProxyHeader::V1, ProxyHeader::V2] {
            let mut client = connect(addr).await;
            client.write_all(&header(version, "203.0.113.7:4711")).await.expect("the proxy takes it");
            echoes(&mut client, b"hello").await;
        }
        assert_eq!(stage.peers(), ["203.0.113.7:4711", "203.0.113.7:4711"]);
        stage.is_empty().await;
    });
    assert!(lines.of_access().iter().all(|line| line.contains("peer=203.0.113.7:4711 bytes_in=5 ")));
}

#[test]
fn a_header_may_be_cut_at_every_byte_and_what_follows_it_is_not_lost() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen_behind(port::ECHO, &from_loopback());
        for version in [ProxyHeader::V1, ProxyHeader::V2] {
            let bytes = [&header(version, "203.0.113.7:4711")[..], b"at once"].concat();
            for cut in 1..bytes.len() {
                let mut client = connect(addr).await;
                client.set_nodelay(true).expect("the socket is open");
                client.write_all(&bytes[..cut]).await.expect("the proxy takes it");
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                client.write_all(&bytes[cut..]).await.expect("the proxy takes it");
                let mut back = [0; 7];
                client.read_exact(&mut back).await.expect("the proxy answers");
                assert_eq!(&back, b"at once");
            }
        }
        assert!(stage.peers().iter().all(|peer| peer == "203.0.113.7:4711"));
        assert_eq!(stage.front_end.stats().no_header, 0);
    });
}

#[test]
fn what_follows_a_header_waits_for_the_window_like_anything_else() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen_behind(port::ECHO, &from_loopback());
        stage.guest.stopped.set(true);
        let mut client = connect(addr).await;
        let sent = some_bytes(500_000);
        let bytes = [&header(ProxyHeader::V2, "203.0.113.7:4711")[..], &sent].concat();
        let (mut read, mut write) = client.split();
        let mut back = vec![0; sent.len()];
        let going_on = async {
            while stage.front_end.stats().bytes_in < WINDOW {
                tokio::task::yield_now().await;
            }
            assert_eq!(stage.front_end.stats().bytes_in, WINDOW);
            stage.guest.go_on();
            read.read_exact(&mut back).await.expect("the proxy answers");
        };
        let (written, ()) = tokio::join!(write.write_all(&bytes), going_on);
        written.expect("the proxy takes it");
        assert!(back == sent);
    });
}

#[test]
fn a_connection_of_the_proxy_itself_keeps_its_address() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen_behind(port::ECHO, &from_loopback());
        for version in [ProxyHeader::V1, ProxyHeader::V2] {
            let mut client = connect(addr).await;
            let local = encode(version, None, addr);
            client.write_all(&local).await.expect("the proxy takes it");
            echoes(&mut client, b"check").await;
            let own = client.local_addr().expect("it is connected").to_string();
            assert_eq!(stage.peers().pop(), Some(own));
        }
    });
}

#[test]
fn a_limit_of_clients_counts_the_client_behind_the_proxy() {
    on_loop(async {
        let stage = Stage::begun(Limits { connections_per_client: 1, ..Limits::default() });
        let addr = stage.listen_behind(port::ECHO, &from_loopback());
        let mut clients = Vec::new();
        for host in 1..=3 {
            let mut client = connect(addr).await;
            let source = header(ProxyHeader::V1, &format!("203.0.113.{host}:1"));
            client.write_all(&source).await.expect("the proxy takes it");
            echoes(&mut client, b"one each").await;
            clients.push(client);
        }
        let mut second = connect(addr).await;
        second.write_all(&header(ProxyHeader::V2, "203.0.113.2:2")).await.expect("the proxy takes it");
        is_reset(&mut second).await;
        assert_eq!(stage.front_end.stats().refused, 1);
    });
}

#[test]
fn garbage_in_place_of_a_header_is_reset_counted_and_told() {
    let (lines, _logged) = logged();
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen_behind(port::ECHO, &from_loopback());
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        for (count, garbage) in (1..).zip([&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP9 x\r\n", &endless]) {
            let mut client = connect(addr).await;
            client.write_all(garbage).await.expect("the proxy takes it");
            is_reset(&mut client).await;
            stage.has_no_header(count).await;
        }
        let mut ends = connect(addr).await;
        ends.write_all(b"PROXY TC").await.expect("the proxy takes it");
        ends.shutdown().await.expect("the socket is open");
        is_reset(&mut ends).await;
        stage.has_no_header(4).await;
        assert_eq!(stage.front_end.stats().accepted, 0);
        assert!(stage.guest.ordered.borrow().is_empty(), "the guest never hears of them");
        // Who only looks whether somebody listens is no fault.
        connect(addr).await.shutdown().await.expect("the socket is open");
        stage.has_no_header(5).await;
    });
    let told = lines.of_access();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().all(|line| line.contains("ending=\"no-header\"") && line.contains("service=\"test/guest\"")));
    let (first, last) = (&told[0], &told[3]);
    assert!(first.contains("failure=the connection begins with no PROXY protocol header"), "{first}");
    assert!(last.contains("failure=the connection ended after 8 bytes"), "{last}");
    assert_eq!(lines.warnings(), 1, "the first at a port is a warning");
}

#[test]
fn a_header_that_does_not_come_in_time_is_reset() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let local = LocalSet::new();
    let test = async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen_behind(port::ECHO, &from_loopback());
        let mut client = connect(addr).await;
        client.write_all(b"PROXY TC").await.expect("the proxy takes it");
        assert!(timeout(Duration::from_millis(4_900), is_reset(&mut client)).await.is_err(), "it has five seconds");
        timeout(Duration::from_secs(6), is_reset(&mut client)).await.expect("its time is over");
        assert_eq!(stage.front_end.stats().no_header, 1);
    };
    runtime.expect("a runtime").block_on(local.run_until(test));
}

#[test]
fn a_client_that_is_no_trusted_proxy_is_not_asked_and_not_believed() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let elsewhere = IpRange::new([10, 0, 0, 0].into(), 8).expect("a range");
        let options = ListenOptions { proxy_protocol_from: vec![elsewhere], ..ListenOptions::default() };
        let mut client = connect(stage.listen_behind(port::ECHO, &options)).await;
        echoes(&mut client, &header(ProxyHeader::V1, "203.0.113.7:4711")).await;
        assert_eq!(stage.peers(), [client.local_addr().expect("it is connected").to_string()]);
    });
}

#[test]
fn a_connection_whose_header_comes_after_the_epoch_was_lost_is_not_accepted() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let addr = stage.listen_behind(port::ECHO, &from_loopback());
        let mut client = connect(addr).await;
        client.write_all(b"PROXY ").await.expect("the proxy takes it");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        stage.front_end.end_epoch();
        client.write_all(b"UNKNOWN\r\n").await.expect("the proxy takes it");
        is_reset(&mut client).await;
        assert_eq!(stage.front_end.stats().not_accepted, 1);
    });
}

#[test]
fn both_families_are_listened_on_alone_or_together() {
    on_loop(async {
        let stage = Stage::begun(Limits::default());
        let any: SocketAddr = "[::1]:0".parse().expect("an address");
        let addr = stage.front_end.listen(any, GROUP, port::ECHO, &ListenOptions::default()).expect("a free port");
        let mut client = connect(addr).await;
        echoes(&mut client, b"over IPv6").await;
        assert_eq!(stage.peers(), [client.local_addr().expect("it is connected").to_string()]);
        let dual = SocketOptions { dual_stack: true, ..SocketOptions::default() };
        for (socket, reaches_v4) in [(SocketOptions::default(), false), (dual, true)] {
            let options = ListenOptions { socket, ..ListenOptions::default() };
            let any: SocketAddr = "[::]:0".parse().expect("an address");
            let addr = stage.front_end.listen(any, GROUP, port::ECHO, &options).expect("a free port");
            let v4 = TcpStream::connect(("127.0.0.1", addr.port())).await;
            assert_eq!(v4.is_ok(), reaches_v4);
        }
    });
}
