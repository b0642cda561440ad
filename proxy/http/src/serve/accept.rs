//! Takes clients in, and turns those away that are too many.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use super::bind::Listening;
use super::connection::{Arrival, serve};
use super::shared::{Loop, Place};
use super::stream::Plain;

/// Pause after an error that the next try would meet too, such as no descriptor being free.
const PAUSE: Duration = Duration::from_millis(50);

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Accepts until the front end drains.
pub(crate) async fn accept(own: Rc<Loop>, listening: Listening, is_tls: bool) -> io::Result<()> {
    let listener = match listening {
        Listening::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)?),
        Listening::Unix(socket) => Listener::Unix(UnixListener::from_std(socket)?),
    };
    let mut drain = own.shared.drain.subscribe();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|is_draining| *is_draining) => return Ok(()),
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

impl Listener {
    async fn next(&self) -> io::Result<(Plain, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Plain::Tcp(stream), address.ip()))
            }
            Self::Unix(listener) => {
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
    let place = Place::take(&own.shared);
    let visit = shared.clients.visit(address, shared.limits.client_connections);
    let (Some(place), Some(visit)) = (place, visit) else {
        shared.gauges.turned_away.fetch_add(1, Relaxed);
        return;
    };
    shared.gauges.accepted.fetch_add(1, Relaxed);
    tokio::task::spawn_local(serve(Rc::clone(own), Arrival { stream, address, is_tls, visit, place }));
}
