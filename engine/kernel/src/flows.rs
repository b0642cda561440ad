//! What records do to flows, and how flows end.

use std::net::SocketAddr;

use bytes::Bytes;
use refrain_wire::{Epoch, FlowId, Serial};

use crate::errno::Errno;
use crate::flow::{Flow, Link};
use crate::kernel::{FlowSlot, Kernel};

impl Kernel {
    pub(crate) fn opened(&mut self, id: FlowId, port: u16, peer: SocketAddr) {
        if self.tables.by_id.contains_key(&id) {
            // A proxy gives each number once; one that does not loses the flow, on every replica alike.
            self.reset_flow(id);
            return;
        }
        // Numbers of the guest's own calls are no client's.
        let refused = id.is_outward() || self.clients() >= self.config.max_flows;
        let listener = self.tables.listeners.get_mut(&port);
        let Some(listener) = listener.filter(|listener| !refused && (listener.queue.len() as u32) < listener.backlog)
        else {
            self.effects.reset(id);
            return;
        };
        self.tables.next_stamp += 1;
        let stamp = self.tables.next_stamp;
        let slot = self.tables.flows.insert(FlowSlot { stamp, flow: Flow::new(id, peer, port) });
        listener.queue.push_back(slot);
        self.tables.by_id.insert(id, slot);
    }

    pub(crate) fn received(&mut self, id: FlowId, bytes: Bytes) {
        let window = self.config.socket_buffer_bytes;
        let Some(slot) = self.tables.by_id.get(&id).copied() else { return };
        let Some(FlowSlot { flow, .. }) = self.tables.flows.get_mut(slot) else { return };
        self.touched.insert(slot);
        if flow.link != Link::Open {
            // Nothing was promised on it yet.
        } else if flow.closed {
            // As TCP answers data that comes after close.
            self.reset_flow(id);
        } else if !flow.receive(bytes, window) {
            // The proxy never sends beyond the window; one that does loses the flow, on every replica alike.
            self.reset_flow(id);
        } else if flow.read_shut {
            flow.discard_received();
        }
    }

    pub(crate) fn delivered(&mut self, id: FlowId, more: u64) {
        let Some(slot) = self.tables.by_id.get(&id).copied() else { return };
        let Some(FlowSlot { flow, .. }) = self.tables.flows.get_mut(slot) else { return };
        let own = self.config.own_send_bytes();
        let before = flow.unsent_bytes().saturating_sub(own);
        flow.deliver(more);
        self.tables.shared_bytes -= before - flow.unsent_bytes().saturating_sub(own);
        self.touched.insert(slot);
    }

    pub(crate) fn peer_finished(&mut self, id: FlowId) {
        let Some(slot) = self.tables.by_id.get(&id).copied() else { return };
        let Some(FlowSlot { flow, .. }) = self.tables.flows.get_mut(slot) else { return };
        flow.peer_finished = true;
        self.touched.insert(slot);
    }

    /// A proxy's epoch is over: everything that it held is.
    pub(crate) fn end_epoch(&mut self, epoch: Epoch) {
        self.tables.outward.ended(epoch);
        let all = FlowId { epoch, serial: Serial(0) }..=FlowId { epoch, serial: Serial(u32::MAX) };
        let ended: Vec<FlowId> = self.tables.by_id.range(all.clone()).map(|(id, _)| *id).collect();
        for id in ended {
            self.fail_or_drop(id, Errno::Connaborted);
        }
        self.end_associations(all);
        self.pass_on_lookup(epoch);
    }

    /// The outside gave a flow up: a call learns so, what was connected is over.
    fn fail_or_drop(&mut self, id: FlowId, errno: Errno) {
        if !self.fail_call(id, errno) {
            self.drop_flow(id);
        }
    }

    /// A proxy says that a flow or an association is over.
    pub(crate) fn flow_reset(&mut self, id: FlowId) {
        self.end_associations(id..=id);
        self.fail_or_drop(id, Errno::Connreset);
    }

    /// Ends a flow that the outside has given up: nothing is sent for it any more.
    pub(crate) fn drop_flow(&mut self, id: FlowId) {
        self.remove_flow(id);
        self.effects.forget(id);
    }

    /// Ends a flow and tells the client so.
    pub(crate) fn reset_flow(&mut self, id: FlowId) {
        self.remove_flow(id);
        if Self::is_told(id) {
            self.effects.reset(id);
        }
    }

    pub(crate) fn reset_all_flows(&mut self) {
        for id in self.tables.by_id.keys().copied().collect::<Vec<_>>() {
            self.reset_flow(id);
        }
        self.drop_lookup();
        self.reset_associations();
    }

    /// Ends the guest's side of every flow, as a host does for a process that has ended.
    pub(crate) fn finish_all_flows(&mut self) {
        for slot in self.tables.by_id.values().copied().collect::<Vec<_>>() {
            self.finish(slot);
        }
    }

    pub(crate) fn remove_flow(&mut self, id: FlowId) {
        let Some(slot) = self.tables.by_id.remove(&id) else { return };
        let removed = self.tables.flows.remove(slot).expect("every id has its slot");
        self.tables.shared_bytes -= removed.flow.unsent_bytes().saturating_sub(self.config.own_send_bytes());
        if let Some(listener) = self.tables.listeners.get_mut(&removed.flow.port) {
            listener.queue.retain(|waiting| *waiting != slot);
        }
        self.touched.remove(&slot);
        self.forget_twin(slot);
        self.outward_gone(id);
    }

    /// Tells what was consumed, frees what is over. Part of the end of a turn.
    pub(crate) fn settle_touched_flows(&mut self) {
        let window = self.config.socket_buffer_bytes;
        for slot in std::mem::take(&mut self.touched) {
            let Some(FlowSlot { flow, .. }) = self.tables.flows.get_mut(slot) else { continue };
            let id = flow.id;
            if flow.is_over() {
                self.remove_flow(id);
                continue;
            }
            flow.compact();
            if let Some(offset) = flow.consumed_to_tell(window).filter(|_| Self::is_told(id)) {
                self.effects.consumed(id, offset);
            }
        }
    }
}
