//! Which protocol a client speaks that did not say so in TLS: HTTP/2 with prior knowledge begins with its preface
//! (RFC 9113, section 3.4), which is no request of HTTP/1.1.

use std::io;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::stream::Stream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes that it took to tell, and whether they are HTTP/2's. No bytes: the client has gone. Not cancellation-safe.
pub(crate) async fn detect(stream: &mut Stream) -> io::Result<(Bytes, bool)> {
    let mut space = [0; PREFACE.len()];
    let mut len = 0;
    while len < PREFACE.len() && space[..len] == PREFACE[..len] {
        let read = stream.read(&mut space[len..]).await?;
        if read == 0 {
            break;
        }
        len += read;
    }
    Ok((Bytes::copy_from_slice(&space[..len]), space == *PREFACE))
}
