//! Which protocol a client speaks that did not say so in TLS: HTTP/2 with prior knowledge begins with its preface
//! (RFC 9113, section 3.4), which is no request of HTTP/1.1.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::stream::Stream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read at once: what hyper reads first. All of it is handed on at once, as hyper would double a buffer that
/// is not empty before it reads on, and keep it.
const READ_BYTES: usize = 8 * 1024;

/// Reads on, behind what was read already, until it is told whether the bytes are HTTP/2's. No bytes: the client has gone.
/// Not cancellation-safe.
pub(super) async fn detect(stream: &mut Stream, begun: &mut Vec<u8>) -> io::Result<bool> {
    while begun.len() < PREFACE.len() && PREFACE.starts_with(begun) {
        if read_more(stream, begun).await? == 0 {
            break;
        }
    }
    Ok(begun.starts_with(PREFACE))
}

/// By a buffer on the stack: a client that says nothing has none.
pub(super) async fn read_more(stream: &mut (impl AsyncRead + Unpin), begun: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buf = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
        begun.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    })
    .await
}
