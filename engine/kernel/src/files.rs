//! What the guest's calls on descriptors do with files and directories: the bridge from numbers to inodes.

use crate::Stop;
use crate::descriptor::{Descriptor, Object, flags};
use crate::errno::Errno;
use crate::fs::{
    CHUNK_BYTES, DirEntry, FileKind, FileStat, Follow, Fs, InodeId, MAX_FILE_BYTES, OpenFlags, TimeChange,
};
use crate::kernel::Kernel;
use crate::rights;

/// Where `seek` counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    /// The start of the file.
    Start,
    /// The descriptor's offset.
    Current,
    /// The end of the file.
    End,
}

/// What `path_open` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct OpenRequest<'a> {
    /// The descriptor of the directory that the path starts at.
    pub dir: u32,
    /// The path.
    pub path: &'a [u8],
    /// Whether a symbolic link at its end is followed.
    pub follow: Follow,
    /// Create, exclusive, truncate, directory.
    pub flags: OpenFlags,
    /// The descriptor's flags, as in [`flags`].
    pub fd_flags: u16,
    /// The rights that it is opened with, of which reading and writing count ([`rights::opened`]).
    pub rights: u64,
}

impl Kernel {
    /// The guest's time as files note it.
    fn file_time(&self) -> u64 {
        self.tables.clock.peek_ns()
    }

    /// The directory behind `fd`, for a call that needs these rights.
    pub fn directory(&self, fd: u32, needed: u64) -> Result<InodeId, Errno> {
        let descriptor = self.tables.descriptors.get(fd)?;
        match &descriptor.object {
            Object::Directory { inode, .. } => match descriptor.check(needed) {
                Err(Errno::Notcapable) if descriptor.read_only => Err(Errno::Rofs),
                checked => checked.map(|()| *inode),
            },
            _ => Err(Errno::Notdir),
        }
    }

    fn file(&self, fd: u32, needed: u64) -> Result<(InodeId, u64), Errno> {
        let descriptor = self.tables.descriptors.get(fd)?;
        match &descriptor.object {
            Object::File { inode, offset } => descriptor.check(needed).map(|()| (*inode, *offset)),
            Object::Directory { .. } => Err(Errno::Isdir),
            _ => Err(Errno::Spipe),
        }
    }

    fn inode(&self, fd: u32, needed: u64) -> Result<InodeId, Errno> {
        let descriptor = self.tables.descriptors.get(fd)?;
        match &descriptor.object {
            Object::File { inode, .. } | Object::Directory { inode, .. } => descriptor.check(needed).map(|()| *inode),
            _ => Err(Errno::Inval),
        }
    }

    fn set_offset(&mut self, fd: u32, to: u64) {
        if let Ok(Descriptor { object: Object::File { offset, .. }, .. }) = self.tables.descriptors.get_mut(fd) {
            *offset = to;
        }
    }

    /// `read` on any descriptor; 0 at the end.
    pub fn read(&mut self, fd: u32, out: &mut [u8]) -> Result<usize, Stop> {
        let descriptor = self.tables.descriptors.get(fd)?;
        match &descriptor.object {
            Object::Directory { .. } => Err(Errno::Isdir.into()),
            Object::Output(_) => Err(Errno::Badf.into()),
            Object::Input => {
                descriptor.check(rights::FD_READ)?;
                let read = self.read_input(fd, out)?;
                self.copied(read);
                Ok(read)
            }
            Object::File { .. } => {
                let (inode, offset) = self.file(fd, rights::FD_READ)?;
                let now_ns = self.file_time();
                let read = self.fs.read_at(inode, offset, out, now_ns)?;
                self.set_offset(fd, offset + read as u64);
                self.copied(read);
                Ok(read)
            }
            _ => self.recv(fd, out, false),
        }
    }

