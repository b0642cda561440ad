//! Seats that an operator has taken: what the leader adds to the record.

use std::time::Duration;

use refrain_wire::message::uplink::FromLeader;
use refrain_wire::{Control, GroupId};

use super::super::Inner;
use super::SessionId;

/// How often it is looked whether a seat can be taken.
const COMPLETE_LOOK: Duration = Duration::from_millis(20);

impl Inner {
    /// Proxies say what they have released with each renewal: it is waited for.
    pub(super) fn order_when_complete(&self, from: SessionId, request: u64, group: GroupId, control: Control) {
        let Some(inner) = self.me.upgrade() else { return };
        let deadline = tokio::time::Instant::now() + self.config.lease;
        tokio::task::spawn_local(async move {
            while inner.complete(group, &control).is_none() {
                if tokio::time::Instant::now() >= deadline {
                    let text = "a proxy has not said for a whole lease what it has released".to_owned();
                    return inner.say(from, FromLeader::Answer { request, result: Err((0, text)) });
                }
                tokio::time::sleep(COMPLETE_LOOK).await;
            }
            inner.order_control(from, request, group, control);
        });
    }

    /// Joins are timed from here.
    pub(super) fn note_plan(&self, group: GroupId, control: &Control) {
        if let Control::TakeSeat { seat, incarnation, node, from } = control {
            let position = self.view.position();
            tracing::debug!(target: "refrain::join", %group, %seat, %incarnation, %node, %from, %position, "seat planned");
        }
    }

    /// A seat is taken with the newest checkpoint that may be used. None while that cannot be told.
    pub(super) fn complete(&self, id: GroupId, control: &Control) -> Option<Control> {
        let &Control::TakeSeat { seat, incarnation, node, .. } = control else { return Some(control.clone()) };
        let leader = self.leader.borrow();
        let from = self.view.with_shard(|shard| leader.as_ref()?.office.checkpoint_for(id, shard))?;
        Some(Control::TakeSeat { seat, incarnation, node, from })
    }
}
