//! Listening to a client that still sends after its last answer, so that it gets the answer and no reset.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// How long, and for how many bytes.
pub(super) const LINGER: Duration = Duration::from_secs(2);
pub(super) const LINGER_BYTES: usize = 16 << 20;

/// Reads and forgets until the client stops sending. The answer was written, and our side closed.
pub(super) async fn linger<S: AsyncRead + Unpin>(mut stream: S) {
    let listening = async {
        let mut space = [0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match stream.read(&mut space).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => left = left.saturating_sub(bytes),
            }
        }
    };
    let _ = timeout(LINGER, listening).await;
}
