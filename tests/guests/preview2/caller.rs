//! A server that calls other servers, by Rust's standard library: each line of a client is a command, each answer is one line,
//! which begins with `ok`, or says what went wrong.
//!
//! - `tcp HOST PORT TEXT`: connects, sends TEXT and a newline, says that it will send no more, reads to the end
//! - `udp HOST PORT TEXT`: sends a datagram and waits for one back
//! - `name HOST`: looks a name up
//! - `clock`: the time and a random number

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

fn at(host: &str, port: &str) -> Result<(String, u16), String> {
    Ok((host.to_owned(), port.parse().map_err(|error| format!("{port}: {error}"))?))
}

fn told(what: &str) -> impl Fn(io::Error) -> String {
    move |error| format!("{what}: {:?}", error.kind())
}

fn tcp(host: &str, port: &str, text: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(at(host, port)?).map_err(told("connect"))?;
    stream.write_all(format!("{text}\n").as_bytes()).map_err(told("send"))?;
    stream.shutdown(Shutdown::Write).map_err(told("shutdown"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(told("recv"))?;
    Ok(format!("ok {} {}", answer.len(), answer.replace('\n', ".")))
}

fn udp(host: &str, port: &str, text: &str) -> Result<String, String> {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(told("bind"))?;
    socket.send_to(text.as_bytes(), at(host, port)?).map_err(told("send"))?;
    let mut datagram = [0; 2048];
    let (length, from) = socket.recv_from(&mut datagram).map_err(told("recv"))?;
    Ok(format!("ok {from} {}", String::from_utf8_lossy(&datagram[..length])))
}

fn name(host: &str) -> Result<String, String> {
    let found = (host, 0).to_socket_addrs().map_err(told("name"))?;
    Ok(found.fold("ok".to_owned(), |all, address| format!("{all} {}", address.ip())))
}

fn clock() -> Result<String, String> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    Ok(format!("ok {} {:x}", time.as_nanos(), RandomState::new().hash_one(0)))
}

fn answer(line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    match words[..] {
        ["tcp", host, port, text] => tcp(host, port, text),
        ["udp", host, port, text] => udp(host, port, text),
        ["name", host] => name(host),
        ["clock"] => clock(),
        _ => Err(format!("no such command: {line}")),
    }
}

fn attend(stream: &TcpStream) -> io::Result<()> {
    let mut writer = stream;
    for line in BufReader::new(stream).lines() {
        let told = answer(&line?).unwrap_or_else(|error| error);
        writer.write_all(format!("{told}\n").as_bytes())?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7000")?;
    loop {
        let (stream, _) = listener.accept()?;
        // A client that breaks off is no reason to end.
        if let Err(error) = attend(&stream) {
            eprintln!("{error}");
        }
    }
}