    /// `write` on any descriptor; how much was taken.
    pub fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<usize, Stop> {
        let descriptor = self.tables.descriptors.get(fd)?;
        let append = descriptor.flags & flags::APPEND != 0;
        match &descriptor.object {
            Object::Directory { .. } => Err(Errno::Isdir.into()),
            Object::Input => Err(Errno::Badf.into()),
            Object::Output(stream) => {
                descriptor.check(rights::FD_WRITE)?;
                let stream = *stream;
                let written = self.write_output(fd, stream, bytes)?;
                self.copied(written);
                Ok(written)
            }
            Object::File { .. } => {
                let (inode, offset) = self.file(fd, rights::FD_WRITE)?;
                let now_ns = self.file_time();
                let end = if append {
                    self.fs.append(inode, bytes, now_ns)? + bytes.len() as u64
                } else {
                    self.fs.write_at(inode, offset, bytes, now_ns)?;
                    offset + bytes.len() as u64
                };
                self.set_offset(fd, end);
                self.copied(bytes.len());
                Ok(bytes.len())
            }
            _ => self.send(fd, bytes),
        }
    }

    /// `pread`.
    pub fn read_at(&mut self, fd: u32, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        let (inode, _) = self.file(fd, rights::FD_READ | rights::FD_SEEK)?;
        check_offset(offset)?;
        let now_ns = self.file_time();
        let read = self.fs.read_at(inode, offset, out, now_ns)?;
        self.copied(read);
        Ok(read)
    }

    /// `pwrite`.
    pub fn write_at(&mut self, fd: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let (inode, _) = self.file(fd, rights::FD_WRITE | rights::FD_SEEK)?;
        check_offset(offset)?;
        let now_ns = self.file_time();
        self.fs.write_at(inode, offset, bytes, now_ns)?;
        self.copied(bytes.len());
        Ok(bytes.len())
    }

    /// `lseek`: the new offset.
    pub fn seek(&mut self, fd: u32, by: i64, whence: Whence) -> Result<u64, Errno> {
        let moves = whence != Whence::Current || by != 0;
        // Asking where the offset is moves nothing, and who may move it may ask.
        let tells = |error| if moves { Err(error) } else { self.file(fd, rights::FD_TELL) };
        let (inode, offset) = self.file(fd, rights::FD_SEEK).or_else(tells)?;
        let base = match whence {
            Whence::Start => 0,
            Whence::Current => offset,
            Whence::End => self.fs.stat(inode)?.size_bytes,
        };
        let to = base.checked_add_signed(by).filter(|to| *to <= i64::MAX as u64).ok_or(Errno::Inval)?;
        self.set_offset(fd, to);
        Ok(to)
    }

    /// `ftruncate`.
    pub fn set_size(&mut self, fd: u32, size_bytes: u64) -> Result<(), Errno> {
        let needed = rights::FD_WRITE | rights::FD_FILESTAT_SET_SIZE;
        // What has no offset has no size either.
        let not_a_file = |errno| if errno == Errno::Spipe { Errno::Inval } else { errno };
        let (inode, _) = self.file(fd, needed).map_err(not_a_file)?;
        check_offset(size_bytes)?;
        let now_ns = self.file_time();
        self.fs.set_size(inode, size_bytes, now_ns)
    }

