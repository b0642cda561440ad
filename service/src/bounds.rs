//! Every limit and every default of `service.toml`, in one place.
//!
//! The validation reads these, [`crate::reference()`] prints them, the tests try each of them at the limit and one
//! above. Nothing else in this crate has a number of its own.

use std::time::Duration;

use crate::quantity::ByteSize;

/// What a value may be, both ends included, and what it is when nothing is said.
#[derive(Clone, Copy, Debug)]
pub struct Bound<T> {
    /// The least that is allowed.
    pub min: T,
    /// What holds when the manifest is silent.
    pub default: T,
    /// The most that is allowed.
    pub max: T,
}

/// Seats of a service; odd.
pub const REPLICAS: Bound<u64> = Bound { min: 1, default: 3, max: 7 };
/// Guest linear memory; beyond the manifest's value `memory.grow` fails, on all replicas alike. The top is what 32
/// bits address.
pub const MEMORY: Bound<ByteSize> =
    Bound { min: ByteSize::kib(64), default: ByteSize::mib(256), max: ByteSize::gib(4) };
/// The writable layer over the bundle's files, held in memory.
pub const FILES: Bound<ByteSize> =
    Bound { min: ByteSize::bytes(0), default: ByteSize::mib(256), max: ByteSize::gib(16) };
/// Fuel of one turn: about one unit an instruction, about 10 s of work by default.
pub const FUEL_PER_TURN: Bound<u64> = Bound { min: 1_000_000, default: 10_000_000_000, max: 1_000_000_000_000_000 };
/// Open connections of the service.
pub const FLOWS: Bound<u64> = Bound { min: 1, default: 20_000, max: 1_000_000 };
/// Open connections from one client address.
pub const FLOWS_PER_CLIENT: Bound<u64> = Bound { min: 1, default: 20_000, max: 1_000_000 };
/// Open descriptors of the guest, sockets included.
pub const DESCRIPTORS: Bound<u64> = Bound { min: 16, default: 24_000, max: 1_100_000 };
/// Descriptors that every guest begins with: its standard streams, and its files.
pub const DESCRIPTORS_AT_START: u64 = 4;
/// Kept bytes of one direction of one flow.
pub const SOCKET_BUFFER: Bound<ByteSize> =
    Bound { min: ByteSize::kib(16), default: ByteSize::mib(1), max: ByteSize::mib(64) };
/// Kept bytes of all flows of the service.
pub const SOCKET_BUFFERS: Bound<ByteSize> =
    Bound { min: ByteSize::kib(32), default: ByteSize::mib(256), max: ByteSize::gib(64) };
/// How long a client may neither send nor take anything.
pub const IDLE: Bound<Duration> =
    Bound { min: Duration::from_secs(1), default: Duration::from_secs(600), max: Duration::from_secs(7 * 24 * 3600) };
/// Lines of standard output and error together, per second of log time; what is above is counted and dropped.
pub const LOG_LINES_PER_SECOND: Bound<u64> = Bound { min: 1, default: 1_000, max: 1_000_000 };
/// The history of a service whose guests cannot be saved in checkpoints; at the limit it takes no new work.
pub const HISTORY: Bound<ByteSize> =
    Bound { min: ByteSize::kib(64), default: ByteSize::gib(1), max: ByteSize::gib(1024) };
/// Outward connections, associations and look-ups that are under way at one time.
pub const OUTWARD: Bound<u64> = Bound { min: 0, default: 1_024, max: 65_536 };
/// Elements of all tables of the guest; beyond it `table.grow` fails, on all replicas alike.
pub const TABLES: Bound<u64> = Bound { min: 0, default: 1_000_000, max: 10_000_000 };
/// Files, folders and symbolic links that the guest makes, besides those of the bundle.
pub const INODES: Bound<u64> = Bound { min: 0, default: 100_000, max: 10_000_000 };
/// How long a client of a TCP port may be silent before it is asked whether it is there.
pub const KEEPALIVE: Bound<Duration> =
    Bound { min: Duration::from_secs(1), default: Duration::from_secs(60), max: Duration::from_secs(2 * 3600) };
/// How long a service may take from the start of its guest until it is ready.
pub const READY_TIMEOUT: Bound<Duration> =
    Bound { min: Duration::from_secs(1), default: Duration::from_secs(30), max: Duration::from_secs(3600) };
/// First pause before a restart, in log time; doubles with each restart.
pub const BACKOFF: Bound<Duration> =
    Bound { min: Duration::from_millis(1), default: Duration::from_millis(100), max: Duration::from_secs(3600) };
/// Longest pause before a restart.
pub const BACKOFF_MAX: Bound<Duration> =
    Bound { min: Duration::from_millis(1), default: Duration::from_secs(10), max: Duration::from_secs(24 * 3600) };

