//! The table's state of one group: records that wait, back pressure, and bytes delivered but not yet told.

use std::collections::VecDeque;

use bytes::Bytes;
use refrain_wire::{CallFailure, Protocol, Record, ResetReason, Serial};

use super::flow::Flow;
use super::limit::{GroupLimits, MAX_PENDING_BYTES};
use super::outbox::{Outbox, Ticket};
use super::unread::Unread;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) limits: GroupLimits,
    pub(super) held: bool,
    pub(super) halted: bool,
    /// New connections are refused, and those that send something are closed.
    pub(super) full: bool,
    /// Clients' connections that have not been closed, associations among them.
    pub(super) connections: usize,
    /// Clients' associations that have not been closed.
    pub(super) associations: usize,
    /// Connections and associations that its guest opened and that have not been closed.
    pub(super) calls: usize,
    /// Delivered but not yet told, over all flows.
    pub(super) untold: u64,
    /// Emitted but not yet told delivered, over all flows: what the kernel keeps.
    pub(super) kept: u64,
    pub(super) unread: Unread,
    main: Outbox,
    main_due: bool,
    /// Records that relieve, written while `main` is held.
    relief: Outbox,
    relief_due: bool,
    choked: VecDeque<Serial>,
}

impl Group {
    pub(super) fn new(limits: GroupLimits) -> Self {
        Self {
            limits,
            held: false,
            halted: false,
            full: false,
            connections: 0,
            associations: 0,
            calls: 0,
            untold: 0,
            kept: 0,
            unread: Unread::default(),
            main: Outbox::new(),
            main_due: false,
            relief: Outbox::new(),
            relief_due: false,
            choked: VecDeque::new(),
        }
    }

    /// The group's own limit that leaves no place for one connection or association more.
    pub(super) fn limit_reached(&self, protocol: Protocol) -> Option<usize> {
        let of_all = self.limits.connections.filter(|limit| self.connections >= *limit);
        let is_association = protocol == Protocol::Udp;
        let of_these = self.limits.associations.filter(|limit| is_association && self.associations >= *limit);
        of_all.or(of_these)
    }

    /// A connection or association of a client has a place.
    pub(super) fn add(&mut self, protocol: Protocol) {
        self.connections += 1;
        self.associations += usize::from(protocol == Protocol::Udp);
    }

    /// A connection or association of a client leaves its place.
    pub(super) fn remove(&mut self, protocol: Protocol) {
        self.connections -= 1;
        self.associations -= usize::from(protocol == Protocol::Udp);
    }

    /// Bytes of records that wait.
    pub(super) fn pending(&self) -> usize {
        self.main.bytes() + self.relief.bytes()
    }

    /// How many more bytes may be read for the group.
    pub(super) fn room(&self) -> usize {
        if self.held || self.halted {
            return 0;
        }
        MAX_PENDING_BYTES.saturating_sub(self.pending())
    }

    /// The flow is told when there is room again.
    pub(super) fn choke(&mut self, serial: Serial, flow: &mut Flow) {
        if !std::mem::replace(&mut flow.choked, true) {
            self.choked.push_back(serial);
        }
    }

    /// The flows that were choked, first come first served, if there is room now.
    pub(super) fn take_choked(&mut self) -> VecDeque<Serial> {
        if self.room() == 0 {
            return VecDeque::new();
        }
        std::mem::take(&mut self.choked)
    }

    pub(super) fn open(&mut self, record: &Record, flow: &mut Flow) {
        flow.open_ticket = self.main.push(record);
        flow.last_ticket = flow.open_ticket;
        self.main_due = true;
    }

    pub(super) fn data(&mut self, delivered: u64, bytes: &[u8], flow: &mut Flow) {
        flow.last_ticket = self.main.data(flow.serial, delivered, bytes);
        self.main_due = true;
    }

