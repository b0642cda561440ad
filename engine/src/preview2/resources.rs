//! What a component has handles of, in a table whose numbers follow from its calls alone.
//!
//! Several resources may stand on one descriptor of the kernel: a socket, its two streams, pollables of each. The
//! descriptor is closed with the last of them, in whatever order they are dropped; standard streams and given
//! directories stay open.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Weak;

use refrain_kernel::descriptor::Object;
use refrain_kernel::slots::Slots;
use refrain_kernel::{Errno, Kernel};
use wasmtime::component::Resource;

use super::poll::MAX_POLLABLES;
use crate::host::GuestFault;

/// Resources that a component may have beside those that its descriptors take.
const SPARE: u32 = 1024;
/// Resources that a descriptor may take: a socket with its streams, and a pollable of each with one to spare.
const PER_DESCRIPTOR: u32 = 8;

/// What a pollable waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pollable {
    /// Nothing: it is always ready.
    Ready,
    /// A time of the guest's clock, in nanoseconds.
    Until(u64),
    /// Something to read.
    Read(u32),
    /// Room to write.
    Write(u32),
    /// What a stream socket does: a connection to be accepted, or to be made.
    Socket(u32),
    /// The answer to the look-up of this number.
    Answer(u64),
}

/// An `input-stream`.
#[derive(Debug)]
pub(crate) enum Input {
    /// Bytes as they come.
    Stream(u32),
    /// A file, from an offset of its own.
    File {
        /// Its descriptor.
        fd: u32,
        /// Where the next read begins.
        offset: u64,
    },
    /// What failed, and is closed since.
    Failed {
        /// What it stood on.
        fd: u32,
    },
}

/// An `output-stream`.
#[derive(Debug)]
pub(crate) enum Output {
    /// Bytes as they go.
    Stream(u32),
    /// A file.
    File {
        /// Its descriptor.
        fd: u32,
        /// Where the next write goes; at the end when there is none.
        offset: Option<u64>,
    },
    /// What failed, and is closed since.
    Failed {
        /// What it stood on.
        fd: u32,
    },
}

/// An `error`: what went wrong, and with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IoError {
    pub(crate) errno: Errno,
    pub(crate) is_file: bool,
}

/// A `descriptor`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File {
    pub(crate) fd: u32,
}

/// A `directory-entry-stream`.
#[derive(Debug)]
pub(crate) struct Entries {
    pub(crate) fd: u32,
    /// Where it goes on.
    pub(crate) cookie: u64,
}

/// A `network`: the one that there is.
#[derive(Debug)]
pub(crate) struct Network;

/// A `terminal-input`.
#[derive(Debug)]
pub(crate) struct TerminalInput;

/// A `terminal-output`.
#[derive(Debug)]
pub(crate) struct TerminalOutput;

/// Where a stream socket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TcpState {
    /// It has no address.
    Unbound,
    /// It has one, and `finish-bind` is to say so.
    Binding,
    /// It has one.
    Bound,
    /// It listens, and `finish-listen` is to say so.
    ListenStarted,
    /// It listens.
    Listening,
    /// It is being connected to this address.
    Connecting(SocketAddr),
    /// It is connected.
    Connected,
    /// Its connection came to nothing.
    Closed,
}

/// What is set on a stream socket. The kernel has no behaviour behind most of it: keep-alive and routes are the proxy's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpOptions {
    pub(crate) keep_alive: bool,
    pub(crate) keep_alive_idle_ns: u64,
    pub(crate) keep_alive_interval_ns: u64,
    pub(crate) keep_alive_count: u32,
    pub(crate) hop_limit: u8,
    pub(crate) receive_buffer_bytes: Option<u64>,
    pub(crate) send_buffer_bytes: Option<u64>,
    pub(crate) backlog: u32,
}

/// A `tcp-socket`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tcp {
    pub(crate) fd: u32,
    pub(crate) v6: bool,
    pub(crate) state: TcpState,
    /// The address that it was bound to. Every address is the guest's own, so the kernel keeps the port alone.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) options: TcpOptions,
}

/// Where a datagram socket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UdpState {
    /// It has no address.
    Unbound,
    /// It has one, and `finish-bind` is to say so.
    Binding,
    /// It has one.
    Bound,
}

/// A `udp-socket`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Udp {
    pub(crate) fd: u32,
    pub(crate) v6: bool,
    pub(crate) state: UdpState,
    pub(crate) ip: Option<IpAddr>,
    /// To whom its streams go.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) hop_limit: u8,
    pub(crate) receive_buffer_bytes: Option<u64>,
    pub(crate) send_buffer_bytes: Option<u64>,
}

