//! Addresses, and sockets that are made, bound and connected, waiting for each step as programs do.

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
pub use wasip2::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily as Family, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use wasip2::sockets::tcp::TcpSocket;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp::{
    IncomingDatagram, IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket,
};
use wasip2::sockets::udp_create_socket::create_udp_socket;

pub const BROADCAST: IpAddress = IpAddress::Ipv4((255, 255, 255, 255));
pub const MULTICAST_V4: IpAddress = IpAddress::Ipv4((224, 254, 0, 0));
pub const MULTICAST_V6: IpAddress = IpAddress::Ipv6((0xff00, 0, 0, 0, 0, 0, 0, 0));
/// 127.0.0.1 as an address of IPv6.
pub const MAPPED: IpAddress = IpAddress::Ipv6((0, 0, 0, 0, 0, 0xffff, 0x7f00, 1));
/// The same in the form that came before.
pub const COMPATIBLE: IpAddress = IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0x7f00, 1));

pub fn loopback(family: Family) -> IpAddress {
    match family {
        Family::Ipv4 => IpAddress::Ipv4((127, 0, 0, 1)),
        Family::Ipv6 => IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 1)),
    }
}

pub fn unspecified(family: Family) -> IpAddress {
    match family {
        Family::Ipv4 => IpAddress::Ipv4((0, 0, 0, 0)),
        Family::Ipv6 => IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 0)),
    }
}

/// An address for documentation, which no host has.
pub fn nobodys(family: Family) -> IpAddress {
    match family {
        Family::Ipv4 => IpAddress::Ipv4((192, 0, 2, 0)),
        Family::Ipv6 => IpAddress::Ipv6((0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)),
    }
}

pub fn other(family: Family) -> Family {
    if family == Family::Ipv4 { Family::Ipv6 } else { Family::Ipv4 }
}

pub fn at(ip: IpAddress, port: u16) -> IpSocketAddress {
    match ip {
        IpAddress::Ipv4(address) => IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address }),
        IpAddress::Ipv6(address) => {
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 })
        }
    }
}

pub fn port(address: IpSocketAddress) -> u16 {
    match address {
        IpSocketAddress::Ipv4(address) => address.port,
        IpSocketAddress::Ipv6(address) => address.port,
    }
}

/// An address in words that can be compared.
pub fn words(address: IpSocketAddress) -> String {
    format!("{address:?}")
}

/// The error, if it is one.
pub fn error<T>(result: Result<T, ErrorCode>) -> Option<ErrorCode> {
    result.err()
}

pub fn wait(pollable: &Pollable) {
    let patience = subscribe_duration(10_000_000_000);
    assert_eq!(poll(&[pollable, &patience])[0], 0, "waited for ten seconds");
}

/// Makes a call until it need not wait.
fn until<T>(pollable: &Pollable, call: impl Fn() -> Result<T, ErrorCode>) -> Result<T, ErrorCode> {
    loop {
        match call() {
            Err(ErrorCode::WouldBlock) => wait(pollable),
            result => return result,
        }
    }
}

pub fn tcp(family: Family) -> TcpSocket {
    create_tcp_socket(family).unwrap()
}

pub fn udp(family: Family) -> UdpSocket {
    create_udp_socket(family).unwrap()
}

pub fn bind(socket: &TcpSocket, address: IpSocketAddress) -> Result<(), ErrorCode> {
    let ready = socket.subscribe();
    socket.start_bind(&instance_network(), address)?;
    until(&ready, || socket.finish_bind())
}

pub fn listen(socket: &TcpSocket) -> Result<(), ErrorCode> {
    let ready = socket.subscribe();
    socket.start_listen()?;
    until(&ready, || socket.finish_listen())
}

pub fn connect(socket: &TcpSocket, address: IpSocketAddress) -> Result<(InputStream, OutputStream), ErrorCode> {
    let ready = socket.subscribe();
    socket.start_connect(&instance_network(), address)?;
    until(&ready, || socket.finish_connect())
}

pub fn accept(socket: &TcpSocket) -> Connection {
    let (socket, input, output) = until(&socket.subscribe(), || socket.accept()).unwrap();
    Connection { socket, input, output }
}

/// A listener on a free port of loopback.
pub fn listener(family: Family) -> (TcpSocket, IpSocketAddress) {
    let socket = tcp(family);
    bind(&socket, at(loopback(family), 0)).unwrap();
    listen(&socket).unwrap();
    let address = socket.local_address().unwrap();
    (socket, address)
}

pub struct Connection {
    pub socket: TcpSocket,
    pub input: InputStream,
    pub output: OutputStream,
}

/// Both ends of a connection: the one that accepted, and the one that connected.
pub fn pair(family: Family) -> (Connection, Connection) {
    let (listener, address) = listener(family);
    let socket = tcp(family);
    let (input, output) = connect(&socket, address).unwrap();
    (accept(&listener), Connection { socket, input, output })
}

pub fn write_all(output: &OutputStream, mut bytes: &[u8]) {
    let ready = output.subscribe();
    while !bytes.is_empty() {
        wait(&ready);
        let permitted = output.check_write().unwrap() as usize;
        let (now, rest) = bytes.split_at(permitted.min(bytes.len()));
        output.write(now).unwrap();
        output.blocking_flush().unwrap();
        bytes = rest;
    }
}

pub fn read_to_end(input: &InputStream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match input.blocking_read(1 << 20) {
            Ok(bytes) => all.extend(bytes),
            Err(StreamError::Closed) => return all,
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub fn bind_udp(socket: &UdpSocket, address: IpSocketAddress) -> Result<(), ErrorCode> {
    let ready = socket.subscribe();
    socket.start_bind(&instance_network(), address)?;
    until(&ready, || socket.finish_bind())
}

/// A socket for datagrams that is bound to a free port of an address.
pub fn bound_udp(ip: IpAddress, family: Family) -> (UdpSocket, IpSocketAddress) {
    let socket = udp(family);
    bind_udp(&socket, at(ip, 0)).unwrap();
    let address = socket.local_address().unwrap();
    (socket, address)
}

pub fn datagram(data: &[u8], remote_address: Option<IpSocketAddress>) -> OutgoingDatagram {
    OutgoingDatagram { data: data.to_vec(), remote_address }
}

pub fn send(stream: &OutgoingDatagramStream, datagrams: &[OutgoingDatagram]) -> Result<u64, ErrorCode> {
    wait(&stream.subscribe());
    assert!(stream.check_send().unwrap() >= datagrams.len() as u64);
    stream.send(datagrams)
}

/// The next datagrams, so many of them.
pub fn receive(stream: &IncomingDatagramStream, count: usize) -> Vec<IncomingDatagram> {
    let (ready, mut all) = (stream.subscribe(), Vec::new());
    loop {
        all.extend(stream.receive(100).unwrap());
        if all.len() >= count {
            return all;
        }
        wait(&ready);
    }
}
