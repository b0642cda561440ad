//! A program that runs by itself, outside of any group: the streams and directories that it is given besides.
//!
//! Its standard input is a queue that its driver fills between turns, its output is bytes that the driver takes as they
//! were written, and its directories have the names that it is started with. Nothing of this is in a snapshot: such a
//! program is in no checkpoint.

use std::collections::{BTreeMap, VecDeque};

use crate::Stop;
use crate::descriptor::{Descriptor, Object};
use crate::errno::Errno;
use crate::fs::InodeId;
use crate::kernel::Kernel;
use crate::poll::{Interest, Subscription};
use crate::rights;
use crate::stdio::OutputStream;

/// Output that waits to be taken, in bytes of both streams; a write beyond it waits until the driver has taken some.
pub const MAX_OUTPUT_BYTES: usize = 1 << 20;

/// What a line of the log costs besides its bytes, in the kernel's units of work.
const LINE_WORK: u64 = 64;

/// A directory that the program is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preopen {
    /// The program's name for it.
    pub name: Vec<u8>,
    /// Where it is among the files.
    pub inode: InodeId,
    /// Whether nothing in it can be changed.
    pub read_only: bool,
}

/// What a program that runs by itself has besides.
#[derive(Debug, Default)]
pub struct Solo {
    /// In the order of their descriptors.
    preopens: Vec<Preopen>,
    /// Which of input, output and error output are terminals.
    terminals: [bool; 3],
    input: VecDeque<u8>,
    input_ended: bool,
    input_wanted: bool,
    output: Vec<(OutputStream, Vec<u8>)>,
    output_bytes: usize,
    closed: [bool; 2],
    /// The ends of connections of the program with itself, by their slots among the flows.
    pub(crate) twins: BTreeMap<u32, u32>,
}

impl Solo {
    /// A program with these directories, in the order of their descriptors; `terminals` says which of input, output and
    /// error output are some.
    #[must_use]
    pub fn new(preopens: Vec<Preopen>, terminals: [bool; 3]) -> Self {
        Self { preopens, terminals, ..Self::default() }
    }

    /// The next bytes of standard input, to be given when some are wanted.
    pub fn give_input(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
        self.input_wanted = false;
    }

    /// Standard input has ended.
    pub fn end_input(&mut self) {
        self.input_ended = true;
        self.input_wanted = false;
    }

    /// Whether the program waits for input, or has looked for some, and there is none. Until then the driver need read
    /// nothing that others may want.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.input_wanted
    }

    /// What was written since this was called last, in order.
    pub fn take_output(&mut self) -> Vec<(OutputStream, Vec<u8>)> {
        self.output_bytes = 0;
        std::mem::take(&mut self.output)
    }

    /// Nobody reads this stream any more: writes to it fail.
    pub fn close_output(&mut self, stream: OutputStream) {
        self.closed[stream as usize - 1] = true;
    }

    /// The descriptors of its directories.
    pub(crate) fn descriptors(&self) -> Vec<Descriptor> {
        let descriptor = |preopen: &Preopen| {
            let object = Object::Directory { inode: preopen.inode, preopen: Some(preopen.name.clone()) };
            let all = Descriptor::new(object);
            let (rights, inheriting) =
                if preopen.read_only { rights::read_only() } else { (all.rights, all.inheriting) };
            Descriptor { rights, inheriting, read_only: preopen.read_only, ..all }
        };
        self.preopens.iter().map(descriptor).collect()
    }

    /// Bytes to read, and whether there will be no more.
    pub(crate) fn readable(&self) -> (u64, bool) {
        (self.input.len() as u64, self.input_ended)
    }

    /// Bytes that a stream takes now; none when nobody reads it any more.
    pub(crate) fn output_room(&self, stream: OutputStream) -> Option<usize> {
        (!self.closed[stream as usize - 1]).then(|| MAX_OUTPUT_BYTES - self.output_bytes)
    }

    fn push_output(&mut self, stream: OutputStream, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(MAX_OUTPUT_BYTES - self.output_bytes);
        self.output_bytes += taken;
        match self.output.last_mut() {
            Some((last, before)) if *last == stream => before.extend_from_slice(&bytes[..taken]),
            _ => self.output.push((stream, bytes[..taken].to_vec())),
        }
        taken
    }
}

