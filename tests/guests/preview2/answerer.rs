//! A server for datagrams, by Rust's standard library: each is answered with its sender's address and its text.

use std::io;
use std::net::UdpSocket;

fn main() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:7")?;
    let mut datagram = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut datagram)?;
        let answer = format!("{from} {}", String::from_utf8_lossy(&datagram[..length]));
        socket.send_to(answer.as_bytes(), from)?;
    }
}
