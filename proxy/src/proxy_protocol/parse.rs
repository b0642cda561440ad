//! Reading the header, of either version, from bytes that arrive in any pieces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{V2_LOCAL, V2_PROXY, V2_SIGNATURE};

/// The most bytes of a header of version 1, its line end included.
pub const MAX_V1_BYTES: usize = 107;
/// The most bytes of a header of version 2: what every path carries in one packet.
pub const MAX_V2_BYTES: usize = 536;

const V1_BEGIN: &[u8] = b"PROXY ";
/// Signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header: more has to come.
    Incomplete,
    /// A header.
    Header {
        /// Its bytes; what follows is the client's.
        length: usize,
        /// Whose connection it is. None when the header does not say, or the connection is the proxy's own: then it is
        /// the address that it comes from.
        source: Option<SocketAddr>,
    },
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// They begin as neither version does.
    #[error("the connection begins with no PROXY protocol header")]
    NoHeader,
    /// The line has no end, or the length is above the limit.
    #[error("the PROXY protocol header is longer than {limit} bytes")]
    TooLong {
        /// The most bytes.
        limit: usize,
    },
    /// A field is not what the specification says.
    #[error("the PROXY protocol header has a wrong {0}")]
    Field(&'static str),
}

/// Reads a header from the first bytes of a connection.
///
/// # Errors
/// As soon as the bytes cannot become a header any more.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ParseError> {
    if begins_as(bytes, &V2_SIGNATURE) {
        return parse_v2(bytes);
    }
    if begins_as(bytes, V1_BEGIN) {
        return parse_v1(bytes);
    }
    Err(ParseError::NoHeader)
}

/// Whether the bytes are those of `begin`, as far as they go.
fn begins_as(bytes: &[u8], begin: &[u8]) -> bool {
    let length = bytes.len().min(begin.len());
    bytes[..length] == begin[..length]
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let within = &bytes[..bytes.len().min(MAX_V1_BYTES)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        if within.len() == MAX_V1_BYTES {
            return Err(ParseError::TooLong { limit: MAX_V1_BYTES });
        }
        return Ok(Parsed::Incomplete);
    };
    let line = &bytes[V1_BEGIN.len()..end];
    Ok(Parsed::Header { length: end + 2, source: source_v1(line)? })
}

fn source_v1(line: &[u8]) -> Result<Option<SocketAddr>, ParseError> {
    let mut words = line.split(|byte| *byte == b' ');
    let family = words.next().unwrap_or_default();
    if family == b"UNKNOWN" {
        return Ok(None);
    }
    let address = |word: Option<&[u8]>| {
        let text = word.and_then(|word| str::from_utf8(word).ok()).unwrap_or_default();
        let address = match family {
            b"TCP4" => text.parse().map(IpAddr::V4).ok(),
            b"TCP6" => text.parse().map(IpAddr::V6).ok(),
            _ => return Err(ParseError::Field("family")),
        };
        address.ok_or(ParseError::Field("address"))
    };
    let (source, _destination) = (address(words.next())?, address(words.next())?);
    let (source_port, _destination_port) = (port_v1(words.next())?, port_v1(words.next())?);
    match words.next() {
        None => Ok(Some(SocketAddr::new(source, source_port))),
        Some(_) => Err(ParseError::Field("number of words")),
    }
}

/// A port in decimal, without a sign and without zeros before it.
fn port_v1(word: Option<&[u8]>) -> Result<u16, ParseError> {
    let word = word.unwrap_or_default();
    let is_plain = word.iter().all(u8::is_ascii_digit) && (word.len() == 1 || word.first() != Some(&b'0'));
    let port = str::from_utf8(word).ok().filter(|_| is_plain).and_then(|text| text.parse().ok());
    port.ok_or(ParseError::Field("port"))
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let Some(fixed) = bytes.first_chunk::<V2_FIXED_BYTES>() else {
        return Ok(Parsed::Incomplete);
    };
    let (command, family) = (fixed[12], fixed[13]);
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if !matches!(command, V2_LOCAL | V2_PROXY) {
        return Err(ParseError::Field("version or command"));
    }
    if length > MAX_V2_BYTES {
        return Err(ParseError::TooLong { limit: MAX_V2_BYTES });
    }
    let Some(addresses) = bytes.get(V2_FIXED_BYTES..length) else {
        return Ok(Parsed::Incomplete);
    };
    let source = if command == V2_LOCAL { None } else { source_v2(family, addresses)? };
    Ok(Parsed::Header { length, source })
}

/// The source among the addresses; what follows them is more about the connection, and skipped.
fn source_v2(family: u8, addresses: &[u8]) -> Result<Option<SocketAddr>, ParseError> {
    const SHORT: ParseError = ParseError::Field("length");
    match family {
        // Stream or datagrams over IPv4: two addresses, two ports.
        0x11 | 0x12 => {
            let fields = addresses.first_chunk::<12>().ok_or(SHORT)?;
            let ip = Ipv4Addr::new(fields[0], fields[1], fields[2], fields[3]);
            Ok(Some(SocketAddr::new(ip.into(), u16::from_be_bytes([fields[8], fields[9]]))))
        }
        // The same over IPv6.
        0x21 | 0x22 => {
            let fields = addresses.first_chunk::<36>().ok_or(SHORT)?;
            let (ip, _) = fields.split_first_chunk::<16>().ok_or(SHORT)?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(*ip).into(), u16::from_be_bytes([fields[32], fields[33]]))))
        }
        // Unix sockets: two paths of 108 bytes.
        0x31 | 0x32 if addresses.len() < 216 => Err(SHORT),
        0x31 | 0x32 | 0x00 => Ok(None),
        _ => Err(ParseError::Field("family")),
    }
}
