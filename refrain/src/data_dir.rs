//! The data folder at the start of a process: made or found, told from a folder that is somebody else's, and taken for
//! this process alone.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// The file by which a process has the folder for itself, and a folder is known as Refrain's: it is there from the first
/// start on, and empty.
const LOCK: &str = "lock";
/// What a file system of its own begins with.
const OF_FILE_SYSTEMS: &str = "lost+found";
/// How long a process that is ending, as after `kill -9`, may take to let go of the folder, and between two looks.
const PATIENCE: Duration = Duration::from_secs(3);
const PACE: Duration = Duration::from_millis(50);
/// How many of the files that are in the way are named.
const NAMED: usize = 3;

/// Takes the folder. It is made if it is not there; one that has other files and no data of Refrain is refused, and left
/// as it is.
pub(crate) fn take(path: &Path) -> anyhow::Result<File> {
    make(path).with_context(|| format!("cannot make the data folder {}", path.display()))?;
    let others = others(path).with_context(|| format!("cannot read the data folder {}", path.display()))?;
    if !others.is_empty() {
        let (count, named) = (others.len(), others[..NAMED.min(others.len())].join(", "));
        let more = if count > NAMED { ", ..." } else { "" };
        bail!(
            "{} cannot be the data folder: it has {count} other file(s) in it ({named}{more}) and no data of Refrain; \
             name an empty folder, one that is not there yet, or one that Refrain made",
            path.display()
        );
    }
    lock(path)
}

/// Makes the folder, which its owner alone can read: what guests hold and what their manifests say is in it. One that was
/// made before is closed to others as well; a folder that is not Refrain's yet is left as it is.
fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mut permissions = fs::metadata(path)?.permissions();
    if is_ours(path) && permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o700);
        // On a volume of somebody else's it stays as it was given.
        if let Err(error) = fs::set_permissions(path, permissions) {
            tracing::warn!(%error, path = %path.display(), "others may read the data folder");
        }
    }
    Ok(())
}

fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path.join(LOCK)).is_ok_and(|lock| lock.is_file() && lock.len() == 0)
}

/// What is in a folder that is not Refrain's, sorted.
fn others(path: &Path) -> io::Result<Vec<String>> {
    if is_ours(path) {
        return Ok(Vec::new());
    }
    let names: io::Result<Vec<String>> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    let mut names = names?;
    names.retain(|name| name != OF_FILE_SYSTEMS);
    names.sort_unstable();
    Ok(names)
}

/// Takes the folder for this process alone.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join(LOCK);
    let opened = File::options().write(true).create(true).truncate(false).open(&path);
    let file = opened.with_context(|| format!("cannot make {}", path.display()))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => park_timeout(PACE),
            Err(rustix::io::Errno::WOULDBLOCK) => bail!("another refrain uses the data folder {}", data_dir.display()),
            Err(error) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        take(path).expect_err("it is somebody else's").to_string()
    }

    #[test]
    fn a_folder_with_other_files_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b", "a", "d", "c"] {
            fs::write(folder.path().join(name), "mine").expect("a file");
        }
        let told = refused(folder.path());
        assert!(told.contains("it has 4 other file(s) in it (a, b, c, ...) and no data of Refrain"), "{told}");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 4);
        // A file of somebody else's that has the name of ours.
        fs::write(folder.path().join(LOCK), "mine").expect("a file");
        assert!(refused(folder.path()).contains("5 other file(s)"));
        assert_eq!(fs::read(folder.path().join(LOCK)).expect("the file"), b"mine");
    }

    #[test]
    fn a_folder_that_is_new_or_empty_or_ours_is_taken_once() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join(OF_FILE_SYSTEMS)).expect("a folder");
        drop(take(folder.path()).expect("a file system of its own"));
        fs::write(folder.path().join("admin.json"), "{}").expect("a file");
        let taken = take(folder.path()).expect("it is ours by now");
        assert!(refused(folder.path()).starts_with("another refrain uses the data folder"));
        // A process that is about to end is waited for.
        let ending = std::thread::spawn(move || {
            park_timeout(PACE);
            drop(taken);
        });
        drop(take(folder.path()).expect("the other one let go"));
        ending.join().expect("it let go");
        let new = folder.path().join("a/b");
        drop(take(&new).expect("it is made"));
        assert_eq!(fs::metadata(&new).expect("the folder").permissions().mode() & 0o777, 0o700);
    }
}
