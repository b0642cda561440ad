//! The one place that sleeps.

use std::thread;
use std::time::Duration;

/// Lets time pass: a span that is watched has no event to wait for, and neither does the end of a child process that
/// comes with a deadline.
#[expect(clippy::disallowed_methods, reason = "time is what is waited for")]
pub fn pause(duration: Duration) {
    thread::sleep(duration);
}
