//! Connections to a program that runs by itself: what clients do becomes records, what the program does to them is done.
//!
//! Each connection has a thread that reads, as far as the window allows, and one that writes. Both hand over to the
//! thread that runs the guest; it alone knows the connections.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use refrain_wire::record::ResetReason;
use refrain_wire::turn::TurnEffects;
use refrain_wire::{EffectKind, Record, Serial};

use super::{EVENTS, Event, Events, Listen, MAX_CONNECTIONS, RunError, WINDOW_BYTES, spawn, system};

/// The most bytes that are read from a connection at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// How long an accept that failed for want of something waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const _: () = assert!(EVENTS * CHUNK_BYTES <= 64 << 20, "what waits is bounded");

/// What a connection's threads tell.
pub(super) enum News {
    /// A client connected to this port of the guest.
    Opened(TcpStream, SocketAddr, u16),
    /// It sent bytes; none when it will send nothing more.
    Data(Serial, Bytes),
    /// It has taken bytes.
    Taken(Serial, u64),
    /// It is gone.
    Broken(Serial),
    /// Everything that the program sent is written, and it will send nothing more.
    Written(Serial),
}

/// What is still to be written.
enum Write {
    Bytes(Bytes),
    Finish,
}

/// How much may be read; nothing any more once it is closed.
struct Window {
    allowed: Mutex<Option<u64>>,
    changed: Condvar,
}

impl Window {
    fn raise(&self, more: u64) {
        if let Some(allowed) = &mut *self.allowed.lock() {
            *allowed += more;
        }
        self.changed.notify_one();
    }

    fn lower(&self, taken: u64) {
        if let Some(allowed) = &mut *self.allowed.lock() {
            *allowed -= taken;
        }
    }

    fn close(&self) {
        *self.allowed.lock() = None;
        self.changed.notify_one();
    }

    /// Waits until something may be read.
    fn wait(&self) -> Option<u64> {
        let mut allowed = self.allowed.lock();
        while *allowed == Some(0) {
            self.changed.wait(&mut allowed);
        }
        *allowed
    }
}

struct Connection {
    stream: Arc<TcpStream>,
    window: Arc<Window>,
    writes: Sender<Write>,
    consumed: u64,
    /// The client, and the program, will send nothing more.
    ended: [bool; 2],
}

/// All connections.
pub(super) struct Connections {
    events: Events,
    addresses: Vec<SocketAddr>,
    open: BTreeMap<Serial, Connection>,
    next: u32,
}

impl Connections {
    /// Listens, and accepts from then on.
    pub(super) fn listen(listen: &[Listen], events: &Events) -> Result<Self, RunError> {
        let mut addresses = Vec::new();
        for Listen { address, port } in listen {
            let listener = TcpListener::bind(address).map_err(system(format!("cannot listen on {address}")))?;
            addresses.push(listener.local_addr().map_err(system(format!("cannot listen on {address}")))?);
            let (events, port) = (events.clone(), *port);
            spawn("accept", move || accept(&listener, port, &events))?;
        }
        Ok(Self { events: events.clone(), addresses, open: BTreeMap::new(), next: 0 })
    }

    /// Where connections are accepted.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What the guest is told of news.
    pub(super) fn record(&mut self, news: News) -> Option<Record> {
        match news {
            News::Opened(stream, peer, port) => {
                let serial = self.open(stream)?;
                Some(Record::Open { serial, port, peer })
            }
            News::Data(serial, bytes) => {
                let connection = self.open.get_mut(&serial)?;
                if bytes.is_empty() {
                    connection.ended[0] = true;
                    if connection.ended[1] {
                        self.close(serial);
                    }
                    return Some(Record::Shutdown(serial));
                }
                Some(Record::Data { serial, delivered: 0, bytes })
            }
            News::Taken(serial, delivered) => {
                self.open.contains_key(&serial).then_some(Record::Credit { serial, delivered })
            }
            News::Broken(serial) => {
                let known = self.close(serial);
                known.then_some(Record::Reset { serial, reason: ResetReason::Client })
            }
            News::Written(serial) => {
                let connection = self.open.get_mut(&serial)?;
                connection.ended[1] = true;
                // The kernel's flow is over by itself when both sides have ended.
                if connection.ended[0] {
                    self.close(serial);
                }
                None
            }
        }
    }

