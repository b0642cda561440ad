//! What a program that ran by itself changed in its folders, written back.
//!
//! Only differences are written: what was removed, made, moved, written, or given other times. What the host changed
//! meanwhile is overwritten where the program changed it too, and left alone elsewhere.
//!
//! Guarantees: whatever fails, and whenever it is stopped, the host has each file's content in one place at least, its
//! old one, its new one or a temporary file beside it that is told. For that all that is new is first written to
//! temporary files (`stage`), then everything gets its name (`place`), and what lost its name is removed last
//! (`remove`). Nothing is written through a symbolic link (`host`), and nothing below a directory that could not be made.
//! A file that has other names or another owner is written in place, so that it keeps them; any other is replaced by a
//! file with its permissions.

mod host;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};

use refrain_kernel::fs::{FileKind, FileStat, Fs, InodeId};
use rustix::fs::{Timespec, Timestamps};
use rustix::io::Errno;

use super::folders::Mounted;
use host::{Host, Path, split};

const COPY_BYTES: usize = 1 << 20;
/// A directory's entries behind `.` and `..`.
const FIRST_NAME: u64 = 2;

/// Writes the changes back. What could not be written, in words; the rest is written all the same.
pub(super) fn save(mounted: &Mounted, after: &Fs) -> Vec<String> {
    let mut saving = Saving { mounted, after, saved: BTreeSet::new(), alive: BTreeSet::new(), unsaved: Vec::new() };
    let mut folders = saving.open();
    saving.stage(&mut folders);
    for folder in &mut folders {
        saving.place(folder);
    }
    for folder in &folders {
        saving.remove(folder);
    }
    for folder in &folders {
        saving.set_times(folder);
    }
    saving.unsaved
}

type Tree = BTreeMap<Path, FileStat>;

/// Everything below a directory, by path: parents before what is in them.
fn tree(fs: &Fs, root: InodeId) -> Tree {
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

/// Content that waits for its name.
#[derive(Clone)]
enum Staged {
    /// In this temporary file, which gets the name.
    Named(Path),
    /// In this temporary file, from which it is written in place.
    Copied(Path),
    /// Nowhere, as there can be no file beside it: it is written in place.
    Directly,
}

/// A folder that is written back.
struct Folder {
    host: Host,
    then: Tree,
    now: Tree,
    staged: BTreeMap<Path, Staged>,
    /// What could not be written, and directories below which nothing is.
    lost: BTreeSet<Path>,
    /// Directories that temporary files were in, which changes their times.
    touched: BTreeSet<Path>,
}

impl Folder {
    /// Whether the name leads to what it led to before, so that it stays on the host.
    fn stays(&self, path: &[u8]) -> bool {
        match (self.then.get(path), self.now.get(path)) {
            // A directory is what is in it.
            (Some(then), Some(now)) if then.kind == FileKind::Directory => now.kind == FileKind::Directory,
            (Some(then), Some(now)) => then.inode == now.inode,
            _ => false,
        }
    }

    /// The innermost directory around a path that is on the host already.
    fn standing<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        let mut dir = split(path).0;
        while !dir.is_empty() && !self.stays(dir) {
            dir = split(dir).0;
        }
        dir
    }

    fn is_lost(&self, path: &[u8]) -> bool {
        let mut path = path;
        while !path.is_empty() {
            if self.lost.contains(path) {
                return true;
            }
            path = split(path).0;
        }
        false
    }
}

struct Saving<'a> {
    mounted: &'a Mounted,
    after: &'a Fs,
    /// Files and symbolic links that the host has, whatever is removed: those that keep a name and those that are staged.
    saved: BTreeSet<InodeId>,
    /// Files and symbolic links that have a name.
    alive: BTreeSet<InodeId>,
    unsaved: Vec<String>,
}

