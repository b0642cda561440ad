//! A body that the host brings: read piece by piece, or handed on to another body by the host itself.

use bytes::Bytes;
use wasip2::http::types::IncomingBody;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use crate::body::{BodyError, Frame};
use crate::executor::ready;
use crate::fields;

/// Bytes that are asked of the host at once.
const PIECE_BYTES_MAX: u64 = 64 * 1024;

pub(crate) struct Incoming {
    // In this order: the host wants the stream gone before the body.
    stream: Option<InputStream>,
    body: Option<IncomingBody>,
}

impl Incoming {
    pub(crate) fn new(body: IncomingBody) -> Self {
        let stream = body.stream().expect("the stream of a new body is there");
        Self { stream: Some(stream), body: Some(body) }
    }

    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>, BodyError> {
        while let Some(stream) = &self.stream {
            match stream.read(PIECE_BYTES_MAX) {
                Ok(piece) if piece.is_empty() => ready(stream.subscribe()).await,
                Ok(piece) => return Ok(Some(Frame::Piece(Bytes::from(piece)))),
                Err(StreamError::Closed) => self.stream = None,
                Err(error) => return Err(error.into()),
            }
        }
        self.trailers().await
    }

    /// Has the host hand on what is left of the pieces, without a copy in the guest.
    pub(crate) async fn splice(&mut self, to: &OutputStream) -> Result<(), BodyError> {
        while let Some(stream) = &self.stream {
            let room = to.check_write()?;
            if room == 0 {
                ready(to.subscribe()).await;
                continue;
            }
            match to.splice(stream, room) {
                Ok(0) => ready(stream.subscribe()).await,
                Ok(_) => to.flush()?,
                // Of which of the two streams is not said: if it is the other one, the end of that body says so.
                Err(StreamError::Closed) => self.stream = None,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What comes after the last piece.
    pub(crate) async fn trailers(&mut self) -> Result<Option<Frame>, BodyError> {
        let Some(body) = self.body.take() else { return Ok(None) };
        let coming = IncomingBody::finish(body);
        let trailers = loop {
            match coming.get() {
                Some(trailers) => break trailers,
                None => ready(coming.subscribe()).await,
            }
        };
        let trailers = trailers.expect("they are taken once");
        match trailers.map_err(|code| BodyError::Broken(code.to_string()))? {
            Some(trailers) => Ok(Some(Frame::Trailers(fields::from_host(&trailers).map_err(BodyError::Trailers)?))),
            None => Ok(None),
        }
    }
}
