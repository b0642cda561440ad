//! What one node asks another for that is kept: old entries, turns of histories, bundles, checkpoints.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use refrain_engine::checkpoint::store::Draft;
use refrain_engine::checkpoint::{CheckpointStore, ChunkId, ChunkSource as _, Root};
use refrain_service::{Bundle, BundleDigest, MAX_PACKED_BYTES};
use refrain_wire::limits::{MAX_FETCH_ENTRIES, MAX_FETCH_ENTRIES_BYTES};
use refrain_wire::message::Message as _;
use refrain_wire::message::fetch::{Answer, Get};
use refrain_wire::message::pieces::{Assembly, Piece};
use refrain_wire::stream::Role;
use refrain_wire::{GroupId, NodeId, Position};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Inner;
use super::peers::DialError;
use super::turns::Turns;
use crate::feed::{Entries, MAX_QUESTIONS, Older, Wanted};
use crate::history::{SourceError, recorded};
use crate::link::{Inbox, LinkError, Outbox};

/// Bytes that may wait for a slow node before its next question is answered.
const AHEAD_BYTES: usize = 4 * 1024 * 1024;
/// How long a node may say nothing to a question: it may have to read and pack a bundle first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Chunks that are read in one go, 1 MiB, when so many were asked for.
const CHUNKS_AT_ONCE: usize = 16;

/// Answers another node's questions to the end of the stream.
pub(super) async fn serve(inner: &Rc<Inner>, mut inbox: Inbox, outbox: &Outbox) -> Result<(), LinkError> {
    let mut checkpoints = Checkpoints::new(inner.checkpoints.store.clone(), inner.seams.turns.clone());
    let mut asked = VecDeque::new();
    loop {
        if asked.is_empty() {
            let frame = inbox.next().await?;
            asked.push_back(Get::decode(frame.kind, &frame.payload)?);
        }
        while asked.len() < CHUNKS_AT_ONCE
            && let Some(frame) = inbox.buffered()?
        {
            asked.push_back(Get::decode(frame.kind, &frame.payload)?);
        }
        let Some(next) = asked.pop_front() else { continue };
        match next {
            Get::Entries { from, max_bytes } => {
                let answer = inner.entries_for(from, max_bytes as usize);
                outbox.push(|frames| answer.encode(frames));
            }
            Get::Turns { group, after, max_bytes } => {
                let answer = inner.turns_for(group, after, max_bytes as usize).await;
                outbox.push(|frames| answer.encode(frames));
            }
            Get::Bundle(digest) => {
                let (bundles, wanted) = (inner.bundles(), BundleDigest::new(digest));
                let packed = move || Bundle::open(&bundles, wanted).ok().map(|bundle| Bytes::from(bundle.pack()));
                send_or_miss(outbox, inner.seams.turns.beside(packed).await.ok().flatten()).await;
            }
            Get::Manifest(root) => send_or_miss(outbox, checkpoints.manifest(Root(root)).await).await,
            Get::Chunk(first) => {
                let mut ids = vec![ChunkId(first)];
                while let Some(Get::Chunk(id)) = asked.front() {
                    ids.push(ChunkId(*id));
                    asked.pop_front();
                }
                for chunk in checkpoints.chunks(ids).await {
                    send_or_miss(outbox, chunk).await;
                }
            }
        }
        outbox.drained(AHEAD_BYTES).await;
        if outbox.has_ended() {
            return Ok(());
        }
    }
}

async fn send_or_miss(outbox: &Outbox, whole: Option<Bytes>) {
    let Some(whole) = whole else { return outbox.push(|frames| Answer::Missing.encode(frames)) };
    for piece in Piece::cut(&whole) {
        outbox.push(|frames| Answer::Piece(piece).encode(frames));
        outbox.drained(AHEAD_BYTES).await;
    }
}

/// Checkpoints as one stream asks for them. What the last manifest names that was given is kept until the stream ends.
struct Checkpoints {
    store: Option<Arc<CheckpointStore>>,
    turns: Turns,
    kept: Option<Arc<Draft<Arc<CheckpointStore>>>>,
}

