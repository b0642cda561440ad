//! The other end of a link: requests of other members, answered as they are done.
//!
//! A stream of another cluster or history is refused in words. A frame that is no request ends its stream and touches
//! nothing else. A member keeps a few streams of each other one; the oldest gives way to a new one, since a member
//! that lost a stream does not always tell.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::FutureExt;
use futures_util::stream::FuturesUnordered;
use openraft::raft::AppendEntriesRequest;
use openraft::storage::Snapshot;
use parking_lot::Mutex;
use refrain_wire::stream::{FrameQueue, RefusalCode, Role};
use refrain_wire::{Generation, NodeId};
use tokio::sync::Notify;

use super::begin::{Beginning, NotBegun};
use super::message::{Piece, Request, Response};
use super::space::Space;
use super::standing::{self, Heard};
use super::types::{Payload, Raft, RaftLogEntry, Types};
use crate::frame::FRAME_BYTES;
use crate::net::Listener;
use crate::net::framed::{Framed, write_queue};
use crate::net::greeting::{GreetingError, Incoming};
use crate::snapshot::MAX_SNAPSHOT_BYTES;

/// How many requests of one stream are worked on at a time.
const MAX_AT_WORK: usize = 64;
/// How many streams one member may have here: two lanes, each with one that it has lost.
const MAX_STREAMS_OF_A_MEMBER: usize = 4;
/// How many members may have streams here: all, and those on their way in or out.
const MAX_CALLERS: usize = 32;
/// How long nothing is accepted after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many streams may be greeting at a time.
const MAX_GREETING: usize = 64;

/// Takes the streams of other members; clones share one log.
#[derive(Clone)]
pub struct RaftServer {
    raft: Raft,
    beginning: Arc<Beginning>,
    space: Arc<Space>,
    heard: Heard,
    streams: Arc<Mutex<BTreeMap<NodeId, VecDeque<Arc<Notify>>>>>,
}

type Working = Pin<Box<dyn Future<Output = (u64, Response)> + Send>>;

impl RaftServer {
    pub(super) fn new(raft: Raft, beginning: Arc<Beginning>, space: Arc<Space>, heard: Heard) -> Self {
        Self { raft, beginning, space, heard, streams: Arc::default() }
    }

    /// Serves one stream whose role is Raft, until it ends. Dropping the future closes it.
    pub async fn serve(&self, incoming: Incoming) {
        let hello = incoming.hello;
        if let Some((code, reason)) = self.unwelcome(&incoming) {
            tracing::warn!(node = %hello.node, reason, "the stream of a member is refused");
            return incoming.refuse(code, reason).await;
        }
        let Some(evicted) = self.enter(hello.node) else {
            return incoming.refuse(RefusalCode::Busy, format!("{MAX_CALLERS} members have streams here")).await;
        };
        let framed = match incoming.welcome(self.beginning.node, self.beginning.known()).await {
            Ok(framed) => framed,
            Err(error) => return tracing::debug!(node = %hello.node, %error, "a caller is gone"),
        };
        let reason = tokio::select! {
            biased;
            reason = self.session(framed, hello.node) => reason,
            () = evicted.notified() => "it has opened newer ones".to_owned(),
        };
        self.leave(hello.node, &evicted);
        tracing::info!(node = %hello.node, reason, "the stream of a member has ended");
    }

