//! Finished turns of one replica, kept until every other node's proxy has released them, so that votes lost with a
//! stream can be cast again and a list can be sent when it is asked for. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use refrain_engine::TurnOutcome;
use refrain_wire::turn::TurnEffects;
use refrain_wire::{Digest, Epoch, Position};

/// The most turns that are kept of one replica.
const MAX_TURNS: usize = 8192;
/// The most payload bytes that are kept of one replica; its newest turn is kept whatever its size.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// A finished turn, as far as votes need it.
#[derive(Debug, Clone)]
pub(in crate::shard) struct KeptTurn {
    pub(in crate::shard) position: Position,
    votes: Vec<(Epoch, Digest)>,
    pub(in crate::shard) effects: Arc<TurnEffects>,
}

impl KeptTurn {
    /// The vote for the proxy of an epoch; none when the replica did not know of it.
    pub(in crate::shard) fn vote(&self, epoch: Epoch) -> Option<Digest> {
        self.votes.iter().find(|(to, _)| *to == epoch).map(|(_, digest)| *digest)
    }

    fn bytes(&self) -> usize {
        self.effects.effects.iter().map(|effect| effect.payload.len()).sum()
    }
}

/// The kept turns, in the order of their positions.
#[derive(Debug, Default)]
pub(in crate::shard) struct Kept {
    turns: VecDeque<KeptTurn>,
    bytes: usize,
    /// The last turn that was finished.
    last: Position,
    /// Turns up to here are not here, whether there were any or not.
    forgotten: Position,
}

impl Kept {
    /// Keeps a turn, unless it is not needed after all: no proxy needs any up to `released`. The oldest go when there
    /// are too many; a proxy that still needs one of them has to do without this seat's vote.
    pub(in crate::shard) fn push(&mut self, outcome: &TurnOutcome, released: Position) {
        let (position, votes) = (outcome.position, outcome.votes.clone());
        if self.last == Position(0) {
            // What the replica did before, it did for nobody else, or another one did.
            self.forgotten = Position(position.0.saturating_sub(1));
        }
        self.last = position;
        if position <= released {
            self.forgotten = position;
            return;
        }
        let turn = KeptTurn { position, votes, effects: Arc::clone(&outcome.effects) };
        self.bytes += turn.bytes();
        self.turns.push_back(turn);
        while self.turns.len() > MAX_TURNS || (self.bytes > MAX_BYTES && self.turns.len() > 1) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(turn) = self.turns.pop_front() {
            self.bytes -= turn.bytes();
            self.forgotten = self.forgotten.max(turn.position);
        }
    }

    /// Turns up to here are not kept: nothing follows from their not being here.
    pub(in crate::shard) fn forgotten(&self) -> Position {
        self.forgotten
    }

    /// Everything up to `released` is no longer needed.
    pub(in crate::shard) fn release(&mut self, released: Position) {
        while self.turns.front().is_some_and(|turn| turn.position <= released) {
            self.pop();
        }
    }

    /// The turns after a position.
    pub(in crate::shard) fn after(&self, position: Position) -> impl Iterator<Item = &KeptTurn> {
        let from = self.turns.partition_point(|turn| turn.position <= position);
        self.turns.range(from..)
    }

    /// The turn at a position.
    pub(in crate::shard) fn get(&self, position: Position) -> Option<&KeptTurn> {
        let at = self.turns.binary_search_by_key(&position, |turn| turn.position).ok()?;
        self.turns.get(at)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use bytes::Bytes;
    use refrain_engine::Usage;
    use refrain_wire::turn::Effect;
    use refrain_wire::{EffectEntry, EffectKind, RunningDigest};

    fn outcome(position: u64, payload: usize) -> TurnOutcome {
        outcome_of(position, &[payload])
    }

    /// A turn for every proxy, with payloads of these lengths, and votes for that of epoch 3.
    pub(in super::super) fn outcome_of(position: u64, payloads: &[usize]) -> TurnOutcome {
        let log = |payload: &usize| {
            let payload = Bytes::from(vec![0; *payload]);
            let (digest, length) = (Digest::of(&payload), payload.len() as u32);
            Effect { entry: EffectEntry { kind: EffectKind::Log, flow: None, offset: 1, length, digest }, payload }
        };
        let effects = payloads.iter().map(log).collect();
        let position = Position(position);
        TurnOutcome {
            position,
            votes: vec![(Epoch(3), Digest::default())],
            effects: Arc::new(TurnEffects { position, before: RunningDigest::default(), effects }),
            after: RunningDigest::default(),
            wants: None,
            usage: Usage::default(),
            fuel: 0,
            captured: None,
        }
    }

    fn positions<'a>(turns: impl Iterator<Item = &'a KeptTurn>) -> Vec<u64> {
        turns.map(|turn| turn.position.0).collect()
    }

    #[test]
    fn turns_are_kept_until_they_are_released() {
        let mut kept = Kept::default();
        [2, 5, 9].iter().for_each(|position| kept.push(&outcome(*position, 1), Position(0)));
        assert_eq!(positions(kept.after(Position(2))), [5, 9]);
        assert!(kept.get(Position(4)).is_none());
        assert!(
            kept.get(Position(5)).is_some_and(|turn| turn.vote(Epoch(3)).is_some() && turn.vote(Epoch(4)).is_none())
        );
        kept.release(Position(5));
        assert_eq!(positions(kept.after(Position(0))), [9]);
    }

    #[test]
    fn the_oldest_go_at_the_limits() {
        let mut kept = Kept::default();
        (1..=MAX_TURNS as u64 + 1).for_each(|position| kept.push(&outcome(position, 0), Position(0)));
        assert_eq!(kept.after(Position(0)).count(), MAX_TURNS);
        kept.push(&outcome(100_000, MAX_BYTES), Position(0));
        assert_eq!(kept.after(Position(0)).count(), MAX_TURNS, "at the limit of bytes");
        kept.push(&outcome(100_001, 1), Position(0));
        assert_eq!(positions(kept.after(Position(0))), [100_001]);
        assert_eq!(kept.forgotten(), Position(100_000));
    }

    #[test]
    fn what_was_before_the_first_turn_was_evicted_or_released_is_forgotten() {
        let mut kept = Kept::default();
        assert_eq!(kept.forgotten(), Position(0));
        kept.push(&outcome(7, 1), Position(0));
        assert_eq!(kept.forgotten(), Position(6), "a replica may begin in the middle");
        [9, 12].iter().for_each(|position| kept.push(&outcome(*position, 1), Position(0)));
        kept.release(Position(9));
        assert_eq!(kept.forgotten(), Position(9));
    }

    #[test]
    fn a_replica_that_replays_keeps_nothing_that_is_released() {
        let mut kept = Kept::default();
        (1..100).for_each(|position| kept.push(&outcome(position, 1), Position(97)));
        assert_eq!(positions(kept.after(Position(0))), [98, 99]);
        assert_eq!(kept.forgotten(), Position(97));
    }
}
