//! A guest's memories and globals while it waits, copied page by page; pages of zeros are left out, and
//! pages that were not written since the last image are shared with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use wasmtime::{AsContextMut, Val};

use super::chunk::{CHUNK_BYTES, ChunkId};
use super::dirty::Tracker;
use crate::host::Host;

/// A page of linear memory is one chunk.
pub(crate) const PAGE_BYTES: usize = CHUNK_BYTES;

/// A page that is not zero. Its bytes can be given up when they are stored under its name.
pub(crate) struct Page {
    bytes: Mutex<Option<Box<[u8]>>>,
    id: OnceLock<ChunkId>,
}

impl Page {
    pub(crate) fn new(bytes: Box<[u8]>) -> Self {
        Self { bytes: Mutex::new(Some(bytes)), id: OnceLock::new() }
    }

    /// Its name; hashed when it is asked for first.
    pub(crate) fn id(&self) -> ChunkId {
        *self.id.get_or_init(|| {
            let bytes = self.bytes.lock();
            ChunkId::of(bytes.as_ref().expect("bytes are given up only under a name"))
        })
    }

    /// Its name, given its bytes.
    pub(crate) fn id_of(&self, bytes: &[u8]) -> ChunkId {
        *self.id.get_or_init(|| ChunkId::of(bytes))
    }

    /// Hands the bytes to `look`, unless they were given up.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.bytes.lock().as_deref().map(look)
    }

    /// Gives the bytes up: they are stored under their name.
    pub(crate) fn give_up(&self) {
        self.id();
        *self.bytes.lock() = None;
    }
}

/// One memory: its pages, `None` where a page is zero.
pub(crate) type MemoryImage = Vec<Option<Arc<Page>>>;

/// What is saved of a guest besides its kernel.
#[derive(Clone)]
pub(crate) struct Image {
    /// In the order of their indices, that of the stack included.
    pub(crate) memories: Vec<MemoryImage>,
    /// The mutable globals in the order of their indices.
    pub(crate) globals: Vec<u128>,
    /// The guest was refused memory: the reason of a later trap says so.
    pub(crate) memory_refused: bool,
    /// It could not be stored: the next image must not build on it. Shared by all of its clones.
    pub(crate) lost: Arc<AtomicBool>,
}

impl Image {
    /// Copies the state of a guest whose stack is stored; pages that were not written since the last image are its.
    pub(crate) fn capture(mut store: impl AsContextMut<Data = Host>) -> Self {
        let mut store = store.as_context_mut();
        let (memories, globals) = (store.data().state.memories.clone(), store.data().state.globals.clone());
        let globals = globals.iter().map(|global| bits(&global.get(&mut store)).unwrap_or_default()).collect();
        let last = store.data_mut().state.last_image.take().filter(|last| !last.lost.load(Ordering::Relaxed));
        let state = &store.data().state;
        let memories = memories.iter().enumerate().map(|(index, memory)| {
            let last = last.as_ref().map(|last| &last.memories[index]);
            capture_memory(memory.data(&store), last, state.tracker.as_deref())
        });
        let (memories, memory_refused) = (memories.collect(), store.data().limits.memory_refused);
        let image = Self { memories, globals, memory_refused, lost: Arc::default() };
        store.data_mut().state.last_image = Some(image.clone());
        image
    }

    /// Copies the state of a guest that waits, its stack aside. Every page is copied: those of the last image may have
    /// been given up.
    pub(crate) fn whole(mut store: impl AsContextMut<Data = Host>) -> Self {
        store.as_context_mut().data_mut().state.last_image = None;
        Self::capture(store)
    }
}

fn capture_memory(memory: &[u8], last: Option<&MemoryImage>, tracker: Option<&Tracker>) -> MemoryImage {
    let tracked = last.map_or(0, |last| last.len() * PAGE_BYTES).min(memory.len());
    let written = tracker.and_then(|tracker| {
        let written = pages_written(memory, tracked, tracker);
        written.inspect_err(|error| tracing::warn!(%error, "what a guest wrote is not known: all is copied")).ok()
    });
    let unchanged = |page: usize| {
        let last = last?.get(page)?;
        (!*written.as_ref()?.get(page)?).then(|| last.clone())
    };
    let pages = memory.chunks_exact(PAGE_BYTES).enumerate();
    pages.map(|(page, bytes)| unchanged(page).unwrap_or_else(|| copy(bytes))).collect()
}

/// For each of the pages that are tracked since the last time, whether it was written; tracks those beyond from now on.
fn pages_written(memory: &[u8], tracked: usize, tracker: &Tracker) -> std::io::Result<Vec<bool>> {
    let (before, beyond) = memory.split_at(tracked);
    if !beyond.is_empty() {
        tracker.track(beyond)?;
        tracker.take_written(beyond, |_, _| {})?;
    }
    let mut written = vec![false; tracked / PAGE_BYTES];
    tracker.take_written(before, |start, end| {
        written[start / PAGE_BYTES..end.div_ceil(PAGE_BYTES)].fill(true);
    })?;
    Ok(written)
}

fn copy(page: &[u8]) -> Option<Arc<Page>> {
    (!is_zero(page)).then(|| Arc::new(Page::new(page.into())))
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // By blocks: the compiler makes vector instructions of it.
    bytes.chunks(256).all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}

/// The bits of a number; `None` for references, which have no value that is equal on two hosts.
pub(crate) fn bits(value: &Val) -> Option<u128> {
    Some(match value {
        Val::I32(value) => u128::from(*value as u32),
        Val::I64(value) => u128::from(*value as u64),
        Val::F32(bits) => u128::from(*bits),
        Val::F64(bits) => u128::from(*bits),
        Val::V128(value) => value.as_u128(),
        _ => return None,
    })
}
