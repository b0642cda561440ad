//! One listener for the streams of a process: each stream goes to the shard that its hello names, or to the HTTP front
//! end.
//!
//! The listener looks at the hello without taking it and hands the socket over, so a shard serves it on its own loop
//! from the first byte on, and refuses what it does not want in its own words. What names no shard that runs here, or is
//! no hello, is the first shard's to refuse. Sockets that are dialled go the direct way.
//!
//! Streams of HTTP are answered here, by the rules of the first shard, and go to the threads of the front end: requests
//! of clients do not pass a shard's loop.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use refrain_sequencer::net::{BoxFuture, BoxStream, Listener, Net, Tcp};
use refrain_wire::ClusterId;
use refrain_wire::stream::hello::HELLO_BYTES;
use refrain_wire::stream::{Hello, HelloAnswer, RefusalCode, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::http::Http;
use crate::shard::{Command, Commands};

/// Streams whose hello is waited for at once; further ones wait in the backlog.
const MAX_UNKNOWN: usize = 1024;
/// Streams that may wait for a shard's loop.
const MAX_WAITING: usize = 256;
/// How long a hello may take; as long as where there is one shard.
const HELLO_TIME: Duration = refrain_sequencer::net::greeting::GREETING_TIME;
/// How long after a part of a hello came it is looked at again, for the first time; and at the longest.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const MAX_LOOK_AGAIN: Duration = Duration::from_millis(160);
/// How long the listener rests after an error, which is mostly a lack of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A socket on its way to a shard's loop, and who opened it.
type Handed = (std::net::TcpStream, String);

/// Where streams go, by what their hello names.
#[derive(Default)]
struct Desks {
    by_id: Mutex<BTreeMap<ClusterId, mpsc::Sender<Handed>>>,
}

/// Who serves streams of HTTP, and whose rules hold for them.
#[derive(Clone)]
pub struct Front {
    /// The front end.
    pub http: Arc<Http>,
    /// The first shard.
    pub first: Commands,
}

/// The listener of a process, before it is asked for streams. It listens as long as it, or the future of
/// [`Exchange::run`], is there.
pub struct Exchange {
    listener: TcpListener,
    desks: Arc<Desks>,
    first: ClusterId,
}

impl Exchange {
    /// Listens where other nodes reach this one. `first` is what streams of the first shard name.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn bind(address: &str, first: ClusterId) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, desks: Arc::default(), first })
    }

    /// The net of the shard whose streams name `id`: to bind is to be given those, whatever the address.
    #[must_use]
    pub fn net(&self, id: ClusterId) -> Arc<dyn Net> {
        Arc::new(ShardNet { id, desks: Arc::clone(&self.desks) })
    }

    /// Hands streams over, for ever. Without a front end streams of HTTP are the first shard's to refuse.
    pub async fn run(self, front: Option<Front>) {
        let unknown = Arc::new(Semaphore::new(MAX_UNKNOWN));
        loop {
            let Ok(permit) = Arc::clone(&unknown).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let (desks, first, front) = (Arc::clone(&self.desks), self.first, front.clone());
                    tokio::spawn(async move {
                        let _permit = permit;
                        let handed = hand_over(stream, peer.to_string(), &desks, first, front.as_ref());
                        if let Err(error) = handed.await {
                            tracing::debug!(%peer, %error, "a stream of another node was not handed to a shard");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take the stream of another node");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }
}

async fn hand_over(
    stream: TcpStream,
    peer: String,
    desks: &Desks,
    first: ClusterId,
    front: Option<&Front>,
) -> io::Result<()> {
    let hello = tokio::time::timeout(HELLO_TIME, seen_hello(&stream)).await??;
    if let (Some(hello), Some(front)) = (hello.filter(|hello| hello.role == Role::Http), front) {
        return tokio::time::timeout(HELLO_TIME, front.take(stream, hello)).await?;
    }
    let desk = {
        let desks = desks.by_id.lock();
        hello.and_then(|hello| desks.get(&hello.cluster)).or_else(|| desks.get(&first)).cloned()
    };
    let Some(desk) = desk else { return Err(io::Error::other("the shard does not run now")) };
    let stream = stream.into_std()?;
    desk.try_send((stream, peer)).map_err(|error| match error {
        TrySendError::Full(_) => io::Error::other(format!("{MAX_WAITING} streams wait for the shard")),
        TrySendError::Closed(_) => io::Error::other("the shard's loop begins anew or ends"),
    })
}

impl Front {
    /// Answers the hello, and hands the stream over if it is welcome.
    async fn take(&self, mut stream: TcpStream, hello: Hello) -> io::Result<()> {
        let answer = match self.http.takes_streams() {
            true => self.judge(hello).await,
            false => None,
        };
        let reason = || "the HTTP front end of this node is starting or ending".to_owned();
        let answer = answer.unwrap_or_else(|| HelloAnswer::Refused { code: RefusalCode::Closed, reason: reason() });
        stream.read_exact(&mut [0; HELLO_BYTES]).await?;
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        stream.write_all(&bytes).await?;
        if !matches!(answer, HelloAnswer::Welcome { .. }) {
            return stream.shutdown().await;
        }
        stream.set_nodelay(true)?;
        self.http.serve_stream(stream.into_std()?)
    }

    /// What the first shard says to it; none when that has ended.
    async fn judge(&self, hello: Hello) -> Option<HelloAnswer> {
        let (reply, answer) = oneshot::channel();
        self.first.send(Command::Greet(hello, reply)).await.ok()?;
        answer.await.ok()
    }
}

/// The hello at the beginning of a stream, which stays to be read; none where there is no hello.
async fn seen_hello(stream: &TcpStream) -> io::Result<Option<Hello>> {
    let mut bytes = [0; HELLO_BYTES];
    let mut wait = LOOK_AGAIN;
    loop {
        let seen = stream.peek(&mut bytes).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match Hello::decode(&mut BytesMut::from(&bytes[..seen])) {
            Ok(Some(hello)) => return Ok(Some(hello)),
            Ok(None) => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(MAX_LOOK_AGAIN);
            }
            Err(_) => return Ok(None),
        }
    }
}

/// A shard's way to other nodes.
struct ShardNet {
    id: ClusterId,
    desks: Arc<Desks>,
}

impl Net for ShardNet {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Tcp.connect(address)
    }

    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let (desk, handed) = mpsc::channel(MAX_WAITING);
        // A loop that begins anew takes the place of the one before.
        self.desks.by_id.lock().insert(self.id, desk);
        let address = address.to_owned();
        Box::pin(async move { Ok(Box::new(Desk { address, handed }) as Box<dyn Listener>) })
    }
}

/// Where a shard's loop takes its streams.
struct Desk {
    address: String,
    handed: mpsc::Receiver<Handed>,
}

impl Listener for Desk {
    fn local_address(&self) -> io::Result<String> {
        Ok(self.address.clone())
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(async move {
            let Some((stream, peer)) = self.handed.recv().await else { return std::future::pending().await };
            // From here on the loop's own runtime watches the socket.
            let stream = TcpStream::from_std(stream)?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as BoxStream, peer))
        })
    }
}

