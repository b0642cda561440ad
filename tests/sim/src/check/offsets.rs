//! Offsets: what is emitted of a stream goes on where it ended, without a gap and without anything twice.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::Finding;

/// The next offset of each stream.
#[derive(Debug, Clone)]
pub struct Offsets<K> {
    next: BTreeMap<K, u64>,
    findings: Vec<Finding>,
}

impl<K> Default for Offsets<K> {
    fn default() -> Self {
        Self { next: BTreeMap::new(), findings: Vec::new() }
    }
}

impl<K: Ord + Copy + Debug> Offsets<K> {
    /// `len` bytes were emitted at `offset` of `stream`.
    pub fn emitted(&mut self, stream: K, offset: u64, len: u64) {
        let next = self.next.entry(stream).or_default();
        if *next != offset {
            let seen = format!("stream {stream:?}: {len} bytes at offset {offset}, {next} is next");
            self.findings.push(Finding::new("each byte is emitted once and in order", seen));
        }
        *next = (*next).max(offset + len);
    }

    /// What is wrong so far.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(emitted: &[(u8, u64, u64)]) -> usize {
        let mut offsets = Offsets::default();
        emitted.iter().for_each(|(stream, offset, len)| offsets.emitted(*stream, *offset, *len));
        offsets.findings().len()
    }

    #[test]
    fn streams_that_go_on_are_good_and_gaps_and_repetitions_are_found() {
        assert_eq!(faults(&[(1, 0, 5), (2, 0, 1), (1, 5, 1), (2, 1, 9)]), 0);
        assert_eq!(faults(&[(1, 0, 5), (1, 6, 1)]), 1, "a gap");
        assert_eq!(faults(&[(1, 0, 5), (1, 0, 5)]), 1, "twice");
        assert_eq!(faults(&[(1, 0, 5), (1, 4, 2)]), 1, "one byte twice");
        assert_eq!(faults(&[(1, 3, 1)]), 1, "not from the start");
    }
}
