//! What a node still knows of traced and of slow batches: its newest finished spans.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The newest batches of which a node has spans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traces {
    /// The node. Other nodes have their own spans of the same batches.
    pub node: u64,
    /// The share of batches that it traces.
    pub ratio: f64,
    /// Of batches that are not traced, stages that took at least so long are kept.
    pub slow_millis: u64,
    /// How many spans it keeps.
    pub kept_spans: u64,
    /// The batches, the newest last.
    pub traces: Vec<Trace>,
}

/// A batch of which a node has spans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The trace's id, 32 hexadecimal digits.
    pub trace: String,
    /// The service, `namespace/name`; absent when the node does not serve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The batch's shard.
    #[serde(default)]
    pub shard: u16,
    /// The batch's group.
    pub group: u32,
    /// The batch's position.
    pub position: u64,
    /// Its spans on this node, in the order in which they began.
    pub spans: Vec<Span>,
}

/// One span: a stage of one batch on one node. Those of all nodes with one `trace` make the whole trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The trace, 32 hexadecimal digits; equal on all nodes for one batch.
    pub trace: String,
    /// The span, 16 hexadecimal digits.
    pub span: String,
    /// The span that this one is a part of; absent in the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The stage, such as `engine.turn`.
    pub name: String,
    /// The node that recorded it.
    pub node: u64,
    /// The batch's group.
    pub group: u32,
    /// The batch's position.
    pub position: u64,
    /// When it began: microseconds since 1970, by the node's own clock.
    pub start_micros: u64,
    /// How long it took, in nanoseconds.
    pub duration_nanos: u64,
    /// What the stage says of itself, such as `refrain.fuel`.
    pub attributes: BTreeMap<String, Attribute>,
}

/// The value of an attribute of a span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// A number.
    Number(u64),
    /// Numbers, such as those of seats.
    Numbers(Vec<u64>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_keeps_its_form_in_json() {
        let span = Span {
            trace: "0af7651916cd43dd8448eb211c80319c".into(),
            span: "b7ad6b7169203331".into(),
            parent: None,
            name: "proxy.vote".into(),
            node: 3,
            group: 7,
            position: 42,
            start_micros: 1_700_000_000_000_000,
            duration_nanos: 1_500,
            attributes: BTreeMap::from([
                ("refrain.quorum".into(), Attribute::Number(2)),
                ("refrain.seats".into(), Attribute::Numbers(vec![0, 2])),
            ]),
        };
        let json = concat!(
            r#"{"trace":"0af7651916cd43dd8448eb211c80319c","span":"b7ad6b7169203331","name":"proxy.vote","node":3,"#,
            r#""group":7,"position":42,"start_micros":1700000000000000,"duration_nanos":1500,"#,
            r#""attributes":{"refrain.quorum":2,"refrain.seats":[0,2]}}"#,
        );
        assert_eq!(serde_json::to_string(&span).expect("plain types"), json);
        assert_eq!(serde_json::from_str::<Span>(json).expect("what was written"), span);
    }
}
