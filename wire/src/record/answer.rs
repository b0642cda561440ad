//! Payloads of the records that answer outward calls, and of datagrams.
//!
//! Resolved: `count u8`, then for each address `length u8 (4 or 16) | bytes`.
//! Datagram: `port u16 | length of the peer's address u8 (6 or 18) | peer | bytes`.

use std::net::{IpAddr, SocketAddr};

use super::Record;
use crate::Serial;
use crate::outward::{MAX_DATAGRAM_BYTES, MAX_RESOLVED, put_address, read_address};
use crate::reader::{DecodeError, Reader, bounded};

pub(super) fn encode_resolved(addresses: &[IpAddr]) -> Vec<u8> {
    let addresses = &addresses[..addresses.len().min(MAX_RESOLVED)];
    let mut out = vec![addresses.len() as u8];
    for address in addresses {
        match address {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(16);
                out.extend_from_slice(&ip.octets());
            }
        }
    }
    out
}

pub(super) fn decode_resolved(serial: Serial, reader: &mut Reader<'_>) -> Result<Record, DecodeError> {
    let count = usize::from(reader.u8("count of addresses")?);
    bounded("count of addresses", count, MAX_RESOLVED)?;
    if count == 0 {
        return Err(DecodeError::Unknown { what: "count of addresses", value: 0 });
    }
    let addresses = (0..count).map(|_| match reader.u8("length of an address")? {
        4 => Ok(IpAddr::from(reader.array::<4>("address")?)),
        16 => Ok(IpAddr::from(reader.array::<16>("address")?)),
        other => Err(DecodeError::Unknown { what: "length of an address", value: u64::from(other) }),
    });
    Ok(Record::Resolved { serial, addresses: addresses.collect::<Result<_, _>>()? })
}

pub(super) fn datagram_head(port: u16, peer: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(21);
    out.extend_from_slice(&port.to_le_bytes());
    out.push(if peer.is_ipv4() { 6 } else { 18 });
    put_address(&mut out, peer);
    out
}

pub(super) fn decode_datagram(serial: Serial, reader: &mut Reader<'_>) -> Result<Record, DecodeError> {
    let port = reader.u16("port of a datagram")?;
    let peer = match reader.u8("length of a datagram's peer")? {
        length @ (6 | 18) => reader.take("peer of a datagram", usize::from(length))?,
        other => return Err(DecodeError::Unknown { what: "length of a datagram's peer", value: u64::from(other) }),
    };
    let peer = read_address(&mut Reader::new(&peer))?;
    let bytes = reader.rest();
    bounded("datagram length", bytes.len(), MAX_DATAGRAM_BYTES)?;
    Ok(Record::Datagram { serial, port, peer, bytes })
}
