//! The stages of a batch, how they nest, and what each says of itself.

use refrain_api::Attribute;

use super::record::{Detail, Finished};

/// A stage of a batch; each is a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The root: from the leader's taking of the batch's first submission until a quorum has executed it.
    Batch,
    /// A proxy: from the first client bytes read until the submission is sent.
    Ingress,
    /// The leader: from the draft until the commit.
    Order,
    /// A member: the write to its log.
    Append,
    /// The leader: until a majority of members has the entry.
    Replicate,
    /// A member: the sync of its log.
    Fsync,
    /// An engine: one replica's turn.
    Turn,
    /// A proxy: from the commit until agreement.
    Vote,
    /// A proxy: from agreement until the bytes are written.
    Egress,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 9] = [
        Self::Batch,
        Self::Ingress,
        Self::Order,
        Self::Append,
        Self::Replicate,
        Self::Fsync,
        Self::Turn,
        Self::Vote,
        Self::Egress,
    ];

    /// The name of its spans.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Ingress => "proxy.ingress",
            Self::Order => "sequencer.order",
            Self::Append => "sequencer.append",
            Self::Replicate => "sequencer.replicate",
            Self::Fsync => "sequencer.fsync",
            Self::Turn => "engine.turn",
            Self::Vote => "proxy.vote",
            Self::Egress => "proxy.egress",
        }
    }

    /// The stage that it is a part of.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        match self {
            Self::Batch => None,
            Self::Append | Self::Replicate | Self::Fsync => Some(Self::Order),
            Self::Egress => Some(Self::Vote),
            Self::Ingress | Self::Order | Self::Turn | Self::Vote => Some(Self::Batch),
        }
    }
}

impl Detail {
    /// Which stage it describes.
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Batch { .. } => Stage::Batch,
            Self::Ingress { .. } => Stage::Ingress,
            Self::Order { .. } => Stage::Order,
            Self::Append => Stage::Append,
            Self::Replicate => Stage::Replicate,
            Self::Fsync => Stage::Fsync,
            Self::Turn { .. } => Stage::Turn,
            Self::Vote { .. } => Stage::Vote,
            Self::Egress { .. } => Stage::Egress,
        }
    }

    /// What tells the spans of one stage apart. Those that there is one of have 0, so that every node knows the id.
    pub(crate) fn instance(&self, node: u64) -> u64 {
        match self {
            Self::Turn { seat, incarnation, .. } => u64::from(*seat) | u64::from(*incarnation) << 8,
            detail => instance_of(detail.stage(), node),
        }
    }
}

/// [`Detail::instance`] of a stage that is known by its node alone.
pub(crate) fn instance_of(stage: Stage, node: u64) -> u64 {
    match stage {
        Stage::Batch | Stage::Order => 0,
        _ => node,
    }
}

/// Everything that a span says besides its times.
pub(crate) fn attributes(span: &Finished) -> Vec<(&'static str, Attribute)> {
    let number = |name, value: u64| (name, Attribute::Number(value));
    let mut all = vec![
        number("refrain.group", u64::from(span.group.0)),
        number("refrain.position", span.position.0),
        number("refrain.node", span.node.0),
    ];
    match span.detail {
        Detail::Batch { records, bytes } => {
            all.extend([number("refrain.records", u64::from(records)), number("refrain.bytes", bytes)]);
        }
        Detail::Ingress { bytes } | Detail::Egress { bytes } => all.push(number("refrain.bytes", bytes)),
        Detail::Order { term } => all.push(number("refrain.term", term)),
        Detail::Append | Detail::Replicate | Detail::Fsync => {}
        Detail::Turn { seat, incarnation, fuel, memory_bytes } => all.extend([
            number("refrain.seat", u64::from(seat)),
            number("refrain.incarnation", u64::from(incarnation)),
            number("refrain.fuel", fuel),
            number("refrain.memory_bytes", memory_bytes),
        ]),
        Detail::Vote { quorum, seats } => {
            let numbers = (0..8).filter(|seat| seats >> seat & 1 == 1).collect();
            all.extend([number("refrain.quorum", u64::from(quorum)), ("refrain.seats", Attribute::Numbers(numbers))]);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_leads_to_the_one_root() {
        for stage in Stage::ALL {
            let mut at = stage;
            for _ in 0..2 {
                at = at.parent().unwrap_or(at);
            }
            assert_eq!(at, Stage::Batch, "{}", stage.name());
        }
    }

    #[test]
    fn a_parent_is_known_without_asking_the_node_that_recorded_it() {
        // Either there is one in the trace, or the child's own node has it.
        for parent in Stage::ALL.iter().filter_map(|stage| stage.parent()) {
            let own = parent == Stage::Vote;
            assert_eq!(instance_of(parent, 1) == instance_of(parent, 2), !own, "{}", parent.name());
        }
    }
}
