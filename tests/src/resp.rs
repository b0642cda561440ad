//! A small RESP2 client that keeps the exact bytes of every reply, and a scenario for the key-value server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::echo::{PATIENCE, connect};
use crate::transcript::{Transcript, noise};

/// Longest line of a reply in bytes.
const MAX_LINE: usize = 64 * 1024;

/// One connection.
#[derive(Debug)]
pub struct RespClient {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl RespClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: connect(address)?, unread: Vec::new() })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(bytes.as_ref()).context("cannot send a command")
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Reads one reply, with all its elements.
    pub fn reply(&mut self) -> Result<Vec<u8>> {
        let mut at = 0;
        let mut elements = 1_usize;
        while elements > 0 {
            elements -= 1;
            let line_end = self.line_end(at)?;
            let line = std::str::from_utf8(&self.unread[at + 1..line_end])?;
            match self.unread[at] {
                b'*' => elements += line.parse::<usize>().unwrap_or(0),
                b'$' if line != "-1" => {
                    let len: usize = line.parse()?;
                    let end = line_end + 2 + len;
                    while self.unread.len() < end + 2 {
                        self.read_more()?;
                    }
                    at = end + 2;
                    continue;
                }
                _ => {}
            }
            at = line_end + 2;
        }
        Ok(self.unread.drain(..at).collect())
    }

    /// Where the line that begins at `start` has its CR.
    fn line_end(&mut self, start: usize) -> Result<usize> {
        loop {
            let line = self.unread.get(start..).unwrap_or_default();
            if let Some(len) = line.windows(2).position(|two| two == b"\r\n") {
                return Ok(start + len);
            }
            ensure!(line.len() <= MAX_LINE, "a line is over {MAX_LINE} bytes");
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> Result<()> {
        let mut buffer = [0; 64 * 1024];
        let got = self.stream.read(&mut buffer)?;
        ensure!(got > 0, "the connection ended within a reply");
        self.unread.extend_from_slice(&buffer[..got]);
        Ok(())
    }

    /// Checks that the server ends the connection without another byte.
    pub fn expect_end(&mut self) -> Result<()> {
        let mut rest = std::mem::take(&mut self.unread);
        self.stream.read_to_end(&mut rest)?;
        ensure!(rest.is_empty(), "unexpected bytes at the end: {rest:?}");
        Ok(())
    }

    /// Sends a command and reads its reply.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Result<Vec<u8>> {
        self.send(command(arguments))?;
        self.reply()
    }

    /// The same for a command that is written as words.
    pub fn words(&mut self, words: &str) -> Result<Vec<u8>> {
        self.command(&words.split(' ').collect::<Vec<_>>())
    }
}

