//! What the turns of a group come to.

use bytes::Bytes;
use refrain_wire::ProxyId;
use refrain_wire::control::Agreement;
use refrain_wire::outward::Owner;

use super::{
    Control, Digest, Epoch, GroupId, ONE, Position, Record, ShardControl, ShardState, Time, apply_at, batch, create,
    id, open, origin, shutdown,
};
use crate::shard::{Applied, HISTORY_FRAME_BYTES, Recorded, RecordedTurn};

const TWO: GroupId = GroupId(2);

fn shard(control: ShardControl) -> Record {
    Record::Control(Control::Shard(control))
}

/// The turn of a group in an entry, as whoever delivers it finds it.
fn turn(group: GroupId, created: Position, applied: &Applied) -> Option<RecordedTurn> {
    let records = applied.batches.iter().find(|batch| batch.group == group).map(|batch| batch.records.clone());
    if records.is_none() && !applied.concerns_all() {
        return None;
    }
    let first = (applied.position == created).then_some(applied.fold);
    let before = if first.is_some() { applied.owners.clone() } else { Vec::new() };
    Some(RecordedTurn {
        position: applied.position,
        time: applied.time,
        terms: first.into_iter().chain(applied.term.iter().map(|term| term.entropy)).collect(),
        ended: applied.ended.clone(),
        opened: before.into_iter().chain(applied.opened_owners()).collect(),
        records: records.unwrap_or_default(),
    })
}

#[test]
fn a_history_comes_to_every_turn_of_its_group_and_begins_anew_with_an_agreed_checkpoint() {
    let mut state = ShardState::new();
    let term = |term: u64| shard(ShardControl::Term { term, entropy: [term as u8; 32] });
    let control = |control: Control| batch(ONE, &[Record::Control(control)]);
    let two = Control::Create {
        service: "a/two".into(),
        bundle: [1; 32],
        engine: Digest::of(b"engine"),
        seats: 1,
        agreement: Agreement::All,
    };
    let entries = [
        (vec![], vec![batch(GroupId::SHARD, &[term(1), open(1)]), batch(ONE, &[create("a/one")])]),
        (vec![id(1, 1)], vec![batch(ONE, &[origin(1), shutdown(1)])]),
        (vec![], vec![batch(GroupId::SHARD, &[open(2)])]),
        (vec![], vec![batch(GroupId::SHARD, &[term(2)]), batch(TWO, &[Record::Control(two)])]),
        // A number that was there before: the records are cut out, and nothing is left.
        (vec![id(1, 1)], vec![batch(ONE, &[origin(1), shutdown(1)])]),
        (vec![], vec![control(Control::Checkpoint), batch(TWO, &[Record::Tick(Time::from_micros(1))])]),
        (vec![], vec![batch(GroupId::SHARD, &[shard(ShardControl::EndEpoch(Epoch(1)))])]),
        (vec![], vec![control(Control::Rooted { position: Position(6), root: [1; 32] })]),
        (vec![], vec![control(Control::Audit)]),
    ];
    let mut histories =
        [(ONE, Position(1), Recorded::since(Position(0))), (TWO, Position(4), Recorded::since(Position(3)))];
    let mut since = Recorded::since(Position(6));
    for (nth, (submissions, batches)) in entries.iter().enumerate() {
        let applied = apply_at(&mut state, 100, submissions, batches);
        let at = Position(nth as u64 + 1);
        if at == Position(8) {
            histories[0].2 = since;
        }
        for (group, created, history) in &mut histories {
            let Some(turn) = turn(*group, *created, &applied).filter(|_| at >= *created) else { continue };
            let bytes = turn.encode();
            assert_eq!(RecordedTurn::decode(&bytes).unwrap(), turn);
            history.add(&[&bytes]);
            if *group == ONE && at > Position(6) {
                since.add(&[&turn.head(), &turn.records]);
            }
        }
        for (group, created, history) in &histories {
            let known = state.groups().get(group).and_then(|group| group.history);
            assert_eq!(known, (at >= *created).then_some(*history), "group {group} at {at}");
        }
    }
    assert_eq!(histories[0].2.after, Position(6));
    assert_eq!(ShardState::decode(&state.encode()).unwrap(), state);
}

#[test]
fn a_turn_that_is_cut_short_is_refused() {
    let turn = RecordedTurn {
        position: Position(1),
        time: Time::from_micros(2),
        terms: vec![[3; 32], [4; 32]],
        ended: vec![Epoch(5), Epoch(6)],
        opened: vec![Owner { proxy: ProxyId(7), epoch: Epoch(8) }, Owner { proxy: ProxyId(9), epoch: Epoch(10) }],
        records: Bytes::from_static(b"x"),
    };
    let bytes = turn.encode();
    let mut recorded = Recorded::since(Position(0));
    recorded.add(&[&bytes]);
    assert_eq!(recorded.bytes, (bytes.len() + HISTORY_FRAME_BYTES) as u64);
    for end in 0..bytes.len() - 1 {
        assert!(RecordedTurn::decode(&bytes.slice(..end)).is_err(), "cut at {end}");
    }
    let mut late = bytes.to_vec();
    late[15] = 0xff;
    let error = RecordedTurn::decode(&Bytes::from(late)).unwrap_err();
    assert!(error.to_string().starts_with("flag of opened epochs in a turn has the unknown value"), "{error}");
}
