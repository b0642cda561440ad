//! The server that proxies are measured in front of: one thread that answers every request with the same few bytes, on
//! kept connections. It costs less than any proxy and is none of the processes that are measured.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nhello, world\n";
/// The end of a request's head. No request has a body.
const END: &[u8] = b"\r\n\r\n";
const LISTENER: Token = Token(0);
const STOP: Token = Token(1);
const FIRST_CONNECTION: usize = 2;
const READ_BYTES: usize = 16 * 1024;

/// The running server; ended when dropped.
pub struct Upstream {
    address: SocketAddr,
    stop: Waker,
    thread: Option<JoinHandle<()>>,
}

struct Connection {
    stream: TcpStream,
    /// How many bytes of [`END`] the last bytes are.
    matched: usize,
}

impl Upstream {
    /// Starts it on a free port.
    pub fn start() -> Result<Self> {
        let poll = Poll::new().context("cannot poll")?;
        let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("cannot listen")?;
        let address = listener.local_addr().context("a listener has no address")?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).context("cannot poll a listener")?;
        let stop = Waker::new(poll.registry(), STOP).context("cannot make a waker")?;
        Ok(Self { address, stop, thread: Some(thread::spawn(move || serve(poll, &listener))) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if self.stop.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            // What a panic was about is on standard error.
            let _ = thread.join();
        }
    }
}

/// Until it is told to stop.
fn serve(mut poll: Poll, listener: &TcpListener) {
    let mut connections = BTreeMap::new();
    let mut next = FIRST_CONNECTION;
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                eprintln!("bench: the upstream cannot poll: {error}");
                return;
            }
            Ok(()) => {}
        }
        for event in &events {
            match event.token() {
                STOP => return,
                LISTENER => {
                    while let Ok((mut stream, _)) = listener.accept() {
                        let registered = poll.registry().register(&mut stream, Token(next), Interest::READABLE);
                        if registered.is_ok() && stream.set_nodelay(true).is_ok() {
                            connections.insert(next, Connection { stream, matched: 0 });
                            next += 1;
                        }
                    }
                }
                Token(number) => {
                    let ended = connections.get_mut(&number).is_some_and(|connection| !connection.answer());
                    if ended {
                        connections.remove(&number);
                    }
                }
            }
        }
    }
}

impl Connection {
    /// Answers what has come; false when the connection is over. A read that does not fill the buffer has emptied the
    /// socket: what comes later is told anew (epoll(7), question 9).
    fn answer(&mut self) -> bool {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(got) => {
                    let requests = ends(&mut self.matched, &buffer[..got]);
                    // The answers are few and small, and whoever waits for them reads them.
                    if (0..requests).any(|_| !matches!(self.stream.write(ANSWER), Ok(sent) if sent == ANSWER.len())) {
                        return false;
                    }
                    if got < READ_BYTES {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

/// How many heads end in `bytes`, which follow those of which `matched` were the start of an end.
fn ends(matched: &mut usize, bytes: &[u8]) -> usize {
    let mut found = 0;
    for byte in bytes {
        *matched = match (*byte == END[*matched], *byte == END[0]) {
            (true, _) => *matched + 1,
            (false, true) => 1,
            (false, false) => 0,
        };
        if *matched == END.len() {
            (*matched, found) = (0, found + 1);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_wherever_they_are_cut() {
        let requests = b"GET / HTTP/1.1\r\nA: \r\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        for cut in 0..requests.len() {
            let mut matched = 0;
            let (first, second) = requests.split_at(cut);
            assert_eq!(ends(&mut matched, first) + ends(&mut matched, second), 2, "{cut}");
            assert_eq!(matched, 0);
        }
        assert_eq!(ends(&mut 0, b"GET / HTTP/1.1\r\nA: b\r\n"), 0);
    }

    #[test]
    fn requests_are_answered_on_one_connection_and_those_in_a_pipeline_too() {
        let upstream = Upstream::start().unwrap();
        let mut client = std::net::TcpStream::connect(upstream.address()).unwrap();
        for count in [1, 3] {
            client.write_all(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(count)).unwrap();
            let mut answers = vec![0; count * ANSWER.len()];
            client.read_exact(&mut answers).unwrap();
            assert_eq!(answers, ANSWER.repeat(count));
        }
        drop(upstream);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}
