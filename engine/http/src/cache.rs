//! Compiled code on disk, so that a component is compiled once for a machine and not at every start.
//!
//! A file is named by the BLAKE3 digest of the component and of all that decides what its code looks like, and begins
//! with the digest of what follows. It appears whole or not at all; one that is damaged counts as absent and is written
//! again. The folder is as trusted as the program: whoever can write to it can run code in this process.

use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::Engine;
use wasmtime::component::Component;

/// Compiles, or takes code from the folder.
pub(crate) struct Cache {
    folder: Option<PathBuf>,
    hits: AtomicU64,
    misses: AtomicU64,
    /// Makes the names of temporary files differ within this process.
    written: AtomicU64,
}

impl Cache {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, hits: AtomicU64::new(0), misses: AtomicU64::new(0), written: AtomicU64::new(0) }
    }

    /// Components whose code came from the folder, and those that were compiled.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// The component's code.
    pub(crate) fn compile(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        let path = self.folder.as_deref().map(|folder| path(folder, engine, bytes));
        if let Some(component) = path.as_deref().and_then(|path| take(engine, path)) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(component);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let component = Component::new(engine, bytes)?;
        if let Some(path) = path
            && let Err(error) = self.keep(&path, &component.serialize()?)
        {
            tracing::warn!(path = %path.display(), %error, "compiled code could not be cached");
        }
        Ok(component)
    }

    fn keep(&self, path: &Path, code: &[u8]) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{number}.part", std::process::id()));
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(blake3::hash(code).as_bytes())?;
        file.write_all(code)?;
        std::fs::rename(&temporary, path).inspect_err(|_| {
            let _ = std::fs::remove_file(&temporary);
        })
    }
}

fn path(folder: &Path, engine: &Engine, bytes: &[u8]) -> PathBuf {
    let mut digest = Collect(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut digest);
    digest.0.update(bytes);
    folder.join(format!("{}.component", digest.0.finalize().to_hex()))
}

/// Code from the folder, if it is there and whole.
#[allow(unsafe_code)]
fn take(engine: &Engine, path: &Path) -> Option<Component> {
    let kept = std::fs::read(path).ok()?;
    let (digest, code) = kept.split_first_chunk::<32>()?;
    if blake3::hash(code).as_bytes() != digest {
        tracing::warn!(path = %path.display(), "damaged compiled code in the cache; compiling again");
        return None;
    }
    // SAFETY: the file's name and digest say that this program wrote it for this very configuration of wasmtime, and
    // the folder is as trusted as the program itself.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Gathers what is hashed.
struct Collect(blake3::Hasher);

impl Hasher for Collect {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
