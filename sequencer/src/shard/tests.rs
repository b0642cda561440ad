//! What committed entries mean: submissions, epochs, groups, seats, halts.

use bytes::Bytes;
use proptest::prelude::{any, prop};
use proptest::proptest;
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::{Digest, Incarnation, NodeId, Record, RecordWriter, Seat, Serial, ShardId};

use refrain_wire::control::{Agreement, Release};

use super::{
    Applied, Control, Entry, Epoch, GroupId, OpenedEpoch, Position, ProxyId, ShardControl, ShardState, SubmissionId,
    Time,
};

mod codec;
mod groups;
mod history;

const ONE: GroupId = GroupId(1);

fn batch(group: GroupId, records: &[Record]) -> GroupRecords {
    let mut writer = RecordWriter::default();
    records.iter().for_each(|record| writer.push(record));
    GroupRecords { group, records: writer.take() }
}

fn id(epoch: u32, number: u64) -> SubmissionId {
    SubmissionId { epoch: Epoch(epoch), number }
}

fn shutdown(serial: u32) -> Record {
    Record::Shutdown(Serial(serial))
}

fn origin(epoch: u32) -> Record {
    Record::Origin(Epoch(epoch))
}

fn create(service: &str) -> Record {
    Record::Control(Control::Create {
        service: service.into(),
        bundle: [7; 32],
        engine: Digest::of(b"engine"),
        seats: 3,
        agreement: Agreement::Majority,
    })
}

fn open(proxy: u16) -> Record {
    Record::Control(Control::Shard(ShardControl::OpenEpoch {
        proxy: ProxyId(proxy),
        nonce: u64::from(proxy) * 10,
        outward: true,
    }))
}

fn apply(state: &mut ShardState, submissions: &[SubmissionId], batches: &[GroupRecords]) -> Applied {
    apply_at(state, 100, submissions, batches)
}

fn apply_at(state: &mut ShardState, time: u64, submissions: &[SubmissionId], batches: &[GroupRecords]) -> Applied {
    let position = state.position().next();
    let draft = Draft { time: Time::from_micros(time), submissions: submissions.to_vec(), batches: batches.to_vec() };
    state.apply(&Entry::decode(position, &draft.encode(position)).unwrap()).unwrap()
}

/// A state with one group and the epochs 1 and 2, of the proxies 1 and 2.
fn started() -> ShardState {
    let mut state = ShardState::new();
    let applied = apply(&mut state, &[], &[batch(GroupId::SHARD, &[open(1), open(2)]), batch(ONE, &[create("a/b")])]);
    assert_eq!(applied.opened.iter().map(|opened| opened.epoch.0).collect::<Vec<_>>(), [1, 2]);
    state
}

#[test]
fn submissions_count_in_order_without_gaps_and_once() {
    let mut state = started();
    let records = [batch(ONE, &[origin(1), shutdown(1)])];
    assert_eq!(apply(&mut state, &[id(1, 1), id(1, 2)], &records).accepted.len(), 2);
    for wrong in [id(1, 2), id(1, 4), id(1, 0), id(3, 1)] {
        let applied = apply(&mut state, &[wrong], &records);
        assert_eq!(applied.dropped, [wrong]);
        assert!(applied.batches.is_empty(), "{wrong:?}");
    }
    assert_eq!(apply(&mut state, &[id(1, 3)], &records).accepted, [id(1, 3)]);
}

#[test]
fn the_records_of_dropped_submissions_are_cut_out_and_the_others_stay() {
    let mut state = started();
    let all = batch(
        ONE,
        &[Record::Tick(Time::from_micros(5)), origin(1), shutdown(1), origin(2), shutdown(2), origin(1), shutdown(3)],
    );
    let applied = apply(&mut state, &[id(1, 2), id(2, 1)], std::slice::from_ref(&all));
    assert_eq!((applied.accepted, applied.dropped), (vec![id(2, 1)], vec![id(1, 2)]));
    let expected = batch(ONE, &[Record::Tick(Time::from_micros(5)), origin(2), shutdown(2)]);
    assert_eq!(applied.batches[0].records, expected.records);
    let applied = apply(&mut state, &[id(1, 1), id(2, 2)], std::slice::from_ref(&all));
    assert_eq!(applied.batches[0].records, all.records, "nothing is cut when all count");
}

