//! What the machine can do without any server. Everything else is judged against this, measured in the same minutes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::thread::futex;

use super::Rows;
use crate::journal::Journal;
use crate::latency::Latencies;
use crate::ping::echo::MESSAGE_BYTES;
use crate::report::{Row, Side};
use crate::setup::Setup;

const SYNCS: usize = 1000;
const ROUND_TRIPS: usize = 20_000;
const WARM_UP: usize = 200;
/// No part takes longer, however slow the machine is.
const TIME_LIMIT: Duration = Duration::from_secs(5);
const WRITE_BYTES: usize = 256;

/// Measures all of it.
pub fn measure(setup: &Setup, rows: &mut Rows) -> Result<()> {
    let mut add = |what: &str, latencies: Latencies| {
        rows.push(Row { latency: latencies.summary(), ..Row::new(what, Side::Floor) });
    };
    add("fdatasync 256 B (F)", SyncFloor::create(setup.folder())?.time(setup.scaled(SYNCS))?);
    add("loopback round trip 64 B", loopback(setup.scaled(ROUND_TRIPS))?);
    add("futex wake", wake(setup.scaled(ROUND_TRIPS))?);
    Ok(())
}

/// The least that a write with durability costs (F).
pub struct SyncFloor(Journal);

impl SyncFloor {
    /// Makes its file in `folder`.
    pub fn create(folder: &Path) -> Result<Self> {
        Journal::create(&folder.join("floor")).map(Self)
    }

    /// Writes 256 bytes and syncs them, one after the other, at most `count` times.
    pub fn time(&mut self, count: usize) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        let start = Instant::now();
        while latencies.len() < count && start.elapsed() < TIME_LIMIT {
            let begin = Instant::now();
            self.0.append(&[0x2e; WRITE_BYTES])?;
            latencies.push(begin.elapsed());
        }
        Ok(latencies)
    }
}

/// 64 bytes there and back between two threads with blocking calls.
fn loopback(count: usize) -> Result<Latencies> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let mut client = TcpStream::connect(listener.local_addr()?).context("cannot connect")?;
    let (mut server, _) = listener.accept().context("cannot accept")?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let echo = thread::spawn(move || {
        let mut buffer = [0; MESSAGE_BYTES];
        while server.read_exact(&mut buffer).and_then(|()| server.write_all(&buffer)).is_ok() {}
    });
    let mut buffer = [0x2e; MESSAGE_BYTES];
    let latencies = repeat(count, || {
        client.write_all(&buffer)?;
        Ok(client.read_exact(&mut buffer)?)
    });
    // The other thread ends with the connection.
    drop(client);
    echo.join().map_err(|_| anyhow!("the echo thread panicked"))?;
    latencies
}

/// So many bytes from one thread to another over a connection; the last one is waited for.
pub fn bulk(bytes: usize, count: usize) -> Result<Latencies> {
    const PIECE_BYTES: usize = 256 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let mut client = TcpStream::connect(listener.local_addr()?).context("cannot connect")?;
    let (mut server, _) = listener.accept().context("cannot accept")?;
    let sink = thread::spawn(move || {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let mut left = bytes;
            while left > 0 {
                match server.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(read) => left = left.saturating_sub(read),
                }
            }
            if server.write_all(&[0]).is_err() {
                return;
            }
        }
    });
    let whole = vec![0x2e; bytes];
    let mut latencies = Latencies::default();
    for _ in 0..count {
        let begin = Instant::now();
        client.write_all(&whole).and_then(|()| client.read_exact(&mut [0])).context("the connection broke")?;
        latencies.push(begin.elapsed());
    }
    drop(client);
    sink.join().map_err(|_| anyhow!("the thread that reads panicked"))?;
    Ok(latencies)
}

/// Two threads wake each other in turns; one wake is half a turn.
fn wake(count: usize) -> Result<Latencies> {
    const PING: u32 = 1;
    const PONG: u32 = 2;
    const END: u32 = 3;
    let word = AtomicU32::new(PONG);
    thread::scope(|scope| {
        let other = scope.spawn(|| -> rustix::io::Result<()> {
            while wait_while(&word, PONG)? != END {
                tell(&word, PONG)?;
            }
            Ok(())
        });
        let both = repeat(count, || {
            tell(&word, PING)?;
            wait_while(&word, PING)?;
            Ok(())
        });
        tell(&word, END)?;
        other.join().map_err(|_| anyhow!("the other thread panicked"))??;
        Ok(both?.halved())
    })
}

fn tell(word: &AtomicU32, value: u32) -> rustix::io::Result<()> {
    word.store(value, Ordering::Release);
    futex::wake(word, futex::Flags::PRIVATE, 1)?;
    Ok(())
}

/// Sleeps until the word has another value; that value.
fn wait_while(word: &AtomicU32, value: u32) -> rustix::io::Result<u32> {
    use rustix::io::Errno;
    loop {
        let found = word.load(Ordering::Acquire);
        if found != value {
            return Ok(found);
        }
        match futex::wait(word, futex::Flags::PRIVATE, value, None) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Times `action` at most `count` times, after some that do not count.
fn repeat(count: usize, mut action: impl FnMut() -> Result<()>) -> Result<Latencies> {
    for _ in 0..WARM_UP {
        action()?;
    }
    let mut latencies = Latencies::default();
    let start = Instant::now();
    while latencies.len() < count && start.elapsed() < TIME_LIMIT {
        let begin = Instant::now();
        action()?;
        latencies.push(begin.elapsed());
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_floor_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(SyncFloor::create(folder.path()).unwrap().time(3).unwrap().len(), 3);
        assert_eq!(loopback(5).unwrap().len(), 5);
        assert_eq!(wake(5).unwrap().len(), 5);
    }
}
