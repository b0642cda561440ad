//! One lane to another member: a stream that is opened when it is needed, and opened again after it broke.
//!
//! Requests are pipelined and answered in any order. A call fails when the other member cannot be reached or the
//! stream breaks; whether the request was taken is unknown then. While the next try is due later, calls fail at
//! once. A stream on which answers are due and nothing comes is pinged, and closed when it stays silent.
//!
//! There are two lanes to each member, so that votes and heartbeats never stand behind entries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use refrain_wire::stream::{FrameQueue, Hello, Role};
use refrain_wire::{ClusterId, Generation, NodeId};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::message::{Request, Response};
use crate::net::framed::{FrameReader, write_queue};
use crate::net::greeting::greet;
use crate::net::{BoxStream, Net};
use crate::observe::{Observer, Observers};

/// How many calls may wait for the stream.
const MAX_WAITING: usize = 128;

/// What is carried over a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Votes, heartbeats, the transfer of the lead.
    Urgent,
    /// Entries and snapshots.
    Bulk,
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("member {member} at {address}: {reason}")]
pub(crate) struct LinkError {
    member: NodeId,
    address: String,
    reason: String,
}

/// Another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) address: String,
}

impl Peer {
    pub(crate) fn error(&self, reason: impl ToString) -> LinkError {
        LinkError { member: self.node, address: self.address.clone(), reason: reason.to_string() }
    }
}

/// What all links of a member have in common.
pub(crate) struct Origin {
    pub(crate) net: Arc<dyn Net>,
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    /// The history that this member knows now; all zero when it knows none yet.
    pub(crate) generation: Box<dyn Fn() -> Generation + Send + Sync>,
    /// Whether a member's votes count.
    pub(crate) is_voter: Box<dyn Fn(NodeId) -> bool + Send + Sync>,
    /// Who is told of what members have.
    pub(crate) observer: Observers,
    /// How often a stream with answers due is pinged.
    pub(crate) heartbeat: Duration,
    /// How long it may be silent then, on the urgent lane; ten times that on the other.
    pub(crate) silence: Duration,
}

struct Call {
    request: Request,
    answer: oneshot::Sender<Result<Response, LinkError>>,
}

/// The handle; dropping it closes the stream.
pub(crate) struct Link {
    peer: Peer,
    observer: Observers,
    calls: mpsc::Sender<Call>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer to a call that was sent.
pub(crate) struct Answer {
    peer: Peer,
    receiver: oneshot::Receiver<Result<Response, LinkError>>,
}

impl Answer {
    /// Waits for it.
    pub(crate) async fn get(self) -> Result<Response, LinkError> {
        let answer = self.receiver.await;
        answer.unwrap_or_else(|_| Err(self.peer.error("the link was closed")))
    }
}

impl Link {
    /// A link that opens its stream at the first call. Needs a tokio runtime.
    pub(crate) fn new(origin: Arc<Origin>, peer: Peer, lane: Lane) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let observer = origin.observer.clone();
        let driver = Driver { origin, peer: peer.clone(), lane, calls: receiver };
        Self { peer, observer, calls: sender, task: tokio::spawn(driver.run()).abort_handle() }
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(crate) fn observer(&self) -> Option<&dyn Observer> {
        self.observer.as_deref()
    }

    /// Sends a request. Those of one caller are sent in the order of their calls.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        let (answer, receiver) = oneshot::channel();
        // A link that is gone has dropped the sender of the answer as well.
        drop(self.calls.send(Call { request, answer }).await);
        Answer { peer: self.peer.clone(), receiver }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(&self, request: Request) -> Result<Response, LinkError> {
        self.send(request).await.get().await
    }
}

struct Driver {
    origin: Arc<Origin>,
    peer: Peer,
    lane: Lane,
    calls: mpsc::Receiver<Call>,
}

type Reader = FrameReader<ReadHalf<BoxStream>>;
type Writer = WriteHalf<BoxStream>;

impl Driver {
    async fn run(mut self) {
        let mut backoff = self.origin.heartbeat / 4;
        let mut told = String::new();
        while let Some(first) = self.calls.recv().await {
            let reason = match self.open().await {
                Ok((reader, writer)) => {
                    backoff = self.origin.heartbeat / 4;
                    told.clear();
                    self.session(reader, writer, first).await
                }
                Err(reason) => {
                    self.refuse(first, &reason);
                    reason
                }
            };
            if reason != told {
                let peer = &self.peer;
                tracing::warn!(member = %peer.node, address = peer.address, reason, "no stream to a member");
                told.clone_from(&reason);
            }
            self.wait(backoff, &reason).await;
            backoff = (backoff * 2).min(self.origin.heartbeat * 4);
        }
    }

    fn refuse(&self, call: Call, reason: &str) {
        // Whoever called may be gone.
        drop(call.answer.send(Err(self.peer.error(reason))));
    }