#[test]
fn a_new_epoch_ends_the_earlier_one_of_its_proxy_after_the_records_of_the_entry() {
    let mut state = started();
    let anew = Record::Control(Control::Shard(ShardControl::OpenEpoch { proxy: ProxyId(1), nonce: 11, outward: true }));
    let applied =
        apply(&mut state, &[id(1, 1)], &[batch(GroupId::SHARD, &[anew]), batch(ONE, &[origin(1), shutdown(1)])]);
    assert_eq!(applied.ended, [Epoch(1)]);
    assert_eq!(applied.opened, [OpenedEpoch { proxy: ProxyId(1), nonce: 11, epoch: Epoch(3), outward: true }]);
    assert_eq!(applied.accepted, [id(1, 1)]);
    assert_eq!(apply(&mut state, &[id(1, 2)], &[]).dropped, [id(1, 2)]);
    assert_eq!(apply(&mut state, &[id(3, 1)], &[]).accepted, [id(3, 1)]);
}

#[test]
fn an_epoch_ends_by_record_once() {
    let mut state = started();
    let end = batch(GroupId::SHARD, &[Record::Control(Control::Shard(ShardControl::EndEpoch(Epoch(2))))]);
    assert_eq!(apply(&mut state, &[], std::slice::from_ref(&end)).ended, [Epoch(2)]);
    let again = apply(&mut state, &[], &[end]);
    assert_eq!((again.ended.len(), again.ignored.len()), (0, 1));
}

#[test]
fn a_group_id_or_service_name_used_twice_is_dropped_and_cut_out() {
    let mut state = started();
    let applied = apply(
        &mut state,
        &[],
        &[batch(ONE, &[create("x/y"), Record::Tick(Time::from_micros(9))]), batch(GroupId(2), &[create("a/b")])],
    );
    assert_eq!(applied.ignored.len(), 2);
    assert_eq!(applied.batches.len(), 1);
    assert_eq!(applied.batches[0].records, batch(ONE, &[Record::Tick(Time::from_micros(9))]).records);
    assert_eq!(state.groups().len(), 1);
    assert_eq!(apply(&mut state, &[], &[batch(GroupId(2), &[create("x/y")])]).controls.len(), 1);
}

#[test]
fn a_service_is_here_or_placed_elsewhere_whichever_record_came_first() {
    let place = |service: &str, shard| {
        let control = ShardControl::Place { service: service.into(), shard: ShardId(shard) };
        batch(GroupId::SHARD, &[Record::Control(Control::Shard(control))])
    };
    let mut state = started();
    let applied = apply(&mut state, &[], &[place("a/b", 1)]);
    assert_eq!((applied.placed, applied.ignored.len()), (false, 1), "it has a group here");
    assert!(apply(&mut state, &[], &[place("x/y", 1)]).placed);
    assert_eq!(apply(&mut state, &[], &[place("x/y", 2)]).ignored.len(), 1, "it is never moved");
    assert_eq!(apply(&mut state, &[], &[place("p/q", 0)]).ignored.len(), 1, "here it begins with a group");
    let applied = apply(&mut state, &[], &[batch(GroupId(2), &[create("x/y")])]);
    assert_eq!((applied.controls.len(), applied.ignored.len()), (0, 1));
    assert_eq!(state.placed().clone().into_iter().collect::<Vec<_>>(), [("x/y".to_owned(), ShardId(1))]);
}

