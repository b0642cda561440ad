//! The bytes of a manifest. Nothing is allocated for what is not there.

use refrain_wire::{Digest, GroupId, Position, RunningDigest};

use super::{
    Blob, GuestParts, MAX_MANIFEST_BYTES, MAX_MEMORIES, MAX_PAGES, ManifestError, MemoryParts, Parts, VERSION,
};
use crate::checkpoint::chunk::{CHUNK_BYTES, ChunkId};

const MAGIC: &[u8; 4] = b"RFCK";
const MEMORY_REFUSED: u8 = 1;

pub(super) fn encode(parts: &Parts) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&parts.group.0.to_le_bytes());
    out.extend_from_slice(&parts.position.0.to_le_bytes());
    out.extend_from_slice(&parts.running.0);
    out.extend_from_slice(&parts.bundle);
    out.extend_from_slice(&parts.key.0);
    match &parts.guest {
        None => out.push(0),
        Some(guest) => {
            out.push(1);
            encode_guest(guest, &mut out);
        }
    }
    out.extend_from_slice(&parts.kernel.bytes.to_le_bytes());
    parts.kernel.chunks.iter().for_each(|id| out.extend_from_slice(&id.0));
    out.extend_from_slice(&(parts.contents.len() as u32).to_le_bytes());
    parts.contents.iter().for_each(|id| out.extend_from_slice(&id.0));
    out
}

fn encode_guest(guest: &GuestParts, out: &mut Vec<u8>) {
    out.push(if guest.memory_refused { MEMORY_REFUSED } else { 0 });
    out.push(guest.memories.len() as u8);
    for memory in &guest.memories {
        out.extend_from_slice(&memory.pages.to_le_bytes());
        out.extend_from_slice(&(memory.chunks.len() as u32).to_le_bytes());
        for (page, id) in &memory.chunks {
            out.extend_from_slice(&page.to_le_bytes());
            out.extend_from_slice(&id.0);
        }
    }
    out.extend_from_slice(&(guest.globals.len() as u32).to_le_bytes());
    guest.globals.iter().for_each(|bits| out.extend_from_slice(&bits.to_le_bytes()));
}

pub(super) fn decode(bytes: &[u8]) -> Result<Parts, ManifestError> {
    check(bytes.len() <= MAX_MANIFEST_BYTES, "it is too large")?;
    let mut reader = Reader { rest: bytes };
    check(&reader.array::<4>("the magic")? == MAGIC, "it does not begin with the magic")?;
    let version = u16::from_le_bytes(reader.array("the version")?);
    if version != VERSION {
        return Err(ManifestError::Version(version));
    }
    let group = GroupId(reader.u32("the group")?);
    let position = Position(reader.u64("the position")?);
    let running = RunningDigest(reader.array("the running digest")?);
    let bundle = reader.array("the bundle's digest")?;
    let key = Digest(reader.array("the compatibility key")?);
    let guest = match reader.u8("the guest")? {
        0 => None,
        1 => Some(reader.guest()?),
        _ => return Err(ManifestError::Rule { rule: "the guest is neither there nor not" }),
    };
    let bytes = reader.u64("the kernel's size")?;
    let kernel = Blob { bytes, chunks: reader.chunks(bytes.div_ceil(CHUNK_BYTES as u64), "the kernel")? };
    let count = reader.u32("the number of contents")?;
    let contents = reader.chunks(u64::from(count), "the contents")?;
    check(contents.windows(2).all(|two| two[0] < two[1]), "the contents do not rise")?;
    check(reader.rest.is_empty(), "bytes follow its end")?;
    Ok(Parts { group, position, running, bundle, key, guest, kernel, contents })
}

fn check(holds: bool, rule: &'static str) -> Result<(), ManifestError> {
    if holds { Ok(()) } else { Err(ManifestError::Rule { rule }) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: u64, inside: &'static str) -> Result<&'a [u8], ManifestError> {
        let split = usize::try_from(bytes).ok().and_then(|bytes| self.rest.split_at_checked(bytes));
        let (taken, rest) = split.ok_or(ManifestError::Truncated { inside })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, inside: &'static str) -> Result<[u8; N], ManifestError> {
        Ok(self.take(N as u64, inside)?.try_into().expect("take returns as many bytes"))
    }

    fn u8(&mut self, inside: &'static str) -> Result<u8, ManifestError> {
        Ok(self.array::<1>(inside)?[0])
    }

    fn u32(&mut self, inside: &'static str) -> Result<u32, ManifestError> {
        Ok(u32::from_le_bytes(self.array(inside)?))
    }

    fn u64(&mut self, inside: &'static str) -> Result<u64, ManifestError> {
        Ok(u64::from_le_bytes(self.array(inside)?))
    }

    fn chunks(&mut self, count: u64, inside: &'static str) -> Result<Vec<ChunkId>, ManifestError> {
        let bytes = count.checked_mul(32).ok_or(ManifestError::Truncated { inside })?;
        let bytes = self.take(bytes, inside)?;
        Ok(bytes.chunks_exact(32).map(|id| ChunkId(id.try_into().expect("32 bytes"))).collect())
    }

    fn guest(&mut self) -> Result<GuestParts, ManifestError> {
        let flags = self.u8("the guest's flags")?;
        check(flags & !MEMORY_REFUSED == 0, "the guest has unknown flags")?;
        let count = usize::from(self.u8("the number of memories")?);
        check(count <= MAX_MEMORIES, "it has too many memories")?;
        let memories = (0..count).map(|_| self.memory()).collect::<Result<_, _>>()?;
        let count = self.u32("the number of globals")?;
        let globals = self.take(u64::from(count) * 16, "the globals")?;
        let globals = globals.chunks_exact(16).map(|bits| u128::from_le_bytes(bits.try_into().expect("16 bytes")));
        Ok(GuestParts { memory_refused: flags & MEMORY_REFUSED != 0, memories, globals: globals.collect() })
    }

    fn memory(&mut self) -> Result<MemoryParts, ManifestError> {
        let pages = self.u32("the size of a memory")?;
        check(pages <= MAX_PAGES, "a memory is too large")?;
        let count = self.u32("the number of a memory's chunks")?;
        let list = self.take(u64::from(count) * 36, "the chunks of a memory")?;
        let chunks: Vec<(u32, ChunkId)> = list
            .chunks_exact(36)
            .map(|entry| {
                let (page, id) = entry.split_at(4);
                let page = u32::from_le_bytes(page.try_into().expect("4 bytes"));
                (page, ChunkId(id.try_into().expect("32 bytes")))
            })
            .collect();
        check(chunks.windows(2).all(|two| two[0].0 < two[1].0), "the pages of a memory do not rise")?;
        check(chunks.last().is_none_or(|(page, _)| *page < pages), "a page lies beyond its memory")?;
        Ok(MemoryParts { pages, chunks })
    }
}
