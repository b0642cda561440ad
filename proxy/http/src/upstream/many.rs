//! Connections of HTTP/2 to upstreams, of one loop: few, with many requests each.
//!
//! A request goes to the connection of its upstream with the fewest others. When all have as many as a connection takes,
//! another one is made, up to [`MAX_LINES`]; beyond, requests wait in HTTP/2 for a stream, as many as the upstream's
//! limit on requests allows. One connection is made at a time, by a task of its own, and whoever needs it waits for that
//! one: a request that is given up does not give up the connection that others wait for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hyper::client::conn::http2::SendRequest;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::connect::{ConnectError, connect_many};
use super::pool::MAX_IDLE;
use super::{Address, Pool};
use crate::body::Body;
use crate::inner::STREAMS;

/// Most connections to one upstream.
const MAX_LINES: usize = 16;

/// A connection.
struct Line {
    sender: SendRequest<Body>,
    streams: Arc<AtomicU32>,
    used: Instant,
}

/// What came of making one.
type Made = Option<Result<(), Arc<ConnectError>>>;

#[derive(Default)]
struct Lines {
    open: Vec<Line>,
    making: Option<watch::Receiver<Made>>,
}

/// Connections by upstream.
#[derive(Default)]
pub(super) struct Many {
    by_address: Mutex<HashMap<Address, Lines>>,
}

/// A request's place on a connection, until its answer has ended.
#[derive(Debug)]
pub(crate) struct Stream(Arc<AtomicU32>);

impl Stream {
    fn on(streams: &Arc<AtomicU32>) -> Self {
        streams.fetch_add(1, Relaxed);
        Self(Arc::clone(streams))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Lines {
    /// The connection for the next request; none when another one should be made.
    fn pick(&mut self) -> Option<(SendRequest<Body>, Stream)> {
        self.open.retain(|line| !line.sender.is_closed());
        let is_room = self.open.len() < MAX_LINES;
        let line = self.open.iter_mut().min_by_key(|line| line.streams.load(Relaxed))?;
        if line.streams.load(Relaxed) >= STREAMS && is_room {
            return None;
        }
        line.used = Instant::now();
        Some((line.sender.clone(), Stream::on(&line.streams)))
    }
}

impl Many {
    /// A connection with room. The error is everybody's who waited for it.
    pub(super) async fn take(
        &self,
        pool: &Arc<Pool>,
        address: &Address,
        limits: (Duration, Duration),
    ) -> Result<(SendRequest<Body>, Stream), Arc<ConnectError>> {
        // Others may have taken all places of a connection that was just made: not of as many as there may be.
        for _ in 0..=MAX_LINES {
            let mut making = {
                let mut all = self.by_address.lock();
                let lines = all.entry(address.clone()).or_default();
                if let Some(taken) = lines.pick() {
                    return Ok(taken);
                }
                lines.making.get_or_insert_with(|| make(pool, address, limits)).clone()
            };
            match making.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(Ok(()))) => {}
                Ok(Some(Err(error))) => return Err(Arc::clone(error)),
                // The task went with its loop.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        }
        Err(Arc::new(ConnectError::Closed(address.clone())))
    }

    /// Forgets connections that are closed or were not used for long; those with requests stay.
    pub(super) fn sweep(&self) {
        self.by_address.lock().retain(|_, lines| {
            lines.open.retain(|line| {
                let is_used = line.streams.load(Relaxed) > 0 || line.used.elapsed() < MAX_IDLE;
                is_used && !line.sender.is_closed()
            });
            !lines.open.is_empty() || lines.making.is_some()
        });
    }
}

/// Makes a connection beside whoever wants it.
fn make(pool: &Arc<Pool>, address: &Address, (limit, patience): (Duration, Duration)) -> watch::Receiver<Made> {
    let (told, making) = watch::channel(None);
    let (pool, address) = (Arc::downgrade(pool), address.clone());
    tokio::task::spawn_local(async move {
        let made = connect_many(&address, limit, patience).await;
        let Some(pool) = pool.upgrade() else { return };
        {
            let mut all = pool.many.by_address.lock();
            let lines = all.entry(address).or_default();
            lines.making = None;
            if let Ok(sender) = &made {
                let line = Line { sender: sender.clone(), streams: Arc::default(), used: Instant::now() };
                lines.open.push(line);
            }
        }
        told.send_replace(Some(made.map(|_| ()).map_err(Arc::new)));
    });
    making
}