    /// `posix_fallocate`.
    pub fn allocate(&mut self, fd: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let (inode, _) = self.file(fd, rights::FD_WRITE | rights::FD_ALLOCATE)?;
        check_offset(offset)?;
        let now_ns = self.file_time();
        // Every chunk that is there is looked at, whether the rest fits or not.
        self.add_work(len.min(self.config.files_bytes) / CHUNK_BYTES as u64);
        self.fs.allocate(inode, offset, len, now_ns)?;
        self.copied(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    /// `fsync` and `fdatasync`, told apart by the right that they need: what a turn wrote is as durable as the log.
    pub fn sync(&self, fd: u32, needed: u64) -> Result<(), Errno> {
        self.fs.sync(self.inode(fd, needed)?)
    }

    /// `posix_fadvise`: nothing is gained by advice, so it is only checked.
    pub fn advise(&self, fd: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let descriptor = self.tables.descriptors.get(fd)?;
        match &descriptor.object {
            Object::File { .. } | Object::Directory { .. } => descriptor.check(rights::FD_ADVISE)?,
            _ => return Err(Errno::Spipe),
        }
        check_offset(offset).and(check_offset(len))
    }

    /// The attributes behind a descriptor; none for sockets and streams.
    pub fn stat(&self, fd: u32) -> Result<Option<FileStat>, Errno> {
        let descriptor = self.tables.descriptors.get(fd)?;
        descriptor.check(rights::FD_FILESTAT_GET)?;
        match &descriptor.object {
            Object::File { inode, .. } | Object::Directory { inode, .. } => Ok(Some(self.fs.stat(*inode)?)),
            _ => Ok(None),
        }
    }

    /// `futimens`. `change` is made from the guest's present time by the caller.
    pub fn set_times(&mut self, fd: u32, change: TimeChange) -> Result<(), Errno> {
        let inode = self.inode(fd, rights::FD_FILESTAT_SET_TIMES)?;
        let now_ns = self.file_time();
        self.fs.set_times(inode, change, now_ns)
    }

    /// The right that flags need by which what is written is durable. That to synchronize all includes that for content.
    fn sync_right(&self, request: &OpenRequest<'_>) -> Result<u64, Errno> {
        let has_all = self.tables.descriptors.get(request.dir)?.rights & rights::FD_SYNC != 0;
        let asks = |any_of: u16| request.fd_flags & any_of != 0;
        Ok(match (asks(flags::RSYNC | flags::SYNC), asks(flags::DSYNC)) {
            (true, _) => rights::FD_SYNC,
            (false, true) if !has_all => rights::FD_DATASYNC,
            (false, _) => 0,
        })
    }

    /// `openat`.
    pub fn open_path(&mut self, request: &OpenRequest<'_>) -> Result<u32, Errno> {
        let mut needed = rights::PATH_OPEN;
        needed |= if request.flags.create { rights::PATH_CREATE_FILE } else { 0 };
        needed |= if request.flags.truncate { rights::PATH_FILESTAT_SET_SIZE } else { 0 };
        needed |= self.sync_right(request)?;
        let dir = self.directory(request.dir, needed)?;
        let through = self.tables.descriptors.get(request.dir)?;
        let (given, read_only) = (through.inheriting, through.read_only);
        let contents = rights::FD_READ | rights::FD_WRITE;
        if request.rights & contents & !given != 0 {
            return Err(Errno::Notcapable);
        }
        if request.rights & rights::FD_WRITE != 0 && read_only {
            return Err(Errno::Rofs);
        }
        self.tables.descriptors.has_room(self.config.max_descriptors)?;
        let now_ns = self.file_time();
        let opened = self.fs.open_at(dir, request.path, request.follow, request.flags, now_ns)?;
        let object = match opened.kind {
            FileKind::Directory if request.rights & rights::FD_WRITE != 0 => return Err(Errno::Isdir),
            FileKind::Directory => Object::Directory { inode: opened.inode, preopen: None },
            FileKind::File => Object::File { inode: opened.inode, offset: 0 },
            FileKind::Symlink => return Err(Errno::Loop),
        };
        self.fs.retain(opened.inode);
        let (rights, inheriting) = rights::opened(&object, request.rights, given);
        let descriptor = Descriptor { object, flags: request.fd_flags, rights, inheriting, read_only };
        self.tables.descriptors.open(descriptor, self.config.max_descriptors)
    }

    /// `fcntl(F_SETFL)`.
    pub fn set_flags(&mut self, fd: u32, set: u16) -> Result<(), Errno> {
        let descriptor = self.tables.descriptors.get_mut(fd)?;
        descriptor.check(rights::FD_FDSTAT_SET_FLAGS)?;
        descriptor.flags = set;
        Ok(())
    }

    /// Drops rights of a descriptor; none comes back.
    pub fn set_rights(&mut self, fd: u32, rights: u64, inheriting: u64) -> Result<(), Errno> {
        let descriptor = self.tables.descriptors.get_mut(fd)?;
        if rights & !descriptor.rights != 0 || inheriting & !descriptor.inheriting != 0 {
            return Err(Errno::Notcapable);
        }
        (descriptor.rights, descriptor.inheriting) = (rights, inheriting);
        Ok(())
    }

    /// `close`.
    pub fn close(&mut self, fd: u32) -> Result<(), Errno> {
        let closed = self.tables.descriptors.close(fd)?;
        self.closed(&closed.object);
        Ok(())
    }

    /// `dup2`, with the source closed.
    pub fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        if let Some(closed) = self.tables.descriptors.renumber(from, to)? {
            self.closed(&closed.object);
        }
        Ok(())
    }

    fn closed(&mut self, object: &Object) {
        match object {
            Object::File { inode, .. } | Object::Directory { inode, .. } => self.fs.release(*inode),
            object => self.close_socket(object),
        }
    }

    /// The directories that the guest was given, with its names for them.
    pub fn preopens(&mut self) -> Vec<(u32, Vec<u8>)> {
        self.add_work(u64::from(self.tables.descriptors.len()));
        let given = self.tables.descriptors.iter().filter_map(|(fd, descriptor)| match &descriptor.object {
            Object::Directory { preopen: Some(name), .. } => Some((fd, name.clone())),
            _ => None,
        });
        given.collect()
    }

    /// A descriptor as it stands.
    pub fn descriptor(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.tables.descriptors.get(fd)
    }

    /// A descriptor, to change it.
    pub fn descriptor_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.tables.descriptors.get_mut(fd)
    }

