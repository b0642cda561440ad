//! A replica's place at its worker: the replica, or word that it is away, and the batches that wait for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use refrain_wire::Position;

use super::life::Life;
use crate::replica::{Flip, Replica, TurnBatch};

/// Batches that may wait for one replica; beyond it the replica reads the log.
pub(crate) const MAX_WAITING: usize = 1024;

pub(crate) struct Slot {
    /// None while the replica is in the background.
    pub(crate) replica: Option<Box<Replica>>,
    pub(crate) waiting: VecDeque<Arc<TurnBatch>>,
    /// When the turn began that has not ended.
    pub(crate) in_turn: Option<Instant>,
    /// Yields in the present turn.
    pub(crate) yields: u32,
    /// A fault that waits for the replica to come back.
    pub(crate) flip: Option<Flip>,
    pub(crate) life: Life,
}

impl Slot {
    /// The place of a replica that is away to catch up.
    pub(crate) fn away() -> Self {
        Self { replica: None, waiting: VecDeque::new(), in_turn: None, yields: 0, flip: None, life: Life::new() }
    }

    /// A full queue is dropped: what follows then does not connect, and the replica reads the log.
    pub(crate) fn wait(&mut self, batch: &Arc<TurnBatch>) {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.clear();
        }
        self.waiting.push_back(Arc::clone(batch));
    }

    /// How far the replica is: its position, and whether it is in the turn after it.
    pub(crate) fn progress(&self) -> (Option<Position>, bool) {
        (self.replica.as_ref().map(|replica| replica.position()), self.in_turn.is_some())
    }

    /// Whether there is something to do here.
    pub(crate) fn is_ready(&self) -> bool {
        self.replica.is_some() && (self.in_turn.is_some() || !self.waiting.is_empty())
    }
}
