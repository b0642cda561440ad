//! The guest's descriptors: numbers that stand for files, directories, streams and sockets.

use serde::{Deserialize, Serialize};

use crate::errno::Errno;
use crate::fs::InodeId;
use crate::rights;
use crate::slots::Slots;
use crate::stdio::OutputStream;

/// What a descriptor stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// Standard input: always at its end.
    Input,
    /// Standard output or error.
    Output(OutputStream),
    /// An open file.
    File {
        /// The file.
        inode: InodeId,
        /// Where the next read or write goes.
        offset: u64,
    },
    /// An open directory.
    Directory {
        /// The directory.
        inode: InodeId,
        /// The guest's name for it, where it was given at the start.
        preopen: Option<Vec<u8>>,
    },
    /// A socket that is not connected.
    Socket {
        /// The port that it is bound to.
        bound: Option<u16>,
        /// Whether it speaks IPv6.
        v6: bool,
        /// How many connections may wait, once it listens.
        backlog: Option<u32>,
    },
    /// A datagram socket, by its slot among them.
    Datagram {
        /// The slot.
        slot: u32,
    },
    /// A connection, by its slot among the flows. The slot is empty when the flow was reset.
    Flow {
        /// The slot.
        slot: u32,
        /// Counts the uses of the slot, so that a reset flow's descriptor does not reach its successor.
        stamp: u64,
    },
}

/// Flags of `fd_fdstat_set_flags`.
pub mod flags {
    /// Writes go to the end.
    pub const APPEND: u16 = 1;
    /// Written content is durable when a call returns. What a turn writes is as durable as the log in any case.
    pub const DSYNC: u16 = 2;
    /// Calls that would wait fail with `again`.
    pub const NONBLOCK: u16 = 4;
    /// Reads wait for what is written.
    pub const RSYNC: u16 = 8;
    /// As `DSYNC`, with attributes.
    pub const SYNC: u16 = 16;
    /// All of them.
    pub const ALL: u16 = 31;
}

/// An open descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What it stands for.
    pub object: Object,
    /// Its flags, as in [`flags`].
    pub flags: u16,
    /// WASI's base rights.
    pub rights: u64,
    /// WASI's inheriting rights.
    pub inheriting: u64,
    /// Nothing can be changed through it, whatever rights are claimed; so for what is opened through it.
    pub read_only: bool,
}

impl Descriptor {
    /// A descriptor with all rights that fit it and no flags.
    #[must_use]
    pub fn new(object: Object) -> Self {
        let (rights, inheriting) = rights::of(&object);
        Self { object, flags: 0, rights, inheriting, read_only: false }
    }

    /// Whether it may be used for this.
    ///
    /// # Errors
    /// `Badf` for reading or writing what was not opened for it, `Notcapable` for a right that was dropped.
    pub fn check(&self, needed: u64) -> Result<(), Errno> {
        match needed & !self.rights {
            0 => Ok(()),
            missing if missing & (rights::FD_READ | rights::FD_WRITE) != 0 => Err(Errno::Badf),
            _ => Err(Errno::Notcapable),
        }
    }

    /// Whether calls that would wait fail instead.
    #[must_use]
    pub fn nonblocking(&self) -> bool {
        self.flags & flags::NONBLOCK != 0
    }
}

/// The descriptor table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    slots: Slots<Descriptor>,
}

impl Descriptors {
    /// The descriptor `fd`.
    pub fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.slots.get(fd).ok_or(Errno::Badf)
    }

    /// The descriptor `fd`, to change.
    pub fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.slots.get_mut(fd).ok_or(Errno::Badf)
    }

    /// Opens the lowest free number; fails when there are `limit` descriptors.
    pub fn open(&mut self, descriptor: Descriptor, limit: u32) -> Result<u32, Errno> {
        self.has_room(limit)?;
        Ok(self.slots.insert(descriptor))
    }

    /// Whether one more can be opened.
    pub fn has_room(&self, limit: u32) -> Result<(), Errno> {
        if self.slots.len() >= limit { Err(Errno::Mfile) } else { Ok(()) }
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.slots.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes `fd` out of the table.
    pub fn close(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        self.slots.remove(fd).ok_or(Errno::Badf)
    }

    /// Puts `from` in the place of `to`; returns what `to` was.
    pub fn renumber(&mut self, from: u32, to: u32) -> Result<Option<Descriptor>, Errno> {
        self.get(to)?;
        if from == to {
            self.get(from)?;
            return Ok(None);
        }
        let moved = self.slots.remove(from).ok_or(Errno::Badf)?;
        Ok(self.slots.put(to, moved))
    }

    /// All descriptors, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Descriptor)> {
        self.slots.iter()
    }
}
