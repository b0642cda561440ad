//! `wasi:clocks`.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures::future::{join_all, select};
use wasip3::clocks::{monotonic_clock, system_clock};

const MS: u64 = 1_000_000;

pub async fn check() {
    assert!(monotonic_clock::get_resolution() > 0 && system_clock::get_resolution() > 0);
    let (one, two) = (monotonic_clock::now(), monotonic_clock::now());
    assert!(one < two, "{one} {two}");
    let (one, two) = (system_clock::now(), system_clock::now());
    assert!((one.seconds, one.nanoseconds) < (two.seconds, two.nanoseconds));
    assert!(one.nanoseconds < 1_000_000_000);

    // What is past need not be waited for.
    let mut noop = Context::from_waker(Waker::noop());
    assert_eq!(pin!(monotonic_clock::wait_for(0)).poll(&mut noop), Poll::Ready(()));
    assert_eq!(pin!(monotonic_clock::wait_until(0)).poll(&mut noop), Poll::Ready(()));
    assert_eq!(pin!(monotonic_clock::wait_until(monotonic_clock::now())).poll(&mut noop), Poll::Ready(()));

    let before = monotonic_clock::now();
    monotonic_clock::wait_for(5 * MS).await;
    assert!(monotonic_clock::now() >= before + 5 * MS);
    let at = monotonic_clock::now() + 3 * MS;
    monotonic_clock::wait_until(at).await;
    assert!(monotonic_clock::now() >= at);

    many().await;
    cancelled().await;
}

/// Several waits end in the order of their times, whatever the order in which they began.
async fn many() {
    let start = monotonic_clock::now();
    let order = std::cell::RefCell::new(Vec::new());
    let waits = [7u64, 2, 11, 0, 5, 3].map(|ms| {
        let order = &order;
        async move {
            monotonic_clock::wait_until(start + ms * MS).await;
            assert!(monotonic_clock::now() >= start + ms * MS);
            order.borrow_mut().push(ms);
        }
    });
    join_all(waits).await;
    assert_eq!(*order.borrow(), [0, 2, 3, 5, 7, 11]);
}

/// A wait that nobody wants any more holds up nothing.
async fn cancelled() {
    let before = monotonic_clock::now();
    let (long, short) = (pin!(monotonic_clock::wait_for(3_600_000 * MS)), pin!(monotonic_clock::wait_for(MS)));
    select(long, short).await;
    assert!(monotonic_clock::now() < before + 3_600_000 * MS);
}
