//! Invariant 3 on the core: whatever order votes come in, each byte is handed out once, in order, after agreement.

mod early;
mod outward;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use refrain_wire::control::Agreement;
use refrain_wire::turn::{Effect, TurnEffects};
use refrain_wire::{
    Digest, EffectEntry, EffectKind, Epoch, FlowId, GroupId, Incarnation, Position, RunningDigest, Seat, Serial,
};

use super::{Action, EARLY_BYTES, EARLY_VOTES, GroupConfig, LogStream, Notice, Outcome, Proxy, Released};
use crate::nat::{Ending, GroupLimits, Limits};
use crate::votes::{CastVote, concerns};

const GROUP: GroupId = GroupId(2);
const EPOCH: Epoch = Epoch(6);
const NOW: Duration = Duration::from_secs(1);

fn proxy(seats: u8) -> Proxy {
    let mut proxy = Proxy::new(Limits::default());
    let config = GroupConfig {
        service: "demo/echo".to_owned(),
        seats,
        agreement: Agreement::Majority,
        limits: GroupLimits::default(),
        released: Position(0),
    };
    proxy.add_group(GROUP, config);
    proxy.begin_epoch(EPOCH, Position(1));
    for seat in 0..seats {
        proxy.take_seat(GROUP, Seat(seat), Incarnation(1), Position(2), NOW, &mut Outcome::default());
    }
    proxy
}

fn accept(proxy: &mut Proxy) -> Serial {
    let peer: std::net::SocketAddr = "10.0.0.1:7".parse().expect("an address");
    proxy.accept(GROUP, 80, peer, NOW).expect("the table has room")
}

fn effect(kind: EffectKind, flow: Option<Serial>, offset: u64, payload: &[u8]) -> Effect {
    let digest = if payload.is_empty() { Digest::default() } else { Digest::of(payload) };
    Effect {
        entry: EffectEntry {
            kind,
            flow: flow.map(|serial| FlowId { epoch: EPOCH, serial }),
            offset,
            length: payload.len() as u32,
            digest,
        },
        payload: Bytes::copy_from_slice(payload),
    }
}

fn turn(position: u64, effects: Vec<Effect>) -> TurnEffects {
    TurnEffects { position: Position(position), before: RunningDigest::default(), effects }
}

fn vote(proxy: &mut Proxy, seat: u8, turn: &TurnEffects) -> Outcome {
    let mut outcome = Outcome::default();
    let entries = turn.effects.iter().map(|effect| &effect.entry);
    let vote = CastVote {
        seat: Seat(seat),
        incarnation: Incarnation(1),
        position: turn.position,
        digest: turn.before.vote(entries.filter(|entry| concerns(entry, EPOCH))),
        list: Some(Arc::new(turn.clone())),
    };
    proxy.vote(GROUP, vote, NOW, &mut outcome);
    outcome
}

fn write(serial: Serial, bytes: &'static [u8]) -> Action {
    Action::Write { serial, bytes: Bytes::from_static(bytes) }
}

#[test]
fn effects_become_actions_in_their_order() {
    let mut proxy = proxy(1);
    let (first, second) = (accept(&mut proxy), accept(&mut proxy));
    let effects = vec![
        effect(EffectKind::Bytes, Some(first), 0, b"hello"),
        effect(EffectKind::Finish, Some(first), 5, b""),
        effect(EffectKind::Reset, Some(second), 0, b""),
        effect(EffectKind::Log, None, 2, b"a line"),
        effect(EffectKind::Log, None, 1, b""),
        effect(EffectKind::Listen, None, 80, b""),
        effect(EffectKind::Exit, None, 3, b"trap"),
        effect(EffectKind::Exit, None, 0, b""),
        effect(EffectKind::Timer, None, 99, b""),
    ];
    let outcome = vote(&mut proxy, 0, &turn(10, effects));
    let reset = Action::Reset { serial: second, ending: Ending::GuestReset };
    assert_eq!(outcome.actions, [write(first, b"hello"), Action::Finish(first), reset]);
    let notices: Vec<Notice> = outcome.notices.into_iter().map(|(_, notice)| notice).collect();
    let line = |stream, line| Notice::Log { position: Position(10), stream, line: Bytes::from_static(line) };
    let exited = |code, reason| Notice::Exited { code, reason: Bytes::from_static(reason) };
    let lines = [line(LogStream::Error, b"a line"), line(LogStream::Out, b"")];
    assert_eq!(notices[..2], lines);
    assert_eq!(notices[2..], [Notice::Listen(80), exited(3, b"trap"), exited(0, b"")]);
}

#[test]
fn what_is_released_says_by_whom_and_how_many_bytes_clients_are_given() {
    let mut proxy = proxy(5);
    let (first, second) = (accept(&mut proxy), accept(&mut proxy));
    let effects = vec![
        effect(EffectKind::Bytes, Some(first), 0, b"hello"),
        effect(EffectKind::Bytes, Some(second), 0, b"you"),
        effect(EffectKind::Log, None, 2, b"a line"),
    ];
    let good = turn(10, effects);
    for seat in [4, 1] {
        assert_eq!(vote(&mut proxy, seat, &good).released, []);
    }
    let released = Released { group: GROUP, position: Position(10), quorum: 3, seats: 0b1_0110, bytes: 8 };
    assert_eq!(vote(&mut proxy, 2, &good).released, [released]);
}

