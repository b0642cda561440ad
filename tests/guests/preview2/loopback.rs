//! Servers and their clients in one program, on its own loopback: connections and datagrams, of both families, by Rust's
//! standard library.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::Duration;

fn connections(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let there = listener.local_addr()?;
    assert_ne!(there.port(), 0);
    let mut clients: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(there)).collect::<io::Result<_>>()?;
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("client {number}").as_bytes())?;
        client.shutdown(Shutdown::Write)?;
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let (mut accepted, peer) = listener.accept()?;
        assert_eq!((peer, accepted.local_addr()?), (client.local_addr()?, there));
        let mut heard = String::new();
        accepted.read_to_string(&mut heard)?;
        assert_eq!(heard, format!("client {number}"));
        accepted.write_all(heard.to_uppercase().as_bytes())?;
        drop(accepted);
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        assert_eq!(answer, format!("CLIENT {number}"));
    }
    listener.set_nonblocking(true)?;
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(listener);
    assert_eq!(TcpStream::connect(there).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    Ok(())
}

fn datagrams(address: &str) -> io::Result<()> {
    let server = UdpSocket::bind(address)?;
    let there = server.local_addr()?;
    let client = UdpSocket::bind(address)?;
    client.connect(there)?;
    assert_eq!(client.peer_addr()?, there);
    let mut buffer = [0; 100];
    for round in 0..10 {
        client.send(format!("datagram {round}").as_bytes())?;
        let (length, from) = server.recv_from(&mut buffer)?;
        assert_eq!((&buffer[..length], from), (format!("datagram {round}").as_bytes(), client.local_addr()?));
        server.send_to(&buffer[..length], from)?;
        let length = client.recv(&mut buffer)?;
        assert_eq!(&buffer[..length], format!("datagram {round}").as_bytes());
    }
    client.set_nonblocking(true)?;
    assert_eq!(client.recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(UdpSocket::bind(there).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(server);
    client.send(b"to nobody")?;
    assert_eq!(client.recv(&mut buffer).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    Ok(())
}

fn patience(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let error = stream.read(&mut [0; 10]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    Ok(())
}

fn main() -> io::Result<()> {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        connections(address)?;
        datagrams(address)?;
    }
    patience("127.0.0.1:0")?;
    let found: Vec<SocketAddr> = "localhost:80".to_socket_addrs()?.collect();
    assert!(found.iter().all(|address| address.ip().is_loopback()) && !found.is_empty());
    assert!("no-such-host.example:80".to_socket_addrs().is_err());
    let outside = TcpStream::connect("192.0.2.9:80").unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::PermissionDenied, "{outside}");
    println!("loopback: all checks hold");
    Ok(())
}
