//! What becomes of flows when their group is halted, held or full, when its kernel is replaced, and when the epoch
//! ends.

use std::collections::BTreeSet;

use refrain_wire::record::records;
use refrain_wire::{GroupId, Record, Serial};

use super::flow::Ending;
use super::limit::GroupLimits;
use super::{Nat, Submission, end, resume_choked};

impl Nat {
    /// Ends the group's flows and look-ups without records (replicas end theirs by the halt), drops those that wait,
    /// and names the flows and look-ups.
    pub fn halt(&mut self, group: GroupId) -> Vec<Serial> {
        let mut halted = self.select(|flow| flow.group == group);
        let Some(state) = self.groups.get_mut(&group) else {
            return Vec::new();
        };
        state.halted = true;
        for serial in &halted {
            if let Some(flow) = self.flows.get_mut(serial) {
                end(flow, state, Ending::Halted);
            }
        }
        state.drop_pending();
        halted.extend(self.calls.give_up_lookups(group));
        halted
    }

    /// Lets a halted group accept again.
    pub fn resume(&mut self, group: GroupId) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.halted = false;
        }
    }

    /// Whether the group's history is full: it takes no new work then, neither connections nor bytes of those that are
    /// there. What waits to be submitted, and what relieves, still goes.
    pub fn fill(&mut self, group: GroupId, full: bool) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.full = full;
        }
    }

    /// The leader takes no open or data of the group: both wait, and its clients are not read.
    pub fn hold(&mut self, group: GroupId) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.held = true;
        }
    }

    /// The leader takes the group's open and data again.
    pub fn release(&mut self, group: GroupId) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.release();
            resume_choked(&mut self.flows, state, &mut self.resumed);
        }
    }

    /// The group has a new kernel, which was given these limits, by the last record applied. Flows whose open is not
    /// committed reach the new one and get its window; those before, and those that the guest opened, keep the window
    /// of theirs.
    pub fn update_group(&mut self, id: GroupId, limits: GroupLimits) {
        let on_the_way = self.opens(|_| true);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.limits = limits;
        for (serial, flow) in self.flows.iter_mut().filter(|(_, flow)| flow.group == id && flow.ending.is_none()) {
            if flow.is_outward() || flow.is_association() || (group.has_submitted(flow) && !on_the_way.contains(serial))
            {
                continue;
            }
            flow.window_bytes = limits.window_bytes;
            if !flow.choked && std::mem::replace(&mut flow.paused, false) {
                self.resumed.push(*serial);
            }
        }
    }

    /// The epoch is over. Ends every flow without a record, as replicas end theirs by themselves, and decides what is
    /// said of it: not accepted, if nothing of it was given to the sequencer, else that the outcome is unknown. Look-ups
    /// are left to the next owner.
    pub fn end_epoch(&mut self) {
        let given = self.given;
        self.calls.clear_lookups();
        let kept_back = self.opens(|submission| submission.id.number > given);
        for (serial, flow) in self.flows.iter_mut().filter(|(_, flow)| flow.ending.is_none()) {
            let Some(group) = self.groups.get_mut(&flow.group) else { continue };
            if flow.is_outward() || flow.is_association() {
                end(flow, group, Ending::EpochEnded);
                continue;
            }
            let is_out = group.has_submitted(flow) && !kept_back.contains(serial);
            end(flow, group, if is_out { Ending::OutcomeUnknown } else { Ending::NotAccepted });
        }
    }

    /// The flows whose open is in one of these submissions that are not committed.
    fn opens(&self, of: impl Fn(&Submission) -> bool) -> BTreeSet<Serial> {
        let submissions = self.unacknowledged.iter().filter(|submission| of(submission));
        let records = submissions.flat_map(|submission| &submission.batches).flat_map(|batch| records(&batch.records));
        let open = |record| match record {
            Ok(Record::Open { serial, .. }) => Some(serial),
            _ => None,
        };
        records.filter_map(open).collect()
    }
}
