//! Sends a body: never more than the host has room for, and never so that half of one looks like a whole.

use wasip2::http::types::OutgoingBody;
use wasip2::io::streams::OutputStream;

use crate::body::{Body, BodyError, Frame};
use crate::executor::ready;
use crate::fields;

/// Sends all of it. After an error the host is not told that the body ends, and breaks the message off.
pub(crate) async fn send(mut body: Body, to: OutgoingBody) -> Result<(), BodyError> {
    let stream = to.write().expect("the stream of a new body is there");
    let trailers = match body.take_incoming() {
        Some(mut incoming) => {
            incoming.splice(&stream).await?;
            incoming.trailers().await?
        }
        None => loop {
            match body.frame().await? {
                Some(Frame::Piece(piece)) => write(&stream, &piece).await?,
                last => break last,
            }
        },
    };
    drain(&stream).await?;
    drop(stream);
    let trailers = match trailers {
        Some(Frame::Trailers(trailers)) => Some(fields::to_host(&trailers).map_err(BodyError::Trailers)?),
        _ => None,
    };
    OutgoingBody::finish(to, trailers).map_err(|code| BodyError::Broken(code.to_string()))
}

async fn write(stream: &OutputStream, mut piece: &[u8]) -> Result<(), BodyError> {
    while !piece.is_empty() {
        let room = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX).min(piece.len());
        if room == 0 {
            ready(stream.subscribe()).await;
            continue;
        }
        stream.write(&piece[..room])?;
        piece = &piece[room..];
    }
    // Else the host might keep it for company, and the reader of a stream of events waits.
    stream.flush()?;
    Ok(())
}

/// Waits until the host has taken everything.
async fn drain(stream: &OutputStream) -> Result<(), BodyError> {
    stream.flush()?;
    while stream.check_write()? == 0 {
        ready(stream.subscribe()).await;
    }
    Ok(())
}
