//! One client's connection: bytes in, bytes out, and where it is in the protocol.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use crate::poll::Polled;
use crate::protocol::{MAX_LINE, MAX_PAYLOAD};

/// Most bytes of input that are kept: a message with its line.
const MAX_INPUT: usize = MAX_LINE + MAX_PAYLOAD + 4;
/// Bytes that wait for one client before it is too slow.
pub const MAX_PENDING: usize = 1 << 20;

/// Who published a message, and whereto; its payload comes next.
pub struct Announced {
    pub subject: String,
    pub reply: Option<String>,
    pub bytes: usize,
}

pub struct Session {
    /// Its own for ever.
    pub id: u64,
    stream: TcpStream,
    input: Vec<u8>,
    /// What is before has been used.
    used: usize,
    output: Vec<u8>,
    pub announced: Option<Announced>,
    /// Whether each command is answered.
    pub verbose: bool,
    /// Whether it gets what it publishes itself.
    pub echo: bool,
    /// It gets what is pending and is disconnected.
    pub closing: bool,
    /// It has sent its last byte.
    ended: bool,
    broken: bool,
}

impl Session {
    pub fn new(id: u64, stream: TcpStream) -> Self {
        Self {
            id,
            stream,
            input: Vec::new(),
            used: 0,
            output: Vec::new(),
            announced: None,
            verbose: false,
            echo: true,
            closing: false,
            ended: false,
            broken: false,
        }
    }

    /// What to wait for.
    pub fn polled(&self) -> Polled {
        let fd = self.stream.as_raw_fd();
        if self.output.is_empty() { Polled::readable(fd) } else { Polled::writable(fd) }
    }

    /// Reads what there is, unless something has to be written first.
    pub fn receive(&mut self) {
        if !self.output.is_empty() || self.closing {
            return;
        }
        self.input.drain(..self.used);
        self.used = 0;
        let mut buffer = [0; 16 * 1024];
        let room = buffer.len().min(MAX_INPUT - self.input.len());
        match self.stream.read(&mut buffer[..room]) {
            Ok(0) => self.ended = true,
            Ok(read) => self.input.extend_from_slice(&buffer[..read]),
            Err(error) => self.broken |= !is_transient(error.kind()),
        }
    }

    /// Writes what the socket takes.
    pub fn send(&mut self) {
        let mut sent = 0;
        while sent < self.output.len() && !self.broken {
            match self.stream.write(&self.output[sent..]) {
                Ok(0) => self.broken = true,
                Ok(written) => sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_transient(error.kind()) => break,
                Err(_) => self.broken = true,
            }
        }
        self.output.drain(..sent);
    }

    /// The next line without its end, once it is whole; an error when it is too long.
    pub fn line(&mut self) -> Result<Option<String>, ()> {
        let rest = &self.input[self.used..];
        let Some(end) = rest.iter().take(MAX_LINE + 2).position(|byte| *byte == b'\n') else {
            return if rest.len() > MAX_LINE + 1 { Err(()) } else { Ok(None) };
        };
        let line = String::from_utf8_lossy(&rest[..end]).trim_end_matches('\r').to_owned();
        self.used += end + 1;
        Ok(Some(line))
    }

    /// The next `bytes` bytes and what follows them, which is to be an end of line; none while they are not there.
    pub fn payload(&mut self, bytes: usize) -> Option<(Vec<u8>, bool)> {
        let rest = &self.input[self.used..];
        if rest.len() < bytes + 2 {
            return None;
        }
        let payload = (rest[..bytes].to_vec(), &rest[bytes..bytes + 2] == b"\r\n");
        self.used += bytes + 2;
        Some(payload)
    }

    /// Adds to what is written.
    pub fn push(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.output.extend_from_slice(part));
    }

    /// Ends the session at once: what it does not take now, it never gets.
    pub fn abandon(&mut self) {
        self.send();
        self.broken = true;
    }

    /// Bytes that wait to be written.
    pub fn pending(&self) -> usize {
        self.output.len()
    }

    /// Whether it gets nothing more.
    pub fn is_leaving(&self) -> bool {
        self.broken || self.closing
    }

    /// Whether nothing more is to be done for it.
    pub fn is_over(&self) -> bool {
        self.broken || (self.output.is_empty() && (self.ended || self.closing))
    }
}

fn is_transient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
