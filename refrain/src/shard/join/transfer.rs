//! The transfer of one checkpoint from several peers at once. Which chunk is asked of whom is decided by the engine's
//! [`Fetch`]; here are the streams.
//!
//! Every peer is asked for the manifest first: it keeps what the manifest names as long as its stream is open.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use refrain_engine::checkpoint::fetch::{Fetch, Received};
use refrain_engine::checkpoint::manifest::MAX_MANIFEST_BYTES;
use refrain_engine::checkpoint::{CHUNK_BYTES, CheckpointStore, ChunkId, Manifest, Root};
use refrain_wire::message::Message as _;
use refrain_wire::message::fetch::{Answer, Get};
use refrain_wire::message::pieces::Assembly;
use refrain_wire::stream::Role;
use refrain_wire::{GroupId, NodeId};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::Inner;
use super::super::fetch::FetchError;
use super::{Stash, kept_manifest};
use crate::link::{LinkError, Outbox};

/// Peers that are asked at once.
const MAX_PEERS: usize = 4;
/// How long a transfer may go on without anything coming.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a peer's stream brings.
enum News {
    /// It has the checkpoint and can be asked.
    Manifest(Manifest),
    /// A chunk, or that it does not have it.
    Chunk(ChunkId, Option<Bytes>),
    /// Its stream ended.
    Left(FetchError),
}

/// A peer that is being asked.
struct Peer {
    outbox: Outbox,
    asked: Rc<RefCell<VecDeque<ChunkId>>>,
    reading: AbortHandle,
}

impl Peer {
    fn ask(&self, chunk: ChunkId) {
        self.asked.borrow_mut().push_back(chunk);
        self.outbox.push(|frames| Get::Chunk(chunk.0).encode(frames));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.outbox.end();
        self.reading.abort();
    }
}

/// One transfer.
pub(in crate::shard) struct Transfer<'a> {
    inner: &'a Inner,
    store: Arc<CheckpointStore>,
    group: GroupId,
    root: Root,
    stash: Arc<Stash>,
    peers: BTreeMap<NodeId, Peer>,
    /// Peers that may still turn out to have the checkpoint.
    unheard: BTreeSet<NodeId>,
    faults: Vec<String>,
}

impl<'a> Transfer<'a> {
    pub(in crate::shard) fn new(inner: &'a Inner, store: Arc<CheckpointStore>, group: GroupId, root: Root) -> Self {
        let stash = Arc::new(Stash::new(&store));
        Self { inner, store, group, root, stash, peers: BTreeMap::new(), unheard: BTreeSet::new(), faults: Vec::new() }
    }

    /// Gets everything that is not in the store. Returns the manifest and what came.
    ///
    /// # Errors
    /// When no peer that can be reached has what is missing.
    pub(in crate::shard) async fn run(&mut self, candidates: &[NodeId]) -> anyhow::Result<(Manifest, Arc<Stash>)> {
        let kept = kept_manifest(&self.inner.seams.turns, &self.store, self.group, self.root).await;
        let mut transfer = None;
        if let Some(manifest) = kept {
            let fetch = self.begin(&manifest).await?;
            if fetch.is_complete() {
                return Ok((manifest, Arc::clone(&self.stash)));
            }
            transfer = Some((manifest, fetch));
        }
        let (tell, mut news) = mpsc::channel(MAX_PEERS * 4);
        let mut waiting: VecDeque<NodeId> = candidates.iter().copied().collect();
        let begin = Instant::now();
        let mut last = begin;
        loop {
            while self.peers.len() < MAX_PEERS
                && let Some(node) = waiting.pop_front()
            {
                self.open(node, &tell);
            }
            let now = begin.elapsed();
            if let Some((_, fetch)) = &mut transfer {
                for ask in fetch.asks(now) {
                    if let Some(peer) = self.peers.get(&ask.peer) {
                        peer.ask(ask.chunk);
                    }
                }
            }
            let stuck = transfer.as_ref().and_then(|(_, fetch)| fetch.stuck().filter(|_| fetch.bytes_under_way() == 0));
            if let Some(stuck) = stuck.filter(|_| waiting.is_empty() && self.unheard.is_empty()) {
                bail!("no node that can be reached has chunk {stuck}; {}", self.faults.join("; "));
            }
            if self.peers.is_empty() {
                bail!("no node gave checkpoint {} of group {}: {}", self.root, self.group, self.faults.join("; "));
            }
            let deadline = transfer.as_ref().and_then(|(_, fetch)| fetch.deadline()).map(|at| begin + at);
            let until = deadline.map_or(last + PATIENCE, |at| at.min(last + PATIENCE));
            tokio::select! {
                biased;
                came = news.recv() => {
                    let (node, came) = came.context("this transfer holds a sender itself")?;
                    last = Instant::now();
                    self.take(node, came, &mut transfer).await?;
                }
                () = tokio::time::sleep_until(until) => {
                    if last.elapsed() >= PATIENCE {
                        bail!("nothing came for {PATIENCE:?}; {}", self.faults.join("; "));
                    }
                }
            }
            if let Some((manifest, _)) = transfer.take_if(|(_, fetch)| fetch.is_complete()) {
                return Ok((manifest, Arc::clone(&self.stash)));
            }
        }
    }