/// A command as an array of bulk strings.
pub fn command<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Commands, as words, and their replies, in the order in which the scenario sends them.
const DIALOGUE: &[(&str, &str)] = &[
    ("FLUSHALL", "+OK\r\n"),
    ("PING", "+PONG\r\n"),
    ("PING hello", "$5\r\nhello\r\n"),
    ("echo word", "$4\r\nword\r\n"),
    ("SET a 1", "+OK\r\n"),
    ("GET a", "$1\r\n1\r\n"),
    ("GET missing", "$-1\r\n"),
    ("SET a 2 NX", "$-1\r\n"),
    ("SET b 2 XX", "$-1\r\n"),
    ("SET a 2 XX GET", "$1\r\n1\r\n"),
    ("SET b 3 NX GET", "$-1\r\n"),
    ("SET a 1 NX XX", "-ERR syntax error\r\n"),
    ("SET a 1 EX 10 PX 10", "-ERR syntax error\r\n"),
    ("SET a 1 EX", "-ERR syntax error\r\n"),
    ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command\r\n"),
    ("SET a 1 EX x", "-ERR value is not an integer or out of range\r\n"),
    ("SET a 5 EX 100", "+OK\r\n"),
    ("TTL a", ":100\r\n"),
    ("SET a 6 KEEPTTL", "+OK\r\n"),
    ("TTL a", ":100\r\n"),
    ("PERSIST a", ":1\r\n"),
    ("PERSIST a", ":0\r\n"),
    ("TTL a", ":-1\r\n"),
    ("TTL missing", ":-2\r\n"),
    ("PTTL missing", ":-2\r\n"),
    ("EXPIRE a 1000", ":1\r\n"),
    ("EXPIRE a 10 GT", ":0\r\n"),
    ("EXPIRE a 100 LT", ":1\r\n"),
    ("EXPIRE a 100 SOON", "-ERR Unsupported option SOON\r\n"),
    ("TTL a", ":100\r\n"),
    ("EXPIRE missing 100", ":0\r\n"),
    ("EXPIRE a 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n"),
    ("EXPIRE a -1", ":1\r\n"),
    ("EXISTS a", ":0\r\n"),
    ("INCR n", ":1\r\n"),
    ("INCRBY n 41", ":42\r\n"),
    ("DECR n", ":41\r\n"),
    ("DECRBY n 50", ":-9\r\n"),
    ("INCRBY n 1.5", "-ERR value is not an integer or out of range\r\n"),
    ("SET n 9223372036854775807", "+OK\r\n"),
    ("INCR n", "-ERR increment or decrement would overflow\r\n"),
    ("SET n 010", "+OK\r\n"),
    ("INCR n", "-ERR value is not an integer or out of range\r\n"),
    ("APPEND n 11", ":5\r\n"),
    ("GET n", "$5\r\n01011\r\n"),
    ("STRLEN n", ":5\r\n"),
    ("GETSET n 7", "$5\r\n01011\r\n"),
    ("GETDEL n", "$1\r\n7\r\n"),
    ("MSET k1 one k2 two key three", "+OK\r\n"),
    ("MSET k1 one k2", "-ERR wrong number of arguments for 'mset' command\r\n"),
    ("MGET k1 nothing k2", "*3\r\n$3\r\none\r\n$-1\r\n$3\r\ntwo\r\n"),
    ("EXISTS k1 k1 nothing", ":2\r\n"),
    ("KEYS k[0-9x", "*2\r\n"),
    ("KEYS k[^2e]", "*1\r\n$2\r\nk1\r\n"),
    ("KEYS *ey", "*1\r\n$3\r\nkey\r\n"),
    ("KEYS k?", "*2\r\n"),
    ("TYPE k1", "+string\r\n"),
    ("DEL k1 k2 nothing", ":2\r\n"),
    ("DBSIZE", ":2\r\n"),
    ("SELECT 0", "+OK\r\n"),
    ("SELECT 1", "-ERR DB index is out of range\r\n"),
    ("HELLO 3", "-NOPROTO unsupported protocol version\r\n"),
    ("CLIENT SETINFO LIB-NAME x", "+OK\r\n"),
    ("COMMAND DOCS", "*0\r\n"),
    ("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
    ("CONFIG GET appendonly", "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"),
    ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
    ("NOSUCH x y", "-ERR unknown command 'NOSUCH', with args beginning with: 'x' 'y' \r\n"),
    ("FLUSHDB", "+OK\r\n"),
    ("DBSIZE", ":0\r\n"),
];

/// Runs the scenario and returns what was received. The server is empty afterwards.
pub fn kv_server_scenario(address: SocketAddr) -> Result<Vec<u8>> {
    let mut transcript = Transcript::default();
    dialogue(address, &mut transcript)?;
    pipelined(address, &mut transcript)?;
    inline_commands(address, &mut transcript)?;
    faults(address, &mut transcript)?;
    large_values(address, &mut transcript)?;
    many_keys(address, &mut transcript)?;
    expiry(address, &mut transcript)?;
    Ok(transcript.into_bytes())
}

fn dialogue(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut client = RespClient::connect(address)?;
    for (words, expected) in DIALOGUE {
        let reply = client.words(words).with_context(|| (*words).to_owned())?;
        transcript.record(words, &reply);
        // The order of keys is the server's own: there the transcript is the check.
        let matches = if words.starts_with("KEYS") {
            reply.starts_with(expected.as_bytes())
        } else {
            reply == expected.as_bytes()
        };
        ensure!(matches, "{words}: expected {expected:?}, got {:?}", String::from_utf8_lossy(&reply));
    }
    Ok(())
}

fn pipelined(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut client = RespClient::connect(address)?;
    let count = 10_000;
    client.send(command(&["INCR", "counter"]).repeat(count))?;
    for number in 1..=count {
        let reply = client.reply()?;
        ensure!(reply == format!(":{number}\r\n").as_bytes(), "a reply is out of order");
    }
    // A command in pieces of one byte.
    for byte in command(&["MSET", "x", "1", "counter", "0"]) {
        client.send([byte])?;
    }
    transcript.record("byte by byte", &client.reply()?);
    transcript.record("counter", &client.words("GET counter")?);
    client.send(command(&["GET", "counter"]).repeat(3))?;
    client.finish_sending()?;
    for _ in 0..3 {
        transcript.record("after the last byte", &client.reply()?);
    }
    client.expect_end()
}

fn inline_commands(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut client = RespClient::connect(address)?;
    client.send(b"PING\r\n\r\nset \"a b\" 'it\\'s'\nget \"a\\x20b\"\r\n*0\r\nECHO \"\"\r\n")?;
    for expected in ["+PONG\r\n", "+OK\r\n", "$4\r\nit's\r\n", "$0\r\n\r\n"] {
        let reply = client.reply()?;
        ensure!(reply == expected.as_bytes(), "{expected:?}, got {reply:?}");
        transcript.record("inline", &reply);
    }
    transcript.record("quit", &client.words("QUIT")?);
    client.expect_end()
}

fn faults(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let cases: [(Vec<u8>, &str); 7] = [
        (b"*1\r\n:1\r\n".to_vec(), "expected '$', got ':'"),
        (b"*x\r\n".to_vec(), "invalid multibulk length"),
        (b"*1000000\r\n".to_vec(), "invalid multibulk length"),
        (b"*1\r\n$-5\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$99999999999\r\n".to_vec(), "invalid bulk length"),
        (b"set \"a\r\n".to_vec(), "unbalanced quotes in request"),
        (vec![b'x'; 64 * 1024], "too big inline request"),
    ];
    for (bytes, expected) in cases {
        let mut client = RespClient::connect(address)?;
        client.send(&bytes)?;
        let reply = client.reply()?;
        ensure!(
            reply == format!("-ERR Protocol error: {expected}\r\n").as_bytes(),
            "{expected}: got {:?}",
            String::from_utf8_lossy(&reply)
        );
        transcript.record("fault", &reply);
        client.expect_end()?;
    }
    Ok(())
}

fn large_values(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut client = RespClient::connect(address)?;
    let value = noise(5, 3_000_000);
    let set: [&[u8]; 3] = [b"SET", b"large", &value];
    transcript.record("a large value", &client.command(&set)?);
    // More replies than all buffers hold before the first is read.
    let count = 20;
    client.send(command(&["GET", "large"]).repeat(count))?;
    let mut expected = b"$3000000\r\n".to_vec();
    expected.extend_from_slice(&value);
    expected.extend_from_slice(b"\r\n");
    for number in 0..count {
        ensure!(client.reply()? == expected, "large value {number} came back changed");
    }
    Ok(())
}

/// Enough keys for the table to grow and to shrink again while it is in use.
fn many_keys(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut client = RespClient::connect(address)?;
    transcript.record("empty", &client.words("FLUSHALL")?);
    let count = 5000;
    for number in 0..count {
        client.send(command(&["SET", &format!("key:{number}"), &number.to_string()]))?;
    }
    for _ in 0..count {
        ensure!(client.reply()? == b"+OK\r\n", "a SET failed");
    }
    transcript.record("all keys", &client.words("KEYS *")?);
    for number in 0..count {
        let value = number.to_string();
        let reply = client.words(&format!("GET key:{number}"))?;
        ensure!(reply == format!("${}\r\n{value}\r\n", value.len()).as_bytes(), "key:{number} is lost");
        if number % 50 != 0 {
            client.words(&format!("DEL key:{number}"))?;
        }
    }
    transcript.record("some keys", &client.words("KEYS *")?);
    transcript.record("info", &client.words("INFO")?);
    transcript.record("empty", &client.words("FLUSHALL")?);
    Ok(())
}

/// Keys go when their time has come, looked at or not.
fn expiry(address: SocketAddr, transcript: &mut Transcript) -> Result<()> {
    let mut client = RespClient::connect(address)?;
    client.words("SET looked-at 1 PX 30")?;
    client.words("SET not-looked-at 1 PX 60")?;
    client.words("SET stays 1 EX 1000")?;
    wait_until(&mut client, "GET looked-at", |reply| reply == b"$-1\r\n")?;
    // INFO counts what is stored, and removes nothing itself.
    wait_until(&mut client, "INFO", |reply| String::from_utf8_lossy(reply).contains("db0:keys=1,expires=1"))?;
    transcript.record("what stays", &client.words("KEYS *")?);
    transcript.record("its time", &client.words("TTL stays")?);
    transcript.record("empty", &client.words("FLUSHALL")?);
    Ok(())
}

fn wait_until(client: &mut RespClient, words: &str, holds: impl Fn(&[u8]) -> bool) -> Result<()> {
    let start = Instant::now();
    while !holds(&client.words(words)?) {
        ensure!(start.elapsed() < PATIENCE, "{words}: waited in vain");
    }
    Ok(())
}
