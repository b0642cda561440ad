//! Stream sockets of `wasi:sockets`, with the program's own loopback.

use std::cell::RefCell;

use futures::{FutureExt, join};
use wasip3::sockets::types::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, TcpSocket,
};
use wasip3::wit_bindgen::StreamResult;
use wasip3::wit_stream;

const SECOND: u64 = 1_000_000_000;

pub async fn check() {
    for family in [IpAddressFamily::Ipv4, IpAddressFamily::Ipv6] {
        binding(family);
        listening(family).await;
        connecting(family).await;
        states(family).await;
        options(family);
        inherited(family).await;
        both_ways(family).await;
        readiness(family).await;
        halves(family).await;
        much(family).await;
        crowd(family).await;
    }
    let mapped = IpSocketAddress::Ipv6(Ipv6SocketAddress {
        port: 0,
        flow_info: 0,
        address: (0, 0, 0, 0, 0, 0xffff, 0x7f00, 1),
        scope_id: 0,
    });
    let socket = TcpSocket::create(IpAddressFamily::Ipv6).unwrap();
    assert!(matches!(socket.bind(mapped), Err(ErrorCode::InvalidArgument)));
    assert!(matches!(socket.connect(mapped).await, Err(ErrorCode::InvalidArgument)));
}

pub fn loopback(family: IpAddressFamily, port: u16) -> IpSocketAddress {
    match family {
        IpAddressFamily::Ipv4 => v4((127, 0, 0, 1), port),
        IpAddressFamily::Ipv6 => v6((0, 0, 0, 0, 0, 0, 0, 1), port),
    }
}

pub fn other(family: IpAddressFamily) -> IpAddressFamily {
    if family == IpAddressFamily::Ipv4 { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 }
}

pub fn v4(address: (u8, u8, u8, u8), port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })
}

pub fn v6(address: (u16, u16, u16, u16, u16, u16, u16, u16), port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 })
}

pub fn unspecified(family: IpAddressFamily, port: u16) -> IpSocketAddress {
    match family {
        IpAddressFamily::Ipv4 => v4((0, 0, 0, 0), port),
        IpAddressFamily::Ipv6 => v6((0, 0, 0, 0, 0, 0, 0, 0), port),
    }
}

pub fn port_of(address: IpSocketAddress) -> u16 {
    match address {
        IpSocketAddress::Ipv4(address) => address.port,
        IpSocketAddress::Ipv6(address) => address.port,
    }
}

/// Addresses of nobody in particular.
fn groups(family: IpAddressFamily) -> Vec<IpSocketAddress> {
    match family {
        IpAddressFamily::Ipv4 => {
            (224..=239).map(|first| v4((first, 0, 0, 1), 42)).chain([v4((255, 255, 255, 255), 42)]).collect()
        }
        IpAddressFamily::Ipv6 => (0xff00..=0xffff).map(|first| v6((first, 0, 0, 0, 0, 0, 0, 1), 42)).collect(),
    }
}

fn fresh(family: IpAddressFamily) -> TcpSocket {
    TcpSocket::create(family).expect("a socket")
}

fn bound(family: IpAddressFamily) -> TcpSocket {
    let socket = fresh(family);
    socket.bind(loopback(family, 0)).expect("there are free ports");
    socket
}

fn binding(family: IpAddressFamily) {
    let socket = fresh(family);
    assert!(matches!(socket.get_local_address(), Err(ErrorCode::InvalidState)));
    assert!(matches!(socket.bind(loopback(other(family), 0)), Err(ErrorCode::InvalidArgument)));
    for group in groups(family) {
        assert!(matches!(socket.bind(group), Err(ErrorCode::InvalidArgument)), "{group:?}");
    }
    // What failed does not bind it.
    socket.bind(loopback(family, 0)).expect("it is free");
    let address = socket.get_local_address().expect("it has one");
    assert_ne!(port_of(address), 0);
    assert_eq!(format!("{address:?}"), format!("{:?}", loopback(family, port_of(address))));
    assert!(matches!(socket.bind(loopback(family, 0)), Err(ErrorCode::InvalidState)));
    assert!(matches!(fresh(family).bind(address), Err(ErrorCode::AddressInUse)));
    drop(socket);
    fresh(family).bind(address).expect("it is free again");
}

