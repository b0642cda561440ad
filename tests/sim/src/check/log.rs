//! The log: all members have the same entries at the same positions, what was committed never changes, a term has one
//! leader, and time, terms and positions only rise.

use std::collections::BTreeMap;

use bytes::Bytes;
use refrain_wire::{Digest, Position, Time};

use super::Finding;

/// A member of the log.
pub type Member = u64;

#[derive(Debug, Clone, Copy)]
struct Seen {
    entry: Digest,
    first_by: Member,
    /// The entry before it; 0 while nobody delivered both.
    after: Position,
}

/// What one run of a member has delivered.
#[derive(Debug, Clone, Copy, Default)]
struct Delivered {
    position: Position,
    time: Time,
}

/// Watches what members deliver and who leads.
#[derive(Debug, Clone, Default)]
pub struct LogWatch {
    entries: BTreeMap<Position, Seen>,
    delivered: BTreeMap<Member, Delivered>,
    leaders: BTreeMap<u64, Member>,
    acknowledged: BTreeMap<Position, Member>,
    findings: Vec<Finding>,
}

impl LogWatch {
    fn find(&mut self, broken: &'static str, seen: String) {
        self.findings.push(Finding::new(broken, seen));
    }

    /// `member` was started: it delivers from `from` on, or from the beginning.
    pub fn started(&mut self, member: Member) {
        self.delivered.remove(&member);
    }

    /// `member` delivered a committed entry.
    pub fn delivered(&mut self, member: Member, position: Position, entry: &Bytes) {
        let digest = Digest::of(entry);
        let before = self.delivered.entry(member).or_default().position;
        let first = Seen { entry: digest, first_by: member, after: before };
        let seen = self.entries.entry(position).or_insert(first);
        if seen.after == Position(0) {
            seen.after = before;
        }
        let seen = *seen;
        if seen.entry != digest {
            let seen = format!("member {member} at {position}, not what member {} had there", seen.first_by);
            self.find("members have the same entry at a position, for ever", seen);
        }
        if position <= before {
            self.find("positions rise", format!("member {member} delivered {position} after {before}"));
        } else if before > Position(0) && before != seen.after {
            let seen = format!("{position} after {before} by member {member}, after {} by others", seen.after);
            self.find("no entry is left out", seen);
        }
        self.delivered.entry(member).or_default().position = position;
    }

    /// `member` was given a state that stands for everything up to `position`.
    pub fn restored(&mut self, member: Member, position: Position) {
        let delivered = self.delivered.entry(member).or_default();
        let before = delivered.position;
        delivered.position = position;
        if position < before {
            self.find("positions rise", format!("member {member} was put back to {position} from {before}"));
        }
    }

    /// `member` applied the entry that it delivered last, at this log time.
    pub fn applied(&mut self, member: Member, time: Time) {
        let delivered = self.delivered.entry(member).or_default();
        let (before, position) = (delivered.time, delivered.position);
        delivered.time = time;
        if time < before {
            self.find("time never goes back", format!("member {member} at {position}: {time} after {before}"));
        }
    }

    /// `member` says that it leads `term`.
    pub fn leads(&mut self, member: Member, term: u64) {
        let first = *self.leaders.entry(term).or_insert(member);
        if first != member {
            self.find("a term has one leader", format!("term {term}: members {first} and {member}"));
        }
    }

    /// `member` answered that an entry is committed at `position`.
    pub fn acknowledged(&mut self, member: Member, position: Position) {
        self.acknowledged.entry(position).or_insert(member);
    }

    /// How many terms had a leader.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.leaders.len()
    }

    /// The last position that anybody delivered.
    #[must_use]
    pub fn last(&self) -> Position {
        self.entries.keys().next_back().copied().unwrap_or_default()
    }

    /// What is wrong so far.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let lost = self.acknowledged.iter().filter(|(position, _)| !self.entries.contains_key(position));
        let lost = lost.map(|(position, member)| {
            Finding::new(
                "an acknowledged entry is in the log",
                format!("position {position}, answered by member {member}"),
            )
        });
        self.findings.iter().cloned().chain(lost).collect()
    }

    /// What is wrong when everything works again and has had its time: `members` must have delivered all.
    #[must_use]
    pub fn unequal(&self, members: &[Member]) -> Vec<Finding> {
        let last = self.last();
        let at = |member: &Member| self.delivered.get(member).copied().unwrap_or_default().position;
        let behind = members.iter().filter(|member| at(member) != last);
        behind
            .map(|member| {
                let seen = format!("member {member} is at {}, the log ends at {last}", at(member));
                Finding::new("members converge when the faults are over", seen)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn broken(watch: &LogWatch) -> Vec<&'static str> {
        watch.findings().into_iter().map(|finding| finding.broken).collect()
    }

    fn watch(delivered: &[(Member, u64, &'static str)]) -> LogWatch {
        let mut watch = LogWatch::default();
        for (member, position, text) in delivered {
            watch.delivered(*member, Position(*position), &entry(text));
        }
        watch
    }

    #[test]
    fn members_that_deliver_the_same_are_good_and_gaps_of_the_log_are_allowed() {
        let mut good = watch(&[(1, 2, "a"), (1, 5, "b"), (2, 2, "a"), (2, 5, "b")]);
        good.started(1);
        good.delivered(1, Position(2), &entry("a"));
        assert!(broken(&good).is_empty());
        assert_eq!(good.unequal(&[1, 2]).len(), 1, "member 1 has to deliver the second again");
    }

    #[test]
    fn different_changed_doubled_and_left_out_entries_are_found() {
        const SAME: &str = "members have the same entry at a position, for ever";
        assert_eq!(broken(&watch(&[(1, 1, "a"), (2, 1, "b")])), [SAME]);
        assert_eq!(broken(&watch(&[(1, 1, "a"), (1, 1, "a")])), ["positions rise"]);
        assert_eq!(broken(&watch(&[(1, 2, "a"), (1, 1, "b")])), ["positions rise"]);
        let left_out = watch(&[(1, 1, "a"), (1, 2, "b"), (1, 3, "c"), (2, 1, "a"), (2, 3, "c")]);
        assert_eq!(broken(&left_out), ["no entry is left out"]);
        let found_later = watch(&[(2, 1, "a"), (2, 3, "c"), (1, 1, "a"), (1, 2, "b"), (1, 3, "c")]);
        assert_eq!(broken(&found_later), ["no entry is left out"]);
        let mut changed = watch(&[(1, 1, "a")]);
        changed.started(1);
        changed.delivered(1, Position(1), &entry("b"));
        assert_eq!(broken(&changed), [SAME]);
    }

    #[test]
    fn two_leaders_lost_answers_and_time_that_goes_back_are_found() {
        let mut watch = watch(&[(1, 1, "a")]);
        watch.leads(1, 3);
        watch.leads(1, 3);
        watch.acknowledged(1, Position(1));
        watch.applied(1, Time::from_micros(9));
        assert!(broken(&watch).is_empty());
        watch.leads(2, 3);
        watch.applied(1, Time::from_micros(8));
        watch.acknowledged(1, Position(2));
        let expected = ["a term has one leader", "time never goes back", "an acknowledged entry is in the log"];
        assert_eq!(broken(&watch).iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect());
    }
}
