//! openraft's network over our links.
//!
//! Entries are pipelined: requests are sent as openraft makes them, up to a limit, and answered in order. Heartbeats,
//! votes and transfers go by the urgent lane, entries and snapshots by the other.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use parking_lot::Mutex;
use refrain_wire::NodeId;
use refrain_wire::limits::MAX_PIECE_BYTES;

use super::link::{Lane, Link, LinkError, Origin, Peer};
use super::message::{Piece, Request, Response};
use super::types::{LogId, Member, Snapshot, Types, Vote};
use crate::observe::Replicated;

/// How many requests with entries may be on their way to one member.
const MAX_PIPELINED: usize = 32;

type RpcResult<T> = Result<T, RPCError<Types>>;

type Links = BTreeMap<(NodeId, Lane), Arc<Link>>;

/// All links of a member.
#[derive(Clone)]
pub(crate) struct Peers {
    origin: Arc<Origin>,
    links: Arc<Mutex<Links>>,
}

impl Peers {
    pub(crate) fn new(origin: Arc<Origin>) -> Self {
        Self { origin, links: Arc::default() }
    }

    /// The link to a member; a new one when its address has changed.
    pub(crate) fn link(&self, node: NodeId, address: &str, lane: Lane) -> Arc<Link> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&(node, lane)).filter(|link| link.peer().address == address) {
            return link.clone();
        }
        let peer = Peer { node, address: address.to_owned() };
        let link = Arc::new(Link::new(self.origin.clone(), peer, lane));
        links.insert((node, lane), link.clone());
        link
    }

    /// Closes the links to members that `keep` does not want, or to all.
    pub(crate) fn retain(&self, keep: impl Fn(NodeId) -> bool) {
        self.links.lock().retain(|(node, _), _| keep(*node));
    }

    fn connection(&self, target: u64, member: &Member, bulk: Lane) -> Connection {
        let link = |lane| self.link(NodeId(target), &member.address, lane);
        Connection { bulk: link(bulk), urgent: link(Lane::Urgent) }
    }
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, member: &Member) -> Connection {
        self.connection(target, member, Lane::Bulk)
    }

    async fn new_heartbeat_client(&mut self, target: u64, member: &Member) -> Connection {
        self.connection(target, member, Lane::Urgent)
    }
}

/// The way to one other member.
pub(crate) struct Connection {
    bulk: Arc<Link>,
    urgent: Arc<Link>,
}

fn unreachable(error: &LinkError) -> Unreachable<Types> {
    Unreachable::new(error)
}

fn unexpected(link: &Link, response: &Response) -> NetworkError<Types> {
    let reason = match response {
        Response::Failed(reason) | Response::Refused(reason) => reason.clone(),
        _ => "an answer to another question".to_owned(),
    };
    NetworkError::new(&link.peer().error(reason))
}

impl Connection {
    async fn ballot(&self, request: Request) -> RpcResult<VoteResponse<Types>> {
        match self.urgent.call(request).await {
            Ok(Response::Vote(vote)) => Ok(vote),
            Ok(other) => Err(unexpected(&self.urgent, &other).into()),
            Err(error) => Err(unreachable(&error).into()),
        }
    }

    async fn send_pieces(&self, vote: Vote, snapshot: Snapshot) -> Result<Vote, StreamingError<Types>> {
        let state = snapshot.snapshot;
        let mut offset = 0;
        loop {
            let end = state.len().min(offset + MAX_PIECE_BYTES);
            let piece = Piece {
                vote,
                meta: snapshot.meta.clone(),
                total_bytes: state.len() as u64,
                offset: offset as u64,
                bytes: state.slice(offset..end),
            };
            match self.bulk.call(Request::Piece(piece)).await {
                Ok(Response::Done) if end < state.len() => offset = end,
                Ok(Response::Installed(vote)) => return Ok(vote),
                Ok(other) => return Err(unexpected(&self.bulk, &other).into()),
                Err(error) => return Err(unreachable(&error).into()),
            }
        }
    }
}