/// An `incoming-datagram-stream`.
#[derive(Debug)]
pub(crate) struct IncomingDatagrams {
    pub(crate) fd: u32,
}

/// An `outgoing-datagram-stream`.
#[derive(Debug)]
pub(crate) struct OutgoingDatagrams {
    pub(crate) fd: u32,
    pub(crate) v6: bool,
    /// To whom alone it goes.
    pub(crate) peer: Option<SocketAddr>,
    /// How many datagrams the next call may send.
    pub(crate) permitted: u64,
}

/// A `resolve-address-stream`.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// It is this name's answer that is awaited.
    Asked {
        /// The name.
        name: String,
        /// Which look-up of the component it is.
        number: u64,
    },
    /// What is left of the answer, last first.
    Answered(Vec<IpAddr>),
    /// It came to nothing.
    Failed(Errno),
}

/// A stream of 0.3, whose handles are wasmtime's own: it keeps its descriptor open.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) fd: u32,
}

/// A `descriptor` of 0.3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) fd: u32,
    /// It was opened to change what is in a directory.
    pub(crate) mutates: bool,
}

/// A `tcp-socket` of 0.3.
#[derive(Debug)]
pub(crate) struct StreamSocket {
    pub(crate) tcp: Tcp,
    /// `send` was called.
    pub(crate) sends: bool,
    /// `receive` was called.
    pub(crate) receives: bool,
}

/// One resource.
#[derive(Debug)]
enum Entry {
    Pollable(Pollable),
    Input(Input),
    Output(Output),
    IoError(IoError),
    File(File),
    Entries(Entries),
    Network(Network),
    TerminalInput(TerminalInput),
    TerminalOutput(TerminalOutput),
    Tcp(Tcp),
    Udp(Udp),
    IncomingDatagrams(IncomingDatagrams),
    OutgoingDatagrams(OutgoingDatagrams),
    Lookup(Lookup),
    Held(Held),
    Node(Node),
    StreamSocket(StreamSocket),
}

/// A kind of resource.
pub(crate) trait Kind: Sized + 'static {
    fn into_entry(self) -> EntryOf;
    fn of(entry: &EntryOf) -> Option<&Self>;
    fn of_mut(entry: &mut EntryOf) -> Option<&mut Self>;
}

/// An entry of the table, for nobody to look into.
#[derive(Debug)]
pub(crate) struct EntryOf(Entry);

macro_rules! kinds {
    ($($kind:ident)*) => {$(
        impl Kind for $kind {
            fn into_entry(self) -> EntryOf {
                EntryOf(Entry::$kind(self))
            }

            fn of(entry: &EntryOf) -> Option<&Self> {
                match &entry.0 {
                    Entry::$kind(value) => Some(value),
                    _ => None,
                }
            }

            fn of_mut(entry: &mut EntryOf) -> Option<&mut Self> {
                match &mut entry.0 {
                    Entry::$kind(value) => Some(value),
                    _ => None,
                }
            }
        }
    )*};
}

kinds! {
    Pollable Input Output IoError File Entries Network TerminalInput TerminalOutput Tcp Udp IncomingDatagrams
    OutgoingDatagrams Lookup Held Node StreamSocket
}

impl Entry {
    /// The descriptor that it stands on.
    fn descriptor(&self) -> Option<u32> {
        match *self {
            Self::Pollable(Pollable::Read(fd) | Pollable::Write(fd) | Pollable::Socket(fd))
            | Self::Input(Input::Stream(fd) | Input::File { fd, .. } | Input::Failed { fd })
            | Self::Output(Output::Stream(fd) | Output::File { fd, .. } | Output::Failed { fd })
            | Self::File(File { fd })
            | Self::Entries(Entries { fd, .. })
            | Self::Tcp(Tcp { fd, .. })
            | Self::Held(Held { fd })
            | Self::Node(Node { fd, .. })
            | Self::StreamSocket(StreamSocket { tcp: Tcp { fd, .. }, .. })
            | Self::Udp(Udp { fd, .. })
            | Self::IncomingDatagrams(IncomingDatagrams { fd })
            | Self::OutgoingDatagrams(OutgoingDatagrams { fd, .. }) => Some(fd),
            Self::Pollable(Pollable::Ready | Pollable::Until(_) | Pollable::Answer(_))
            | Self::IoError(_)
            | Self::Network(_)
            | Self::TerminalInput(_)
            | Self::TerminalOutput(_)
            | Self::Lookup(_) => None,
        }
    }
}

