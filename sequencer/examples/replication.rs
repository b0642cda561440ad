//! How long a commit of three members takes, beside the raw floor: a leader and two followers, each writing and
//! syncing a file of its own, over TCP on the loopback interface. One process, one thread a member; all members share
//! the disk and the cores of the machine, which is harder than three machines, and the network is easier.
//!
//! The floor does what cannot be left out: what waits goes to the followers and to the own disk at the same time, and
//! is acknowledged when one follower and the own disk have it. The members batch above Raft as the sequencer does: one
//! entry is on its way, and all frames that wait meanwhile are the next one. A frame is one record of 256 bytes.
//!
//! `cargo run --release -p refrain-sequencer --example replication [FOLDER] [SECONDS]`

use std::io::{IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use refrain_sequencer::disk::{Disk, DiskFile, RealDisk};
use refrain_sequencer::flush::FlushThread;
use refrain_sequencer::log::OrderedLog;
use refrain_sequencer::net::{Listener, Net, Tcp};
use refrain_sequencer::raft::{Bootstrap, RaftLog, RaftOptions};
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::{GroupId, NodeId, Time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

const FRAME_BYTES: usize = 256;
const FILE_BYTES: u64 = 32 << 20;
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Frames = mpsc::Receiver<oneshot::Sender<()>>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let folder = Path::new(&args.next().unwrap_or_else(|| ".".to_owned())).join("replication");
    let seconds: u64 = args.next().map_or(Ok(3), |seconds| seconds.parse())?;
    println!("frames of {FRAME_BYTES} bytes, {seconds} s each, in {}", folder.display());
    // Twice, because the minute matters more than the code on a shared machine.
    for round in 0..2 {
        for clients in [1, 64] {
            for (what, measure) in [("raw floor", floor as Measure), ("three members", members)] {
                let place = folder.join(format!("{round}-{clients}-{}", what.replace(' ', "-")));
                let times = measure(&place, clients, Duration::from_secs(seconds))?;
                report(what, clients, times, seconds);
                std::fs::remove_dir_all(&place)?;
            }
        }
    }
    Ok(std::fs::remove_dir_all(&folder)?)
}

type Measure = fn(&Path, usize, Duration) -> Result<Vec<Duration>, Failure>;

fn report(what: &str, clients: usize, mut times: Vec<Duration>, seconds: u64) {
    times.sort();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e6;
    let rate = times.len() as u64 / seconds;
    println!("{what:14} {clients:3} clients   p50 {:7.0} us   p99 {:7.0} us   {rate:7} frames/s", at(50), at(99));
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Clients that send one frame after another until the time is over; returns how long each frame took.
async fn load(frames: mpsc::Sender<oneshot::Sender<()>>, clients: usize, time: Duration) -> Vec<Duration> {
    let warm = Instant::now() + Duration::from_millis(300);
    let end = warm + time;
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let frames = frames.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let start = Instant::now();
                    if start > end {
                        return times;
                    }
                    let (done, wait) = oneshot::channel();
                    frames.send(done).await.expect("the leader runs");
                    wait.await.expect("the frame is acknowledged");
                    if start > warm {
                        times.push(start.elapsed());
                    }
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.expect("a client does not panic"));
    }
    times
}

/// Nobody minds a client that is gone.
fn acknowledge(batch: Vec<oneshot::Sender<()>>) {
    batch.into_iter().for_each(|done| _ = done.send(()));
}

async fn waiting(frames: &mut Frames) -> Option<Vec<oneshot::Sender<()>>> {
    let mut batch = Vec::new();
    let count = frames.recv_many(&mut batch, 1024).await;
    (count > 0).then_some(batch)
}

