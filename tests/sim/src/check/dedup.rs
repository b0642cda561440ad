//! Deduplication: a model of its own of which submissions count, held against what members made of the log.
//!
//! The rule is that of the design, section 4: an epoch must be open, and a number must be the last one plus one. The
//! submissions of one epoch in one entry stand or fall together.

use std::collections::BTreeMap;

use refrain_wire::{Epoch, Position, SubmissionId};

use super::Finding;

/// What an entry did to epochs and submissions, as a member says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// Those that count, in their order.
    pub accepted: Vec<SubmissionId>,
    /// Those that do not.
    pub dropped: Vec<SubmissionId>,
    /// Epochs that begin after the entry.
    pub opened: Vec<Epoch>,
    /// Epochs that end after it.
    pub ended: Vec<Epoch>,
}

/// What counts, by the rule alone.
#[derive(Debug, Clone, Default)]
pub struct Dedup {
    /// The last number that counted in each open epoch.
    open: BTreeMap<Epoch, u64>,
    /// The highest epoch that ever was open.
    last_epoch: Epoch,
}

impl Dedup {
    fn accepts(&self, submissions: &[SubmissionId]) -> BTreeMap<Epoch, bool> {
        let mut numbers: BTreeMap<Epoch, Vec<u64>> = BTreeMap::new();
        for id in submissions {
            numbers.entry(id.epoch).or_default().push(id.number);
        }
        let follows = |(epoch, numbers): (Epoch, Vec<u64>)| {
            let last = self.open.get(&epoch);
            let next = last.map(|last| (last + 1..).take(numbers.len()).collect::<Vec<_>>());
            (epoch, next.as_ref() == Some(&numbers))
        };
        numbers.into_iter().map(follows).collect()
    }

    /// Applies the entry at `position` with its `submissions`; what is wrong with what a member made of it.
    pub fn apply(&mut self, position: Position, submissions: &[SubmissionId], judged: &Judged) -> Vec<Finding> {
        let mut findings = Vec::new();
        let accepts = self.accepts(submissions);
        let (accepted, dropped): (Vec<SubmissionId>, Vec<SubmissionId>) =
            submissions.iter().partition(|id| accepts[&id.epoch]);
        if judged.accepted != accepted || judged.dropped != dropped {
            let seen = format!("position {position}: {judged:?} instead of {accepted:?} and not {dropped:?}");
            findings.push(Finding::new("a submission counts once, in order, without gaps", seen));
        }
        for id in &judged.accepted {
            self.open.insert(id.epoch, id.number);
        }
        for epoch in &judged.ended {
            if self.open.remove(epoch).is_none() {
                findings
                    .push(Finding::new("an epoch that ends was open", format!("position {position}: epoch {epoch}")));
            }
        }
        for epoch in &judged.opened {
            if *epoch <= self.last_epoch {
                findings
                    .push(Finding::new("an epoch is never used again", format!("position {position}: epoch {epoch}")));
            }
            self.last_epoch = self.last_epoch.max(*epoch);
            self.open.insert(*epoch, 0);
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> SubmissionId {
        SubmissionId { epoch: Epoch(1), number }
    }

    fn ids(numbers: &[u64]) -> Vec<SubmissionId> {
        numbers.iter().map(|number| id(*number)).collect()
    }

    fn started() -> Dedup {
        let mut dedup = Dedup::default();
        let opened = Judged { opened: vec![Epoch(1)], ..Judged::default() };
        assert!(dedup.apply(Position(1), &[], &opened).is_empty());
        dedup
    }

    /// What is found when `numbers` are in an entry and a member says that those in `accepted` count.
    fn faults(dedup: &mut Dedup, numbers: &[u64], accepted: &[u64]) -> usize {
        let dropped: Vec<u64> = numbers.iter().copied().filter(|number| !accepted.contains(number)).collect();
        let judged = Judged { accepted: ids(accepted), dropped: ids(&dropped), ..Judged::default() };
        dedup.apply(Position(2), &ids(numbers), &judged).len()
    }

    #[test]
    fn members_that_follow_the_rule_are_good() {
        let mut dedup = started();
        assert_eq!(faults(&mut dedup, &[1, 2], &[1, 2]), 0);
        assert_eq!(faults(&mut dedup, &[2], &[]), 0);
        assert_eq!(faults(&mut dedup, &[3, 5], &[]), 0);
        assert_eq!(faults(&mut dedup, &[3], &[3]), 0);
    }

    #[test]
    fn doubled_skipped_and_wrongly_dropped_submissions_are_found() {
        assert_eq!(faults(&mut started(), &[2], &[2]), 1, "a gap");
        assert_eq!(faults(&mut started(), &[1], &[]), 1, "it was due");
        let mut dedup = started();
        assert_eq!(faults(&mut dedup, &[1], &[1]), 0);
        assert_eq!(faults(&mut dedup, &[1], &[1]), 1, "twice");
    }

    #[test]
    fn epochs_end_once_and_never_come_back() {
        let mut dedup = started();
        let ended = Judged { ended: vec![Epoch(1)], ..Judged::default() };
        assert!(dedup.apply(Position(2), &[], &ended).is_empty());
        assert_eq!(dedup.apply(Position(3), &[], &ended).len(), 1);
        let again = Judged { opened: vec![Epoch(1)], ..Judged::default() };
        assert_eq!(dedup.apply(Position(4), &[], &again).len(), 1);
        assert_eq!(faults(&mut Dedup::default(), &[1], &[1]), 1, "the epoch was never open");
    }
}
