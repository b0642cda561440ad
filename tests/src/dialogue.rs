//! A connection to a server that is talked to in lines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};

use crate::echo::connect;

/// The connection, and what has come and was not read yet.
#[derive(Debug)]
pub struct Dialogue(BufReader<TcpStream>);

impl Dialogue {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self(BufReader::new(connect(address)?)))
    }

    /// Sends bytes as they are.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        Ok(self.0.get_mut().write_all(bytes.as_ref())?)
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line)?;
        ensure!(read > 0, "the server has ended the connection");
        Ok(line.trim_end_matches('\n').trim_end_matches('\r').to_owned())
    }

    /// Sends a line, ended as the old protocols end them; the next line that comes.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        self.say(format!("{line}\r\n"))?;
        self.line().with_context(|| format!("no answer to {line:?}"))
    }

    /// All lines until the first that is the last, which is among them.
    pub fn lines_until(&mut self, is_last: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            lines.push(self.line().with_context(|| format!("after {lines:?}"))?);
            if lines.last().is_some_and(|line| is_last(line)) {
                return Ok(lines);
            }
        }
    }

    /// The next bytes.
    pub fn bytes(&mut self, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Says nothing more; what comes until the server ends the connection.
    pub fn rest(mut self) -> Result<Vec<u8>> {
        self.0.get_mut().shutdown(Shutdown::Write)?;
        self.ended()
    }

    /// What comes until the server ends the connection.
    pub fn ended(mut self) -> Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest)?;
        Ok(rest)
    }
}
