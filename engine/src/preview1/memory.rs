//! Checked access to a guest's linear memory.

use refrain_kernel::{Errno, Stop};

/// The most buffers in one scattered read or write.
const MAX_VECTORS: u32 = 1024;

/// The most bytes that one call moves or makes: 64 MiB. A scattered read or write of more is a short one, as POSIX
/// allows it to be; a call that cannot be short fails with `inval`. So no call keeps the host busy for long, and none has
/// it keep more than this besides the guest's own memory, however often its buffers name the same bytes.
pub(crate) const MAX_CALL_BYTES: u32 = 64 << 20;

pub(crate) fn slice(memory: &[u8], at: u32, len: u32) -> Result<&[u8], Errno> {
    let start = at as usize;
    memory.get(start..start + len as usize).ok_or(Errno::Fault)
}

pub(crate) fn slice_mut(memory: &mut [u8], at: u32, len: u32) -> Result<&mut [u8], Errno> {
    let start = at as usize;
    memory.get_mut(start..start + len as usize).ok_or(Errno::Fault)
}

pub(crate) fn read<const N: usize>(memory: &[u8], at: u32) -> Result<[u8; N], Errno> {
    Ok(slice(memory, at, N as u32)?.try_into().expect("slice returns N bytes"))
}

pub(crate) fn read_u16(memory: &[u8], at: u32) -> Result<u16, Errno> {
    Ok(u16::from_le_bytes(read(memory, at)?))
}

pub(crate) fn read_u32(memory: &[u8], at: u32) -> Result<u32, Errno> {
    Ok(u32::from_le_bytes(read(memory, at)?))
}

pub(crate) fn read_u64(memory: &[u8], at: u32) -> Result<u64, Errno> {
    Ok(u64::from_le_bytes(read(memory, at)?))
}

pub(crate) fn write(memory: &mut [u8], at: u32, bytes: &[u8]) -> Result<(), Errno> {
    let len = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
    slice_mut(memory, at, len)?.copy_from_slice(bytes);
    Ok(())
}

pub(crate) fn write_u32(memory: &mut [u8], at: u32, value: u32) -> Result<(), Errno> {
    write(memory, at, &value.to_le_bytes())
}

pub(crate) fn write_u64(memory: &mut [u8], at: u32, value: u64) -> Result<(), Errno> {
    write(memory, at, &value.to_le_bytes())
}

/// The offset of element `index` of `size` bytes in an array at `base`.
pub(crate) fn element(base: u32, index: u32, size: u32) -> Result<u32, Errno> {
    index.checked_mul(size).and_then(|offset| base.checked_add(offset)).ok_or(Errno::Fault)
}

/// Buffers that are kept without taking memory for them.
const FEW: usize = 8;

/// The buffers that an array of `iovec` or `ciovec` names.
struct Vectors {
    few: [(u32, u32); FEW],
    many: Vec<(u32, u32)>,
    count: usize,
}

impl Vectors {
    /// Reads and checks them.
    fn read(memory: &[u8], base: u32, count: u32) -> Result<Self, Errno> {
        if count > MAX_VECTORS {
            return Err(Errno::Inval);
        }
        let count = count as usize;
        let mut vectors = Self { few: [(0, 0); FEW], many: Vec::new(), count };
        if count > FEW {
            slice(memory, base, count as u32 * 8)?;
            vectors.many.resize(count, (0, 0));
        }
        let mut total = 0u32;
        for (index, vector) in (0..).zip(vectors.as_mut_slice()) {
            let at = element(base, index, 8)?;
            *vector = (read_u32(memory, at)?, read_u32(memory, at.checked_add(4).ok_or(Errno::Fault)?)?);
            slice(memory, vector.0, vector.1)?;
            // What is done is told in 32 bits.
            total = total.checked_add(vector.1).ok_or(Errno::Inval)?;
        }
        Ok(vectors)
    }

    fn as_mut_slice(&mut self) -> &mut [(u32, u32)] {
        if self.count > FEW { &mut self.many } else { &mut self.few[..self.count] }
    }
}

