//! Raw replication: what any log with three members pays at least on this machine, without anything that a real one
//! needs besides (elections, recovery, checks). A leader and two followers, each with a file of its own, talk over
//! loopback TCP; a client's frame is answered when the leader and one follower have it on their disks. Everything that
//! is queued while one batch is being written makes up the next one (group commit).

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use mio::Waker;

use self::leader::Leader;
use crate::journal::Journal;
use crate::ping::Exchange;

mod follower;
mod leader;

/// Bytes of a client's frame.
pub const FRAME_BYTES: usize = 256;
/// The start of a frame comes back as its answer.
const ANSWER_BYTES: usize = 16;
const FOLLOWERS: usize = 2;

/// The running members; ended when dropped.
pub struct RawReplication {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    threads: Vec<(&'static str, JoinHandle<Result<()>>)>,
}

impl RawReplication {
    /// Starts them, with their files in `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        let mut threads = Vec::new();
        let mut followers = Vec::new();
        for number in 0..FOLLOWERS {
            let journal = Journal::create(&folder.join(format!("raw-follower-{number}")))?;
            let (near, far) = connected()?;
            followers.push(near);
            threads.push(("follower", thread::spawn(move || follower::follow(far, journal))));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let journal = Journal::create(&folder.join("raw-leader"))?;
        let leader = Leader::new(followers, journal, Arc::clone(&stop))?;
        let (address, waker) = (leader.address()?, leader.waker());
        // First, so that it is joined first: the followers end when it has gone.
        threads.insert(0, ("leader", thread::spawn(move || leader.run())));
        Ok(Self { address, stop, waker, threads })
    }

    /// Where the leader takes frames.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RawReplication {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Err(error) = self.waker.wake() {
            eprintln!("bench: the leader of the floor cannot be ended: {error}");
            return;
        }
        for (name, thread) in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("bench: the {name} of the floor failed: {error:#}"),
                Err(_) => eprintln!("bench: the {name} of the floor panicked"),
            }
        }
    }
}

/// Both ends of a connection.
fn connected() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
    let near = TcpStream::connect(listener.local_addr()?).context("cannot connect")?;
    let (far, _) = listener.accept().context("cannot accept")?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// What a client says to the leader: a frame, whose start comes back.
pub struct Frame;

impl Exchange for Frame {
    fn request(&self, connection: usize, sequence: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(&(connection as u64).to_le_bytes());
        request.extend_from_slice(&(sequence as u64).to_le_bytes());
        request.resize(FRAME_BYTES, 0x2e);
    }

    fn is_answer(&self, request: &[u8], got: &[u8]) -> Result<bool> {
        if got.len() < ANSWER_BYTES {
            return Ok(false);
        }
        if got != &request[..ANSWER_BYTES] {
            bail!("the answer is to another frame");
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::ping::{self, Plan};

    #[test]
    fn an_answered_frame_is_in_the_files_of_the_leader_and_of_a_follower() {
        let folder = tempfile::tempdir().unwrap();
        let raw = RawReplication::start(folder.path()).unwrap();
        for connections in [1, 8] {
            let plan = Plan { connections, warm_up: 2, requests: 20, time: Duration::from_secs(60) };
            assert_eq!(ping::run(raw.address(), &Frame, &plan).unwrap().latencies.len(), 20);
        }
        let mut frame = Vec::new();
        Frame.request(7, 2, &mut frame);
        let has =
            |name: &str| fs::read(folder.path().join(name)).unwrap().chunks(FRAME_BYTES).any(|part| part == frame);
        assert!(has("raw-leader"));
        assert!(has("raw-follower-0") || has("raw-follower-1"));
    }

    #[test]
    fn it_ends_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let raw = RawReplication::start(folder.path()).unwrap();
        let address = raw.address();
        drop(raw);
        assert!(TcpStream::connect(address).is_err());
    }
}
