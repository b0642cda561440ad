//! Streams to and from other nodes: dialling, the hello at the beginning, and who serves which role.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use refrain_sequencer::net::greeting::{GreetingError, Incoming, greet};
use refrain_sequencer::net::{BoxStream, Listener};
use refrain_wire::stream::{Hello, HelloAnswer, RefusalCode, Role};
use refrain_wire::{Generation, NodeId};
use tokio::time::timeout;

use super::view::View;
use super::{Inner, Nodes};
use crate::link::{Inbox, LinkError, Outbox, Writer, open};

/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// Streams of other nodes that are served at once.
const MAX_STREAMS: usize = 4096;
/// What a node says that knows no history yet.
pub(super) const UNKNOWN: Generation = Generation([0; 16]);
/// How long the listener rests after an error, which is mostly a lack of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Why there is no stream to a node, or why it ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// No member of the log is known.
    #[error("no other member of the log is known")]
    NobodyKnown,
    /// Nobody said where the node is.
    #[error("node {0} has no known address")]
    NoAddress(NodeId),
    /// It cannot be reached.
    #[error("node {node} at {address} cannot be reached")]
    Connect {
        /// The node.
        node: NodeId,
        /// Where it should be.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// There is no answer to the hello, or a refusal.
    #[error("node {node} at {address} does not take the stream")]
    Greeting {
        /// The node.
        node: NodeId,
        /// Where it should be.
        address: String,
        /// Why.
        source: GreetingError,
    },
    /// The stream ended.
    #[error(transparent)]
    Link(LinkError),
}

impl DialError {
    /// Whether the node said nothing, as one that is gone or stopped does.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.kind() == io::ErrorKind::TimedOut,
            Self::Greeting { source: GreetingError::Io(source), .. } => source.kind() == io::ErrorKind::TimedOut,
            Self::Link(error) => matches!(error, LinkError::Silent(_)),
            Self::NobodyKnown | Self::NoAddress(_) | Self::Greeting { .. } => false,
        }
    }
}

/// A stream that was dialled: frames in, and where frames out are written.
pub(super) type Dialled = (Inbox, Writer);

impl Inner {
    /// Opens a stream to a node.
    pub(super) async fn dial(&self, node: NodeId, role: Role) -> Result<Dialled, DialError> {
        self.dial_within(node, role, self.config.peer_timeout).await
    }

    /// The same with another patience for the connection, and for the greeting.
    pub(super) async fn dial_within(&self, node: NodeId, role: Role, patience: Duration) -> Result<Dialled, DialError> {
        let address = self.address_of(node).ok_or(DialError::NoAddress(node))?;
        let connecting = timeout(CONNECT_PATIENCE.min(patience), self.seams.net.connect(&address)).await;
        let connected = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = connected.map_err(|source| DialError::Connect { node, address: address.clone(), source })?;
        let generation = self.view.generation().unwrap_or(UNKNOWN);
        let hello = Hello::new(role, self.cluster, generation, self.node);
        // A node that is stopped takes connections and says nothing.
        let greeted = timeout(patience, greet(stream, &hello)).await;
        let greeted = greeted.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        let outgoing = greeted.map_err(|source| DialError::Greeting { node, address, source })?;
        self.learn_generation(outgoing.generation);
        Ok(open(outgoing.framed, self.config.peer_timeout))
    }

    fn learn_generation(&self, generation: Generation) {
        if let View::Feed(feed) = &self.view
            && generation != UNKNOWN
        {
            feed.generation.borrow_mut().get_or_insert(generation);
        }
    }

    /// What a node is answered that opens a stream for the HTTP front end.
    pub(super) fn greeted(&self, hello: &Hello) -> HelloAnswer {
        match self.refuse(hello) {
            Some((code, reason)) => {
                tracing::debug!(node = %hello.node, reason, "a stream for HTTP was turned away");
                HelloAnswer::Refused { code, reason }
            }
            None => HelloAnswer::Welcome { node: self.node, generation: self.view.generation().unwrap_or(UNKNOWN) },
        }
    }

    /// How this node greets others for its HTTP front end, and where they are.
    pub(super) fn nodes(&self) -> Nodes {
        // Whoever asks follows the log, and learns so how far it is.
        self.tell_deployed();
        let generation = self.view.generation().unwrap_or(UNKNOWN);
        let others = self.other_nodes().into_iter().filter_map(|node| Some((node, self.address_of(node)?)));
        Nodes { hello: Hello::new(Role::Http, self.cluster, generation, self.node), others: others.collect() }
    }

