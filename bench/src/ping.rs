//! Ping-pong: a client sends 64 bytes, waits until they are back, and sends the next. Each connection has one request
//! under way at any time; the load adapts to the server (a closed loop), so these are latencies at the pace that the
//! server itself allows.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::latency::Latencies;

mod many;

/// Bytes of one request and of its answer.
pub const MESSAGE_BYTES: usize = 64;
/// How long one answer may take.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// How much to do. It ends with the first limit that is reached.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Connections at the same time.
    pub connections: u16,
    /// Requests that are made before and not counted.
    pub warm_up: usize,
    /// Requests that are counted.
    pub requests: usize,
    /// Time that is taken.
    pub time: Duration,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Round {
    /// One for each counted request.
    pub latencies: Latencies,
    /// From the first counted request to the last answer.
    pub elapsed: Duration,
}

impl Round {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Plays against the echo server at `address`.
pub fn run(address: SocketAddr, plan: &Plan) -> Result<Round> {
    match plan.connections {
        1 => one(connect(address)?, plan),
        count => many::run((0..count).map(|_| connect(address)).collect::<Result<_>>()?, plan),
    }
}

/// One connection with blocking calls, the least that a client can cost.
fn one(mut stream: TcpStream, plan: &Plan) -> Result<Round> {
    let mut reply = [0; MESSAGE_BYTES];
    let mut ping = |sequence: usize| -> Result<Duration> {
        let message = message(0, sequence);
        let sent = Instant::now();
        stream.write_all(&message).context("cannot send")?;
        stream.read_exact(&mut reply).context("no answer")?;
        let latency = sent.elapsed();
        check(&message, &reply)?;
        Ok(latency)
    };
    for sequence in 0..plan.warm_up {
        ping(sequence)?;
    }
    let mut round = Round::default();
    let start = Instant::now();
    while round.latencies.len() < plan.requests && round.elapsed < plan.time {
        round.latencies.push(ping(round.latencies.len())?);
        round.elapsed = start.elapsed();
    }
    Ok(round)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&address, STALL_LIMIT).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL_LIMIT))?;
    stream.set_write_timeout(Some(STALL_LIMIT))?;
    Ok(stream)
}

/// Different for every connection and request, so that an answer to another one is noticed.
fn message(connection: usize, sequence: usize) -> [u8; MESSAGE_BYTES] {
    let mut message = [0x2e; MESSAGE_BYTES];
    message[..8].copy_from_slice(&(connection as u64).to_le_bytes());
    message[8..16].copy_from_slice(&(sequence as u64).to_le_bytes());
    message
}

fn check(sent: &[u8], got: &[u8]) -> Result<()> {
    if sent != got {
        bail!("the echo is not what was sent");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Serves until every client has gone, each on a thread of its own, `answer` applied to what comes.
    fn server(answer: fn(&mut [u8])) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut buffer = [0; 50];
                    while let Ok(got @ 1..) = stream.read(&mut buffer) {
                        answer(&mut buffer[..got]);
                        if stream.write_all(&buffer[..got]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn plan(connections: u16, requests: usize, time: Duration) -> Plan {
        Plan { connections, warm_up: 3, requests, time }
    }

    #[test]
    fn a_round_ends_after_its_requests() {
        let address = server(|_| {});
        for connections in [1, 2, 8] {
            let round = run(address, &plan(connections, 20, Duration::from_secs(60))).unwrap();
            assert_eq!(round.latencies.len(), 20);
            assert!(round.rate() > 0.0);
        }
    }

    #[test]
    fn a_round_ends_after_its_time() {
        let address = server(|_| {});
        for connections in [1, 8] {
            let round = run(address, &plan(connections, usize::MAX, Duration::from_millis(1))).unwrap();
            assert!(round.latencies.len() < 1_000_000);
        }
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        let address = server(|bytes| bytes.reverse());
        for connections in [1, 2] {
            let error = run(address, &plan(connections, 20, Duration::from_secs(60))).unwrap_err();
            assert!(error.to_string().contains("not what was sent"), "{error:#}");
        }
    }

    #[test]
    fn a_closed_connection_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || (0..2).for_each(|_| drop(listener.accept().unwrap())));
        assert!(run(address, &plan(2, 20, Duration::from_secs(60))).is_err());
        server.join().unwrap();
    }
}
