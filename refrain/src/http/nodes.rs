//! The other nodes of the cluster, as the front end of this one sees them: whether they live, what they host, and how
//! streams to them are made.
//!
//! One thread keeps a stream to each of them, on which the node tells what it hosts (`hosted`). When that stream breaks
//! the node gets no more requests, at once; what it told stays known, so that its services are answered with 503 and not
//! 404, until it tells anew. Requests go over other streams, which the threads of the front end make by [`NodeDial`].

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use parking_lot::Mutex;
use refrain_front::{Body, Dial, Dialling, InnerStream, Link};
use refrain_sequencer::net::greeting::greet;
use refrain_sequencer::net::{Net as _, Tcp};
use refrain_wire::stream::Hello;
use refrain_wire::{NodeId, Position};
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet};

use super::hearing::{Heard, Hearing, There};
use super::hosted::{Line, PATH};
use super::{Http, Shared, telling};
use crate::shard::{Command, Commands, Nodes as Known};

/// Between two looks at which nodes there are.
const LOOK: Duration = Duration::from_secs(1);
/// Between two tries to reach a node, at first and at the longest.
const AGAIN: Duration = Duration::from_millis(100);
const MAX_AGAIN: Duration = Duration::from_secs(2);

/// Makes streams to one node.
pub(super) struct NodeDial {
    node: NodeId,
    /// Where it is, and what this node says to it.
    at: Mutex<(String, Hello)>,
    is_up: AtomicBool,
}

impl fmt::Debug for NodeDial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.node)
    }
}

impl Dial for NodeDial {
    fn dial(&self) -> Dialling {
        let (node, (address, hello)) = (self.node, self.at.lock().clone());
        Box::pin(async move {
            let stream = Tcp.connect(&address).await?;
            let greeted = greet(stream, &hello).await.map_err(io::Error::other)?;
            if greeted.node != node {
                return Err(io::Error::other(format!("node {} answers at {address}", greeted.node)));
            }
            let (stream, read) = greeted.framed.into_parts();
            if read.is_empty() {
                return Ok(Box::new(stream) as Box<dyn InnerStream>);
            }
            let (from, to) = tokio::io::split(stream);
            Ok(Box::new(tokio::io::join(Cursor::new(read).chain(from), to)) as Box<dyn InnerStream>)
        })
    }

    fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }
}

/// Another node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) dial: Arc<NodeDial>,
    /// What it said last that it hosts, by `namespace/name@version`.
    pub(super) hosts: BTreeMap<String, There>,
    /// The last change of stateless services in the log that it has followed, as it said; 0 when it never said so.
    pub(super) followed: Position,
}

/// What is known of other nodes.
pub(super) type Nodes = BTreeMap<NodeId, Node>;

/// Follows the other nodes on a thread of its own, until the process ends.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn follow(http: &Shared, first: Commands, patience: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let http = Arc::clone(http);
    std::thread::Builder::new().name("http-nodes".into()).spawn(move || {
        let local = LocalSet::new();
        local.spawn_local(telling::run(Arc::clone(&http)));
        local.block_on(&runtime, follow_all(&http, &first, patience));
    })?;
    Ok(())
}