    fn open(&mut self, stream: TcpStream) -> Option<Serial> {
        if self.open.len() >= MAX_CONNECTIONS as usize {
            reset(&stream);
            return None;
        }
        let (stream, serial) = (Arc::new(stream), Serial(self.next));
        self.next += 1;
        let window = Arc::new(Window { allowed: Mutex::new(Some(WINDOW_BYTES)), changed: Condvar::new() });
        let (writes, written) = channel();
        let (events, source, bound) = (self.events.clone(), Arc::clone(&stream), Arc::clone(&window));
        let reading = spawn("read", move || read(&source, serial, &bound, &events));
        let (events, target) = (self.events.clone(), Arc::clone(&stream));
        let writing = spawn("write", move || write(&target, serial, &written, &events));
        if reading.and(writing).is_err() {
            reset(&stream);
            return None;
        }
        self.open.insert(serial, Connection { stream, window, writes, consumed: 0, ended: [false; 2] });
        Some(serial)
    }

    /// Does to the connections what a turn wants done.
    pub(super) fn apply(&mut self, effects: &TurnEffects) {
        for effect in &effects.effects {
            let Some(flow) = effect.entry.flow else { continue };
            let Some(connection) = self.open.get_mut(&flow.serial) else { continue };
            match effect.entry.kind {
                EffectKind::Bytes => drop(connection.writes.send(Write::Bytes(effect.payload.clone()))),
                EffectKind::Finish => drop(connection.writes.send(Write::Finish)),
                EffectKind::Consumed => {
                    let more = effect.entry.offset.saturating_sub(connection.consumed);
                    connection.consumed = effect.entry.offset;
                    connection.window.raise(more);
                }
                EffectKind::Reset => {
                    reset(&connection.stream);
                    self.close(flow.serial);
                }
                _ => {}
            }
        }
    }

    /// Whether something may still be written.
    pub(super) fn are_open(&self) -> bool {
        self.open.values().any(|connection| !connection.ended[1])
    }

    /// Takes news after the program has ended.
    pub(super) fn last(&mut self, news: &News) {
        match news {
            News::Written(serial) | News::Broken(serial) => drop(self.close(*serial)),
            News::Opened(stream, ..) => reset(stream),
            News::Data(..) | News::Taken(..) => {}
        }
    }

    /// Ends a connection's threads. Whether it was known.
    fn close(&mut self, serial: Serial) -> bool {
        let Some(connection) = self.open.remove(&serial) else { return false };
        let _ = connection.stream.shutdown(Shutdown::Both);
        connection.window.close();
        true
    }
}

fn reset(stream: &TcpStream) {
    // Closed with nothing to wait for, a socket resets.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

fn accept(listener: &TcpListener, port: u16, events: &Events) {
    let pause = (Mutex::new(()), Condvar::new());
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                if events.send(Event::Connection(News::Opened(stream, peer, port))).is_err() {
                    return;
                }
            }
            // Mostly want of descriptors: others end in time.
            Err(_) => drop(pause.1.wait_for(&mut pause.0.lock(), ACCEPT_PAUSE)),
        }
    }
}

fn read(stream: &TcpStream, serial: Serial, window: &Window, events: &Events) {
    let (mut stream, mut chunk) = (stream, vec![0; CHUNK_BYTES]);
    loop {
        let Some(allowed) = window.wait() else { return };
        let allowed = usize::try_from(allowed).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let news = match stream.read(&mut chunk[..allowed]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => News::Broken(serial),
            Ok(read) => {
                window.lower(read as u64);
                News::Data(serial, Bytes::copy_from_slice(&chunk[..read]))
            }
        };
        let last = !matches!(&news, News::Data(_, bytes) if !bytes.is_empty());
        if events.send(Event::Connection(news)).is_err() || last {
            return;
        }
    }
}

fn write(stream: &TcpStream, serial: Serial, writes: &Receiver<Write>, events: &Events) {
    let mut to = stream;
    for write in writes {
        let news = match write {
            Write::Bytes(bytes) => match to.write_all(&bytes) {
                Ok(()) => News::Taken(serial, bytes.len() as u64),
                Err(_) => News::Broken(serial),
            },
            Write::Finish => {
                let _ = stream.shutdown(Shutdown::Write);
                News::Written(serial)
            }
        };
        if events.send(Event::Connection(news)).is_err() {
            return;
        }
    }
}
