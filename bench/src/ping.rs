//! Ping-pong: a client sends a request, waits for its answer, and sends the next. Each connection has one request under
//! way at any time; the load adapts to the server (a closed loop), so these are latencies at the pace that the server
//! itself allows. What is said is an [`Exchange`].

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::latency::Latencies;

pub mod echo;
pub mod get;
mod many;
mod pair;
pub mod put;
pub mod set;

/// The most bytes of an answer.
pub const MAX_ANSWER_BYTES: usize = 1024;
/// How long one answer may take.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// What client and server say to each other.
pub trait Exchange {
    /// Appends a request to `request`, another one for each connection and sequence number.
    fn request(&self, connection: usize, sequence: usize, request: &mut Vec<u8>);

    /// Whether `got` is the whole answer to `request` and not only its start. Anything else is an error.
    fn is_answer(&self, request: &[u8], got: &[u8]) -> Result<bool>;
}

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

/// Plays against the server at `address`.
pub fn run(address: SocketAddr, exchange: &dyn Exchange, plan: &Plan) -> Result<Round> {
    match plan.connections {
        1 => one(connect(address)?, exchange, plan),
        count => many::run((0..count).map(|_| connect(address)).collect::<Result<_>>()?, exchange, plan),
    }
}

/// One connection with blocking calls, the least that a client can cost.
pub struct Line {
    stream: TcpStream,
    request: Vec<u8>,
    answer: [u8; MAX_ANSWER_BYTES],
}

impl Line {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        connect(address).map(Self::new)
    }

    fn new(stream: TcpStream) -> Self {
        Self { stream, request: Vec::new(), answer: [0; MAX_ANSWER_BYTES] }
    }

    /// Sends a request and waits for its answer; how long that took.
    pub fn ask(&mut self, exchange: &dyn Exchange, connection: usize, sequence: usize) -> Result<Duration> {
        self.request.clear();
        exchange.request(connection, sequence, &mut self.request);
        let sent = Instant::now();
        self.stream.write_all(&self.request).context("cannot send")?;
        receive(&mut self.stream, exchange, &self.request, &mut self.answer)?;
        Ok(sent.elapsed())
    }
}

fn one(stream: TcpStream, exchange: &dyn Exchange, plan: &Plan) -> Result<Round> {
    let mut line = Line::new(stream);
    let mut ping = |sequence: usize| line.ask(exchange, 0, sequence);
    for sequence in 0..plan.warm_up {
        ping(sequence)?;
    }
    let mut round = Round::default();
    let start = Instant::now();
    while round.latencies.len() < plan.requests && round.elapsed < plan.time {
        round.latencies.push(ping(plan.warm_up + round.latencies.len())?);
        round.elapsed = start.elapsed();
    }
    Ok(round)
}

fn receive(stream: &mut TcpStream, exchange: &dyn Exchange, request: &[u8], answer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    loop {
        match stream.read(&mut answer[filled..]).context("no answer")? {
            0 if filled == answer.len() => bail!("an answer has more than {MAX_ANSWER_BYTES} bytes"),
            0 => bail!("the connection was closed instead of an answer"),
            got => filled += got,
        }
        if exchange.is_answer(request, &answer[..filled])? {
            return Ok(());
        }
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&address, STALL_LIMIT).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL_LIMIT))?;
    stream.set_write_timeout(Some(STALL_LIMIT))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::echo::Echo;
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
            let round = run(address, &Echo, &plan(connections, 20, Duration::from_secs(60))).unwrap();
            assert_eq!(round.latencies.len(), 20);
            assert!(round.rate() > 0.0);
        }
    }

    #[test]
    fn a_round_ends_after_its_time() {
        let address = server(|_| {});
        for connections in [1, 8] {
            let round = run(address, &Echo, &plan(connections, usize::MAX, Duration::from_millis(1))).unwrap();
            assert!(round.latencies.len() < 1_000_000);
        }
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        let address = server(|bytes| bytes.reverse());
        for connections in [1, 2] {
            let error = run(address, &Echo, &plan(connections, 20, Duration::from_secs(60))).unwrap_err();
            assert!(error.to_string().contains("not what was sent"), "{error:#}");
        }
    }

    #[test]
    fn an_answer_without_an_end_is_an_error() {
        struct Endless;
        impl Exchange for Endless {
            fn request(&self, _: usize, _: usize, request: &mut Vec<u8>) {
                request.resize(2 * MAX_ANSWER_BYTES, 0x2e);
            }
            fn is_answer(&self, _: &[u8], _: &[u8]) -> Result<bool> {
                Ok(false)
            }
        }
        let address = server(|_| {});
        for connections in [1, 2] {
            let error = run(address, &Endless, &plan(connections, 20, Duration::from_secs(60))).unwrap_err();
            assert!(error.to_string().contains("more than 1024 bytes"), "{error:#}");
        }
    }

    #[test]
    fn a_closed_connection_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || (0..2).for_each(|_| drop(listener.accept().unwrap())));
        assert!(run(address, &Echo, &plan(2, 20, Duration::from_secs(60))).is_err());
        server.join().unwrap();
    }
}
