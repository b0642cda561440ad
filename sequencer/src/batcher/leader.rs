//! The leader's own pending records: controls in their order, and one tick a group.

use std::collections::{BTreeMap, VecDeque};

use refrain_wire::limits::LEADER_SHARE_BYTES;
use refrain_wire::record::RECORD_HEADER_BYTES;
use refrain_wire::{Control, GroupId, Record, RecordWriter, Time};

use super::Refused;
use super::draft::DraftBuilder;

/// The most controls that may be pending for a group.
pub(super) const MAX_CONTROLS: usize = 1024;
/// The most groups whose leader's records go into one draft; the others wait for the next.
const MAX_GROUPS_PER_DRAFT: usize = 128;
/// No control is longer: the versions of a stateless service are the longest.
const MAX_CONTROL_BYTES: usize = 2048;

#[derive(Default)]
struct Waiting {
    controls: VecDeque<Control>,
    tick: Option<Time>,
}

#[derive(Default)]
pub(super) struct LeaderRecords {
    groups: BTreeMap<GroupId, Waiting>,
    /// The last group that was served, so that the next draft begins after it.
    served: GroupId,
}

impl LeaderRecords {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn push(&mut self, group: GroupId, control: Control) -> Result<(), Refused> {
        let waiting = self.groups.entry(group).or_default();
        if waiting.controls.len() >= MAX_CONTROLS {
            return Err(Refused::Busy { group, what: "controls", limit: MAX_CONTROLS });
        }
        waiting.controls.push_back(control);
        Ok(())
    }

    pub(super) fn push_first(&mut self, group: GroupId, control: Control) {
        self.groups.entry(group).or_default().controls.push_front(control);
    }

    pub(super) fn tick(&mut self, group: GroupId, time: Time) {
        self.groups.entry(group).or_default().tick = Some(time);
    }

    /// Gives up everything; returns the controls.
    pub(super) fn clear(&mut self) -> Vec<(GroupId, Control)> {
        let groups = std::mem::take(&mut self.groups);
        let controls = |(group, waiting): (GroupId, Waiting)| waiting.controls.into_iter().map(move |c| (group, c));
        groups.into_iter().flat_map(controls).collect()
    }

    /// The groups to serve: the shard's own always, then the others in turn.
    fn turn(&self) -> Vec<GroupId> {
        let after = GroupId(self.served.0.saturating_add(1));
        let shard = self.groups.contains_key(&GroupId::SHARD).then_some(GroupId::SHARD);
        let others = self.groups.range(after..).chain(self.groups.range(..after)).map(|(group, _)| *group);
        shard.into_iter().chain(others.filter(|group| *group != GroupId::SHARD)).take(MAX_GROUPS_PER_DRAFT).collect()
    }

    pub(super) fn take(
        &mut self,
        builder: &mut DraftBuilder,
        controls: &mut Vec<(GroupId, Control)>,
        ticks: &mut Vec<GroupId>,
    ) {
        for group in self.turn() {
            let waiting = self.groups.get_mut(&group).expect("the turn is made of groups");
            let mut writer = RecordWriter::default();
            if let Some(time) = waiting.tick.take() {
                writer.push(&Record::Tick(time));
                ticks.push(group);
            }
            while writer.len() + RECORD_HEADER_BYTES + MAX_CONTROL_BYTES <= LEADER_SHARE_BYTES {
                let Some(control) = waiting.controls.pop_front() else { break };
                writer.push(&Record::Control(control.clone()));
                controls.push((group, control));
            }
            builder.lead(group, writer);
            if waiting.controls.is_empty() {
                self.groups.remove(&group);
            }
            self.served = group;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_wire::control::Release;
    use refrain_wire::limits::{MAX_RELEASES, MAX_SERVICE_NAME_BYTES, MAX_VERSION_BYTES};
    use refrain_wire::{Position, ShardControl};

    #[test]
    fn the_longest_control_is_within_what_is_kept_free_for_one() {
        let version = |nth: usize| format!("{nth:0width$}", width = MAX_VERSION_BYTES);
        let release = |nth| Release { version: version(nth), bundle: [1; 32], weight: 1 };
        let deploy = ShardControl::Deploy {
            service: "s".repeat(MAX_SERVICE_NAME_BYTES),
            after: Position(u64::MAX),
            releases: (0..MAX_RELEASES).map(release).collect(),
        };
        let mut writer = RecordWriter::default();
        writer.push(&Record::Control(Control::Shard(deploy)));
        assert!(writer.len() <= RECORD_HEADER_BYTES + MAX_CONTROL_BYTES, "{} bytes", writer.len());
    }
}
