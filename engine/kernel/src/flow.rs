//! One flow as the guest's side sees it: what the client sent and is not read yet, what the guest sent and the
//! client has not taken yet.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::{Buf, Bytes};
use refrain_wire::{FlowId, ProxyHeader};
use serde::{Deserialize, Serialize};

use crate::errno::Errno;

/// A piece shorter than this is copied out of its entry, so that it does not keep the entry in memory, and joined to
/// the one before it as far as both together stay below it: a stream of single bytes takes no more memory than one of
/// long pieces.
const COPY_BELOW_BYTES: usize = 4096;

/// Whether a flow is there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// Bytes can go both ways.
    Open,
    /// The guest opens it, and there is no answer yet.
    Connecting(ProxyHeader),
    /// It came to nothing; the guest was not told yet.
    Failed(Errno),
}

/// One flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Its id.
    pub id: FlowId,
    /// The other side's address.
    pub peer: SocketAddr,
    /// The guest's port that the client reached; on an outward flow the proxy's.
    pub port: u16,
    /// Whether it is there yet.
    pub link: Link,
    /// The proxy's own address of an outward flow, once it is there.
    pub local: Option<SocketAddr>,
    received: VecDeque<Bytes>,
    received_bytes: u64,
    /// How much of the client's stream the guest has taken.
    consumed: u64,
    consumed_told: u64,
    kept: VecDeque<Bytes>,
    /// Length of the guest's stream so far, this turn's writes included.
    sent: u64,
    /// How much of the guest's stream the client has taken.
    delivered: u64,
    /// The client will send nothing more.
    pub peer_finished: bool,
    /// The guest will send nothing more.
    pub finished: bool,
    /// The guest has closed its descriptor.
    pub closed: bool,
    /// The guest reads no more (`shutdown(SHUT_RD)`, or closed).
    pub read_shut: bool,
}

impl Flow {
    /// A new flow.
    #[must_use]
    pub fn new(id: FlowId, peer: SocketAddr, port: u16) -> Self {
        Self {
            id,
            peer,
            port,
            link: Link::Open,
            local: None,
            received: VecDeque::new(),
            received_bytes: 0,
            consumed: 0,
            consumed_told: 0,
            kept: VecDeque::new(),
            sent: 0,
            delivered: 0,
            peer_finished: false,
            finished: false,
            closed: false,
            read_shut: false,
        }
    }

    /// A flow that the guest opens.
    #[must_use]
    pub fn outward(id: FlowId, peer: SocketAddr, header: ProxyHeader) -> Self {
        Self { link: Link::Connecting(header), ..Self::new(id, peer, 0) }
    }

    /// Bytes that the guest can read now.
    #[must_use]
    pub fn readable_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Whether a read would return at once: bytes, the end of the stream, or nothing ever more.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.received_bytes > 0 || self.peer_finished || self.read_shut
    }

    /// Whether `wanted` bytes can be read, or nothing more can come before some are: the stream is at its end, or the
    /// proxy knows of no more room.
    #[must_use]
    pub fn has_all(&self, wanted: u64, window_bytes: u64) -> bool {
        let untold = self.consumed - self.consumed_told;
        let is_full = self.received_bytes + untold >= window_bytes && untold < window_bytes.div_ceil(2);
        self.received_bytes >= wanted || self.peer_finished || self.read_shut || is_full
    }

    /// Bytes of the guest's stream that the client has not taken.
    #[must_use]
    pub fn unsent_bytes(&self) -> u64 {
        self.sent - self.delivered
    }

    /// Length of the guest's stream so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Takes in what the client sent. Returns false, and takes nothing, when it does not fit into the window.
    pub fn receive(&mut self, bytes: Bytes, window_bytes: u64) -> bool {
        if self.received_bytes + bytes.len() as u64 > window_bytes {
            return false;
        }
        self.received_bytes += bytes.len() as u64;
        append(&mut self.received, bytes);
        true
    }

    /// Copies out what the guest reads; returns how much.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(piece) = self.received.front_mut() {
            let take = piece.len().min(out.len() - done);
            piece.copy_to_slice(&mut out[done..done + take]);
            done += take;
            if !piece.is_empty() {
                break;
            }
            self.received.pop_front();
        }
        self.received_bytes -= done as u64;
        self.consumed += done as u64;
        done
    }

    /// Copies what a read would return without taking it.
    #[must_use]
    pub fn peek(&self, out: &mut [u8]) -> usize {
        let mut done = 0;
        for piece in &self.received {
            let take = piece.len().min(out.len() - done);
            out[done..done + take].copy_from_slice(&piece[..take]);
            done += take;
        }
        done
    }

    /// Counts everything unread as taken: nobody will read it.
    pub fn discard_received(&mut self) {
        self.consumed += self.received_bytes;
        self.received_bytes = 0;
        self.received.clear();
    }

    /// The offset to tell the proxy, if half a window has been taken since it was told last.
    pub fn consumed_to_tell(&mut self, window_bytes: u64) -> Option<u64> {
        if self.consumed - self.consumed_told < window_bytes.div_ceil(2) {
            return None;
        }
        self.consumed_told = self.consumed;
        Some(self.consumed)
    }

    /// Counts `len` bytes written by the guest.
    pub fn wrote(&mut self, len: u64) {
        self.sent += len;
    }

    /// Keeps a turn's bytes until the client has taken them.
    pub fn keep(&mut self, bytes: Bytes) {
        append(&mut self.kept, bytes);
    }

    /// The client has taken `more` bytes; returns how many of them the guest had sent.
    pub fn deliver(&mut self, more: u64) -> u64 {
        let mut left = more.min(self.unsent_bytes());
        let counted = left;
        self.delivered += left;
        while left > 0 {
            let Some(piece) = self.kept.front_mut() else { break };
            let take = left.min(piece.len() as u64);
            piece.advance(take as usize);
            left -= take;
            if piece.is_empty() {
                self.kept.pop_front();
            }
        }
        counted
    }

    /// Copies unread pieces out of their entries, so that a guest that reads slowly does not keep them in memory.
    pub fn compact(&mut self) {
        for piece in &mut self.received {
            if !piece.is_unique() {
                *piece = Bytes::copy_from_slice(piece);
            }
        }
    }

    /// Whether both sides are through with it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.closed && self.peer_finished && self.unsent_bytes() == 0
    }
}

