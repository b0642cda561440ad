//! In what two checkpoints of one position differ: for the forensics of a replica that diverged.

use std::collections::BTreeMap;
use std::fmt;

use super::{GuestParts, Manifest, MemoryParts};
use crate::checkpoint::chunk::{CHUNK_BYTES, ChunkId};

/// One thing that is not the same in two checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// They are of another group, position, bundle or engine, or have another history.
    Identity {
        /// Which of them.
        what: &'static str,
    },
    /// The guest waits in one, and not in the other.
    Guest,
    /// A memory has another size.
    MemorySize {
        /// Its index.
        memory: u32,
        /// Pages in one and in the other.
        pages: (u32, u32),
    },
    /// A page has other bytes.
    Page {
        /// Index of the memory.
        memory: u32,
        /// The page.
        page: u32,
        /// Its chunk in one and in the other; `None` is zeros.
        chunks: (Option<ChunkId>, Option<ChunkId>),
    },
    /// A mutable global has another value.
    Global {
        /// Which of the mutable ones.
        index: u32,
        /// Its bits in one and in the other.
        bits: (u128, u128),
    },
    /// A part of the kernel is another.
    Kernel {
        /// Which 64 KiB of it.
        chunk: u32,
    },
    /// Written file content is another.
    Contents,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity { what } => write!(f, "another {what}"),
            Self::Guest => f.write_str("the guest waits in one and not in the other"),
            Self::MemorySize { memory, pages: (one, other) } => {
                write!(f, "memory {memory} has {one} pages and {other}")
            }
            Self::Page { memory, page, chunks: (one, other) } => {
                let name = |id: &Option<ChunkId>| id.map_or("zeros".to_owned(), |id| id.to_string());
                let at = u64::from(*page) * CHUNK_BYTES as u64;
                write!(f, "memory {memory}, page {page} (from byte {at}): {} and {}", name(one), name(other))
            }
            Self::Global { index, bits: (one, other) } => write!(f, "mutable global {index}: {one:#x} and {other:#x}"),
            Self::Kernel { chunk } => write!(f, "the kernel, in its chunk {chunk}"),
            Self::Contents => f.write_str("the content of files"),
        }
    }
}

impl Manifest {
    /// Everything in which `other` differs; empty when the roots are equal.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let (one, two) = (self.parts(), other.parts());
        let identity = [
            ("group", one.group != two.group),
            ("position", one.position != two.position),
            ("running digest", one.running != two.running),
            ("bundle", one.bundle != two.bundle),
            ("engine", one.key != two.key),
        ];
        let identity = identity.iter().filter(|(_, differ)| *differ);
        let mut out: Vec<Difference> = identity.map(|(what, _)| Difference::Identity { what }).collect();
        match (&one.guest, &two.guest) {
            (Some(one), Some(two)) => guests(one, two, &mut out),
            (None, None) => {}
            _ => out.push(Difference::Guest),
        }
        let (a, b) = (&one.kernel.chunks, &two.kernel.chunks);
        let kernel = (0..a.len().max(b.len())).filter(|index| a.get(*index) != b.get(*index));
        out.extend(kernel.map(|index| Difference::Kernel { chunk: index as u32 }));
        out.extend((one.contents != two.contents).then_some(Difference::Contents));
        out
    }
}

fn guests(one: &GuestParts, two: &GuestParts, out: &mut Vec<Difference>) {
    if one.memory_refused != two.memory_refused || one.memories.len() != two.memories.len() {
        out.push(Difference::Guest);
    }
    for (index, (a, b)) in one.memories.iter().zip(&two.memories).enumerate() {
        memories(index as u32, a, b, out);
    }
    let globals = one.globals.iter().zip(&two.globals).enumerate().filter(|(_, (a, b))| a != b);
    out.extend(globals.map(|(index, (a, b))| Difference::Global { index: index as u32, bits: (*a, *b) }));
}

fn memories(memory: u32, one: &MemoryParts, two: &MemoryParts, out: &mut Vec<Difference>) {
    if one.pages != two.pages {
        out.push(Difference::MemorySize { memory, pages: (one.pages, two.pages) });
    }
    let mut pages: BTreeMap<u32, (Option<ChunkId>, Option<ChunkId>)> = BTreeMap::new();
    for (page, id) in &one.chunks {
        pages.entry(*page).or_default().0 = Some(*id);
    }
    for (page, id) in &two.chunks {
        pages.entry(*page).or_default().1 = Some(*id);
    }
    let differ = pages.into_iter().filter(|(_, (a, b))| a != b);
    out.extend(differ.map(|(page, chunks)| Difference::Page { memory, page, chunks }));
}
