//! Values that cross the interfaces, as the WIT files have them: names, order and cases are theirs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use refrain_kernel::Errno;
use wasmtime::component::{ComponentType, Lift, Lower, Resource, flags};

use super::resources::IoError;

/// `wasi:io/streams.stream-error`.
#[derive(Debug, ComponentType, Lower, Lift)]
#[component(variant)]
pub(crate) enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

/// `wasi:clocks/wall-clock.datetime`.
#[derive(Debug, Clone, Copy, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct Datetime {
    pub(crate) seconds: u64,
    pub(crate) nanoseconds: u32,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Datetime {
    pub(crate) fn from_ns(ns: u64) -> Self {
        Self { seconds: ns / SECOND_NS, nanoseconds: (ns % SECOND_NS) as u32 }
    }

    /// None beyond what the kernel's clock reaches.
    pub(crate) fn to_ns(self) -> Option<u64> {
        self.seconds.checked_mul(SECOND_NS)?.checked_add(u64::from(self.nanoseconds))
    }
}

/// `wasi:filesystem/types.descriptor-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "lifted from the guest, or never said here")]
pub(crate) enum DescriptorType {
    #[component(name = "unknown")]
    Unknown,
    #[component(name = "block-device")]
    BlockDevice,
    #[component(name = "character-device")]
    CharacterDevice,
    #[component(name = "directory")]
    Directory,
    #[component(name = "fifo")]
    Fifo,
    #[component(name = "symbolic-link")]
    SymbolicLink,
    #[component(name = "regular-file")]
    RegularFile,
    #[component(name = "socket")]
    Socket,
}

// `wasi:filesystem/types.descriptor-flags`.
flags! {
    DescriptorFlags {
        #[component(name = "read")]
        const READ;
        #[component(name = "write")]
        const WRITE;
        #[component(name = "file-integrity-sync")]
        const FILE_INTEGRITY_SYNC;
        #[component(name = "data-integrity-sync")]
        const DATA_INTEGRITY_SYNC;
        #[component(name = "requested-write-sync")]
        const REQUESTED_WRITE_SYNC;
        #[component(name = "mutate-directory")]
        const MUTATE_DIRECTORY;
    }
}

// `wasi:filesystem/types.path-flags`.
flags! {
    PathFlags {
        #[component(name = "symlink-follow")]
        const SYMLINK_FOLLOW;
    }
}

// `wasi:filesystem/types.open-flags`.
flags! {
    OpenAtFlags {
        #[component(name = "create")]
        const CREATE;
        #[component(name = "directory")]
        const DIRECTORY;
        #[component(name = "exclusive")]
        const EXCLUSIVE;
        #[component(name = "truncate")]
        const TRUNCATE;
    }
}

/// `wasi:filesystem/types.descriptor-stat`.
#[derive(Debug, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct DescriptorStat {
    #[component(name = "type")]
    pub(crate) kind: DescriptorType,
    #[component(name = "link-count")]
    pub(crate) link_count: u64,
    pub(crate) size: u64,
    #[component(name = "data-access-timestamp")]
    pub(crate) data_access_timestamp: Option<Datetime>,
    #[component(name = "data-modification-timestamp")]
    pub(crate) data_modification_timestamp: Option<Datetime>,
    #[component(name = "status-change-timestamp")]
    pub(crate) status_change_timestamp: Option<Datetime>,
}

/// `wasi:filesystem/types.new-timestamp`.
#[derive(Debug, Clone, Copy, ComponentType, Lower, Lift)]
#[component(variant)]
pub(crate) enum NewTimestamp {
    #[component(name = "no-change")]
    NoChange,
    #[component(name = "now")]
    Now,
    #[component(name = "timestamp")]
    Timestamp(Datetime),
}

/// `wasi:filesystem/types.directory-entry`.
#[derive(Debug, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct DirectoryEntry {
    #[component(name = "type")]
    pub(crate) kind: DescriptorType,
    pub(crate) name: String,
}

/// `wasi:filesystem/types.advice`.
#[derive(Debug, Clone, Copy, ComponentType, Lower, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "lifted from the guest, or never said here")]
pub(crate) enum Advice {
    #[component(name = "normal")]
    Normal,
    #[component(name = "sequential")]
    Sequential,
    #[component(name = "random")]
    Random,
    #[component(name = "will-need")]
    WillNeed,
    #[component(name = "dont-need")]
    DontNeed,
    #[component(name = "no-reuse")]
    NoReuse,
}

/// `wasi:filesystem/types.metadata-hash-value`.
#[derive(Debug, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct MetadataHash {
    pub(crate) lower: u64,
    pub(crate) upper: u64,
}

