//! A service as its author writes it: the manifest `service.toml`, the bundle of manifest, module and files, and the
//! folder that keeps bundles by their digest.
//!
//! Guarantees: a [`Manifest`] that exists is valid; all faults of a file are told at once, each with its line; the
//! digest of a bundle covers everything that a guest can notice, and not how the proxy listens. What the module imports and
//! whether it can run is left to `refrain-inspect`; running it is left to the engine.
//!
//! - [`Manifest`], [`Faults`]: the validated domain types, and what is wrong with a file that has none
//! - [`bounds`]: every limit and default; [`reference()`] and [`template`]: the same for people
//! - [`Bundle`]: loading, digest, storing, opening

mod address;
pub mod bounds;
mod bundle;
mod canonical;
mod document;
mod fault;
mod files;
mod http;
mod manifest;
mod names;
mod outbound;
mod pack;
mod port;
mod quantity;
mod ready;
mod reference;
mod store;
mod upgrade;
mod validate;
mod value;

pub use address::AddressRange;
pub use bundle::{Bundle, LoadError, MANIFEST_FILE};
pub use canonical::{BundleDigest, DigestError};
pub use fault::{Fault, Faults};
pub use files::{BundleFile, GuestPath, GuestPathError, HostPath, HostPathError};
pub use http::{Http, Route};
pub use manifest::{
    Agreement, Build, FuelPerTurn, IdleLimit, Kind, Limits, Manifest, Mode, Replicas, ReplicasError, Restart,
    RestartPolicy,
};
pub use names::{Name, NameError, ServiceId, Version};
pub use outbound::{Outbound, OutboundHost, Protocol, ProxyHeader};
pub use pack::{MAX_PACKED_BYTES, UnpackError};
pub use port::{Keepalive, Port};
pub use quantity::{ByteSize, QuantityError, format_duration, parse_duration};
pub use ready::{Probe, Ready, ReadyWhen};
pub use reference::{Key, reference, template};
pub use store::{OpenError, StoreError};
pub use upgrade::FixedChange;
