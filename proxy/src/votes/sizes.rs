//! How many seats are in force at a position, and how many equal votes release it.

use std::collections::VecDeque;

use refrain_wire::Position;
use refrain_wire::control::Agreement;

/// The most changes of the number of seats that stand after what is released. With one more, the two oldest spans of
/// positions count as one with the larger number of seats: more votes are asked for there, never fewer.
pub(super) const KEPT_SIZES: usize = 64;

/// The number of seats, now and at every position that is not released.
#[derive(Debug)]
pub(super) struct Sizes {
    rule: Agreement,
    current: u8,
    /// The numbers before, each with the last position that it was in force at, ascending.
    former: VecDeque<(Position, u8)>,
}

impl Sizes {
    pub(super) fn new(rule: Agreement, seats: u8) -> Self {
        Self { rule, current: seats, former: VecDeque::new() }
    }

    pub(super) fn current(&self) -> u8 {
        self.current
    }

    /// How many seats are in force at a position that is not released.
    pub(super) fn seats(&self, position: Position) -> u8 {
        let former = self.former.iter().find(|(until, _)| position <= *until);
        former.map_or(self.current, |(_, seats)| *seats)
    }

    /// How many equal votes release a position.
    pub(super) fn quorum(&self, position: Position) -> usize {
        usize::from(self.rule.quorum(self.seats(position)))
    }

    /// Whether votes are checked against each other.
    pub(super) fn are_compared(&self) -> bool {
        self.rule != Agreement::None
    }

    /// There are so many seats after `at`.
    pub(super) fn resize(&mut self, seats: u8, at: Position) {
        self.former.push_back((at, self.current));
        self.current = seats;
        if self.former.len() > KEPT_SIZES {
            let oldest = self.former.pop_front().map_or(0, |(_, seats)| seats);
            if let Some((_, seats)) = self.former.front_mut() {
                *seats = oldest.max(*seats);
            }
        }
    }

    /// Positions up to here are not asked for again.
    pub(super) fn forget(&mut self, released: Position) {
        while self.former.front().is_some_and(|(until, _)| *until <= released) {
            self.former.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_span_of_positions_has_its_number_of_seats_until_it_is_released() {
        let mut sizes = Sizes::new(Agreement::Majority, 3);
        sizes.resize(5, Position(10));
        sizes.resize(1, Position(20));
        for (position, seats, quorum) in [(1, 3, 2), (10, 3, 2), (11, 5, 3), (20, 5, 3), (21, 1, 1), (99, 1, 1)] {
            let position = Position(position);
            assert_eq!((sizes.seats(position), sizes.quorum(position)), (seats, quorum), "at {position}");
        }
        sizes.forget(Position(10));
        assert_eq!((sizes.seats(Position(11)), sizes.former.len()), (5, 1));
    }

    #[test]
    fn beyond_the_limit_the_oldest_spans_count_as_the_larger() {
        let mut sizes = Sizes::new(Agreement::Majority, 7);
        for change in 1..=KEPT_SIZES as u64 {
            sizes.resize(if change % 2 == 0 { 5 } else { 3 }, Position(10 * change));
        }
        assert_eq!(sizes.seats(Position(11)), 3);
        sizes.resize(1, Position(10_000));
        assert_eq!(sizes.former.len(), KEPT_SIZES);
        assert_eq!((sizes.seats(Position(1)), sizes.seats(Position(11)), sizes.seats(Position(21))), (7, 7, 5));
    }
}