/// An enumeration of an interface whose cases stand for the kernel's errors; the first is what stands for all others.
macro_rules! error_code {
    ($(#[$doc:meta])* $name:ident, $other:ident: $($(#[$case:meta])* $variant:ident = $($errno:ident)|*;)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower, Lift)]
        #[component(enum)]
        #[repr(u8)]
        #[allow(dead_code, reason = "cases that nothing here fails with are part of the interface")]
        pub(crate) enum $name {
            $($(#[$case])* $variant,)*
        }

        impl From<Errno> for $name {
            fn from(errno: Errno) -> Self {
                match errno {
                    $($(Errno::$errno => Self::$variant,)*)*
                    _ => Self::$other,
                }
            }
        }
    };
}

error_code! {
    /// `wasi:filesystem/types.error-code`.
    FileError, Io:
    #[component(name = "access")] Access = Acces;
    #[component(name = "would-block")] WouldBlock = Again;
    #[component(name = "already")] Already = Already;
    #[component(name = "bad-descriptor")] BadDescriptor = Badf;
    #[component(name = "busy")] Busy = Busy;
    #[component(name = "deadlock")] Deadlock = Deadlk;
    #[component(name = "quota")] Quota = Dquot;
    #[component(name = "exist")] Exist = Exist;
    #[component(name = "file-too-large")] FileTooLarge = Fbig;
    #[component(name = "illegal-byte-sequence")] IllegalByteSequence = Ilseq;
    #[component(name = "in-progress")] InProgress = Inprogress;
    #[component(name = "interrupted")] Interrupted = Intr;
    #[component(name = "invalid")] Invalid = Inval;
    #[component(name = "io")] Io = Io;
    #[component(name = "is-directory")] IsDirectory = Isdir;
    #[component(name = "loop")] Loop = Loop;
    #[component(name = "too-many-links")] TooManyLinks = Mlink;
    #[component(name = "message-size")] MessageSize = Msgsize;
    #[component(name = "name-too-long")] NameTooLong = Nametoolong;
    #[component(name = "no-device")] NoDevice = Nodev;
    #[component(name = "no-entry")] NoEntry = Noent;
    #[component(name = "no-lock")] NoLock = Nolck;
    #[component(name = "insufficient-memory")] InsufficientMemory = Nomem | Mfile | Nfile;
    #[component(name = "insufficient-space")] InsufficientSpace = Nospc;
    #[component(name = "not-directory")] NotDirectory = Notdir;
    #[component(name = "not-empty")] NotEmpty = Notempty;
    #[component(name = "not-recoverable")] NotRecoverable = Notrecoverable;
    #[component(name = "unsupported")] Unsupported = Notsup | Nosys;
    #[component(name = "no-tty")] NoTty = Notty;
    #[component(name = "no-such-device")] NoSuchDevice = Nxio;
    #[component(name = "overflow")] Overflow = Overflow;
    #[component(name = "not-permitted")] NotPermitted = Perm | Notcapable;
    #[component(name = "pipe")] Pipe = Pipe;
    #[component(name = "read-only")] ReadOnly = Rofs;
    #[component(name = "invalid-seek")] InvalidSeek = Spipe;
    #[component(name = "text-file-busy")] TextFileBusy = Txtbsy;
    #[component(name = "cross-device")] CrossDevice = Xdev;
}

error_code! {
    /// `wasi:sockets/network.error-code`.
    SocketError, Unknown:
    #[component(name = "unknown")] Unknown = Io;
    #[component(name = "access-denied")] AccessDenied = Acces | Perm | Notcapable;
    #[component(name = "not-supported")] NotSupported = Notsup | Afnosupport | Protonosupport | Noprotoopt;
    #[component(name = "invalid-argument")] InvalidArgument = Inval | Ilseq;
    #[component(name = "out-of-memory")] OutOfMemory = Nomem | Nobufs;
    #[component(name = "timeout")] Timeout = Timedout;
    #[component(name = "concurrency-conflict")] ConcurrencyConflict = Already;
    #[component(name = "not-in-progress")] NotInProgress = ;
    #[component(name = "would-block")] WouldBlock = Again | Inprogress;
    #[component(name = "invalid-state")] InvalidState = Notconn | Isconn | Destaddrreq | Notsock;
    #[component(name = "new-socket-limit")] NewSocketLimit = Mfile | Nfile;
    #[component(name = "address-not-bindable")] AddressNotBindable = Addrnotavail;
    #[component(name = "address-in-use")] AddressInUse = Addrinuse;
    #[component(name = "remote-unreachable")] RemoteUnreachable = Hostunreach | Netunreach | Netdown;
    #[component(name = "connection-refused")] ConnectionRefused = Connrefused;
    #[component(name = "connection-reset")] ConnectionReset = Connreset | Pipe;
    #[component(name = "connection-aborted")] ConnectionAborted = Connaborted;
    #[component(name = "datagram-too-large")] DatagramTooLarge = Msgsize;
    #[component(name = "name-unresolvable")] NameUnresolvable = Noent;
    #[component(name = "temporary-resolver-failure")] TemporaryResolverFailure = ;
    #[component(name = "permanent-resolver-failure")] PermanentResolverFailure = ;
}

/// `wasi:sockets/network.ip-address-family`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower, Lift)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum IpAddressFamily {
    #[component(name = "ipv4")]
    Ipv4,
    #[component(name = "ipv6")]
    Ipv6,
}

type Ipv4Bytes = (u8, u8, u8, u8);
type Ipv6Words = (u16, u16, u16, u16, u16, u16, u16, u16);

/// `wasi:sockets/network.ip-address`.
#[derive(Debug, Clone, Copy, ComponentType, Lower, Lift)]
#[component(variant)]
pub(crate) enum IpAddress {
    #[component(name = "ipv4")]
    Ipv4(Ipv4Bytes),
    #[component(name = "ipv6")]
    Ipv6(Ipv6Words),
}

/// `wasi:sockets/network.ipv4-socket-address`.
#[derive(Debug, Clone, Copy, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct Ipv4SocketAddress {
    pub(crate) port: u16,
    pub(crate) address: Ipv4Bytes,
}

/// `wasi:sockets/network.ipv6-socket-address`.
#[derive(Debug, Clone, Copy, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct Ipv6SocketAddress {
    pub(crate) port: u16,
    #[component(name = "flow-info")]
    pub(crate) flow_info: u32,
    pub(crate) address: Ipv6Words,
    #[component(name = "scope-id")]
    pub(crate) scope_id: u32,
}

