//! How HTTP/2 is set up on the hop.
//!
//! The window of a connection is that of all its streams together: a client that takes its answer slowly, or a guest
//! that reads its request slowly, shuts the window of its own stream and nobody else's. What may wait is bounded by the
//! streams and their window. Both ends ask the other one whether it lives, also when nothing is under way, and end the
//! connection when it does not answer: a process that is stopped does not keep requests for longer.

use std::future::Future;
use std::time::Duration;

use hyper::client::conn::http2 as of_client;
use hyper::rt::Executor;
use hyper::server::conn::http2 as of_server;
use hyper_util::rt::TokioTimer;

/// Streams of a connection at once.
pub(crate) const STREAMS: u32 = 256;
/// Bytes of one stream that may wait to be read, either way.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = STREAMS * STREAM_WINDOW_BYTES;
/// Bytes of one stream that wait for the other end's window.
const SEND_BYTES: usize = 64 * 1024;
/// Bytes of the headers of a message: more than the edge takes, as it adds some.
const HEAD_BYTES: u32 = 2 << 20;
/// Parts of the patience after which the other end is asked whether it lives.
const QUESTIONS: u32 = 3;

/// Tasks of a connection stay on the loop that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InnerExecutor;

impl<F: Future + 'static> Executor<F> for InnerExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// The end that sends requests. The other end is dead when it has been silent for `patience`.
pub(crate) fn client(patience: Duration) -> of_client::Builder<InnerExecutor> {
    let mut builder = of_client::Builder::new(InnerExecutor);
    let (interval, timeout) = questions(patience);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES)
        .max_header_list_size(HEAD_BYTES)
        .max_local_error_reset_streams(None)
        .keep_alive_interval(interval)
        .keep_alive_timeout(timeout)
        .keep_alive_while_idle(true);
    builder
}

/// The end that answers. Streams are given up as clients go away, as many as there may be.
pub(super) fn server(patience: Duration) -> of_server::Builder<InnerExecutor> {
    let mut builder = of_server::Builder::new(InnerExecutor);
    let (interval, timeout) = questions(patience);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(STREAMS as usize)
        .max_local_error_reset_streams(None)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES)
        .max_header_list_size(HEAD_BYTES)
        .keep_alive_interval(interval)
        .keep_alive_timeout(timeout);
    builder
}

fn questions(patience: Duration) -> (Duration, Duration) {
    let interval = patience / QUESTIONS;
    (interval, patience - interval)
}