impl Checkpoints {
    fn new(store: Option<Arc<CheckpointStore>>, turns: Turns) -> Self {
        Self { store, turns, kept: None }
    }

    async fn manifest(&mut self, root: Root) -> Option<Bytes> {
        let store = self.store.clone()?;
        // Of one checkpoint at a time: a peer that asks for each new one would keep all there ever were.
        self.let_go();
        let kept = Arc::clone(self.kept.insert(Arc::new(store.shared_draft())));
        let read = move || {
            let manifest = store.find(root).ok()??;
            let whole = manifest.chunks().iter().filter(|id| !kept.has(id)).count() == 0;
            whole.then(|| Bytes::copy_from_slice(manifest.bytes()))
        };
        self.turns.beside(read).await.ok()?
    }

    /// Chunks, or that they are not here, in the order in which they are asked for.
    async fn chunks(&self, ids: Vec<ChunkId>) -> Vec<Option<Bytes>> {
        let (store, count) = (self.store.clone(), ids.len());
        let read = move |store: &CheckpointStore, id: &ChunkId| {
            let read = store.chunk(id).map(Bytes::from);
            read.inspect_err(|error| tracing::debug!(%error, "a chunk that was asked for cannot be given")).ok()
        };
        let all = move || ids.iter().map(|id| read(store.as_deref()?, id)).collect();
        self.turns.beside(all).await.unwrap_or_else(|_| vec![None; count])
    }
}

