//! The disk seam: one folder of files, as the log needs it and no more.
//!
//! Durability: what was written is there after a crash only when [`DiskFile::sync`] returned without an error
//! after the write; a name only when [`Disk::sync_folder`] did after the file was created, renamed or removed.
//! Until then every write may be kept, dropped or torn, in any combination. After a failed `sync` nothing may be
//! assumed about the writes before it, and a second `sync` that succeeds proves nothing: callers stop.
//!
//! Two implementations: [`RealDisk`], and [`crate::sim::SimDisk`], which forgets and breaks on purpose. What is only to be
//! looked at is a [`ReadOnlyDisk`].

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

mod read_only;
mod real;

pub use read_only::{ReadOnlyDisk, lock_shared};
pub use real::RealDisk;

/// One folder. All methods may be called from several threads.
pub trait Disk: Send + Sync + 'static {
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file, in place of one with the same name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// The names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Removes a file. Handles that are open go on working.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in place of a file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_folder(&self) -> io::Result<()>;
    /// The path of a file, for messages.
    fn path(&self, name: &str) -> PathBuf;
}

/// One open file.
pub trait DiskFile: Send + Sync + 'static {
    /// Writes all of `parts`, one after another, from `offset`.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;
    /// Fills `into` from `offset`; fewer bytes only at the end of the file. Returns how many.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Makes everything written so far durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Makes the file `len` bytes long with space on the disk for all of them; new bytes are zero.
    fn preallocate(&self, len: u64) -> io::Result<()>;
    /// Cuts the file, or makes it longer with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The length of the file in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// Fills `buffer` with secret random bytes.
pub type Entropy = Arc<dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync>;

/// Randomness of the operating system.
#[must_use]
pub fn os_entropy() -> Entropy {
    Arc::new(|buffer| {
        let mut device = std::fs::File::open("/dev/urandom")?;
        io::Read::read_exact(&mut device, buffer)
    })
}