    /// Why a stream is turned away; none when it is welcome.
    fn refuse(&self, hello: &Hello) -> Option<(RefusalCode, String)> {
        let cluster = &self.config.cluster;
        if hello.cluster != self.cluster {
            let text = match cluster.shard_of(hello.cluster) {
                Some(shard) => format!(
                    "this node has no shard {shard} that runs; `shards` is {} here, and must be the same on every node",
                    cluster.shards.count
                ),
                None => format!("this node is of the cluster {:?}, whose id is {}", cluster.name, self.cluster),
            };
            return Some((RefusalCode::Cluster, text));
        }
        if hello.node == self.node {
            let text = format!("node {} is this node: another one was given its number", self.node);
            return Some((RefusalCode::Node, text));
        }
        let of_members = matches!(hello.role, Role::Raft | Role::Uplink | Role::Feed);
        if of_members && self.view.member().is_none() {
            let text = format!("this node is no member of the log, it takes no streams of the role {:?}", hello.role);
            return Some((RefusalCode::Role, text));
        }
        // What members ask of each other's histories is Raft's affair.
        let mine = self.view.generation().filter(|mine| *mine != UNKNOWN && hello.role != Role::Raft)?;
        (hello.generation != UNKNOWN && hello.generation != mine).then(|| {
            let text = format!("this log has generation {mine}, the other node knows {}", hello.generation);
            (RefusalCode::Generation, text)
        })
    }
}

/// Why nodes were turned away: each reason is told once, as who is refused comes again and again.
#[derive(Default)]
struct Told(RefCell<BTreeSet<(NodeId, String)>>);

/// Reasons that are remembered; beyond, they are told again.
const MAX_TOLD: usize = 256;

impl Told {
    fn is_new(&self, node: NodeId, reason: &str) -> bool {
        let mut told = self.0.borrow_mut();
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        told.insert((node, reason.to_owned()))
    }
}

/// Serves streams of other nodes until the loop ends.
pub(super) async fn accept(inner: Rc<Inner>, mut listener: Box<dyn Listener>) {
    let (open, told) = (Rc::new(Cell::new(0_usize)), Rc::new(Told::default()));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) if open.get() < MAX_STREAMS => {
                open.set(open.get() + 1);
                let (inner, open, told) = (Rc::clone(&inner), Rc::clone(&open), Rc::clone(&told));
                tokio::task::spawn_local(async move {
                    if let Err(error) = serve(&inner, stream, &told).await {
                        tracing::debug!(%peer, ?error, "a stream of another node ended");
                    }
                    open.set(open.get() - 1);
                });
            }
            Ok((_, peer)) => tracing::warn!(%peer, "{MAX_STREAMS} streams of other nodes are open; this one is closed"),
            Err(error) => {
                tracing::warn!(%error, "cannot take the stream of another node");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Serves one stream to its end.
async fn serve(inner: &Rc<Inner>, stream: BoxStream, told: &Told) -> anyhow::Result<()> {
    let incoming = Incoming::read(stream).await?;
    let hello = incoming.hello;
    let no_front =
        (hello.role == Role::Http).then(|| (RefusalCode::Role, "this node has no HTTP front end".to_owned()));
    if let Some((code, reason)) = inner.refuse(&hello).or(no_front) {
        if told.is_new(hello.node, &reason) {
            tracing::warn!(node = %hello.node, role = ?hello.role, reason, "a node was turned away");
        }
        incoming.refuse(code, reason).await;
        return Ok(());
    }
    if hello.role == Role::Raft
        && let Some(member) = inner.view.member()
    {
        member.log().server().serve(incoming).await;
        return Ok(());
    }
    let generation = inner.view.generation().unwrap_or(UNKNOWN);
    let (inbox, writer) = open(incoming.welcome(inner.node, generation).await?, inner.config.peer_timeout);
    let outbox = Outbox::default();
    let writing = outbox.write_to(writer);
    let reading = async {
        let ended = match hello.role {
            Role::Uplink => super::leader::serve(inner, hello.node, inbox, &outbox).await,
            Role::Feed => super::follow::serve(inner, inbox, &outbox).await,
            Role::Votes => super::voting::serve(inner, hello.node, inbox, &outbox).await,
            Role::Fetch => super::fetch::serve(inner, inbox, &outbox).await,
            Role::Raft | Role::Http => Ok(()),
        };
        outbox.end();
        ended
    };
    // What was said last is still written when the reading ends first.
    let (ended, _) = tokio::join!(reading, writing);
    Ok(ended?)
}
