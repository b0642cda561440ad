//! A span on its way: plain values from the hot side, made into ids and wall time on the cold one.

use std::time::{Duration, Instant, SystemTime};

use refrain_wire::{GroupId, NodeId, Position};

use super::ids::{SpanId, TraceId, TraceIds};
use super::span::instance_of;

/// What the hot side pushes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) group: GroupId,
    pub(crate) position: Position,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    /// The batch is traced; else the span is kept on this node because it was slow, and not exported.
    pub(crate) traced: bool,
    pub(crate) detail: Detail,
}

/// The stage and what it says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Detail {
    Batch { records: u32, bytes: u64 },
    Ingress { bytes: u64 },
    Order { term: u64 },
    Append,
    Replicate,
    Fsync,
    Turn { seat: u8, incarnation: u32, fuel: u64, memory_bytes: u64 },
    Vote { quorum: u8, seats: u8 },
    Egress { bytes: u64 },
}

/// A span complete, as it is kept and exported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) node: NodeId,
    pub(crate) group: GroupId,
    pub(crate) position: Position,
    pub(crate) start: SystemTime,
    pub(crate) duration: Duration,
    /// As in [`Record`].
    pub(crate) traced: bool,
    pub(crate) detail: Detail,
}

/// Both clocks at one moment: the wall clock may be set at any time, so it is looked at when spans are collected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    pub(crate) instant: Instant,
    pub(crate) wall: SystemTime,
}

impl Anchor {
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    fn wall_of(self, instant: Instant) -> SystemTime {
        let ago = self.instant.saturating_duration_since(instant);
        self.wall.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH) + instant.saturating_duration_since(self.instant)
    }
}

impl Record {
    pub(crate) fn finish(&self, ids: &TraceIds, node: NodeId, anchor: Anchor) -> Finished {
        let trace = ids.trace(self.group, self.position);
        let stage = self.detail.stage();
        let parent = stage.parent().map(|parent| ids.span(trace, parent, instance_of(parent, node.0)));
        Finished {
            trace,
            span: ids.span(trace, stage, self.detail.instance(node.0)),
            parent,
            node,
            group: self.group,
            position: self.position,
            start: anchor.wall_of(self.from),
            duration: self.to.saturating_duration_since(self.from),
            traced: self.traced,
            detail: self.detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_and_after_the_anchor_become_wall_time() {
        let anchor = Anchor::now();
        let second = Duration::from_secs(1);
        assert_eq!(anchor.wall_of(anchor.instant), anchor.wall);
        assert_eq!(anchor.wall_of(anchor.instant + second), anchor.wall + second);
        assert_eq!(anchor.wall_of(anchor.instant - second), anchor.wall - second);
    }
}