impl Saving<'_> {
    fn tell(&mut self, host: &Host, path: &[u8], what: &str, error: &io::Error) {
        self.unsaved.push(format!("{}: cannot be {what}: {error}", host.told(path).display()));
    }

    fn open(&mut self) -> Vec<Folder> {
        let mut folders = Vec::new();
        for root in &self.mounted.roots {
            let (then, now) = (tree(&self.mounted.before, root.inode), tree(self.after, root.inode));
            let files = now.values().filter(|stat| stat.kind != FileKind::Directory);
            self.alive.extend(files.map(|stat| stat.inode));
            match Host::open(&root.host) {
                Ok(host) => {
                    let (staged, lost, touched) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
                    folders.push(Folder { host, then, now, staged, lost, touched });
                }
                Err(error) => self.unsaved.push(format!("{}: cannot be written back: {error}", root.host.display())),
            }
        }
        folders
    }

    /// Writes all content that is new to temporary files.
    fn stage(&mut self, folders: &mut [Folder]) {
        // Where a file is, for its other names: the folder, and the path there.
        let mut sources: BTreeMap<InodeId, (usize, Path)> = BTreeMap::new();
        let mut new = Vec::new();
        for (number, folder) in folders.iter_mut().enumerate() {
            for (path, stat) in folder.now.clone().into_iter().filter(|(_, stat)| stat.kind != FileKind::Directory) {
                if !folder.stays(&path) {
                    new.push((number, path, stat));
                    continue;
                }
                let first = self.saved.insert(stat.inode);
                if first && stat.kind == FileKind::File && !self.after.has_content_of(stat.inode, &self.mounted.before)
                {
                    let staged = self.stage_changed(folder, &path, &stat);
                    if let Some(Staged::Named(temporary)) = &staged {
                        sources.insert(stat.inode, (number, temporary.clone()));
                    }
                    folder.staged.extend(staged.map(|staged| (path.clone(), staged)));
                }
                sources.entry(stat.inode).or_insert((number, path));
            }
        }
        for (number, path, stat) in new {
            let source = sources.get(&stat.inode).map(|(number, path)| folders[*number].host.source(path));
            let folder = &mut folders[number];
            let dir = folder.standing(&path);
            folder.touched.insert(dir.to_vec());
            let linked = source.and_then(|source| folder.host.temporary_link(dir, &source.ok()?).ok());
            let mode = self.mounted.modes.get(&stat.inode).copied();
            // Not every file system has links, and not everywhere.
            match linked.map_or_else(|| self.copy(&mut folder.host, dir, &stat, mode), Ok) {
                Ok(temporary) => {
                    self.saved.insert(stat.inode);
                    sources.entry(stat.inode).or_insert((number, temporary.clone()));
                    folder.staged.insert(path, Staged::Named(temporary));
                }
                Err(error) => {
                    self.tell(&folder.host, &path, "written", &error);
                    folder.lost.insert(path);
                }
            }
        }
    }

    /// Stages a file that kept its name.
    fn stage_changed(&mut self, folder: &mut Folder, path: &[u8], stat: &FileStat) -> Option<Staged> {
        let (dir, host) = (split(path).0, &mut folder.host);
        folder.touched.insert(dir.to_vec());
        let copied = host.stat(path).and_then(|target| {
            let temporary = self.copy(host, dir, stat, Some(target.st_mode & 0o777))?;
            let made = host.stat(&temporary)?;
            let alike = (target.st_uid, target.st_gid) == (made.st_uid, made.st_gid);
            let alike = alike && target.st_nlink == 1 && target.st_mode & 0o200 != 0;
            Ok(if alike { Staged::Named(temporary) } else { Staged::Copied(temporary) })
        });
        match copied {
            Ok(staged) => Some(staged),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Some(Staged::Directly),
                _ => {
                    self.tell(host, path, "written", &error);
                    folder.lost.insert(path.to_vec());
                    None
                }
            },
        }
    }

    /// A file's content in a temporary file, or a symbolic link under a temporary name.
    fn copy(&self, host: &mut Host, dir: &[u8], stat: &FileStat, mode: Option<u32>) -> io::Result<Path> {
        if stat.kind == FileKind::Symlink {
            let mut target = vec![0; usize::try_from(stat.size_bytes).expect("a target is a path")];
            let _ = self.after.copy_content(stat.inode, 0, &mut target);
            return host.temporary_symlink(dir, &target);
        }
        let (temporary, file) = host.temporary(dir)?;
        let written = fill(self.after, stat, &file).and_then(|()| match mode {
            Some(mode) => file.set_permissions(Permissions::from_mode(mode)),
            None => Ok(()),
        });
        match written {
            Ok(()) => Ok(temporary),
            Err(error) => {
                // What is not whole is of no use.
                let _ = host.remove(&temporary, false);
                Err(error)
            }
        }
    }

    /// Gives everything that is new or was changed its name, the outermost first.
    fn place(&mut self, folder: &mut Folder) {
        for (path, stat) in folder.now.clone() {
            let staged = folder.staged.remove(&path);
            let outcome = if folder.is_lost(&path) {
                // Why was told before.
                staged.as_ref().map_or(Ok(()), |_| Err(io::Error::other("its directory is not there")))
            } else {
                self.place_one(folder, &path, &stat, staged.as_ref())
            };
            let Err(error) = outcome else { continue };
            let kept = match &staged {
                Some(Staged::Named(temporary) | Staged::Copied(temporary)) => {
                    format!("; it is kept as {}", folder.host.told(temporary).display())
                }
                _ => String::new(),
            };
            let told = folder.host.told(&path);
            self.unsaved.push(format!("{}: cannot be written: {error}{kept}", told.display()));
            folder.lost.insert(path);
        }
    }

    fn place_one(&self, folder: &mut Folder, path: &[u8], stat: &FileStat, staged: Option<&Staged>) -> io::Result<()> {
        match (stat.kind, staged) {
            (_, Some(Staged::Named(temporary))) => {
                self.clear(folder, path, stat.kind)?;
                folder.host.rename(temporary, path)
            }
            (_, Some(Staged::Copied(temporary))) => {
                fill(self.after, stat, &folder.host.write(path)?)?;
                folder.host.remove(temporary, false)
            }
            (_, Some(Staged::Directly)) => {
                let file = folder.host.write(path)?;
                let before = &self.mounted.before;
                fill(self.after, stat, &file).inspect_err(|_| {
                    let _ = before.stat(stat.inode).map(|then| fill(before, &then, &file));
                })
            }
            (FileKind::Directory, None) if !folder.stays(path) => {
                self.clear(folder, path, stat.kind)?;
                folder.host.make_dir(path)
            }
            (_, None) => Ok(()),
        }
    }

    /// Makes room for what gets a name: what had it was removed, or is saved elsewhere.
    fn clear(&self, folder: &Folder, path: &[u8], kind: FileKind) -> io::Result<()> {
        let Some(then) = folder.then.get(path).filter(|_| !folder.stays(path)) else { return Ok(()) };
        self.check(then)?;
        if then.kind == FileKind::Directory {
            let below = [path, b"/"].concat();
            let inner = folder.then.range(below.clone()..).take_while(|(inner, _)| inner.starts_with(&below));
            for (inner, then) in inner.collect::<Vec<_>>().into_iter().rev() {
                self.check(then)?;
                folder.host.remove(inner, then.kind == FileKind::Directory)?;
            }
            folder.host.remove(path, true)
        } else if kind == FileKind::Directory {
            folder.host.remove(path, false)
        } else {
            Ok(())
        }
    }

    /// Whether what is on the host can go.
    fn check(&self, then: &FileStat) -> io::Result<()> {
        let only =
            then.kind != FileKind::Directory && self.alive.contains(&then.inode) && !self.saved.contains(&then.inode);
        if only { Err(io::Error::other("it has what could not be written elsewhere")) } else { Ok(()) }
    }

    /// Removes what has no name any more, the innermost first.
    fn remove(&mut self, folder: &Folder) {
        for (path, then) in folder.then.iter().rev().filter(|(path, _)| !folder.now.contains_key(*path)) {
            let removed = self.check(then).and_then(|()| folder.host.remove(path, then.kind == FileKind::Directory));
            if let Err(error) = removed {
                self.tell(&folder.host, path, "removed", &error);
            }
        }
    }

    /// Gives what is new or was changed the times that the program saw, the innermost first: making entries changes those of
    /// their directory.
    fn set_times(&mut self, folder: &Folder) {
        let changed = |path: &[u8], now: &FileStat| {
            let then = folder.then.get(path).filter(|then| then.inode == now.inode);
            then.is_none_or(|then| (then.mtime_ns, then.ctime_ns) != (now.mtime_ns, now.ctime_ns))
        };
        let told = |path: &Path, stat: &FileStat| changed(path, stat) || folder.touched.contains(path);
        for (path, stat) in folder.now.iter().rev().filter(|(path, stat)| told(path, stat)) {
            if folder.is_lost(path) {
                continue;
            }
            let times = Timestamps { last_access: timespec(stat.atime_ns), last_modification: timespec(stat.mtime_ns) };
            if let Err(error) = folder.host.set_times(path, &times) {
                self.tell(&folder.host, path, "given its times", &error);
            }
        }
    }
}

/// Makes a file's content that of an inode; holes stay holes.
fn fill(fs: &Fs, stat: &FileStat, file: &File) -> io::Result<()> {
    if file.metadata()?.size() > 0 {
        file.set_len(0)?;
    }
    file.set_len(stat.size_bytes)?;
    let mut buffer = vec![0; COPY_BYTES];
    for (start, len) in fs.stored_parts(stat.inode) {
        let mut at = start;
        while at < start + len {
            let wanted = usize::try_from(start + len - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            let read = fs.copy_content(stat.inode, at, &mut buffer[..wanted]);
            if read == 0 {
                break;
            }
            file.write_all_at(&buffer[..read], at)?;
            at += read as u64;
        }
    }
    Ok(())
}

fn timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX), tv_nsec: (ns % 1_000_000_000) as _ }
}
