//! What agreed effects do to a flow: the guest's half of the table.

use std::time::Duration;

use bytes::Bytes;
use refrain_wire::{GroupId, ResetReason, Serial};

use super::flow::Ending;
use super::{Nat, end, finish_if_complete, live};

/// What becomes of agreed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Emit {
    /// They are next: write them to the client.
    Write(Bytes),
    /// They were emitted before, or the flow is over: nothing to do.
    Nothing,
    /// They do not follow what was emitted: `emitted` bytes were, and these begin at another offset.
    Gap {
        /// How far the stream goes.
        emitted: u64,
    },
}

impl Nat {
    /// The group's guest sent `bytes` at `offset` of the flow's stream.
    pub fn emit(&mut self, group: GroupId, serial: Serial, offset: u64, mut bytes: Bytes, now: Duration) -> Emit {
        let Some((flow, state)) =
            live(&mut self.flows, &mut self.groups, serial).filter(|(flow, _)| flow.group == group)
        else {
            return Emit::Nothing;
        };
        let emitted = flow.emitted;
        let until = offset.saturating_add(bytes.len() as u64);
        if until <= emitted {
            return Emit::Nothing;
        }
        if offset > emitted || !flow.guest_open || !flow.is_stream() {
            return Emit::Gap { emitted };
        }
        let past = usize::try_from(emitted - offset).expect("it is less than the length of the bytes");
        if flow.emitted == flow.delivered {
            // Nothing waited for the client until now, so it could not take anything.
            flow.took_at = now;
        }
        flow.emitted = until;
        state.kept += until - emitted;
        self.tell_all_if_pressed(group);
        Emit::Write(bytes.split_off(past))
    }

    /// The group's guest will send nothing after `length` bytes. Returns whether that is news, or the gap. A call that
    /// it made has an idle limit from now on.
    pub fn finish(&mut self, group: GroupId, serial: Serial, length: u64, now: Duration) -> Result<bool, u64> {
        let Some((flow, state)) =
            live(&mut self.flows, &mut self.groups, serial).filter(|(flow, _)| flow.group == group)
        else {
            return Ok(false);
        };
        if flow.emitted != length || !flow.is_stream() {
            return Err(flow.emitted);
        }
        let news = std::mem::replace(&mut flow.guest_open, false);
        if flow.is_outward() {
            flow.took_at = now;
        }
        finish_if_complete(flow, state);
        Ok(news)
    }

    /// The group's guest reset the flow. Returns whether it had finished its stream before; `None` if the flow is
    /// not there or over. Kernels wait for a record that nothing follows on an association of a client.
    pub fn guest_reset(&mut self, group: GroupId, serial: Serial) -> Option<bool> {
        let (flow, state) = live(&mut self.flows, &mut self.groups, serial).filter(|(flow, _)| flow.group == group)?;
        if flow.is_association() && !flow.is_outward() {
            state.reset(ResetReason::Client, flow);
        }
        end(flow, state, Ending::GuestReset);
        Some(!flow.guest_open)
    }

    /// The group's guest has taken the client's stream up to `offset`.
    pub fn consumed(&mut self, group: GroupId, serial: Serial, offset: u64) {
        let Some((flow, state)) = live(&mut self.flows, &mut self.groups, serial)
            .filter(|(flow, _)| flow.group == group && !flow.is_association())
        else {
            return;
        };
        let before = flow.unread();
        flow.consumed = flow.consumed.max(offset.min(flow.received));
        state.unread.remove(before - flow.unread());
        let may_be_read = !flow.choked && (!flow.crowded || state.unread.window(flow, &state.limits) > 0);
        if flow.paused && may_be_read {
            flow.paused = false;
            self.resumed.push(serial);
        }
        self.resume_crowded(group);
    }
}
