//! Serving a connection: bytes both ways while the table allows it, and how it ends.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use super::connection::{Connection, Fate};
use super::shell::Shell;

/// Reads of one connection before others get their turn.
const READS_PER_POLL: usize = 4;
/// How long a finished connection is still read, so that the client can take the answer before the close.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// How much of what a lingering client sends is thrown away before the close.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Serves a connection until it is over, and frees its place.
pub(super) async fn serve(shell: Rc<Shell>, connection: Rc<Connection>) {
    poll_fn(|cx| shell.poll_connection(&connection, cx)).await;
    if connection.fate() == Fate::Linger {
        // Boxed: a task that only waits stays small.
        Box::pin(linger(&shell, &connection)).await;
    }
    shell.close(&connection);
}

/// Writes what waits and throws away what comes, until the client ends or its time is over.
async fn linger(shell: &Shell, connection: &Connection) {
    connection.finish();
    let mut client_ended = false;
    let flushed = poll_fn(|cx| {
        connection.remember(cx.waker());
        client_ended = client_ended || shell.discard(connection, cx).1;
        match connection.flush(cx) {
            Ok(written) => shell.delivered(connection, written, shell.now()),
            Err(_) => connection.end(Fate::Reset),
        }
        if connection.write_is_closed() || connection.fate() == Fate::Reset {
            return Poll::Ready(());
        }
        Poll::Pending
    });
    if timeout(shell.limits.idle, flushed).await.is_err() {
        connection.end(Fate::Reset);
    }
    let mut discarded = 0;
    let ended = poll_fn(|cx| {
        connection.remember(cx.waker());
        if client_ended || connection.fate() == Fate::Reset || discarded >= LINGER_BYTES {
            return Poll::Ready(());
        }
        let (count, ended) = shell.discard(connection, cx);
        discarded += count;
        if ended { Poll::Ready(()) } else { Poll::Pending }
    });
    // Whether the client ended or its time did: the connection is closed.
    let _ = timeout(LINGER_TIME, ended).await;
}

impl Shell {
    /// Moves bytes both ways until the connection ends or nothing can move.
    pub(super) fn poll_connection(&self, connection: &Rc<Connection>, cx: &mut Context<'_>) -> Poll<()> {
        connection.remember(cx.waker());
        if connection.fate() == Fate::Open {
            match connection.flush(cx) {
                Ok(0) => {}
                Ok(written) => self.delivered(connection, written, self.now()),
                Err(_) => self.broken(connection),
            }
        }
        if connection.fate() == Fate::Open && !connection.read_closed.get() {
            self.read(connection, cx);
        }
        self.submit_if_due();
        if connection.fate() != Fate::Open || connection.is_done() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn read(&self, connection: &Rc<Connection>, cx: &mut Context<'_>) {
        let serial = connection.flow.serial;
        let mut scratch = self.scratch.borrow_mut();
        for _ in 0..READS_PER_POLL {
            let readable = self.with_nat(|nat| nat.readable_bytes(serial)).unwrap_or(0);
            if readable == 0 {
                return;
            }
            let limit = readable.min(scratch.len());
            match connection.poll_read(cx, &mut scratch[..limit]) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => {
                    connection.read_closed.set(true);
                    let now = self.now();
                    self.with_nat(|nat| nat.client_shutdown(serial, now));
                    return;
                }
                Poll::Ready(Ok(_)) if self.with_nat(|nat| nat.refuse_if_full(serial)) == Some(true) => {
                    return connection.end(Fate::Reset);
                }
                Poll::Ready(Ok(count)) => {
                    self.counters.add_in(count);
                    let now = self.now();
                    let group = self.with_nat(|nat| nat.received(serial, &scratch[..count], now)).flatten();
                    if let Some(group) = group {
                        self.upstream.received(group, count, self.instant(now));
                    }
                }
                Poll::Ready(Err(_)) => return self.broken(connection),
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Reads and throws away. Returns how much, and whether the client has ended.
    pub(super) fn discard(&self, connection: &Connection, cx: &mut Context<'_>) -> (usize, bool) {
        let mut scratch = self.scratch.borrow_mut();
        match connection.poll_read(cx, &mut scratch) {
            Poll::Pending => (0, false),
            Poll::Ready(Ok(0) | Err(_)) => (0, true),
            Poll::Ready(Ok(count)) => {
                cx.waker().wake_by_ref();
                (count, false)
            }
        }
    }
}