async fn listening(family: IpAddressFamily) {
    let socket = fresh(family);
    assert!(!socket.get_is_listening());
    let clients = socket.listen().expect("it is bound by that");
    assert!(socket.get_is_listening() && socket.get_local_address().is_ok());
    assert!(matches!(socket.listen(), Err(ErrorCode::InvalidState)));
    assert!(matches!(socket.get_remote_address(), Err(ErrorCode::InvalidState)));
    drop(clients);

    let listener = bound(family);
    listener.set_keep_alive_idle_time(5 * SECOND).unwrap();
    listener.set_hop_limit(7).unwrap();
    let mut clients = listener.listen().unwrap();
    let (near, far) = pair(&listener, &mut clients).await;
    assert!(far.get_address_family() == family && near.get_address_family() == family);
    assert_eq!(far.get_keep_alive_idle_time().unwrap(), 5 * SECOND);
    assert_eq!(far.get_hop_limit().unwrap(), 7);
    let told = |address: Result<IpSocketAddress, ErrorCode>| format!("{:?}", address.unwrap());
    assert_eq!(told(near.get_remote_address()), told(listener.get_local_address()));
    assert_eq!(told(far.get_remote_address()), told(near.get_local_address()));

    // The stream goes on without its socket, and the port is taken as long.
    let address = listener.get_local_address().unwrap();
    drop(listener);
    assert!(matches!(fresh(family).bind(address), Err(ErrorCode::AddressInUse)));
    let client = fresh(family);
    let (connected, accepted) = join!(client.connect(address), clients.next());
    connected.expect("it listens still");
    accepted.expect("a client");
    drop(clients);
    fresh(family).bind(address).expect("it is free again");
}

type Clients = wasip3::wit_bindgen::StreamReader<TcpSocket>;

async fn pair(listener: &TcpSocket, clients: &mut Clients) -> (TcpSocket, TcpSocket) {
    let near = fresh(listener.get_address_family());
    let (connected, far) = join!(near.connect(listener.get_local_address().expect("it listens")), clients.next());
    connected.expect("it listens");
    (near, far.expect("a client"))
}

async fn connecting(family: IpAddressFamily) {
    let socket = fresh(family);
    let wrong = [loopback(other(family), 42), unspecified(family, 42), loopback(family, 0)];
    for address in wrong.into_iter().chain(groups(family)) {
        assert!(matches!(socket.connect(address).await, Err(ErrorCode::InvalidArgument)), "{address:?}");
    }
    assert!(matches!(socket.connect(loopback(family, 59_999)).await, Err(ErrorCode::ConnectionRefused)));
    // It came to nothing: a socket connects once.
    assert!(matches!(socket.connect(loopback(family, 59_999)).await, Err(ErrorCode::InvalidState)));
    assert!(matches!(socket.get_local_address(), Err(ErrorCode::InvalidState)));

    // The other side need not have accepted it.
    let listener = bound(family);
    let _clients = listener.listen().unwrap();
    let client = bound(family);
    let port = port_of(client.get_local_address().unwrap());
    client.connect(listener.get_local_address().unwrap()).await.expect("it listens");
    assert_eq!(port_of(client.get_local_address().unwrap()), port);
    assert!(matches!(client.connect(listener.get_local_address().unwrap()).await, Err(ErrorCode::InvalidState)));
    assert!(matches!(listener.connect(loopback(family, 42)).await, Err(ErrorCode::InvalidState)));
    assert!(matches!(client.listen(), Err(ErrorCode::InvalidState)));
}

/// Streams of what is not connected, and those that were taken already.
async fn states(family: IpAddressFamily) {
    let socket = fresh(family);
    let (_writer, reader) = wit_stream::new();
    assert!(matches!(socket.send(reader).await, Err(ErrorCode::InvalidState)));
    let (stream, ended) = socket.receive();
    assert!(stream.collect().await.is_empty());
    assert!(matches!(ended.await, Err(ErrorCode::InvalidState)));

    let listener = bound(family);
    let mut clients = listener.listen().unwrap();
    let (near, far) = pair(&listener, &mut clients).await;
    let (first, first_ended) = far.receive();
    let (second, second_ended) = far.receive();
    assert!(matches!(second_ended.await, Err(ErrorCode::InvalidState)));
    drop((first, second));
    first_ended.await.expect("it was dropped");
    assert!(say(&near, b"one").await.is_ok());
    assert!(matches!(say(&near, b"two").await, Err(ErrorCode::InvalidState)));
}

