//! What becomes of flows when their group's kernel is replaced, and when the epoch ends.

use std::collections::BTreeSet;

use refrain_wire::record::records;
use refrain_wire::{GroupId, Record, Serial};

use super::flow::Ending;
use super::limit::GroupLimits;
use super::{Nat, Submission, end};

impl Nat {
    /// The group has a new kernel, which was given these limits, by the last record applied. Flows whose open is not
    /// committed reach the new one and get its window; those before keep the window of theirs.
    pub fn update_group(&mut self, id: GroupId, limits: GroupLimits) {
        let on_the_way = self.opens(|_| true);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.limits = limits;
        for (serial, flow) in self.flows.iter_mut().filter(|(_, flow)| flow.group == id && flow.ending.is_none()) {
            if group.has_submitted(flow) && !on_the_way.contains(serial) {
                continue;
            }
            flow.window_bytes = limits.window_bytes;
            if !flow.choked && std::mem::replace(&mut flow.paused, false) {
                self.resumed.push(*serial);
            }
        }
    }

    /// The epoch is over. Ends every flow without a record, as replicas end theirs by themselves, and decides what is
    /// said of it: not accepted, if nothing of it was given to the sequencer, else that the outcome is unknown.
    pub fn end_epoch(&mut self) {
        let given = self.given;
        let kept_back = self.opens(|submission| submission.id.number > given);
        for (serial, flow) in self.flows.iter_mut().filter(|(_, flow)| flow.ending.is_none()) {
            let Some(group) = self.groups.get_mut(&flow.group) else { continue };
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
