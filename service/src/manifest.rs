//! The validated manifest. A value of these types obeys every bound of [`crate::bounds`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::bounds::REPLICAS;
use crate::fault::{Fault, Faults};
use crate::files::{GuestPath, HostPath};
use crate::http::{Http, Route};
use crate::names::ServiceId;
use crate::outbound::{Outbound, Protocol, ProxyHeader};
use crate::port::Port;
use crate::quantity::ByteSize;
use crate::ready::Ready;
use crate::validate;

/// A service as its manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Namespace, name, version.
    pub id: ServiceId,
    /// Where the module is, relative to the manifest.
    pub module: HostPath,
    /// What sort of program it is.
    pub kind: Kind,
    /// How it is run.
    pub mode: Mode,
    /// How many seats it has.
    pub replicas: Replicas,
    /// What releases its effects.
    pub agreement: Agreement,
    /// The guest's arguments after the program's name.
    pub args: Vec<String>,
    /// What the guest may reach outside; nothing when it is empty.
    pub outbound: Vec<Outbound>,
    /// The ports that the proxy serves, in the order of the file: passed ones become descriptors 3.. in this order.
    pub ports: Vec<Port>,
    /// The guest's environment.
    pub env: BTreeMap<String, String>,
    /// Guest path to the file or folder of the bundle that appears there.
    pub files: BTreeMap<GuestPath, HostPath>,
    /// Limits.
    pub limits: Limits,
    /// What happens after the guest has ended.
    pub restart: Restart,
    /// When it counts as ready. Not part of the bundle's digest.
    pub ready: Ready,
    /// Which requests of the front end come to it. Not part of the bundle's digest.
    pub routes: Vec<Route>,
    /// What a stateless component may use. Of it `outgoing` alone is part of the bundle's digest.
    pub http: Http,
    /// How the module is made. Not part of the bundle's digest.
    pub build: Build,
}

impl Manifest {
    /// Reads and validates the text of a `service.toml`; on failure tells all that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        Ok(validate::manifest(text, false)?.0)
    }

    /// The same of a manifest that was stored, by an earlier version of Refrain maybe: what that took and this one
    /// refuses has no effect, or that of the nearest value that is allowed, and is told.
    pub fn parse_stored(text: &str) -> Result<(Self, Vec<Fault>), Faults> {
        validate::manifest(text, true)
    }
}

/// What sort of program a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program that listens on sockets.
    Tcp,
    /// A component that answers requests of `wasi:http`.
    Http,
}

/// How a service is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An ordered log, replicas, agreement.
    Replicated,
    /// As many instances as there are requests, no log.
    Stateless,
}

/// The rule by which votes release effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// More than half of all seats.
    Majority,
    /// Every seat.
    All,
    /// The first reply, not checked.
    None,
}

/// The number of seats: odd, within [`REPLICAS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas(u8);

/// A number of replicas that a service cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} replicas, allowed: an odd number from {min} to {max}", min = REPLICAS.min, max = REPLICAS.max)]
pub struct ReplicasError(pub u64);

impl Replicas {
    /// So many seats.
    pub fn new(count: u64) -> Result<Self, ReplicasError> {
        let within = (REPLICAS.min..=REPLICAS.max).contains(&count) && count % 2 == 1;
        match u8::try_from(count) {
            Ok(seats) if within => Ok(Self(seats)),
            _ => Err(ReplicasError(count)),
        }
    }

    /// The count.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// Fuel of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FuelPerTurn {
    /// Not counted: a turn that never ends must be abandoned by hand.
    Off,
    /// More than this in one turn is a trap.
    Limit(u64),
}

/// How long a client may neither send nor take anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleLimit {
    /// For ever.
    Off,
    /// Then its flow is reset by a record.
    After(Duration),
}

/// Limits of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Guest linear memory.
    pub memory: ByteSize,
    /// Elements of all tables of the guest.
    pub tables: u32,
    /// The writable layer of files.
    pub files: ByteSize,
    /// Files, folders and symbolic links that the guest makes.
    pub inodes: u32,
    /// Fuel of a turn.
    pub fuel_per_turn: FuelPerTurn,
    /// Open connections.
    pub flows: u32,
    /// Open connections from one client address; at most `flows`.
    pub flows_per_client: u32,
    /// Outward connections, associations and look-ups under way.
    pub outward: u32,
    /// Open descriptors of the guest.
    pub descriptors: u32,
    /// Kept bytes of one direction of one flow.
    pub socket_buffer: ByteSize,
    /// Kept bytes of all flows; at least two socket buffers.
    pub socket_buffers: ByteSize,
    /// The idle limit of clients.
    pub idle: IdleLimit,
    /// Lines of standard output and error together, per second of log time.
    pub log_lines_per_second: u32,
    /// The history of a service whose guests cannot be saved in checkpoints.
    pub history: ByteSize,
}

/// What happens after the guest has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When it is started again.
    pub policy: RestartPolicy,
    /// The first pause, in log time; doubles with each restart.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
}

/// How the module is made, by `rctl service build`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// A line for the shell, run in the manifest's folder.
    pub command: Option<String>,
    /// The module as the command leaves it; the service's module itself when it is absent.
    pub output: Option<HostPath>,
}

/// When a guest that has ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit was.
    Always,
    /// After a trap or an exit code other than 0.
    OnFailure,
    /// Not at all.
    Never,
}

/// An enumeration that a manifest writes as one word.
pub(crate) trait Word: Copy + Sized + 'static {
    /// Each word and its value.
    const WORDS: &'static [(&'static str, Self)];
    /// Words that later versions know.
    const LATER: &'static [&'static str] = &[];
}

impl Word for Kind {
    const WORDS: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("http", Self::Http)];
}

impl Word for Mode {
    const WORDS: &'static [(&'static str, Self)] = &[("replicated", Self::Replicated), ("stateless", Self::Stateless)];
}

impl Word for Agreement {
    const WORDS: &'static [(&'static str, Self)] =
        &[("majority", Self::Majority), ("all", Self::All), ("none", Self::None)];
}

impl Word for RestartPolicy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("on-failure", Self::OnFailure), ("never", Self::Never)];
}

macro_rules! display_word {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let found = Self::WORDS.iter().find(|(_, value)| value == self);
                f.write_str(found.expect("every variant has its word").0)
            }
        }
    )*};
}

display_word!(Kind, Mode, Agreement, RestartPolicy, Protocol, ProxyHeader);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_odd_and_from_1_to_7() {
        let good: Vec<u64> = (0..=300).filter(|n| Replicas::new(*n).is_ok()).collect();
        assert_eq!(good, [1, 3, 5, 7]);
        assert_eq!(ReplicasError(9).to_string(), "9 replicas, allowed: an odd number from 1 to 7");
    }

    #[test]
    fn every_word_prints_as_it_is_written() {
        for (word, value) in RestartPolicy::WORDS {
            assert_eq!(value.to_string(), *word);
        }
        for (word, value) in Agreement::WORDS {
            assert_eq!(value.to_string(), *word);
        }
        assert_eq!((Kind::Tcp.to_string(), Mode::Replicated.to_string()), ("tcp".into(), "replicated".into()));
    }
}