/// Instances of a stateless service that serve requests at once. The default lets one client, who leaves an eighth to
/// others, have a thousand requests in as many instances; the top is what a node has slots for.
pub const HTTP_INSTANCES: Bound<u64> = Bound { min: 1, default: 1_200, max: 2_048 };
/// What was allowed before: stored manifests that have more than now have the most.
pub const HTTP_INSTANCES_ONCE: u64 = 8_192;
/// Requests that one instance of a 0.3 component serves at once.
pub const HTTP_CONCURRENCY: Bound<u64> = Bound { min: 1, default: 16, max: 1_024 };
/// Requests that wait for an instance.
pub const HTTP_QUEUE: Bound<u64> = Bound { min: 0, default: 1_024, max: 65_536 };
/// How long one waits.
pub const HTTP_QUEUE_WAIT: Bound<Duration> =
    Bound { min: Duration::from_millis(1), default: Duration::from_secs(10), max: Duration::from_secs(300) };
/// Requests that an instance serves before it is dropped.
pub const HTTP_REUSE: Bound<u64> = Bound { min: 1, default: 1, max: 1_000_000 };
/// From when an instance takes a request to the head of its answer.
pub const HTTP_DEADLINE: Bound<Duration> =
    Bound { min: Duration::from_millis(1), default: Duration::from_secs(30), max: Duration::from_secs(3600) };
/// From when an instance takes a request to the end of its answer.
pub const HTTP_LIFETIME: Bound<Duration> = Bound {
    min: Duration::from_millis(1),
    default: Duration::from_secs(3600),
    max: Duration::from_secs(7 * 24 * 3600),
};
/// Processor time of a request, where it is limited.
pub const HTTP_CPU: Bound<Duration> =
    Bound { min: Duration::from_millis(2), default: Duration::from_secs(10), max: Duration::from_secs(3600) };
/// Bytes of a request's body.
pub const HTTP_REQUEST_BODY: Bound<ByteSize> =
    Bound { min: ByteSize::bytes(0), default: ByteSize::gib(1), max: ByteSize::gib(1024) };
/// Bytes of an answer's body.
pub const HTTP_RESPONSE_BODY: Bound<ByteSize> =
    Bound { min: ByteSize::bytes(0), default: ByteSize::gib(16), max: ByteSize::gib(1024) };

/// Routes of a service.
pub const ROUTES_MAX: usize = 64;
/// Methods of a route.
pub const ROUTE_METHODS_MAX: usize = 16;
/// Headers of a route.
pub const ROUTE_HEADERS_MAX: usize = 16;
/// Bytes of a route's host, path or rewrite, and of a destination.
pub const ROUTE_TEXT_BYTES_MAX: usize = 1_024;
/// Bytes of a method.
pub const METHOD_BYTES_MAX: usize = 32;
/// Faults of a manifest that are told.
pub const FAULTS_MAX: usize = 1000;
/// Bytes of `service.toml`.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the module.
pub const MODULE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of all bundled files.
pub const BUNDLE_FILES_BYTES_MAX: u64 = 1 << 30;
/// Bundled files.
pub const BUNDLE_FILES_MAX: usize = 10_000;
/// Characters of a name: a letter and 62 more.
pub const NAME_CHARS_MAX: usize = 63;
/// Ports of a service.
pub const PORTS_MAX: usize = 64;
/// Arguments of the guest.
pub const ARGS_MAX: usize = 1_024;
/// Variables in the guest's environment.
pub const ENV_MAX: usize = 1_024;
/// Bytes of all arguments and variables with their terminators, as the guest gets them.
pub const ARGS_AND_ENV_BYTES_MAX: usize = 256 << 10;
/// Entries of `[files]`.
pub const FILES_ENTRIES_MAX: usize = 1_024;
/// Bytes of a guest path.
pub const GUEST_PATH_BYTES_MAX: usize = 4_096;
/// Bytes of one name in it: no file system knows longer ones.
pub const GUEST_NAME_BYTES_MAX: usize = 255;
/// Bytes of a version.
pub const VERSION_BYTES_MAX: usize = 64;
/// Entries of `outbound`.
pub const OUTBOUND_MAX: usize = 256;
/// Bytes of a host name (RFC 1035).
pub const HOST_NAME_BYTES_MAX: usize = 253;
/// Bytes of one label of a host name (RFC 1035).
pub const HOST_LABEL_BYTES_MAX: usize = 63;
/// Addresses that the proxy listens on for one port.
pub const LISTEN_MAX: usize = 8;
/// Bytes of the path of a Unix socket, as the system takes it.
pub const UNIX_PATH_BYTES_MAX: usize = 107;
/// Ranges from which connections to a port begin with a header of the PROXY protocol.
pub const PROXY_PROTOCOL_FROM_MAX: usize = 64;
/// Bytes that a probe sends.
pub const PROBE_SEND_BYTES_MAX: usize = 4_096;
/// Bytes that a probe looks for.
pub const PROBE_EXPECT_BYTES_MAX: usize = 1_024;
