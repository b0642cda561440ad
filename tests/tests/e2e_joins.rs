//! Replicas that join while others misbehave: a node that gives wrong chunks, stops in the middle or dies, and one that
//! asks and does not read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use refrain_sequencer::net::framed::write_queue;
use refrain_sequencer::net::greeting::{Incoming, greet};
use refrain_sequencer::net::{BoxStream, Net as _, Tcp};
use refrain_tests::cluster::Cluster;
use refrain_tests::http::{HttpClient, put, request};
use refrain_tests::native::Example;
use refrain_tests::traffic::{Traffic, writers};
use refrain_tests::transcript::noise;
use refrain_tests::wait;
use refrain_wire::message::Message as _;
use refrain_wire::message::fetch::{Answer, Get};
use refrain_wire::message::pieces::Piece;
use refrain_wire::stream::{FrameQueue, Hello, Role};
use refrain_wire::{ClusterId, Generation, NodeId};

const IMAGES: &str = "image-server";
const KV: &str = "kv-server";
/// The node that is none.
const LIAR: u64 = 4;

/// What the false node does when it is asked for a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It gives other bytes.
    Lies,
    /// It says of some that it has them not, and then answers no more.
    Stops,
    /// It says of some that it has them not, and closes the connection.
    Dies,
}

/// How many asks it answers before it stops or dies.
const ANSWERED: u64 = 3;