/// `wasi:sockets/network.ip-socket-address`.
#[derive(Debug, Clone, Copy, ComponentType, Lower, Lift)]
#[component(variant)]
pub(crate) enum IpSocketAddress {
    #[component(name = "ipv4")]
    Ipv4(Ipv4SocketAddress),
    #[component(name = "ipv6")]
    Ipv6(Ipv6SocketAddress),
}

/// `wasi:sockets/tcp.shutdown-type`.
#[derive(Debug, Clone, Copy, ComponentType, Lower, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "lifted from the guest, or never said here")]
pub(crate) enum ShutdownType {
    #[component(name = "receive")]
    Receive,
    #[component(name = "send")]
    Send,
    #[component(name = "both")]
    Both,
}

/// `wasi:sockets/udp.incoming-datagram`.
#[derive(Debug, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct IncomingDatagram {
    pub(crate) data: Vec<u8>,
    #[component(name = "remote-address")]
    pub(crate) remote_address: IpSocketAddress,
}

/// `wasi:sockets/udp.outgoing-datagram`.
#[derive(Debug, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct OutgoingDatagram {
    pub(crate) data: Vec<u8>,
    #[component(name = "remote-address")]
    pub(crate) remote_address: Option<IpSocketAddress>,
}

impl From<IpAddr> for IpAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4(bytes(address)),
            IpAddr::V6(address) => Self::Ipv6(segments(address)),
        }
    }
}

impl From<SocketAddr> for IpSocketAddress {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => {
                Self::Ipv4(Ipv4SocketAddress { port: address.port(), address: bytes(*address.ip()) })
            }
            SocketAddr::V6(address) => Self::Ipv6(Ipv6SocketAddress {
                port: address.port(),
                flow_info: address.flowinfo(),
                address: segments(*address.ip()),
                scope_id: address.scope_id(),
            }),
        }
    }
}

impl From<IpSocketAddress> for SocketAddr {
    fn from(address: IpSocketAddress) -> Self {
        match address {
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) }) => {
                Self::V4(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
            }
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info, address, scope_id }) => {
                let (a, b, c, d, e, f, g, h) = address;
                Self::V6(SocketAddrV6::new(Ipv6Addr::new(a, b, c, d, e, f, g, h), port, flow_info, scope_id))
            }
        }
    }
}

fn bytes(address: Ipv4Addr) -> Ipv4Bytes {
    let [a, b, c, d] = address.octets();
    (a, b, c, d)
}

fn segments(address: Ipv6Addr) -> Ipv6Words {
    let [a, b, c, d, e, f, g, h] = address.segments();
    (a, b, c, d, e, f, g, h)
}
