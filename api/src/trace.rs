//! What a node still knows of traced batches: its newest finished spans.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