/// Something that listens where a node should, and knows a real node's checkpoints.
struct FalseNode {
    asked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FalseNode {
    fn start(address: String, checkpoints: PathBuf, manner: Manner) -> Self {
        let (asked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counts, ends) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut listener = Tcp.bind(&address).await.expect("the address is free");
                while !ends.load(Ordering::Relaxed) {
                    let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
                    let Ok(Ok((stream, _))) = accepted else { continue };
                    let (checkpoints, counts) = (checkpoints.clone(), Arc::clone(&counts));
                    tokio::spawn(async move { serve(stream, &checkpoints, manner, &counts).await });
                }
            });
        });
        Self { asked, stop, thread: Some(thread) }
    }

    /// Chunks that it was asked for.
    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for FalseNode {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(stream: BoxStream, checkpoints: &Path, manner: Manner, asked: &AtomicU64) {
    let Ok(incoming) = Incoming::read(stream).await else { return };
    if incoming.hello.role != Role::Fetch {
        return;
    }
    let generation = incoming.hello.generation;
    let Ok(framed) = incoming.welcome(NodeId(LIAR), generation).await else { return };
    let (mut reader, mut writer) = framed.split();
    let mut answered = 0;
    while let Ok(Some(frame)) = reader.next().await {
        let Ok(get) = Get::decode(frame.kind, &frame.payload) else { return };
        let answer = match get {
            Get::Manifest(root) => manifest(checkpoints, &root),
            Get::Chunk(_) => {
                asked.fetch_add(1, Ordering::Relaxed);
                answered += 1;
                match manner {
                    Manner::Lies => Some(Bytes::from_static(b"something else")),
                    Manner::Stops if answered > ANSWERED => continue,
                    Manner::Dies if answered > ANSWERED => return,
                    Manner::Stops | Manner::Dies => None,
                }
            }
            Get::Entries { .. } | Get::Turns { .. } | Get::Bundle(_) => None,
        };
        let mut frames = FrameQueue::default();
        match &answer {
            Some(whole) => Piece::cut(whole).for_each(|piece| Answer::Piece(piece).encode(&mut frames)),
            None => Answer::Missing.encode(&mut frames),
        }
        if write_queue(&mut writer, &mut frames).await.is_err() {
            return;
        }
    }
}

fn manifest(checkpoints: &Path, root: &[u8; 32]) -> Option<Bytes> {
    let name = format!("{}.manifest", blake3::Hash::from_bytes(*root));
    let groups = std::fs::read_dir(checkpoints.join("groups")).ok()?.flatten();
    let files = groups.flat_map(|group| std::fs::read_dir(group.path()).into_iter().flatten().flatten());
    let found = files.map(|file| file.path()).find(|path| path.to_string_lossy().ends_with(&name))?;
    std::fs::read(found).ok().map(Bytes::from)
}

fn of_three_and_a_liar(purpose: &str, example: Example) -> Result<Cluster> {
    let mut cluster = Cluster::new(purpose, LIAR)?;
    cluster.example(example, |_| {})?;
    cluster.roles(LIAR, &["engine"]);
    cluster.set("checkpoint-interval", "200ms").set("checkpoint-batches", 50).set("log-cut-interval", "200ms");
    cluster.start_nodes(&[1, 2, 3])?;
    Ok(cluster)
}

fn a_join_goes_on_beside(manner: Manner) -> Result<()> {
    let mut cluster = of_three_and_a_liar(&format!("join-{manner:?}").to_lowercase(), Example::ImageServer)?;
    let image = noise(9, 8 << 20);
    let mut client = HttpClient::connect(cluster.server(1).address(IMAGES))?;
    ensure!(client.exchange(put("/lake.jpg", &image))?.status == 201);
    cluster.until_equal(IMAGES)?;
    let before = cluster.server(1).rctl_json(&["status"])?["log"]["last_position"].as_u64().context("no position")?;
    // Small requests make a checkpoint due that holds the image.
    wait::until("the log is cut behind the image", || {
        ensure!(client.exchange(request("GET /", "", b""))?.status == 200);
        let first = cluster.server(1).rctl_json(&["status"])?["log"]["first_position"].as_u64();
        Ok((first > Some(before)).then_some(()))
    })?;
    let liar =
        FalseNode::start(cluster.peer_address(LIAR).to_string(), cluster.data_dir(1).join("checkpoints"), manner);
    cluster.kill(3)?;
    std::fs::remove_dir_all(cluster.data_dir(3).join("checkpoints"))?;
    cluster.start_node(3)?;
    cluster.until_equal(IMAGES)?;
    ensure!(liar.asked() > 0, "the false node was never asked");
    if manner == Manner::Lies {
        let named = |line: &str| line.contains("wrong chunk") && line.contains("node=4") && line.contains("digest");
        cluster.server(3).log().until("the node that gave a wrong chunk is named", named)?;
    }
    let mut client = HttpClient::connect(cluster.server(3).address(IMAGES))?;
    ensure!(client.exchange(request("GET /lake.jpg", "", b""))?.body() == image, "the image came back changed");
    cluster.server(3).rctl_json(&["service", "audit", IMAGES])?;
    cluster.until_equal(IMAGES)
}

#[test]
fn a_node_that_gives_wrong_chunks_is_named_and_the_join_goes_on_from_others() -> Result<()> {
    a_join_goes_on_beside(Manner::Lies)
}

#[test]
fn a_node_that_stops_in_the_middle_does_not_stop_the_join() -> Result<()> {
    a_join_goes_on_beside(Manner::Stops)
}

#[test]
fn a_node_that_dies_in_the_middle_does_not_stop_the_join() -> Result<()> {
    a_join_goes_on_beside(Manner::Dies)
}

/// Asks a node for one chunk again and again and reads nothing; returns how many asks it took.
async fn ask_and_do_not_read(address: &str, root: [u8; 32]) -> Result<usize> {
    let stream = Tcp.connect(address).await?;
    let hello = Hello::new(Role::Fetch, cluster_id(), Generation([0; 16]), NodeId(LIAR));
    let (_reader, mut writer) = greet(stream, &hello).await?.framed.split();
    let mut frames = FrameQueue::default();
    let mut asks = 0;
    loop {
        Get::Manifest(root).encode(&mut frames);
        asks += 1;
        let written = tokio::time::timeout(Duration::from_millis(500), write_queue(&mut writer, &mut frames)).await;
        match written {
            Ok(Ok(())) if asks < 1_000_000 => {}
            Ok(Ok(())) => bail!("the node takes asks without end"),
            // It reads no more before its answers are read.
            Ok(Err(_)) | Err(_) => return Ok(asks),
        }
    }
}

#[test]
fn a_joiner_that_does_not_read_delays_nobody() -> Result<()> {
    let cluster = of_three_and_a_liar("no-reader", Example::KvServer)?;
    let leader = cluster.leader()?;
    let traffic = Traffic::start(cluster.doors(), writers(4, &[leader]));
    traffic.until_more(500)?;
    let root = wait::until("a checkpoint", || {
        let groups = cluster.data_dir(leader).join("checkpoints/groups/1");
        let files = std::fs::read_dir(groups).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        let root = names.filter_map(|name| root_of(&name)).next();
        Ok(root)
    })?;
    let address = cluster.peer_address(leader).to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let resident = cluster.server(leader).resident_bytes()?;
    let asks = runtime.block_on(ask_and_do_not_read(&address, root))?;
    ensure!(asks > 100, "only {asks} asks went out");
    traffic.until_more(1000)?;
    let grown = cluster.server(leader).resident_bytes()?.saturating_sub(resident);
    ensure!(grown < 256 << 20, "the node grew by {grown} bytes");
    let mut outcome = traffic.stop()?;
    outcome.unbroken_but_at(&[])?;
    cluster.until_equal(KV)?;
    outcome.check(cluster.doors(), leader)
}

/// That of a cluster without a name of its own.
fn cluster_id() -> ClusterId {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(b"refrain cluster default").as_bytes()[..16]);
    ClusterId(id)
}

fn root_of(name: &str) -> Option<[u8; 32]> {
    let text = name.strip_suffix(".manifest")?.split_once('-')?.1;
    Some(*blake3::Hash::from_hex(text).ok()?.as_bytes())
}
