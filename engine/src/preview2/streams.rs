//! `wasi:io/streams`: bytes in and out, of connections, standard streams and files.

mod input;
mod output;

use refrain_kernel::{Errno, Kernel, Stop};
use wasmtime::component::Resource;

use super::links::{Call, Halt, Interface, Links};
use super::resources::{Input, IoError, Output, Pollable};
use super::wit::StreamError;
use crate::sockets::without_waiting;
use input::{read, skip};
use output::{check_write, flush, permitted, write_all};

/// The most bytes that one read gives, or one check of a write permits.
const MAX_BYTES: u64 = 1 << 20;
/// The most bytes that a call takes which writes and flushes.
const MAX_FLUSHED_BYTES: u64 = 4096;

type StreamResult<T> = Result<T, StreamError>;

pub(super) fn add_to(links: &mut Links<'_>) -> wasmtime::Result<()> {
    let mut streams = links.interface("wasi:io/streams")?;
    streams.resource::<Input>("input-stream")?;
    streams.resource::<Output>("output-stream")?;
    inputs(&mut streams)?;
    outputs(&mut streams)?;
    zeroes(&mut streams)?;
    splices(&mut streams)
}

fn inputs(streams: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Arguments = (Resource<Input>, u64);
    streams.waiting("[method]input-stream.read", |call, (stream, len): &mut Arguments, _| {
        read(call, stream, *len, Blocking::No)
    })?;
    streams.waiting("[method]input-stream.blocking-read", |call, (stream, len): &mut Arguments, _| {
        read(call, stream, *len, Blocking::Yes)
    })?;
    streams.waiting("[method]input-stream.skip", |call, (stream, len): &mut Arguments, _| {
        skip(call, stream, *len, Blocking::No)
    })?;
    streams.waiting("[method]input-stream.blocking-skip", |call, (stream, len): &mut Arguments, _| {
        skip(call, stream, *len, Blocking::Yes)
    })?;
    streams.define("[method]input-stream.subscribe", |call, (stream,): (Resource<Input>,)| {
        let pollable = match *call.resources.get(&stream)? {
            Input::Stream(fd) => Pollable::Read(fd),
            Input::File { .. } | Input::Failed { .. } => Pollable::Ready,
        };
        call.add(pollable)
    })
}

fn outputs(streams: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Written = (Resource<Output>, Vec<u8>);
    streams.waiting("[method]output-stream.check-write", |call, (stream,): &mut (Resource<Output>,), _| {
        check_write(call, stream)
    })?;
    streams.waiting("[method]output-stream.write", |call, (stream, contents): &mut Written, _| {
        permitted(contents.len() as u64, MAX_BYTES)?;
        write_all(call, stream, contents)
    })?;
    streams.waiting(
        "[method]output-stream.blocking-write-and-flush",
        |call, (stream, contents): &mut Written, _| {
            permitted(contents.len() as u64, MAX_FLUSHED_BYTES)?;
            write_all(call, stream, contents)
        },
    )?;
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        streams.define(name, |call, (stream,): (Resource<Output>,)| flush(call, &stream))?;
    }
    streams.define("[method]output-stream.subscribe", |call, (stream,): (Resource<Output>,)| {
        let pollable = match *call.resources.get(&stream)? {
            Output::Stream(fd) => Pollable::Write(fd),
            Output::File { .. } | Output::Failed { .. } => Pollable::Ready,
        };
        call.add(pollable)
    })
}

fn zeroes(streams: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Arguments = (Resource<Output>, u64);
    streams.waiting("[method]output-stream.write-zeroes", |call, (stream, len): &mut Arguments, _| {
        write_zeroes(call, stream, len, MAX_BYTES)
    })?;
    streams
        .waiting("[method]output-stream.blocking-write-zeroes-and-flush", |call, (stream, len): &mut Arguments, _| {
            write_zeroes(call, stream, len, MAX_FLUSHED_BYTES)
        })
}

fn write_zeroes(
    call: &mut Call<'_>,
    stream: &Resource<Output>,
    left: &mut u64,
    limit: u64,
) -> Result<StreamResult<()>, Halt> {
    permitted(*left, limit)?;
    let mut contents = vec![0; *left as usize];
    let written = write_all(call, stream, &mut contents);
    *left = contents.len() as u64;
    written
}

fn splices(streams: &mut Interface<'_>) -> wasmtime::Result<()> {
    type Arguments = (Resource<Output>, Resource<Input>, u64);
    streams.waiting("[method]output-stream.splice", |call, (to, from, len): &mut Arguments, _| {
        splice(call, to, from, *len, Blocking::No)
    })?;
    streams.waiting("[method]output-stream.blocking-splice", |call, (to, from, len): &mut Arguments, _| {
        splice(call, to, from, *len, Blocking::Yes)
    })
}

/// Reads as much as can be written, and writes it.
fn splice(
    call: &mut Call<'_>,
    to: &Resource<Output>,
    from: &Resource<Input>,
    len: u64,
    blocking: Blocking,
) -> Result<StreamResult<u64>, Halt> {
    let room = match check_write(call, to)? {
        Ok(0) if blocking == Blocking::Yes && len > 0 => return Err(Halt::Block),
        Ok(room) => room.min(len),
        Err(error) => return Ok(Err(error)),
    };
    if room == 0 {
        return Ok(Ok(0));
    }
    let mut contents = match read(call, from, room, blocking)? {
        Ok(contents) => contents,
        Err(error) => return Ok(Err(error)),
    };
    let moved = contents.len() as u64;
    // What was read has room: nothing came between the two.
    Ok(write_all(call, to, &mut contents)?.map(|()| moved))
}

/// Whether a call waits for something to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocking {
    Yes,
    No,
}

impl Blocking {
    /// Makes a call of the kernel on a descriptor, which waits or fails with `again`.
    fn apply<T>(
        self,
        kernel: &mut Kernel,
        fd: u32,
        call: impl FnOnce(&mut Kernel) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        if self == Self::Yes { call(kernel) } else { without_waiting(kernel, fd, call) }
    }
}

/// What a stream tells of an error. One that the other side has left is closed.
fn stream_error(call: &mut Call<'_>, errno: Errno, is_file: bool) -> wasmtime::Result<StreamError> {
    match errno {
        Errno::Pipe | Errno::Notconn => Ok(StreamError::Closed),
        errno => Ok(StreamError::LastOperationFailed(call.add(IoError { errno, is_file })?)),
    }
}

/// What a stream tells of an error that ends it.
fn input_error(call: &mut Call<'_>, stream: &Resource<Input>, errno: Errno) -> wasmtime::Result<StreamError> {
    let stream = call.resources.get_mut(stream)?;
    let (fd, is_file) = match *stream {
        Input::Stream(fd) => (fd, false),
        Input::File { fd, .. } => (fd, true),
        Input::Failed { .. } => return Ok(StreamError::Closed),
    };
    *stream = Input::Failed { fd };
    stream_error(call, errno, is_file)
}

/// The same of a stream that is written to.
fn output_error(call: &mut Call<'_>, stream: &Resource<Output>, errno: Errno) -> wasmtime::Result<StreamError> {
    let stream = call.resources.get_mut(stream)?;
    let (fd, is_file) = match *stream {
        Output::Stream(fd) => (fd, false),
        Output::File { fd, .. } => (fd, true),
        Output::Failed { .. } => return Ok(StreamError::Closed),
    };
    *stream = Output::Failed { fd };
    stream_error(call, errno, is_file)
}
