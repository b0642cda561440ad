//! The beginning of a connection: whose it is, whether TLS is spoken on it, and which protocol.
//!
//! Peers that are proxies say by a header whose connection it is, before anything else. Who speaks plain HTTP where TLS is
//! spoken, or the other way round, is told so in plain HTTP, as nginx does. All of it is bounded in bytes and time. A
//! client that has said nothing is no fault.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connection::Arrival;
use super::linger::{LINGER, linger};
use super::preface::{detect, read_more};
use super::shared::{Loop, Place};
use super::stream::{Plain, Prefixed, Stream};
use super::unread;
use crate::answer::Fault;
use crate::client::Visit;
use crate::settings::{MAX_HEADER_BYTES, Proxies};
use crate::tls::ALPN_HTTP2;

/// How long a client that has come before the drain has to say something. It also lets the runtime be told of bytes
/// that are there already.
const GRACE: Duration = Duration::from_millis(250);
/// What a connection of TLS begins with: a record of the kind handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// What the version of every such record begins with.
const TLS_MAJOR: u8 = 3;

/// A client of which is known who it is and what it speaks.
pub(super) struct Greeted {
    pub(super) stream: Stream,
    /// What was read of it.
    pub(super) begun: Bytes,
    pub(super) is_http2: bool,
    pub(super) client: IpAddr,
    pub(super) visit: Visit,
}

/// Why there is nobody to serve.
enum Missed {
    /// It went away, was late, or said nothing before the drain.
    Gone,
    /// What was told of it, and who can be answered in plain HTTP.
    Fault(Fault, Option<Plain>),
}

/// What is known so far.
struct Greeting {
    own: Rc<Loop>,
    client: IpAddr,
    visit: Option<Visit>,
    begun: Vec<u8>,
}

pub(super) async fn greet(own: &Rc<Loop>, arrival: Arrival) -> Option<(Greeted, Place)> {
    let Arrival { stream, address, is_tls, visit, place } = arrival;
    let mut greeting = Greeting { own: Rc::clone(own), client: address, visit, begun: Vec::new() };
    let mut drain = own.shared.drain.subscribe();
    let ended = async {
        let _ = drain.wait_for(|is_draining| *is_draining).await;
        tokio::time::sleep(GRACE).await;
    };
    let opened = tokio::select! {
        biased;
        opened = greeting.open(stream, is_tls) => opened,
        () = ended => Err(Missed::Gone),
    };
    match opened {
        Ok((stream, is_http2)) => {
            let Greeting { client, visit, begun, .. } = greeting;
            Some((Greeted { stream, begun: begun.into(), is_http2, client, visit: visit? }, place))
        }
        Err(Missed::Gone) => None,
        Err(Missed::Fault(_, None)) => None,
        Err(Missed::Fault(fault, Some(stream))) => {
            Box::pin(say_farewell(stream, &fault)).await;
            None
        }
    }
}

