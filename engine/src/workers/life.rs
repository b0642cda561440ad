//! Whether a replica is still wanted: shared by its worker and by whoever runs it, so that one that was removed while
//! it was away stops at its next yield and reports nothing more.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Report, ReportSink};
use crate::replica::Heir;

#[derive(Clone)]
pub(crate) struct Life(Arc<Mutex<State>>);

enum State {
    Wanted,
    Ended,
    /// Nobody wants it to run, and somebody wants to look at it.
    Bequeathed(Heir),
}

impl Life {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State::Wanted)))
    }

    /// From now on nothing is reported. Returns when a report that is under way has been taken in.
    pub(crate) fn end(&self) {
        *self.0.lock() = State::Ended;
    }

    /// The same; whoever runs it hands it to the heir then.
    pub(crate) fn bequeath(&self, heir: Heir) {
        *self.0.lock() = State::Bequeathed(heir);
    }

    /// Who gets a replica that has ended.
    pub(crate) fn heir(&self) -> Option<Heir> {
        let mut state = self.0.lock();
        if matches!(*state, State::Wanted) {
            return None;
        }
        match std::mem::replace(&mut *state, State::Ended) {
            State::Bequeathed(heir) => Some(heir),
            State::Wanted | State::Ended => None,
        }
    }

    /// Whether both are the same replica's.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn ended(&self) -> bool {
        !matches!(*self.0.lock(), State::Wanted)
    }

    pub(crate) fn report(&self, sink: &ReportSink, report: Report) {
        let state = self.0.lock();
        if matches!(*state, State::Wanted) {
            sink(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::ReplicaId;
    use refrain_wire::{GroupId, Incarnation, Seat};

    #[test]
    fn nothing_is_reported_after_the_end() {
        let count = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&count);
        let sink: ReportSink = Arc::new(move |_| *counter.lock() += 1);
        let id = ReplicaId { group: GroupId(1), seat: Seat(0), incarnation: Incarnation(1) };
        let life = Life::new();
        life.report(&sink, Report::Failed { id, reason: String::new() });
        life.clone().end();
        life.report(&sink, Report::Failed { id, reason: String::new() });
        assert!(life.ended());
        assert_eq!(*count.lock(), 1);
    }
}
