//! What was asked for and has not come about yet.
//!
//! A group says each time what it wants; what is wanted and was not asked for is to be ordered, what is wanted no
//! longer is forgotten. So at most one control is on its way for a subject, but for those that a timeout repeats.

use std::collections::BTreeMap;
use std::time::Duration;

use refrain_wire::{Control, GroupId, Seat};

/// Waits grow up to so many times the first one.
const MAX_GROWTH: u32 = 16;

/// What a control is about; a group wants at most one for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Seat(Seat),
    Audit,
    Checkpoint,
    Root,
    Upgrade,
    Quarantine(Seat),
}

fn subject(control: &Control) -> Option<Subject> {
    match control {
        Control::TakeSeat { seat, .. } => Some(Subject::Seat(*seat)),
        Control::Audit => Some(Subject::Audit),
        Control::Checkpoint => Some(Subject::Checkpoint),
        Control::Rooted { .. } => Some(Subject::Root),
        Control::Upgrade { .. } => Some(Subject::Upgrade),
        Control::Quarantine { seat, .. } => Some(Subject::Quarantine(*seat)),
        _ => None,
    }
}

#[derive(Debug)]
struct Ask {
    control: Control,
    wait: Duration,
    again: Duration,
}

#[derive(Debug)]
pub(super) struct Asks {
    asked: BTreeMap<GroupId, BTreeMap<Subject, Ask>>,
    first_wait: Duration,
}

impl Asks {
    pub(super) fn new(first_wait: Duration) -> Self {
        Self { asked: BTreeMap::new(), first_wait }
    }

    /// The group wants these and nothing else. Returns what is to be ordered now.
    pub(super) fn want(&mut self, group: GroupId, wanted: Vec<Control>, now: Duration) -> Vec<Control> {
        let mut before = self.asked.remove(&group).unwrap_or_default();
        let mut asked = BTreeMap::new();
        let mut due = Vec::new();
        for control in wanted {
            let Some(subject) = subject(&control) else { continue };
            let mut ask = match before.remove(&subject).filter(|ask| ask.control == control) {
                Some(ask) => ask,
                None => Ask { control, wait: Duration::ZERO, again: now },
            };
            if ask.again <= now {
                ask.wait = (ask.wait * 2).clamp(self.first_wait, self.first_wait * MAX_GROWTH);
                ask.again = now + ask.wait;
                due.push(ask.control.clone());
            }
            asked.insert(subject, ask);
        }
        if !asked.is_empty() {
            self.asked.insert(group, asked);
        }
        due
    }

    /// When something of the group's is to be asked for again.
    pub(super) fn again(&self, group: GroupId) -> Option<Duration> {
        self.asked.get(&group)?.values().map(|ask| ask.again).min()
    }

    /// The control that was asked for so that the seat is taken.
    pub(super) fn for_seat(&self, group: GroupId, seat: Seat) -> Option<&Control> {
        self.asked.get(&group)?.get(&Subject::Seat(seat)).map(|ask| &ask.control)
    }

    /// All controls that are on their way.
    pub(super) fn all(&self) -> impl Iterator<Item = (GroupId, &Control)> {
        self.asked.iter().flat_map(|(group, asks)| asks.values().map(|ask| (*group, &ask.control)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_wire::Position;

    const ONE: GroupId = GroupId(1);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_is_wanted_is_asked_for_once_and_again_with_growing_waits() {
        let mut asks = Asks::new(at(100));
        let mut asked = Vec::new();
        for now in 0..10_000 {
            if !asks.want(ONE, vec![Control::Audit], at(now)).is_empty() {
                asked.push(now);
            }
        }
        assert_eq!(asked, [0, 100, 300, 700, 1500, 3100, 4700, 6300, 7900, 9500]);
        assert_eq!(asks.again(ONE), Some(at(11_100)));
    }

    #[test]
    fn what_is_wanted_no_longer_is_forgotten_and_another_control_is_asked_for_at_once() {
        let mut asks = Asks::new(at(100));
        let root = |n| Control::Rooted { position: Position(n), root: [0; 32] };
        assert_eq!(asks.want(ONE, vec![root(1), Control::Audit], at(0)).len(), 2);
        assert_eq!(asks.want(ONE, vec![root(2), Control::Audit], at(1)), [root(2)]);
        assert_eq!(asks.want(ONE, vec![], at(2)), []);
        assert_eq!(asks.again(ONE), None);
        assert_eq!(asks.want(ONE, vec![root(2)], at(3)), [root(2)]);
    }
}
