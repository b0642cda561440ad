//! What the front end needs from its caller.

use std::time::Instant;

use refrain_wire::GroupId;

use crate::core::{Notice, Released};
use crate::nat::Submission;

/// Takes what goes from the proxy to the sequencer and the operator. Called on the loop thread with nothing borrowed,
/// so an implementation may call the front end back; it must not block.
pub trait Upstream {
    /// Orders a submission. When it is committed, [`super::FrontEnd::committed`] is called; one that is not taken, or
    /// lost, is sent again by [`super::FrontEnd::resend_after`].
    fn submit(&self, submission: Submission) -> Result<(), NotTaken>;

    /// Something happened in a group.
    fn notice(&self, group: GroupId, notice: Notice);

    /// Whether a guest's call may be made now: the lease of the epoch has time left. While it may not, calls wait, and
    /// this is asked again every 10 ms until the epoch ends. Must not call the front end.
    fn may_go_outward(&self) -> bool {
        true
    }

    /// A client of the group was accepted. For measurements, as what follows: these must not call the front end.
    fn accepted(&self, _group: GroupId) {}

    /// Bytes of a client of the group were read.
    fn received(&self, _group: GroupId, _bytes: usize, _now: Instant) {}

    /// A turn was agreed on at `agreed`, and its bytes were given to the sockets.
    fn released(&self, _released: &Released, _agreed: Instant) {}
}

/// The sequencer does not take submissions now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sequencer does not take submissions now")]
pub struct NotTaken;