#[test]
fn a_reset_after_a_finish_lets_the_client_read_the_answer() {
    let mut proxy = proxy(1);
    let serial = accept(&mut proxy);
    let effects = vec![
        effect(EffectKind::Bytes, Some(serial), 0, b"no"),
        effect(EffectKind::Finish, Some(serial), 2, b""),
        effect(EffectKind::Reset, Some(serial), 0, b""),
    ];
    let outcome = vote(&mut proxy, 0, &turn(10, effects));
    let expected = [write(serial, b"no"), Action::Finish(serial), Action::Linger(serial)];
    assert_eq!(outcome.actions, expected);
}

#[test]
fn a_gap_resets_the_flow_and_is_told() {
    let mut proxy = proxy(1);
    let serial = accept(&mut proxy);
    let effects = vec![effect(EffectKind::Bytes, Some(serial), 4, b"late")];
    let outcome = vote(&mut proxy, 0, &turn(10, effects));
    let ending = Ending::Fault;
    assert_eq!(outcome.actions, [Action::Reset { serial, ending }]);
    assert!(matches!(outcome.notices[..], [(GROUP, Notice::Gap { emitted: 0, offset: 4, .. })]));
}

#[test]
fn consumed_bytes_let_a_paused_client_be_read_again() {
    let mut proxy = proxy(1);
    let serial = accept(&mut proxy);
    let nat = proxy.nat().expect("an epoch has begun");
    nat.received(serial, &[0; 1024 * 1024], NOW);
    assert_eq!(nat.readable_bytes(serial), 0);
    let effects = vec![effect(EffectKind::Consumed, Some(serial), 600_000, b"")];
    let outcome = vote(&mut proxy, 0, &turn(10, effects));
    assert_eq!(outcome.actions, [Action::Resume(serial)]);
}

#[test]
fn effects_for_flows_of_another_epoch_do_nothing() {
    let mut proxy = proxy(1);
    let serial = accept(&mut proxy);
    let mut other = effect(EffectKind::Bytes, Some(serial), 0, b"x");
    other.entry.flow = Some(FlowId { epoch: Epoch(5), serial });
    assert_eq!(vote(&mut proxy, 0, &turn(10, vec![other])).actions, []);
    assert_eq!(proxy.votes(GROUP).map(|votes| votes.released()), Some(Position(10)));
}

/// A run of turns over a few flows: the bytes that each turn sends on each, and the streams that result.
fn script(flows: &[Serial], writes: &[Vec<u8>]) -> (Vec<TurnEffects>, BTreeMap<Serial, Vec<u8>>) {
    let mut streams: BTreeMap<Serial, Vec<u8>> = flows.iter().map(|serial| (*serial, Vec::new())).collect();
    let mut turns = Vec::new();
    for (i, lengths) in writes.iter().enumerate() {
        let mut effects = Vec::new();
        for (serial, length) in flows.iter().zip(lengths).filter(|(_, length)| **length > 0) {
            let stream = streams.entry(*serial).or_default();
            let offset = stream.len();
            stream.extend((0..*length).map(|j| j ^ i as u8));
            effects.push(effect(EffectKind::Bytes, Some(*serial), offset as u64, &stream[offset..]));
        }
        turns.push(turn(10 + 3 * i as u64, effects));
    }
    (turns, streams)
}

/// What the liar votes in place of a turn: other bytes, and a flow finished early.
fn lie(good: &TurnEffects, flow: Serial) -> TurnEffects {
    let effects =
        vec![effect(EffectKind::Bytes, Some(flow), 0, b"a lie"), effect(EffectKind::Finish, Some(flow), 5, b"")];
    TurnEffects { effects, ..good.clone() }
}

proptest! {
    #[test]
    fn each_byte_is_handed_out_once_in_order_and_only_after_agreement(
        writes in vec(vec(any::<u8>(), 3), 1..10),
        picks in vec(any::<u8>(), 40),
        repeats in any::<bool>(),
        lies_from in 0usize..10,
    ) {
        let mut proxy = proxy(3);
        let flows: Vec<Serial> = (0..3).map(|_| accept(&mut proxy)).collect();
        let (turns, streams) = script(&flows, &writes);
        let mut next = [0usize; 3];
        let mut got: BTreeMap<Serial, Vec<u8>> = flows.iter().map(|serial| (*serial, Vec::new())).collect();
        let mut picks = picks.iter().cycle();
        while next.iter().any(|next| *next < turns.len()) {
            let open: Vec<usize> = (0..3).filter(|seat| next[*seat] < turns.len()).collect();
            let seat = open[picks.next().map_or(0, |pick| usize::from(*pick)) % open.len()];
            let good = &turns[next[seat]];
            let forged = seat == 2 && next[seat] >= lies_from;
            let cast = if forged { lie(good, flows[0]) } else { good.clone() };
            for _ in 0..=usize::from(repeats) {
                for action in vote(&mut proxy, seat as u8, &cast).actions {
                    let Action::Write { serial, bytes } = action else {
                        prop_assert!(false, "only bytes were agreed: {:?}", action);
                        continue;
                    };
                    got.entry(serial).or_default().extend_from_slice(&bytes);
                }
            }
            next[seat] += 1;
            let agreed = middle([next[0], next[1], next[2].min(lies_from)]);
            let (_, promised) = script(&flows, &writes[..agreed]);
            prop_assert_eq!(&got, &promised, "after {:?}", next);
        }
        prop_assert_eq!(&got, &streams);
    }
}

/// The number of turns that at least two of three seats have voted on alike.
fn middle(mut next: [usize; 3]) -> usize {
    next.sort_unstable();
    next[1]
}
