//! Which chunk of a checkpoint to ask of which node: pure, so that it can be tried without a network.
//!
//! Chunks that are in the store already are not asked for. Every peer has a few asks under way, so all are used at
//! once and a quick one does more. An ask that is not answered in time goes to another peer as well, and whichever
//! answer comes first counts. A peer that does not answer again and again is set aside while there are others; one that
//! sends bytes with another digest is never asked again. Whoever drives this sends what [`Fetch::asks`] returns, checks
//! what comes and says so here, and asks again whenever something came or [`Fetch::deadline`] has passed.
//! Times are from any clock that only goes forward.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use refrain_wire::NodeId;

use super::chunk::{CHUNK_BYTES, ChunkError, ChunkId};
use super::manifest::Manifest;

mod peer;

use peer::Peer;
pub use peer::PeerFault;

/// The most asks under way to one peer, 2 MiB: it reads the next ones while those before are on their way.
pub const MAX_ASKS: usize = 32;
/// How long an answer may take before the chunk is asked of another peer too.
pub const STALL: Duration = Duration::from_secs(2);
/// Answers in a row that may be late before a peer is set aside.
pub const MAX_STALLS: u32 = 3;

/// A chunk to ask of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Whom.
    pub peer: NodeId,
    /// For what.
    pub chunk: ChunkId,
}

/// What became of bytes that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// They are the chunk.
    Accepted,
    /// The chunk was there already, or nobody asked for it.
    NotNeeded,
    /// They are something else: the peer is not asked again.
    Wrong(PeerFault),
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Chunks that are there.
    pub have: usize,
    /// Chunks of the checkpoint.
    pub of: usize,
}

/// The transfer of one checkpoint.
#[derive(Debug)]
pub struct Fetch {
    /// Chunks that nobody is asked for at present, in the order in which they are asked for.
    waiting: VecDeque<ChunkId>,
    /// Chunks that are asked for, with the peers that were.
    asked: BTreeMap<ChunkId, BTreeSet<NodeId>>,
    /// Chunks that a peer does not have.
    lacking: BTreeMap<ChunkId, BTreeSet<NodeId>>,
    peers: BTreeMap<NodeId, Peer>,
    faults: BTreeMap<NodeId, PeerFault>,
    of: usize,
}

impl Fetch {
    /// The transfer of what `has` does not have, in the order in which a replica is restored from it.
    pub fn new(manifest: &Manifest, has: impl Fn(&ChunkId) -> bool) -> Self {
        let all = manifest.chunks_as_read();
        let of = all.len();
        let waiting = all.into_iter().filter(|id| !has(id)).collect();
        let (asked, lacking, peers, faults) = Default::default();
        Self { waiting, asked, lacking, peers, faults, of }
    }

    /// A peer can be asked. One that sent wrong bytes before is not.
    pub fn joined(&mut self, peer: NodeId) {
        if !matches!(self.faults.get(&peer), Some(PeerFault::WrongChunk { .. })) {
            self.faults.remove(&peer);
            self.peers.entry(peer).or_default();
        }
    }

    /// A peer is gone: what it was asked for is asked of others.
    pub fn left(&mut self, peer: NodeId) {
        if let Some(gone) = self.peers.remove(&peer) {
            for chunk in gone.asks.keys() {
                self.unask(*chunk, peer);
            }
        }
        for peers in self.lacking.values_mut() {
            peers.remove(&peer);
        }
    }

    /// What to send now.
    pub fn asks(&mut self, now: Duration) -> Vec<Ask> {
        self.notice_stalls(now);
        let mut out = Vec::new();
        let mut passed_over = VecDeque::new();
        while let Some(chunk) = self.waiting.pop_front() {
            if !self.peers.values().any(Peer::has_room) {
                self.waiting.push_front(chunk);
                break;
            }
            match self.best(&chunk) {
                Some(peer) => {
                    self.peers.get_mut(&peer).expect("it was just found").asks.insert(chunk, now);
                    self.asked.entry(chunk).or_default().insert(peer);
                    out.push(Ask { peer, chunk });
                }
                None => passed_over.push_back(chunk),
            }
        }
        passed_over.append(&mut self.waiting);
        self.waiting = passed_over;
        out
    }

