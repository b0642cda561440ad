//! Values that cross the interfaces of 0.3 and are others than those of 0.2: names, order and cases are the WIT files'.

use refrain_kernel::Errno;
use refrain_kernel::fs::{FileKind, FileStat};
use wasmtime::component::{ComponentType, Lift, Lower};

use crate::preview2::links::Weight;

/// `wasi:clocks/system-clock.instant`.
#[derive(Debug, Clone, Copy, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct Instant {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Instant {
    pub(crate) fn from_ns(ns: u64) -> Self {
        let seconds = i64::try_from(ns / SECOND_NS).expect("it is a ten-billionth of what fits");
        Self { seconds, nanoseconds: (ns % SECOND_NS) as u32 }
    }

    /// None beyond what the kernel's clock reaches.
    pub(crate) fn to_ns(self) -> Option<u64> {
        let seconds = u64::try_from(self.seconds).ok()?;
        seconds.checked_mul(SECOND_NS)?.checked_add(u64::from(self.nanoseconds))
    }
}

/// `wasi:cli/types.error-code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower, Lift)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum StreamError {
    #[component(name = "io")]
    Io,
    #[component(name = "illegal-byte-sequence")]
    IllegalByteSequence,
    #[component(name = "pipe")]
    Pipe,
}

impl From<Errno> for StreamError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::Pipe => Self::Pipe,
            Errno::Ilseq => Self::IllegalByteSequence,
            _ => Self::Io,
        }
    }
}

/// `wasi:filesystem/types.descriptor-type`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower, Lift)]
#[component(variant)]
#[allow(dead_code, reason = "lifted from the guest, or never said here")]
pub(crate) enum DescriptorType {
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
    #[component(name = "other")]
    Other(Option<String>),
}

impl From<FileKind> for DescriptorType {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::Directory => Self::Directory,
            FileKind::File => Self::RegularFile,
            FileKind::Symlink => Self::SymbolicLink,
        }
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
    pub(crate) data_access_timestamp: Option<Instant>,
    #[component(name = "data-modification-timestamp")]
    pub(crate) data_modification_timestamp: Option<Instant>,
    #[component(name = "status-change-timestamp")]
    pub(crate) status_change_timestamp: Option<Instant>,
}

impl From<&FileStat> for DescriptorStat {
    fn from(stat: &FileStat) -> Self {
        let at = |ns| Some(Instant::from_ns(ns));
        Self {
            kind: stat.kind.into(),
            link_count: u64::from(stat.links),
            size: stat.size_bytes,
            data_access_timestamp: at(stat.atime_ns),
            data_modification_timestamp: at(stat.mtime_ns),
            status_change_timestamp: at(stat.ctime_ns),
        }
    }
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
    Timestamp(Instant),
}

impl Weight for NewTimestamp {}

/// `wasi:filesystem/types.directory-entry`.
#[derive(Debug, Clone, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct DirectoryEntry {
    #[component(name = "type")]
    pub(crate) kind: DescriptorType,
    pub(crate) name: String,
}

/// A variant of an interface whose cases stand for the kernel's errors; `other` is what stands for all that have none.
macro_rules! error_code {
    ($(#[$doc:meta])* $name:ident: $($(#[$case:meta])* $variant:ident = $($errno:ident)|*;)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower, Lift)]
        #[component(variant)]
        #[allow(dead_code, reason = "cases that nothing here fails with are part of the interface")]
        pub(crate) enum $name {
            $($(#[$case])* $variant,)*
            #[component(name = "other")]
            Other(Option<String>),
        }

        impl From<Errno> for $name {
            fn from(errno: Errno) -> Self {
                match errno {
                    $($(Errno::$errno => Self::$variant,)*)*
                    _ => Self::Other(Some(errno.message().to_owned())),
                }
            }
        }
    };
}

error_code! {
    /// `wasi:filesystem/types.error-code`.
    FileError:
    #[component(name = "access")] Access = Acces;
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
    /// `wasi:sockets/types.error-code`.
    SocketError:
    #[component(name = "access-denied")] AccessDenied = Acces | Perm | Notcapable;
    #[component(name = "not-supported")] NotSupported = Notsup | Afnosupport | Protonosupport | Noprotoopt;
    #[component(name = "invalid-argument")] InvalidArgument = Inval | Ilseq;
    #[component(name = "out-of-memory")] OutOfMemory = Nomem | Nobufs | Mfile | Nfile;
    #[component(name = "timeout")] Timeout = Timedout;
    #[component(name = "invalid-state")] InvalidState = Notconn | Isconn | Destaddrreq | Notsock | Already;
    #[component(name = "address-not-bindable")] AddressNotBindable = Addrnotavail;
    #[component(name = "address-in-use")] AddressInUse = Addrinuse;
    #[component(name = "remote-unreachable")] RemoteUnreachable = Hostunreach | Netunreach | Netdown;
    #[component(name = "connection-refused")] ConnectionRefused = Connrefused;
    #[component(name = "connection-broken")] ConnectionBroken = Pipe;
    #[component(name = "connection-reset")] ConnectionReset = Connreset;
    #[component(name = "connection-aborted")] ConnectionAborted = Connaborted;
    #[component(name = "datagram-too-large")] DatagramTooLarge = Msgsize;
}

error_code! {
    /// `wasi:sockets/ip-name-lookup.error-code`.
    LookupError:
    #[component(name = "access-denied")] AccessDenied = Acces | Perm | Notcapable;
    #[component(name = "invalid-argument")] InvalidArgument = Inval | Ilseq;
    #[component(name = "name-unresolvable")] NameUnresolvable = Noent;
    #[component(name = "temporary-resolver-failure")] TemporaryResolverFailure = Again;
    #[component(name = "permanent-resolver-failure")] PermanentResolverFailure = Io;
}
