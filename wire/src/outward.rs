//! Outward calls: what a guest wants opened or looked up, and what may come of it.
//!
//! A target travels in the payload of a `connect` effect: `protocol u8 | header u8 | port u16 | address 4 or 16 bytes`.
//! What comes back are records of the epoch that owns the call (`record`). Rules: section 10 of the design.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::reader::{DecodeError, Reader};
use crate::{Epoch, FlowId, ProxyId, Serial};

/// The serials of outward flows begin here. They are given by the kernel of a group, so two groups may have the same;
/// those below are given by the proxy.
pub const FIRST_OUTWARD_SERIAL: Serial = Serial(0xF000_0000);
/// The most bytes of a host name (RFC 1035), without a dot at its end.
pub const MAX_HOST_NAME_BYTES: usize = 253;
/// The most addresses in an answer to a look-up; more are left out.
pub const MAX_RESOLVED: usize = 16;
/// The most bytes of a datagram: what UDP over IPv4 can carry.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

impl FlowId {
    /// Whether the flow was opened by a guest.
    #[must_use]
    pub fn is_outward(self) -> bool {
        self.serial >= FIRST_OUTWARD_SERIAL
    }
}

/// An open epoch to which outward calls may be given. Of several the least is asked: that of the lowest proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// The proxy.
    pub proxy: ProxyId,
    /// Its epoch.
    pub epoch: Epoch,
}

/// How a target is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum Protocol {
    /// A byte stream.
    Tcp = 6,
    /// Datagrams.
    Udp = 17,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The PROXY protocol header that a connection begins with, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum ProxyHeader {
    /// None.
    #[default]
    None = 0,
    /// Version 1, a line of text.
    V1 = 1,
    /// Version 2, binary.
    V2 = 2,
}

/// Where an outward connection or association goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// How.
    pub protocol: Protocol,
    /// What the connection begins with; [`ProxyHeader::None`] for datagrams.
    pub header: ProxyHeader,
    /// Where.
    pub address: SocketAddr,
}

impl Target {
    /// The target's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = vec![self.protocol as u8, self.header as u8];
        put_address(&mut out, self.address);
        Bytes::from(out)
    }

    /// Reads what [`Target::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no target.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let protocol = match reader.u8("target protocol")? {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            other => return Err(DecodeError::Unknown { what: "target protocol", value: u64::from(other) }),
        };
        let header = match reader.u8("target header")? {
            0 => ProxyHeader::None,
            1 => ProxyHeader::V1,
            2 => ProxyHeader::V2,
            other => return Err(DecodeError::Unknown { what: "target header", value: u64::from(other) }),
        };
        let address = read_address(&mut reader)?;
        reader.end("target")?;
        Ok(Self { protocol, header, address })
    }
}

/// Why an outward call came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum CallFailure {
    /// Nobody listens there.
    Refused = 1,
    /// No answer came in time.
    TimedOut = 2,
    /// The host cannot be reached.
    HostUnreachable = 3,
    /// The network cannot be reached.
    NetworkUnreachable = 4,
    /// The connection broke while it was made.
    Reset = 5,
    /// The name does not exist, or has no address.
    NotFound = 6,
    /// The name could not be looked up now.
    TemporaryFailure = 7,
    /// The proxy's host does not allow it.
    Denied = 8,
    /// The proxy has no room for another call.
    NoRoom = 9,
    /// Something else went wrong at the proxy.
    Other = 10,
}

impl CallFailure {
    const ALL: [Self; 10] = [
        Self::Refused,
        Self::TimedOut,
        Self::HostUnreachable,
        Self::NetworkUnreachable,
        Self::Reset,
        Self::NotFound,
        Self::TemporaryFailure,
        Self::Denied,
        Self::NoRoom,
        Self::Other,
    ];

    pub(crate) fn decode(value: u8) -> Result<Self, DecodeError> {
        let found = Self::ALL.into_iter().find(|failure| *failure as u8 == value);
        found.ok_or(DecodeError::Unknown { what: "call failure", value: u64::from(value) })
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::TimedOut => "timed out",
            Self::HostUnreachable => "host unreachable",
            Self::NetworkUnreachable => "network unreachable",
            Self::Reset => "connection reset",
            Self::NotFound => "no such name",
            Self::TemporaryFailure => "name cannot be looked up now",
            Self::Denied => "not allowed",
            Self::NoRoom => "no room for another call",
            Self::Other => "failed",
        })
    }
}

/// Appends `port u16 | address 4 or 16 bytes`.
pub(crate) fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    out.extend_from_slice(&address.port().to_le_bytes());
    match address.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
}

/// Reads what [`put_address`] wrote, up to the end.
pub(crate) fn read_address(reader: &mut Reader<'_>) -> Result<SocketAddr, DecodeError> {
    let port = reader.u16("port of an address")?;
    let ip = match reader.left() {
        4 => IpAddr::from(reader.array::<4>("address")?),
        _ => IpAddr::from(reader.array::<16>("address")?),
    };
    Ok(SocketAddr::new(ip, port))
}
