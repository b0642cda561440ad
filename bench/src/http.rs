//! A small HTTP/1.1 client on one kept connection. It knows bodies with a length alone, which is what the image
//! server and the admin API send.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::head::{Head, MAX_HEAD_BYTES};
use crate::stream;

pub mod head;

/// How long the server may take to do anything at all.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// One kept connection.
pub struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: stream::connect(address, STALL_LIMIT)? })
    }

    /// Sends a request; `head` ends with an empty line.
    pub fn send(&mut self, head: &[u8], body: &[u8]) -> Result<()> {
        self.stream.write_all(head).context("cannot send the head of a request")?;
        self.stream.write_all(body).context("cannot send the body of a request")
    }

    /// Whether nothing of an answer has come yet, and the connection is there.
    pub fn is_waiting(&mut self) -> Result<bool> {
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        Ok(peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
    }

    /// Receives the answer to the request that was sent last; its status. The body replaces what is in `body`.
    pub fn receive(&mut self, body: &mut Vec<u8>, max_body_bytes: usize) -> Result<u16> {
        let mut start = [0; MAX_HEAD_BYTES];
        let mut filled = 0;
        let (head, end) = loop {
            if filled == start.len() {
                bail!("the head of the answer has more than {MAX_HEAD_BYTES} bytes");
            }
            let got = self.stream.read(&mut start[filled..]).context("no answer")?;
            if got == 0 {
                bail!("the connection was closed instead of an answer");
            }
            filled += got;
            if let Some(found) = Head::parse(&start[..filled])? {
                break found;
            }
        };
        let early = &start[end..filled];
        let body_bytes = head.body_bytes.context("the answer comes in chunks, which this client does not know")?;
        if body_bytes > max_body_bytes {
            bail!("the answer has {body_bytes} bytes, expected at most {max_body_bytes}");
        }
        if early.len() > body_bytes {
            bail!("the answer has more bytes than its length says");
        }
        body.resize(body_bytes, 0);
        let (first, rest) = body.split_at_mut(early.len());
        first.copy_from_slice(early);
        self.stream.read_exact(rest).context("cannot receive the body of an answer")?;
        Ok(head.status)
    }
}

/// The status of the answer to a `GET` on a connection of its own, when the whole answer is there.
pub fn status(address: SocketAddr, path: &str) -> Result<u16> {
    let mut stream = stream::connect(address, STALL_LIMIT)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("cannot send a request")?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let got = stream.read(&mut piece).context("no answer")?;
        answer.extend_from_slice(&piece[..got]);
        match Head::parse(&answer)? {
            Some((Head { status, body_bytes: Some(body) }, end)) if answer.len() >= end + body => return Ok(status),
            Some((Head { status, body_bytes: None }, _)) if got == 0 => return Ok(status),
            _ if got == 0 => bail!("the connection was closed instead of an answer"),
            _ if answer.len() > MAX_HEAD_BYTES => bail!("the answer has more than {MAX_HEAD_BYTES} bytes"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What a client makes of these pieces, sent by a server on one connection.
    fn receive(pieces: &'static [&'static [u8]], max_body_bytes: usize) -> (Result<u16>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::connect(listener.local_addr().unwrap()).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in pieces {
                stream.write_all(piece).unwrap();
            }
        });
        let mut body = b"left over".to_vec();
        let status = client.receive(&mut body, max_body_bytes);
        server.join().unwrap();
        (status, body)
    }

    #[test]
    fn a_body_is_received_whatever_the_pieces() {
        let whole: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"];
        let pieces: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 5\r\n\r", b"\nhe", b"llo"];
        for pieces in [whole, pieces] {
            let (status, body) = receive(pieces, 5);
            assert_eq!((status.unwrap(), body.as_slice()), (200, b"hello".as_slice()));
        }
    }

    #[test]
    fn a_client_waits_until_something_comes_or_the_connection_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert!(client.is_waiting().unwrap());
        server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        assert_eq!(client.receive(&mut Vec::new(), 0).unwrap(), 204);
        assert!(client.is_waiting().unwrap());
        drop(server);
        assert!(client.receive(&mut Vec::new(), 0).is_err());
        assert!(!client.is_waiting().unwrap());
    }

    #[test]
    fn an_answer_on_a_connection_of_its_own_ends_at_its_length_or_with_the_connection() {
        let status_of = |answer: &'static [u8]| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                stream.write_all(answer).unwrap();
            });
            let status = status(address, "/");
            server.join().unwrap();
            status
        };
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap(), 200);
        assert_eq!(status_of(b"HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").unwrap(), 404);
        assert!(status_of(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok").is_err());
        assert!(status_of(b"HTTP/1.1 200").is_err());
    }

    #[test]
    fn a_body_above_the_limit_is_refused() {
        let (status, _) = receive(&[b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!"], 5);
        assert!(status.unwrap_err().to_string().contains("6 bytes, expected at most 5"));
    }

    #[test]
    fn bytes_behind_the_answer_are_an_error() {
        let (status, _) = receive(&[b"HTTP/1.1 204 No Content\r\n\r\nx"], 5);
        assert!(status.unwrap_err().to_string().contains("more bytes"));
    }

    #[test]
    fn an_early_end_is_an_error() {
        assert!(receive(&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"], 5).0.is_err());
        assert!(receive(&[b"HTTP/1.1 200"], 5).0.is_err());
    }

    #[test]
    fn an_endless_head_is_an_error() {
        const LINE: &[u8] = &[b'x'; MAX_HEAD_BYTES];
        let (status, _) = receive(&[b"HTTP/1.1 200 OK\r\nA: ", LINE], 5);
        assert!(status.unwrap_err().to_string().contains("more than"));
    }
}