/// Sends all of it and no more.
async fn say(socket: &TcpSocket, bytes: &[u8]) -> Result<(), ErrorCode> {
    let (mut writer, reader) = wit_stream::new();
    let (sent, ()) = join!(async { socket.send(reader).await }, async {
        writer.write_all(bytes.to_vec()).await;
        drop(writer);
    });
    sent
}

async fn hear(socket: &TcpSocket) -> Vec<u8> {
    let (stream, ended) = socket.receive();
    let bytes = stream.collect().await;
    ended.await.expect("the other side ended it");
    bytes
}

fn options(family: IpAddressFamily) {
    let socket = fresh(family);
    assert!(matches!(socket.set_listen_backlog_size(0), Err(ErrorCode::InvalidArgument)));
    for size in [1, u64::MAX] {
        socket.set_listen_backlog_size(size).unwrap();
    }
    for on in [true, false] {
        socket.set_keep_alive_enabled(on).unwrap();
        assert_eq!(socket.get_keep_alive_enabled().unwrap(), on);
    }
    type Get = fn(&TcpSocket) -> Result<u64, ErrorCode>;
    type Set = fn(&TcpSocket, u64) -> Result<(), ErrorCode>;
    let times: [(Get, Set); 2] = [
        (TcpSocket::get_keep_alive_idle_time, TcpSocket::set_keep_alive_idle_time),
        (TcpSocket::get_keep_alive_interval, TcpSocket::set_keep_alive_interval),
    ];
    for (get, set) in times {
        assert!(matches!(set(&socket, 0), Err(ErrorCode::InvalidArgument)));
        set(&socket, 1).unwrap();
        assert!((1..=SECOND).contains(&get(&socket).unwrap()));
        set(&socket, u64::MAX).unwrap();
        set(&socket, 42 * SECOND).unwrap();
        assert_eq!(get(&socket).unwrap(), 42 * SECOND);
    }
    assert!(matches!(socket.set_keep_alive_count(0), Err(ErrorCode::InvalidArgument)));
    socket.set_keep_alive_count(u32::MAX).unwrap();
    socket.set_keep_alive_count(42).unwrap();
    assert_eq!(socket.get_keep_alive_count().unwrap(), 42);
    assert!(matches!(socket.set_hop_limit(0), Err(ErrorCode::InvalidArgument)));
    socket.set_hop_limit(42).unwrap();
    assert_eq!(socket.get_hop_limit().unwrap(), 42);
    let sizes: [(Get, Set); 2] = [
        (TcpSocket::get_receive_buffer_size, TcpSocket::set_receive_buffer_size),
        (TcpSocket::get_send_buffer_size, TcpSocket::set_send_buffer_size),
    ];
    for (get, set) in sizes {
        assert!(matches!(set(&socket, 0), Err(ErrorCode::InvalidArgument)));
        set(&socket, u64::MAX).unwrap();
        set(&socket, 0x10000).unwrap();
        assert_eq!(get(&socket).unwrap(), 0x10000);
    }
}

/// What is accepted has the options that the listening socket has by then, and keeps them.
async fn inherited(family: IpAddressFamily) {
    let listener = bound(family);
    let mut clients = listener.listen().unwrap();
    let mut accepted = Vec::new();
    for number in [5, 6] {
        listener.set_keep_alive_enabled(number == 5).unwrap();
        listener.set_keep_alive_interval(u64::from(number) * SECOND).unwrap();
        listener.set_hop_limit(number).unwrap();
        listener.set_send_buffer_size(u64::from(number) << 16).unwrap();
        accepted.push((number, pair(&listener, &mut clients).await));
    }
    for (number, (_, far)) in &accepted {
        assert_eq!(far.get_keep_alive_enabled().unwrap(), *number == 5);
        assert_eq!(far.get_keep_alive_interval().unwrap(), u64::from(*number) * SECOND);
        assert_eq!(far.get_hop_limit().unwrap(), *number);
        assert_eq!(far.get_send_buffer_size().unwrap(), u64::from(*number) << 16);
    }
}

