//! What a group has been sent and has not executed yet.

use std::collections::VecDeque;

use refrain_wire::{GroupId, Position, Time};

use super::Refused;

/// Limits of each group on records that are not executed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of data records. 8 MiB: raising it lets clients send further ahead of slow guests.
    pub bulk_bytes: usize,
    /// Open and data records. 262,144: more than one submission can have, else that one would never be taken.
    pub bulk_records: usize,
    /// All other flow records. 262,144, for the same reason.
    pub relief_records: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bulk_bytes: 8 * 1024 * 1024, bulk_records: 262_144, relief_records: 262_144 }
    }
}

/// A number of records and their payload bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Amount {
    pub(super) fn add(&mut self, records: usize, bytes: usize) {
        self.records += records;
        self.bytes += bytes;
    }

    fn remove(&mut self, other: Self) {
        self.records -= other.records;
        self.bytes -= other.bytes;
    }
}

/// What one submission adds to a group's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Weight {
    pub(super) bulk: Amount,
    pub(super) relief: Amount,
}

/// What counts against a group's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Payload bytes of data records.
    pub bulk_bytes: usize,
    /// Open and data records.
    pub bulk_records: usize,
    /// All other flow records.
    pub relief_records: usize,
}

impl Usage {
    /// Whether `weight` may be added.
    pub(super) fn admit(self, group: GroupId, weight: Weight, limits: &Limits) -> Result<(), Refused> {
        let checks = [
            (weight.bulk.records > 0, "data bytes", self.bulk_bytes + weight.bulk.bytes, limits.bulk_bytes),
            (
                weight.bulk.records > 0,
                "open and data records",
                self.bulk_records + weight.bulk.records,
                limits.bulk_records,
            ),
            (
                weight.relief.records > 0,
                "other records",
                self.relief_records + weight.relief.records,
                limits.relief_records,
            ),
        ];
        match checks.into_iter().find(|(concerned, _, value, limit)| *concerned && value > limit) {
            Some((_, what, _, limit)) => Err(Refused::Busy { group, what, limit }),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Load {
    total: Weight,
    ordered: VecDeque<(Position, Weight)>,
    executed: Position,
    tick_wanted: Option<Time>,
    /// The time of a tick that is on its way or ordered, and its position once that is known.
    tick_running: Option<(Time, Option<Position>)>,
}

impl Load {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            bulk_bytes: self.total.bulk.bytes,
            bulk_records: self.total.bulk.records,
            relief_records: self.total.relief.records,
        }
    }

    pub(super) fn take(&mut self, weight: Weight) {
        self.total.bulk.add(weight.bulk.records, weight.bulk.bytes);
        self.total.relief.add(weight.relief.records, weight.relief.bytes);
    }

    pub(super) fn release(&mut self, weight: Weight) {
        self.total.bulk.remove(weight.bulk);
        self.total.relief.remove(weight.relief);
    }

    /// Engines may have been faster than the answer of the log.
    pub(super) fn ordered(&mut self, position: Position, weight: Weight) {
        if position <= self.executed {
            self.release(weight);
        } else {
            self.ordered.push_back((position, weight));
        }
    }

    pub(super) fn executed(&mut self, position: Position) {
        self.executed = self.executed.max(position);
        while let Some((_, weight)) = self.ordered.pop_front_if(|(at, _)| *at <= position) {
            self.release(weight);
        }
        self.settle_tick();
    }

    /// Whether a tick for `time` is to be ordered; false when one that is running or waiting will do.
    pub(super) fn wants_tick(&mut self, time: Time) -> bool {
        let running = self.tick_running.is_some_and(|(running, _)| running >= time);
        let waiting = self.tick_wanted.is_some_and(|waiting| waiting >= time);
        if running || waiting {
            return false;
        }
        self.tick_wanted = Some(time);
        true
    }

    pub(super) fn tick_taken(&mut self) {
        self.tick_running = self.tick_wanted.take().map(|time| (time, None)).or(self.tick_running);
    }

    /// The tick on its way was ordered at `position`, or not at all.
    pub(super) fn tick_ordered(&mut self, position: Option<Position>) {
        self.tick_running = self.tick_running.and_then(|(time, _)| position.map(|position| (time, Some(position))));
        self.settle_tick();
    }

    pub(super) fn forget_tick(&mut self) {
        self.tick_wanted = None;
    }

    fn settle_tick(&mut self) {
        let executed = self.executed;
        self.tick_running.take_if(|(_, at)| at.is_some_and(|at| at <= executed));
    }
}