#[cfg(test)]
mod tests {
    use refrain_wire::stream::Role;
    use refrain_wire::{Generation, NodeId};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const FIRST: ClusterId = ClusterId([1; 16]);
    const SECOND: ClusterId = ClusterId([2; 16]);

    fn hello(cluster: ClusterId) -> Vec<u8> {
        let mut bytes = Vec::new();
        Hello::new(Role::Uplink, cluster, Generation([0; 16]), NodeId(7)).encode(&mut bytes);
        bytes
    }

    /// An exchange that runs, and the listeners of two shards.
    async fn running() -> (String, Box<dyn Listener>, Box<dyn Listener>) {
        let exchange = Exchange::bind("127.0.0.1:0", FIRST).await.unwrap();
        let address = exchange.listener.local_addr().unwrap().to_string();
        let first = exchange.net(FIRST).bind(&address).await.unwrap();
        let second = exchange.net(SECOND).bind(&address).await.unwrap();
        tokio::spawn(exchange.run(None));
        (address, first, second)
    }

    /// Sends these pieces and tells what the listener's shard reads, all of it.
    async fn arrives(address: &str, pieces: &[&[u8]], listener: &mut dyn Listener) {
        let mut near = Tcp.connect(address).await.unwrap();
        for piece in pieces {
            near.write_all(piece).await.unwrap();
            tokio::time::sleep(LOOK_AGAIN * 2).await;
        }
        let (mut far, _) = listener.accept().await.unwrap();
        let sent = pieces.concat();
        let mut read = vec![0; sent.len()];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(read, sent);
    }

    #[tokio::test]
    async fn a_stream_goes_to_the_shard_that_its_hello_names_with_every_byte() {
        let (address, mut first, mut second) = running().await;
        arrives(&address, &[&hello(SECOND), b"more"], &mut *second).await;
        arrives(&address, &[&hello(FIRST)], &mut *first).await;
        let whole = hello(SECOND);
        arrives(&address, &[&whole[..3], &whole[3..30], &whole[30..]], &mut *second).await;
    }

    #[tokio::test]
    async fn what_names_no_shard_is_the_first_ones_to_refuse() {
        let (address, mut first, _second) = running().await;
        arrives(&address, &[&hello(ClusterId([3; 16]))], &mut *first).await;
        arrives(&address, &[b"GET / HTTP/1.1\r\n\r\n"], &mut *first).await;
    }

    #[tokio::test]
    async fn a_loop_that_begins_anew_takes_the_place_of_the_one_before() {
        let exchange = Exchange::bind("127.0.0.1:0", FIRST).await.unwrap();
        let address = exchange.listener.local_addr().unwrap().to_string();
        let net = exchange.net(SECOND);
        let before = net.bind(&address).await.unwrap();
        let mut now = net.bind(&address).await.unwrap();
        drop(before);
        tokio::spawn(exchange.run(None));
        arrives(&address, &[&hello(SECOND)], &mut *now).await;
    }
}
