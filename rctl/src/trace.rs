//! `rctl trace`: the newest batches of which a node has spans, each as a tree.

use std::collections::BTreeSet;

use refrain_api::{Attribute, Span, Trace, Traces, paths};
use refrain_service::Name;

use crate::client::Client;
use crate::error::RctlError;
use crate::human::{millis, moment, size};
use crate::output::Output;
use crate::resolve::{explained, resolve};
use crate::table::{Cell, printable, render};

const COMMAND: &str = "trace";
const HEADER: [&str; 5] = ["SPAN", "NODE", "AFTER MS", "TOOK MS", "SAYS"];

/// What is shown.
enum Of {
    All,
    Service((Name, Name)),
    Trace(String),
}

impl Of {
    fn parse(client: &Client, given: Option<&str>) -> Result<Self, RctlError> {
        let Some(given) = given else { return Ok(Self::All) };
        if given.len() == 32 && given.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Trace(given.to_ascii_lowercase()));
        }
        Ok(Self::Service(resolve(client, given, COMMAND)?))
    }

    fn query(&self, last: u32) -> String {
        match self {
            Self::All => format!("{}?last={last}", paths::TRACES),
            // Names and ids need no escaping but for the slash, which a query may have.
            Self::Service((namespace, name)) => {
                format!("{}?last={last}&service={namespace}/{name}", paths::TRACES)
            }
            Self::Trace(id) => format!("{}?last={last}&trace={id}", paths::TRACES),
        }
    }
}

pub fn run(client: &Client, of: Option<&str>, last: u32) -> Result<Output, RctlError> {
    let of = Of::parse(client, of)?;
    let asked = client.get(&of.query(last));
    let traces: Traces = match &of {
        Of::Service(service) => explained(client, service, COMMAND, asked)?,
        Of::All | Of::Trace(_) => asked?,
    };
    let text: Box<dyn Fn(bool) -> String> = if traces.traces.is_empty() {
        let told = none(&of, &traces);
        Box::new(move |_| told.clone())
    } else {
        let shown = traces.clone();
        Box::new(move |colour| {
            let blocks: Vec<String> = shown.traces.iter().map(|trace| block(trace, colour)).collect();
            blocks.join("\n")
        })
    };
    // To have no trace yet is no failure; not to have the one that was asked for is.
    let is_missing = traces.traces.is_empty() && matches!(of, Of::Trace(_));
    Ok(Output::value(&traces, text).with_failure(is_missing))
}

/// Why there is nothing, and what to do.
fn none(of: &Of, traces: &Traces) -> String {
    let Traces { node, ratio, slow_millis, kept_spans, .. } = *traces;
    let share = ratio * 100.0;
    let why = match of {
        _ if ratio == 0.0 => "it traces nothing (OTEL_SDK_DISABLED, OTEL_TRACES_SAMPLER_ARG)".to_owned(),
        Of::Trace(_) => format!("it keeps its newest {kept_spans} spans, and has only its own; ask another node"),
        Of::All | Of::Service(_) => format!(
            "it traces {share} % of the batches (OTEL_TRACES_SAMPLER_ARG), and keeps stages of others that take \
             {slow_millis} ms or longer; there was no such batch since it started"
        ),
    };
    let of = match of {
        Of::All => String::new(),
        Of::Service((namespace, name)) => format!(" of {namespace}/{name}"),
        Of::Trace(id) => format!(" of trace {id}"),
    };
    format!("node {node} has no spans{of}: {why}")
}

fn block(trace: &Trace, colour: bool) -> String {
    let begin = trace.spans.iter().map(|span| span.start_micros).min().unwrap_or(0);
    let service = match &trace.service {
        Some(service) => printable(service),
        None => format!("group {}", trace.group),
    };
    let head =
        format!("{service}, position {}, {} UTC, trace {}", trace.position, moment(begin), printable(&trace.trace));
    let mut rows = Vec::new();
    branches(&trace.spans, None, "", begin, &mut rows);
    format!("{head}\n{}", render(&HEADER, &rows, colour))
}

/// The spans below one, or those whose parent is not here, with all that is below them.
fn branches(spans: &[Span], parent: Option<&Span>, indent: &str, begin: u64, rows: &mut Vec<Vec<Cell>>) {
    let known: BTreeSet<&str> = spans.iter().map(|span| span.span.as_str()).collect();
    let is_below = |span: &&Span| match (parent, span.parent.as_deref()) {
        (Some(parent), Some(of)) => of == parent.span,
        (Some(_), None) => false,
        (None, of) => of.is_none_or(|of| !known.contains(of)),
    };
    let below: Vec<&Span> = spans.iter().filter(is_below).collect();
    for (index, span) in below.iter().enumerate() {
        let last = index + 1 == below.len();
        let (branch, next) = match (parent, last) {
            (None, _) => ("", ""),
            (Some(_), false) => ("├─ ", "│  "),
            (Some(_), true) => ("└─ ", "   "),
        };
        rows.push(row(span, &format!("{indent}{branch}"), begin));
        branches(spans, Some(span), &format!("{indent}{next}"), begin, rows);
    }
}

