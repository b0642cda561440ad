//! Reading from streams.

use refrain_kernel::Errno;
use wasmtime::component::Resource;

use super::{Blocking, MAX_BYTES, StreamResult, input_error};
use crate::preview2::links::{Call, Halt, settled};
use crate::preview2::resources::Input;
use crate::preview2::wit::StreamError;

/// The next bytes, `len` at most; none when there are none yet and the call does not wait.
pub(super) fn read(
    call: &mut Call<'_>,
    stream: &Resource<Input>,
    len: u64,
    blocking: Blocking,
) -> Result<StreamResult<Vec<u8>>, Halt> {
    let (read, bytes) = match *call.resources.get(stream)? {
        Input::Failed { .. } => return Ok(Err(StreamError::Closed)),
        // One that has nothing more says so whatever is asked for.
        Input::Stream(fd) if len == 0 && call.kernel.is_at_end(fd) => return Ok(Err(StreamError::Closed)),
        Input::Stream(fd) => match read_stream(call, fd, len, blocking)? {
            (Err(Errno::Again), _) => return Ok(Ok(Vec::new())),
            read => read,
        },
        Input::File { fd, offset } => read_file(call, stream, (fd, offset), len)?,
    };
    Ok(match read {
        Ok(0) if len > 0 => Err(StreamError::Closed),
        Ok(_) => Ok(bytes),
        Err(errno) => Err(input_error(call, stream, errno)?),
    })
}

/// How much was read, and what.
type Read = (Result<usize, Errno>, Vec<u8>);

fn read_stream(call: &mut Call<'_>, fd: u32, len: u64, blocking: Blocking) -> Result<Read, Halt> {
    // What is there decides how much is taken from the allocator; of what is to come nothing is known.
    let there = call.kernel.readable_bytes(fd).max(1);
    let mut bytes = vec![0; len.min(MAX_BYTES).min(there) as usize];
    let read = settled(blocking.apply(call.kernel, fd, |kernel| kernel.read(fd, &mut bytes)))?;
    bytes.truncate(read.unwrap_or_default());
    Ok((read, bytes))
}

fn read_file(
    call: &mut Call<'_>,
    stream: &Resource<Input>,
    (fd, offset): (u32, u64),
    len: u64,
) -> wasmtime::Result<Read> {
    let size = call.kernel.stat(fd).ok().flatten().map_or(0, |stat| stat.size_bytes);
    let mut bytes = vec![0; len.min(MAX_BYTES).min(size.saturating_sub(offset)) as usize];
    let read = call.kernel.read_at(fd, offset, &mut bytes);
    if let (Ok(read), Input::File { offset, .. }) = (read, call.resources.get_mut(stream)?) {
        *offset += read as u64;
    }
    bytes.truncate(read.unwrap_or_default());
    Ok((read, bytes))
}

/// Reads and forgets; how much.
pub(super) fn skip(
    call: &mut Call<'_>,
    stream: &Resource<Input>,
    len: u64,
    blocking: Blocking,
) -> Result<StreamResult<u64>, Halt> {
    Ok(read(call, stream, len, blocking)?.map(|bytes| bytes.len() as u64))
}
