//! The newest finished spans, kept for the admin API, so that `rctl trace` works without a collector.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use refrain_api::Span;
use refrain_wire::{GroupId, Position};

use crate::trace::{Finished, TraceId, attributes};

/// How many spans a node keeps; the oldest goes for a new one.
pub const RECENT_SPANS: usize = 4_096;

/// Which spans are wanted; what is absent does not matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Those of this trace.
    pub trace: Option<TraceId>,
    /// Those of this group's batches.
    pub group: Option<GroupId>,
    /// Those of batches at this position.
    pub position: Option<Position>,
}

impl Filter {
    fn takes(&self, span: &Finished) -> bool {
        self.trace.is_none_or(|trace| trace == span.trace)
            && self.group.is_none_or(|group| group == span.group)
            && self.position.is_none_or(|position| position == span.position)
    }
}

/// A ring of spans.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    spans: VecDeque<Finished>,
}

impl Recent {
    pub(crate) fn push(&mut self, span: Finished) {
        if self.spans.len() == RECENT_SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    /// What `filter` takes, in the order in which it began.
    pub(crate) fn find(&self, filter: &Filter) -> Vec<Finished> {
        let mut found: Vec<Finished> = self.spans.iter().filter(|span| filter.takes(span)).copied().collect();
        found.sort_by_key(|span| span.start);
        found
    }
}

/// A span as the admin API shows it.
pub(crate) fn shown(span: &Finished) -> Span {
    let micros = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    let attributes: BTreeMap<_, _> =
        attributes(span).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Span {
        trace: span.trace.to_string(),
        span: span.span.to_string(),
        parent: span.parent.map(|parent| parent.to_string()),
        name: span.detail.stage().name().to_owned(),
        node: span.node.0,
        group: span.group.0,
        position: span.position.0,
        start_micros: u64::try_from(micros(span.start)).unwrap_or(u64::MAX),
        duration_nanos: nanos(span.duration),
        attributes,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use refrain_wire::{ClusterId, NodeId};

    use super::*;
    use crate::trace::{Detail, Record, TraceIds};

    fn span(group: u32, position: u64) -> Finished {
        let anchor = crate::trace::Anchor { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let from = anchor.instant + Duration::from_secs(position);
        let (group, position) = (GroupId(group), Position(position));
        let record = Record { group, position, from, to: from, traced: true, detail: Detail::Append };
        record.finish(&TraceIds::new(ClusterId([0; 16])), NodeId(1), anchor)
    }

    #[test]
    fn the_oldest_goes_when_the_ring_is_full() {
        let mut recent = Recent::default();
        (1..=RECENT_SPANS as u64 + 1).for_each(|position| recent.push(span(1, position)));
        let all = recent.find(&Filter::default());
        assert_eq!(all.len(), RECENT_SPANS);
        assert_eq!((all[0].position, all[RECENT_SPANS - 1].position), (Position(2), Position(RECENT_SPANS as u64 + 1)));
    }

    #[test]
    fn a_filter_takes_what_has_everything_that_it_names() {
        let mut recent = Recent::default();
        for (group, position) in [(2, 8), (1, 8), (1, 7)] {
            recent.push(span(group, position));
        }
        let found = |filter: Filter| -> Vec<(u32, u64)> {
            recent.find(&filter).iter().map(|span| (span.group.0, span.position.0)).collect()
        };
        assert_eq!(found(Filter { group: Some(GroupId(1)), ..Filter::default() }), [(1, 7), (1, 8)]);
        assert_eq!(found(Filter { position: Some(Position(8)), ..Filter::default() }), [(2, 8), (1, 8)]);
        assert_eq!(found(Filter { trace: Some(span(1, 8).trace), ..Filter::default() }), [(1, 8)]);
        let both = Filter { trace: Some(span(1, 8).trace), group: Some(GroupId(2)), position: None };
        assert_eq!(found(both), []);
    }
}