impl RaftNetworkV2<Types> for Connection {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<Types>> {
        match self.bulk.call(Request::Append(rpc)).await {
            Ok(Response::Append(response)) => Ok(response),
            Ok(other) => Err(unexpected(&self.bulk, &other).into()),
            Err(error) => Err(unreachable(&error).into()),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        let pipeline = Pipeline { link: &self.bulk, input: Some(input), on_the_way: VecDeque::new() };
        let stream: BoxStream<'s, _> = Box::pin(pipeline);
        Box::pin(std::future::ready(Ok(stream)))
    }

    async fn vote(&mut self, rpc: VoteRequest<Types>, _option: RPCOption) -> RpcResult<VoteResponse<Types>> {
        self.ballot(Request::Vote(rpc)).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<Types>, _option: RPCOption) -> RpcResult<VoteResponse<Types>> {
        self.ballot(Request::PreVote(rpc)).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            biased;
            sent = self.send_pieces(vote, snapshot) => sent.map(SnapshotResponse::new),
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<Types>> {
        match self.urgent.call(Request::Transfer(request)).await {
            Ok(Response::Done) => Ok(Ok(())),
            Ok(other) => Err(unexpected(&self.urgent, &other).into()),
            Err(error) => Err(unreachable(&error).into()),
        }
    }
}

type Pending = Pin<Box<dyn Future<Output = Result<Response, LinkError>> + Send>>;

/// Requests with entries on their way, and their answers in order.
struct Pipeline<'a, S> {
    link: &'a Arc<Link>,
    input: Option<S>,
    on_the_way: VecDeque<OnTheWay>,
}

struct OnTheWay {
    previous: Option<LogId>,
    last: Option<LogId>,
    /// When entries were sent, when somebody is to be told.
    sent: Option<Instant>,
    answer: Pending,
}

impl<S: Stream<Item = AppendEntriesRequest<Types>> + Unpin> Pipeline<'_, S> {
    /// Sends what openraft has ready.
    fn send(&mut self, context: &mut Context<'_>) {
        while let Some(input) = self.input.as_mut().filter(|_| self.on_the_way.len() < MAX_PIPELINED) {
            match input.poll_next_unpin(context) {
                Poll::Pending => return,
                Poll::Ready(None) => self.input = None,
                Poll::Ready(Some(request)) => {
                    let previous = request.prev_log_id;
                    let last = request.entries.last().map(|entry| entry.id).or(previous);
                    let told = self.link.observer().is_some() && !request.entries.is_empty();
                    let sent = told.then(Instant::now);
                    let link = self.link.clone();
                    let mut pending: Pending = Box::pin(async move { link.call(Request::Append(request)).await });
                    // The first poll sends, so that requests stay in order.
                    let first = pending.as_mut().poll(context);
                    if let Poll::Ready(answer) = first {
                        pending = Box::pin(std::future::ready(answer));
                    }
                    self.on_the_way.push_back(OnTheWay { previous, last, sent, answer: pending });
                }
            }
        }
    }
}

impl OnTheWay {
    /// The member has the entries.
    fn tell(&self, link: &Link) {
        let (Some(observer), Some(sent), Some(last)) = (link.observer(), self.sent, self.last) else { return };
        let first = self.previous.map_or(0, |previous| previous.index + 1);
        let (node, last, answered) = (link.peer().node, last.index, Instant::now());
        observer.replicated(&Replicated { node, first, last, sent, answered });
    }
}

impl<S: Stream<Item = AppendEntriesRequest<Types>> + Unpin> Stream for Pipeline<'_, S> {
    type Item = RpcResult<StreamAppendResult<Types>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.send(context);
        let Some(front) = this.on_the_way.front_mut() else {
            return if this.input.is_none() { Poll::Ready(None) } else { Poll::Pending };
        };
        let Poll::Ready(answer) = front.answer.as_mut().poll(context) else { return Poll::Pending };
        let result = match answer {
            // Without a previous entry there is nothing to conflict with, and openraft takes that for granted.
            Ok(Response::Append(response)) if front.previous.is_some() || !response.is_conflict() => {
                if matches!(response, AppendEntriesResponse::Success) {
                    front.tell(this.link);
                }
                Ok(response.into_stream_result(front.previous, front.last))
            }
            Ok(other) => Err(unexpected(this.link, &other).into()),
            Err(error) => Err(unreachable(&error).into()),
        };
        this.on_the_way.pop_front();
        Poll::Ready(Some(result))
    }
}
