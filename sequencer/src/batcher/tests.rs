//! What may be offered, what a draft takes, and what back pressure refuses.

use proptest::prelude::{any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};
use refrain_wire::entry::GroupRecords;
use refrain_wire::limits::{MAX_ENTRY_BYTES, MAX_SUBMISSION_BATCH_BYTES, MAX_SUBMISSION_GROUPS};
use refrain_wire::record::records;
use refrain_wire::{Entry, Record, RecordWriter, Serial};

use super::{
    Batcher, Control, Draft, Epoch, GroupId, Limits, Position, Refused, Submission, SubmissionId, Time, Usage,
};
use crate::log::encoded_bytes;

const NOW: Time = Time::MAX;

fn data(len: usize) -> Record {
    Record::Data { serial: Serial(1), delivered: 0, bytes: vec![1; len].into() }
}

fn shutdown() -> Record {
    Record::Shutdown(Serial(1))
}

fn to(group: u32, content: &[Record]) -> GroupRecords {
    let mut writer = RecordWriter::default();
    content.iter().for_each(|record| writer.push(record));
    GroupRecords { group: GroupId(group), records: writer.take() }
}

fn submission(epoch: u32, number: u64, batches: Vec<GroupRecords>) -> Submission {
    Submission { id: SubmissionId { epoch: Epoch(epoch), number }, batches }
}

fn batcher() -> Batcher {
    let mut batcher = Batcher::new(Limits { bulk_bytes: 1000, bulk_records: 5, relief_records: 3 });
    batcher.open_epoch(Epoch(1), 0);
    batcher.open_epoch(Epoch(2), 10);
    batcher
}

fn roomy() -> Batcher {
    let mut batcher = Batcher::new(Limits { bulk_bytes: usize::MAX, ..Limits::default() });
    batcher.open_epoch(Epoch(1), 0);
    batcher.open_epoch(Epoch(2), 0);
    batcher
}

fn content(draft: &Draft, group: u32) -> Vec<Record> {
    let batch = draft.batches.iter().find(|batch| batch.group == GroupId(group));
    batch.map_or_else(Vec::new, |batch| records(&batch.records).map(Result::unwrap).collect())
}

fn numbers(draft: &Draft) -> Vec<(u32, u64)> {
    draft.submissions.iter().map(|id| (id.epoch.0, id.number)).collect()
}

#[test]
fn an_idle_batcher_makes_no_draft() {
    let mut batcher = batcher();
    assert!(batcher.is_idle());
    assert_eq!(batcher.take(NOW), None);
}

#[test]
fn everything_pending_becomes_one_draft_with_marks_where_the_origin_changes() {
    let mut batcher = batcher();
    batcher.offer(submission(1, 1, vec![to(7, &[data(5)]), to(3, &[shutdown()])])).unwrap();
    batcher.offer(submission(1, 2, vec![to(7, &[shutdown()])])).unwrap();
    batcher.offer(submission(2, 11, vec![to(7, &[shutdown()])])).unwrap();
    batcher.tick(GroupId(7), Time::from_micros(4));
    batcher.control(GroupId(7), Control::Audit).unwrap();
    let draft = batcher.take(Time::from_micros(9)).unwrap();
    assert_eq!(draft.time, Time::from_micros(9));
    assert_eq!(numbers(&draft), [(1, 1), (2, 11), (1, 2)]);
    assert_eq!(draft.batches.iter().map(|batch| batch.group.0).collect::<Vec<_>>(), [3, 7]);
    let origin = |epoch| Record::Origin(Epoch(epoch));
    assert_eq!(content(&draft, 3), [origin(1), shutdown()]);
    let leader = [Record::Tick(Time::from_micros(4)), Record::Control(Control::Audit)];
    let others = [origin(1), data(5), origin(2), shutdown(), origin(1), shutdown()];
    assert_eq!(content(&draft, 7), [leader.as_slice(), &others].concat());
}

#[test]
fn a_second_submission_of_one_epoch_gets_no_second_mark() {
    let mut batcher = batcher();
    batcher.offer(submission(1, 1, vec![to(7, &[shutdown()])])).unwrap();
    batcher.offer(submission(1, 2, vec![to(7, &[data(1)])])).unwrap();
    let draft = batcher.take(NOW).unwrap();
    assert_eq!(content(&draft, 7), [Record::Origin(Epoch(1)), shutdown(), data(1)]);
}

