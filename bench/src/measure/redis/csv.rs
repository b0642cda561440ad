//! What `redis-benchmark --csv` prints: since Redis 6.2 a line of column names and quoted values with latencies,
//! before that the name and the rate alone.

use anyhow::{Context, Result, bail};

use crate::latency::Summary;

/// What one test gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Requests a second.
    pub rate: f64,
    /// Latencies of whole pipelines, where they are told.
    pub latency: Option<Summary>,
}

/// The line of the test `name`, which made `samples` requests.
pub fn line_of(text: &str, name: &str, samples: usize) -> Result<Line> {
    let mut columns = Vec::new();
    for line in text.lines() {
        // Redis adds its progress to the same line when it writes to a terminal.
        let line = line.rsplit('\r').next().unwrap_or_default();
        let Some(values) = values(line) else { continue };
        match values.first() {
            Some(&"test") => columns = values,
            Some(first) if *first == name => return parse(&columns, &values, samples),
            _ => {}
        }
    }
    bail!("redis-benchmark printed no result of {name}: {:?}", text.trim_end())
}

fn parse(columns: &[&str], values: &[&str], samples: usize) -> Result<Line> {
    let number = |text: &str| text.parse::<f64>().with_context(|| format!("redis-benchmark: not a number: {text:?}"));
    let of = |column: &str| columns.iter().position(|name| *name == column).and_then(|at| values.get(at));
    let rate = number(of("rps").or(values.get(1)).context("redis-benchmark: a line without a rate")?)?;
    let latency = match (of("p50_latency_ms"), of("p99_latency_ms"), of("max_latency_ms")) {
        (Some(p50), Some(p99), Some(max)) => {
            Some(Summary { samples, p50_ms: number(p50)?, p99_ms: number(p99)?, max_ms: number(max)? })
        }
        _ => None,
    };
    Ok(Line { rate, latency })
}

/// The quoted values of a line; none of redis-benchmark's holds a quote or a comma. `None` for other lines.
fn values(line: &str) -> Option<Vec<&str>> {
    line.split(',').map(|value| value.trim().strip_prefix('"')?.strip_suffix('"')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &str = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                           \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n";

    #[test]
    fn rate_and_latencies_are_found_by_their_column() {
        let text =
            format!("{COLUMNS}\"SET\",\"1515151.50\",\"0.313\",\"0.056\",\"0.295\",\"0.487\",\"0.759\",\"4.967\"\n");
        let line = line_of(&text, "SET", 9).unwrap();
        let latency = Summary { samples: 9, p50_ms: 0.295, p99_ms: 0.759, max_ms: 4.967 };
        assert_eq!(line, Line { rate: 1_515_151.5, latency: Some(latency) });
    }

    #[test]
    fn lines_of_older_versions_have_the_rate_alone() {
        let line = line_of("\"SET\",\"74074.07\"\n", "SET", 9).unwrap();
        assert_eq!(line, Line { rate: 74_074.07, latency: None });
    }

    #[test]
    fn other_tests_and_other_lines_are_passed_over() {
        let text = "WARNING: Could not fetch server CONFIG\nSET: rps=0.0\r\"GET\",\"1.0\"\n\"SET\",\"2.0\"\n";
        assert_eq!(line_of(text, "SET", 9).unwrap().rate, 2.0);
    }

    #[test]
    fn a_missing_result_is_an_error_that_repeats_the_text() {
        let error = line_of("Could not connect\n", "SET", 9).unwrap_err();
        assert!(error.to_string().contains("Could not connect"));
        assert!(line_of(COLUMNS, "SET", 9).is_err());
        assert!(line_of("\"SET\"\n", "SET", 9).is_err());
        assert!(line_of("\"SET\",\"fast\"\n", "SET", 9).is_err());
    }
}
