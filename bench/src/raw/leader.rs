//! The leader: one thread that takes what all clients have sent, has it written by everybody, and answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::follower::{self, ACK_BYTES};
use super::{ANSWER_BYTES, FRAME_BYTES};
use crate::journal::Journal;

const MAX_CLIENTS: usize = 1024;
const LISTENER: Token = Token(MAX_CLIENTS);
const WAKER: Token = Token(MAX_CLIENTS + 1);
/// How long a follower may take.
const ACK_LIMIT: Duration = Duration::from_secs(30);

/// The leader.
pub struct Leader {
    poll: Poll,
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    listener: mio::net::TcpListener,
    clients: Vec<Option<Client>>,
    journal: Journal,
    followers: Followers,
    batch: Vec<u8>,
    /// Whose frames the batch is made of.
    askers: Vec<usize>,
}

struct Client {
    stream: mio::net::TcpStream,
    frame: [u8; FRAME_BYTES],
    got: usize,
}

impl Leader {
    /// A leader that listens on a free port.
    pub fn new(followers: Vec<TcpStream>, journal: Journal, stop: Arc<AtomicBool>) -> Result<Self> {
        let poll = Poll::new().context("cannot poll")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listener = mio::net::TcpListener::bind(address).context("cannot listen")?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let followers = Followers::new(followers)?;
        let (clients, batch, askers) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { poll, waker, stop, listener, clients, journal, followers, batch, askers })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().context("the listener has no address")
    }

    /// Interrupts its waiting.
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Leads until it is asked to stop.
    pub fn run(mut self) -> Result<()> {
        let mut events = Events::with_capacity(MAX_CLIENTS);
        while !self.stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.context("cannot poll")?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    WAKER => {}
                    Token(client) => self.receive(client),
                }
            }
            if !self.batch.is_empty() {
                self.commit()?;
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot accept"),
            };
            stream.set_nodelay(true)?;
            let free = self.clients.iter().position(Option::is_none).unwrap_or(self.clients.len());
            ensure!(free < MAX_CLIENTS, "more than {MAX_CLIENTS} clients");
            self.poll.registry().register(&mut stream, Token(free), Interest::READABLE)?;
            let client = Some(Client { stream, frame: [0; FRAME_BYTES], got: 0 });
            match self.clients.get_mut(free) {
                Some(place) => *place = client,
                None => self.clients.push(client),
            }
        }
    }

    /// Takes what a client has sent. Behind a whole frame nothing comes before its answer.
    fn receive(&mut self, number: usize) {
        let Some(client) = &mut self.clients[number] else { return };
        while client.got < FRAME_BYTES {
            match client.stream.read(&mut client.frame[client.got..]) {
                Ok(got @ 1..) => client.got += got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.clients[number] = None;
                    return;
                }
            }
        }
        client.got = 0;
        self.batch.extend_from_slice(&client.frame);
        self.askers.push(number);
    }

    /// Has the batch written here and by one follower at least, and answers its clients.
    fn commit(&mut self) -> Result<()> {
        self.followers.send(&self.batch)?;
        self.journal.append(&self.batch)?;
        self.followers.wait()?;
        for (frame, asker) in self.batch.chunks(FRAME_BYTES).zip(self.askers.drain(..)) {
            let Some(client) = &mut self.clients[asker] else { continue };
            // One answer always has room. A client that has gone wants none.
            if !matches!(client.stream.write(&frame[..ANSWER_BYTES]), Ok(ANSWER_BYTES)) {
                self.clients[asker] = None;
            }
        }
        self.batch.clear();
        Ok(())
    }
}

/// The connections to the followers. They block when they are written to and do not when they are read from.
struct Followers {
    poll: Poll,
    events: Events,
    streams: Vec<TcpStream>,
    number: u64,
    /// The start of an acknowledgement, for each.
    parts: Vec<Vec<u8>>,
    /// The last batch that any follower has on its disk.
    acknowledged: u64,
}

impl Followers {
    fn new(streams: Vec<TcpStream>) -> Result<Self> {
        let poll = Poll::new().context("cannot poll")?;
        for (number, stream) in streams.iter().enumerate() {
            let fd = stream.as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), Token(number), Interest::READABLE)?;
        }
        let (events, parts) = (Events::with_capacity(streams.len()), vec![Vec::new(); streams.len()]);
        Ok(Self { poll, events, streams, number: 0, parts, acknowledged: 0 })
    }

    fn send(&mut self, batch: &[u8]) -> Result<()> {
        self.number += 1;
        let message = [&follower::head(self.number, batch), batch].concat();
        for stream in &mut self.streams {
            stream.write_all(&message).context("cannot send to a follower")?;
        }
        Ok(())
    }

    /// Waits until one follower has acknowledged what was sent last.
    fn wait(&mut self) -> Result<()> {
        while self.acknowledged < self.number {
            match self.poll.poll(&mut self.events, Some(ACK_LIMIT)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.context("cannot poll")?,
            }
            ensure!(!self.events.is_empty(), "no follower has answered for {} s", ACK_LIMIT.as_secs());
            let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
            for number in ready {
                self.read(number)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, number: usize) -> Result<()> {
        let part = &mut self.parts[number];
        let mut buffer = [0; 64 * ACK_BYTES];
        loop {
            match rustix::net::recv(&self.streams[number], &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => bail!("a follower has gone"),
                Ok((_, got)) => part.extend_from_slice(&buffer[..got]),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot read from a follower"),
            }
        }
        let whole = part.len() / ACK_BYTES * ACK_BYTES;
        for ack in part.drain(..whole).collect::<Vec<u8>>().chunks_exact(ACK_BYTES) {
            let number = ack.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
            self.acknowledged = self.acknowledged.max(number);
        }
        Ok(())
    }
}
