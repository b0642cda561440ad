//! Acknowledged writes: every write has a number of its own; what was acknowledged is there once, and nothing is there
//! that nobody wrote.

use std::collections::BTreeMap;

use super::Finding;

/// A write of some writer: numbers of one writer rise in the order in which it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Write {
    /// Who wrote.
    pub writer: u32,
    /// Its how manieth write it is, or was tried to be.
    pub number: u64,
}

/// What became of a write, as its writer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    Unknown,
    Acknowledged,
}

/// All writes of a run.
#[derive(Debug, Clone, Default)]
pub struct Writes(BTreeMap<Write, Outcome>);

impl Writes {
    /// It is about to be sent.
    pub fn tried(&mut self, write: Write) {
        self.0.entry(write).or_insert(Outcome::Unknown);
    }

    /// It was acknowledged.
    pub fn acknowledged(&mut self, write: Write) {
        self.0.insert(write, Outcome::Acknowledged);
    }

    /// It was answered that it was not accepted and never will be.
    pub fn refused(&mut self, write: Write) {
        self.0.insert(write, Outcome::Refused);
    }

    /// How many were acknowledged.
    #[must_use]
    pub fn count_acknowledged(&self) -> usize {
        self.0.values().filter(|outcome| **outcome == Outcome::Acknowledged).count()
    }

    /// What is wrong when `found` is there in the end, in this order.
    #[must_use]
    pub fn findings(&self, found: &[Write]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut times: BTreeMap<Write, usize> = BTreeMap::new();
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        for write in found {
            *times.entry(*write).or_default() += 1;
            let before = last.insert(write.writer, write.number);
            if before.is_some_and(|before| before > write.number) {
                findings
                    .push(Finding::new("writes of one writer keep their order", format!("{write:?} after {before:?}")));
            }
        }
        for (write, times) in &times {
            if *times > 1 {
                findings.push(Finding::new("a write is there once", format!("{write:?} is there {times} times")));
            }
            match self.0.get(write) {
                None => findings.push(Finding::new("what is there was written", format!("{write:?}"))),
                Some(Outcome::Refused) => {
                    findings.push(Finding::new("a refused write is not there", format!("{write:?}")));
                }
                Some(Outcome::Unknown | Outcome::Acknowledged) => {}
            }
        }
        let lost =
            self.0.iter().filter(|(write, outcome)| **outcome == Outcome::Acknowledged && !times.contains_key(write));
        findings.extend(lost.map(|(write, _)| Finding::new("an acknowledged write is there", format!("{write:?}"))));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: u64) -> Write {
        Write { writer: 1, number }
    }

    fn broken(writes: &Writes, found: &[u64]) -> Vec<&'static str> {
        let found: Vec<Write> = found.iter().map(|number| write(*number)).collect();
        writes.findings(&found).into_iter().map(|finding| finding.broken).collect()
    }

    /// 1 and 2 are acknowledged, 3 may be there, 4 was refused.
    fn writes() -> Writes {
        let mut writes = Writes::default();
        (1..=4).for_each(|number| writes.tried(write(number)));
        writes.acknowledged(write(1));
        writes.acknowledged(write(2));
        writes.refused(write(4));
        writes
    }

    #[test]
    fn what_was_not_answered_may_be_there_or_not() {
        assert!(broken(&writes(), &[1, 2]).is_empty());
        assert!(broken(&writes(), &[1, 2, 3]).is_empty());
    }

    #[test]
    fn lost_doubled_invented_refused_and_reordered_writes_are_found() {
        assert_eq!(broken(&writes(), &[1]), ["an acknowledged write is there"]);
        assert_eq!(broken(&writes(), &[1, 2, 2]), ["a write is there once"]);
        assert_eq!(broken(&writes(), &[1, 2, 9]), ["what is there was written"]);
        assert_eq!(broken(&writes(), &[1, 2, 4]), ["a refused write is not there"]);
        assert_eq!(broken(&writes(), &[2, 1]), ["writes of one writer keep their order"]);
    }
}
