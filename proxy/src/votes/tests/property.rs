//! Whatever order votes come in and whatever a minority votes, what is released is what the correct seats voted.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;

use super::{CastVote, EPOCH, Event, FIRST, Votes, digest, turn};
use bytes::Bytes;
use refrain_wire::control::Agreement;
use refrain_wire::turn::TurnEffects;
use refrain_wire::{Digest, Position, Seat};

/// What a faulty seat does at a turn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Honest,
    Silent,
    OtherDigest,
    OtherPayload,
    Twice,
    TurnThatIsNot,
    /// Votes what the other faulty seats vote.
    Conspire,
}

pub(super) fn fault() -> impl Strategy<Value = Fault> {
    let all = [
        Fault::Honest,
        Fault::Silent,
        Fault::OtherDigest,
        Fault::OtherPayload,
        Fault::Twice,
        Fault::TurnThatIsNot,
        Fault::Conspire,
    ];
    (0..all.len()).prop_map(move |i| all[i])
}

/// Turns at even positions; those that faulty seats invent are odd.
pub(super) fn turns(count: usize) -> Vec<TurnEffects> {
    (0..count).map(|i| turn(Position(10 + 2 * i as u64), &format!("turn {i}"))).collect()
}

pub(super) fn cast(seat: u8, turn: &TurnEffects, digest: Digest) -> CastVote {
    CastVote {
        seat: Seat(seat),
        incarnation: FIRST,
        position: turn.position,
        digest,
        list: Some(Arc::new(turn.clone())),
    }
}

pub(super) fn faulty_votes(seat: u8, good: &TurnEffects, fault: Fault) -> Vec<CastVote> {
    let other = turn(good.position, &format!("seat {seat}"));
    let honest = cast(seat, good, digest(good));
    match fault {
        Fault::Honest => vec![honest],
        Fault::Silent => vec![],
        Fault::OtherDigest => vec![cast(seat, &other, digest(&other))],
        Fault::OtherPayload => {
            let mut list = good.clone();
            list.effects[0].payload = Bytes::from_static(b"forged");
            vec![cast(seat, &list, digest(good))]
        }
        Fault::Twice => vec![honest, cast(seat, &other, digest(&other))],
        Fault::TurnThatIsNot => {
            let invented = turn(Position(good.position.0 + 1), "invented");
            vec![honest, cast(seat, &invented, digest(&invented))]
        }
        Fault::Conspire => {
            let lie = turn(good.position, "lie");
            vec![cast(seat, &lie, digest(&lie))]
        }
    }
}

/// Merges the seats' votes: each keeps its order, `picks` says whose comes next.
fn merged(mut queues: Vec<Vec<CastVote>>, picks: &[u8]) -> Vec<CastVote> {
    for queue in &mut queues {
        queue.reverse();
    }
    let mut order = Vec::new();
    let mut picks = picks.iter().cycle();
    while queues.iter().any(|queue| !queue.is_empty()) {
        let open: Vec<usize> = (0..queues.len()).filter(|i| !queues[*i].is_empty()).collect();
        let pick = picks.next().map_or(0, |pick| usize::from(*pick));
        order.extend(queues[open[pick % open.len()]].pop());
    }
    order
}

fn check(turns: &[TurnEffects], seats: u8, votes: Vec<CastVote>, honest: &[u8]) -> Result<(), TestCaseError> {
    let mut group = Votes::new(seats, Agreement::Majority, Position(0));
    group.begin_epoch(EPOCH, Position(1));
    let mut out = Vec::new();
    for seat in 0..seats {
        group.take_seat(Seat(seat), FIRST, Position(2), &mut out);
    }
    for vote in votes {
        group.vote(vote, &mut out);
    }
    let mut released = Vec::new();
    for event in out {
        match event {
            Event::Agreed { effects, .. } => released.push((*effects).clone()),
            Event::Diverged(divergence) => prop_assert!(!honest.contains(&divergence.seat.0), "{:?}", divergence),
            Event::Split { position } => prop_assert!(false, "split at {}", position),
            Event::Lost { position } => prop_assert!(false, "lost at {}", position),
            Event::Ask { .. } | Event::Dropped { .. } => {}
        }
    }
    prop_assert_eq!(released.as_slice(), turns);
    Ok(())
}

proptest! {
    #[test]
    fn all_correct_seats_release_every_turn_in_order(
        seats in 1u8..=7,
        count in 1usize..12,
        picks in vec(any::<u8>(), 1..80),
    ) {
        let turns = turns(count);
        let queues = (0..seats).map(|seat| turns.iter().map(|turn| cast(seat, turn, digest(turn))).collect());
        let honest: Vec<u8> = (0..seats).collect();
        check(&turns, seats, merged(queues.collect(), &picks), &honest)?;
    }

    #[test]
    fn a_minority_of_faulty_seats_changes_nothing(
        half in 1u8..=3,
        faults in vec(fault(), 36),
        count in 1usize..12,
        picks in vec(any::<u8>(), 1..80),
    ) {
        let (turns, seats) = (turns(count), 2 * half + 1);
        let queues = (0..seats).map(|seat| {
            let votes = turns.iter().enumerate().map(|(i, turn)| {
                let fault = if seat < half { faults[usize::from(seat) * 12 + i] } else { Fault::Honest };
                faulty_votes(seat, turn, fault)
            });
            votes.flatten().collect()
        });
        let honest: Vec<u8> = (half..seats).collect();
        check(&turns, seats, merged(queues.collect(), &picks), &honest)?;
    }
}
