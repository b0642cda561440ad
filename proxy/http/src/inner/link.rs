//! A stream to another front end for requests of the owner's own, which name no release.

use std::time::Duration;

use http::{Request, Response};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;

use super::{InnerStream, http2};
use crate::body::{Body, Bounds};

/// As long as a body of the owner's may be silent: for ever, as far as anybody sees.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Why a request of the owner's has no answer.
#[derive(Debug, thiserror::Error)]
#[error("the other front end does not answer")]
pub struct LinkError(#[from] hyper::Error);

/// The end that asks. It lives on a `LocalSet`, and the stream with it.
#[derive(Debug)]
pub struct Link {
    sender: SendRequest<Body>,
}

impl Link {
    /// Begins HTTP/2 on a stream. The other end is dead when it has been silent for `patience`.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn open(stream: Box<dyn InnerStream>, patience: Duration) -> Result<Self, LinkError> {
        let (sender, connection) = http2::client(patience).handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(async move {
            // Whoever waits for an answer is told the error.
            let _ = connection.await;
        });
        Ok(Self { sender })
    }

    /// Asks, and waits for the head of the answer. Its body may come as slowly as it likes.
    ///
    /// # Errors
    /// When the stream breaks, or the other end is dead.
    pub async fn ask(&mut self, request: Request<Body>) -> Result<Response<Body>, LinkError> {
        let response = self.sender.send_request(request).await?;
        let bounds = Bounds { bytes: u64::MAX, idle: FOR_EVER, fault: None };
        Ok(response.map(|incoming| Body::wire(incoming, bounds)))
    }
}
