//! Which protocol a client speaks that did not say so in TLS: HTTP/2 with prior knowledge begins with its preface
//! (RFC 9113, section 3.4), which is no request of HTTP/1.1.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::stream::Stream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read at once: what hyper reads first. All of it is handed on at once, as hyper would double a buffer that
/// is not empty before it reads on, and keep it.
const READ_BYTES: usize = 8 * 1024;

/// The bytes that came until it was told, and whether they are HTTP/2's. No bytes: the client has gone. Not
/// cancellation-safe.
pub(crate) async fn detect(stream: &mut Stream) -> io::Result<(Bytes, bool)> {
    let mut begun = Vec::new();
    while begun.len() < PREFACE.len() && PREFACE.starts_with(&begun) {
        if read_more(stream, &mut begun).await? == 0 {
            break;
        }
    }
    let is_http2 = begun.starts_with(PREFACE);
    Ok((begun.into(), is_http2))
}

/// By a buffer on the stack: a client that says nothing has none.
async fn read_more(stream: &mut Stream, begun: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buf = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
        begun.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    })
    .await
}