    /// The first one opens the association.
    pub(super) fn datagram(&mut self, record: &Record, flow: &mut Flow) {
        let ticket = self.main.push(record);
        if flow.received_datagrams == 0 {
            flow.open_ticket = ticket;
        }
        flow.received_datagrams += 1;
        flow.last_ticket = ticket;
        self.main_due = true;
    }

    /// Answers a call of the guest: never held back.
    pub(super) fn answer(&mut self, record: &Record) -> Ticket {
        self.relieve(record, true)
    }

    /// Whether anything of the flow, which is not over, went into a submission.
    pub(super) fn has_submitted(&self, flow: &Flow) -> bool {
        self.main.has_left(flow.open_ticket)
    }

    /// Follows the flow's data.
    pub(super) fn shutdown(&mut self, flow: &mut Flow) {
        let overtakes_nothing = self.main.has_left(flow.last_ticket);
        flow.last_ticket = flow.last_ticket.max(self.relieve(&Record::Shutdown(flow.serial), overtakes_nothing));
    }

    /// Follows the flow's open, and may overtake its data but no datagram, which would make the association anew. It
    /// answers a call that has no answer yet.
    pub(super) fn reset(&mut self, reason: ResetReason, flow: &Flow) {
        let serial = flow.serial;
        if flow.dialing {
            self.answer(&Record::Failed { serial, failure: CallFailure::Reset });
        } else {
            let follows = if flow.is_association() { flow.last_ticket } else { flow.open_ticket };
            self.relieve(&Record::Reset { serial, reason }, self.main.has_left(follows));
        }
    }

    /// A record tells that `delivered` bytes more are.
    pub(super) fn told(&mut self, delivered: u64) {
        self.untold -= delivered;
        self.kept -= delivered;
    }

    /// Whether so much is kept that everything delivered has to be told at once: flows that have nothing left but their
    /// own share of the send buffers wait for it.
    pub(super) fn is_pressed(&self) -> bool {
        self.kept > self.limits.buffers_bytes / 4
    }

    /// Tells that all of the flow's delivered bytes are.
    pub(super) fn credit(&mut self, flow: &mut Flow) {
        let delivered = flow.untold();
        flow.told = flow.delivered;
        self.told(delivered);
        let record = Record::Credit { serial: flow.serial, delivered };
        let (queue, due) =
            if self.held { (&mut self.relief, &mut self.relief_due) } else { (&mut self.main, &mut self.main_due) };
        queue.push(&record);
        *due = true;
    }

    fn relieve(&mut self, record: &Record, may_overtake: bool) -> Ticket {
        if self.held && may_overtake {
            self.relief.push(record);
            self.relief_due = true;
            return Default::default();
        }
        self.main_due = true;
        self.main.push(record)
    }

    /// Whether a submission is due because of this group.
    pub(super) fn is_due(&self) -> bool {
        self.relief_due || (self.main_due && !self.held)
    }

    /// Length of the piece that [`Group::pop`] would return.
    pub(super) fn front_len(&self) -> usize {
        if self.relief_due { self.relief.front_len() } else { self.main.front_len() }
    }

    /// The next piece to submit, if one is due.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let (queue, due) = if self.relief_due {
            (&mut self.relief, &mut self.relief_due)
        } else if self.main_due && !self.held {
            (&mut self.main, &mut self.main_due)
        } else {
            return None;
        };
        let piece = queue.pop();
        *due = queue.bytes() > 0;
        piece
    }

    /// Nobody waits for the records any more: every flow of the group is over.
    pub(super) fn drop_pending(&mut self) {
        let (held, halted, full) = (self.held, self.halted, self.full);
        let (connections, associations, calls) = (self.connections, self.associations, self.calls);
        *self = Self { held, halted, full, connections, associations, calls, ..Self::new(self.limits) };
    }

    /// Lets what waits go on after a hold.
    pub(super) fn release(&mut self) {
        self.held = false;
        self.relief_due |= self.relief.bytes() > 0;
        self.main_due |= self.main.bytes() > 0;
    }
}