    /// Accepts streams and serves those whose role is Raft; others are refused. For a node that has no other roles.
    /// Dropping the future closes them all.
    pub async fn listen(&self, mut listener: Box<dyn Listener>) {
        let mut serving = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                accepted = listener.accept(), if serving.len() < MAX_GREETING + MAX_CALLERS * MAX_STREAMS_OF_A_MEMBER => match accepted {
                    Ok((stream, peer)) => serving.push(async move {
                        match Incoming::read(stream).await {
                            Ok(incoming) => self.serve(incoming).await,
                            Err(error) => log_greeting(&peer, &error),
                        }
                    }),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a stream");
                        // Too many open files, most likely: streams that end make room.
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(()) = serving.next() => {}
            }
        }
    }

    fn unwelcome(&self, incoming: &Incoming) -> Option<(RefusalCode, String)> {
        let (hello, here) = (&incoming.hello, &self.beginning);
        let (ours, unknown) = (here.known(), Generation([0; 16]));
        if hello.role != Role::Raft {
            return Some((RefusalCode::Role, format!("the role {:?} is not served here", hello.role)));
        }
        if hello.cluster != here.cluster {
            return Some((RefusalCode::Cluster, format!("this is the cluster {}", here.cluster)));
        }
        if hello.node == here.node {
            return Some((RefusalCode::Node, format!("node {} is this one", hello.node)));
        }
        if ours != unknown && hello.generation != unknown && hello.generation != ours {
            let reason = format!("this log has the history {ours}, the caller {}", hello.generation);
            return Some((RefusalCode::Generation, reason));
        }
        None
    }

    fn enter(&self, node: NodeId) -> Option<Arc<Notify>> {
        let mut streams = self.streams.lock();
        if streams.len() >= MAX_CALLERS && !streams.contains_key(&node) {
            return None;
        }
        let mine = Arc::new(Notify::new());
        let own = streams.entry(node).or_default();
        own.push_back(mine.clone());
        if own.len() > MAX_STREAMS_OF_A_MEMBER
            && let Some(oldest) = own.pop_front()
        {
            oldest.notify_one();
        }
        Some(mine)
    }

    fn leave(&self, node: NodeId, mine: &Arc<Notify>) {
        let mut streams = self.streams.lock();
        if let Some(own) = streams.get_mut(&node) {
            own.retain(|other| !Arc::ptr_eq(other, mine));
            if own.is_empty() {
                streams.remove(&node);
            }
        }
    }

    async fn session(&self, framed: Framed, caller: NodeId) -> String {
        let (mut reader, mut writer) = framed.split();
        let mut working: FuturesUnordered<Working> = FuturesUnordered::new();
        let mut queue = FrameQueue::default();
        let mut snapshot = Receiving::default();
        loop {
            tokio::select! {
                biased;
                Some((number, response)) = working.next() => {
                    response.encode(number, &mut queue);
                    while let Some(Some((number, response))) = working.next().now_or_never() {
                        response.encode(number, &mut queue);
                    }
                }
                frame = reader.next(), if working.len() < MAX_AT_WORK => {
                    let frame = match frame {
                        Ok(Some(frame)) => frame,
                        Ok(None) => return "it was closed".to_owned(),
                        Err(error) => return format!("{error}: {}", cause(&error)),
                    };
                    let Some((number, request)) = Request::decode(&frame) else {
                        return format!("a frame of kind {} that is no request", frame.kind);
                    };
                    match request {
                        Request::Ping => Response::Pong.encode(0, &mut queue),
                        request => self.start(number, request, caller, &mut snapshot, &mut working, &mut queue),
                    }
                }
            }
            if let Err(error) = write_queue(&mut writer, &mut queue).await {
                return error.to_string();
            }
        }
    }

    /// Begins to work on a request: the first step is done before this returns, so that entries stay in order.
    fn start(
        &self,
        number: u64,
        request: Request,
        caller: NodeId,
        snapshot: &mut Receiving,
        working: &mut FuturesUnordered<Working>,
        queue: &mut FrameQueue,
    ) {
        let mut work: Working = match request {
            Request::Piece(piece) => match snapshot.take(piece) {
                Taken::More => return Response::Done.encode(number, queue),
                Taken::Bad(reason) => return Response::Failed(reason).encode(number, queue),
                Taken::Whole(piece, state) => {
                    let this = self.clone();
                    Box::pin(async move { (number, this.install(piece, state).await) })
                }
            },
            request => {
                let this = self.clone();
                Box::pin(async move { (number, this.answer(request, caller).await) })
            }
        };
        match (&mut work).now_or_never() {
            Some((number, response)) => response.encode(number, queue),
            None => working.push(work),
        }
    }

    async fn install(&self, piece: Piece, state: Bytes) -> Response {
        if !self.beginning.begun() {
            return Response::Failed("this member does not take part in a log yet".to_owned());
        }
        if let Err(error) = self.space.admit_state(state.len() as u64).await {
            return Response::Failed(error.to_string());
        }
        let snapshot = Snapshot { meta: piece.meta, snapshot: state };
        self.heard.leader();
        match self.raft.install_full_snapshot(piece.vote, snapshot).await {
            Ok(response) => Response::Installed(response.vote),
            Err(error) => Response::Failed(error.to_string()),
        }
    }

    /// Whether these entries may take the place of others here: of ones that another leader made and had to leave.
    fn cuts(&self, rpc: &AppendEntriesRequest<Types>) -> bool {
        let first = rpc.prev_log_id.map_or(0, |id| id.index + 1);
        self.space.last().is_some_and(|last| last.index >= first && last.term != rpc.vote.leader_id.term)
    }

    async fn answer(&self, request: Request, caller: NodeId) -> Response {
        match request {
            Request::Begin { generation, members } => {
                return match self.beginning.begin(caller, generation, &members).await {
                    Ok(()) => Response::Done,
                    Err(NotBegun::NotNow(error)) => Response::Failed(error.to_string()),
                    Err(NotBegun::Never(reason)) => Response::Refused(reason),
                };
            }
            Request::Adopt { generation, voter } => {
                return self.beginning.adopt(caller, generation, voter).await.into();
            }
            _ if !self.beginning.begun() => {
                return Response::Failed("this member does not take part in a log yet".to_owned());
            }
            _ => {}
        }
        let failed = |error: &dyn std::error::Error| Response::Failed(error.to_string());
        match request {
            Request::Append(rpc) => {
                self.heard.leader();
                let bytes: usize = rpc.entries.iter().map(frame_bytes).sum();
                let _in_flight = match self.space.admit_led(bytes as u64, self.cuts(&rpc)).await {
                    Ok(in_flight) => in_flight,
                    Err(error) => return failed(&error),
                };
                self.raft.append_entries(rpc).await.map_or_else(|error| failed(&error), Response::Append)
            }
            Request::Vote(rpc) => self.raft.vote(rpc).await.map_or_else(|error| failed(&error), Response::Vote),
            Request::PreVote(rpc) => self.raft.pre_vote(rpc).await.map_or_else(|error| failed(&error), Response::Vote),
            Request::Transfer(rpc) => match self.raft.handle_transfer_leader(rpc).await {
                Ok(Ok(())) => Response::Done,
                Ok(Err(error)) => failed(&error),
                Err(error) => failed(&error),
            },
            Request::Standing { after } => standing::answer(&self.raft, &self.heard, caller, after),
            Request::Piece(_) | Request::Begin { .. } | Request::Adopt { .. } | Request::Ping => {
                unreachable!("answered before")
            }
        }
    }
}