    /// Answers calls with the reason until the next try is due.
    async fn wait(&mut self, backoff: Duration, reason: &str) {
        let due = tokio::time::Instant::now() + backoff;
        while let Ok(call) = tokio::time::timeout_at(due, self.calls.recv()).await {
            let Some(call) = call else { return };
            self.refuse(call, reason);
        }
    }

    fn silence(&self) -> Duration {
        match self.lane {
            Lane::Urgent => self.origin.silence,
            Lane::Bulk => self.origin.silence * 10,
        }
    }

    async fn open(&self) -> Result<(Reader, Writer), String> {
        let opening = tokio::time::timeout(self.origin.silence, self.greet());
        opening.await.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.origin.silence)))
    }

    async fn greet(&self) -> Result<(Reader, Writer), String> {
        let origin = &*self.origin;
        let generation = (origin.generation)();
        let stream = origin.net.connect(&self.peer.address).await.map_err(|error| error.to_string())?;
        let hello = Hello::new(Role::Raft, origin.cluster, generation, origin.node);
        let there = greet(stream, &hello).await.map_err(|error| error.to_string())?;
        if there.node != self.peer.node {
            return Err(format!("member {} answers there", there.node));
        }
        let (mut reader, mut writer) = there.framed.split();
        let unknown = Generation([0; 16]);
        if generation != unknown && there.generation == unknown {
            self.take_in(generation, &mut reader, &mut writer).await?;
        } else if generation != unknown && there.generation != generation {
            return Err(format!("it has the history {}, not {generation}", there.generation));
        }
        Ok((reader, writer))
    }

    /// Tells a member that knows no history yet of this one.
    async fn take_in(&self, generation: Generation, reader: &mut Reader, writer: &mut Writer) -> Result<(), String> {
        let mut queue = FrameQueue::default();
        Request::Adopt { generation, voter: (self.origin.is_voter)(self.peer.node) }.encode(0, &mut queue);
        write_queue(writer, &mut queue).await.map_err(|error| error.to_string())?;
        let frame = reader.next().await.map_err(|error| error.to_string())?;
        match frame.as_ref().and_then(Response::decode) {
            Some((_, Response::Done)) => Ok(()),
            Some((_, Response::Failed(reason) | Response::Refused(reason))) => Err(reason),
            _ => Err("it does not take part in this log".to_owned()),
        }
    }

    /// Carries calls until the stream breaks; says why it did.
    async fn session(&mut self, reader: Reader, writer: Writer, first: Call) -> String {
        let silence = self.silence();
        let session = Session { due: Mutex::default(), ping: Notify::new() };
        let mut calls = vec![first];
        let reason = tokio::select! {
            biased;
            reason = session.write(writer, &mut self.calls, &mut calls) => reason,
            reason = session.read(reader, self.origin.heartbeat, silence) => reason,
        };
        let due = std::mem::take(&mut *session.due.lock());
        for answer in due.into_values() {
            drop(answer.send(Err(self.peer.error(&reason))));
        }
        calls.into_iter().for_each(|call| self.refuse(call, &reason));
        reason
    }
}

type Due = BTreeMap<u64, oneshot::Sender<Result<Response, LinkError>>>;

struct Session {
    due: Mutex<Due>,
    ping: Notify,
}

impl Session {
    async fn write(&self, mut half: Writer, calls: &mut mpsc::Receiver<Call>, waiting: &mut Vec<Call>) -> String {
        let mut queue = FrameQueue::default();
        let mut number = 0;
        loop {
            for call in waiting.drain(..) {
                number += 1;
                self.due.lock().insert(number, call.answer);
                call.request.encode(number, &mut queue);
            }
            if let Err(error) = write_queue(&mut half, &mut queue).await {
                return error.to_string();
            }
            tokio::select! {
                biased;
                count = calls.recv_many(waiting, MAX_WAITING) => if count == 0 {
                    return "the link was closed".to_owned();
                },
                () = self.ping.notified() => Request::Ping.encode(0, &mut queue),
            }
        }
    }

    async fn read(&self, mut reader: Reader, heartbeat: Duration, silence: Duration) -> String {
        let mut silent = Duration::ZERO;
        loop {
            match tokio::time::timeout(heartbeat, reader.next()).await {
                Err(_) if self.due.lock().is_empty() => silent = Duration::ZERO,
                Err(_) => {
                    silent += heartbeat;
                    if silent > silence {
                        return format!("nothing came for {silent:?}");
                    }
                    self.ping.notify_one();
                }
                Ok(Err(error)) => return error.to_string(),
                Ok(Ok(None)) => return "the stream was closed".to_owned(),
                Ok(Ok(Some(frame))) => {
                    silent = Duration::ZERO;
                    let Some((number, response)) = Response::decode(&frame) else {
                        return format!("a frame of kind {} that is no answer", frame.kind);
                    };
                    let waits = self.due.lock().remove(&number);
                    if let Some(answer) = waits {
                        drop(answer.send(Ok(response)));
                    }
                }
            }
        }
    }
}