#[test]
fn of_two_changes_of_a_stateless_service_that_were_made_at_once_the_first_counts() {
    let release = |version: &str| Release { version: version.into(), bundle: [1; 32], weight: 1 };
    let deploy = |service: &str, after, versions: &[&str]| {
        let releases = versions.iter().map(|version| release(version)).collect();
        let control = ShardControl::Deploy { service: service.into(), after: Position(after), releases };
        batch(GroupId::SHARD, &[Record::Control(Control::Shard(control))])
    };
    let mut state = started();
    let changed = |state: &mut ShardState, entry| {
        let applied = apply(state, &[], &[entry]);
        assert_eq!(applied.deployed.len() + applied.ignored.len(), 1);
        (!applied.deployed.is_empty()).then_some(applied.position.0)
    };
    let first = changed(&mut state, deploy("x/y", 0, &["1.0.0"])).unwrap();
    assert_eq!(changed(&mut state, deploy("x/y", 0, &["2.0.0"])), None, "it is deployed already");
    let second = changed(&mut state, deploy("x/y", first, &["1.0.0", "2.0.0"])).unwrap();
    assert_eq!(changed(&mut state, deploy("x/y", first, &["3.0.0"])), None, "another change came first");
    assert_eq!(state.deployed()["x/y"].releases, [release("1.0.0"), release("2.0.0")]);
    assert!(changed(&mut state, deploy("x/y", second, &[])).is_some(), "removed");
    assert!(state.deployed().is_empty());
    assert_eq!(changed(&mut state, deploy("x/y", 0, &[])), None, "there is nothing to remove");
    assert_eq!(changed(&mut state, deploy("a/b", 0, &["1.0.0"])), None, "it is a replicated service");
    for n in 0..super::MAX_DEPLOYED {
        assert!(changed(&mut state, deploy(&format!("x/n{n}"), 0, &["1.0.0"])).is_some());
    }
    assert_eq!(changed(&mut state, deploy("x/y", 0, &["1.0.0"])), None, "there are too many");
}

#[test]
fn a_halted_group_is_given_the_leaders_records_alone_until_it_is_resumed() {
    let mut state = started();
    let halt = Record::Control(Control::Halt { position: Position(1) });
    let flow = [origin(1), shutdown(1)];
    let with_flow = |control: &Record| batch(ONE, &[control.clone(), flow[0].clone(), flow[1].clone()]);
    let at = apply(&mut state, &[id(1, 1)], &[with_flow(&halt)]);
    assert_eq!(at.batches[0].records, with_flow(&halt).records, "in force from the next position");
    assert!(!at.cut, "its reader needs the entry alone");
    let applied = apply(&mut state, &[id(1, 2)], &[with_flow(&Record::Control(Control::Audit))]);
    assert_eq!(applied.accepted, [id(1, 2)]);
    assert_eq!(applied.batches[0].records, batch(ONE, &[Record::Control(Control::Audit)]).records);
    assert!(applied.cut, "the entry has more than the group was given");
    let nothing = apply(&mut state, &[id(1, 3)], &[batch(ONE, &flow)]);
    assert!(nothing.batches.is_empty() && nothing.cut);
    let resume = batch(ONE, &[Record::Control(Control::Resume)]);
    assert_eq!(apply(&mut state, &[], std::slice::from_ref(&resume)).controls.len(), 1);
    assert_eq!(apply(&mut state, &[], &[resume]).ignored.len(), 1);
    assert_eq!(apply(&mut state, &[id(1, 4)], &[batch(ONE, &flow)]).batches.len(), 1);
}

#[test]
fn what_a_newer_leader_says_is_an_error_and_nothing_of_its_entry_is_applied() {
    // A control of kind 99, and a record of kind 99.
    for unknown in [&[8, 1, 0, 0, 0, 0, 0, 0, 99][..], &[99, 0, 0, 0, 0, 0, 0, 0]] {
        let of = |before: &[Record], after: &[Record]| {
            let (before, after) = (batch(GroupId::SHARD, before).records, batch(GroupId::SHARD, after).records);
            Bytes::from([&before[..], unknown, &after].concat())
        };
        let mut state = started();
        let mut apply = |records| {
            let batches =
                vec![batch(ONE, &[Record::Control(Control::Audit)]), GroupRecords { group: GroupId(2), records }];
            let draft = Draft { time: Time::from_micros(100), submissions: vec![id(1, 1)], batches };
            let position = state.position().next();
            let before = state.clone();
            let applied = state.apply(&Entry::decode(position, &draft.encode(position)).unwrap());
            assert!(applied.is_ok() || state == before, "a part of it is applied");
            applied.map(drop).map_err(|error| error.to_string())
        };
        let error = apply(of(&[create("x/y")], &[Record::Control(Control::Audit)])).unwrap_err();
        assert!(error.ends_with("kind has the unknown value 99"), "{error}");
        assert_eq!(apply(of(&[create("x/y"), origin(1)], &[])), Ok(()), "the leader has looked at what proxies say");
    }
}