#[test]
fn numbers_must_follow_and_epochs_must_be_open() {
    let mut batcher = batcher();
    let offer =
        |batcher: &mut Batcher, epoch, number| batcher.offer(submission(epoch, number, vec![to(7, &[shutdown()])]));
    assert_eq!(offer(&mut batcher, 1, 2), Err(Refused::OutOfOrder { expected: 1, found: 2 }));
    offer(&mut batcher, 1, 1).unwrap();
    assert_eq!(offer(&mut batcher, 1, 1), Err(Refused::OutOfOrder { expected: 2, found: 1 }));
    assert_eq!(offer(&mut batcher, 2, 1), Err(Refused::OutOfOrder { expected: 11, found: 1 }));
    assert_eq!(offer(&mut batcher, 3, 1), Err(Refused::UnknownEpoch { epoch: Epoch(3) }));
    assert_eq!(batcher.end_epoch(Epoch(1)).len(), 1);
    assert_eq!(offer(&mut batcher, 1, 2), Err(Refused::UnknownEpoch { epoch: Epoch(1) }));
    assert_eq!(batcher.usage(GroupId(7)), Usage::default());
}

#[test]
fn what_only_the_leader_may_order_and_what_makes_no_sense_is_refused() {
    let mut batcher = batcher();
    let mut refused = |batches| batcher.offer(submission(1, 1, batches)).unwrap_err();
    for record in [Record::Origin(Epoch(2)), Record::Tick(NOW), Record::Control(Control::Resume)] {
        assert_eq!(refused(vec![to(7, &[shutdown(), record])]), Refused::Forbidden { group: GroupId(7) });
    }
    let broken = GroupRecords { group: GroupId(7), records: vec![9; 20].into() };
    assert!(matches!(refused(vec![broken]), Refused::Malformed { .. }));
    assert_eq!(refused(vec![to(0, &[shutdown()])]), Refused::WrongGroup { group: GroupId(0) });
    let twice = vec![to(7, &[shutdown()]), to(7, &[shutdown()])];
    assert_eq!(refused(twice), Refused::WrongGroup { group: GroupId(7) });
    assert_eq!(refused(Vec::new()), Refused::Empty);
    assert_eq!(refused(vec![to(7, &[])]), Refused::Empty);
    assert!(batcher.is_idle());
}

#[test]
fn a_submission_at_the_size_limits_is_taken_and_one_above_is_refused() {
    let mut batcher = roomy();
    let sized = |bytes: usize| {
        let mut content = vec![data(200_000); 5];
        let used = to(7, &content).records.len();
        content.push(data(bytes - used - 8 - 1));
        let batch = to(7, &content);
        assert_eq!(batch.records.len(), bytes);
        batch
    };
    let above = batcher.offer(submission(1, 1, vec![sized(MAX_SUBMISSION_BATCH_BYTES + 1)])).unwrap_err();
    assert!(matches!(above, Refused::TooLarge { what: "size in bytes for one group", .. }));
    batcher.tick(GroupId(7), NOW);
    batcher.offer(submission(1, 1, vec![sized(MAX_SUBMISSION_BATCH_BYTES)])).unwrap();
    assert_eq!(numbers(&batcher.take(NOW).unwrap()), [(1, 1)]);
    batcher.ordered(Position(1), |_| true);
    let groups = |count| (1..=count as u32).map(|group| to(group, &[shutdown()])).collect();
    let above = batcher.offer(submission(1, 2, groups(MAX_SUBMISSION_GROUPS + 1))).unwrap_err();
    assert!(matches!(above, Refused::TooLarge { what: "number of groups", .. }));
    batcher.offer(submission(1, 2, groups(MAX_SUBMISSION_GROUPS))).unwrap();
}

