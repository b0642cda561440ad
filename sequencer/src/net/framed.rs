//! Frames on a stream: a reader that can be dropped between frames, and vectored writing of a queue.

use std::io;

use bytes::{Buf, BytesMut};
use refrain_wire::DecodeError;
use refrain_wire::stream::{Frame, FrameDecoder, FrameQueue, Role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::BoxStream;

/// How many bytes are asked for at a time when no longer frame is under way.
const READ_BYTES: usize = 64 * 1024;

/// Why no more frames can be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream broke.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// What was read is no frame.
    #[error("a bad frame")]
    Bad(#[from] DecodeError),
    /// The stream ended in the middle of a frame.
    #[error("the stream ended in the middle of a frame, after {bytes} bytes")]
    Cut {
        /// How much of it was there.
        bytes: usize,
    },
}

/// A stream after its greeting.
pub struct Framed {
    pub(super) stream: BoxStream,
    pub(super) buffer: BytesMut,
    pub(super) role: Role,
}

impl Framed {
    /// The stream itself, and what was read of it after the greeting: for roles whose streams have no frames.
    #[must_use]
    pub fn into_parts(self) -> (BoxStream, BytesMut) {
        (self.stream, self.buffer)
    }

    /// The two directions of the stream.
    #[must_use]
    pub fn split(self) -> (FrameReader<ReadHalf<BoxStream>>, WriteHalf<BoxStream>) {
        let (read, write) = tokio::io::split(self.stream);
        (FrameReader { half: read, buffer: self.buffer, decoder: FrameDecoder::new(self.role) }, write)
    }
}

/// Reads frames.
pub struct FrameReader<R> {
    half: R,
    buffer: BytesMut,
    decoder: FrameDecoder,
}

impl<R> FrameReader<R> {
    /// The same reader, over something that wraps what it reads from.
    #[must_use]
    pub fn map<W>(self, wrap: impl FnOnce(R) -> W) -> FrameReader<W> {
        FrameReader { half: wrap(self.half), buffer: self.buffer, decoder: self.decoder }
    }

    /// The next frame, if it was read already.
    ///
    /// # Errors
    /// When what was read is no frame; the stream is of no use afterwards.
    pub fn buffered(&mut self) -> Result<Option<Frame>, FrameError> {
        Ok(self.decoder.decode(&mut self.buffer)?)
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// The next frame; `None` at the end of the stream. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the stream breaks or what it brings is no frame; it is of no use afterwards.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(READ_BYTES);
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.len() {
                    0 => Ok(None),
                    bytes => Err(FrameError::Cut { bytes }),
                };
            }
        }
    }
}

/// Writes all that waits. Dropping the future leaves the rest in the queue.
///
/// # Errors
/// When the stream breaks.
pub async fn write_queue(half: &mut (impl AsyncWrite + Unpin), queue: &mut FrameQueue) -> io::Result<()> {
    while queue.has_remaining() {
        if half.write_buf(queue).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    half.flush().await
}
