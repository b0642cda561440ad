//! Connections of trusted proxies: each begins with a PROXY protocol header, which says whose it is.
//!
//! The header is read before the connection is a flow, so that limits of clients count the client and not the proxy in
//! front. Bounded in number, bytes and time; what is no header resets the connection, and is told.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use refrain_wire::GroupId;
use tokio::time::timeout;

use super::shell::Shell;
use super::tasks;
use crate::nat::Client;
use crate::net::Stream;
use crate::proxy_protocol::{MAX_V2_BYTES, ParseError, Parsed, parse};

/// The most connections whose header is being read; one more is reset.
const GREETINGS: usize = 1024;
/// How long a header may take.
const GREETING_TIME: Duration = Duration::from_secs(5);

/// Why a connection of a trusted proxy is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotGreeted {
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("the connection broke before its PROXY protocol header was there")]
    Broken(#[from] io::Error),
    #[error("the connection ended after {0} bytes of its PROXY protocol header")]
    Ended(usize),
    #[error("the PROXY protocol header was not there after {GREETING_TIME:?}")]
    Late,
}

/// Reads the header and accepts the connection as that of the source that it names.
pub(super) fn greet(shell: &Rc<Shell>, stream: Box<dyn Stream>, proxy: Client, group: GroupId, port: u16) {
    if shell.greetings.get() >= GREETINGS {
        tracing::debug!(group = group.0, proxy = %proxy.peer(), limit = GREETINGS, "too many connections wait for a header");
        shell.counters.add_refused();
        // A failure means that the proxy is gone already.
        let _ = stream.reset_on_close();
        return;
    }
    shell.greetings.set(shell.greetings.get() + 1);
    tokio::task::spawn_local(greeted(Rc::clone(shell), stream, proxy, group, port));
}

async fn greeted(shell: Rc<Shell>, stream: Box<dyn Stream>, proxy: Client, group: GroupId, port: u16) {
    let greeting = timeout(GREETING_TIME, read_header(&*stream)).await.unwrap_or(Err(NotGreeted::Late));
    shell.greetings.set(shell.greetings.get() - 1);
    match greeting {
        Ok(_) if shell.draining.get() => drop(stream.reset_on_close()),
        Ok((source, unread)) => {
            let client = source.map_or(proxy, Client::Remote);
            tasks::admit(&shell, stream, client, unread, group, port);
        }
        Err(error) => {
            shell.tell_no_header(group, port, proxy, &error);
            // A failure means that the proxy is gone already.
            let _ = stream.reset_on_close();
        }
    }
}

impl NotGreeted {
    /// Nothing was said: who only looks whether somebody listens does so.
    pub(super) const fn is_silence(&self) -> bool {
        matches!(self, Self::Ended(0))
    }
}

/// The source that the header names, and what came after it.
async fn read_header(stream: &dyn Stream) -> Result<(Option<SocketAddr>, Bytes), NotGreeted> {
    let mut buffer = [0; MAX_V2_BYTES];
    let mut filled = 0;
    loop {
        // A header is decided before the buffer is full, so there is room.
        let count = poll_fn(|cx| stream.poll_read(cx, &mut buffer[filled..])).await?;
        if count == 0 {
            return Err(NotGreeted::Ended(filled));
        }
        filled += count;
        if let Parsed::Header { length, source } = parse(&buffer[..filled])? {
            return Ok((source, Bytes::copy_from_slice(&buffer[length..filled])));
        }
    }
}