    /// What the store does not have is to be fetched.
    async fn begin(&self, manifest: &Manifest) -> anyhow::Result<Fetch> {
        let (stash, named) = (Arc::clone(&self.stash), manifest.clone());
        let there = self.inner.seams.turns.beside(move || stash.there(&named)).await?;
        Ok(Fetch::new(manifest, |id| there.contains(id)))
    }

    /// Begins to ask a peer.
    fn open(&mut self, node: NodeId, tell: &mpsc::Sender<(NodeId, News)>) {
        let Some(inner) = self.inner.me.upgrade() else { return };
        let (outbox, asked) = (Outbox::default(), Rc::new(RefCell::new(VecDeque::new())));
        outbox.push(|frames| Get::Manifest(self.root.0).encode(frames));
        let reading = {
            let (outbox, asked, tell, root) = (outbox.clone(), Rc::clone(&asked), tell.clone(), self.root);
            tokio::task::spawn_local(async move {
                let ended = converse(&inner, node, root, &outbox, &asked, &tell).await;
                let error = ended.err().unwrap_or(LinkError::Closed.into());
                // Whoever listened may be done.
                let _ = tell.send((node, News::Left(error))).await;
            })
        };
        self.unheard.insert(node);
        self.peers.insert(node, Peer { outbox, asked, reading: reading.abort_handle() });
    }

    async fn take(&mut self, node: NodeId, came: News, transfer: &mut Option<(Manifest, Fetch)>) -> anyhow::Result<()> {
        match came {
            News::Manifest(manifest) => {
                self.unheard.remove(&node);
                if transfer.is_none() {
                    let mut fetch = self.begin(&manifest).await?;
                    // Those that said so before the first manifest was taken in are joined by their own words.
                    fetch.joined(node);
                    *transfer = Some((manifest, fetch));
                } else if let Some((_, fetch)) = transfer {
                    fetch.joined(node);
                }
            }
            News::Chunk(id, Some(bytes)) => {
                let Some((_, fetch)) = transfer else { return Ok(()) };
                match fetch.received(node, id, &bytes) {
                    Received::Accepted => self.stash.take(id, bytes),
                    Received::NotNeeded => {}
                    Received::Wrong(fault) => {
                        tracing::error!(%node, group = %self.group, %fault, "a node sent a wrong chunk: it is not asked again");
                        self.give_up(node, fault.to_string());
                    }
                }
                if self.stash.is_full() {
                    let stash = Arc::clone(&self.stash);
                    self.inner.seams.turns.beside(move || stash.spill()).await??;
                }
            }
            News::Chunk(id, None) => {
                if let Some((_, fetch)) = transfer {
                    fetch.missing(node, id);
                }
            }
            News::Left(error) => {
                if let Some((_, fetch)) = transfer {
                    fetch.left(node);
                }
                self.give_up(node, format!("node {node}: {:#}", anyhow::Error::new(error)));
            }
        }
        Ok(())
    }

    fn give_up(&mut self, node: NodeId, why: String) {
        self.peers.remove(&node);
        self.unheard.remove(&node);
        self.faults.push(why);
    }
}

/// Asks one peer for the manifest and then for what it is asked for, to the end of the stream.
async fn converse(
    inner: &Inner,
    node: NodeId,
    root: Root,
    outbox: &Outbox,
    asked: &RefCell<VecDeque<ChunkId>>,
    tell: &mpsc::Sender<(NodeId, News)>,
) -> Result<(), FetchError> {
    let (mut inbox, writer) = inner.dial(node, Role::Fetch).await?;
    let reading = async {
        let mut assembly = Assembly::new(MAX_MANIFEST_BYTES);
        let mut named = false;
        loop {
            let frame = inbox.next().await?;
            let answer = Answer::decode(frame.kind, &frame.payload).map_err(LinkError::Message)?;
            let whole = match answer {
                Answer::Piece(piece) => match assembly.push(&piece).map_err(LinkError::Message)? {
                    Some(whole) => Some(whole),
                    None => continue,
                },
                Answer::Missing => None,
                Answer::Failed(text) => return Err(FetchError::Failed { node, text }),
                Answer::Entries(_) | Answer::Purged { .. } => return Err(FetchError::Answer { node }),
            };
            assembly = Assembly::new(CHUNK_BYTES);
            let news = if named {
                let chunk = asked.borrow_mut().pop_front().ok_or(FetchError::Answer { node })?;
                News::Chunk(chunk, whole)
            } else {
                let bytes = whole
                    .ok_or_else(|| FetchError::Failed { node, text: format!("it does not have checkpoint {root}") })?;
                named = true;
                let opened = Manifest::open(&bytes, root);
                News::Manifest(opened.map_err(|error| FetchError::Failed { node, text: error.to_string() })?)
            };
            if tell.send((node, news)).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        biased;
        ended = reading => ended,
        error = outbox.write_to(writer) => Err(error.into()),
    }
}
