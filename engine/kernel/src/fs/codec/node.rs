//! The parts of the canonical form that differ by kind: directories, content, link targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{DecodeError, Reader, Sink, broken, check};
use crate::fs::bundle::BundleFiles;
use crate::fs::chunk::{CHUNK_BYTES, Chunk};
use crate::fs::content::{Base, Content, chunk_limit};
use crate::fs::data::MAX_FILE_BYTES;
use crate::fs::dir::{Directory, Entry, MAX_NAME_BYTES};
use crate::fs::inode::InodeId;
use crate::fs::path::check_text;

pub(super) fn write_directory(out: &mut impl Sink, directory: &Directory) {
    out.number(directory.next_cookie());
    out.number(directory.len() as u64);
    for (name, entry) in directory.entries() {
        let length = u8::try_from(name.len()).expect("names have at most 255 bytes");
        out.put(&[length]);
        out.put(name);
        out.number(entry.inode.0);
        out.number(entry.cookie);
    }
}

pub(super) fn write_content(out: &mut impl Sink, content: &Content) {
    out.number(content.size_bytes);
    match &content.base {
        None => out.put(&[0]),
        Some(base) => {
            out.put(&[1]);
            out.put(&base.number.to_le_bytes());
            out.number(base.bytes.len() as u64);
        }
    }
    out.number(content.chunks.len() as u64);
    for (index, chunk) in &content.chunks {
        out.number(*index);
        out.chunk(chunk);
    }
}

pub(super) fn write_symlink(out: &mut impl Sink, target: &[u8]) {
    let length = u16::try_from(target.len()).expect("targets have at most 4096 bytes");
    out.put(&length.to_le_bytes());
    out.put(target);
}

impl Reader<'_> {
    pub(super) fn directory(&mut self, id: u64) -> Result<Directory, DecodeError> {
        let next_cookie = self.number()?;
        let mut entries: BTreeMap<Arc<[u8]>, Entry> = BTreeMap::new();
        for _ in 0..self.number()? {
            let length = usize::from(self.byte()?);
            let name = self.take(length)?;
            check(is_name(name), id, "it has a name that cannot be")?;
            let last = entries.last_key_value();
            let above_last = last.is_none_or(|(last, _)| last[..] < *name);
            check(above_last, id, "its names are out of order")?;
            let entry = Entry { inode: InodeId(self.number()?), cookie: self.number()? };
            entries.insert(name.into(), entry);
        }
        Directory::restore(next_cookie, entries).ok_or(broken(id, "its cookies are not unique"))
    }

    pub(super) fn content(&mut self, id: u64, bundle: &BundleFiles) -> Result<Content, DecodeError> {
        let size_bytes = self.number()?;
        check(size_bytes <= MAX_FILE_BYTES, id, "it is too large")?;
        let base = match self.byte()? {
            0 => None,
            1 => Some(self.base(id, size_bytes, bundle)?),
            _ => return Err(broken(id, "its base is neither there nor not")),
        };
        let mut chunks = BTreeMap::new();
        for _ in 0..self.number()? {
            let index = self.number()?;
            let last = chunks.last_key_value();
            let above_last = last.is_none_or(|(last, _)| *last < index);
            check(above_last, id, "its chunks are out of order")?;
            let within = index < size_bytes.div_ceil(CHUNK_BYTES as u64);
            check(within, id, "it has a chunk beyond its end")?;
            let bytes = self.chunk(id, chunk_limit(size_bytes, index))?;
            chunks.insert(index, Arc::new(Chunk::new(bytes)));
        }
        Ok(Content { size_bytes, base, chunks })
    }

    fn base(&mut self, id: u64, size_bytes: u64, bundle: &BundleFiles) -> Result<Base, DecodeError> {
        let number = u32::from_le_bytes(self.array()?);
        let shown = self.number()?;
        let whole = bundle.content(number);
        let whole = whole.ok_or(broken(id, "its bundle file is not there"))?;
        let possible = 1..=size_bytes.min(whole.len() as u64);
        check(possible.contains(&shown), id, "its bundle file is shorter")?;
        let shown = usize::try_from(shown).expect("not above the length of a slice");
        Ok(Base { number, bytes: whole.slice(..shown) })
    }

    pub(super) fn symlink(&mut self, id: u64) -> Result<Box<[u8]>, DecodeError> {
        let length = u16::from_le_bytes(self.array()?);
        let target = self.take(usize::from(length))?;
        check(check_text(target).is_ok(), id, "its target cannot be")?;
        Ok(target.into())
    }
}

fn is_name(name: &[u8]) -> bool {
    let plain = !matches!(name, b"" | b"." | b"..") && name.len() <= MAX_NAME_BYTES;
    plain && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}
