//! What stands for a group's entries that are gone, or are to go: its checkpoints, or its history. Pure.

use refrain_sequencer::shard::{Checkpoint, Group as LogGroup};
use refrain_wire::{GroupId, Position};

/// What stands for entries that are to go.
pub(super) enum Standing {
    /// Nothing does for this group's.
    Lacking(GroupId),
    /// Checkpoints, and for these groups their histories.
    All {
        /// The groups.
        by_history: Vec<GroupId>,
    },
}

/// The checkpoints that stand for a group's entries up to a position at which the log is to be cut. One that was captured
/// behind it but asked for before does not: should the group's guests be such by now that they cannot be saved, its
/// history begins where the newest was asked for, and lacked what lies between.
pub(super) fn standing(group: &LogGroup, at: Position) -> Vec<Checkpoint> {
    let is_kept = group.history.is_none_or(|history| at <= history.after);
    group.checkpoints().filter(|checkpoint| is_kept && checkpoint.position >= at).collect()
}

/// Whether a group's entries up to where the log was cut are those of its history: no agreed checkpoint stands for
/// them, whatever the group runs by now.
pub(in crate::shard) fn lives_on_history(group: &LogGroup, cut: Position) -> bool {
    group.created <= cut && !group.checkpoints().any(|checkpoint| checkpoint.position >= cut)
}

#[cfg(test)]
mod tests {
    use refrain_sequencer::shard::ShardState;
    use refrain_wire::control::Agreement;
    use refrain_wire::entry::{Draft, GroupRecords};
    use refrain_wire::{Control, Digest, Entry, Record, RecordWriter, Time};

    use super::*;

    const ONE: GroupId = GroupId(1);

    /// The group after entries with one record each, from position 1 on.
    fn group(records: &[Record]) -> LogGroup {
        let mut shard = ShardState::new();
        for record in records {
            let position = shard.position().next();
            let mut writer = RecordWriter::default();
            writer.push(record);
            let batches = vec![GroupRecords { group: ONE, records: writer.take() }];
            let time = Time::from_micros(position.0);
            let bytes = Draft { time, submissions: Vec::new(), batches }.encode(position);
            let applied = shard.apply(&Entry::decode(position, &bytes).unwrap()).unwrap();
            assert_eq!(applied.ignored, [], "at {position}");
        }
        shard.groups()[&ONE].clone()
    }

    fn create() -> Record {
        let (service, bundle, engine) = ("a/one".to_owned(), [1; 32], Digest::of(b"engine"));
        Record::Control(Control::Create { service, bundle, engine, seats: 1, agreement: Agreement::All })
    }

    fn upgrade() -> Record {
        Record::Control(Control::Upgrade { bundle: [2; 32], engine: Digest::of(b"engine") })
    }

    fn tick() -> Record {
        Record::Tick(Time::from_micros(1))
    }

    fn rooted(position: u64) -> Record {
        Record::Control(Control::Rooted { position: Position(position), root: [position as u8; 32] })
    }

    #[test]
    fn a_checkpoint_that_was_asked_for_before_a_cut_does_not_stand_for_it_even_if_captured_behind() {
        // Asked for at 3, captured at 5.
        let ask = Record::Control(Control::Checkpoint);
        let records = [create(), tick(), ask.clone(), tick(), tick(), rooted(5), upgrade(), tick()];
        let known = group(&records);
        assert_eq!(known.history.unwrap().after, Position(3), "its history would begin there");
        let stands = |known: &LogGroup, at: u64| -> Vec<u64> {
            standing(known, Position(at)).iter().map(|checkpoint| checkpoint.position.0).collect()
        };
        let found: Vec<_> = (1..=6).map(|at| stands(&known, at)).collect();
        assert_eq!(found, [vec![5], vec![5], vec![5], vec![], vec![], vec![]]);
        // Nor does a history: it is waited until the log can be cut behind the checkpoint.
        let lives: Vec<u64> = (1..=8).filter(|at| lives_on_history(&known, Position(*at))).collect();
        assert_eq!(lives, [6, 7, 8]);
        let newer = [&records[..], &[ask, tick(), rooted(10)]].concat();
        assert_eq!(stands(&group(&newer), 5), [10, 5], "of both, where the newest was asked for behind");
        assert_eq!(stands(&group(&newer[..10]), 5), [0; 0], "not before it is agreed on");
    }

    #[test]
    fn what_a_group_runs_now_does_not_decide_what_stands_for_its_past() {
        let records = [create(), tick(), tick(), upgrade(), tick()];
        let known = group(&records);
        assert!(!lives_on_history(&known, Position(0)), "it was not there");
        assert!((1..=5).all(|cut| lives_on_history(&known, Position(cut))), "upgraded, and no checkpoint yet");
        let ask = Record::Control(Control::Checkpoint);
        let known = group(&[&records[..], &[ask, tick(), rooted(7)]].concat());
        assert!((1..=7).all(|cut| !lives_on_history(&known, Position(cut))), "the checkpoint stands for all of it");
        assert!(lives_on_history(&known, Position(8)), "and not for what follows");
    }
}
