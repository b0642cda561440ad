//! The files of a store: written whole under another name, then renamed.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use refrain_wire::{GroupId, Position};
use zstd::bulk::{Compressor, Decompressor};

use super::{StoreError, names};
use crate::checkpoint::chunk::{CHUNK_BYTES, ChunkError, ChunkId};
use crate::checkpoint::manifest::{MAX_MANIFEST_BYTES, Manifest, Root};

/// Chunks are read far more often than a better ratio would pay for.
const LEVEL: i32 = 1;
/// The most bytes of a chunk's file: zstd stores what it cannot compress with a few bytes more.
const MAX_FILE_BYTES: usize = CHUNK_BYTES + 1024;
/// What names of files that are being written begin with.
const PART: &str = ".part-";

static NEXT_PART: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COMPRESSOR: RefCell<io::Result<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL));
    static DECOMPRESSOR: RefCell<io::Result<Decompressor<'static>>> = RefCell::new(Decompressor::new());
    static PACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(in crate::checkpoint) struct Files {
    chunks: PathBuf,
    groups: PathBuf,
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full { path: path.to_owned() },
        _ => StoreError::Io { what, path: path.to_owned(), source },
    }
}

impl Files {
    /// Those of a folder that is read alone: nothing is made or removed in it.
    pub(in crate::checkpoint) fn at(folder: &Path) -> Self {
        Self { chunks: folder.join("chunks"), groups: folder.join("groups") }
    }

    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let files = Self::at(folder);
        for part in [&files.chunks, &files.groups] {
            fs::create_dir_all(part).map_err(failed("make the folder", part))?;
            remove_parts(part)?;
        }
        for first in 0..=u8::MAX {
            let part = files.chunks.join(format!("{first:02x}"));
            fs::create_dir_all(&part).map_err(failed("make the folder", &part))?;
        }
        Ok(files)
    }

    fn chunk_path(&self, id: &ChunkId) -> PathBuf {
        self.chunks.join(format!("{:02x}", id.0[0])).join(id.to_string())
    }

    fn group_path(&self, group: GroupId) -> PathBuf {
        self.groups.join(group.to_string())
    }

    pub(super) fn has(&self, id: &ChunkId) -> bool {
        self.chunk_path(id).is_file()
    }

    pub(super) fn chunks(&self) -> Result<Vec<ChunkId>, StoreError> {
        let mut out = Vec::new();
        for folder in entries(&self.chunks)? {
            out.extend(entries(&self.chunks.join(folder))?.iter().filter_map(|name| names::chunk_of(name)));
        }
        Ok(out)
    }

    /// Unpacks a chunk into `target`, which may be larger; nothing is checked. Returns its length.
    pub(in crate::checkpoint) fn chunk_into(&self, id: &ChunkId, target: &mut [u8]) -> Result<usize, ChunkError> {
        let read = |source| ChunkError::Read { id: *id, source };
        let mut file = File::open(self.chunk_path(id)).map_err(|source| match source.kind() {
            ErrorKind::NotFound => ChunkError::Missing { id: *id },
            _ => read(source),
        })?;
        PACKED.with_borrow_mut(|packed| {
            packed.resize(MAX_FILE_BYTES + 1, 0);
            let mut length = 0;
            loop {
                match file.read(&mut packed[length..]).map_err(read)? {
                    0 => break,
                    more => length += more,
                }
            }
            unpack(&packed[..length], target).map_err(|error| ChunkError::Damaged { id: *id, what: error.to_string() })
        })
    }

    /// Not on the disk before the next manifest is.
    pub(super) fn write_chunk(&self, id: &ChunkId, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.chunk_path(id);
        let packed = pack(bytes).map_err(failed("compress", &path))?;
        write(&path, &packed, false)
    }

    pub(super) fn remove_chunk(&self, id: &ChunkId) -> Result<(), StoreError> {
        remove(&self.chunk_path(id))
    }

    pub(in crate::checkpoint) fn groups(&self) -> Result<Vec<GroupId>, StoreError> {
        Ok(entries(&self.groups)?.iter().filter_map(|name| name.parse().ok().map(GroupId)).collect())
    }

    pub(in crate::checkpoint) fn manifests(&self, group: GroupId) -> Result<Vec<(Position, Root)>, StoreError> {
        let folder = self.group_path(group);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        Ok(entries(&folder)?.iter().filter_map(|name| names::manifest_of(name)).collect())
    }

    pub(in crate::checkpoint) fn manifest(
        &self,
        group: GroupId,
        position: Position,
        root: Root,
    ) -> Result<Manifest, StoreError> {
        let path = self.group_path(group).join(names::manifest(position, root));
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(failed("open", &path))?;
        file.take(MAX_MANIFEST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", &path))?;
        let manifest = Manifest::open(&bytes, root);
        manifest.map_err(|source| StoreError::Manifest { path, source })
    }

    /// The folder of chunks, for [`Files::write_manifest`].
    pub(super) fn open_chunks(&self) -> Result<File, StoreError> {
        File::open(&self.chunks).map_err(failed("open", &self.chunks))
    }

    /// Everything that was written before is on the disk before the manifest is. `chunks` was opened before the first
    /// chunk was written.
    pub(super) fn write_manifest(&self, manifest: &Manifest, chunks: &File) -> Result<(), StoreError> {
        rustix::fs::syncfs(chunks).map_err(|error| failed("sync", &self.chunks)(error.into()))?;
        let parts = manifest.parts();
        let folder = self.group_path(parts.group);
        fs::create_dir_all(&folder).map_err(failed("make the folder", &folder))?;
        write(&folder.join(names::manifest(parts.position, manifest.root())), manifest.bytes(), true)?;
        for folder in [&folder, &self.groups] {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))?;
        }
        Ok(())
    }

    pub(super) fn remove_manifest(&self, group: GroupId, position: Position, root: Root) -> Result<(), StoreError> {
        remove(&self.group_path(group).join(names::manifest(position, root)))
    }

    pub(super) fn remove_group(&self, group: GroupId) -> Result<(), StoreError> {
        let folder = self.group_path(group);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", &folder)(error)),
            _ => Ok(()),
        }
    }
}

fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| match compressor {
        Ok(compressor) => compressor.compress(bytes),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    })
}

fn unpack(packed: &[u8], target: &mut [u8]) -> io::Result<usize> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| match decompressor {
        Ok(decompressor) => decompressor.decompress_to_buffer(packed, target),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    })
}

/// The file appears under its name whole, and with `sync` only when it is on the disk.
fn write(path: &Path, bytes: &[u8], sync: bool) -> Result<(), StoreError> {
    let folder = path.parent().expect("every file of a store is in a folder");
    let part = folder.join(format!("{PART}{}", NEXT_PART.fetch_add(1, Ordering::Relaxed)));
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        if sync { file.sync_all() } else { Ok(()) }
    });
    let renamed = written.and_then(|()| fs::rename(&part, path));
    renamed.map_err(|error| {
        drop(fs::remove_file(&part));
        failed("write", path)(error)
    })
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Names in a folder that are text.
fn entries(folder: &Path) -> Result<Vec<String>, StoreError> {
    let names = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name().into_string())).collect::<io::Result<Vec<_>>>());
    Ok(names.map_err(failed("read", folder))?.into_iter().filter_map(Result::ok).collect())
}

/// Removes what a crash left half written, in a folder and those in it.
fn remove_parts(folder: &Path) -> Result<(), StoreError> {
    for name in entries(folder)? {
        let path = folder.join(&name);
        if name.starts_with(PART) {
            remove(&path)?;
        } else if path.is_dir() {
            remove_parts(&path)?;
        }
    }
    Ok(())
}
