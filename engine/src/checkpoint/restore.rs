//! From a checkpoint to a replica that goes on from it.
//!
//! Chunks are read, checked and unpacked by several threads, straight into the guest's memory; a source may let them
//! wait for chunks that are still on their way, which come in the order in which they are read. Nothing is taken on
//! trust: a chunk that is not what its name says, a kernel that does not decode or a guest that does not come to wait
//! again gives an error, and no replica.

use std::sync::Arc;

use parking_lot::Mutex;
use refrain_kernel::Kernel;
use wasmtime::{Store, Val, ValType};

use super::chunk::{CHUNK_BYTES, ChunkError, ChunkId, ChunkSource, sized};
use super::image::{PAGE_BYTES, is_zero};
use super::manifest::{Blob, GuestParts, Manifest, MemoryParts};
use crate::host::Host;
use crate::replica::{Blueprint, Grown, Replica, ReplicaId};

/// Threads that read chunks for one replica.
const MAX_THREADS: usize = 4;
/// Pages below which one thread does it.
const PAGES_A_THREAD: usize = 16;

/// Why no replica came of a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It belongs to another group, bundle or engine.
    #[error("the checkpoint is of another {what}")]
    Foreign {
        /// Which of them.
        what: &'static str,
    },
    /// The module cannot be saved, so this is no checkpoint of it.
    #[error("the module's guests cannot be restored: {0}")]
    NotCheckpointable(String),
    /// A chunk is not there or not whole.
    #[error("a chunk of the checkpoint is of no use")]
    Chunk(#[source] ChunkError),
    /// The kernel cannot be read.
    #[error("the kernel of the checkpoint cannot be read")]
    Kernel(#[source] refrain_kernel::DecodeError),
    /// The guest could not be put back.
    #[error("the guest of the checkpoint cannot be put back: {0}")]
    Guest(String),
}

pub(crate) fn replica(
    id: ReplicaId,
    blueprint: Arc<Blueprint>,
    manifest: &Manifest,
    chunks: Arc<dyn ChunkSource>,
) -> Result<Replica, RestoreError> {
    let parts = manifest.parts();
    let compiled = &blueprint.compiled;
    let same = [
        ("group", parts.group == blueprint.group && parts.group == id.group),
        ("bundle", parts.bundle == blueprint.digest),
        ("engine", parts.key == compiled.platform.key()),
    ];
    if let Some((what, _)) = same.iter().find(|(_, same)| !same) {
        return Err(RestoreError::Foreign { what });
    }
    let kernel = kernel(&blueprint, manifest, &*chunks)?;
    if kernel.process().phase == refrain_kernel::process::Phase::Running && parts.guest.is_none() {
        return Err(RestoreError::Guest("its kernel says that it runs".into()));
    }
    let at = (parts.position, parts.running);
    let mut replica = Replica::assemble(id, Arc::clone(&blueprint), kernel, at);
    if let Some(guest) = &parts.guest {
        if let Err(reasons) = &compiled.checkpointable {
            return Err(RestoreError::NotCheckpointable(refrain_inspect::sentences(reasons).join("; ")));
        }
        let failed = Arc::new(Mutex::new(None));
        let restoring = Restoring { guest: guest.clone(), chunks, failed: Arc::clone(&failed) };
        let resumed = replica.resume_guest(restoring);
        if let Some(error) = failed.lock().take() {
            return Err(RestoreError::Chunk(error));
        }
        resumed.map_err(RestoreError::Guest)?;
    }
    Ok(replica)
}

fn kernel(blueprint: &Blueprint, manifest: &Manifest, chunks: &dyn ChunkSource) -> Result<Kernel, RestoreError> {
    let bytes = blob(&manifest.parts().kernel, chunks).map_err(RestoreError::Chunk)?;
    let mut failed = None;
    let decoded = Kernel::decode_parts(&bytes, blueprint.config.clone(), &blueprint.bundle, &mut |digest| {
        chunks.chunk(&ChunkId(*digest)).map_err(|error| failed = Some(error)).ok()
    });
    match (decoded, failed) {
        (_, Some(error)) => Err(RestoreError::Chunk(error)),
        (Err(error), None) => Err(RestoreError::Kernel(error)),
        (Ok(kernel), None) => Ok(kernel),
    }
}

fn blob(blob: &Blob, chunks: &dyn ChunkSource) -> Result<Vec<u8>, ChunkError> {
    let mut out = Vec::new();
    for (index, id) in blob.chunks.iter().enumerate() {
        let bytes = chunks.chunk(id)?;
        let expected = (blob.bytes - (index * CHUNK_BYTES) as u64).min(CHUNK_BYTES as u64);
        sized(id, bytes.len(), expected as usize)?;
        out.extend_from_slice(&bytes);
    }
    Ok(out)
}

/// A guest on its way back into an instance.
pub(crate) struct Restoring {
    guest: GuestParts,
    chunks: Arc<dyn ChunkSource>,
    /// The chunk that was of no use.
    failed: Arc<Mutex<Option<ChunkError>>>,
}

/// The checkpoint does not fit the instance.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RestoreFault(String);

impl Restoring {
    /// Makes the memories and globals of a fresh instance those of the guest that was saved.
    pub(crate) fn put(self, store: &mut Store<Host>) -> wasmtime::Result<()> {
        let fault = |what: String| wasmtime::Error::new(RestoreFault(what));
        let (memories, globals) = (store.data().state.memories.clone(), store.data().state.globals.clone());
        if memories.len() != self.guest.memories.len() || globals.len() != self.guest.globals.len() {
            return Err(fault("it has other memories or globals than its module".into()));
        }
        for (index, (memory, parts)) in memories.iter().zip(&self.guest.memories).enumerate() {
            let fresh = memory.size(&*store);
            let Some(missing) = u64::from(parts.pages).checked_sub(fresh) else {
                return Err(fault(format!("memory {index} has fewer pages than its module begins with")));
            };
            if missing > 0 {
                memory.grow(&mut *store, missing)?;
            }
            let bytes = memory.data_mut(&mut *store);
            if let Err(error) = fill(bytes, fresh, parts, &*self.chunks) {
                let words = error.to_string();
                *self.failed.lock() = Some(error);
                return Err(fault(words));
            }
        }
        for (global, bits) in globals.iter().zip(&self.guest.globals) {
            let value = value(global.ty(&*store).content(), *bits).ok_or_else(|| fault("a reference".into()))?;
            global.set(&mut *store, value)?;
        }
        store.data_mut().limits.memory_refused = self.guest.memory_refused;
        let grown = Grown::of(&store.data().limits);
        store.data().shared.lock().grown = grown;
        Ok(())
    }
}

fn value(ty: &ValType, bits: u128) -> Option<Val> {
    Some(match ty {
        ValType::I32 => Val::I32(bits as u32 as i32),
        ValType::I64 => Val::I64(bits as u64 as i64),
        ValType::F32 => Val::F32(bits as u32),
        ValType::F64 => Val::F64(bits as u64),
        ValType::V128 => Val::V128(bits.into()),
        ValType::Ref(_) => return None,
    })
}

/// Makes a memory that begins with `fresh` pages of its module what it was, by several threads.
fn fill(memory: &mut [u8], fresh: u64, parts: &MemoryParts, chunks: &dyn ChunkSource) -> Result<(), ChunkError> {
    let mut saved = parts.chunks.iter().peekable();
    let mut wanted = Vec::with_capacity(parts.chunks.len());
    for (page, target) in memory.chunks_exact_mut(PAGE_BYTES).enumerate() {
        match saved.next_if(|(saved, _)| *saved as usize == page) {
            Some((_, id)) => wanted.push((id, target)),
            // Beyond what the module begins with everything is zero already.
            None if (page as u64) < fresh && !is_zero(target) => target.fill(0),
            None => {}
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(MAX_THREADS).min(wanted.len().div_ceil(PAGES_A_THREAD)).max(1);
    let wanted = Mutex::new(wanted.into_iter());
    let read = || {
        loop {
            // In a statement of its own: the lock is let go before the chunk is read.
            let next = wanted.lock().next();
            let Some((id, target)) = next else { return Ok(()) };
            chunks.chunk_into(id, target)?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(read)).collect();
        let first = read();
        let others = others.into_iter().map(|thread| thread.join().expect("reading a chunk does not panic"));
        others.fold(first, Result::and)
    })
}
