//! A state's bytes: fixed, canonical, and as good as the state itself.

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};
use refrain_wire::control::{Agreement, Release};
use refrain_wire::entry::GroupRecords;
use refrain_wire::{Digest, Incarnation, NodeId, Record, Seat, ShardId};

use super::{
    Control, Epoch, GroupId, Position, ProxyId, ShardControl, ShardState, SubmissionId, apply_at, batch, create, open,
    origin, shutdown, started,
};

/// One entry: its time, its submissions, the records of each group.
type Step = (u64, Vec<SubmissionId>, Vec<(u32, Vec<Record>)>);

fn control() -> impl Strategy<Value = Control> {
    let (seat, number, position) = (0u8..5, 1u32..4, 0u64..40);
    prop_oneof![
        3 => (seat.clone(), number.clone(), 1u64..4, prop_oneof![Just(0), position.clone()]).prop_map(
            |(seat, incarnation, node, from)| Control::TakeSeat {
                seat: Seat(seat),
                incarnation: Incarnation(incarnation),
                node: NodeId(node),
                from: Position(from),
            }
        ),
        2 => (seat, number, position.clone()).prop_map(|(seat, incarnation, at)| Control::Quarantine {
            seat: Seat(seat),
            incarnation: Incarnation(incarnation),
            position: Position(at),
            voted: Digest::of(b"a"),
            agreed: Digest::of(b"b"),
        }),
        1 => Just(Control::Audit),
        1 => position.clone().prop_map(|at| Control::Halt { position: Position(at) }),
        1 => Just(Control::Resume),
        1 => prop::sample::select(vec![1, 3, 5, 7, 4]).prop_map(|seats| Control::Resize { seats }),
        1 => (0u8..3).prop_map(|n| Control::Upgrade { bundle: [n; 32], engine: Digest::of(&[n]) }),
        2 => Just(Control::Checkpoint),
        2 => (position, 0u8..2).prop_map(|(at, root)| Control::Rooted { position: Position(at), root: [root; 32] }),
        1 => (0u8..3).prop_map(|n| Control::Create {
            service: format!("a/{n}"),
            bundle: [n; 32],
            engine: Digest::of(&[n]),
            seats: 3,
            agreement: Agreement::All,
        }),
    ]
}