/// All resources of a component.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    /// The look-up of 0.3 that the kernel has, as long as somebody waits for it.
    pub(crate) looked_up: Weak<()>,
    entries: Slots<EntryOf>,
    /// How many resources stand on each descriptor.
    held: BTreeMap<u32, u32>,
    /// The look-up whose answer the kernel will give next.
    pub(crate) asked: Option<u32>,
    /// Look-ups so far.
    pub(crate) lookups: u64,
    /// What the insecure seed is, once it was asked.
    pub(crate) insecure_seed: Option<(u64, u64)>,
}

/// How many resources a guest with so many descriptors may have.
fn max_resources(descriptors: u32) -> u32 {
    descriptors.saturating_mul(PER_DESCRIPTOR).saturating_add(SPARE)
}

/// How many handles wasmtime may count: those of all resources, those lent to a call once more, and as many of the guest's
/// own resources as it allows by itself. So it never ends a guest before its own limits do.
pub(crate) fn max_handles(descriptors: u32) -> usize {
    const OF_GUEST: usize = 100_000;
    max_resources(descriptors) as usize + MAX_POLLABLES + OF_GUEST
}

impl Resources {
    /// Takes a resource in.
    ///
    /// # Errors
    /// Ends the guest when it has too many.
    pub(crate) fn add<K: Kind>(&mut self, kernel: &Kernel, value: K) -> wasmtime::Result<Resource<K>> {
        let limit = max_resources(kernel.config().max_descriptors);
        if self.entries.len() >= limit {
            return Err(fault(format!("has more than {limit} handles of streams, sockets and the like")));
        }
        let entry = value.into_entry();
        if let Some(fd) = entry.0.descriptor() {
            *self.held.entry(fd).or_default() += 1;
        }
        Ok(Resource::new_own(self.entries.insert(entry)))
    }

    /// A resource. The component model has checked that the handle is one of this kind.
    pub(crate) fn get<K: Kind>(&self, handle: &Resource<K>) -> wasmtime::Result<&K> {
        self.entries.get(handle.rep()).and_then(K::of).ok_or_else(gone)
    }

    /// A resource, to change it.
    pub(crate) fn get_mut<K: Kind>(&mut self, handle: &Resource<K>) -> wasmtime::Result<&mut K> {
        self.entries.get_mut(handle.rep()).and_then(K::of_mut).ok_or_else(gone)
    }

    /// Whether it is the answer to this look-up that the kernel will give next.
    pub(crate) fn asks(&self, number: u64) -> bool {
        let asked = self.asked.and_then(|rep| self.entries.get(rep)).and_then(Lookup::of);
        matches!(asked, Some(Lookup::Asked { number: asked, .. }) if *asked == number)
    }

    /// The guest drops a resource: a descriptor that nothing else stands on is closed.
    pub(crate) fn drop(&mut self, kernel: &mut Kernel, rep: u32) -> wasmtime::Result<()> {
        let entry = self.entries.remove(rep).ok_or_else(gone)?;
        if self.asked == Some(rep) {
            self.asked = None;
        }
        let Some(fd) = entry.0.descriptor() else { return Ok(()) };
        let count = self.held.get_mut(&fd).expect("whatever stands on a descriptor is counted");
        *count -= 1;
        if *count > 0 {
            return Ok(());
        }
        self.held.remove(&fd);
        let is_given = kernel.descriptor(fd).is_ok_and(|descriptor| {
            matches!(descriptor.object, Object::Input | Object::Output(_) | Object::Directory { preopen: Some(_), .. })
        });
        if !is_given {
            kernel.close(fd).expect("a descriptor is open as long as something stands on it");
        }
        Ok(())
    }

    /// Hashes everything. What was dropped leaves no trace; a module's host has nothing, and hashes nothing.
    pub(crate) fn digest_into(&self, hasher: &mut blake3::Hasher) {
        for (rep, entry) in self.entries.iter() {
            hasher.update(&rep.to_le_bytes());
            hasher.update(format!("{entry:?}").as_bytes());
        }
        if let Some(seed) = self.insecure_seed {
            hasher.update(format!("{seed:?}").as_bytes());
        }
    }
}

fn gone() -> wasmtime::Error {
    fault("uses a handle of something that is gone".to_owned())
}

/// What ends the guest: it did what an interface forbids.
pub(crate) fn fault(words: String) -> wasmtime::Error {
    wasmtime::Error::new(GuestFault(words))
}