    /// When [`Fetch::asks`] is to be called again, if nothing comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let asked = self.peers.values().flat_map(|peer| peer.asks.values());
        asked.min().map(|since| *since + STALL)
    }

    /// Bytes came from a peer, and were checked: [`super::chunk::verify`].
    pub fn received(&mut self, peer: NodeId, chunk: ChunkId, checked: Result<(), ChunkError>) -> Received {
        let asked_for = self.asked.contains_key(&chunk) || self.waiting.contains(&chunk);
        if !asked_for {
            self.answered(peer, &chunk);
            return Received::NotNeeded;
        }
        if let Err(error) = checked {
            let fault = PeerFault::WrongChunk { chunk, what: error.to_string() };
            self.left(peer);
            self.faults.insert(peer, fault.clone());
            return Received::Wrong(fault);
        }
        self.answered(peer, &chunk);
        self.forget(&chunk);
        Received::Accepted
    }

    /// A peer says that it does not have a chunk.
    pub fn missing(&mut self, peer: NodeId, chunk: ChunkId) {
        self.answered(peer, &chunk);
        self.lacking.entry(chunk).or_default().insert(peer);
        self.unask(chunk, peer);
    }

    /// Whether everything is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { have: self.of - self.waiting.len() - self.asked.len(), of: self.of }
    }

    /// A chunk that no peer that is there can be asked for: without another peer the transfer does not end.
    #[must_use]
    pub fn stuck(&self) -> Option<ChunkId> {
        let nobody = |chunk: &&ChunkId| self.peers.keys().all(|peer| self.lacks(peer, chunk));
        self.waiting.iter().find(nobody).copied()
    }

    /// Peers that are not asked, or only when there is nobody else, and why.
    #[must_use]
    pub fn faults(&self) -> &BTreeMap<NodeId, PeerFault> {
        &self.faults
    }

    /// Bytes that are under way at most.
    #[must_use]
    pub fn bytes_under_way(&self) -> usize {
        self.peers.values().map(|peer| peer.asks.len() * CHUNK_BYTES).sum()
    }

    /// The peer to ask for a chunk: one that answers before one that is set aside, then the least busy.
    fn best(&self, chunk: &ChunkId) -> Option<NodeId> {
        let can = self
            .peers
            .iter()
            .filter(|(id, peer)| peer.has_room() && !peer.asks.contains_key(chunk) && !self.lacks(id, chunk));
        can.min_by_key(|(id, peer)| (peer.is_set_aside(), peer.asks.len(), **id)).map(|(id, _)| *id)
    }

    fn lacks(&self, peer: &NodeId, chunk: &ChunkId) -> bool {
        self.lacking.get(chunk).is_some_and(|peers| peers.contains(peer))
    }

    fn notice_stalls(&mut self, now: Duration) {
        let mut late = Vec::new();
        for (id, peer) in &mut self.peers {
            let before = late.len();
            late.extend(peer.take_late(now).into_iter().map(|chunk| (*id, chunk)));
            if late.len() > before && peer.is_set_aside() {
                self.faults.insert(*id, PeerFault::Silent { asks: peer.stalls });
            }
        }
        for (peer, chunk) in late {
            self.unask(chunk, peer);
        }
    }

    /// An answer came: the peer is alive.
    fn answered(&mut self, peer: NodeId, chunk: &ChunkId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.asks.remove(chunk);
            known.stalls = 0;
            self.faults.remove(&peer);
        }
    }

    /// The chunk is there.
    fn forget(&mut self, chunk: &ChunkId) {
        if self.asked.remove(chunk).is_none() {
            self.waiting.retain(|waiting| waiting != chunk);
        }
        self.lacking.remove(chunk);
        for peer in self.peers.values_mut() {
            peer.asks.remove(chunk);
        }
    }

    /// A peer is not expected to send the chunk any more; when nobody is, it waits to be asked for.
    fn unask(&mut self, chunk: ChunkId, peer: NodeId) {
        let Some(peers) = self.asked.get_mut(&chunk) else { return };
        peers.remove(&peer);
        if peers.is_empty() {
            self.asked.remove(&chunk);
            self.waiting.push_back(chunk);
        }
    }
}

#[cfg(test)]
mod tests;