/// Ends with the first shard.
async fn follow_all(http: &Shared, first: &Commands, patience: Duration) {
    let mut followed: BTreeMap<NodeId, (Arc<NodeDial>, JoinHandle<()>)> = BTreeMap::new();
    loop {
        let (reply, answer) = oneshot::channel();
        if first.send(Command::Nodes(reply)).await.is_err() {
            return;
        }
        // A loop that begins anew may lose a question.
        let Ok(Known { hello, others }) = answer.await else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        followed.retain(|node, (dial, following)| {
            let stays = others.iter().any(|(other, _)| other == node);
            if !stays {
                following.abort();
                dial.is_up.store(false, Ordering::Relaxed);
                http.forget_node(*node);
            }
            stays
        });
        for (node, address) in others {
            if let Some((dial, _)) = followed.get(&node) {
                *dial.at.lock() = (address, hello);
                continue;
            }
            let dial = Arc::new(NodeDial::new(node, address, hello));
            let following = follow_one(Arc::clone(http), Arc::clone(&dial), patience);
            followed.insert(node, (dial, tokio::task::spawn_local(following)));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Hears what one node tells, again and again.
async fn follow_one(http: Shared, dial: Arc<NodeDial>, patience: Duration) {
    let node = dial.node;
    let mut wait = AGAIN;
    let mut was_up = true;
    loop {
        let heard = hear(&http, &dial, patience).await;
        let is_told = dial.is_up.swap(false, Ordering::Relaxed);
        if is_told {
            wait = AGAIN;
        }
        match heard {
            Ok(()) => tracing::info!(%node, "the node ends, its front end takes no more requests"),
            Err(error) if is_told || was_up => {
                tracing::info!(%node, error = %format!("{error:#}"), "the front end of the node is not reached");
            }
            Err(error) => {
                tracing::debug!(%node, error = %format!("{error:#}"), "the front end of the node is not reached")
            }
        }
        was_up = false;
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(MAX_AGAIN);
    }
}

/// Hears what a node tells until it ends, or its stream breaks.
async fn hear(http: &Http, dial: &Arc<NodeDial>, patience: Duration) -> anyhow::Result<()> {
    let stream = tokio::time::timeout(patience, dial.dial()).await??;
    let mut link = Link::open(stream, patience).await?;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static(PATH);
    let response = tokio::time::timeout(patience, link.ask(request)).await??;
    anyhow::ensure!(response.status().is_success(), "it tells nothing: {}", response.status());
    let mut hearing = Hearing::new(response.into_body());
    let mut heard = Heard::default();
    while let Some(line) = hearing.next().await? {
        match line {
            Line::Hosts { service, hosted } => {
                if let Err(fault) = heard.hosts(service.clone(), hosted)? {
                    tracing::warn!(node = %dial.node, service, fault, "what the node hosts cannot be used from here");
                }
            }
            Line::Gone { service } => heard.gone(&service),
            Line::Followed { at } => heard.followed = Position(at),
            Line::All => {
                if !dial.is_up.swap(true, Ordering::Relaxed) {
                    tracing::info!(node = %dial.node, services = heard.hosts.len(), "the front end of the node is reached");
                }
                let Heard { hosts, followed, .. } = heard.clone();
                http.node_hosts(Node { dial: Arc::clone(dial), hosts, followed });
            }
        }
    }
    Ok(())
}

impl Http {
    /// Another node has told what it hosts.
    fn node_hosts(&self, node: Node) {
        self.change_nodes(|nodes| drop(nodes.insert(node.dial.node(), node)));
    }

    /// A node is no longer one of the cluster.
    fn forget_node(&self, node: NodeId) {
        self.change_nodes(|nodes| drop(nodes.remove(&node)));
    }

    fn change_nodes(&self, change: impl FnOnce(&mut Nodes)) {
        let mut state = self.state.lock();
        change(&mut state.nodes);
        self.follow_or_warn(&mut state);
    }
}

impl NodeDial {
    /// One that is not known to live.
    pub(super) fn new(node: NodeId, address: String, hello: Hello) -> Self {
        Self { node, at: Mutex::new((address, hello)), is_up: AtomicBool::new(false) }
    }

    /// One that lives.
    #[cfg(test)]
    pub(super) fn living(node: NodeId) -> Self {
        use refrain_wire::stream::Role;
        use refrain_wire::{ClusterId, Generation};
        let hello = Hello::new(Role::Http, ClusterId([0; 16]), Generation([0; 16]), NodeId(1));
        let dial = Self::new(node, String::new(), hello);
        dial.is_up.store(true, Ordering::Relaxed);
        dial
    }

    /// Which node.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }
}