fn row(span: &Span, before: &str, begin: u64) -> Vec<Cell> {
    let after = (i128::from(span.start_micros) - i128::from(begin)) * 1000;
    vec![
        Cell::text(format!("{before}{}", span.name)),
        Cell::number(span.node),
        Cell::number(millis(after)),
        Cell::number(millis(i128::from(span.duration_nanos))),
        Cell::text(says(span)),
    ]
}

/// The attributes that are not columns or in the head.
fn says(span: &Span) -> String {
    let shown = span.attributes.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("refrain.").unwrap_or(name);
        let (of, is_size) = match name {
            "group" | "position" | "node" => return None,
            "bytes" => ("", true),
            _ => name.strip_suffix("_bytes").map_or((name, false), |of| (of, true)),
        };
        let value = match value {
            Attribute::Number(number) if is_size => size(*number),
            Attribute::Number(number) => number.to_string(),
            Attribute::Numbers(numbers) => numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
        };
        Some(if of.is_empty() { value } else { format!("{} {value}", printable(of)) })
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, name: &str, node: u64, (after, took): (u64, u64)) -> Span {
        let attributes = [("refrain.group", 1), ("refrain.bytes", 2048), ("refrain.memory_bytes", 65_536)];
        let number = |(name, value): (&str, u64)| (name.to_owned(), Attribute::Number(value));
        let mut attributes: std::collections::BTreeMap<_, _> = attributes.map(number).into_iter().collect();
        attributes.insert("refrain.seats".to_owned(), Attribute::Numbers(vec![0, 2]));
        Span {
            trace: "f9cdfd195e1e0a1a710c470f667e35f4".to_owned(),
            span: id.to_owned(),
            parent: parent.map(str::to_owned),
            name: name.to_owned(),
            node,
            group: 1,
            position: 9,
            start_micros: after,
            duration_nanos: took,
            attributes,
        }
    }

    #[test]
    fn a_batch_is_a_tree_and_what_has_no_parent_here_stands_at_its_root() {
        let spans = vec![
            span("a", None, "batch", 1, (1000, 2_000_000)),
            span("b", Some("a"), "sequencer.order", 1, (1010, 900_000)),
            span("c", Some("b"), "sequencer.fsync", 1, (1100, 700_400)),
            span("d", Some("a"), "engine.turn", 1, (2000, 30_000)),
            span("e", Some("gone"), "proxy.egress", 2, (2500, 1_500)),
        ];
        let (trace, service) = (spans[0].trace.clone(), Some("examples/kv-server".to_owned()));
        let text = block(&Trace { trace, service, shard: 0, group: 1, position: 9, spans }, false);
        let rows: Vec<&str> = text.lines().collect();
        let head =
            "examples/kv-server, position 9, 1970-01-01 00:00:00.001000 UTC, trace f9cdfd195e1e0a1a710c470f667e35f4";
        assert_eq!(rows[0], head);
        let says = "2 KiB, memory 64 KiB, seats 0 2";
        assert_eq!(
            rows[1..],
            [
                "SPAN                   NODE  AFTER MS  TOOK MS  SAYS".to_owned(),
                format!("batch                     1     0.000    2.000  {says}"),
                format!("├─ sequencer.order        1     0.010    0.900  {says}"),
                format!("│  └─ sequencer.fsync     1     0.100    0.700  {says}"),
                format!("└─ engine.turn            1     1.000    0.030  {says}"),
                format!("proxy.egress              2     1.500    0.002  {says}"),
            ]
        );
    }

    #[test]
    fn where_there_is_nothing_it_is_said_why() {
        let of = |ratio| Traces { node: 2, ratio, slow_millis: 100, kept_spans: 4096, traces: Vec::new() };
        let told = |what: &Of, ratio| none(what, &of(ratio));
        let service = Of::Service(("a".parse().unwrap(), "b".parse().unwrap()));
        assert!(told(&service, 0.01).starts_with("node 2 has no spans of a/b: it traces 1 % of the batches"));
        assert!(told(&Of::All, 0.0).contains("it traces nothing (OTEL_SDK_DISABLED"));
        assert!(told(&Of::Trace("f9".to_owned()), 1.0).contains("of trace f9: it keeps its newest 4096 spans"));
    }
}