#[test]
fn controls_in_the_wrong_group_or_behind_a_mark_are_not_honoured() {
    let mut state = started();
    let applied = apply(
        &mut state,
        &[id(1, 1)],
        &[batch(GroupId::SHARD, &[create("x/y")]), batch(ONE, &[open(3), origin(1), create("p/q")])],
    );
    assert_eq!(applied.ignored.len(), 2);
    assert_eq!((applied.controls.len(), applied.opened.len()), (0, 0));
}

#[test]
fn time_and_term_never_go_back() {
    let mut state = started();
    let tick = [batch(ONE, &[Record::Tick(Time::from_micros(1))])];
    assert_eq!(apply_at(&mut state, 500, &[], &tick).time, Time::from_micros(500));
    let back = apply_at(&mut state, 300, &[], &tick);
    assert_eq!((back.time, back.batches[0].time), (Time::from_micros(500), Time::from_micros(500)));
    let term = |term| {
        let entropy = [term as u8; 32];
        let control = Control::Shard(ShardControl::Term { term, entropy });
        [batch(GroupId::SHARD, &[Record::Control(control)])]
    };
    assert_eq!(apply(&mut state, &[], &term(4)).term.map(|term| term.term), Some(4));
    assert_eq!(apply(&mut state, &[], &term(4)).term, None);
    assert_eq!(apply(&mut state, &[], &term(3)).term, None);
    assert_eq!(state.term(), 4);
}

#[test]
fn an_opening_that_was_sent_twice_opens_one_epoch_and_tells_it_again() {
    let mut state = started();
    let again = apply(&mut state, &[id(1, 1)], &[batch(GroupId::SHARD, &[open(1)])]);
    assert_eq!((again.opened.len(), again.ended.len(), again.ignored.len()), (0, 0, 0));
    assert_eq!(again.reopened, [OpenedEpoch { proxy: ProxyId(1), nonce: 10, epoch: Epoch(1), outward: true }]);
    assert_eq!(apply(&mut state, &[id(1, 2)], &[]).accepted, [id(1, 2)], "the epoch goes on");
    let end = Record::Control(Control::Shard(ShardControl::EndEpoch(Epoch(1))));
    let applied = apply(&mut state, &[], &[batch(GroupId::SHARD, &[end, open(1)])]);
    assert_eq!(applied.opened.len(), 1, "one that is over does not come back");
}

#[test]
fn the_entropy_of_all_terms_is_folded_and_told_as_it_was_before_the_entry() {
    let mut state = ShardState::new();
    let term = |term: u8| {
        let control = Control::Shard(ShardControl::Term { term: term.into(), entropy: [term; 32] });
        [batch(GroupId::SHARD, &[Record::Control(control)])]
    };
    assert_eq!(apply(&mut state, &[], &term(1)).fold, [0; 32]);
    let first = *blake3::hash(&[[0u8; 32], [1; 32]].concat()).as_bytes();
    assert_eq!(apply(&mut state, &[], &term(2)).fold, first);
    let second = *blake3::hash(&[first, [2; 32]].concat()).as_bytes();
    assert_eq!(apply(&mut state, &[], &term(2)).fold, second, "a term that was there before adds nothing");
    assert_eq!(apply(&mut state, &[], &[batch(ONE, &[create("a/b")])]).fold, second);
}

#[test]
fn batches_of_unknown_groups_are_dropped() {
    let mut state = started();
    assert!(apply(&mut state, &[id(1, 1)], &[batch(GroupId(9), &[origin(1), shutdown(1)])]).batches.is_empty());
}

proptest! {
    #[test]
    fn any_records_are_applied_without_panic(records in prop::collection::vec(any::<u8>(), 0..200), number in 0u64..3) {
        let (mut state, before) = (started(), started());
        let batches = vec![GroupRecords { group: ONE, records: Bytes::from(records) }];
        let draft = Draft { time: Time::from_micros(100), submissions: vec![id(1, number)], batches };
        let position = state.position().next();
        if state.apply(&Entry::decode(position, &draft.encode(position)).unwrap()).is_err() {
            assert_eq!(state, before, "nothing of it is applied");
        }
    }
}
