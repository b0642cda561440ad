//! Datagram sockets and names of hosts, of `wasi:sockets`.

use futures::join;
use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{ErrorCode, IpAddressFamily, IpSocketAddress, UdpSocket};

use crate::tcp::{loopback, other, port_of, unspecified, v4};

pub async fn check() {
    for family in [IpAddressFamily::Ipv4, IpAddressFamily::Ipv6] {
        binding(family);
        connecting(family);
        sending(family).await;
        receiving(family).await;
        options(family);
    }
    own_address().await;
}

fn fresh(family: IpAddressFamily) -> UdpSocket {
    UdpSocket::create(family).expect("a socket")
}

fn bound(family: IpAddressFamily) -> (UdpSocket, IpSocketAddress) {
    let socket = fresh(family);
    socket.bind(loopback(family, 0)).expect("there are free ports");
    let address = socket.get_local_address().expect("it has one");
    (socket, address)
}

fn binding(family: IpAddressFamily) {
    let socket = fresh(family);
    assert!(socket.get_address_family() == family);
    assert!(matches!(socket.get_local_address(), Err(ErrorCode::InvalidState)));
    assert!(matches!(socket.bind(loopback(other(family), 0)), Err(ErrorCode::InvalidArgument)));
    socket.bind(loopback(family, 0)).expect("it is free");
    let address = socket.get_local_address().expect("it has one");
    assert_eq!(format!("{address:?}"), format!("{:?}", loopback(family, port_of(address))));
    assert!(matches!(socket.bind(loopback(family, 0)), Err(ErrorCode::InvalidState)));
    assert!(matches!(fresh(family).bind(address), Err(ErrorCode::AddressInUse)));
}

fn connecting(family: IpAddressFamily) {
    let socket = fresh(family);
    assert!(matches!(socket.disconnect(), Err(ErrorCode::InvalidState)));
    assert!(matches!(socket.get_remote_address(), Err(ErrorCode::InvalidState)));
    for address in [loopback(other(family), 42), unspecified(family, 42), loopback(family, 0)] {
        assert!(matches!(socket.connect(address), Err(ErrorCode::InvalidArgument)), "{address:?}");
    }
    for port in [42, 43] {
        socket.connect(loopback(family, port)).expect("it is known at once");
        assert_eq!(port_of(socket.get_remote_address().unwrap()), port);
        let local = socket.get_local_address().unwrap();
        assert_ne!(port_of(local), 0);
        assert_eq!(format!("{local:?}"), format!("{:?}", loopback(family, port_of(local))));
    }
    socket.disconnect().expect("it was connected");
    assert!(matches!(socket.get_remote_address(), Err(ErrorCode::InvalidState)));
    assert!(matches!(socket.disconnect(), Err(ErrorCode::InvalidState)));
}

async fn sending(family: IpAddressFamily) {
    let (receiver, address) = bound(family);
    let socket = fresh(family);
    assert!(matches!(socket.send(b"x".to_vec(), None).await, Err(ErrorCode::InvalidArgument)));
    for wrong in [loopback(other(family), 42), unspecified(family, 42), loopback(family, 0)] {
        assert!(matches!(socket.send(b"x".to_vec(), Some(wrong)).await, Err(ErrorCode::InvalidArgument)), "{wrong:?}");
    }
    let long = socket.send(vec![0; 70_000], Some(address)).await;
    assert!(matches!(long, Err(ErrorCode::DatagramTooLarge)), "{long:?}");
    socket.send(b"one".to_vec(), Some(address)).await.expect("it is somebody");
    assert!(socket.get_local_address().is_ok(), "it was bound by that");
    socket.connect(address).unwrap();
    socket.send(b"two".to_vec(), None).await.expect("it is connected");
    socket.send(b"three".to_vec(), Some(address)).await.expect("it is to the same");
    let elsewhere = socket.send(b"x".to_vec(), Some(loopback(family, 42))).await;
    assert!(matches!(elsewhere, Err(ErrorCode::InvalidArgument)), "{elsewhere:?}");
    for text in [&b"one"[..], b"two", b"three"] {
        let (bytes, from) = receiver.receive().await.expect("it is there");
        assert_eq!(bytes, text);
        assert_eq!(port_of(from), port_of(socket.get_local_address().unwrap()));
    }
}

/// A socket of every address has for its peer the address from which that hears it, whatever it calls the peer.
async fn own_address() {
    let (receiver, address) = bound(IpAddressFamily::Ipv4);
    let socket = fresh(IpAddressFamily::Ipv4);
    socket.connect(v4((127, 0, 0, 2), port_of(address))).expect("it is known at once");
    let told = socket.get_local_address().expect("it is bound by that");
    socket.send(b"hello".to_vec(), None).await.expect("it is connected");
    let (_, from) = receiver.receive().await.expect("it is there");
    assert_eq!(format!("{told:?}"), format!("{from:?}"));
}

async fn receiving(family: IpAddressFamily) {
    assert!(matches!(fresh(family).receive().await, Err(ErrorCode::InvalidState)));
    let (server, address) = bound(family);
    let (client, client_address) = bound(family);
    // Each waits for the other.
    let serve = async {
        for _ in 0..3 {
            let (bytes, from) = server.receive().await.expect("a datagram");
            server.send(bytes.to_ascii_uppercase(), Some(from)).await.expect("it is somebody");
        }
    };
    let ask = async {
        for text in ["a", "", "bcd"] {
            client.send(text.into(), Some(address)).await.expect("it is somebody");
            let (bytes, from) = client.receive().await.expect("an answer");
            assert_eq!(bytes, text.to_ascii_uppercase().as_bytes());
            assert_eq!(port_of(from), port_of(address));
        }
    };
    join!(serve, ask);
    // One that is connected hears of one peer alone.
    client.connect(loopback(family, 42)).unwrap();
    server.send(b"not wanted".to_vec(), Some(client_address)).await.expect("it is somebody");
    client.connect(address).unwrap();
    server.send(b"wanted".to_vec(), Some(client_address)).await.expect("it is somebody");
    let (bytes, _) = client.receive().await.expect("a datagram");
    assert_eq!(bytes, b"wanted");
}

fn options(family: IpAddressFamily) {
    let socket = fresh(family);
    assert!(matches!(socket.set_unicast_hop_limit(0), Err(ErrorCode::InvalidArgument)));
    socket.set_unicast_hop_limit(42).unwrap();
    assert_eq!(socket.get_unicast_hop_limit().unwrap(), 42);
    assert!(matches!(socket.set_receive_buffer_size(0), Err(ErrorCode::InvalidArgument)));
    assert!(matches!(socket.set_send_buffer_size(0), Err(ErrorCode::InvalidArgument)));
    socket.set_receive_buffer_size(0x10000).unwrap();
    socket.set_send_buffer_size(0x20000).unwrap();
    assert_eq!(socket.get_receive_buffer_size().unwrap(), 0x10000);
    assert_eq!(socket.get_send_buffer_size().unwrap(), 0x20000);
}

/// Looks names up beside each other and says what they are.
pub async fn look_up(names: &[String]) {
    let answers = futures::future::join_all(names.iter().map(|name| resolve_addresses(name.clone()))).await;
    for (name, answer) in names.iter().zip(answers) {
        println!("{name}: {answer:?}");
    }
}
