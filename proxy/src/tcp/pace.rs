//! How fast datagrams leave: so many in a while, and the rest waits its turn, in order, so that a guest that sends very
//! many in one turn does not keep everybody else waiting. What finds no room to wait is dropped.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use refrain_wire::Serial;

/// How long a while is.
pub(super) const WHILE: Duration = Duration::from_millis(1);
/// Datagrams that leave in a while; they keep the loop busy for about half of it.
pub(super) const DATAGRAMS_PER_WHILE: usize = 256;
/// The most datagrams that wait.
const MAX_WAITING: usize = 8_192;
/// The most bytes that wait.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may leave at once.
    Now,
    /// It waits. The first one that does needs somebody who takes it.
    Waits { first: bool },
    /// There is no room.
    Never,
}

/// The datagrams that wait, and how many have left.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the while began.
    began: Duration,
    left: usize,
    waiting: VecDeque<(Serial, Bytes)>,
    waiting_bytes: usize,
}

impl Pace {
    /// Says what becomes of a datagram, and keeps it if it waits.
    pub(super) fn offer(&mut self, key: Serial, bytes: &Bytes, now: Duration) -> Turn {
        if self.waiting.is_empty() && self.may_leave(now) {
            return Turn::Now;
        }
        if self.waiting.len() >= MAX_WAITING || self.waiting_bytes + bytes.len() > MAX_WAITING_BYTES {
            return Turn::Never;
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push_back((key, bytes.clone()));
        Turn::Waits { first: self.waiting.len() == 1 }
    }

    /// The next one that may leave.
    pub(super) fn next(&mut self, now: Duration) -> Option<(Serial, Bytes)> {
        if self.waiting.is_empty() || !self.may_leave(now) {
            return None;
        }
        let (key, bytes) = self.waiting.pop_front()?;
        self.waiting_bytes -= bytes.len();
        Some((key, bytes))
    }

    /// Forgets those that wait, and says how many: their keys are given anew.
    pub(super) fn clear(&mut self) -> usize {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting).len()
    }

    /// Whether any waits.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Counts one more in this while, if it may leave.
    fn may_leave(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.began) >= WHILE {
            (self.began, self.left) = (now, 0);
        }
        let may = self.left < DATAGRAMS_PER_WHILE;
        self.left += usize::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn offer(pace: &mut Pace, number: usize, now: Duration) -> Turn {
        pace.offer(Serial(1), &Bytes::from(number.to_string()), now)
    }

    #[test]
    fn so_many_leave_in_a_while_and_the_rest_waits_in_order() {
        let mut pace = Pace::default();
        for number in 0..DATAGRAMS_PER_WHILE {
            assert_eq!(offer(&mut pace, number, NOW), Turn::Now);
        }
        for number in 0..300 {
            assert_eq!(offer(&mut pace, number, NOW), Turn::Waits { first: number == 0 });
        }
        assert_eq!(pace.next(NOW), None);
        let next = NOW + WHILE;
        assert_eq!(offer(&mut pace, 300, next), Turn::Waits { first: false }, "none overtakes those that wait");
        for number in 0..DATAGRAMS_PER_WHILE {
            assert_eq!(pace.next(next), Some((Serial(1), Bytes::from(number.to_string()))));
        }
        assert_eq!((pace.next(next), pace.waits()), (None, true));
        let mut left = 0;
        while pace.next(next + WHILE).is_some() {
            left += 1;
        }
        assert_eq!((left, pace.waits()), (301 - DATAGRAMS_PER_WHILE, false));
        assert_eq!(offer(&mut pace, 0, next + WHILE), Turn::Now);
    }

    #[test]
    fn what_waits_is_limited_in_number_and_bytes() {
        let mut pace = Pace::default();
        let all = (0..DATAGRAMS_PER_WHILE + MAX_WAITING).filter(|n| offer(&mut pace, *n, NOW) != Turn::Never).count();
        assert_eq!(all, DATAGRAMS_PER_WHILE + MAX_WAITING);
        assert_eq!(offer(&mut pace, 0, NOW), Turn::Never);
        assert_eq!((pace.clear(), pace.waits()), (MAX_WAITING, false));
        let mut pace = Pace { left: DATAGRAMS_PER_WHILE, began: NOW, ..Pace::default() };
        let large = Bytes::from(vec![0; 65_507]);
        for _ in 0..MAX_WAITING_BYTES / large.len() {
            assert!(matches!(pace.offer(Serial(1), &large, NOW), Turn::Waits { .. }));
        }
        assert_eq!(pace.offer(Serial(1), &large, NOW), Turn::Never);
    }
}