/// A file that is written and synced where one stands.
struct Journal {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Journal {
    fn open(folder: &Path) -> std::io::Result<Self> {
        let file = RealDisk::open(folder)?.create("raw")?;
        file.preallocate(FILE_BYTES)?;
        file.sync()?;
        Ok(Self { file, at: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.at + bytes.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_at(self.at, &[IoSlice::new(bytes)])?;
        self.at += bytes.len() as u64;
        self.file.sync()
    }
}

fn floor(folder: &Path, clients: usize, time: Duration) -> Result<Vec<Duration>, Failure> {
    let mut addresses = Vec::new();
    for follower in ["b", "c"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        addresses.push(listener.local_addr()?);
        let journal = Journal::open(&folder.join(follower))?;
        std::thread::spawn(move || follow(&listener, journal));
    }
    runtime()?.block_on(async {
        let journal = Journal::open(&folder.join("a"))?;
        let (sender, frames) = mpsc::channel(1024);
        let mut streams = Vec::new();
        for address in addresses {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let leader = tokio::spawn(lead(journal, streams, frames));
        let times = load(sender, clients, time).await;
        leader.await??;
        Ok(times)
    })
}

fn follow(listener: &std::net::TcpListener, mut journal: Journal) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut len = [0; 4];
    // The end of the stream is the end of the measurement.
    while stream.read_exact(&mut len).is_ok() {
        let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
        stream.read_exact(&mut bytes)?;
        journal.write(&bytes)?;
        stream.write_all(&[1])?;
    }
    Ok(())
}

async fn lead(mut journal: Journal, streams: Vec<tokio::net::TcpStream>, mut frames: Frames) -> std::io::Result<()> {
    let (sender, mut acknowledged) = mpsc::channel::<u64>(64);
    let mut halves = Vec::new();
    for stream in streams {
        let (mut read, write) = stream.into_split();
        halves.push(write);
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut number = 0;
            while read.read_u8().await.is_ok() {
                number += 1;
                if sender.send(number).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut number = 0;
    while let Some(batch) = waiting(&mut frames).await {
        number += 1;
        let bytes = vec![7; batch.len() * FRAME_BYTES];
        let message = [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat();
        for half in &mut halves {
            half.write_all(&message).await?;
        }
        journal.write(&bytes)?;
        while acknowledged.recv().await.expect("followers run") < number {}
        acknowledge(batch);
    }
    Ok(())
}

fn members(folder: &Path, clients: usize, time: Duration) -> Result<Vec<Duration>, Failure> {
    let listeners = runtime()?.block_on(async {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            listeners.push((listener.local_addr()?.to_string(), listener));
        }
        Ok::<_, Failure>(listeners)
    })?;
    let addresses: Vec<String> = listeners.iter().map(|(address, _)| address.clone()).collect();
    drop(listeners);
    let mut followers = Vec::new();
    for node in [2, 3] {
        let (addresses, folder) = (addresses.clone(), folder.to_owned());
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime()?.block_on(async {
                let _log = open(&folder, node, &addresses).await?;
                drop(stopped.await);
                Ok::<_, Failure>(())
            })
        });
        followers.push((stop, thread));
    }
    let times = runtime()?.block_on(async {
        let log = Arc::new(open(folder, 1, &addresses).await?);
        log.begin().await?;
        log.leadership().wait_for(|leadership| leadership.leading).await?;
        let (sender, frames) = mpsc::channel(1024);
        let leader = tokio::spawn(order(log.clone(), frames));
        let times = load(sender, clients, time).await;
        leader.await?;
        log.close().await?;
        Ok::<_, Failure>(times)
    })?;
    for (stop, thread) in followers {
        drop(stop);
        thread.join().expect("a follower does not panic")?;
    }
    Ok(times)
}

async fn open(folder: &Path, node: u64, addresses: &[String]) -> Result<RaftLog, Failure> {
    let own: PathBuf = folder.join(format!("member-{node}"));
    let listener: Box<dyn Listener> = Tcp.bind(&addresses[node as usize - 1]).await?;
    let options = RaftOptions {
        node: NodeId(node),
        address: addresses[node as usize - 1].clone(),
        members: Bootstrap::Initial((1..).map(NodeId).zip(addresses.iter().cloned()).collect()),
        ..RaftOptions::default()
    };
    let log = RaftLog::open(Arc::new(RealDisk::open(&own)?), &FlushThread, options, Arc::new(|_| {})).await?;
    let server = log.server();
    tokio::spawn(async move { server.listen(listener).await });
    Ok(log)
}

/// What waits becomes the next entry.
async fn order(log: Arc<RaftLog>, mut frames: Frames) {
    let mut number = 0;
    while let Some(batch) = waiting(&mut frames).await {
        number += 1;
        let records = Bytes::from(vec![7; batch.len() * FRAME_BYTES]);
        let draft = Draft {
            time: Time::from_micros(number),
            submissions: Vec::new(),
            batches: vec![GroupRecords { group: GroupId(1), records }],
        };
        log.append(draft).await.expect("the members run");
        acknowledge(batch);
    }
}