/// The buffers that an array of `iovec` or `ciovec` names, each checked: pointers and lengths.
pub(crate) fn vectors(memory: &[u8], base: u32, count: u32) -> Result<Vec<(u32, u32)>, Errno> {
    Ok(Vectors::read(memory, base, count)?.as_mut_slice().to_vec())
}

/// Applies `step` to one buffer after another until one is not used up, and writes the total to `total_at`.
///
/// What the first buffers gave counts: an error or a wait of a later one ends the call with a short result, and so does
/// [`MAX_CALL_BYTES`].
pub(crate) fn each_vector(
    memory: &mut [u8],
    (base, count): (u32, u32),
    total_at: u32,
    mut step: impl FnMut(&mut [u8]) -> Result<usize, Stop>,
) -> Result<(), Stop> {
    slice(memory, total_at, 4)?;
    if count == 1 {
        // Most calls name one buffer.
        let (at, len) = (read_u32(memory, base)?, read_u32(memory, base.checked_add(4).ok_or(Errno::Fault)?)?);
        let buffer = slice_mut(memory, at, len)?;
        let done = step(&mut buffer[..len.min(MAX_CALL_BYTES) as usize])?;
        return Ok(write_u32(memory, total_at, done as u32)?);
    }
    let mut total = 0u32;
    let mut vectors = Vectors::read(memory, base, count)?;
    // An empty call still asks, so that a bad descriptor is told.
    vectors.count = vectors.count.max(1);
    for (index, (at, len)) in vectors.as_mut_slice().iter().copied().enumerate() {
        let len = len.min(MAX_CALL_BYTES - total);
        if len == 0 && index > 0 {
            continue;
        }
        match step(slice_mut(memory, at, len)?) {
            Ok(done) => {
                total += done as u32;
                if done < len as usize {
                    break;
                }
            }
            Err(stop) if total == 0 => return Err(stop),
            Err(_) => break,
        }
    }
    Ok(write_u32(memory, total_at, total)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_checked_to_the_last_byte() {
        let memory = [0u8; 16];
        assert!(slice(&memory, 8, 8).is_ok());
        assert_eq!(slice(&memory, 8, 9), Err(Errno::Fault));
        assert_eq!(slice(&memory, u32::MAX, u32::MAX), Err(Errno::Fault));
        assert_eq!(element(u32::MAX, 1, 8), Err(Errno::Fault));
    }

    #[test]
    fn a_vector_that_leaves_the_memory_is_refused_before_anything_is_done() {
        let mut memory = vec![0u8; 64];
        memory[..4].copy_from_slice(&60u32.to_le_bytes());
        memory[4..8].copy_from_slice(&5u32.to_le_bytes());
        let result = each_vector(&mut memory, (0, 1), 32, |_| panic!("must not be reached"));
        assert_eq!(result, Err(Stop::Errno(Errno::Fault)));
    }

    #[test]
    fn a_call_is_short_at_its_limit_of_bytes_however_often_its_buffers_name_the_same() {
        let third = MAX_CALL_BYTES / 3;
        let mut memory = vec![0u8; third as usize + 64];
        for index in 0..5u32 {
            let at = index as usize * 8;
            memory[at..at + 4].copy_from_slice(&64u32.to_le_bytes());
            memory[at + 4..at + 8].copy_from_slice(&third.to_le_bytes());
        }
        let mut asked = Vec::new();
        let result = each_vector(&mut memory, (0, 5), 60, |buffer| {
            asked.push(buffer.len() as u32);
            Ok(buffer.len())
        });
        assert_eq!((result, read_u32(&memory, 60)), (Ok(()), Ok(MAX_CALL_BYTES)));
        assert_eq!(asked, [third, third, third, MAX_CALL_BYTES - 3 * third]);
    }

    #[test]
    fn a_short_step_ends_the_call_with_the_total_so_far() {
        let mut memory = vec![0u8; 64];
        for (at, value) in [(0, 40u32), (4, 4), (8, 44), (12, 4)] {
            memory[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let mut steps = [Ok(4), Err(Stop::Block)].into_iter();
        assert_eq!(each_vector(&mut memory, (0, 2), 32, |_| steps.next().unwrap()), Ok(()));
        assert_eq!(read_u32(&memory, 32), Ok(4));
    }
}