impl Checkpoints {
    /// What was kept goes with the next checkpoint that is stored.
    fn let_go(&mut self) {
        if let Some(kept) = self.kept.take().and_then(Arc::into_inner) {
            kept.keep_chunks();
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Why something was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// There is no stream to the node, or it broke.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The node gave them up.
    #[error("node {node} has no entries before position {first} any more")]
    Purged {
        /// Who was asked.
        node: NodeId,
        /// The first that it has.
        first: Position,
    },
    /// The node cannot give it.
    #[error("node {node} could not give it: {text}")]
    Failed {
        /// Who was asked.
        node: NodeId,
        /// Its words.
        text: String,
    },
    /// The node lives, and does not answer.
    #[error("node {node} gave no answer for {PATIENCE:?}")]
    Silent {
        /// Who was asked.
        node: NodeId,
    },
    /// The node answers something else.
    #[error("node {node} gave an answer that does not fit the question")]
    Answer {
        /// Who was asked.
        node: NodeId,
    },
}

impl From<LinkError> for FetchError {
    fn from(error: LinkError) -> Self {
        Self::Dial(DialError::Link(error))
    }
}

impl Inner {
    pub(super) fn bundles(&self) -> std::path::PathBuf {
        self.config.data_dir.join("bundles")
    }

    fn entries_for(&self, from: Position, max_bytes: usize) -> Answer {
        if self.view.member().is_none() {
            return Answer::Failed("this node is no member of the log: ask one".to_owned());
        }
        match self.view.source().read(from, max_bytes.min(MAX_FETCH_ENTRIES_BYTES)) {
            Ok(mut entries) => {
                entries.truncate(MAX_FETCH_ENTRIES);
                Answer::Entries(entries)
            }
            Err(SourceError::Purged { first }) => Answer::Purged { first },
            Err(SourceError::Failed(text)) => Answer::Failed(text),
        }
    }

    /// Turns of a group that are here, in its history or in the log.
    async fn turns_for(&self, group: GroupId, after: Position, max_bytes: usize) -> Answer {
        let history = Arc::clone(&self.history);
        // The log gives entries of that size, which may have as much again for turns of the shard's own.
        let max_bytes = max_bytes.min(MAX_FETCH_ENTRIES_BYTES / 2);
        let read = self.seams.turns.beside(move || history.turns(group, after, max_bytes)).await;
        let turns = match read {
            Ok(Ok(turns)) => turns,
            Ok(Err(text)) => return Answer::Failed(text),
            Err(_) => return Answer::Failed("the node is ending".to_owned()),
        };
        let mut bytes = 0;
        let encoded = turns.iter().map(|turn| (turn.position, recorded(turn).encode()));
        let fitting = encoded.take(MAX_FETCH_ENTRIES).take_while(|(_, turn)| {
            bytes += turn.len();
            bytes <= MAX_FETCH_ENTRIES_BYTES
        });
        Answer::Entries(fitting.collect())
    }

    /// Asks a node one question, and takes the answer as it comes.
    async fn ask<T>(
        &self,
        node: NodeId,
        question: Get,
        mut take: impl FnMut(Answer) -> Result<Option<T>, FetchError>,
    ) -> Result<T, FetchError> {
        let (mut inbox, writer) = self.dial(node, Role::Fetch).await?;
        let outbox = Outbox::default();
        outbox.push(|frames| question.encode(frames));
        let reading = async {
            loop {
                let next = tokio::time::timeout(PATIENCE, inbox.next());
                let frame = next.await.map_err(|_| FetchError::Silent { node })??;
                let answer = Answer::decode(frame.kind, &frame.payload).map_err(LinkError::Message)?;
                if let Some(whole) = take(answer)? {
                    return Ok(whole);
                }
            }
        };
        tokio::select! {
            biased;
            whole = reading => whole,
            error = outbox.write_to(writer) => Err(error.into()),
        }
    }

    async fn fetch_entries(&self, node: NodeId, from: Position, max_bytes: usize) -> Result<Entries, FetchError> {
        let max_bytes = max_bytes.min(MAX_FETCH_ENTRIES_BYTES) as u32;
        self.ask_for_entries(node, Get::Entries { from, max_bytes }).await
    }

    /// Turns of a group after a position, each as histories have it.
    pub(super) async fn fetch_turns(
        &self,
        node: NodeId,
        group: GroupId,
        after: Position,
        max_bytes: usize,
    ) -> Result<Entries, FetchError> {
        let max_bytes = max_bytes.min(MAX_FETCH_ENTRIES_BYTES) as u32;
        self.ask_for_entries(node, Get::Turns { group, after, max_bytes }).await
    }

    async fn ask_for_entries(&self, node: NodeId, question: Get) -> Result<Entries, FetchError> {
        self.ask(node, question, |answer| match answer {
            Answer::Entries(entries) => Ok(Some(entries)),
            Answer::Purged { first } => Err(FetchError::Purged { node, first }),
            Answer::Failed(text) => Err(FetchError::Failed { node, text }),
            Answer::Piece(_) | Answer::Missing => Err(FetchError::Answer { node }),
        })
        .await
    }

    /// Something that a digest names; none when the node does not have it.
    pub(super) async fn fetch_whole(
        &self,
        node: NodeId,
        what: Get,
        max_bytes: usize,
    ) -> Result<Option<Bytes>, FetchError> {
        let mut assembly = Assembly::new(max_bytes);
        self.ask(node, what, |answer| match answer {
            Answer::Piece(piece) => Ok(assembly.push(&piece).map_err(LinkError::Message)?.map(Some)),
            Answer::Missing => Ok(Some(None)),
            Answer::Failed(text) => Err(FetchError::Failed { node, text }),
            Answer::Entries(_) | Answer::Purged { .. } => Err(FetchError::Answer { node }),
        })
        .await
    }

    /// Sees to it that a bundle is in the data folder: it is there, or another node has it.
    ///
    /// # Errors
    /// When no node that can be reached has it.
    pub(super) async fn obtain_bundle(&self, digest: [u8; 32]) -> anyhow::Result<()> {
        let (bundles, wanted) = (self.bundles(), BundleDigest::new(digest));
        if self.seams.turns.beside(move || Bundle::open(&bundles, wanted).is_ok()).await? {
            return Ok(());
        }
        let mut faults = Vec::new();
        for node in self.other_nodes() {
            match self.fetch_whole(node, Get::Bundle(digest), MAX_PACKED_BYTES).await {
                Ok(Some(packed)) => {
                    let bundles = self.bundles();
                    let keep = move || -> anyhow::Result<()> {
                        Bundle::unpack_stored(&packed, wanted)?.store(&bundles)?;
                        Ok(())
                    };
                    match self.seams.turns.beside(keep).await? {
                        Ok(()) => {
                            tracing::info!(bundle = %wanted, %node, "bundle fetched");
                            return Ok(());
                        }
                        Err(error) => faults.push(format!("node {node}: {error:#}")),
                    }
                }
                Ok(None) => faults.push(format!("node {node} does not have it")),
                Err(error) => faults.push(error.to_string()),
            }
        }
        anyhow::bail!("no node gave bundle {wanted}: {}", faults.join("; "))
    }
}

/// Answers replicas of this node that want entries or turns which are not kept here. A node that is slow to answer one of them
/// does not hold up the others; each replica asks one question at a time.
pub(super) async fn answer_questions(inner: Rc<Inner>, mut questions: mpsc::Receiver<Older>) {
    let mut answering = JoinSet::new();
    while let Some(question) = questions.recv().await {
        while answering.try_join_next().is_some() {}
        if answering.len() >= MAX_QUESTIONS {
            // One that failed was told so by its own task.
            let _ = answering.join_next().await;
        }
        answering.spawn_local(answer_question(Rc::clone(&inner), question));
    }
}

async fn answer_question(inner: Rc<Inner>, Older { wanted, max_bytes, reply }: Older) {
    let answer = first_that_has(wanted, inner.member_nodes(), async |node| {
        let fetched = match wanted {
            Wanted::Entries(from) => inner.fetch_entries(node, from, max_bytes).await,
            Wanted::Turns(group, after) => inner.fetch_turns(node, group, after, max_bytes).await,
        };
        fetched.map_err(|error| match error {
            FetchError::Purged { first, .. } => SourceError::Purged { first },
            other => SourceError::Failed(other.to_string()),
        })
    });
    // Whoever asked may have given up.
    let _ = reply.send(answer.await);
}

/// Asks nodes one after another until one has what is wanted. A node that is not as far as others has no turns yet, and
/// that is no answer as long as another one may have them.
async fn first_that_has(
    wanted: Wanted,
    nodes: Vec<NodeId>,
    mut ask: impl AsyncFnMut(NodeId) -> Result<Entries, SourceError>,
) -> Result<Entries, SourceError> {
    let mut answer = Err(SourceError::Failed("no member of the log is known".to_owned()));
    for node in nodes {
        let next = ask(node).await;
        let goes_on = match &next {
            Ok(entries) => entries.is_empty() && matches!(wanted, Wanted::Turns(..)),
            Err(_) => true,
        };
        if !goes_on {
            return next;
        }
        if next.is_ok() || answer.is_err() {
            answer = next;
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(wanted: Wanted, answers: &[Result<u64, ()>]) -> (Result<usize, String>, usize) {
        let mut count = 0;
        let nodes = (0..answers.len() as u64).map(NodeId).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(first_that_has(wanted, nodes, async |node| {
            count += 1;
            match answers[node.0 as usize] {
                Ok(entries) => Ok((1..=entries).map(|at| (Position(at), Bytes::new())).collect()),
                Err(()) => Err(SourceError::Failed("no".to_owned())),
            }
        }));
        (answer.map(|entries| entries.len()).map_err(|error| error.to_string()), count)
    }

    #[test]
    fn a_node_without_turns_is_no_end_while_another_may_have_them() {
        let turns = Wanted::Turns(GroupId(1), Position(1));
        assert_eq!(asked(turns, &[Ok(0), Err(()), Ok(3), Ok(4)]), (Ok(3), 3));
        assert_eq!(asked(turns, &[Err(()), Ok(0), Err(())]), (Ok(0), 3), "nobody has more");
        assert_eq!(asked(turns, &[Err(()), Err(())]).0, Err("no".to_owned()));
        assert_eq!(asked(turns, &[]).0, Err("no member of the log is known".to_owned()));
        assert_eq!(asked(Wanted::Entries(Position(1)), &[Err(()), Ok(0), Ok(3)]), (Ok(0), 2), "the log ends there");
    }
}
