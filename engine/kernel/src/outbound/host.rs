//! Which hosts a rule means: a name, the names below one, any host, or addresses.

use std::fmt;
use std::net::IpAddr;

use super::{IpRange, MAX_HOST_NAME_BYTES, is_private};

const MAX_LABEL_BYTES: usize = 63;
/// The name that stands for loopback addresses without a look-up (RFC 6761).
const LOCALHOST: &str = "localhost";

/// Which hosts a rule means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// This name; in lower case.
    Name(String),
    /// Every name that ends with a dot and this one; in lower case.
    Below(String),
    /// Every name, and every public address.
    Any,
    /// Addresses, private ones too.
    Range(IpRange),
}

/// A text that is no host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a host name: labels of letters, digits, `-` and `_`, none longer than {MAX_LABEL_BYTES} bytes, with dots \
     between them, at most {MAX_HOST_NAME_BYTES} bytes"
)]
pub struct HostError;

impl Host {
    /// Exactly this name.
    pub fn name(name: &str) -> Result<Self, HostError> {
        checked(name).map(Self::Name)
    }

    /// The names below this one: `internal` means what is written `*.internal`.
    pub fn below(name: &str) -> Result<Self, HostError> {
        checked(name).map(Self::Below)
    }

    /// Whether it means a name.
    pub(super) fn names(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        match self {
            Self::Name(own) => own.eq_ignore_ascii_case(name),
            Self::Below(parent) => is_below(name.as_bytes(), parent.as_bytes()),
            Self::Any => checked(name).is_ok(),
            Self::Range(_) => false,
        }
    }

    /// Whether it means an address by itself, whatever names are pinned to it.
    pub(super) fn holds(&self, ip: IpAddr) -> bool {
        match self {
            Self::Name(name) => name == LOCALHOST && ip.to_canonical().is_loopback(),
            Self::Below(_) => false,
            Self::Any => !is_private(ip),
            Self::Range(range) => range.holds(ip),
        }
    }
}

/// As a manifest writes it, but for the brackets around an IPv6 address.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Any => f.write_str("*"),
            Self::Range(range) => range.fmt(f),
        }
    }
}

/// At least one byte, a dot, and the parent.
fn is_below(name: &[u8], parent: &[u8]) -> bool {
    let Some(dot) = name.len().checked_sub(parent.len() + 1) else {
        return false;
    };
    dot > 0 && name[dot] == b'.' && name[dot + 1..].eq_ignore_ascii_case(parent)
}

fn checked(name: &str) -> Result<String, HostError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let good = |label: &str| (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(allowed);
    if name.len() > MAX_HOST_NAME_BYTES || !name.split('.').all(good) {
        return Err(HostError);
    }
    Ok(name.to_ascii_lowercase())
}