#[test]
fn what_does_not_fit_waits_in_order_and_others_go_on() {
    let mut batcher = roomy();
    let half = || vec![to(7, &[data(250_000), data(250_000), data(200_000)])];
    batcher.offer(submission(1, 1, half())).unwrap();
    batcher.offer(submission(1, 2, half())).unwrap();
    batcher.offer(submission(1, 3, vec![to(8, &[shutdown()])])).unwrap();
    batcher.offer(submission(2, 1, vec![to(7, &[shutdown()])])).unwrap();
    let draft = batcher.take(NOW).unwrap();
    assert_eq!(numbers(&draft), [(1, 1), (2, 1)], "number 3 must not overtake number 2");
    batcher.ordered(Position(1), |_| true);
    assert_eq!(numbers(&batcher.take(NOW).unwrap()), [(1, 2), (1, 3)]);
}

#[test]
fn epochs_take_turns_in_being_first() {
    let mut batcher = roomy();
    let large = || vec![to(7, &[data(250_000), data(250_000), data(200_000)])];
    for number in 1..=3 {
        batcher.offer(submission(1, number, large())).unwrap();
        batcher.offer(submission(2, number, large())).unwrap();
    }
    let mut order = Vec::new();
    while let Some(draft) = batcher.take(NOW) {
        order.extend(numbers(&draft));
        batcher.ordered(Position(order.len() as u64), |_| true);
    }
    assert_eq!(order, [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3)]);
}

#[test]
fn a_busy_group_takes_no_load_but_relief_and_others_are_not_concerned() {
    let mut batcher = batcher();
    batcher.offer(submission(1, 1, vec![to(7, &[data(600)])])).unwrap();
    let busy = batcher.offer(submission(1, 2, vec![to(7, &[data(401)])])).unwrap_err();
    assert_eq!(busy, Refused::Busy { group: GroupId(7), what: "data bytes", limit: 1000 });
    batcher.offer(submission(1, 2, vec![to(7, &[data(400)])])).expect("at the limit");
    let open = Record::Open { serial: Serial(2), port: 80, peer: ([127, 0, 0, 1], 9).into() };
    batcher.offer(submission(1, 3, vec![to(7, &[open.clone(), open.clone(), open.clone()])])).expect("at the limit");
    let busy = batcher.offer(submission(1, 4, vec![to(7, &[open])])).unwrap_err();
    assert!(matches!(busy, Refused::Busy { what: "open and data records", .. }));
    batcher.offer(submission(1, 4, vec![to(7, &[shutdown()]), to(8, &[data(9)])])).expect("relief");
    batcher.offer(submission(1, 5, vec![to(7, &[shutdown(), shutdown()])])).expect("relief has its own limit");
    let busy = batcher.offer(submission(1, 6, vec![to(7, &[shutdown()])])).unwrap_err();
    assert!(matches!(busy, Refused::Busy { what: "other records", .. }));
    batcher.control(GroupId(7), Control::Audit).expect("controls are not concerned");
}

#[test]
fn load_is_freed_when_it_is_executed_however_fast() {
    let mut batcher = batcher();
    let full = |number| submission(1, number, vec![to(7, &[data(1000)])]);
    batcher.offer(full(1)).unwrap();
    batcher.take(NOW).unwrap();
    assert!(batcher.offer(full(2)).is_err(), "on its way");
    batcher.ordered(Position(4), |_| true);
    assert!(batcher.offer(full(2)).is_err(), "ordered");
    batcher.executed(GroupId(7), Position(3));
    assert!(batcher.offer(full(2)).is_err(), "another position");
    batcher.executed(GroupId(7), Position(4));
    batcher.offer(full(2)).expect("executed");
    batcher.take(NOW).unwrap();
    batcher.executed(GroupId(7), Position(6));
    batcher.ordered(Position(6), |_| true);
    batcher.offer(full(3)).expect("executed before the log answered");
    batcher.take(NOW).unwrap();
    batcher.ordered(Position(7), |_| false);
    batcher.offer(full(4)).expect("the group was given nothing");
}

