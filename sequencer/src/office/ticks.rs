//! Turns that replicas want by themselves: a tick is ordered when log time reaches the wish of a replica that has
//! executed everything. A group whose history is full gets none: its guest would fill it further without end.

use std::time::Duration;

use refrain_wire::{GroupId, Position, Time};

use super::due::Wanted;
use super::{Due, Office};
use crate::shard::Group;

/// A tick that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AskedTick {
    time: Time,
    /// The group's last turn then: with another one, the wish is another.
    last_turn: Position,
    again: Duration,
}

impl Office {
    /// Puts the group's wish where it belongs: among those that wait for log time, or that were asked for.
    pub(super) fn wish(&mut self, id: GroupId, group: &Group, now: Duration, wanted: &mut Wanted) {
        let full = self.is_full(id, group);
        let Some(replicas) = self.groups.get_mut(&id) else { return };
        let wish = replicas.wants().filter(|_| !full);
        let asked = replicas
            .asked_tick
            .filter(|asked| wish == Some(asked.time) && asked.last_turn == replicas.last_turn() && now < asked.again);
        replicas.asked_tick = asked;
        match asked {
            Some(asked) => {
                wanted.by(asked.again);
                self.wishes.set(id, None);
            }
            None => self.wishes.set(id, wish),
        }
    }

    /// Takes the wishes that are due.
    pub(super) fn take_ticks(&mut self, now: Duration, log_time: Time, due: &mut Due) {
        while let Some((id, time)) = self.next_wish(log_time) {
            let Some(replicas) = self.groups.get_mut(&id) else { continue };
            let again = now + self.options.ask_again;
            replicas.asked_tick = Some(AskedTick { time, last_turn: replicas.last_turn(), again });
            due.ticks.push((id, time));
            self.alarms.set_sooner(id, again);
        }
    }

    fn next_wish(&mut self, log_time: Time) -> Option<(GroupId, Time)> {
        let time = self.wishes.first()?;
        self.wishes.pop_due(log_time).map(|id| (id, time))
    }
}
