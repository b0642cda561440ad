//! Compiled code on disk, so that a component is compiled once for a machine and not at every start.
//!
//! A file is named by the BLAKE3 digest of the component and of all that decides what its code looks like, and begins
//! with the digest of what follows. It appears whole or not at all; one that is damaged counts as absent and is written
//! again. A folder that is not there is made for its owner alone (0700). It is as trusted as the program: whoever can
//! write to it can run code in this process.
//!
//! A file's time is when its code was loaded last. When code is added, those that were not for longest go until the rest
//! is within a bound, and with them what a program left that died while it wrote.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;
use wasmtime::component::Component;

/// Bytes of compiled code that are kept: some dozens of components of Python, thousands of Rust.
const MOST_BYTES: u64 = 4 << 30;
/// After how long a file that is not whole has no writer any more.
const WRITTEN_FOR: Duration = Duration::from_secs(3600);
/// How the names of whole files end.
const WHOLE: &str = "component";
/// And those of others.
const PART: &str = "part";

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

    fn keep(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            // Code that this process will run is nobody else's to read or write, whatever the umask.
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{number}.{PART}", std::process::id()));
        write_whole(path, &temporary, |file| {
            file.write_all(blake3::hash(code).as_bytes())?;
            file.write_all(code)
        })?;
        path.parent().map_or(Ok(()), |folder| clean(folder, path, MOST_BYTES))
    }
}

/// Writes a file that appears whole or not at all. A failure leaves nothing behind.
fn write_whole(path: &Path, temporary: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    write(&mut file).and_then(|()| std::fs::rename(temporary, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(temporary);
    })
}

/// Removes what is left of writers that are gone, and the code that was not loaded for longest until there are at most
/// so many bytes. `newest` stays in any case. Others may do the same meanwhile.
fn clean(folder: &Path, newest: &Path, most: u64) -> io::Result<()> {
    let mut whole = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(about) = std::fs::metadata(&path) else { continue };
        let used = about.modified()?;
        match path.extension().and_then(OsStr::to_str) {
            Some(WHOLE) if path != newest => whole.push((used, about.len(), path)),
            Some(PART) if used.elapsed().is_ok_and(|age| age > WRITTEN_FOR) => remove(&path)?,
            _ => {}
        }
    }
    whole.sort_unstable_by(|one, other| other.cmp(one));
    let mut bytes = std::fs::metadata(newest).map_or(0, |about| about.len());
    for (_, length, path) in whole {
        bytes = bytes.saturating_add(length);
        if bytes > most {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn path(folder: &Path, engine: &Engine, bytes: &[u8]) -> PathBuf {
    let mut digest = Collect(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut digest);
    digest.0.update(bytes);
    folder.join(format!("{}.{WHOLE}", digest.0.finalize().to_hex()))
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
    let component = unsafe { Component::deserialize(engine, code) }.ok()?;
    // A folder that cannot be written to has a keeper of its own.
    let _ = File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    Some(component)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(folder: &Path) -> Vec<std::ffi::OsString> {
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect()
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, temporary) = (folder.path().join("code"), folder.path().join("code.part"));
        let failed = write_whole(&path, &temporary, |file| {
            file.write_all(b"a part")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.expect_err("an error").kind(), io::ErrorKind::StorageFull);
        assert_eq!(names(folder.path()), [""; 0]);
        write_whole(&path, &temporary, |file| file.write_all(b"all")).expect("written");
        assert_eq!(names(folder.path()), ["code"]);
    }

    /// A file of so many bytes that was used so many seconds ago.
    fn file(folder: &Path, name: &str, bytes: usize, seconds: u64) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, vec![0; bytes]).expect("written");
        let used = SystemTime::now() - Duration::from_secs(seconds);
        File::options().append(true).open(&path).expect("a file").set_modified(used).expect("a time");
        path
    }

    #[test]
    fn code_that_was_not_loaded_for_longest_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |name: &str, bytes, seconds| file(folder.path(), name, bytes, seconds);
        make("old.component", 10, 3000);
        make("older.component", 10, 4000);
        make("used.component", 10, 1000);
        let newest = make("newest.component", 30, 5000);
        let left = || {
            let mut names = names(folder.path());
            names.sort();
            names
        };
        clean(folder.path(), &newest, 60).expect("cleaned");
        assert_eq!(left(), ["newest.component", "old.component", "older.component", "used.component"]);
        clean(folder.path(), &newest, 59).expect("cleaned");
        assert_eq!(left(), ["newest.component", "old.component", "used.component"]);
        clean(folder.path(), &newest, 1).expect("cleaned");
        assert_eq!(left(), ["newest.component"]);
    }

    #[test]
    fn parts_of_writers_that_are_gone_are_removed_and_nothing_that_is_not_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |name: &str, seconds| file(folder.path(), name, 1, seconds);
        let newest = make("a.component", 0);
        make("b.1-0.part", 4000);
        make("b.1-1.part", 10);
        make("notes", 4000);
        clean(folder.path(), &newest, u64::MAX).expect("cleaned");
        let mut left = names(folder.path());
        left.sort();
        assert_eq!(left, ["a.component", "b.1-1.part", "notes"]);
    }

    #[test]
    fn a_folder_is_made_for_its_owner_alone() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("outer/inner");
        let path = folder.join("code.component");
        Cache::new(Some(folder.clone())).keep(&path, b"code").expect("written");
        for folder in [folder.clone(), parent.path().join("outer")] {
            let mode = std::fs::metadata(&folder).expect("a folder").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
        }
        assert_eq!(names(&folder), ["code.component"]);
    }
}