fn shard_control() -> impl Strategy<Value = ShardControl> {
    prop_oneof![
        (0u64..6, any::<u8>()).prop_map(|(term, byte)| ShardControl::Term { term, entropy: [byte; 32] }),
        (0u16..3, 0u64..3, any::<bool>()).prop_map(|(proxy, nonce, outward)| ShardControl::OpenEpoch {
            proxy: ProxyId(proxy),
            nonce,
            outward
        }),
        (0u32..6).prop_map(|epoch| ShardControl::EndEpoch(Epoch(epoch))),
        (0u8..4, 0u16..3)
            .prop_map(|(n, shard)| ShardControl::Place { service: format!("a/{n}"), shard: ShardId(shard) }),
        (4u8..6, 0u64..20, 0u16..3).prop_map(|(n, after, count)| ShardControl::Deploy {
            service: format!("a/{n}"),
            after: Position(after),
            releases: (0..count).map(|n| Release { version: n.to_string(), bundle: [7; 32], weight: n }).collect(),
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let shard = prop::collection::vec(shard_control(), 0..2);
    let group = || prop::collection::vec(control(), 0..3);
    let submissions = prop::collection::vec((1u32..5, 1u64..4), 0..3);
    (0u64..10, submissions, shard, group(), group()).prop_map(|(minutes, submissions, shard, one, two)| {
        let submissions = submissions.into_iter().map(|(epoch, number)| SubmissionId { epoch: Epoch(epoch), number });
        let flows = [origin(1), shutdown(1), origin(2), shutdown(2)];
        let records = |controls: Vec<Control>| controls.into_iter().map(Record::Control);
        let shard: Vec<Record> = shard.into_iter().map(|control| Record::Control(Control::Shard(control))).collect();
        let groups = vec![(0, shard), (1, records(one).chain(flows).collect()), (2, records(two).collect())];
        (minutes * 600_000_000, submissions.collect(), groups)
    })
}

fn run(state: &mut ShardState, (time, submissions, groups): &Step) -> super::Applied {
    let batches: Vec<GroupRecords> = groups
        .iter()
        .filter(|(_, records)| !records.is_empty())
        .map(|(id, records)| batch(GroupId(*id), records))
        .collect();
    apply_at(state, *time, submissions, &batches)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_a_state_are_fixed() {
    let mut state = ShardState::new();
    let term = Control::Shard(ShardControl::Term { term: 3, entropy: [0; 32] });
    let groups = [batch(GroupId::SHARD, &[Record::Control(term), open(1)]), batch(GroupId(1), &[create("a/b")])];
    apply_at(&mut state, 0x0102, &[], &groups);
    let take = Control::TakeSeat { seat: Seat(1), incarnation: Incarnation(1), node: NodeId(5), from: Position(0) };
    let quarantine = Control::Quarantine {
        seat: Seat(1),
        incarnation: Incarnation(1),
        position: Position(2),
        voted: Digest::default(),
        agreed: Digest::default(),
    };
    let records = [take, quarantine, Control::Checkpoint].map(Record::Control);
    apply_at(&mut state, 0x0103, &[], &[batch(GroupId(1), &records)]);
    let root = Control::Rooted { position: Position(2), root: [6; 32] };
    let records = [root, Control::Checkpoint, Control::Resize { seats: 1 }].map(Record::Control);
    apply_at(&mut state, 0x0104, &[], &[batch(GroupId(1), &records)]);
    // The turn of the third entry, as histories have it.
    let turn =
        [&3u64.to_le_bytes()[..], &0x0104u64.to_le_bytes(), &[0; 5], &batch(GroupId(1), &records).records].concat();
    let history = format!("{:016x}", (12 + turn.len() as u64).swap_bytes());
    let chain = hex(blake3::hash(&[&[0; 32][..], &turn].concat()).as_bytes());
    let fold = hex(blake3::hash(&[0; 64]).as_bytes());
    let (bundle, engine) = ("07".repeat(32), hex(&Digest::of(b"engine").0));
    let golden = [
        "03 0300000000000000 0401000000000000 0300000000000000",
        &fold,
        "01000000",
        "01000000 01000000 0100 0000000000000000 0a00000000000000 0100000000000000 01",
        "01000000 01000000 0300 612f62 01 0100000000000000 0300000000000000",
        "0300000000000000 0000000000000000 0000000000000000",
        "36 0300000000000000 0401000000000000 0200000000000000",
        &"06".repeat(32),
        "0200000000000000",
        &history,
        &chain,
        "0300000000000000 0000000000000000",
        &"00".repeat(32),
        "0000 0100000000000000",
        &bundle,
        &engine,
        "01 00 00000000",
        "02 08 01000000 0301000000000000 00 00000000",
        "00000000",
    ];
    assert_eq!(hex(&state.encode()), golden.concat().replace(' ', ""));
}

#[test]
fn placed_and_deployed_services_stand_at_the_end_of_a_state() {
    let mut state = ShardState::new();
    let place = |service: &str, shard| {
        let control = ShardControl::Place { service: service.into(), shard: ShardId(shard) };
        Record::Control(Control::Shard(control))
    };
    apply_at(&mut state, 1, &[], &[batch(GroupId::SHARD, &[place("b/c", 2), place("a/b", 258)])]);
    let bytes = hex(&state.encode());
    let placed = "00000000 02000000 0300612f620201 0300622f630200";
    assert!(bytes.ends_with(placed.replace(' ', "").as_str()), "{bytes}");
    assert_eq!(ShardState::decode(&state.encode()).unwrap(), state);
    assert_eq!(state.encode()[0], 3, "a node that knows no stateless services reads it");
    let of_first_version_4 = [&[4], &state.encode()[1..], &[0; 4]].concat();
    assert_eq!(ShardState::decode(&of_first_version_4).unwrap(), state, "it was written without any as well");
    let releases = vec![
        Release { version: "1".into(), bundle: [1; 32], weight: 258 },
        Release { version: "2".into(), bundle: [2; 32], weight: 0 },
    ];
    let deploy = ShardControl::Deploy { service: "c/d".into(), after: Position(0), releases };
    apply_at(&mut state, 1, &[], &[batch(GroupId::SHARD, &[Record::Control(Control::Shard(deploy))])]);
    let (one, two) = ("01".repeat(32), "02".repeat(32));
    let deployed = format!("01000000 0300632f64 0200000000000000 02 {one} 0201 0100 31 {two} 0000 0100 32");
    let bytes = hex(&state.encode());
    assert!(bytes.starts_with("04") && bytes.ends_with(&deployed.replace(' ', "")), "{bytes}");
    assert_eq!(ShardState::decode(&state.encode()).unwrap(), state);
    let remove = ShardControl::Deploy { service: "c/d".into(), after: Position(2), releases: Vec::new() };
    apply_at(&mut state, 1, &[], &[batch(GroupId::SHARD, &[Record::Control(Control::Shard(remove))])]);
    assert_eq!(state.encode()[0], 3, "with the last of them gone it needs no more");
}

#[test]
fn what_does_not_stand_for_a_state_is_refused() {
    let bytes = started().encode();
    assert!(ShardState::decode(&bytes).is_ok());
    for end in 0..bytes.len() {
        assert!(ShardState::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(ShardState::decode(&longer).is_err());
    let mut other = bytes.to_vec();
    other[0] = 5;
    assert_eq!(
        ShardState::decode(&other).unwrap_err().to_string(),
        "version of the shard's state has the unknown value 5"
    );
}

/// A state as version 2 had it, whose epochs were for no outward calls.
fn of_version_2(bytes: &[u8], epochs: usize) -> Vec<u8> {
    let first = 1 + 3 * 8 + 32 + 4 + 4;
    let without = bytes[first..].chunks(31).take(epochs).flat_map(|epoch| &epoch[..30]).copied();
    let mut old: Vec<u8> = bytes[..first].iter().copied().chain(without).collect();
    old.extend_from_slice(&bytes[first + epochs * 31..]);
    old[0] = 2;
    old
}

#[test]
fn a_state_of_version_2_is_read_and_its_epochs_are_for_no_outward_calls() {
    let state = started();
    let old = ShardState::decode(&of_version_2(&state.encode(), 2)).unwrap();
    assert!(state.epochs().values().all(|epoch| epoch.outward));
    assert!(old.epochs().values().all(|epoch| !epoch.outward));
    assert_eq!((old.groups(), old.position()), (state.groups(), state.position()));
}

#[test]
fn a_state_of_version_1_is_read_and_knows_no_histories_until_the_next_checkpoint() {
    let mut state = started();
    let bytes = of_version_2(&state.encode(), 2);
    // The flags of the only group, behind the head of the state, two epochs, and the group's number, name and turns.
    // What they say is there: a position, a count, a chain.
    let flags = (1 + 3 * 8 + 32 + 4) + (4 + 2 * 30) + (4 + 4 + 2 + 3 + 1 + 5 * 8);
    assert_eq!(bytes[flags], 16);
    // Placed services are none; their number stands at the end.
    let mut old = [&bytes[..flags], &[0], &bytes[flags + 49..bytes.len() - 4]].concat();
    old[0] = 1;
    let mut decoded = ShardState::decode(&old).unwrap();
    assert_eq!(decoded.groups()[&GroupId(1)].history, None);
    assert_eq!(ShardState::decode(&decoded.encode()).unwrap(), decoded);
    let control = |control: Control| [batch(GroupId(1), &[Record::Control(control)])];
    for state in [&mut state, &mut decoded] {
        apply_at(state, 200, &[], &control(Control::Checkpoint));
        let asked = state.position();
        apply_at(state, 200, &[], &control(Control::Audit));
        apply_at(state, 200, &[], &control(Control::Rooted { position: asked, root: [1; 32] }));
    }
    assert!(decoded.groups()[&GroupId(1)].history.is_some());
    assert_eq!((decoded.groups(), decoded.position()), (state.groups(), state.position()));
    old[flags] = 16;
    assert!(ShardState::decode(&old).is_err(), "that version had no such flag");
}

proptest! {
    #[test]
    fn a_decoded_state_is_the_state_and_goes_on_as_it_would(
        before in prop::collection::vec(step(), 0..40),
        after in prop::collection::vec(step(), 0..20),
    ) {
        let mut state = started();
        before.iter().for_each(|step| drop(run(&mut state, step)));
        let bytes = state.encode();
        let mut decoded = ShardState::decode(&bytes).unwrap();
        prop_assert_eq!(&decoded, &state);
        prop_assert_eq!(decoded.encode(), bytes);
        for step in &after {
            prop_assert_eq!(run(&mut decoded, step), run(&mut state, step));
        }
        prop_assert_eq!(decoded.encode(), state.encode());
    }

    #[test]
    fn any_bytes_are_decoded_without_panic_and_only_in_their_one_form(
        at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        steps in prop::collection::vec(step(), 0..10),
    ) {
        let mut state = started();
        steps.iter().for_each(|step| drop(run(&mut state, step)));
        let mut bytes = state.encode().to_vec();
        for (index, value) in at {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if let Ok(decoded) = ShardState::decode(&bytes) {
            let written = decoded.encode();
            // Earlier versions are read and not written.
            prop_assert!(written[0] != bytes[0] || written == bytes);
        }
    }
}
