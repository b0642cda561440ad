//! Writing to streams.
//!
//! A write that was permitted takes everything: where another stream has used up meanwhile what may be sent in a turn, it
//! waits for the next one. One that was not permitted waits for room in the same way, rather than to end the guest, unless it
//! is of more than can ever be permitted.

use refrain_kernel::Errno;
use wasmtime::component::Resource;

use super::{Blocking, MAX_BYTES, StreamResult, output_error};
use crate::preview2::links::{Call, Halt, settled};
use crate::preview2::resources::{Output, fault};
use crate::preview2::wit::StreamError;

/// How many bytes can be written now.
pub(super) fn check_write(call: &mut Call<'_>, stream: &Resource<Output>) -> Result<StreamResult<u64>, Halt> {
    match *call.resources.get(stream)? {
        Output::Failed { .. } => Ok(Err(StreamError::Closed)),
        Output::File { .. } => Ok(Ok(MAX_BYTES)),
        Output::Stream(fd) => match settled(call.kernel.writable_bytes(fd))? {
            Ok(room) => Ok(Ok(room.min(MAX_BYTES))),
            Err(errno) => Ok(Err(output_error(call, stream, errno)?)),
        },
    }
}

/// Writes everything, and leaves in `contents` what is not written yet while the call waits.
pub(super) fn write_all(
    call: &mut Call<'_>,
    stream: &Resource<Output>,
    contents: &mut Vec<u8>,
) -> Result<StreamResult<()>, Halt> {
    match *call.resources.get(stream)? {
        Output::Failed { .. } => Ok(Err(StreamError::Closed)),
        Output::Stream(fd) => {
            // Nothing to be written is refused as well by what takes nothing more.
            if let (true, Some(errno)) = (contents.is_empty(), call.kernel.write_fault(fd)) {
                return Ok(Err(output_error(call, stream, errno)?));
            }
            while !contents.is_empty() {
                match settled(Blocking::Yes.apply(call.kernel, fd, |kernel| kernel.write(fd, contents)))? {
                    Ok(written) => drop(contents.drain(..written)),
                    Err(errno) => return Ok(Err(output_error(call, stream, errno)?)),
                }
            }
            Ok(Ok(()))
        }
        Output::File { fd, offset } => {
            let written = write_file(call, fd, offset, contents);
            if let (Ok(()), Output::File { offset: Some(offset), .. }) = (written, call.resources.get_mut(stream)?) {
                *offset += contents.len() as u64;
            }
            match written {
                Ok(()) => Ok(Ok(())),
                Err(errno) => Ok(Err(output_error(call, stream, errno)?)),
            }
        }
    }
}

fn write_file(call: &mut Call<'_>, fd: u32, offset: Option<u64>, contents: &[u8]) -> Result<(), Errno> {
    let at = match offset {
        Some(offset) => offset,
        // The guest does one thing at a time: nothing comes between this and the write.
        None => call.kernel.stat(fd)?.map_or(0, |stat| stat.size_bytes),
    };
    call.kernel.write_at(fd, at, contents).map(drop)
}

/// What was written is on its way: there is nothing to wait for, but that the stream may be gone.
pub(super) fn flush(call: &mut Call<'_>, stream: &Resource<Output>) -> wasmtime::Result<StreamResult<()>> {
    let fd = match *call.resources.get(stream)? {
        Output::Failed { .. } => return Ok(Err(StreamError::Closed)),
        Output::File { .. } => return Ok(Ok(())),
        Output::Stream(fd) => fd,
    };
    match call.kernel.write_fault(fd) {
        None => Ok(Ok(())),
        Some(errno) => Ok(Err(output_error(call, stream, errno)?)),
    }
}

/// Ends the guest when it writes more in one call than the interface has it write.
pub(super) fn permitted(len: u64, limit: u64) -> Result<(), Halt> {
    if len > limit {
        return Err(fault(format!("writes {len} bytes in a call that takes {limit} at most")).into());
    }
    Ok(())
}
