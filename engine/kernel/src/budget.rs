//! What a guest may have done outside in one turn.
//!
//! A turn's effects are voted on, listed and kept as a whole, and each proxy is sent its own on one stream with the
//! votes of all groups. So a call that wants more than this in one turn waits for the next, which is wanted at once,
//! whether its descriptor waits or not; a guest notices nothing but the time. Effects that are not counted here are few
//! by other limits: what records make happen by the size of a batch, ends of flows and windows by their number, lines by
//! their rate, ports by their number.

/// Bytes of streams and datagrams, overhead included: a quarter of what may wait for a node at one time.
pub const MAX_TURN_BYTES: u64 = 16 * 1024 * 1024;
/// Datagrams: a proxy sends each by a call of its system.
pub const MAX_TURN_DATAGRAMS: u32 = 1024;
/// Bytes of datagrams, overhead included.
pub const MAX_TURN_DATAGRAM_BYTES: u64 = 4 * 1024 * 1024;
/// Connections, associations and look-ups that are begun.
pub const MAX_TURN_CALLS: u32 = 1024;
/// What an effect takes in lists and queues besides its payload.
pub const EFFECT_OVERHEAD_BYTES: u64 = 128;

/// What the guest has used up in the turn that is under way.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    bytes: u64,
    datagrams: u32,
    datagram_bytes: u64,
    calls: u32,
}

impl Spent {
    /// Bytes of streams that may still be written.
    pub(crate) fn room(&self) -> u64 {
        MAX_TURN_BYTES.saturating_sub(self.bytes)
    }

    /// Whether a datagram of so many bytes may still be sent. Every datagram fits into a turn that has sent nothing.
    pub(crate) fn fits_datagram(&self, bytes: usize) -> bool {
        let takes = bytes as u64 + EFFECT_OVERHEAD_BYTES;
        self.datagrams < MAX_TURN_DATAGRAMS
            && self.datagram_bytes + takes <= MAX_TURN_DATAGRAM_BYTES
            && self.bytes + takes <= MAX_TURN_BYTES
    }

    /// Whether one more call may be begun.
    pub(crate) fn fits_call(&self) -> bool {
        self.calls < MAX_TURN_CALLS
    }

    /// So many bytes were written; `begins` says that they are the first of their flow.
    pub(crate) fn wrote(&mut self, bytes: usize, begins: bool) {
        self.bytes += bytes as u64 + if begins { EFFECT_OVERHEAD_BYTES } else { 0 };
    }

    /// A datagram was sent.
    pub(crate) fn sent_datagram(&mut self, bytes: usize) {
        let takes = bytes as u64 + EFFECT_OVERHEAD_BYTES;
        self.datagrams += 1;
        self.datagram_bytes += takes;
        self.bytes += takes;
    }

    /// A call was begun.
    pub(crate) fn called(&mut self) {
        self.calls += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_wire::outward::MAX_DATAGRAM_BYTES;

    #[test]
    fn every_datagram_fits_into_a_fresh_turn() {
        assert!(Spent::default().fits_datagram(MAX_DATAGRAM_BYTES));
    }

    #[test]
    fn datagrams_are_limited_by_number_and_by_bytes_to_the_last_one() {
        let mut small = Spent::default();
        (0..MAX_TURN_DATAGRAMS - 1).for_each(|_| small.sent_datagram(0));
        assert!(small.fits_datagram(0));
        small.sent_datagram(0);
        assert!(!small.fits_datagram(0));
        let mut large = Spent::default();
        let half = (MAX_TURN_DATAGRAM_BYTES / 2 - EFFECT_OVERHEAD_BYTES) as usize;
        large.sent_datagram(half);
        assert!(large.fits_datagram(half) && !large.fits_datagram(half + 1));
    }

    #[test]
    fn streams_and_datagrams_share_the_bytes_of_a_turn() {
        let mut spent = Spent::default();
        spent.wrote((MAX_TURN_BYTES - 2 * EFFECT_OVERHEAD_BYTES - 1) as usize, true);
        assert_eq!(spent.room(), EFFECT_OVERHEAD_BYTES + 1);
        assert!(spent.fits_datagram(1) && !spent.fits_datagram(2));
        spent.sent_datagram(1);
        assert_eq!(spent.room(), 0);
        spent.wrote(0, true);
        assert_eq!(spent.room(), 0);
    }
}