/// To read or write nothing is to wait until something can be read or written.
async fn readiness(family: IpAddressFamily) {
    let listener = bound(family);
    let mut clients = listener.listen().unwrap();
    let (near, address) = (fresh(family), listener.get_local_address().unwrap());
    let happened = RefCell::new(Vec::new());
    let note = |what| happened.borrow_mut().push(what);
    let accept = async {
        assert!(clients.read(Vec::new()).await.0 == StreamResult::Complete(0));
        note("there is a client");
        clients.next().now_or_never().expect("it is there").expect("a client")
    };
    let connect = async {
        note("connects");
        near.connect(address).await.expect("it listens");
    };
    let (far, ()) = join!(accept, connect);
    let (mut stream, _ended) = far.receive();
    let (mut writer, reader) = wit_stream::new();
    let _sent = near.send(reader);
    let read = async {
        assert_eq!(stream.read(Vec::new()).await, (StreamResult::Complete(0), Vec::new()));
        note("there are bytes");
        let read = stream.read(Vec::with_capacity(9)).now_or_never();
        assert_eq!(read, Some((StreamResult::Complete(5), b"hello".to_vec())));
    };
    let write = async {
        note("writes");
        assert_eq!(writer.write(b"hello".to_vec()).await.0, StreamResult::Complete(5));
    };
    join!(read, write);
    while writer.write(vec![0; 65_536]).now_or_never().is_some() {}
    let write = async {
        assert_eq!(writer.write(Vec::new()).await.0, StreamResult::Complete(0));
        note("there is room");
    };
    let read = async {
        note("reads");
        while stream.read(Vec::with_capacity(65_536)).now_or_never().is_some() {}
    };
    join!(write, read);
    let order = ["connects", "there is a client", "writes", "there are bytes", "reads", "there is room"];
    assert_eq!(*happened.borrow(), order);
}

async fn both_ways(family: IpAddressFamily) {
    let listener = bound(family);
    let mut clients = listener.listen().unwrap();
    let (near, far) = pair(&listener, &mut clients).await;
    let server = async {
        let heard = hear(&far).await;
        say(&far, &heard.to_ascii_uppercase()).await.expect("the client listens");
        // The connection is there for what is on its way.
        drop(far);
    };
    let client = async {
        say(&near, b"hello").await.expect("the server listens");
        hear(&near).await
    };
    let ((), answer) = join!(server, client);
    assert_eq!(answer, b"HELLO");
}

/// To drop one half leaves the other as it is, and so does to drop the socket.
async fn halves(family: IpAddressFamily) {
    let listener = bound(family);
    let mut clients = listener.listen().unwrap();
    let (near, far) = pair(&listener, &mut clients).await;
    let (mut far_stream, far_ended) = far.receive();
    let (mut near_writer, reader) = wit_stream::new();
    let near_sent = near.send(reader);
    let (near_stream, near_ended) = near.receive();
    drop((near, near_stream));
    near_ended.await.expect("nothing went wrong");
    assert_eq!(near_writer.write(b"still".to_vec()).await.0, StreamResult::Complete(5));
    assert_eq!(far_stream.read(Vec::with_capacity(10)).await, (StreamResult::Complete(5), b"still".to_vec()));
    drop(near_writer);
    near_sent.await.expect("nothing went wrong");
    assert_eq!(far_stream.next().await, None);
    far_ended.await.expect("the other side ended it");
}

/// More than a connection holds: who writes waits for who reads.
async fn much(family: IpAddressFamily) {
    let listener = bound(family);
    let mut clients = listener.listen().unwrap();
    let (near, far) = pair(&listener, &mut clients).await;
    let bytes: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    let (sent, heard) = join!(say(&near, &bytes), hear(&far));
    sent.expect("the other side listens");
    assert!(heard == bytes, "{} bytes", heard.len());
}

/// Many connections at a time, answered in another order than they came.
async fn crowd(family: IpAddressFamily) {
    let listener = bound(family);
    let mut clients = listener.listen().unwrap();
    let address = listener.get_local_address().unwrap();
    let client = |number: u8| async move {
        let socket = fresh(family);
        socket.connect(address).await.expect("it listens");
        say(&socket, &[number]).await.expect("it listens");
        assert_eq!(hear(&socket).await, [number, number]);
    };
    let server = async {
        let mut sockets = Vec::new();
        for _ in 0..20 {
            sockets.push(clients.next().await.expect("a client"));
        }
        while let Some(socket) = sockets.pop() {
            let heard = hear(&socket).await;
            say(&socket, &[heard[0], heard[0]]).await.expect("it waits");
        }
    };
    join!(server, futures::future::join_all((0..20).map(client)));
}
