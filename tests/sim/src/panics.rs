//! Panics of tasks: tokio keeps them to itself when nobody waits for the task, so they are caught where they begin.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Collects the panics of this thread while it lives.
#[derive(Debug)]
pub struct Watch(());

/// Begins to collect the panics of this thread.
#[must_use]
pub fn watch() -> Watch {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let seen = SEEN.with(|seen| seen.borrow_mut().as_mut().map(|seen| seen.push(info.to_string())));
            if seen.is_none() {
                earlier(info);
            }
        }));
    });
    SEEN.with(|seen| *seen.borrow_mut() = Some(Vec::new()));
    Watch(())
}

impl Watch {
    /// The panics so far; they are collected no more.
    #[must_use]
    pub fn take(self) -> Vec<String> {
        SEEN.with(|seen| seen.borrow_mut().take().unwrap_or_default())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        SEEN.with(|seen| *seen.borrow_mut() = None);
    }
}