impl Kernel {
    /// The program runs by itself, with these streams and directories. Before its first turn.
    pub fn run_solo(&mut self, solo: Solo) {
        self.solo = Some(solo);
    }

    /// What it has besides, when it runs by itself.
    pub fn solo(&mut self) -> Option<&mut Solo> {
        self.solo.as_mut()
    }

    /// Whether a socket may be bound to a port that listens already: one that was passed to a program that runs by itself and
    /// makes its sockets by itself, too.
    pub(crate) fn may_share(&self, port: u16) -> bool {
        self.solo.is_some() && self.config.ports.iter().any(|passed| passed.pass && passed.port == port)
    }

    /// Whether a standard stream is to look like a terminal. Those of a service are: what it writes is told by lines.
    #[must_use]
    pub fn is_terminal(&self, object: &Object) -> bool {
        let Some(solo) = &self.solo else { return true };
        match object {
            Object::Input => solo.terminals[0],
            Object::Output(stream) => solo.terminals[*stream as usize],
            _ => false,
        }
    }

    /// Reads standard input, which in a service is always at its end.
    pub(crate) fn read_input(&mut self, fd: u32, out: &mut [u8]) -> Result<usize, Stop> {
        let nonblocking = self.tables.descriptors.get(fd)?.nonblocking();
        let Some(solo) = &mut self.solo else { return Ok(0) };
        if out.is_empty() || (solo.input.is_empty() && solo.input_ended) {
            return Ok(0);
        }
        if solo.input.is_empty() {
            solo.input_wanted = true;
            return Err(self.would_wait(nonblocking));
        }
        let read = out.len().min(solo.input.len());
        for (to, byte) in out.iter_mut().zip(solo.input.drain(..read)) {
            *to = byte;
        }
        Ok(read)
    }

    /// Writes to a standard stream: lines of a log in a service, bytes as they are otherwise.
    pub(crate) fn write_output(&mut self, fd: u32, stream: OutputStream, bytes: &[u8]) -> Result<usize, Stop> {
        let nonblocking = self.tables.descriptors.get(fd)?.nonblocking();
        let Some(solo) = &mut self.solo else {
            let (now_ns, limit) = (self.tables.clock.peek_ns(), self.config.log_lines_per_second);
            let lines = self.tables.output.write(stream, bytes, now_ns, limit, &mut self.effects);
            self.add_work(LINE_WORK * lines);
            return Ok(bytes.len());
        };
        if solo.closed[stream as usize - 1] {
            return Err(Errno::Pipe.into());
        }
        if bytes.is_empty() || solo.output_bytes < MAX_OUTPUT_BYTES {
            return Ok(solo.push_output(stream, bytes));
        }
        // The driver takes the output at the end of this turn at the latest, and begins the next at once.
        self.wait_for_next_turn();
        Err(if nonblocking { Errno::Again.into() } else { Stop::Block })
    }

    /// Notes that a poll looked for input that is not there.
    pub(crate) fn note_wanted_input(&mut self, subscriptions: &[Subscription]) {
        let Some(solo) = &mut self.solo else { return };
        let is_input = |fd: u32| {
            self.tables.descriptors.get(fd).is_ok_and(|descriptor| matches!(descriptor.object, Object::Input))
        };
        let looked = |subscription: &Subscription| matches!(subscription.interest, Interest::Read(fd) if is_input(fd));
        if solo.input.is_empty() && !solo.input_ended && subscriptions.iter().any(looked) {
            solo.input_wanted = true;
        }
    }
}
