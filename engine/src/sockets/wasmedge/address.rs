//! `__wasi_address_t`: a pointer and a length. Of 4 or 16 bytes it is an address; longer ones begin with the family,
//! a u16, and the address follows.

use std::net::{IpAddr, SocketAddr};

use refrain_kernel::Errno;

use crate::preview1::memory::{read, read_u16, read_u32, slice, write};

/// `address_family`.
pub(super) const FAMILY_INET4: u32 = 1;
pub(super) const FAMILY_INET6: u32 = 2;
/// Bytes of the family before an address.
const FAMILY_BYTES: u32 = 2;

fn buffer(memory: &[u8], address: u32) -> Result<(u32, u32), Errno> {
    let len_at = address.checked_add(4).ok_or(Errno::Fault)?;
    Ok((read_u32(memory, address)?, read_u32(memory, len_at)?))
}

/// The address at `address`, with this port.
pub(crate) fn read_address(memory: &[u8], address: u32, port: u32) -> Result<SocketAddr, Errno> {
    let port = u16::try_from(port).map_err(|_| Errno::Inval)?;
    let (at, len) = buffer(memory, address)?;
    slice(memory, at, len)?;
    let four = |at| read::<4>(memory, at).map(IpAddr::from);
    let sixteen = |at| read::<16>(memory, at).map(IpAddr::from);
    let ip = match len {
        4 => four(at)?,
        16 => sixteen(at)?,
        _ if len >= FAMILY_BYTES + 16 => match u32::from(read_u16(memory, at)?) {
            FAMILY_INET4 => four(at + FAMILY_BYTES)?,
            FAMILY_INET6 => sixteen(at + FAMILY_BYTES)?,
            _ => return Err(Errno::Afnosupport),
        },
        _ => return Err(Errno::Inval),
    };
    Ok(SocketAddr::new(ip, port))
}

/// A guest's buffer for an address, checked to be in its memory.
#[derive(Clone, Copy)]
pub(super) struct Room {
    at: u32,
    len: u32,
}

impl Room {
    /// The buffer that an address structure names.
    pub(super) fn of(memory: &[u8], address: u32) -> Result<Self, Errno> {
        let (at, len) = buffer(memory, address)?;
        slice(memory, at, len)?;
        if len < 4 { Err(Errno::Inval) } else { Ok(Self { at, len }) }
    }

    /// Writes who sent what was received. It is taken already, so an address that does not fit is cut, as `recvfrom` cuts
    /// it.
    pub(super) fn put_cut(self, memory: &mut [u8], from: SocketAddr) -> Result<(), Errno> {
        match from.ip() {
            IpAddr::V6(ip) if self.len < 16 => write(memory, self.at, &ip.octets()[..self.len as usize]),
            _ => self.put(memory, from),
        }
    }

    /// Writes an address: with its family, where there is room for the longest one.
    pub(super) fn put(self, memory: &mut [u8], from: SocketAddr) -> Result<(), Errno> {
        let (ip, family) = match from.ip() {
            IpAddr::V4(ip) => (ip.octets().to_vec(), FAMILY_INET4 as u16),
            IpAddr::V6(ip) => (ip.octets().to_vec(), FAMILY_INET6 as u16),
        };
        if self.len >= FAMILY_BYTES + 16 {
            write(memory, self.at, &family.to_le_bytes())?;
            return write(memory, self.at + FAMILY_BYTES, &ip);
        }
        if (self.len as usize) < ip.len() {
            return Err(Errno::Inval);
        }
        write(memory, self.at, &ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(len: u32, bytes: &[u8]) -> Vec<u8> {
        let mut memory = vec![0; 256];
        memory[..4].copy_from_slice(&64u32.to_le_bytes());
        memory[4..8].copy_from_slice(&len.to_le_bytes());
        memory[64..64 + bytes.len()].copy_from_slice(bytes);
        memory
    }

    #[test]
    fn an_address_is_read_by_the_length_of_its_buffer() {
        let read = |len, bytes: &[u8]| read_address(&memory(len, bytes), 0, 80).map(|address| address.to_string());
        assert_eq!(read(4, &[192, 0, 2, 1]).unwrap(), "192.0.2.1:80");
        assert_eq!(read(128, &[1, 0, 192, 0, 2, 1]).unwrap(), "192.0.2.1:80");
        let six = std::net::Ipv6Addr::LOCALHOST.octets();
        assert_eq!(read(16, &six).unwrap(), "[::1]:80");
        assert_eq!(read(128, &[&[2, 0], &six[..]].concat()).unwrap(), "[::1]:80");
        assert_eq!(read(128, &[3, 0]), Err(Errno::Afnosupport));
        for len in [0, 3, 5, 15, 17] {
            assert_eq!(read(len, &[]), Err(Errno::Inval), "{len}");
        }
        assert_eq!(read(193, &[]), Err(Errno::Fault));
        assert_eq!(read_address(&memory(4, &[]), 0, 65_536), Err(Errno::Inval));
        assert_eq!(read_address(&memory(4, &[]), u32::MAX - 2, 1), Err(Errno::Fault));
    }

    #[test]
    fn an_address_that_was_written_is_read_again() {
        for (text, lens) in [("192.0.2.1:7", &[4, 128][..]), ("[2001:db8::1]:7", &[16, 128][..])] {
            let address: SocketAddr = text.parse().unwrap();
            for len in lens {
                let mut memory = memory(*len, &[]);
                Room::of(&memory, 0).unwrap().put(&mut memory, address).unwrap();
                assert_eq!(read_address(&memory, 0, 7), Ok(address), "{len}");
            }
        }
        let mut memory = memory(4, &[]);
        let room = Room::of(&memory, 0).unwrap();
        assert_eq!(room.put(&mut memory, "[::1]:1".parse().unwrap()), Err(Errno::Inval));
        room.put_cut(&mut memory, "[102:304:506::]:1".parse().unwrap()).unwrap();
        assert_eq!(memory[64..70], [1, 2, 3, 4, 0, 0]);
    }
}
