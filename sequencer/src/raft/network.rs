//! How members reach each other: our trait, and openraft's over it.

use std::future::Future;
use std::sync::Arc;

use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};

use super::types::{Member, Types};

/// A member could not be asked; it may have got the request or not.
#[derive(Debug, Clone, thiserror::Error)]
#[error("member {member} at {address:?} is unreachable: this log has a single member")]
pub(crate) struct PeerUnreachable {
    member: u64,
    address: String,
}

/// Carries requests to other members. Each call is one request and its answer; there is no order between calls.
pub(crate) trait Peers: Send + Sync + 'static {
    fn append(
        &self,
        to: &Peer,
        request: AppendEntriesRequest<Types>,
    ) -> impl Future<Output = Result<AppendEntriesResponse<u64>, PeerUnreachable>> + Send;
    fn vote(
        &self,
        to: &Peer,
        request: VoteRequest<u64>,
    ) -> impl Future<Output = Result<VoteResponse<u64>, PeerUnreachable>> + Send;
}

/// Another member.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) member: u64,
    pub(crate) address: String,
}

impl Peer {
    fn unreachable(&self) -> PeerUnreachable {
        PeerUnreachable { member: self.member, address: self.address.clone() }
    }
}

/// The network of a member that is alone: nobody can be reached.
pub(crate) struct NoPeers;

impl Peers for NoPeers {
    async fn append(
        &self,
        to: &Peer,
        _request: AppendEntriesRequest<Types>,
    ) -> Result<AppendEntriesResponse<u64>, PeerUnreachable> {
        Err(to.unreachable())
    }

    async fn vote(&self, to: &Peer, _request: VoteRequest<u64>) -> Result<VoteResponse<u64>, PeerUnreachable> {
        Err(to.unreachable())
    }
}

/// Makes one connection for each other member.
pub(crate) struct Network<P>(pub(crate) Arc<P>);

impl<P: Peers> RaftNetworkFactory<Types> for Network<P> {
    type Network = Connection<P>;

    async fn new_client(&mut self, target: u64, node: &Member) -> Connection<P> {
        Connection { peers: self.0.clone(), peer: Peer { member: target, address: node.address.clone() } }
    }
}

/// The way to one other member.
pub(crate) struct Connection<P> {
    peers: Arc<P>,
    peer: Peer,
}

type RpcResult<T, E = openraft::error::Infallible> = Result<T, RPCError<u64, Member, RaftError<u64, E>>>;

fn unreachable<E: std::error::Error>(error: PeerUnreachable) -> RPCError<u64, Member, E> {
    RPCError::Unreachable(Unreachable::new(&error))
}

impl<P: Peers> RaftNetwork<Types> for Connection<P> {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<u64>> {
        self.peers.append(&self.peer, rpc).await.map_err(unreachable)
    }

    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<Types>,
        _option: RPCOption,
    ) -> RpcResult<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        // The log is never purged, so there is nothing that only a snapshot could bring.
        Err(unreachable(self.peer.unreachable()))
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, _option: RPCOption) -> RpcResult<VoteResponse<u64>> {
        self.peers.vote(&self.peer, rpc).await.map_err(unreachable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_alone_reaches_nobody_and_says_so() {
        let peer = Peer { member: 2, address: "10.0.0.2:7000".into() };
        let error = peer.unreachable().to_string();
        assert_eq!(error, "member 2 at \"10.0.0.2:7000\" is unreachable: this log has a single member");
    }
}
