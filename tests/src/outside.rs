//! A server that guests call: not one of Refrain's, and not always well behaved.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use rustix::net::sockopt::set_socket_linger;

/// What is done with each connection, after its first line was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The line comes back, and the end.
    Echo,
    /// So many bytes come back, and the end.
    Bytes(u64),
    /// Bytes of no meaning come back, and the end.
    Garbage,
    /// The line comes back after this long, byte by byte.
    Slow(Duration),
    /// Nothing comes back, as long as the caller waits.
    Silent,
    /// A part comes back, and the connection is reset.
    Reset,
}

/// A server of its own thread, and what it was sent. It ends with the test's process, or when it is stopped.
#[derive(Debug)]
pub struct Outside {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

/// The most bytes of a connection's first line.
const MAX_LINE_BYTES: u64 = 4096;
static PIECE: [u8; 64 * 1024] = [b'.'; 64 * 1024];

impl Outside {
    /// Listens on a free port of the loopback interface.
    pub fn start(manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, lines) = (listener.local_addr()?, Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&lines);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&seen);
                // A caller that goes away in the middle is not this server's affair.
                std::thread::spawn(move || drop(serve(stream, manner, &seen)));
            }
        });
        Ok(Self { address, lines })
    }

    /// Answers each datagram with the same, in capitals.
    pub fn datagrams() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let (address, lines) = (socket.local_addr()?, Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut datagram = [0; 2048];
            while let Ok((count, peer)) = socket.recv_from(&mut datagram) {
                let text = String::from_utf8_lossy(&datagram[..count]).into_owned();
                let answer = text.to_uppercase();
                seen.lock().expect("nobody panics with it").push(text);
                // Whoever asked may be gone.
                let _ = socket.send_to(answer.as_bytes(), peer);
            }
        });
        Ok(Self { address, lines })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first line of each connection, or each datagram, in the order of their arrival.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it").clone()
    }
}

fn serve(stream: TcpStream, manner: Manner, lines: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new((&stream).take(MAX_LINE_BYTES)).read_line(&mut line)?;
    lines.lock().expect("nobody panics with it").push(line.trim_end().to_owned());
    match manner {
        Manner::Echo => (&stream).write_all(line.as_bytes())?,
        Manner::Bytes(mut left) => {
            while left > 0 {
                let piece = left.min(PIECE.len() as u64);
                (&stream).write_all(&PIECE[..piece as usize])?;
                left -= piece;
            }
        }
        Manner::Garbage => (&stream).write_all(&(0..=255).cycle().take(10_000).collect::<Vec<u8>>())?,
        Manner::Slow(pause) => {
            for byte in line.bytes() {
                crate::wait::pause(pause);
                (&stream).write_all(&[byte])?;
            }
        }
        Manner::Silent => {
            // Until the caller has gone.
            let mut rest = Vec::new();
            let _ = (&stream).take(MAX_LINE_BYTES).read_to_end(&mut rest);
            crate::wait::pause(crate::wait::PATIENCE);
        }
        Manner::Reset => {
            (&stream).write_all(b"half of")?;
            set_socket_linger(&stream, Some(Duration::ZERO))?;
            return Ok(());
        }
    }
    stream.shutdown(Shutdown::Write)
}
