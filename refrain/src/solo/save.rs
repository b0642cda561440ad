//! What a program that ran by itself changed in its folders, written back.
//!
//! Only differences are written: what was removed, made, moved, written, or given other times. A file that kept its name
//! and its identity is written in place, so that its permissions and its other names stay; one that was moved takes its
//! permissions with it. What the host changed meanwhile is overwritten where the program changed it too, and left
//! alone elsewhere.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use refrain_kernel::fs::{FileKind, FileStat, Fs, InodeId};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::folders::{Mounted, Root};

const COPY_BYTES: usize = 1 << 20;
/// A directory's entries behind `.` and `..`.
const FIRST_NAME: u64 = 2;

/// Writes the changes back. What could not be written, in words; the rest is written all the same.
pub(super) fn save(mounted: &Mounted, after: &Fs) -> Vec<String> {
    let mut unsaved = Vec::new();
    let mut homes = BTreeMap::new();
    for root in &mounted.roots {
        let mut saving = Saving {
            mounted,
            after,
            root,
            then: tree(&mounted.before, root.inode),
            now: tree(after, root.inode),
            homes: std::mem::take(&mut homes),
            unsaved: &mut unsaved,
        };
        saving.keep_homes();
        saving.remove();
        saving.write();
        saving.set_times();
        homes = saving.homes;
    }
    unsaved
}

/// Everything below a directory, by path: parents before what is in them.
fn tree(fs: &Fs, root: InodeId) -> BTreeMap<Vec<u8>, FileStat> {
    let mut found = BTreeMap::new();
    let mut open = vec![(root, Vec::new())];
    while let Some((dir, prefix)) = open.pop() {
        let Ok(entries) = fs.readdir(dir, FIRST_NAME) else { continue };
        for entry in entries {
            let mut path = prefix.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name);
            let stat = fs.stat(entry.inode).expect("a name leads to an inode");
            if stat.kind == FileKind::Directory {
                open.push((entry.inode, path.clone()));
            }
            found.insert(path, stat);
        }
    }
    found
}

struct Saving<'a> {
    mounted: &'a Mounted,
    after: &'a Fs,
    root: &'a Root,
    then: BTreeMap<Vec<u8>, FileStat>,
    now: BTreeMap<Vec<u8>, FileStat>,
    /// Where a file is on the host, for its other names.
    homes: BTreeMap<InodeId, PathBuf>,
    unsaved: &'a mut Vec<String>,
}

impl Saving<'_> {
    fn host(&self, path: &[u8]) -> PathBuf {
        self.root.host.join(OsStr::from_bytes(path))
    }

    fn attempt(&mut self, path: &Path, what: &str, result: io::Result<()>) {
        if let Err(error) = result {
            self.unsaved.push(format!("{}: cannot be {what}: {error}", path.display()));
        }
    }

    /// Whether the name leads to what it led to before, so that it stays on the host.
    fn stays(&self, path: &[u8]) -> bool {
        match (self.then.get(path), self.now.get(path)) {
            // A directory is what is in it.
            (Some(then), Some(now)) if then.kind == FileKind::Directory => now.kind == FileKind::Directory,
            (Some(then), Some(now)) => then.inode == now.inode,
            _ => false,
        }
    }

    fn keep_homes(&mut self) {
        let kept: Vec<_> = (self.now.iter())
            .filter(|(path, stat)| stat.kind == FileKind::File && self.stays(path))
            .map(|(path, stat)| (stat.inode, self.host(path)))
            .collect();
        self.homes.extend(kept);
    }

    /// Removes what is gone or became something else, the innermost first.
    fn remove(&mut self) {
        let gone: Vec<_> = (self.then.iter().rev())
            .filter(|(path, _)| !self.stays(path))
            .map(|(path, stat)| (self.host(path), stat.kind))
            .collect();
        for (path, kind) in gone {
            let removed = match kind {
                FileKind::Directory => std::fs::remove_dir(&path),
                FileKind::File | FileKind::Symlink => std::fs::remove_file(&path),
            };
            // Somebody else was quicker.
            let removed = removed.or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            });
            self.attempt(&path, "removed", removed);
        }
    }

    /// Makes what is new and writes what has other content, the outermost first.
    fn write(&mut self) {
        for (path, stat) in self.now.clone() {
            let (host, stays) = (self.host(&path), self.stays(&path));
            let written = match stat.kind {
                FileKind::Directory if stays => Ok(()),
                FileKind::Directory => std::fs::create_dir(&host),
                FileKind::Symlink if stays => Ok(()),
                FileKind::Symlink => std::os::unix::fs::symlink(OsStr::from_bytes(&self.target(&stat)), &host),
                FileKind::File => self.write_file(&host, &stat, stays),
            };
            self.attempt(&host, "written", written);
        }
    }

    fn target(&self, stat: &FileStat) -> Vec<u8> {
        let mut target = vec![0; usize::try_from(stat.size_bytes).expect("a target is a path")];
        let _ = self.after.copy_content(stat.inode, 0, &mut target);
        target
    }

    fn write_file(&mut self, host: &Path, stat: &FileStat, stays: bool) -> io::Result<()> {
        if stays {
            if self.after.has_content_of(stat.inode, &self.mounted.before) {
                return Ok(());
            }
            return self.write_content(OpenOptions::new().write(true).truncate(true).open(host)?, stat);
        }
        if let Some(home) = self.homes.get(&stat.inode) {
            return std::fs::hard_link(home, host);
        }
        let file = OpenOptions::new().write(true).create_new(true).open(host)?;
        if let Some(mode) = self.mounted.modes.get(&stat.inode) {
            file.set_permissions(std::fs::Permissions::from_mode(*mode))?;
        }
        self.homes.insert(stat.inode, host.to_owned());
        self.write_content(file, stat)
    }

    /// Writes what is no hole.
    fn write_content(&self, file: File, stat: &FileStat) -> io::Result<()> {
        file.set_len(stat.size_bytes)?;
        let mut buffer = vec![0; COPY_BYTES];
        for (start, len) in self.after.stored_parts(stat.inode) {
            let mut at = start;
            while at < start + len {
                let wanted = usize::try_from(start + len - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
                let read = self.after.copy_content(stat.inode, at, &mut buffer[..wanted]);
                if read == 0 {
                    break;
                }
                file.write_all_at(&buffer[..read], at)?;
                at += read as u64;
            }
        }
        Ok(())
    }

    /// Gives what is new or was changed the times that the program saw, the innermost first: making entries changes those of
    /// their directory.
    fn set_times(&mut self) {
        let changed = |path: &[u8], now: &FileStat| {
            let then = self.then.get(path).filter(|then| then.inode == now.inode);
            then.is_none_or(|then| (then.mtime_ns, then.ctime_ns) != (now.mtime_ns, now.ctime_ns))
        };
        let changed: Vec<_> = (self.now.iter().rev())
            .filter(|(path, stat)| changed(path, stat))
            .map(|(path, stat)| (self.host(path), *stat))
            .collect();
        for (host, stat) in changed {
            let times = Timestamps { last_access: timespec(stat.atime_ns), last_modification: timespec(stat.mtime_ns) };
            let set = rustix::fs::utimensat(CWD, &host, &times, AtFlags::SYMLINK_NOFOLLOW);
            // What is not there was told when it could not be made.
            if set != Err(rustix::io::Errno::NOENT) {
                self.attempt(&host, "given its times", set.map_err(io::Error::from));
            }
        }
    }
}

fn timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX), tv_nsec: (ns % 1_000_000_000) as _ }
}