    /// A directory's entries from `cookie` on.
    pub fn read_directory(&self, fd: u32, cookie: u64) -> Result<impl Iterator<Item = DirEntry<'_>>, Errno> {
        self.fs.readdir(self.directory(fd, rights::FD_READDIR)?, cookie)
    }

    /// The attributes of what a path names.
    pub fn stat_path(&self, dir: u32, path: &[u8], follow: Follow) -> Result<FileStat, Errno> {
        let inode = self.fs.lookup_at(self.directory(dir, rights::PATH_FILESTAT_GET)?, path, follow)?;
        self.fs.stat(inode)
    }

    /// `utimensat`.
    pub fn set_times_path(&mut self, dir: u32, path: &[u8], follow: Follow, change: TimeChange) -> Result<(), Errno> {
        let inode = self.fs.lookup_at(self.directory(dir, rights::PATH_FILESTAT_SET_TIMES)?, path, follow)?;
        let now_ns = self.file_time();
        self.fs.set_times(inode, change, now_ns)
    }

    /// Runs a change of names on the file system with the directory behind `dir` and the guest's time, for a call that
    /// needs these rights.
    pub fn change_names<T>(
        &mut self,
        dir: u32,
        needed: u64,
        change: impl FnOnce(&mut Fs, InodeId, u64) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let inode = self.directory(dir, needed)?;
        let now_ns = self.file_time();
        change(&mut self.fs, inode, now_ns)
    }

    /// A reading of the guest's clock; blocks when the turn's budget is spent.
    #[inline]
    pub fn read_clock(&mut self) -> Result<u64, Stop> {
        match self.tables.clock.read_ns() {
            Some(now_ns) => Ok(now_ns),
            None => {
                self.wait_for_next_turn();
                Err(Stop::Block)
            }
        }
    }

    /// The time since the guest was started, for CPU-time clocks.
    #[must_use]
    pub fn since_start_ns(&self) -> u64 {
        self.tables.clock.since_start_ns()
    }

    /// The guest's time, without moving it.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.tables.clock.peek_ns()
    }

    /// Random bytes.
    pub fn fill_random(&mut self, out: &mut [u8]) {
        self.tables.random.fill(out);
        // A byte of the generator costs about what an instruction does.
        self.add_work(out.len() as u64);
    }
}

/// Offsets and sizes are signed in POSIX.
fn check_offset(offset: u64) -> Result<(), Errno> {
    if offset > MAX_FILE_BYTES { Err(Errno::Inval) } else { Ok(()) }
}
