//! The contract of whoever makes streams to another front end.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream to another front end, which is ready for HTTP/2.
pub trait InnerStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> InnerStream for T {}

/// A stream that is being made.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn InnerStream>>> + Send>>;

/// Makes streams to one other front end. Two values are two front ends.
///
/// The future is polled on the thread that uses the stream, and dropped when that takes too long. A stream that breaks
/// is replaced by another one when there is a request for it.
pub trait Dial: Send + Sync + fmt::Debug + 'static {
    /// Begins to make a stream.
    fn dial(&self) -> Dialling;

    /// Whether the other front end lives, as far as is known. Asked before each request, so it has to be a plain read.
    fn is_up(&self) -> bool {
        true
    }
}
