//! How a client finds its server without flags: the file `admin.json`, written by the server, readable by its owner
//! alone.
//!
//! The server writes it into its data folder and into the user's runtime place. A client looks in this order: what it
//! was told (server, token file, data folder), `./refrain-data`, the runtime place. A file or folder that another user
//! could have written or could read is refused, not used.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::token::Token;

mod find;

pub use find::{Endpoint, FindError, Query, find};

/// Name of the file.
pub const ADMIN_FILE: &str = "admin.json";
/// Folder of the server's data, when nothing else is said, relative to the working folder.
pub const DEFAULT_DATA_DIR: &str = "refrain-data";
/// Most bytes of the file, or of a token file.
pub const ADMIN_FILE_BYTES_MAX: u64 = 4_096;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminFile {
    /// Address and port that the admin API listens on.
    pub address: String,
    /// The token that it wants.
    pub token: Token,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be opened or read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It belongs to someone else.
    #[error("{} belongs to user {owner}, not to user {user}: not used", path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// Others may read or write it.
    #[error("{} can be used by others (mode {mode:03o}, expected {expected:03o}): not used", path.display())]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What they should be.
        expected: u32,
    },
    /// Its content is not what it should be.
    #[error("{} is no admin file of refrain", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Larger than an admin file can be.
    #[error("{} has more than {ADMIN_FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
}

impl ReadError {
    /// True when there is no such file.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk said no.
    #[error("cannot write {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder is not safe.
    #[error(transparent)]
    Folder(ReadError),
}

/// The user's runtime folder: `$XDG_RUNTIME_DIR/refrain`, else `/tmp/refrain-<uid>`. The argument is the value of
/// that variable; it counts only when it is an absolute path.
pub fn runtime_dir(xdg_runtime_dir: Option<&str>) -> PathBuf {
    match xdg_runtime_dir.map(Path::new).filter(|path| path.is_absolute()) {
        Some(path) => path.join("refrain"),
        None => PathBuf::from(format!("/tmp/refrain-{}", user())),
    }
}

/// Writes `admin.json` into a folder that exists, readable by its owner alone, at once or not at all.
pub fn write(dir: &Path, file: &AdminFile) -> Result<PathBuf, WriteError> {
    let path = dir.join(ADMIN_FILE);
    let temporary = dir.join(format!(".{ADMIN_FILE}.{}", std::process::id()));
    let json = serde_json::to_string_pretty(file).expect("texts can always be written as JSON");
    let written = remove(&temporary).and_then(|()| {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        out.write_all(json.as_bytes())?;
        out.write_all(b"\n")?;
        out.sync_all()?;
        fs::rename(&temporary, &path)
    });
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(WriteError::Io { path, source }),
    }
}

/// Makes the runtime folder (0700) if need be, refuses one that is not safe, and writes `admin.json` there.
pub fn write_runtime(dir: &Path, file: &AdminFile) -> Result<PathBuf, WriteError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(WriteError::Io { path: dir.to_owned(), source });
        }
        _ => check_folder(dir).map_err(WriteError::Folder)?,
    }
    write(dir, file)
}

/// Removes `admin.json` from a folder if it is still this server's: another one may have replaced it.
pub fn remove_own(dir: &Path, own: &AdminFile) -> io::Result<()> {
    match read(&dir.join(ADMIN_FILE)) {
        Ok(found) if found == *own => remove(&dir.join(ADMIN_FILE)),
        _ => Ok(()),
    }
}

/// Reads an admin file after checking that it belongs to this user alone.
pub fn read(path: &Path) -> Result<AdminFile, ReadError> {
    let text = read_private(path)?;
    serde_json::from_str(&text).map_err(|source| ReadError::Format { path: path.to_owned(), source })
}

/// Reads the admin file of the runtime folder after checking the folder too.
pub fn read_runtime(dir: &Path) -> Result<AdminFile, ReadError> {
    check_folder(dir)?;
    read(&dir.join(ADMIN_FILE))
}

/// Reads a small file that belongs to this user (or to root) and that nobody else may use.
fn read_private(path: &Path) -> Result<String, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let nofollow = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = nofollow.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(io)?;
    check_owner(path, &file.metadata().map_err(io)?, 0o600)?;
    let mut text = String::new();
    file.take(ADMIN_FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > ADMIN_FILE_BYTES_MAX {
        return Err(ReadError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

fn check_folder(dir: &Path) -> Result<(), ReadError> {
    let io = |source| ReadError::Io { path: dir.to_owned(), source };
    let metadata = fs::symlink_metadata(dir).map_err(io)?;
    if !metadata.is_dir() {
        return Err(io(io::Error::new(io::ErrorKind::NotADirectory, "not a folder")));
    }
    check_owner(dir, &metadata, 0o700)
}

fn check_owner(path: &Path, metadata: &fs::Metadata, expected: u32) -> Result<(), ReadError> {
    let (owner, user, mode) = (metadata.uid(), user(), metadata.mode() & 0o777);
    if owner != user && owner != 0 {
        return Err(ReadError::Owner { path: path.to_owned(), owner, user });
    }
    if mode & 0o077 != 0 {
        return Err(ReadError::Mode { path: path.to_owned(), mode, expected });
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}