#[test]
fn a_failed_draft_is_returned_with_all_that_waited_behind_it() {
    let mut batcher = batcher();
    batcher.offer(submission(1, 1, vec![to(7, &[data(1)])])).unwrap();
    batcher.control(GroupId(7), Control::Audit).unwrap();
    batcher.tick(GroupId(7), Time::from_micros(5));
    batcher.take(NOW).unwrap();
    batcher.offer(submission(1, 2, vec![to(7, &[data(1)])])).unwrap();
    batcher.tick(GroupId(8), Time::from_micros(5));
    let returned = batcher.failed(|epoch| if epoch == Epoch(2) { 10 } else { 0 });
    assert_eq!(returned.submissions.iter().map(|id| id.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(returned.controls, [(GroupId(7), Control::Audit)]);
    assert!(batcher.is_idle());
    assert_eq!(batcher.usage(GroupId(7)), Usage::default());
    batcher.offer(submission(1, 1, vec![to(7, &[data(1)])])).expect("offered again");
    batcher.tick(GroupId(7), Time::from_micros(5));
    batcher.tick(GroupId(8), Time::from_micros(5));
    let draft = batcher.take(NOW).unwrap();
    assert_eq!(content(&draft, 8), [Record::Tick(Time::from_micros(5))], "ticks can be wanted again");
    assert_eq!(content(&draft, 7).len(), 3);
}

#[test]
fn a_tick_is_not_repeated_before_it_was_executed() {
    let mut batcher = batcher();
    let ticks = |batcher: &mut Batcher, time| {
        batcher.tick(GroupId(7), Time::from_micros(time));
        let draft = batcher.take(NOW);
        draft.map_or_else(Vec::new, |draft| content(&draft, 7))
    };
    let tick = |time| Record::Tick(Time::from_micros(time));
    batcher.tick(GroupId(7), Time::from_micros(3));
    assert_eq!(ticks(&mut batcher, 5), [tick(5)], "wishes are merged");
    batcher.ordered(Position(1), |_| true);
    assert_eq!(ticks(&mut batcher, 5), []);
    assert_eq!(ticks(&mut batcher, 6), [tick(6)], "a later one is another");
    batcher.ordered(Position(2), |_| true);
    batcher.executed(GroupId(7), Position(1));
    assert_eq!(ticks(&mut batcher, 6), []);
    batcher.executed(GroupId(7), Position(2));
    assert_eq!(ticks(&mut batcher, 6), [tick(6)], "work was left");
}

#[test]
fn the_leaders_records_of_many_groups_are_spread_over_drafts() {
    let mut batcher = roomy();
    for group in 0..300 {
        batcher.control(GroupId(group), Control::Audit).unwrap();
    }
    let mut seen = Vec::new();
    while let Some(draft) = batcher.take(NOW) {
        assert!(draft.batches.len() <= 128);
        seen.extend(draft.batches.iter().map(|batch| batch.group.0));
        batcher.ordered(Position(seen.len() as u64), |_| true);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
    for _ in 0..1024 {
        batcher.control(GroupId(7), Control::Audit).unwrap();
    }
    assert!(batcher.control(GroupId(7), Control::Audit).is_err());
}

proptest! {
    #[test]
    fn drafts_are_valid_entries_and_keep_every_submission_in_order(
        offers in prop::collection::vec((1u32..3, prop::collection::btree_map(1u32..6, 1usize..200_000, 1..4)), 1..40),
        ticks in prop::collection::vec(any::<u8>(), 0..5),
    ) {
        let mut batcher = Batcher::new(Limits { bulk_bytes: usize::MAX, ..Limits::default() });
        let mut next = [1u64; 3];
        for epoch in 1..3 {
            batcher.open_epoch(Epoch(epoch), 0);
        }
        for (epoch, groups) in &offers {
            let batches = groups.iter().map(|(group, len)| to(*group, &[data(*len)])).collect();
            batcher.offer(submission(*epoch, next[*epoch as usize], batches)).unwrap();
            next[*epoch as usize] += 1;
        }
        ticks.iter().for_each(|group| batcher.tick(GroupId(u32::from(*group)), NOW));
        let mut seen = [1u64; 3];
        let mut position = Position(0);
        while let Some(draft) = batcher.take(Time::from_micros(1)) {
            position = position.next();
            let bytes = draft.encode(position);
            prop_assert!(bytes.len() <= MAX_ENTRY_BYTES);
            prop_assert_eq!(bytes.len(), encoded_bytes(&draft));
            Entry::decode(position, &bytes).unwrap();
            for id in &draft.submissions {
                prop_assert_eq!(id.number, seen[id.epoch.0 as usize]);
                seen[id.epoch.0 as usize] += 1;
            }
            batcher.ordered(position, |_| true);
        }
        prop_assert_eq!(seen, next);
    }
}