impl From<Result<(), String>> for Response {
    fn from(outcome: Result<(), String>) -> Self {
        outcome.map_or_else(Self::Failed, |()| Self::Done)
    }
}

/// What an entry takes on the disk; members take less than the reserve.
fn frame_bytes(entry: &RaftLogEntry) -> usize {
    match &entry.payload {
        Payload::Batches(bytes) => FRAME_BYTES + bytes.len(),
        Payload::Blank | Payload::Membership(_) | Payload::Draft(_) => FRAME_BYTES,
    }
}

fn log_greeting(peer: &str, error: &GreetingError) {
    tracing::warn!(peer, error = %error, cause = cause(error), "a stream did not begin");
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(String::new, ToString::to_string)
}

/// A snapshot that arrives in pieces.
#[derive(Default)]
struct Receiving {
    state: BytesMut,
}

enum Taken {
    More,
    Whole(Piece, Bytes),
    Bad(String),
}

impl Receiving {
    fn take(&mut self, piece: Piece) -> Taken {
        if piece.offset == 0 {
            self.state = BytesMut::new();
        }
        let end = self.state.len() as u64 + piece.bytes.len() as u64;
        if piece.offset != self.state.len() as u64 || end > piece.total_bytes || piece.total_bytes > MAX_SNAPSHOT_BYTES
        {
            let reason = format!("a piece of a snapshot at {} of {} bytes", piece.offset, piece.total_bytes);
            self.state = BytesMut::new();
            return Taken::Bad(reason);
        }
        self.state.extend_from_slice(&piece.bytes);
        if end < piece.total_bytes {
            return Taken::More;
        }
        Taken::Whole(piece, std::mem::take(&mut self.state).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::{SnapshotMeta, Vote};

    fn piece(total_bytes: u64, offset: u64, bytes: &'static [u8]) -> Piece {
        let meta = SnapshotMeta::default();
        Piece { vote: Vote::new(1, 1), meta, total_bytes, offset, bytes: Bytes::from_static(bytes) }
    }

    #[test]
    fn pieces_make_the_state_again_and_a_gap_starts_over() {
        let mut receiving = Receiving::default();
        assert!(matches!(receiving.take(piece(6, 0, b"abc")), Taken::More));
        assert!(matches!(receiving.take(piece(6, 4, b"ef")), Taken::Bad(_)));
        assert!(matches!(receiving.take(piece(6, 0, b"abc")), Taken::More));
        let Taken::Whole(_, state) = receiving.take(piece(6, 3, b"def")) else { panic!("not whole") };
        assert_eq!(&state[..], b"abcdef");
        assert!(matches!(receiving.take(piece(MAX_SNAPSHOT_BYTES + 1, 0, b"x")), Taken::Bad(_)));
        assert!(matches!(receiving.take(piece(0, 0, b"")), Taken::Whole(..)));
    }
}
