//! Takes clients in, and turns those away that are too many.
//!
//! A client whose connection the kernel has set up is one that came before the drain: those are taken in before the
//! listener closes, since closing it would reset them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::bind::Listening;
use super::connection::{Arrival, serve};
use super::shared::{Accepting, Loop, Place, Shared};
use super::stream::Plain;
use super::unix::SocketFile;
use super::unread;
use crate::answer::Fault;

/// Pause after an error that the next try would meet too, such as no descriptor being free.
const PAUSE: Duration = Duration::from_millis(50);

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, Arc<SocketFile>),
}

/// Accepts until the front end drains, and then what waits already.
pub(crate) async fn accept(own: Rc<Loop>, listening: Listening, is_tls: bool, _accepting: Accepting) -> io::Result<()> {
    let listener = match listening {
        Listening::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)?),
        Listening::Unix(socket, file) => Listener::Unix(UnixListener::from_std(socket)?, file),
    };
    let mut drain = own.shared.drain.subscribe();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|is_draining| *is_draining) => return take_backlog(&own, listener, is_tls),
            accepted = listener.next() => accepted,
        };
        match accepted {
            Ok((stream, address)) => take_in(&own, stream, address, is_tls),
            // The client changed its mind.
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Asks the kernel itself: the runtime may not have been told yet of a connection that is there.
fn take_backlog(own: &Rc<Loop>, listener: Listener, is_tls: bool) -> io::Result<()> {
    let listening = match listener {
        Listener::Tcp(listener) => Listening::Tcp(listener.into_std()?),
        Listener::Unix(listener, file) => Listening::Unix(listener.into_std()?, file),
    };
    loop {
        match next_waiting(&listening) {
            Ok((stream, address)) => take_in(own, stream, address, is_tls),
            Err(error) if is_of_client(&error) || error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn next_waiting(listening: &Listening) -> io::Result<(Plain, IpAddr)> {
    match listening {
        Listening::Tcp(listener) => {
            let (stream, address) = listener.accept()?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok((Plain::Tcp(TcpStream::from_std(stream)?), address.ip()))
        }
        Listening::Unix(listener, _) => {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            Ok((Plain::Unix(UnixStream::from_std(stream)?), Ipv4Addr::LOCALHOST.into()))
        }
    }
}

impl Listener {
    async fn next(&self) -> io::Result<(Plain, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Plain::Tcp(stream), address.ip()))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Plain::Unix(stream), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}

fn take_in(own: &Rc<Loop>, stream: Plain, address: IpAddr, is_tls: bool) {
    let shared = &own.shared;
    let Some(place) = Place::take(shared) else {
        return turn_away(own, address, &Fault::ConnectionsFull);
    };
    let visit = if shared.is_proxy(address) {
        None
    } else {
        let visit = shared.clients.visit(address, shared.limits.client_connections);
        if visit.is_none() {
            return turn_away(own, address, &Fault::ClientConnections);
        }
        visit
    };
    shared.gauges.accepted.fetch_add(1, Relaxed);
    tokio::task::spawn_local(serve(Rc::clone(own), Arrival { stream, address, is_tls, visit, place }));
}

/// By closing, which takes nothing of whoever else is served.
fn turn_away(own: &Loop, address: IpAddr, fault: &Fault) {
    unread::tell(own, address, fault, &"the connection is closed");
}

/// Serves one client that came in through a pipe, on this thread, until it goes.
pub(crate) async fn attend(shared: Arc<Shared>, pipe: DuplexStream, address: IpAddr) {
    let place = Place::take(&shared);
    let visit = shared.clients.visit(address, shared.limits.client_connections);
    let (Some(place), Some(visit)) = (place, visit) else { return };
    let own = Rc::new(Loop::new(shared));
    let arrival = Arrival { stream: Plain::Pipe(pipe), address, is_tls: false, visit: Some(visit), place };
    serve(own, arrival).await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::plan::Plan;
    use crate::serve::Shared;
    use crate::settings::Settings;

    #[test]
    fn a_client_that_waits_to_be_accepted_when_the_drain_begins_is_answered() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let shared = Shared::new(Settings::default(), Plan::default());
        let accepting = Accepting::begin(&shared);
        shared.begin_drain();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let own = Rc::new(Loop::new(Arc::clone(&shared)));
            accept(own, Listening::Tcp(listener), false, accepting).await.unwrap();
            shared.wait_until_empty().await;
        });
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer:?}");
    }
}
