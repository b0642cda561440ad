//! Many connections from one thread with epoll.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::{Exchange, MAX_ANSWER_BYTES, Plan, Round, STALL_LIMIT};

struct Connection {
    stream: TcpStream,
    number: usize,
    sequence: usize,
    sent: Instant,
    request: Vec<u8>,
    answer: [u8; MAX_ANSWER_BYTES],
    got: usize,
    answered: bool,
}

/// Plays on all these connections.
pub fn run(streams: Vec<std::net::TcpStream>, exchange: &dyn Exchange, plan: &Plan) -> Result<Round> {
    let mut poll = Poll::new().context("cannot poll")?;
    let mut connections = Vec::with_capacity(streams.len());
    for (number, stream) in streams.into_iter().enumerate() {
        connections.push(Connection::new(stream, number, &poll)?);
    }
    let mut events = Events::with_capacity(connections.len());
    let mut course = Course::new(plan);
    for connection in &mut connections {
        connection.send(exchange)?;
    }
    let mut under_way = connections.len();
    // What is under way at the end is received too, or the server would have it to do during the next measurement.
    while under_way > 0 {
        poll.poll(&mut events, Some(STALL_LIMIT)).context("cannot poll")?;
        if events.is_empty() {
            bail!("no answer on any connection for {} s", STALL_LIMIT.as_secs());
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            if !connection.receive(exchange)? {
                continue;
            }
            if course.goes_on_after(connection.sent, Instant::now()) {
                connection.send(exchange)?;
            } else {
                under_way -= 1;
            }
        }
    }
    Ok(course.round)
}

impl Connection {
    fn new(stream: std::net::TcpStream, number: usize, poll: &Poll) -> Result<Self> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE).context("cannot poll a connection")?;
        Ok(Self {
            stream,
            number,
            sequence: 0,
            sent: Instant::now(),
            request: Vec::new(),
            answer: [0; MAX_ANSWER_BYTES],
            got: 0,
            answered: true,
        })
    }

    fn send(&mut self, exchange: &dyn Exchange) -> Result<()> {
        self.request.clear();
        exchange.request(self.number, self.sequence, &mut self.request);
        self.sequence += 1;
        self.got = 0;
        self.answered = false;
        self.sent = Instant::now();
        // The earlier requests were all answered: there is room for one.
        let sent = self.stream.write(&self.request).context("cannot send")?;
        if sent < self.request.len() {
            bail!("only {sent} of {} bytes could be sent", self.request.len());
        }
        Ok(())
    }

    /// Reads what is there; whether the answer is complete. Readiness is told once for what has come (edge-triggered),
    /// so that a part is read on until nothing is left. Behind a whole answer nothing can come.
    fn receive(&mut self, exchange: &dyn Exchange) -> Result<bool> {
        while !self.answered {
            match self.stream.read(&mut self.answer[self.got..]) {
                Ok(0) if self.got == MAX_ANSWER_BYTES => bail!("an answer has more than {MAX_ANSWER_BYTES} bytes"),
                Ok(0) => bail!("the connection was closed instead of an answer"),
                Ok(got) => self.got += got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("no answer"),
            }
            self.answered = exchange.is_answer(&self.request, &self.answer[..self.got])?;
            if self.answered {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Counts answers: those of the warm-up, those that are measured, and those after the end.
struct Course<'a> {
    plan: &'a Plan,
    warm_up_left: usize,
    start: Option<Instant>,
    ended: bool,
    round: Round,
}

impl<'a> Course<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self { plan, warm_up_left: plan.warm_up, start: None, ended: false, round: Round::default() }
    }

    /// Takes an answer; whether its connection is to send another request. A request that was sent before the start
    /// opens the measured time and is not in it.
    fn goes_on_after(&mut self, sent: Instant, answered: Instant) -> bool {
        if self.ended {
            return false;
        }
        let Some(start) = self.start else {
            self.warm_up_left = self.warm_up_left.saturating_sub(1);
            if self.warm_up_left == 0 {
                self.start = Some(answered);
            }
            return true;
        };
        self.round.latencies.push(answered - sent);
        self.round.elapsed = answered - start;
        self.ended = self.round.latencies.len() >= self.plan.requests || self.round.elapsed >= self.plan.time;
        !self.ended
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn warm_up_and_drain_are_not_counted() {
        let plan = Plan { connections: 2, warm_up: 2, requests: 2, time: Duration::MAX };
        let mut course = Course::new(&plan);
        let zero = Instant::now();
        let at = |milliseconds| zero + Duration::from_millis(milliseconds);
        assert!(course.goes_on_after(at(0), at(1)));
        assert!(course.goes_on_after(at(0), at(2)));
        assert!(course.goes_on_after(at(1), at(3)));
        assert!(!course.goes_on_after(at(2), at(6)));
        assert!(!course.goes_on_after(at(3), at(9)));
        let summary = course.round.latencies.summary().unwrap();
        assert_eq!((summary.samples, summary.p50_ms, summary.max_ms), (2, 2.0, 4.0));
        assert_eq!(course.round.elapsed, Duration::from_millis(4));
    }

    #[test]
    fn the_time_limit_ends_a_round() {
        let plan = Plan { connections: 2, warm_up: 1, requests: usize::MAX, time: Duration::from_millis(5) };
        let mut course = Course::new(&plan);
        let zero = Instant::now();
        assert!(course.goes_on_after(zero, zero));
        assert!(course.goes_on_after(zero, zero + Duration::from_millis(4)));
        assert!(!course.goes_on_after(zero, zero + Duration::from_millis(5)));
    }
}
