//! A bounds-checked cursor over received bytes; the base of every decoder in this crate.

use bytes::Bytes;

/// Why received bytes are not the value that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("{what} is cut short: {needed} bytes needed, {left} left")]
    Short {
        /// The thing being read.
        what: &'static str,
        /// Bytes that the thing needs.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A length or count is over its limit.
    #[error("{what} is {value}, the limit is {limit}")]
    TooLarge {
        /// The thing that is too large.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The most allowed.
        limit: u64,
    },
    /// A tag, flag or number has no meaning.
    #[error("{what} has the unknown value {value}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// The checksum does not match the bytes.
    #[error("{what} has checksum {found:#010x}, its bytes give {computed:#010x}")]
    Checksum {
        /// The frame.
        what: &'static str,
        /// The checksum stored in the frame.
        found: u32,
        /// The checksum of the bytes as they are.
        computed: u32,
    },
    /// Bytes are left over after the value.
    #[error("{what} is followed by {extra} stray bytes")]
    Trailing {
        /// The thing that was read.
        what: &'static str,
        /// How many bytes follow it.
        extra: usize,
    },
    /// Text is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotText {
        /// The field.
        what: &'static str,
    },
}

/// A cursor over a shared buffer. Slices that it hands out share that buffer.
pub(crate) struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left() == 0
    }

    fn raw(&mut self, what: &'static str, needed: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.left();
        if needed > left {
            return Err(DecodeError::Short { what, needed, left });
        }
        let slice = &self.bytes[self.at..self.at + needed];
        self.at += needed;
        Ok(slice)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        Ok(self.raw(what, N)?.try_into().expect("raw returns exactly N bytes"))
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u24(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let [a, b, c] = self.array::<3>(what)?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Seven bytes as an integer.
    pub(crate) fn u56(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut wide = [0; 8];
        wide[..7].copy_from_slice(self.raw(what, 7)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// An unsigned LEB128 number of at most ten bytes.
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::TooLarge { what, value: u64::MAX, limit: u64::MAX })
    }

    pub(crate) fn take(&mut self, what: &'static str, len: usize) -> Result<Bytes, DecodeError> {
        self.raw(what, len)?;
        Ok(self.bytes.slice(self.at - len..self.at))
    }

    pub(crate) fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        rest
    }

    /// Text with a length of two bytes before it, at most `limit` bytes.
    pub(crate) fn text(&mut self, what: &'static str, limit: usize) -> Result<String, DecodeError> {
        let len = usize::from(self.u16(what)?);
        bounded(what, len, limit)?;
        let raw = self.raw(what, len)?;
        String::from_utf8(raw.to_vec()).map_err(|_| DecodeError::NotText { what })
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::Unknown { what, value: u64::from(other) }),
        }
    }

    pub(crate) fn end(&self, what: &'static str) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { what, extra }),
        }
    }
}

pub(crate) fn bounded(what: &'static str, value: usize, limit: usize) -> Result<(), DecodeError> {
    if value > limit {
        return Err(DecodeError::TooLarge { what, value: value as u64, limit: limit as u64 });
    }
    Ok(())
}

/// As much of `text` as fits into `limit` bytes, whole characters alone.
pub(crate) fn cut_text(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// Appends text as [`Reader::text`] reads it; what is above `limit` is cut.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str, limit: usize) {
    let text = cut_text(text, limit);
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends `value` as unsigned LEB128.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let bytes = Bytes::from(out);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint("n"), Ok(value));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_varint_over_64_bits_is_refused() {
        let bytes = Bytes::from_static(&[0xff; 11]);
        assert!(Reader::new(&bytes).varint("n").is_err());
        let bytes = Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]);
        assert!(Reader::new(&bytes).varint("n").is_err());
    }
}
