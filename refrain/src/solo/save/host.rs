//! A folder of the host, in which everything is reached by directories alone: a symbolic link that somebody puts in the
//! way is never followed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timestamps, linkat, mkdirat, open, openat, renameat, statat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Names that are tried for one that nobody has.
const MAX_TRIES: usize = 1_000;

/// A path below a folder.
pub(super) type Path = Vec<u8>;

/// A folder. All paths are relative to it, with single slashes; the empty one is the folder itself.
pub(super) struct Host {
    path: PathBuf,
    root: OwnedFd,
    /// How many temporary names were given.
    named: usize,
}

/// The directory of a path, and its name there.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

impl Host {
    pub(super) fn open(path: &std::path::Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), root: open(path, DIRECTORY, Mode::empty())?, named: 0 })
    }

    /// A path as it is told.
    pub(super) fn told(&self, path: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(path))
    }

    fn dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let mut dir = self.root.try_clone()?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            dir = openat(&dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(dir)
    }

    /// The directory that a path is in, and its name there.
    fn place<'p>(&self, path: &'p [u8]) -> io::Result<(OwnedFd, &'p [u8])> {
        let (dir, name) = split(path);
        Ok((self.dir(dir)?, name))
    }

    pub(super) fn stat(&self, path: &[u8]) -> io::Result<Stat> {
        let (dir, name) = self.place(path)?;
        Ok(statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens a file to write it in place.
    pub(super) fn write(&self, path: &[u8]) -> io::Result<File> {
        let (dir, name) = self.place(path)?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&dir, name, flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no file any more"));
        }
        Ok(File::from(file))
    }

    /// Does something with a name in a directory that nothing has; the path of what came of it.
    fn with_fresh_name<T>(
        &mut self,
        dir_path: &[u8],
        mut make: impl FnMut(&OwnedFd, &str) -> rustix::io::Result<T>,
    ) -> io::Result<(Path, T)> {
        let dir = self.dir(dir_path)?;
        for _ in 0..MAX_TRIES {
            let name = format!(".refrain-{}-{}", std::process::id(), self.named);
            self.named += 1;
            match make(&dir, &name) {
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
                Ok(made) if dir_path.is_empty() => return Ok((name.into_bytes(), made)),
                Ok(made) => return Ok(([dir_path, b"/", name.as_bytes()].concat(), made)),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// A new file in a directory.
    pub(super) fn temporary(&mut self, dir: &[u8]) -> io::Result<(Path, File)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (path, file) =
            self.with_fresh_name(dir, |dir, name| openat(dir, name, flags, Mode::from_raw_mode(0o666)))?;
        Ok((path, File::from(file)))
    }

    /// A further name of a file of a folder, in a directory of this one.
    pub(super) fn temporary_link(&mut self, dir: &[u8], from: &(OwnedFd, Vec<u8>)) -> io::Result<Path> {
        let (source, name) = from;
        let linked =
            self.with_fresh_name(dir, |dir, fresh| linkat(source, name.as_slice(), dir, fresh, AtFlags::empty()))?;
        Ok(linked.0)
    }

    /// Where a file is, for a link to it.
    pub(super) fn source(&self, path: &[u8]) -> io::Result<(OwnedFd, Vec<u8>)> {
        let (dir, name) = self.place(path)?;
        let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no file any more"));
        }
        Ok((dir, name.to_vec()))
    }

    /// Gives a temporary file its name; what has it, is replaced, unless it is a directory.
    pub(super) fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        let ((from_dir, from_name), (to_dir, to_name)) = (self.place(from)?, self.place(to)?);
        renameat(&from_dir, from_name, &to_dir, to_name)?;
        // Two names of one file are left as they are.
        gone_or(unlinkat(&from_dir, from_name, AtFlags::empty()))
    }

    pub(super) fn make_dir(&self, path: &[u8]) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        Ok(mkdirat(&dir, name, Mode::from_raw_mode(0o777))?)
    }

    /// A new symbolic link in a directory.
    pub(super) fn temporary_symlink(&mut self, dir: &[u8], target: &[u8]) -> io::Result<Path> {
        let made = self.with_fresh_name(dir, |dir, name| symlinkat(target, dir, name))?;
        Ok(made.0)
    }

    /// Removes a name; well if it is gone.
    pub(super) fn remove(&self, path: &[u8], is_dir: bool) -> io::Result<()> {
        let (dir, name) = match self.place(path) {
            Err(error) if is_gone(&error) => return Ok(()),
            found => found?,
        };
        gone_or(unlinkat(&dir, name, if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() }))
    }

    pub(super) fn set_times(&self, path: &[u8], times: &Timestamps) -> io::Result<()> {
        let (dir, name) = match self.place(path) {
            Err(error) if is_gone(&error) => return Ok(()),
            found => found?,
        };
        gone_or(utimensat(&dir, name, times, AtFlags::SYMLINK_NOFOLLOW))
    }
}

/// Somebody else was quicker.
fn gone_or(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => Ok(result?),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}
