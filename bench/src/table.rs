//! The report as a table for people.

use std::fmt::Write;

use crate::report::{Quantity, Ratio, RatioOf, Report, Row, Side, Unit};

const COLUMNS: [&str; 9] = ["what", "side", "median", "p99", "max", "figure", "ratio", "aim", "met"];
/// The columns of text; numbers stand at the right.
const TEXT_COLUMNS: [usize; 4] = [0, 1, 7, 8];

/// The whole report.
pub fn of(report: &Report) -> String {
    let machine = &report.machine;
    let mut out = format!(
        "{} cores, Linux {}, data on {}, load {} at the start\n\n",
        machine.cores, machine.kernel, machine.file_system, machine.load
    );
    let mut lines = vec![COLUMNS.map(str::to_owned)];
    for row in &report.rows {
        lines.extend(lines_of(row));
    }
    out.push_str(&aligned(&lines));
    for failure in &report.failures {
        let _ = write!(out, "\nnot measured: {}: {}\n", failure.measurement, failure.reason);
    }
    out
}

/// One line, and one more for each further aim.
fn lines_of(row: &Row) -> Vec<[String; 9]> {
    let time = |of: fn(&crate::latency::Summary) -> f64| {
        row.latency.as_ref().map_or_else(String::new, |latency| quantity(Unit::Milliseconds.of(of(latency))))
    };
    let (aim, met) = row.aims.first().map_or_else(Default::default, |aim| (aim.text.clone(), yes_no(aim.met)));
    let mut lines = vec![[
        row.what.clone(),
        side(row.side).to_owned(),
        time(|latency| latency.p50_ms),
        time(|latency| latency.p99_ms),
        time(|latency| latency.max_ms),
        row.figure.map_or_else(String::new, quantity),
        row.ratio.map_or_else(String::new, ratio),
        aim,
        met,
    ]];
    for aim in row.aims.iter().skip(1) {
        let mut line: [String; 9] = Default::default();
        line[7].clone_from(&aim.text);
        line[8] = yes_no(aim.met);
        lines.push(line);
    }
    lines
}

fn aligned(lines: &[[String; 9]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 9] = std::array::from_fn(width);
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let _ = match TEXT_COLUMNS.contains(&column) {
                true => write!(text, "{cell:<width$}  "),
                false => write!(text, "{cell:>width$}  "),
            };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Floor => "floor",
        Side::Native => "native",
        Side::Etcd => "etcd",
        Side::Redis => "redis",
        Side::Refrain => "refrain",
        Side::Base => "base",
        Side::Wasmtime => "wasmtime",
        Side::Nginx => "nginx",
        Side::Haproxy => "haproxy",
    }
}

fn quantity(quantity: Quantity) -> String {
    let value = quantity.value;
    match quantity.unit {
        Unit::Milliseconds => format!("{value:.3} ms"),
        Unit::PerSecond => format!("{}/s", grouped(value)),
        Unit::MegabytesPerSecond => format!("{} MB/s", grouped(value)),
        Unit::Bytes => format!("{} bytes", grouped(value)),
        Unit::Entries => format!("{} entries", grouped(value)),
        Unit::Writes => format!("{} writes", grouped(value)),
        Unit::PercentOfCore => format!("{value:.1} % of a core"),
        Unit::PercentOfPayload => format!("{value:.3} %"),
        Unit::ProcessorMicroseconds => format!("{value:.1} us of cpu"),
    }
}

/// The native side is what most ratios are to, and is not named.
fn ratio(ratio: Ratio) -> String {
    let of = match ratio.of {
        RatioOf::Time => "time",
        RatioOf::Rate => "rate",
        RatioOf::P99 => "p99",
        RatioOf::Processor => "cpu",
    };
    match ratio.to {
        Side::Native => format!("{:.2} x {of}", ratio.value),
        to => format!("{:.2} x {of} of {}", ratio.value, side(to)),
    }
}

/// A whole number with a comma between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    if value.round() < 0.0 {
        out.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn yes_no(met: bool) -> String {
    if met { "yes" } else { "NO" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Summary;
    use crate::machine::Machine;
    use crate::report::{Aim, Failure};

    fn report() -> Report {
        let mut row = Row::new("echo", Side::Refrain);
        row.latency = Some(Summary { samples: 3, p50_ms: 0.25, p99_ms: 1.5, max_ms: 20.0 });
        row.figure = Some(Unit::PerSecond.of(4321.0));
        row.ratio = Some(Ratio { value: 8.0, of: RatioOf::Time, to: Side::Native });
        row.aims = vec![Aim::at_most("p50 <= 0.3 ms", 0.3, 0.25), Aim::at_least(">= 5,000/s", 5000.0, 4321.0)];
        Report {
            machine: Machine {
                cores: 2,
                kernel: "6.18.0".into(),
                load: "0.10".into(),
                file_system: "ext4".into(),
                started: 0,
            },
            rows: vec![row],
            failures: vec![Failure { measurement: "redis", reason: "not installed".into() }],
        }
    }

    #[test]
    fn the_table_has_every_aim_and_every_failure() {
        let expected = "\
2 cores, Linux 6.18.0, data on ext4, load 0.10 at the start

what  side       median       p99        max   figure        ratio  aim            met
echo  refrain  0.250 ms  1.500 ms  20.000 ms  4,321/s  8.00 x time  p50 <= 0.3 ms  yes
                                                                    >= 5,000/s     NO

not measured: redis: not installed
";
        assert_eq!(of(&report()), expected);
    }

    #[test]
    fn a_ratio_names_a_side_that_is_not_native() {
        let to = |to| ratio(Ratio { value: 1.5, of: RatioOf::Rate, to });
        assert_eq!((to(Side::Native).as_str(), to(Side::Floor).as_str()), ("1.50 x rate", "1.50 x rate of floor"));
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0.0, 999.4, 1000.0, 1_234_567.0, -1500.0, -0.2].map(grouped),
            ["0", "999", "1,000", "1,234,567", "-1,500", "0"]
        );
    }
}
