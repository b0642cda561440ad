//! What the front end needs from its caller.

use refrain_wire::GroupId;

use crate::core::Notice;
use crate::nat::Submission;

/// Takes what goes from the proxy to the sequencer and the operator. Called on the loop thread with nothing borrowed,
/// so an implementation may call the front end back; it must not block.
pub trait Upstream {
    /// Orders a submission. When it is committed, [`super::FrontEnd::committed`] is called; one that is not taken, or
    /// lost, is sent again by [`super::FrontEnd::resend_after`].
    fn submit(&self, submission: Submission) -> Result<(), NotTaken>;

    /// Something happened in a group.
    fn notice(&self, group: GroupId, notice: Notice);
}

/// The sequencer does not take submissions now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sequencer does not take submissions now")]
pub struct NotTaken;
