//! What peers sent, checked beside the loop before the transfer hears of it, in the order in which it
//! came. A chunk that is what its name says goes into the stash at once.

use std::sync::Arc;

use bytes::Bytes;
use refrain_engine::checkpoint::chunk::verify;
use refrain_engine::checkpoint::{ChunkError, ChunkId, Manifest, Root, StoreError};
use refrain_wire::NodeId;
use tokio::sync::mpsc;

use super::super::fetch::FetchError;
use super::Stash;

/// Messages after which the transfer is told what came of them: a wake of the loop for each would cost more than the
/// checking.
const AT_ONCE: usize = 8;

/// What a peer's stream brings.
pub(super) enum Came {
    /// Bytes that should be the manifest.
    Manifest(Bytes),
    /// Bytes that should be a chunk, or that it does not have it.
    Chunk(ChunkId, Option<Bytes>),
    /// Its stream ended.
    Left(FetchError),
}

/// What a transfer is told.
pub(super) enum News {
    /// The peer has the checkpoint and can be asked.
    Manifest(Manifest),
    /// A chunk was checked; a good one is in the stash.
    Chunk(ChunkId, Result<(), ChunkError>),
    /// The peer does not have a chunk.
    Missing(ChunkId),
    /// The peer is of no use any more.
    Left(FetchError),
    /// The stash has no room for a chunk.
    Full(StoreError),
}

/// Checks what comes until nobody sends or listens any more.
pub(super) async fn check(
    mut came: mpsc::Receiver<(NodeId, Came)>,
    tell: mpsc::Sender<Vec<(NodeId, News)>>,
    stash: Arc<Stash>,
    root: Root,
) {
    let mut some = Vec::with_capacity(AT_ONCE);
    while came.recv_many(&mut some, AT_ONCE).await > 0 {
        let news = some.drain(..).map(|(node, came)| (node, look(node, came, &stash, root))).collect();
        if tell.send(news).await.is_err() {
            return;
        }
    }
}

fn look(node: NodeId, came: Came, stash: &Stash, root: Root) -> News {
    match came {
        Came::Manifest(bytes) => match Manifest::open(&bytes, root) {
            Ok(manifest) => News::Manifest(manifest),
            Err(error) => News::Left(FetchError::Failed { node, text: error.to_string() }),
        },
        Came::Chunk(id, None) => News::Missing(id),
        Came::Chunk(id, Some(bytes)) => match verify(&id, &bytes).map(|()| stash.take(id, bytes)) {
            Ok(Ok(())) => News::Chunk(id, Ok(())),
            Ok(Err(error)) => News::Full(error),
            Err(error) => News::Chunk(id, Err(error)),
        },
        Came::Left(error) => News::Left(error),
    }
}
