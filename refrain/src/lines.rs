//! The newest lines of each guest, for `rctl service logs`.
//!
//! Of a replicated service they are what the replicas agreed on and this node's proxy released since it started: a replay
//! repeats none. Of a stateless one they are what its instances on this node wrote. Bounded for each service by number and
//! bytes; the oldest go first, and who asks for them is told how many are gone.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};

use refrain_api::{GUEST_LINE_BYTES_KEPT, GUEST_LINES_KEPT, GuestLine, GuestLines};

/// The newest lines of each service, by what it is known by.
#[derive(Debug)]
pub(crate) struct Lines<K>(BTreeMap<K, Kept>);

impl<K> Default for Lines<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// The newest lines of one service.
#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<GuestLine>,
    bytes: usize,
    /// The number of the last one that there ever was.
    last: u64,
}

impl<K: Ord> Lines<K> {
    /// Takes in the next line of a service; its number is given here.
    pub(crate) fn push(&mut self, service: K, line: GuestLine) {
        self.0.entry(service).or_default().push(line);
    }

    /// At most `count` lines: the first after the one of number `after`, or the newest.
    pub(crate) fn read<Q>(&self, service: &Q, after: Option<u64>, count: usize, node: u64) -> GuestLines
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self.0.get(service) {
            Some(kept) => kept.read(after, count, node),
            None => GuestLines { node, lines: Vec::new(), next: 0, missed: 0 },
        }
    }

    /// Forgets the lines of other services.
    pub(crate) fn retain(&mut self, stays: impl Fn(&K) -> bool) {
        self.0.retain(|service, _| stays(service));
    }
}

impl Kept {
    fn push(&mut self, line: GuestLine) {
        self.last += 1;
        self.bytes += line.line.len();
        self.lines.push_back(GuestLine { number: self.last, ..line });
        while self.lines.len() > GUEST_LINES_KEPT || self.bytes > GUEST_LINE_BYTES_KEPT {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.line.len();
        }
    }

    fn read(&self, after: Option<u64>, count: usize, node: u64) -> GuestLines {
        let first = self.last + 1 - self.lines.len() as u64;
        let (skipped, missed) = match after {
            None => (self.lines.len().saturating_sub(count), 0),
            // Numbers of an earlier start of the node: everything is new.
            Some(after) if after > self.last => (0, 0),
            Some(after) => {
                let wanted = after + 1;
                let skipped = wanted.saturating_sub(first);
                (usize::try_from(skipped).unwrap_or(usize::MAX), first.saturating_sub(wanted))
            }
        };
        let lines: Vec<GuestLine> = self.lines.iter().skip(skipped).take(count).cloned().collect();
        let next = lines.last().map_or(self.last, |line| line.number);
        GuestLines { node, lines, next, missed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "a/b";

    fn line(text: &str) -> GuestLine {
        GuestLine { number: 0, position: 7, time_micros: 9, stream: "out".into(), version: None, line: text.into() }
    }

    fn filled(count: usize) -> Lines<&'static str> {
        let mut lines = Lines::default();
        (1..=count).for_each(|number| lines.push(SERVICE, line(&number.to_string())));
        lines
    }

    fn read(lines: &Lines<&'static str>, after: Option<u64>, count: usize) -> (Vec<String>, u64, u64) {
        let read = lines.read(SERVICE, after, count, 1);
        (read.lines.into_iter().map(|line| line.line).collect(), read.next, read.missed)
    }

    #[test]
    fn the_newest_come_first_and_then_those_that_follow() {
        let mut lines = filled(5);
        assert_eq!(read(&lines, None, 2), (vec!["4".into(), "5".into()], 5, 0));
        assert_eq!(read(&lines, Some(5), 2), (vec![], 5, 0));
        lines.push(SERVICE, line("6"));
        lines.push(SERVICE, line("7"));
        assert_eq!(read(&lines, Some(5), 1), (vec!["6".into()], 6, 0));
        assert_eq!(read(&lines, Some(6), 9), (vec!["7".into()], 7, 0));
        assert_eq!(read(&lines, Some(0), 2), (vec!["1".into(), "2".into()], 2, 0));
    }

    #[test]
    fn as_many_lines_are_kept_as_the_limit_says_and_those_that_went_are_counted() {
        let lines = filled(GUEST_LINES_KEPT);
        assert_eq!(read(&lines, Some(0), 1), (vec!["1".into()], 1, 0));
        let lines = filled(GUEST_LINES_KEPT + 3);
        assert_eq!(read(&lines, Some(0), 1), (vec!["4".into()], 4, 3));
        assert_eq!(read(&lines, Some(2), 1), (vec!["4".into()], 4, 1));
        assert_eq!(read(&lines, Some(3), 1), (vec!["4".into()], 4, 0));
    }

    #[test]
    fn as_many_bytes_are_kept_as_the_limit_says() {
        let mut lines = Lines::default();
        let half = "x".repeat(GUEST_LINE_BYTES_KEPT / 2);
        lines.push(SERVICE, line(&half));
        lines.push(SERVICE, line(&half));
        assert_eq!(lines.read(SERVICE, None, 9, 1).lines.len(), 2);
        lines.push(SERVICE, line("y"));
        let read = lines.read(SERVICE, Some(0), 9, 1);
        assert_eq!((read.lines.len(), read.missed), (2, 1));
    }

    #[test]
    fn a_cursor_of_an_earlier_start_is_given_everything_from_the_beginning() {
        let lines = filled(2);
        assert_eq!(read(&lines, Some(900), 9), (vec!["1".into(), "2".into()], 2, 0));
        assert_eq!(read(&Lines::default(), Some(900), 9), (vec![], 0, 0));
    }

    #[test]
    fn lines_of_services_that_are_gone_are_forgotten() {
        let mut lines = filled(2);
        lines.push("c/d", line("1"));
        lines.retain(|service| *service == "c/d");
        assert_eq!(read(&lines, None, 9), (vec![], 0, 0));
        assert_eq!(lines.read("c/d", None, 9, 1).lines.len(), 1);
    }
}
