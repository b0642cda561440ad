//! A client of the kv-server for whole answers (RESP2): one connection, one command at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::stream;

/// How long an answer may take.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// The most bytes of a value.
const MAX_BYTES: usize = 1 << 20;

/// The connection.
pub struct Resp(BufReader<TcpStream>);

impl Resp {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self(BufReader::new(stream::connect(address, STALL_LIMIT)?)))
    }

    /// Writes a value.
    pub fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        match self.ask(&[b"SET", key.as_bytes(), value])?.as_str() {
            "+OK" => Ok(()),
            other => bail!("SET {key} was answered with {other:?}"),
        }
    }

    /// Adds one to a number; what it is then.
    pub fn increment(&mut self, key: &str) -> Result<u64> {
        let answer = self.ask(&[b"INCR", key.as_bytes()])?;
        let number = answer.strip_prefix(':').and_then(|number| number.parse().ok());
        number.with_context(|| format!("INCR {key} was answered with {answer:?}"))
    }

    /// A number, 0 where there is none.
    pub fn number(&mut self, key: &str) -> Result<u64> {
        let head = self.ask(&[b"GET", key.as_bytes()])?;
        match head.strip_prefix('$').and_then(|length| length.parse::<i64>().ok()) {
            Some(-1) => Ok(0),
            Some(length) if length >= 0 && length as usize <= MAX_BYTES => {
                let mut bytes = vec![0; length as usize + 2];
                self.0.read_exact(&mut bytes).context("no answer")?;
                let text = String::from_utf8_lossy(&bytes);
                text.trim_end().parse().with_context(|| format!("{key} is {text:?}"))
            }
            _ => bail!("GET {key} was answered with {head:?}"),
        }
    }

    /// Sends a command; the first line of the answer.
    fn ask(&mut self, words: &[&[u8]]) -> Result<String> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&request).context("cannot send")?;
        let mut line = String::new();
        if self.0.read_line(&mut line).context("no answer")? == 0 {
            bail!("the connection was closed instead of an answer");
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}
