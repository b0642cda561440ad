//! The parts that take what clients send, for fuzzers: one by one, and a whole connection in memory.
//!
//! It is no part of serving and no interface: it changes with the parts. Nothing here touches a socket.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::request::Parts;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::task::{LocalSet, yield_now};

use crate::edge::{self, Framing, Peer};
use crate::live::Live;
use crate::plan::Plan;
use crate::serve::{Shared, attend, prepare};
use crate::settings::{ConnectionLimits, Settings};

/// What the scanner of framing says of bytes that came in pieces.
#[derive(Debug, PartialEq, Eq)]
pub struct Scanned {
    /// How many of the bytes may be believed.
    pub good: usize,
    /// The message, from 1, that must not be served.
    pub refused: Option<u32>,
    /// Whether the next byte would begin a message.
    pub is_between: bool,
}

/// Scans bytes of HTTP/1.1, whose heads may have so many bytes.
#[must_use]
pub fn scan(pieces: &[&[u8]], head_bytes: usize) -> Scanned {
    let mut framing = Framing::new(head_bytes);
    let mut good = 0;
    for piece in pieces {
        let taken = framing.read(piece);
        good += taken;
        if taken < piece.len() {
            break;
        }
    }
    Scanned { good, refused: framing.fault().map(|(number, _)| number), is_between: framing.is_between() }
}

/// Prepares a head for its upstream as a request from this peer. Returns the service that it goes to.
///
/// # Errors
/// The code of the answer that the client would get.
pub fn route(parts: &mut Parts, peer: IpAddr, plan: Plan) -> Result<String, &'static str> {
    let live = Live::new(plan, None);
    edge::request_id(&mut parts.headers, 1);
    let max_uri = ConnectionLimits::default().uri_bytes;
    let prepared = prepare(parts, &Peer::new(peer, false), &live, max_uri).map_err(|fault| fault.code())?;
    Ok(prepared.release.service.to_string())
}

/// Bytes between the client and the front end, either way.
const PIPE_BYTES: usize = 64 * 1024;

/// Serves one connection of a client that sends these pieces and then waits until it is closed. Returns what the client
/// gets. Time passes as soon as nothing else is to be done.
///
/// # Panics
/// When the task of the connection does.
#[must_use]
pub fn converse(plan: Plan, pieces: &[&[u8]]) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without sockets needs nothing");
    LocalSet::new().block_on(&runtime, async {
        let shared = Shared::new(Settings::default(), plan);
        let (client, server) = duplex(PIPE_BYTES);
        let serving = tokio::task::spawn_local(attend(Arc::clone(&shared), server, Ipv4Addr::LOCALHOST.into()));
        let (mut from, mut to) = split(client);
        let mut answers = Vec::new();
        let writing = async {
            for piece in pieces {
                if to.write_all(piece).await.is_err() {
                    return;
                }
                yield_now().await;
            }
        };
        let (_, read) = tokio::join!(writing, from.read_to_end(&mut answers));
        read.expect("a pipe does not fail");
        serving.await.expect("the task of a connection does not panic");
        answers
    })
}