fn append(pieces: &mut VecDeque<Bytes>, bytes: Bytes) {
    if bytes.len() >= COPY_BELOW_BYTES {
        pieces.push_back(bytes);
        return;
    }
    match pieces.back_mut() {
        Some(last) if last.len() + bytes.len() < COPY_BELOW_BYTES => *last = [&last[..], &bytes[..]].concat().into(),
        _ => pieces.push_back(Bytes::copy_from_slice(&bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_wire::{Epoch, Serial};

    fn flow() -> Flow {
        let id = FlowId { epoch: Epoch(1), serial: Serial(1) };
        Flow::new(id, "127.0.0.1:9".parse().unwrap(), 80)
    }

    #[test]
    fn reads_cross_the_pieces_that_came_in() {
        let mut flow = flow();
        assert!(flow.receive(Bytes::from_static(b"abc"), 10));
        assert!(flow.receive(Bytes::from_static(b"defg"), 10));
        let mut out = [0; 5];
        assert_eq!(flow.peek(&mut out), 5);
        assert_eq!(flow.read(&mut out), 5);
        assert_eq!(&out, b"abcde");
        assert_eq!((flow.read(&mut out), flow.read(&mut out)), (2, 0));
    }

    #[test]
    fn a_stream_of_single_bytes_is_kept_in_few_pieces() {
        let mut flow = flow();
        let length = 3 * COPY_BELOW_BYTES;
        for at in 0..length {
            assert!(flow.receive(Bytes::from(vec![at as u8]), length as u64));
            flow.wrote(1);
            flow.keep(Bytes::from(vec![at as u8]));
        }
        assert!(flow.received.len() <= 4 && flow.kept.len() <= 4, "{} {}", flow.received.len(), flow.kept.len());
        let mut out = vec![0; length];
        assert_eq!(flow.read(&mut out), length);
        assert!(out.iter().enumerate().all(|(at, byte)| *byte == at as u8));
    }

    #[test]
    fn the_window_holds_to_the_last_byte() {
        let mut flow = flow();
        assert!(flow.receive(Bytes::from(vec![0; 10]), 10));
        assert!(!flow.receive(Bytes::from_static(b"x"), 10));
    }

    #[test]
    fn consumption_is_told_at_half_a_window() {
        let mut flow = flow();
        flow.receive(Bytes::from(vec![0; 10]), 10);
        flow.read(&mut [0; 4]);
        assert_eq!(flow.consumed_to_tell(10), None);
        flow.read(&mut [0; 1]);
        assert_eq!(flow.consumed_to_tell(10), Some(5));
        assert_eq!(flow.consumed_to_tell(10), None);
    }

    #[test]
    fn delivery_frees_what_is_kept_and_counts_only_what_was_sent() {
        let mut flow = flow();
        flow.wrote(6);
        flow.keep(Bytes::from_static(b"abc"));
        flow.keep(Bytes::from_static(b"def"));
        assert_eq!(flow.deliver(4), 4);
        assert_eq!(flow.kept, [Bytes::from_static(b"ef")]);
        assert_eq!(flow.deliver(10), 2);
        assert!(flow.kept.is_empty());
    }
}