impl Greeting {
    async fn open(&mut self, mut stream: Plain, is_tls: bool) -> Result<(Stream, bool), Missed> {
        let own = Rc::clone(&self.own);
        if let (None, Some(proxies)) = (&self.visit, &own.shared.proxies) {
            stream = Box::pin(self.be_told(proxies, stream, is_tls)).await?;
        }
        let mut stream = if is_tls { Box::pin(self.secure(stream)).await? } else { Stream::Plain(stream) };
        if let Stream::Tls(tls) = &stream
            && tls.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2)
        {
            return Ok((stream, true));
        }
        let detected = timeout(own.shared.limits.idle, detect(&mut stream, &mut self.begun)).await;
        let is_http2 = detected.map_err(|_| Missed::Gone)?.map_err(|_| Missed::Gone)?;
        match stream {
            _ if self.begun.is_empty() => Err(Missed::Gone),
            Stream::Plain(plain) if self.begun.starts_with(&[TLS_HANDSHAKE, TLS_MAJOR]) => {
                Err(Missed::Fault(self.tell(Fault::TlsOnPlain, "a hello of TLS"), Some(plain)))
            }
            stream => Ok((stream, is_http2)),
        }
    }

    /// Reads who the client is.
    async fn be_told(&mut self, proxies: &Proxies, mut stream: Plain, is_tls: bool) -> Result<Plain, Missed> {
        let read = timeout(proxies.patience, read_header(proxies, &mut stream, &mut self.begun)).await;
        let read = read.unwrap_or_else(|_| Err((Fault::ProxyHeaderSlow, format!("{:?} are over", proxies.patience))));
        let told = match read {
            Ok(told) => told,
            Err(_) if self.begun.is_empty() => return Err(Missed::Gone),
            Err((fault, reason)) => {
                let is_plain = !(is_tls && self.begun.first() == Some(&TLS_HANDSHAKE));
                return Err(Missed::Fault(self.tell(fault, reason), is_plain.then_some(stream)));
            }
        };
        if let Some(client) = told {
            self.client = client.to_canonical();
        }
        let shared = &self.own.shared;
        self.visit = shared.clients.visit(self.client, shared.limits.client_connections);
        if self.visit.is_none() {
            return Err(Missed::Fault(self.tell(Fault::ClientConnections, "the connection is closed"), None));
        }
        Ok(stream)
    }

    async fn secure(&mut self, mut stream: Plain) -> Result<Stream, Missed> {
        let limit = self.own.shared.limits.head;
        if self.begun.is_empty() {
            match timeout(limit, read_more(&mut stream, &mut self.begun)).await {
                Ok(Ok(1..)) => {}
                _ => return Err(Missed::Gone),
            }
        }
        if self.begun.first() != Some(&TLS_HANDSHAKE) {
            return Err(Missed::Fault(self.tell(Fault::PlainOnTls, "no hello of TLS"), Some(stream)));
        }
        let acceptor = TlsAcceptor::from(Arc::clone(self.own.shared.tls.config()));
        let begun = Prefixed::new(std::mem::take(&mut self.begun).into(), stream);
        // A failure gives the stream back, as does a limit.
        let mut accepting = acceptor.accept(begun).into_fallible();
        match timeout(limit, &mut accepting).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err((error, _stream))) => Err(Missed::Fault(self.tell(Fault::TlsFailed, error), None)),
            Err(_) => Err(Missed::Fault(self.tell(Fault::TlsSlow, format!("{limit:?} are over")), None)),
        }
    }

    /// Tells a fault to whom it concerns, while the connection is still open: who has seen it end finds it in the log.
    fn tell(&self, fault: Fault, reason: impl ToString) -> Fault {
        unread::tell(&self.own, self.client, &fault, &reason.to_string());
        fault
    }
}

/// The client that the header names, if it names one. What came after the header stays in `begun`; on a fault all of it.
async fn read_header(
    proxies: &Proxies,
    stream: &mut Plain,
    begun: &mut Vec<u8>,
) -> Result<Option<IpAddr>, (Fault, String)> {
    let fault = |reason: String| (Fault::ProxyHeader, reason);
    loop {
        match read_more(stream, begun).await {
            Ok(1..) => {}
            Ok(0) => return Err(fault(format!("the connection ended after {} bytes", begun.len()))),
            Err(error) => return Err(fault(error.to_string())),
        }
        match (proxies.read)(begun) {
            Ok(Some(header)) => {
                begun.drain(..header.length.min(begun.len()));
                return Ok(header.client);
            }
            Ok(None) if begun.len() < MAX_HEADER_BYTES => {}
            Ok(None) => return Err(fault(format!("it is longer than {MAX_HEADER_BYTES} bytes"))),
            Err(error) => return Err(fault(error.to_string())),
        }
    }
}

async fn say_farewell(mut stream: Plain, fault: &Fault) {
    let said = async {
        stream.write_all(&fault.farewell()).await?;
        stream.shutdown().await
    };
    // A failure means that the client is gone already.
    if let Ok(Ok(())) = timeout(LINGER, said).await {
        linger(stream).await;
    }
}
