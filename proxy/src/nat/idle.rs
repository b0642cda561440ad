//! How long a flow may be idle, and which flows are.
//!
//! A client's connection may be as idle as its group, or else the table, allows. What has no end that could be seen,
//! and what nobody waits for any more, has a limit in any case.

use std::time::Duration;

use refrain_wire::Serial;

use super::Nat;
use super::flow::{Ending, Flow};

/// The longest time for which an association is kept while its peer sends nothing; one that a guest opened, while
/// neither side does.
pub const MAX_IDLE_ASSOCIATION: Duration = Duration::from_secs(60);
/// The longest time for which a guest's connection is kept, when the guest has finished its side, while the server
/// neither sends nor takes anything, or takes nothing of what waits for it.
pub const MAX_IDLE_FINISHED_CALL: Duration = Duration::from_secs(600);

impl Nat {
    /// Resets every flow that is idle for longer than it may, by a record each, and names them. Connections that guests
    /// opened have a limit only when the guest has finished its side.
    pub fn idle_expired(&mut self, now: Duration) -> Vec<Serial> {
        let expired = self.select(|flow| self.idle_limit(flow).is_some_and(|limit| flow.is_idle(now, limit)));
        for serial in &expired {
            self.reset(*serial, Ending::Idle);
        }
        expired
    }

    /// How long the flow may be idle; none when it has no limit.
    fn idle_limit(&self, flow: &Flow) -> Option<Duration> {
        let own = self.groups.get(&flow.group).and_then(|group| group.limits.idle);
        let limit = own.unwrap_or(self.limits.idle);
        if flow.is_association() {
            return Some(limit.min(MAX_IDLE_ASSOCIATION));
        }
        match (flow.is_outward(), flow.guest_open) {
            (false, _) => Some(limit),
            (true, true) => None,
            (true, false) => Some(limit.min(MAX_IDLE_FINISHED_CALL)),
        }
    }
}
