//! `addr_port` and `addr_ip` of WASIX: `family u8 | pad | port u16 | address` and `family u8 | pad | address`.
//!
//! A guest gives its port with the low byte first, and is given ports with the high byte first: its libc copies what it
//! is given into a `sockaddr` as it is. Structures of newer versions are longer; what is read and written here is at
//! the same place in all of them.

use std::net::{IpAddr, SocketAddr};

use refrain_kernel::Errno;

use crate::preview1::memory::{read, read_u16, slice, write};

/// `address_family`.
pub(super) const FAMILY_INET4: u8 = 1;
pub(super) const FAMILY_INET6: u32 = 2;
/// Bytes of an `addr_port` that may be read or written.
pub(super) const ADDRESS_PORT_BYTES: u32 = 20;
/// Bytes of an `addr_ip`.
pub(super) const IP_BYTES: u32 = 18;

/// Reads an `addr_port`.
pub(crate) fn read_address(memory: &[u8], at: u32) -> Result<SocketAddr, Errno> {
    slice(memory, at, 8)?;
    let [family] = read(memory, at)?;
    let port = read_u16(memory, at + 2)?;
    let ip = match u32::from(family) {
        1 => IpAddr::from(read::<4>(memory, at + 4)?),
        FAMILY_INET6 => IpAddr::from(read::<16>(memory, at + 4)?),
        _ => return Err(Errno::Afnosupport),
    };
    Ok(SocketAddr::new(ip, port))
}

/// Writes an `addr_port`.
pub(super) fn put_address(memory: &mut [u8], at: u32, address: SocketAddr) -> Result<(), Errno> {
    let mut bytes = [0; ADDRESS_PORT_BYTES as usize];
    let ip = encode_ip(address.ip());
    bytes[0] = ip[0];
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    bytes[4..].copy_from_slice(&ip[2..]);
    write(memory, at, &bytes)
}

/// The bytes of an `addr_ip`.
pub(super) fn encode_ip(ip: IpAddr) -> [u8; IP_BYTES as usize] {
    let mut bytes = [0; IP_BYTES as usize];
    match ip {
        IpAddr::V4(ip) => {
            bytes[0] = FAMILY_INET4;
            bytes[2..6].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes[0] = FAMILY_INET6 as u8;
            bytes[2..].copy_from_slice(&ip.octets());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_port_has_its_low_byte_first_and_the_hosts_its_high_byte() {
        let mut memory = vec![0; 64];
        memory[..8].copy_from_slice(&[1, 0, 0x90, 0x1f, 192, 0, 2, 1]);
        let address = read_address(&memory, 0).unwrap();
        assert_eq!(address.to_string(), "192.0.2.1:8080");
        put_address(&mut memory, 32, address).unwrap();
        assert_eq!(memory[32..40], [1, 0, 0x1f, 0x90, 192, 0, 2, 1]);
    }

    #[test]
    fn both_families_are_told_apart_and_others_refused() {
        let mut memory = vec![0; 64];
        put_address(&mut memory, 0, "[2001:db8::1]:0".parse().unwrap()).unwrap();
        assert_eq!(read_address(&memory, 0).unwrap().to_string(), "[2001:db8::1]:0");
        assert_eq!(read_address(&memory, 48), Err(Errno::Afnosupport));
        assert_eq!(read_address(&memory, 60), Err(Errno::Fault));
        assert_eq!(put_address(&mut memory, 45, "192.0.2.1:1".parse().unwrap()), Err(Errno::Fault));
    }
}
