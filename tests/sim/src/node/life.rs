//! What all clients share: how long they go on, and how they find a node that serves them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::observed::Observed;
use crate::dice::Dice;
use crate::net::SimNet;
use crate::net::gates::Host;
use crate::net::socket::Socket;

/// How often a client that rests looks whether it is wanted.
const REST: Duration = Duration::from_millis(10);
/// How long after a failed try the next node is tried.
const PAUSE_MILLIS: (u64, u64) = (5, 60);

#[derive(Debug, Default)]
struct State {
    goal: Cell<u64>,
    done: Cell<u64>,
    /// The client does nothing.
    rests: Cell<bool>,
    last_look: Cell<bool>,
}

/// How long a client goes on, from outside and from inside; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Life(Rc<State>);

impl Life {
    /// One that goes on for ever.
    #[must_use]
    pub fn endless() -> Self {
        let life = Self::default();
        life.0.goal.set(u64::MAX);
        life
    }

    /// It goes on until it has done so many things more.
    pub fn only(&self, more: u64) {
        self.0.goal.set(self.0.done.get() + more);
        self.0.rests.set(false);
    }

    /// Whether it has done everything and rests.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.rests.get() && !self.goes_on() && !self.0.last_look.get()
    }

    /// What it has done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.0.done.get()
    }

    /// It is to read everything that there is.
    pub fn ask_last_look(&self) {
        self.0.last_look.set(true);
    }

    pub(super) fn last_look_wanted(&self) -> bool {
        self.0.last_look.get()
    }

    pub(super) fn last_look_done(&self) {
        self.0.last_look.set(false);
    }

    pub(super) fn goes_on(&self) -> bool {
        self.0.done.get() < self.0.goal.get()
    }

    pub(super) fn did(&self) {
        self.0.done.set(self.0.done.get() + 1);
    }

    /// Waits until there is something to do.
    pub(super) async fn until_wanted(&self) {
        while !self.goes_on() && !self.last_look_wanted() {
            self.0.rests.set(true);
            sleep(REST).await;
        }
        self.0.rests.set(false);
    }
}

/// What a client's process needs.
pub struct Client {
    /// Its machine.
    pub host: Host,
    /// Its network.
    pub net: Arc<SimNet>,
    /// The nodes that clients may connect to.
    pub proxies: Vec<Host>,
    /// How long it waits for an answer.
    pub patience: Duration,
    /// How long it goes on.
    pub life: Life,
    /// The notes.
    pub observed: Observed,
    /// Its randomness.
    pub dice: Dice,
}

impl Client {
    /// A connection to some node, when there is one.
    pub(super) async fn connect(&mut self, port: u16) -> Option<Socket> {
        let node = *self.dice.pick(&self.proxies);
        match timeout(self.patience, self.net.connect(&node.address(port))).await {
            Ok(Ok(stream)) => Some(Socket::new(stream)),
            Ok(Err(_)) | Err(_) => {
                sleep(self.dice.millis(PAUSE_MILLIS.0, PAUSE_MILLIS.1)).await;
                None
            }
        }
    }

    /// Waits for something as long as its patience lasts.
    pub(super) async fn within<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        timeout(self.patience, what).await.ok()
    }

    /// Notes something that happened to it.
    pub(super) fn note(&self, what: impl std::fmt::Display) {
        self.observed.trace().note(self.host, what);
    }
}
