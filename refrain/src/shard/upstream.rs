//! What the front end tells the loop thread: submissions to order, and what follows from votes.

use std::rc::Weak;
use std::time::Instant;

use refrain_api::GuestLine;
use refrain_proxy::core::{LogStream, Notice, Released};
use refrain_proxy::nat::Submission;
use refrain_proxy::tcp::{NotTaken, Upstream};
use refrain_wire::{Control, GroupId, Position};

use super::Inner;

/// Passes on what the front end says. Holds the loop's state weakly, as that holds the front end.
pub(super) struct ToLeaderOrOperator(pub(super) Weak<Inner>);

impl Upstream for ToLeaderOrOperator {
    fn submit(&self, submission: Submission) -> Result<(), NotTaken> {
        let inner = self.0.upgrade().ok_or(NotTaken)?;
        inner.submit(submission.id, submission.batches)
    }

    fn notice(&self, group: GroupId, notice: Notice) {
        if let Some(inner) = self.0.upgrade() {
            inner.notice(group, notice);
        }
    }

    fn may_go_outward(&self) -> bool {
        self.0.upgrade().is_some_and(|inner| inner.lease.has_time_for_calls())
    }

    fn accepted(&self, group: GroupId) {
        if let Some(inner) = self.0.upgrade() {
            inner.traces.accepted(group);
        }
    }

    fn received(&self, group: GroupId, bytes: usize, now: Instant) {
        if let Some(inner) = self.0.upgrade() {
            inner.traces.received(group, bytes, now);
        }
    }

    fn released(&self, released: &Released, agreed: Instant) {
        if let Some(inner) = self.0.upgrade() {
            inner.traces.released(released, agreed);
        }
    }
}

impl Inner {
    fn notice(&self, id: GroupId, notice: Notice) {
        match notice {
            Notice::Log { position, stream, line } => self.guest_line(id, position, stream, &line),
            Notice::Diverged(divergence) => {
                self.traces.diverged(id);
                if self.incarnation_of(id, divergence.seat) != Some(divergence.incarnation) {
                    return;
                }
                let control = Control::Quarantine {
                    seat: divergence.seat,
                    incarnation: divergence.incarnation,
                    position: divergence.position,
                    voted: divergence.voted,
                    agreed: divergence.agreed,
                };
                self.insist(id, control);
            }
            Notice::Split(position) => self.insist(id, Control::Halt { position }),
            Notice::Lost(position) => {
                let service = self.service_name(id);
                tracing::error!(service, %position, "no engine keeps this turn any more: connections are closed");
                self.lose_epoch();
            }
            // Votes of replicas in this process bring their lists; those of other nodes are asked.
            Notice::Ask { position, seats } => {
                if !self.ask_elsewhere(id, position, &seats) {
                    tracing::debug!(service = self.service_name(id), %position, "nobody can be asked for a list");
                }
            }
            Notice::Exited { code, reason } => {
                let reason = String::from_utf8_lossy(&reason).into_owned();
                tracing::warn!(service = self.service_name(id), code, reason, "guest ended");
            }
            Notice::Upgraded { position, rolled_back } => {
                let reason = rolled_back.as_deref().map(String::from_utf8_lossy);
                self.upgrade_settled(id, position, reason.as_deref());
            }
            Notice::Started(starts) => tracing::info!(service = self.service_name(id), starts, "guest started"),
            Notice::Gap { epoch, serial, emitted, offset } => {
                tracing::error!(%epoch, %serial, emitted, offset, "a flow's bytes do not fit together; it was reset");
            }
            Notice::VoteDropped { seat, position } => {
                self.traces.vote_dropped();
                self.have_vote_again(id, seat, position);
            }
            Notice::Listen(_) | Notice::Unlisten(_) | Notice::Audited { .. } => {}
        }
    }

    pub(super) fn service_name(&self, id: GroupId) -> String {
        let adopted = self.groups.borrow().get(&id).map(|group| group.service.name.clone());
        let known = || self.view.with_shard(|shard| shard.groups().get(&id).map(|group| group.service.clone()));
        adopted.or_else(known).unwrap_or_default()
    }

    fn guest_line(&self, id: GroupId, position: Position, stream: LogStream, line: &[u8]) {
        let (service, line) = (self.service_name(id), String::from_utf8_lossy(line));
        let name = match stream {
            LogStream::Out => {
                tracing::info!(target: "refrain::guest", service, "{line}");
                "out"
            }
            LogStream::Error => {
                tracing::warn!(target: "refrain::guest", service, "{line}");
                "err"
            }
        };
        let kept = GuestLine {
            number: 0,
            position: position.0,
            time_micros: self.seams.clock.wall().micros(),
            stream: name.to_owned(),
            version: None,
            line: line.into_owned(),
        };
        self.lines.borrow_mut().push(id, kept);
    }
}
