//! A program that calls outside by Rust's standard library: three rounds of a look-up, a connection, a datagram, a wait and a
//! random number, each told in one line.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{Error, Read as _, Result, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn main() -> Result<()> {
    for round in 0..3 {
        println!("{}", call(round)?);
    }
    Ok(())
}

fn call(round: u32) -> Result<String> {
    let address = "db.example:5432".to_socket_addrs()?.next().ok_or_else(|| Error::other("no address"))?;
    let mut stream = TcpStream::connect(address)?;
    assert_eq!(stream.peer_addr()?, address);
    stream.write_all(format!("round {round}\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(address)?;
    socket.send(format!("ping {round}").as_bytes())?;
    let mut datagram = [0; 64];
    let (length, from) = socket.recv_from(&mut datagram)?;
    std::thread::sleep(Duration::from_millis(50));
    // The keys of a hash map are the random numbers that std has.
    let random = RandomState::new().hash_one(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Error::other)?;
    let datagram = String::from_utf8_lossy(&datagram[..length]);
    Ok(format!("{} {datagram} {from} {random:x} {}", answer.trim_end(), time.as_nanos()))
}
