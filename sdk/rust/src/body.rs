//! A body: whole, written piece by piece, or one that comes in from the host.
//!
//! Reading one that ends too early is an error and never an end.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use wasip2::http::types::IncomingBody;
use wasip2::io::streams::StreamError;

use crate::Failure;
use crate::incoming::Incoming;
use crate::writer::{Writer, Written};

/// A request's or an answer's body.
pub struct Body {
    inner: Inner,
    trailers: Option<HeaderMap>,
}

enum Inner {
    Whole(Bytes),
    Written(Written),
    Incoming(Incoming),
    Ended,
}

/// A part of a body.
#[derive(Debug)]
pub(crate) enum Frame {
    Piece(Bytes),
    Trailers(HeaderMap),
}

/// Why a body could not be read or sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// Whoever should take it is gone.
    Closed,
    /// It broke off on its way; the host says why.
    Broken(String),
    /// It has more bytes than were wanted.
    TooLong {
        /// How many were.
        limit: usize,
    },
    /// It is no UTF-8.
    NoText,
    /// The function that writes it failed.
    Writer(Failure),
    /// Its trailers are not ones that the host takes, or that could be read.
    Trailers(String),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("whoever should take the body is gone"),
            Self::Broken(why) => write!(f, "the body broke off: {why}"),
            Self::TooLong { limit } => write!(f, "the body is longer than {limit} bytes"),
            Self::NoText => f.write_str("the body is no utf-8"),
            Self::Writer(_) => f.write_str("the body's writer failed"),
            Self::Trailers(why) => write!(f, "the body's trailers are refused: {why}"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Writer(failure) => Some(failure.as_ref()),
            _ => None,
        }
    }
}

impl From<StreamError> for BodyError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Closed => Self::Closed,
            StreamError::LastOperationFailed(error) => Self::Broken(error.to_debug_string()),
        }
    }
}

impl Body {
    /// None at all.
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// A body that a function writes while it is sent. An error of the function breaks the body off, so that whoever
    /// reads it does not take the half for the whole.
    ///
    /// ```
    /// # use refrain_sdk::{Body, run};
    /// let body = Body::written(|mut writer| async move {
    ///     for number in 0..3 {
    ///         writer.write(format!("{number}\n")).await;
    ///     }
    ///     Ok(())
    /// });
    /// assert_eq!(run(body.text(100)).unwrap(), "0\n1\n2\n");
    /// ```
    pub fn written<F, W>(write: F) -> Self
    where
        F: FnOnce(Writer) -> W,
        W: Future<Output = Result<(), Failure>> + 'static,
    {
        Self { inner: Inner::Written(Written::new(write)), trailers: None }
    }

    /// The next piece, of any length but none; nothing at the end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, BodyError> {
        match self.frame().await? {
            Some(Frame::Piece(piece)) => Ok(Some(piece)),
            Some(Frame::Trailers(trailers)) => {
                self.trailers = Some(trailers);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// All of it, if it has no more than so many bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await? {
            if all.len() + piece.len() > limit {
                return Err(BodyError::TooLong { limit });
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }

    /// The same as text.
    pub async fn text(self, limit: usize) -> Result<String, BodyError> {
        let bytes = self.bytes(limit).await?;
        String::from_utf8(bytes.into()).map_err(|_| BodyError::NoText)
    }

    /// The trailers, once [`piece`](Self::piece) has given nothing more.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// How many bytes it has, if it is whole.
    pub(crate) fn length(&self) -> Option<usize> {
        match &self.inner {
            Inner::Whole(bytes) => Some(bytes.len()),
            _ => None,
        }
    }

    pub(crate) fn incoming(body: IncomingBody) -> Self {
        Self { inner: Inner::Incoming(Incoming::new(body)), trailers: None }
    }

    /// The rest of a body that comes from the host, which can be handed on without being read.
    pub(crate) fn take_incoming(&mut self) -> Option<Incoming> {
        match std::mem::replace(&mut self.inner, Inner::Ended) {
            Inner::Incoming(incoming) => Some(incoming),
            inner => {
                self.inner = inner;
                None
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>, BodyError> {
        let frame = self.inner.next().await;
        if !matches!(frame, Ok(Some(_))) {
            self.inner = Inner::Ended;
        }
        frame
    }
}

impl Inner {
    async fn next(&mut self) -> Result<Option<Frame>, BodyError> {
        match self {
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Ended;
                Ok((!bytes.is_empty()).then_some(Frame::Piece(bytes)))
            }
            Self::Written(written) => written.frame().await,
            Self::Incoming(incoming) => incoming.frame().await,
            Self::Ended => Ok(None),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.inner {
            Inner::Whole(bytes) => return write!(f, "Body({} bytes)", bytes.len()),
            Inner::Written(_) => "written",
            Inner::Incoming(_) => "incoming",
            Inner::Ended => "ended",
        };
        write!(f, "Body({kind})")
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { inner: Inner::Whole(bytes), trailers: None }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run;

    fn pieces(count: usize) -> Body {
        Body::written(move |mut writer| async move {
            for _ in 0..count {
                writer.write("four").await;
            }
            Ok(())
        })
    }

    #[test]
    fn a_body_at_the_limit_is_read_and_one_byte_more_is_too_long() {
        for make in [|| Body::from("12345678"), || pieces(2)] {
            assert_eq!(run(make().bytes(8)).unwrap().len(), 8);
            assert!(matches!(run(make().bytes(7)), Err(BodyError::TooLong { limit: 7 })));
        }
    }

    #[test]
    fn a_writer_that_fails_after_a_piece_is_an_error_and_no_end() {
        let mut body = Body::written(|mut writer| async move {
            writer.write("half").await;
            Err("no more".into())
        });
        run(async {
            assert_eq!(body.piece().await.unwrap().unwrap(), "half");
            assert!(matches!(body.piece().await, Err(BodyError::Writer(_))));
        });
    }

    #[test]
    fn trailers_are_there_after_the_last_piece() {
        let mut body = Body::written(|mut writer| async move {
            writer.write("all").await;
            let digest = [(http::HeaderName::from_static("digest"), http::HeaderValue::from_static("1"))];
            writer.finish(digest.into_iter().collect()).await;
            Ok(())
        });
        run(async {
            assert!(body.piece().await.unwrap().is_some() && body.trailers().is_none());
            assert!(body.piece().await.unwrap().is_none());
            assert_eq!(body.trailers().unwrap()["digest"], "1");
        });
    }

    #[test]
    fn what_is_no_text_is_told() {
        assert!(matches!(run(Body::from(vec![0xff]).text(9)), Err(BodyError::NoText)));
        assert_eq!(run(Body::empty().text(0)).unwrap(), "");
    }
}
