//! The poll loop: sessions, their commands, and the messages between them.

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;

use crate::bus::Bus;
use crate::poll::{self, Polled};
use crate::protocol::{self, Command, Fault, MAX_PAYLOAD};
use crate::session::{Announced, MAX_PENDING, Session};

/// Most sessions; further clients wait in the backlog.
const MAX_SESSIONS: usize = 1000;
/// Bytes that wait for all clients together; who is given more is too slow.
const MAX_PENDING_OF_ALL: usize = 64 << 20;
/// New clients taken in one round.
const ACCEPTS: usize = 64;

pub struct Server {
    listener: TcpListener,
    /// By the order in which they came.
    sessions: Vec<Session>,
    last: u64,
    bus: Bus,
}

impl Server {
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, sessions: Vec::new(), last: 0, bus: Bus::default() }
    }

    /// Serves until the system refuses to; why it did.
    pub fn run(mut self) -> io::Error {
        if let Err(error) = self.listener.set_nonblocking(true) {
            return error;
        }
        let mut polled = Vec::new();
        loop {
            let ids: Vec<u64> = self.sessions.iter().map(|session| session.id).collect();
            polled.clear();
            polled.extend(self.sessions.iter().map(Session::polled));
            if ids.len() < MAX_SESSIONS {
                polled.push(Polled::readable(self.listener.as_raw_fd()));
            }
            if let Err(error) = poll::wait(&mut polled) {
                return error;
            }
            for (id, _) in ids.iter().zip(&polled).filter(|(_, polled)| polled.happened()) {
                self.serve(*id);
            }
            if polled.get(ids.len()).is_some_and(|listener| listener.happened()) {
                self.accept();
            }
            self.sweep();
        }
    }

    fn session(&mut self, id: u64) -> Option<&mut Session> {
        let at = self.sessions.binary_search_by_key(&id, |session| session.id).ok()?;
        Some(&mut self.sessions[at])
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS.min(MAX_SESSIONS - self.sessions.len()) {
            match self.listener.accept() {
                Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                    // Without it answers may only come later.
                    let _ = stream.set_nodelay(true);
                    self.last += 1;
                    let mut session = Session::new(self.last, stream);
                    session.push(&[greeting(self.last).as_bytes()]);
                    session.send();
                    self.sessions.push(session);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Reads and does what a session wants, until it has to wait for more.
    fn serve(&mut self, id: u64) {
        let Some(session) = self.session(id) else { return };
        session.send();
        session.receive();
        while self.step(id) {}
    }

    /// Does one thing for a session; false when there is nothing to do.
    fn step(&mut self, id: u64) -> bool {
        let Some(session) = self.session(id).filter(|session| !session.is_leaving()) else { return false };
        let done = if let Some(announced) = session.announced.take() {
            match session.payload(announced.bytes) {
                Some((payload, true)) => self.publish(id, &announced, &payload),
                Some((_, false)) => Err(Fault::Parser),
                None => {
                    session.announced = Some(announced);
                    return false;
                }
            }
        } else {
            match session.line() {
                Ok(Some(line)) => protocol::parse(&line).and_then(|command| self.obey(id, command)),
                Ok(None) => return false,
                Err(()) => Err(Fault::Line),
            }
        };
        if let Err(fault) = done {
            self.refuse(id, fault);
        }
        true
    }

    fn obey(&mut self, id: u64, command: Command<'_>) -> Result<(), Fault> {
        let Some(session) = self.session(id) else { return Ok(()) };
        match command {
            Command::Connect { verbose, echo } => {
                session.verbose = verbose.unwrap_or(session.verbose);
                session.echo = echo.unwrap_or(session.echo);
            }
            Command::Ping => {
                self.push(id, &[b"PONG\r\n"]);
                return Ok(());
            }
            Command::Pong => return Ok(()),
            Command::Subscribe { subject, group, sid } => self.bus.subscribe(id, subject, group, sid)?,
            Command::Unsubscribe { sid, after } => self.bus.unsubscribe(id, sid, after),
            Command::Publish { subject, reply, bytes } => {
                let (subject, reply) = (subject.to_owned(), reply.map(str::to_owned));
                session.announced = Some(Announced { subject, reply, bytes });
                return Ok(());
            }
        }
        self.acknowledge(id);
        Ok(())
    }

    fn publish(&mut self, id: u64, announced: &Announced, payload: &[u8]) -> Result<(), Fault> {
        if !protocol::is_subject(&announced.subject) {
            return Err(Fault::Subject);
        }
        let echo = self.session(id).is_none_or(|session| session.echo);
        for (to, sid) in self.bus.route(&announced.subject, (!echo).then_some(id)) {
            let reply = announced.reply.as_ref().map(|reply| format!("{reply} ")).unwrap_or_default();
            let head = format!("MSG {} {sid} {reply}{}\r\n", announced.subject, payload.len());
            self.push(to, &[head.as_bytes(), payload, b"\r\n"]);
        }
        self.acknowledge(id);
        Ok(())
    }

    fn acknowledge(&mut self, id: u64) {
        if self.session(id).is_some_and(|session| session.verbose) {
            self.push(id, &[b"+OK\r\n"]);
        }
    }

    fn refuse(&mut self, id: u64, fault: Fault) {
        self.push(id, &[format!("-ERR '{}'\r\n", fault.words()).as_bytes()]);
        if let Some(session) = self.session(id) {
            session.closing |= !fault.is_survived();
        }
    }

    /// Gives bytes to a session, which is ended when too many wait for it.
    fn push(&mut self, id: u64, parts: &[&[u8]]) {
        let Some(session) = self.session(id).filter(|session| !session.is_leaving()) else { return };
        session.push(parts);
        // What a client takes at once does not wait.
        if session.pending() >= MAX_PENDING / 2 {
            session.send();
        }
        let pending = session.pending();
        if pending > MAX_PENDING || (pending > MAX_PAYLOAD && self.pending() > MAX_PENDING_OF_ALL) {
            self.bus.leave(id);
            let Some(session) = self.session(id) else { return };
            session.push(&[b"-ERR '", Fault::SlowConsumer.words().as_bytes(), b"'\r\n"]);
            session.abandon();
        }
    }

    fn pending(&self) -> usize {
        self.sessions.iter().map(Session::pending).sum()
    }

    /// Writes what is to be written, and forgets the sessions that are over.
    fn sweep(&mut self) {
        self.sessions.iter_mut().for_each(Session::send);
        self.sessions.retain(|session| {
            if session.is_over() {
                self.bus.leave(session.id);
            }
            !session.is_over()
        });
    }
}

fn greeting(id: u64) -> String {
    format!(
        "INFO {{\"server_id\":\"MESSAGE-BUS\",\"server_name\":\"message-bus\",\"version\":\"0.1.0\",\"proto\":0,\
         \"headers\":false,\"max_payload\":{MAX_PAYLOAD},\"client_id\":{id}}}\r\n"
    )
}
