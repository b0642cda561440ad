//! What a run found: rows, each about one thing on one side, with ratios and aims. Plain data, also the JSON format.

use serde::Serialize;

use crate::latency::Summary;
use crate::machine::Machine;

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where and when.
    pub machine: Machine,
    /// The result, in the order in which it was measured.
    pub rows: Vec<Row>,
    /// Measurements that could not be made.
    pub failures: Vec<Failure>,
}

/// A measurement that could not be made.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// Its name.
    pub measurement: &'static str,
    /// Why.
    pub reason: String,
}

/// Who did the work that a row tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The machine, without any server.
    Floor,
    /// The example, built for this machine and started alone: neither replicated nor durable.
    Native,
    /// Three members of etcd.
    Etcd,
    /// An unreplicated Redis that syncs its log for every write.
    Redis,
    /// The same sources as a replicated service.
    Refrain,
    /// What Refrain is compared with: another build of it, or the same without traces.
    Base,
    /// `wasmtime serve`, without a proxy before it.
    Wasmtime,
    /// nginx before the same server.
    Nginx,
    /// HAProxy before the same server.
    Haproxy,
}

/// One thing, on one side.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Who did it.
    pub side: Side,
    /// Times of single requests.
    pub latency: Option<Summary>,
    /// Another figure.
    pub figure: Option<Quantity>,
    /// The floor that the aims are made of, where they are.
    pub floor_p50_ms: Option<f64>,
    /// Compared with another side.
    pub ratio: Option<Ratio>,
    /// What it should be.
    pub aims: Vec<Aim>,
}

impl Row {
    /// A row without figures.
    pub fn new(what: impl Into<String>, side: Side) -> Self {
        Self { what: what.into(), side, latency: None, figure: None, floor_p50_ms: None, ratio: None, aims: Vec::new() }
    }
}

/// A value with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantity {
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
}

/// A unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Thousandths of a second.
    Milliseconds,
    /// Requests a second.
    PerSecond,
    /// Millions of bytes a second.
    MegabytesPerSecond,
    /// Bytes.
    Bytes,
    /// Log entries.
    Entries,
    /// Writes of a client.
    Writes,
    /// Hundredths of one core.
    PercentOfCore,
    /// Hundredths of the payload.
    PercentOfPayload,
    /// Millionths of a second of processor time, of one request.
    ProcessorMicroseconds,
}

impl Unit {
    /// A value in this unit.
    pub fn of(self, value: f64) -> Quantity {
        Quantity { value, unit: self }
    }
}

/// A figure divided by the same figure of another side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The quotient.
    pub value: f64,
    /// Of what.
    pub of: RatioOf,
    /// The side that it is divided by.
    pub to: Side,
}

/// What a ratio compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RatioOf {
    /// Median times: above 1 is slower.
    Time,
    /// Rates: below 1 is slower.
    Rate,
    /// 99th percentiles of times: above 1 is slower.
    P99,
    /// Processor time of a request: above 1 costs more.
    Processor,
}

/// What a figure should be, and whether it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Aim {
    /// For people, with how the limit came about.
    pub text: String,
    /// The limit.
    pub limit: f64,
    /// What was measured, in the same unit.
    pub measured: f64,
    /// Whether the limit is kept.
    pub met: bool,
}

impl Aim {
    /// The figure should not exceed the limit.
    pub fn at_most(text: impl Into<String>, limit: f64, measured: f64) -> Self {
        Self { text: text.into(), limit, measured, met: measured <= limit }
    }

    /// The figure should be below the limit.
    pub fn below(text: impl Into<String>, limit: f64, measured: f64) -> Self {
        Self { met: measured < limit, ..Self::at_most(text, limit, measured) }
    }

    /// The figure should reach the limit.
    pub fn at_least(text: impl Into<String>, limit: f64, measured: f64) -> Self {
        Self { met: measured >= limit, ..Self::at_most(text, limit, measured) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_met_at_its_limit_unless_it_is_to_be_below() {
        assert!(Aim::at_most("", 1.0, 1.0).met);
        assert!(!Aim::at_most("", 1.0, 1.1).met);
        assert!(Aim::at_least("", 1.0, 1.0).met);
        assert!(!Aim::at_least("", 1.0, 0.9).met);
        assert!(Aim::below("", 1.0, 0.9).met);
        assert!(!Aim::below("", 1.0, 1.0).met);
    }
}
