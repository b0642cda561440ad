//! One client, and what it sent and has not got back yet.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

use crate::poll::Polled;

/// What is kept for a client that does not read; until it does, nothing more is read from it.
const MAX_KEPT: usize = 256 * 1024;
/// Read at a time.
const CHUNK: usize = 64 * 1024;

pub struct Client {
    stream: TcpStream,
    kept: Vec<u8>,
    /// It has said everything.
    ended: bool,
}

impl Client {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, kept: Vec::new(), ended: false })
    }

    /// What it waits for: to be rid of what is kept, before more is read.
    pub fn polled(&self) -> Polled {
        let fd = self.stream.as_raw_fd();
        if self.kept.is_empty() { Polled::readable(fd) } else { Polled::writable(fd) }
    }

    /// Sends and reads what it can; false when the client is done.
    pub fn serve(&mut self) -> bool {
        match self.step() {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            // A client that is gone is none of the others' concern.
            Err(_) => false,
        }
    }

    fn step(&mut self) -> io::Result<()> {
        self.flush()?;
        let mut chunk = [0; CHUNK];
        while !self.ended && self.kept.len() < MAX_KEPT {
            match self.stream.read(&mut chunk)? {
                0 => self.ended = true,
                read => self.kept.extend_from_slice(&chunk[..read]),
            }
            self.flush()?;
        }
        if self.ended { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let ended = loop {
            if sent == self.kept.len() {
                break Ok(());
            }
            match self.stream.write(&self.kept[sent..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(written) => sent += written,
                Err(error) => break Err(error),
            }
        };
        self.kept.drain(..sent);
        ended
    }
}
