//! Waiting. The time itself is that of `std::time`.

use std::time::Duration;

use wasip2::clocks::monotonic_clock::subscribe_duration;

use crate::executor::ready;

/// Waits so long, while everything else of the request goes on.
pub async fn sleep(duration: Duration) {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    ready(subscribe_duration(nanos)).await;
}
