//! Waiting for what other processes do: nothing tells of it, so it is looked for again and again, with a limit.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a server may take to say that it is ready, or a condition to come about.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const STEP: Duration = Duration::from_millis(5);

/// Waits until `look` finds something, at most [`PATIENCE`].
pub fn until<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    within(PATIENCE, what, look)
}

/// Waits until `look` finds something, at most so long.
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > patience {
            bail!("{what}: waited in vain for {patience:?}");
        }
        pause(STEP);
    }
}

/// Lets time pass while something goes on that is watched for a span.
pub fn pause(span: Duration) {
    let end = Instant::now() + span;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        // Nobody unparks this thread; should somebody do, the rest is waited for.
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_ends_the_wait() {
        let mut looks = 0;
        let found = until("the third look", || {
            looks += 1;
            Ok((looks == 3).then_some("it"))
        });
        assert_eq!(found.unwrap(), "it");
    }

    #[test]
    fn a_wait_in_vain_names_what_did_not_come() {
        let error = within(Duration::ZERO, "rain", || Ok(None::<()>)).unwrap_err();
        assert!(error.to_string().contains("rain"), "{error}");
    }

    #[test]
    fn a_pause_is_as_long_as_asked_for() {
        let start = Instant::now();
        std::thread::current().unpark();
        pause(Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
