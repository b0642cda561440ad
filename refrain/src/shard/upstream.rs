//! What the front end tells the loop thread: submissions to order, and what follows from votes.

use std::rc::Weak;

use refrain_proxy::core::{LogStream, Notice};
use refrain_proxy::nat::Submission;
use refrain_proxy::tcp::{NotTaken, Upstream};
use refrain_wire::{Control, GroupId, Seat};

use super::Inner;
use super::start::LIMITS;

/// Passes on what the front end says. Holds the loop's state weakly, as that holds the front end.
pub(super) struct ToSequencer(pub(super) Weak<Inner>);

impl Upstream for ToSequencer {
    fn submit(&self, submission: Submission) -> Result<(), NotTaken> {
        let inner = self.0.upgrade().ok_or(NotTaken)?;
        inner.submit(submission)
    }

    fn notice(&self, group: GroupId, notice: Notice) {
        if let Some(inner) = self.0.upgrade() {
            inner.notice(group, notice);
        }
    }
}

/// Above this share of a group's limit its flows are no longer read, below half of it they are again, in percent.
const HOLD_PERCENT: usize = 50;

impl Inner {
    /// Orders a submission of the front end, and holds the groups that have much ordered and not executed.
    fn submit(&self, submission: Submission) -> Result<(), NotTaken> {
        let groups: Vec<GroupId> = submission.batches.iter().map(|batch| batch.group).collect();
        let submission = refrain_sequencer::batcher::Submission { id: submission.id, batches: submission.batches };
        let taken = self.sequencer.submit(submission);
        for group in groups {
            let usage = self.sequencer.usage(group);
            let full = |used: usize, limit: usize| used > limit / 100 * HOLD_PERCENT;
            if full(usage.bulk_bytes, LIMITS.bulk_bytes) || full(usage.bulk_records, LIMITS.bulk_records) {
                self.hold(group);
            }
        }
        taken.map_err(|refused| {
            tracing::debug!(%refused, "a submission waits");
            self.stalled.set(true);
            NotTaken
        })
    }

    fn hold(&self, id: GroupId) {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(&id).filter(|group| !group.held) else { return };
        group.held = true;
        drop(groups);
        self.front().hold(id);
    }

    /// Replicas have executed more: held groups may be read again, a refused submission may go.
    pub(super) fn relieve(&self, id: GroupId) {
        let usage = self.sequencer.usage(id);
        let low = |used: usize, limit: usize| used <= limit / 200 * HOLD_PERCENT;
        if !low(usage.bulk_bytes, LIMITS.bulk_bytes) || !low(usage.bulk_records, LIMITS.bulk_records) {
            return;
        }
        let released = {
            let mut groups = self.groups.borrow_mut();
            groups.get_mut(&id).is_some_and(|group| std::mem::take(&mut group.held))
        };
        if released {
            self.front().release(id);
        }
        if self.stalled.take() {
            self.resend();
        }
    }

    /// Offers again what was not ordered.
    pub(super) fn resend(&self) {
        let epoch = self.epoch.get();
        let last = self.sequencer.with_shard(|shard| shard.epochs().get(&epoch).map(|epoch| epoch.last));
        if let Some(last) = last {
            self.front().resend_after(last);
        }
    }

    fn notice(&self, id: GroupId, notice: Notice) {
        match notice {
            Notice::Log { stream, line } => self.guest_line(id, stream, &line),
            Notice::Diverged(divergence) => {
                let Some(incarnation) = self.current(id, divergence.seat) else { return };
                if incarnation != divergence.incarnation {
                    return;
                }
                let control = Control::Quarantine {
                    seat: divergence.seat,
                    incarnation: divergence.incarnation,
                    position: divergence.position,
                    voted: divergence.voted,
                    agreed: divergence.agreed,
                };
                self.want(id, control);
            }
            Notice::Split(position) => self.want(id, Control::Halt { position }),
            // Every vote brought its list, so one that is asked for cannot be had.
            Notice::Ask { position, .. } => {
                tracing::error!(service = self.service_name(id), %position, "no list came with the votes")
            }
            Notice::Exited { code, reason } => {
                let reason = String::from_utf8_lossy(&reason).into_owned();
                tracing::warn!(service = self.service_name(id), code, reason, "guest ended");
            }
            Notice::Started(starts) => tracing::info!(service = self.service_name(id), starts, "guest started"),
            Notice::Gap { epoch, serial, emitted, offset } => {
                tracing::error!(%epoch, %serial, emitted, offset, "a flow's bytes do not fit together; it was reset");
            }
            Notice::Listen(_) | Notice::Unlisten(_) | Notice::Audited { .. } | Notice::VoteDropped { .. } => {}
        }
    }

    fn service_name(&self, id: GroupId) -> String {
        self.groups.borrow().get(&id).map(|group| group.service.name.clone()).unwrap_or_default()
    }

    fn guest_line(&self, id: GroupId, stream: LogStream, line: &[u8]) {
        let (service, line) = (self.service_name(id), String::from_utf8_lossy(line));
        match stream {
            LogStream::Out => tracing::info!(target: "refrain::guest", service, "{line}"),
            LogStream::Error => tracing::warn!(target: "refrain::guest", service, "{line}"),
        }
    }

    fn current(&self, id: GroupId, seat: Seat) -> Option<refrain_wire::Incarnation> {
        Some(self.groups.borrow().get(&id)?.seats.get(usize::from(seat.0))?.incarnation)
    }
}
