//! The transfer of one checkpoint from several peers at once. Which chunk is asked of whom is decided by the engine's
//! [`Fetch`]; what comes is checked by `checking`, away from the loop; here are the streams.
//!
//! Every peer is asked for the manifest first: it keeps what the manifest names as long as its stream is open.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use refrain_engine::checkpoint::fetch::{Fetch, MAX_ASKS, Received};
use refrain_engine::checkpoint::manifest::MAX_MANIFEST_BYTES;
use refrain_engine::checkpoint::{CHUNK_BYTES, ChunkId, Manifest, Root};
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
use super::checking::{Came, News, check};
use super::{Stash, kept_manifest};
use crate::link::{LinkError, Outbox};

/// Peers that are asked at once.
const MAX_PEERS: usize = 4;
/// How long a transfer may go on without anything coming.
const PATIENCE: Duration = Duration::from_secs(15);

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

/// One transfer. When it is dropped, whoever reads the stash waits no longer.
pub(in crate::shard) struct Transfer<'a> {
    inner: &'a Inner,
    group: GroupId,
    root: Root,
    stash: Arc<Stash>,
    peers: BTreeMap<NodeId, Peer>,
    /// Peers that may still turn out to have the checkpoint.
    unheard: BTreeSet<NodeId>,
    faults: Vec<String>,
}

/// What is to be got.
type Wanted = (Arc<Manifest>, Fetch);

impl<'a> Transfer<'a> {
    pub(in crate::shard) fn new(inner: &'a Inner, stash: Arc<Stash>, group: GroupId, root: Root) -> Self {
        Self { inner, group, root, stash, peers: BTreeMap::new(), unheard: BTreeSet::new(), faults: Vec::new() }
    }

    /// Gets everything that is not in the store. `begun` hears of the manifest as soon as it is known: the chunks then
    /// come into the stash in the order in which they are restored. Returns the manifest.
    ///
    /// # Errors
    /// When no peer that can be reached has what is missing, or there is no room.
    pub(in crate::shard) async fn run(
        mut self,
        candidates: &[NodeId],
        mut begun: impl FnMut(&Arc<Manifest>),
    ) -> anyhow::Result<Arc<Manifest>> {
        let kept = kept_manifest(&self.inner.seams.turns, self.stash.kept_in(), self.group, self.root).await;
        let mut transfer = None;
        if let Some(manifest) = kept {
            let (manifest, fetch) = self.begin(manifest).await?;
            begun(&manifest);
            if fetch.is_complete() {
                return Ok(manifest);
            }
            transfer = Some((manifest, fetch));
        }
        // Of every peer as much may be here as it may have been asked for.
        let (tell, came) = mpsc::channel(MAX_PEERS * MAX_ASKS);
        let (checked, mut news) = mpsc::channel(MAX_PEERS);
        let (stash, root) = (Arc::clone(&self.stash), self.root);
        self.inner.seams.turns.alongside(check(came, checked, stash, root));
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
                some = news.recv() => {
                    last = Instant::now();
                    for (node, news) in some.context("the thread that checks what comes has ended")? {
                        self.take(node, news, &mut transfer, &mut begun).await?;
                    }
                }
                () = tokio::time::sleep_until(until) => {
                    if self.stash.is_spilling() {
                        last = Instant::now();
                    } else if last.elapsed() >= PATIENCE {
                        bail!("nothing came for {PATIENCE:?}; {}", self.faults.join("; "));
                    }
                }
            }
            if let Some((manifest, _)) = transfer.take_if(|(_, fetch)| fetch.is_complete()) {
                return Ok(manifest);
            }
        }
    }

    /// What the store does not have is to be fetched.
    async fn begin(&self, manifest: Manifest) -> anyhow::Result<Wanted> {
        let (stash, manifest) = (Arc::clone(&self.stash), Arc::new(manifest));
        let named = Arc::clone(&manifest);
        let there = self.inner.seams.turns.beside(move || stash.there(&named)).await?;
        let fetch = Fetch::new(&manifest, |id| there.contains(id));
        Ok((manifest, fetch))
    }

    /// Begins to ask a peer.
    fn open(&mut self, node: NodeId, tell: &mpsc::Sender<(NodeId, Came)>) {
        let Some(inner) = self.inner.me.upgrade() else { return };
        let (outbox, asked) = (Outbox::default(), Rc::new(RefCell::new(VecDeque::new())));
        outbox.push(|frames| Get::Manifest(self.root.0).encode(frames));
        let reading = {
            let (outbox, asked, tell, root) = (outbox.clone(), Rc::clone(&asked), tell.clone(), self.root);
            tokio::task::spawn_local(async move {
                let ended = converse(&inner, node, root, &outbox, &asked, &tell).await;
                let error = ended.err().unwrap_or(LinkError::Closed.into());
                // Whoever listened may be done.
                let _ = tell.send((node, Came::Left(error))).await;
            })
        };
        self.unheard.insert(node);
        self.peers.insert(node, Peer { outbox, asked, reading: reading.abort_handle() });
    }

    async fn take(
        &mut self,
        node: NodeId,
        news: News,
        transfer: &mut Option<Wanted>,
        begun: &mut impl FnMut(&Arc<Manifest>),
    ) -> anyhow::Result<()> {
        match news {
            News::Manifest(manifest) => {
                self.unheard.remove(&node);
                if transfer.is_none() {
                    let (manifest, fetch) = self.begin(manifest).await?;
                    begun(&manifest);
                    *transfer = Some((manifest, fetch));
                }
                // Those that say so before the first manifest is taken in are joined by their own words.
                if let Some((_, fetch)) = transfer {
                    fetch.joined(node);
                }
            }
            News::Chunk(id, checked) => {
                let Some((_, fetch)) = transfer else { return Ok(()) };
                if let Received::Wrong(fault) = fetch.received(node, id, checked) {
                    tracing::error!(%node, group = %self.group, %fault, "a node sent a wrong chunk: it is not asked again");
                    self.give_up(node, fault.to_string());
                }
            }
            News::Missing(id) => {
                if let Some((_, fetch)) = transfer {
                    fetch.missing(node, id);
                }
            }
            News::Full(error) => return Err(error).context("what came cannot be kept"),
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

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.stash.end();
    }
}

/// Asks one peer for the manifest and then for what it is asked for, to the end of the stream.
async fn converse(
    inner: &Inner,
    node: NodeId,
    root: Root,
    outbox: &Outbox,
    asked: &RefCell<VecDeque<ChunkId>>,
    tell: &mpsc::Sender<(NodeId, Came)>,
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
            let came = if named {
                let chunk = asked.borrow_mut().pop_front().ok_or(FetchError::Answer { node })?;
                Came::Chunk(chunk, whole)
            } else {
                let bytes = whole
                    .ok_or_else(|| FetchError::Failed { node, text: format!("it does not have checkpoint {root}") })?;
                named = true;
                Came::Manifest(bytes)
            };
            if tell.send((node, came)).await.is_err() {
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
