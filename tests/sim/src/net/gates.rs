//! Which hosts reach which: the state of all links, changed by faults between the steps of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A host of the simulation; its name is `n` and the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(pub u16);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl Host {
    /// The host with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        name.strip_prefix('n')?.parse().ok().map(Self)
    }

    /// The host and port of `name:port`, or of an IP address and a port.
    #[must_use]
    pub fn of_address(address: &str) -> Option<(Self, u16)> {
        let (name, port) = address.rsplit_once(':')?;
        let of_ip = || {
            let [_, _, high, low] = name.parse::<Ipv4Addr>().ok()?.octets();
            Some(Self(u16::from_be_bytes([high, low])))
        };
        Some((Self::of_name(name).or_else(of_ip)?, port.parse().ok()?))
    }

    /// Its address at `port`.
    #[must_use]
    pub fn address(self, port: u16) -> String {
        format!("{self}:{port}")
    }
}

#[derive(Default)]
struct State {
    /// From whom nothing reaches whom.
    cut: BTreeSet<(Host, Host)>,
    paused: BTreeSet<Host>,
    /// How often the streams between two hosts were reset.
    resets: BTreeMap<(Host, Host), u64>,
    orphan_percent: u64,
    /// Everything that passed, when somebody wants to compare it.
    passed: Option<blake3::Hasher>,
}

/// The gates between all hosts; clones share them.
#[derive(Clone, Default)]
pub struct Gates {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

fn pair(a: Host, b: Host) -> (Host, Host) {
    (a.min(b), a.max(b))
}

impl Gates {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) {
        change(&mut self.state.lock());
        self.changed.notify_waiters();
    }

    /// Nothing from `from` reaches `to` any more.
    pub fn cut(&self, from: Host, to: Host) {
        self.change(|state| state.cut.insert((from, to)));
    }

    /// What `from` sends reaches `to` again.
    pub fn heal(&self, from: Host, to: Host) {
        self.change(|state| state.cut.remove(&(from, to)));
    }

    /// Nothing goes in or out of `host`: its process does not run.
    pub fn pause(&self, host: Host) {
        self.change(|state| state.paused.insert(host));
    }

    /// `host` goes on.
    pub fn resume(&self, host: Host) {
        self.change(|state| state.paused.remove(&host));
    }

    /// All connections between both are reset.
    pub fn reset(&self, a: Host, b: Host) {
        self.change(|state| *state.resets.entry(pair(a, b)).or_default() += 1);
    }

    /// How many of a hundred connections the server has and the client believes to have failed.
    pub fn set_orphan_percent(&self, percent: u64) {
        self.change(|state| state.orphan_percent = percent);
    }

    /// See [`Gates::set_orphan_percent`].
    #[must_use]
    pub fn orphan_percent(&self) -> u64 {
        self.state.lock().orphan_percent
    }

    /// Everything that passes is hashed from now on.
    pub fn tap(&self) {
        self.state.lock().passed = Some(blake3::Hasher::new());
    }

    /// The digest of everything that has passed since the tap.
    #[must_use]
    pub fn passed(&self) -> Option<blake3::Hash> {
        self.state.lock().passed.as_ref().map(blake3::Hasher::finalize)
    }

    pub(super) fn passes(&self, from: Host, to: Host, bytes: &[u8]) {
        if let Some(passed) = &mut self.state.lock().passed {
            passed.update(&from.0.to_le_bytes());
            passed.update(&to.0.to_le_bytes());
            passed.update(bytes);
        }
    }

    /// Every host reaches every other again.
    pub fn open_all(&self) {
        self.change(|state| {
            state.cut.clear();
            state.paused.clear();
            state.orphan_percent = 0;
        });
    }

    /// Whether what `from` sends reaches `to` now.
    #[must_use]
    pub fn is_open(&self, from: Host, to: Host) -> bool {
        let state = self.state.lock();
        !state.cut.contains(&(from, to)) && !state.paused.contains(&from) && !state.paused.contains(&to)
    }

    /// Whether `host` does not run.
    #[must_use]
    pub fn is_paused(&self, host: Host) -> bool {
        self.state.lock().paused.contains(&host)
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if condition() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until what `from` sends reaches `to`.
    pub async fn until_open(&self, from: Host, to: Host) {
        self.until(|| self.is_open(from, to)).await;
    }

    /// Waits until `host` runs.
    pub async fn until_running(&self, host: Host) {
        self.until(|| !self.is_paused(host)).await;
    }

    pub(super) fn resets(&self, a: Host, b: Host) -> u64 {
        self.state.lock().resets.get(&pair(a, b)).copied().unwrap_or_default()
    }

    /// Waits until the connections between both were reset more than `before` times.
    pub(super) async fn until_reset(&self, a: Host, b: Host, before: u64) {
        self.until(|| self.resets(a, b) > before).await;
    }
}
