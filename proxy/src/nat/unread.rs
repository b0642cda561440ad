//! What a group's clients sent and its guest has not taken, over all flows.
//!
//! Every flow has a small share of its own, so that none waits for what others leave unread; beyond the shares, all of
//! a group's flows have three quarters of what the service's socket buffers may hold.

use std::collections::{BTreeMap, BTreeSet};

use refrain_wire::Serial;

use super::flow::Flow;
use super::limit::{GroupLimits, Limits};

/// Bytes of one group that are received and not consumed, and the flows that wait until they are fewer.
#[derive(Debug, Default)]
pub(super) struct Unread {
    pub(super) bytes: u64,
    crowded: BTreeSet<Serial>,
}

impl Unread {
    pub(super) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }

    /// How many more bytes may be received on the flow, whatever waits for a submission.
    pub(super) fn window(&self, flow: &Flow, limits: &GroupLimits) -> u64 {
        let unread = flow.unread();
        let own = own_bytes(limits).saturating_sub(unread);
        let shared = shared_bytes(limits).saturating_sub(self.bytes);
        flow.window_bytes.saturating_sub(unread).min(own.max(shared))
    }

    /// The flow is told when others have less.
    pub(super) fn crowd(&mut self, serial: Serial, flow: &mut Flow) {
        flow.crowded = true;
        self.crowded.insert(serial);
    }

    /// The flow is gone.
    pub(super) fn forget(&mut self, serial: Serial) {
        self.crowded.remove(&serial);
    }

    /// How many flows wait for others.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.crowded.len()
    }

    /// Once an eighth of what is shared is free: the flows that may be read again.
    pub(super) fn resume(
        &mut self,
        flows: &mut BTreeMap<Serial, Flow>,
        limits: &GroupLimits,
        resumed: &mut Vec<Serial>,
    ) {
        let shared = shared_bytes(limits);
        if self.crowded.is_empty() || self.bytes > shared - shared / 8 {
            return;
        }
        for serial in std::mem::take(&mut self.crowded) {
            if let Some(flow) = flows.get_mut(&serial) {
                flow.crowded = false;
                if !flow.choked && std::mem::replace(&mut flow.paused, false) {
                    resumed.push(serial);
                }
            }
        }
    }
}

/// What all flows may leave unread together.
fn shared_bytes(limits: &GroupLimits) -> u64 {
    limits.buffers_bytes - limits.buffers_bytes / 4
}

/// What a flow may leave unread whatever the others do: a quarter of the whole, over all flows that there may be.
fn own_bytes(limits: &GroupLimits) -> u64 {
    let flows = limits.connections.unwrap_or(Limits::default().connections);
    (limits.buffers_bytes / 4 / (flows as u64).max(1)).max(1)
}
