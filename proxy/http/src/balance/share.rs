//! How much of a release each client holds: one that holds its share waits, so that slow requests of one client leave
//! places to the others.
//!
//! A client waits for its own requests alone, in their order, and beside the queue for places, which stays free for
//! others. It is forgotten with its last request; until then its share is what it was when its first one came.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::ReleaseLoad;

/// The clients of a release that have a request there. As many at most as it has requests.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<HashMap<IpAddr, Arc<Semaphore>>>);

/// A request that counts against its client's share, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    release: Arc<ReleaseLoad>,
    client: IpAddr,
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// None if nothing of the client's share came free in time. Cancellation-safe.
    pub(crate) async fn take(
        release: &Arc<ReleaseLoad>,
        client: IpAddr,
        requests: u32,
        wait: Duration,
    ) -> Option<Self> {
        let places = {
            let mut clients = release.shares.0.lock();
            let places = usize::try_from(requests).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
            Arc::clone(clients.entry(client).or_insert_with(|| Arc::new(Semaphore::new(places))))
        };
        // From here on the client is forgotten when this is dropped.
        let mut share = Self { release: Arc::clone(release), client, permit: None };
        let permit = timeout(wait, places.acquire_owned()).await.ok()?;
        share.permit = Some(permit.expect("it is never closed"));
        Some(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut clients = self.release.shares.0.lock();
        self.permit = None;
        if clients.get(&self.client).is_some_and(|places| Arc::strong_count(places) == 1) {
            clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    fn client(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_client_holds_its_share_and_not_one_more_and_others_do_not_wait_for_it() {
        run(async {
            let release = Arc::new(ReleaseLoad::default());
            let take = |last, wait| Share::take(&release, client(last), 2, wait);
            let first = take(1, LONG).now_or_never().unwrap().unwrap();
            let _second = take(1, LONG).now_or_never().unwrap().unwrap();
            assert!(take(1, Duration::from_secs(1)).await.is_none());
            assert!(take(2, LONG).now_or_never().is_some());
            let waits = take(1, LONG);
            let freed = async {
                tokio::task::yield_now().await;
                drop(first);
            };
            let (third, ()) = tokio::join!(waits, freed);
            assert!(third.is_some());
        });
    }

    #[test]
    fn a_client_is_forgotten_with_its_last_request_whether_or_not_it_got_a_place() {
        run(async {
            let release = Arc::new(ReleaseLoad::default());
            let held = Share::take(&release, client(1), 1, LONG).await;
            assert!(Share::take(&release, client(1), 1, LONG).now_or_never().is_none());
            assert!(Share::take(&release, client(1), 1, Duration::ZERO).await.is_none());
            assert_eq!(release.shares.0.lock().len(), 1);
            drop(held);
            assert!(release.shares.0.lock().is_empty());
            assert!(Share::take(&release, client(1), 1, LONG).now_or_never().is_some());
        });
    }
}
