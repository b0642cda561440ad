//! Reading from streams.

use refrain_kernel::{Errno, Stop};
use wasmtime::component::Resource;

use super::{Blocking, MAX_BYTES, StreamResult, stream_error};
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
    match *call.resources.get(stream)? {
        Input::Stream(fd) => read_stream(call, fd, len, blocking),
        Input::File { fd, offset } => {
            let size = call.kernel.stat(fd).ok().flatten().map_or(0, |stat| stat.size_bytes);
            let mut bytes = vec![0; len.min(MAX_BYTES).min(size.saturating_sub(offset)) as usize];
            let read = call.kernel.read_at(fd, offset, &mut bytes);
            if let (Ok(read), Input::File { offset, .. }) = (read, call.resources.get_mut(stream)?) {
                *offset += read as u64;
            }
            given(call, read, bytes, len, true)
        }
    }
}

fn read_stream(call: &mut Call<'_>, fd: u32, len: u64, blocking: Blocking) -> Result<StreamResult<Vec<u8>>, Halt> {
    // What is there decides how much is taken from the allocator; of what is to come nothing is known.
    let there = call.kernel.readable_bytes(fd).max(1);
    let mut bytes = vec![0; len.min(MAX_BYTES).min(there) as usize];
    match blocking.apply(call.kernel, fd, |kernel| kernel.read(fd, &mut bytes)) {
        Err(Stop::Errno(Errno::Again)) => Ok(Ok(Vec::new())),
        result => {
            let read = settled(result)?;
            given(call, read, bytes, len, false)
        }
    }
}

fn given(
    call: &mut Call<'_>,
    read: Result<usize, Errno>,
    mut bytes: Vec<u8>,
    len: u64,
    is_file: bool,
) -> Result<StreamResult<Vec<u8>>, Halt> {
    Ok(match read {
        Ok(0) if len > 0 => Err(StreamError::Closed),
        Ok(read) => {
            bytes.truncate(read);
            Ok(bytes)
        }
        Err(errno) => Err(stream_error(call, errno, is_file)?),
    })
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
